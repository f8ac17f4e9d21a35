"""Gated cells  h_t = f(U h_{t-1}, W x_t):  Elman's, LSTM and its variants, GRU, MGU, sLSTM, IndRNN.

The recurrent matrix is dense, or has a block for each head.
"""

# Inside this package `torch` is the file torch.py, so the library is imported by its parts.
from contextlib import AbstractContextManager, nullcontext

from jaxtyping import Bool, Float, Int
from torch import (
    Tensor,
    autocast,
    compiler,
    float32,
    is_autocast_enabled,
    promote_types,
)
from torch import dtype as DataType
from torch.nn.functional import linear

from statewise import backends
from statewise.ops.arguments import check_marks
from statewise.ops.cells import native, reference
from statewise.ops.cells.newton import solve as solve
from statewise.ops.cells.reference import GRU as GRU
from statewise.ops.cells.reference import GRU_RESET_BEFORE as GRU_RESET_BEFORE
from statewise.ops.cells.reference import INDRNN_RELU as INDRNN_RELU
from statewise.ops.cells.reference import INDRNN_TANH as INDRNN_TANH
from statewise.ops.cells.reference import LSTM as LSTM
from statewise.ops.cells.reference import MGU as MGU
from statewise.ops.cells.reference import ODYSSEY as ODYSSEY
from statewise.ops.cells.reference import RELU as RELU
from statewise.ops.cells.reference import SLSTM as SLSTM
from statewise.ops.cells.reference import TANH as TANH
from statewise.ops.cells.reference import Cell as Cell
from statewise.ops.cells.reference import State as State
from statewise.ops.cells.reference import Weights as Weights
from statewise.ops.cells.reference import lstm as lstm
from statewise.ops.cells.torch import KERNELS
from statewise.ops.cells.torch import recur as by_kernels

__all__ = [
    "GRU",
    "GRU_RESET_BEFORE",
    "INDRNN_RELU",
    "INDRNN_TANH",
    "LSTM",
    "MGU",
    "ODYSSEY",
    "RELU",
    "SLSTM",
    "TABLE",
    "TANH",
    "Cell",
    "Weights",
    "lstm",
    "recur",
    "recur_step",
    "remarks",
    "solve",
    "table",
]


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
    backends.Row("native", backends.without_native),
    backends.Row("torch", without_kernels),
    backends.Row("reference", backends.always),
)


def table(cell: Cell, weights: Weights) -> tuple[backends.Row, ...]:
    """Return the rows of the table, with what a cell's kernels lack."""
    lacks = {
        "native": f"the core has no {cell.name}" if cell.kernel is None else None,
        "torch": (
            f"torch has no {cell.name}"
            if cell.name not in KERNELS
            else "torch's kernels have no heads"
            if weights.recurrent.ndim == 3
            else "torch's kernels have both biases or none"
            if (weights.input_bias is None) != (weights.recurrent_bias is None)
            else None
        ),
    }
    return tuple(
        backends.Row(row.backend, lambda _, why=why: why)
        if (why := lacks.get(row.backend))
        else row
        for row in TABLE
    )


def remarks() -> list[str]:
    """Return how the kernel divides some sizes of work on this machine, a sentence each."""
    return native.tilings() if backends.core is not None else []


_FORMS = {"native": native.recur, "torch": by_kernels, "reference": reference.recur}


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
        cell: `TANH`, `RELU`, `LSTM` or any other `lstm(...)`, those of `ODYSSEY` among them, `GRU`,
            `GRU_RESET_BEFORE`, `MGU`, `SLSTM`, `INDRNN_TANH`, `INDRNN_RELU`, or a `Cell` of your
            own, whose `update` is then the definition and the loop.
        x: the inputs; their dtype is the output's. Arithmetic is in float32 or wider, under
            autocast too.
        weights: (gates * hidden, dim) and (gates * hidden, hidden), either bias or none. With heads
            the recurrent weights are (heads, gates * head_dim, head_dim); where units are on their
            own, (hidden,). The gates are in torch's order: i, f, g, o and r, z, n; f, n for the
            MGU; i, f, z, o for the sLSTM.
        initial: the state before the first input; zeros if absent. That of an LSTM is h, c; of the
            sLSTM h, c, n, m.
        reset: where true, the state counts as zero.
        lengths: from 0 to time. Beyond a row's length the output is zero, nothing is read, and the
            last state is the one after its last real input; with length 0, `initial`.

    Raises:
        ValueError: if shapes or dtypes do not fit together.
    """
    batch, time, _ = x.shape
    hidden = _check_weights(cell, x.shape[2], weights)
    work = promote_types(promote_types(x.dtype, weights.input.dtype), float32)
    if initial is None:
        zeros = x.new_zeros(batch, hidden, dtype=work)
        initial = (zeros,) * cell.leaves
    _check_state(cell, initial, batch, hidden)
    for leaf in initial:
        work = promote_types(work, leaf.dtype)
    check_marks(cell.name, batch, time, reset, lengths)
    form = _FORMS[backends.choose("cells", table(cell, weights), x).backend]
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
    """Return the state after one more input, in the dtype of the state given.

    Raises:
        ValueError: if shapes do not fit together.
    """
    if cell.kernel is not None and backends.direct("cells", TABLE, (x, *weights, *state)):
        # The kernel looks at shapes, dtypes and strides itself, in a tenth of the time.
        try:
            return native.step(cell, x, weights, state)
        except ValueError:
            pass  # what does not fit is said better below
    _check_state(cell, state, len(x), _check_weights(cell, x.shape[1], weights))
    dtype = state[0].dtype
    weights = _in(dtype, weights)
    with _without_autocast(x):
        return cell.update(linear(x.to(dtype), weights.input, weights.input_bias), state, weights)


def _check_state(cell: Cell, state: State, batch: int, hidden: int) -> None:
    """Refuse a state of another shape."""
    if len(state) != cell.leaves:
        raise ValueError(f"{cell.name} has {cell.leaves} tensors in its state, not {len(state)}")
    for leaf in state:
        if leaf.shape != (batch, hidden):
            raise ValueError(
                f"{cell.name}: initial {tuple(leaf.shape)} should be (batch, hidden) = "
                f"{(batch, hidden)}"
            )


def _check_weights(cell: Cell, dim: int, weights: Weights) -> int:
    """Refuse weights that do not fit together; return the units they are for."""
    rows, recurrent = weights.input.shape[0], weights.recurrent
    hidden = rows // cell.gates
    if recurrent.ndim == 3:
        heads = max(recurrent.shape[0], 1)
        width = hidden // heads
        wanted = (heads, cell.gates * width, width)
        if cell.operands != 1:
            raise ValueError(f"{cell.name}: the recurrent weights cannot have heads")
    elif cell.operands == 0:
        hidden = recurrent.shape[-1] if recurrent.ndim else 0
        wanted = (hidden,)
    else:
        hidden = recurrent.shape[-1] // cell.operands
        wanted = (cell.gates * hidden, cell.operands * hidden)
    shape = (cell.gates * hidden, dim)
    if weights.input.shape != shape:
        raise ValueError(
            f"{cell.name}: the input weights {tuple(weights.input.shape)} should be "
            f"({cell.gates} * hidden, dim) = {shape}"
        )
    if recurrent.shape != wanted or (recurrent.ndim == 3 and hidden % wanted[0]):
        raise ValueError(
            f"{cell.name}: the recurrent weights {tuple(recurrent.shape)} should be {wanted}"
        )
    for name, bias in (("input", weights.input_bias), ("recurrent", weights.recurrent_bias)):
        if bias is not None and bias.shape != (cell.gates * hidden,):
            raise ValueError(
                f"{cell.name}: the {name} bias {tuple(bias.shape)} should be "
                f"({cell.gates} * hidden,) = {(cell.gates * hidden,)}"
            )
    found = None if weights.vectors is None else tuple(weights.vectors.shape)
    if found != ((cell.vectors, hidden) if cell.vectors else None):
        raise ValueError(
            f"{cell.name}: the vectors {found or 'absent'} should be "
            + (f"(vectors, hidden) = {(cell.vectors, hidden)}" if cell.vectors else "absent")
        )
    return hidden


def _in(dtype: DataType, weights: Weights) -> Weights:
    """Return the weights in another precision."""
    u, rest = weights.recurrent.to(dtype), [y if y is None else y.to(dtype) for y in weights[2:]]
    return Weights(weights.input.to(dtype), u, *rest)


def _without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Return where autocast is off: it would carry the state itself in half precision."""
    kind = x.device.type
    return autocast(kind, enabled=False) if is_autocast_enabled(kind) else nullcontext()
