"""The selective scan of Mamba: a diagonal recurrence per channel, read out where it is computed.

For channel d and state n, in group g of channel d (Gu and Dao, 2023, arXiv:2312.00752, section 3.2;
A is discretized by its exponential and B by Euler's rule, as in the authors' program):

    s_t = softplus(step_size_t + step_bias),  or step_size_t itself without a bias
    h_t[d, n] = exp(s_t[d] A[d, n]) h_{t-1}[d, n] + s_t[d] x_t[d] B_t[g, n]
    y_t[d] = (sum_n C_t[g, n] h_t[d, n] + skip[d] x_t[d]) silu(gate_t[d])
"""

from functools import reduce

# Inside this package `torch` is the file torch.py, so the library is imported by its parts.
from jaxtyping import Bool, Float, Int
from torch import Tensor, dtype, float32, promote_types

from statewise import backends
from statewise.ops.arguments import check_marks
from statewise.ops.selective_scan import native, reference
from statewise.ops.selective_scan.torch import selective_scan as by_chunks

__all__ = ["TABLE", "selective_scan", "selective_scan_step"]

TABLE = (
    backends.Row("native", backends.without_native),
    backends.Row("torch", backends.always),
    backends.Row("reference", backends.always),
)

_FORMS = {
    "native": native.selective_scan,
    "torch": by_chunks,
    "reference": reference.selective_scan,
}


def selective_scan(
    x: Float[Tensor, "batch time dim"],
    step_size: Float[Tensor, "batch time dim"],
    A: Float[Tensor, "dim state"],
    B: Float[Tensor, "batch time *groups state"],
    C: Float[Tensor, "batch time *groups state"],
    *,
    skip: Float[Tensor, " dim"] | None = None,
    gate: Float[Tensor, "batch time dim"] | None = None,
    step_bias: Float[Tensor, " dim"] | None = None,
    initial: Float[Tensor, "batch dim state"] | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch dim state"]]:
    """Return y_t = C_t h_t of  h_t = exp(s_t A) h_{t-1} + s_t x_t B_t,  and the last h, fresh.

    Args:
        x: the inputs; their dtype is the output's.
        step_size: how long each input lasts. With `step_bias`, before that and the softplus;
            without, the step itself, zero or more.
        A: rates of change, negative for a state that decays.
        B: how each input enters the state: (batch, time, state), shared by all channels, or
            (batch, time, groups, state), each group shared by dim / groups channels in a row.
        C: how the state is read, as B.
        skip: the share of the input that is added to the output, Mamba's D.
        gate: the output is multiplied by silu(gate), Mamba's z.
        step_bias: if given, the step is softplus(step_size + step_bias); zeros for softplus alone.
        initial: h before the first input; zeros if absent. Arithmetic is in its dtype, float32 or
            wider.
        reset: where true, h_{t-1} counts as zero.
        lengths: from 0 to time. Beyond a row's length the output is zero, nothing is read, and the
            final state is the one after its last real input; with length 0, `initial`.

    Raises:
        ValueError: if shapes or dtypes do not fit together.
    """
    name = "selective_scan"
    if x.ndim != 3:
        raise ValueError(f"{name}: x {tuple(x.shape)} should be (batch, time, dim)")
    batch, time, dim = x.shape
    _check_fit(name, (batch, time), dim, step_size, A, B, C, skip, gate, step_bias)
    stored, work = _dtypes((x, step_size, B, C, gate), (A, skip, step_bias, initial))
    if initial is None:
        initial = x.new_zeros(batch, dim, A.shape[1], dtype=work)
    _expect(name, "initial", initial, "(batch, dim, state)", (batch, dim, A.shape[1]))
    check_marks(name, batch, time, reset, lengths)
    if B.ndim == 3:
        B, C = B[:, :, None], C[:, :, None]
    form = _FORMS[backends.choose(name, TABLE, x).backend]
    output, final = form(
        x.to(stored),
        step_size.to(stored),
        A.to(work),
        B.to(stored),
        C.to(stored),
        skip=None if skip is None else skip.to(work),
        gate=None if gate is None else gate.to(stored),
        step_bias=None if step_bias is None else step_bias.to(work),
        initial=initial.to(work),
        reset=reset,
        lengths=lengths,
    )
    return output.to(x.dtype), final


def selective_scan_step(
    x: Float[Tensor, "batch dim"],
    step_size: Float[Tensor, "batch dim"],
    A: Float[Tensor, "dim state"],
    B: Float[Tensor, "batch *groups state"],
    C: Float[Tensor, "batch *groups state"],
    h: Float[Tensor, "batch dim state"],
    *,
    skip: Float[Tensor, " dim"] | None = None,
    gate: Float[Tensor, "batch dim"] | None = None,
    step_bias: Float[Tensor, " dim"] | None = None,
) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch dim state"]]:
    """Return y, in the dtype of x, and the next h, fresh: one time of `selective_scan`.

    Raises:
        ValueError: if shapes or dtypes do not fit together.
    """
    given = (x, step_size, A, B, C, skip, gate, step_bias, h)
    if backends.direct("selective_scan", TABLE, given):
        # The kernel looks at every shape itself, in a tenth of the time it takes here.
        try:
            return native.selective_scan_step(*given)
        except ValueError:
            pass  # what does not fit is said better below
    name = "selective_scan_step"
    if x.ndim != 2:
        raise ValueError(f"{name}: x {tuple(x.shape)} should be (batch, dim)")
    batch, dim = x.shape
    _check_fit(name, (batch,), dim, step_size, A, B, C, skip, gate, step_bias)
    _expect(name, "h", h, "(batch, dim, state)", (batch, dim, A.shape[1]))
    y, final = selective_scan(
        x[:, None],
        step_size[:, None],
        A,
        B[:, None],
        C[:, None],
        skip=skip,
        gate=None if gate is None else gate[:, None],
        step_bias=step_bias,
        initial=h,
    )
    return y[:, 0], final


def _check_fit(
    name: str,
    places: tuple[int, ...],
    dim: int,
    step_size: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    skip: Tensor | None,
    gate: Tensor | None,
    step_bias: Tensor | None,
) -> None:
    """Refuse inputs that do not fit together; `places` is (batch, time), or (batch,) in a step."""
    axes = "(batch, time, " if len(places) == 2 else "(batch, "
    if A.ndim != 2 or A.shape[0] != dim:
        raise ValueError(f"{name}: A {tuple(A.shape)} should be (dim, state) with dim = {dim}")
    _expect(name, "step_size", step_size, f"{axes}dim)", (*places, dim))
    if gate is not None:
        _expect(name, "gate", gate, f"{axes}dim)", (*places, dim))
    for what, v in (("skip", skip), ("step_bias", step_bias)):
        if v is not None:
            _expect(name, what, v, "(dim,)", (dim,))
    if B.shape != C.shape:
        raise ValueError(f"{name}: B {tuple(B.shape)} and C {tuple(C.shape)} should be alike")
    groups = B.shape[len(places)] if B.ndim == len(places) + 2 else 1
    shared, grouped = (*places, A.shape[1]), (*places, groups, A.shape[1])
    if B.shape not in (shared, grouped) or groups == 0 or dim % groups:
        raise ValueError(
            f"{name}: B and C {tuple(B.shape)} should be {axes}state) = {shared}, or "
            f"{axes}groups, state) with a number of groups that divides dim = {dim}"
        )


def _expect(name: str, what: str, v: Tensor, axes: str, shape: tuple[int, ...]) -> None:
    if v.shape != shape:
        raise ValueError(f"{name}: {what} {tuple(v.shape)} should be {axes} = {shape}")


def _dtypes(
    sequences: tuple[Tensor | None, ...], others: tuple[Tensor | None, ...]
) -> tuple[dtype, dtype]:
    """Return the dtype in which sequences are read, and that of the arithmetic."""
    present = [v.dtype for v in sequences if v is not None]
    stored = reduce(promote_types, present)
    work = promote_types(stored, float32)
    wide = reduce(promote_types, [v.dtype for v in others if v is not None], work)
    # A wider state, or a wider weight, widens the work.
    return (stored, work) if wide == work else (wide, wide)
