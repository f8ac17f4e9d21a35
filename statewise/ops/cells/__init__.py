"""The classical cells  h_t = f(U h_{t-1}, W x_t):  Elman's, LSTM, GRU, in torch's forms."""

# Inside this package `torch` is the file torch.py, so the library is imported by its parts.
from contextlib import AbstractContextManager, nullcontext

from jaxtyping import Bool, Float, Int
from torch import Tensor, autocast, compiler, float32, is_autocast_enabled, promote_types
from torch import dtype as DataType
from torch.nn.functional import linear

from statewise import backends
from statewise.ops.arguments import check_marks
from statewise.ops.cells import reference
from statewise.ops.cells.reference import GRU as GRU
from statewise.ops.cells.reference import LSTM as LSTM
from statewise.ops.cells.reference import RELU as RELU
from statewise.ops.cells.reference import TANH as TANH
from statewise.ops.cells.reference import Cell as Cell
from statewise.ops.cells.reference import State as State
from statewise.ops.cells.reference import Weights as Weights
from statewise.ops.cells.torch import recur as by_kernels

__all__ = ["GRU", "LSTM", "RELU", "TABLE", "TANH", "Cell", "Weights", "recur", "recur_step"]


def without_kernels(x: Tensor) -> str | None:
    """Object to what torch's own kernels cannot compute."""
    if compiler.is_compiling():
        return "torch.compile does not trace torch's recurrent kernels with resets"
    if backends.transformed():
        return "torch's recurrent kernels lack vmap, and in float32 forward-mode differentiation"
    if x.numel() == 0:
        return "torch's recurrent kernels refuse an empty batch and an empty sequence"
    return None


TABLE = (
    backends.Row("torch", without_kernels),
    backends.Row("reference", backends.always),
)

_FORMS = {"torch": by_kernels, "reference": reference.recur}


def recur(
    cell: Cell,
    x: Float[Tensor, "batch time dim"],
    weights: Weights,
    *,
    initial: State | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time hidden"], State]:
    """Return a cell's output at every time, and its last state, fresh tensors.

    Args:
        cell: `TANH`, `RELU`, `LSTM` or `GRU`.
        x: the inputs; their dtype is the output's. Arithmetic is in float32 or wider, under
            autocast too.
        weights: (gates * hidden, dim) and (gates * hidden, hidden) with two biases or none; the
            gates are in torch's order: i, f, g, o and r, z, n.
        initial: the state before the first input; zeros if absent.
        reset: where true, the state counts as zero.
        lengths: from 0 to time. Beyond a row's length the output is zero, nothing is read, and the
            last state is the one after its last real input; with length 0, `initial`.

    Raises:
        ValueError: if shapes or dtypes do not fit together.
    """
    batch, time, dim = x.shape
    hidden = weights.recurrent.shape[1]
    shape = (cell.gates * hidden, dim)
    if weights.input.shape != shape:
        raise ValueError(
            f"{cell.name}: the input weights {tuple(weights.input.shape)} should be "
            f"({cell.gates} * hidden, dim) = {shape}"
        )
    work = promote_types(promote_types(x.dtype, weights.input.dtype), float32)
    if initial is None:
        zeros = x.new_zeros(batch, hidden, dtype=work)
        initial = (zeros,) * cell.leaves
    if len(initial) != cell.leaves:
        raise ValueError(f"{cell.name} has {cell.leaves} tensors in its state, not {len(initial)}")
    for leaf in initial:
        if leaf.shape != (batch, hidden):
            raise ValueError(
                f"{cell.name}: initial {tuple(leaf.shape)} should be (batch, hidden) = "
                f"{(batch, hidden)}"
            )
        work = promote_types(work, leaf.dtype)
    check_marks(cell.name, batch, time, reset, lengths)
    form = _FORMS[backends.choose("cells", TABLE, x).backend]
    with _without_autocast(x):
        output, final = form(
            cell,
            x.to(work),
            _in(work, weights),
            initial=tuple(leaf.to(work) for leaf in initial),
            reset=reset,
            lengths=lengths,
        )
    return output.to(x.dtype), final


def recur_step(cell: Cell, x: Float[Tensor, "batch dim"], weights: Weights, state: State) -> State:
    """Return the state after one more input, in the dtype of the state given."""
    dtype = state[0].dtype
    weights = _in(dtype, weights)
    with _without_autocast(x):
        return cell.update(linear(x.to(dtype), weights.input, weights.input_bias), state, weights)


def _in(dtype: DataType, weights: Weights) -> Weights:
    """Return the weights in another precision."""
    w, u, b, c = weights
    return Weights(
        w.to(dtype),
        u.to(dtype),
        None if b is None else b.to(dtype),
        None if c is None else c.to(dtype),
    )


def _without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Return where autocast is off: it would carry the state itself in half precision."""
    kind = x.device.type
    return autocast(kind, enabled=False) if is_autocast_enabled(kind) else nullcontext()
