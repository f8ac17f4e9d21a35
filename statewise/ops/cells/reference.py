"""Gated cells written as their definitions: one loop. Every other backend must agree."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import linear, logsigmoid

State = tuple[Float[Tensor, "batch hidden"], ...]
"""What a cell remembers; its output is the first."""


class Weights(NamedTuple):
    """A cell's parameters; the blocks of its gates lie one below the other."""

    input: Float[Tensor, "gates_hidden dim"]
    recurrent: Float[Tensor, "..."]
    """(gates * hidden, hidden); or a block for each head, (heads, gates * head_dim, head_dim); or,
    for cells whose units are on their own, (hidden,)."""
    input_bias: Float[Tensor, " gates_hidden"] | None = None
    recurrent_bias: Float[Tensor, " gates_hidden"] | None = None
    vectors: Float[Tensor, "vectors hidden"] | None = None
    """What acts unit by unit, such as peepholes."""


class Cell(NamedTuple):
    """A cell: h_t, ... = update(W x_t + b, (h_{t-1}, ...), weights)."""

    name: str
    gates: int
    """Blocks of rows in its weights."""
    leaves: int
    """Tensors in its state."""
    update: Callable[[Tensor, State, Weights], State]
    vectors: int = 0
    """Rows of `Weights.vectors`."""
    operands: int = 1
    """Tensors of the state, side by side, that the recurrent matrix reads; 0 where there is none
    and the recurrent weights are a vector."""
    kernel: tuple[int, int] | None = None
    """Kind and switches of the C++ kernel that computes the cell too, if one does."""


def recur(
    cell: Cell,
    x: Float[Tensor, "batch time dim"],
    weights: Weights,
    *,
    initial: State,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time hidden"], State]:
    """Return the output at every time, and the last state."""
    state, outputs = initial, []
    real = None
    if lengths is not None:
        real = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        x = torch.where(real[..., None], x, 0)
    projected = linear(x, weights.input, weights.input_bias)
    for t in range(x.shape[1]):
        before = state
        if reset is not None:
            before = tuple(torch.where(reset[:, t, None], 0, leaf) for leaf in before)
        if real is None:
            state = cell.update(projected[:, t], before, weights)
            outputs.append(state[0])
        else:
            # A row that has ended computes on zeros: its state may be NaN, and 0 * NaN would reach
            # the weights' gradients.
            now = real[:, t, None]
            before = tuple(torch.where(now, leaf, 0) for leaf in before)
            after = cell.update(projected[:, t], before, weights)
            outputs.append(torch.where(now, after[0], 0))
            state = tuple(torch.where(now, a, b) for a, b in zip(after, state, strict=True))
    output = torch.stack(outputs, 1) if outputs else x.new_zeros(len(x), 0, initial[0].shape[1])
    return output, tuple(leaf.clone() for leaf in state)


def recurrent_product(
    h: Float[Tensor, "batch hidden"], weights: Weights, gates: slice | None = None
) -> Float[Tensor, "batch gates_hidden"]:
    """Return U h and its bias, gate by gate, or for some of the gates."""
    u, bias, hidden = weights.recurrent, weights.recurrent_bias, h.shape[1]
    begin, end = (gates.start, gates.stop) if gates is not None else (0, None)
    rows = slice(begin * hidden, None if end is None else end * hidden)
    bias = None if bias is None else bias[rows]
    if u.ndim == 2:
        return linear(h, u[rows], bias)
    heads, _, width = u.shape
    blocks = u.view(heads, -1, width, width)[:, begin:end]
    if width == 1:
        product = torch.cat([column * h for column in blocks.flatten(1).unbind(1)], 1)
    else:
        product = torch.einsum("ngok,bnk->bgno", blocks, h.view(-1, heads, width)).flatten(1)
    return product if bias is None else product + bias


def _elman(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor, State, Weights], State]:
    """h = function(W x + U h + b)."""

    def update(projected: Tensor, state: State, weights: Weights) -> State:
        return (function(projected + recurrent_product(state[0], weights)),)

    return update


def _independent(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor, State, Weights], State]:
    """h = function(W x + b + u * h)."""

    def update(projected: Tensor, state: State, weights: Weights) -> State:
        if weights.recurrent_bias is not None:
            projected = projected + weights.recurrent_bias
        return (function(projected + weights.recurrent * state[0]),)

    return update


def _gru(projected: Tensor, state: State, weights: Weights) -> State:
    """h = (1 - z) * n + z * h;  n = tanh(W x + b + r * (U h + b'))."""
    (h,) = state
    r, z, n = projected.chunk(3, -1)
    from_r, from_z, from_n = recurrent_product(h, weights).chunk(3, -1)
    n = torch.tanh(n + torch.sigmoid(r + from_r) * from_n)
    z = torch.sigmoid(z + from_z)
    return ((1 - z) * n + z * h,)


def _gru_reset_before(projected: Tensor, state: State, weights: Weights) -> State:
    """h = (1 - z) * n + z * h;  n = tanh(W x + b + U (r * h) + b')."""
    (h,) = state
    r, z, n = projected.chunk(3, -1)
    from_r, from_z = recurrent_product(h, weights, slice(0, 2)).chunk(2, -1)
    r, z = torch.sigmoid(r + from_r), torch.sigmoid(z + from_z)
    n = torch.tanh(n + recurrent_product(r * h, weights, slice(2, 3)))
    return ((1 - z) * n + z * h,)


def _mgu(projected: Tensor, state: State, weights: Weights) -> State:
    """h = (1 - f) * h + f * n;  n = tanh(W x + b + U (f * h) + b')."""
    (h,) = state
    f, n = projected.chunk(2, -1)
    f = torch.sigmoid(f + recurrent_product(h, weights, slice(0, 1)))
    n = torch.tanh(n + recurrent_product(f * h, weights, slice(1, 2)))
    return ((1 - f) * h + f * n,)


def _slstm(projected: Tensor, state: State, weights: Weights) -> State:
    """c = f * c + i * z;  n = f * n + i;  h = o * c / n, with i = exp(.), f = sigmoid(.).

    i and f are kept in range by m, the running maximum of their logarithms, which cancels in c / n.
    A unit whose n is zero begins: its maximum is that of its first input alone.
    """
    h, c, n, m = state
    log_i, f, z, o = (projected + recurrent_product(h, weights)).chunk(4, -1)
    begins = n == 0
    carried = logsigmoid(f) + m
    m = torch.where(begins, log_i, torch.maximum(carried, log_i))
    i = torch.exp(log_i - m)
    # What begins is replaced before exp as well: it might overflow, and its gradient be NaN.
    f = torch.where(begins, 0, torch.exp(torch.where(begins, 0, carried - m)))
    c = f * c + i * z.tanh()
    n = f * n + i
    return o.sigmoid() * (c / n), c, n, m


def lstm(
    *,
    input_gate: bool = True,
    forget_gate: bool = True,
    output_gate: bool = True,
    input_activation: bool = True,
    output_activation: bool = True,
    peepholes: bool = False,
    coupled: bool = False,
    gates_recur: bool = False,
) -> Cell:
    """Return an LSTM with the parts asked for: c = f * c + i * z;  h = o * tanh(c).

    Gates are in the order i, f, z, o; those that are absent have no rows. The eight variants of
    Greff et al., "LSTM: A Search Space Odyssey", 2017, arXiv:1503.04069, have peepholes and lack
    one part, or have one more.

    Args:
        input_gate: without, i = 1.
        forget_gate: without, f = 1.
        output_gate: without, o = 1.
        input_activation: without, z is not squashed.
        output_activation: without, h = o * c.
        peepholes: i and f read the old c, and o the new, unit by unit: `vectors` has a row each, in
            this order, read or not.
        coupled: f = 1 - i; f has no rows.
        gates_recur: i, f and o also read what i, f and o were. The state is (h, c, i, f, o), and
            the recurrent weights (4 * hidden, 4 * hidden) read (h, i, f, o); of the rows of z,
            those columns are not read that belong to gates.
    """
    if coupled and not (input_gate and forget_gate):
        raise ValueError("lstm: coupled gates need an input gate, and f is not absent but 1 - i")
    if gates_recur and not (input_gate and forget_gate and output_gate and not coupled):
        raise ValueError("lstm: gates that recur need all three gates, not coupled")
    absent = [not input_gate, not (forget_gate and not coupled), False, not output_gate]
    switches = [
        not input_gate,
        not forget_gate,
        not output_gate,
        not input_activation,
        not output_activation,
        peepholes,
        coupled,
        gates_recur,
    ]
    words = [
        "no input gate",
        "no forget gate",
        "no output gate",
        "no input activation",
        "no output activation",
        "peepholes",
        "coupled gates",
        "gates that recur",
    ]
    gates = 4 - sum(absent)

    def update(projected: Tensor, state: State, weights: Weights) -> State:
        h, c = state[:2]
        if gates_recur:
            hidden = h.shape[1]
            read = torch.cat([h, *state[2:]], 1)
            i_f, z, o = weights.recurrent.split((2 * hidden, hidden, hidden))
            unread = torch.zeros_like(z[:, hidden:])
            u = torch.cat([i_f, torch.cat([z[:, :hidden], unread], 1), o])
            sums = projected + linear(read, u, weights.recurrent_bias)
        else:
            sums = projected + recurrent_product(h, weights)
        each = iter(sums.chunk(gates, -1))
        i, f, z, o = (None if missing else next(each) for missing in absent)
        p = (None, None, None) if weights.vectors is None else weights.vectors.unbind()
        one = torch.ones_like(c)
        i = one if i is None else _gate(i, p[0], c)
        f = (1 - i if coupled else one) if f is None else _gate(f, p[1], c)
        assert z is not None
        c = f * c + i * (z.tanh() if input_activation else z)
        o = one if o is None else _gate(o, p[2], c)
        h = o * (c.tanh() if output_activation else c)
        return (h, c, i, f, o) if gates_recur else (h, c)

    return Cell(
        ", ".join(["lstm", *(word for word, on in zip(words, switches, strict=True) if on)]),
        gates,
        5 if gates_recur else 2,
        update,
        vectors=3 if peepholes else 0,
        operands=4 if gates_recur else 1,
        kernel=(1, sum(on << place for place, on in enumerate(switches))),
    )


def _gate(sums: Tensor, peephole: Tensor | None, c: Tensor) -> Tensor:
    return torch.sigmoid(sums if peephole is None else sums + peephole * c)


TANH = Cell("elman, tanh", 1, 1, _elman(torch.tanh), kernel=(0, 0))
RELU = Cell("elman, relu", 1, 1, _elman(torch.relu), kernel=(0, 1))
LSTM = lstm()
GRU = Cell("gru", 3, 1, _gru, kernel=(2, 0))
GRU_RESET_BEFORE = Cell("gru, reset before", 3, 1, _gru_reset_before, kernel=(3, 0))
MGU = Cell("mgu", 2, 1, _mgu, kernel=(4, 0))
SLSTM = Cell("slstm", 4, 4, _slstm, kernel=(5, 0))
INDRNN_TANH = Cell("indrnn, tanh", 1, 1, _independent(torch.tanh), operands=0, kernel=(6, 0))
INDRNN_RELU = Cell("indrnn, relu", 1, 1, _independent(torch.relu), operands=0, kernel=(6, 1))
ODYSSEY = {
    "V": lstm(peepholes=True),
    "NIG": lstm(peepholes=True, input_gate=False),
    "NFG": lstm(peepholes=True, forget_gate=False),
    "NOG": lstm(peepholes=True, output_gate=False),
    "NIAF": lstm(peepholes=True, input_activation=False),
    "NOAF": lstm(peepholes=True, output_activation=False),
    "NP": LSTM,
    "CIFG": lstm(peepholes=True, coupled=True),
    "FGR": lstm(peepholes=True, gates_recur=True),
}
"""The vanilla LSTM of Greff et al. and its eight variants, by the names they have there."""

_FIXED = (TANH, RELU, GRU, GRU_RESET_BEFORE, MGU, SLSTM, INDRNN_TANH, INDRNN_RELU)


def of_kernel(kind: int, switches: int) -> Cell:
    """Return the cell that a C++ kernel computes."""
    for cell in _FIXED:
        if cell.kernel == (kind, switches):
            return cell
    on = [bool(switches >> place & 1) for place in range(8)]
    return lstm(
        input_gate=not on[0],
        forget_gate=not on[1],
        output_gate=not on[2],
        input_activation=not on[3],
        output_activation=not on[4],
        peepholes=on[5],
        coupled=on[6],
        gates_recur=on[7],
    )
