"""Gated cells in C++: the loop over time is one kernel, the products around it another.

Time is cut into stretches whose products with the input stay in the cache until the kernel has
read them. Where gradients are wanted, the kernel leaves in their place what the backward pass
needs: the gates and the rest of the state. That pass gives the gradients of all products, from
which those of the weights follow by one matrix product a stretch.
"""

from functools import partial
from itertools import pairwise
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor, arange, empty, get_num_threads, stack, uint8, where

from statewise import backends
from statewise.ops.cells import reference
from statewise.ops.cells.reference import Cell, State, Weights
from statewise.ops.custom import core, fresh, fresh_like, in_large_pages, native_op
from statewise.ops.products import Products

ROWS = 2048
"""Inputs of a stretch, through the batch: enough for fast products, few enough for the cache."""


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
    assert cell.kernel is not None
    recurrent, vectors = _as_kernels_see(cell, weights)
    output, final = _cells(
        x,
        weights.input,
        recurrent,
        weights.input_bias,
        weights.recurrent_bias,
        vectors,
        stack(initial),
        reset,
        lengths,
        *cell.kernel,
    )
    return output, tuple(leaf.clone() for leaf in final)


def step(cell: Cell, x: Tensor, weights: Weights, state: State) -> State:
    """Return the state after one more input; what does not fit is a ValueError."""
    assert cell.kernel is not None
    w, recurrent, bias, recurrent_bias, vectors = weights
    if cell.operands == 0:
        recurrent, vectors = _as_kernels_see(cell, weights)
    # Only x is made contiguous: it may be one time of a batch, the others are as they were made.
    # Lists, because a tuple from a generator takes a microsecond more.
    after = [fresh_like(leaf) for leaf in state]
    readable, given = backends.readable, (w, recurrent, bias, recurrent_bias, vectors)
    core().cells_step(
        *cell.kernel,
        readable(x.contiguous()),
        *[None if y is None else readable(y) for y in given],
        [readable(leaf) for leaf in state],
        [readable(leaf) for leaf in after],
        get_num_threads(),
    )
    return tuple(after)


def tilings() -> list[str]:
    """Return how a step of an LSTM and of a GRU is divided among threads and registers."""
    lines = []
    threads = get_num_threads()
    for cell in (reference.LSTM, reference.GRU):
        for batch, hidden in ((1, 256), (16, 128), (32, 256)):
            assert cell.kernel is not None
            found = core().cells_tiling(*cell.kernel, batch, 1, hidden, threads)
            lines.append(
                f"{cell.name}, batch {batch}, hidden {hidden}: {threads} threads as "
                f"{found['row_parts']} parts of the batch by {found['unit_parts']} of the units; "
                f"sums of {found['rows']} rows by {found['columns']} columns in registers; about "
                f"{found['cycles']} cycles a step"
            )
    return lines


def _as_kernels_see(cell: Cell, weights: Weights) -> tuple[Tensor, Tensor | None]:
    """Return the recurrent matrix, (heads, gates * head_dim, operands * head_dim), and vectors."""
    recurrent = weights.recurrent
    if cell.operands == 0:
        # What acts unit by unit is a vector to the kernels, whatever it is called.
        return recurrent.new_empty(1, 0, 0), recurrent[None]
    return recurrent if recurrent.ndim == 3 else recurrent[None], weights.vectors


class _Plan:
    """Sizes that the kernels agree on, and the stretches of time."""

    def __init__(self, inputs: Any):
        x, _, recurrent, _, _, vectors, initial, _, _, kind, switches = inputs
        self.kind, self.switches = kind, switches
        self.batch, self.time, self.dim = x.shape
        self.leaves, _, self.hidden = initial.shape
        self.heads = recurrent.shape[0]
        self.rows = inputs[1].shape[0]  # gates * hidden
        self.vectors = 0 if vectors is None else len(vectors)
        shape = core().cells_shape(kind, switches)
        self.kept, self.first, self.operands, self.additive, self.apart = shape
        self.stretch = max(1, min(self.time, -(-ROWS // max(self.batch, 1))))

    def stretches(self) -> list[tuple[int, int]]:
        """Return where each begins and ends."""
        begins = range(0, self.time, self.stretch)
        return [(begin, min(begin + self.stretch, self.time)) for begin in begins]

    def inputs(self, like: Tensor) -> Tensor:
        """Return memory for the inputs of a stretch, or their gradients."""
        rows = fresh((self.stretch * self.batch, self.dim), like)
        in_large_pages(rows)
        return rows

    def workspace(self, like: Tensor) -> Tensor:
        """Return the memory that a kernel needs for itself."""
        width = self.hidden // self.heads
        size = core().cells_workspace(
            self.kind,
            self.switches,
            self.batch,
            self.heads,
            width,
            like.element_size(),
            get_num_threads(),
        )
        return empty(size, dtype=uint8)


def _allocate(inputs, keep):
    x, w, _, _, _, _, initial, _, _, kind, switches = inputs
    batch, time, _ = x.shape
    hidden = initial.shape[2]
    output = fresh((batch, time, hidden), x)
    final = fresh(initial.shape, initial)
    if not keep:
        return output, final, empty(0), empty(0)
    kept = core().cells_shape(kind, switches)[0]
    gates = fresh((time, batch, w.shape[0]), x)
    return output, final, gates, fresh((time, batch, kept * hidden), x)


def _inputs_by_time(
    x: Tensor, begin: int, end: int, lengths: Tensor | None, room: Tensor
) -> Tensor:
    """Return a stretch of the inputs as rows, time first; zero where rows have ended.

    They are written to `room`: fresh memory for each stretch cost a twentieth of a whole pass.
    """
    part = x[:, begin:end]
    if lengths is not None:
        real = arange(begin, end) < lengths[:, None]
        part = where(real[..., None], part, 0)
    rows = room[: (end - begin) * len(x)]
    rows.view(end - begin, *x.shape[::2]).copy_(part.transpose(0, 1))
    return rows


def _forward(inputs, outputs):
    x, w, recurrent, bias, recurrent_bias, vectors, initial, reset, lengths, kind, switches = inputs
    output, final, gates, rest = outputs
    plan = _Plan(inputs)
    in_large_pages(output, gates, rest)
    final.copy_(initial)
    if plan.time == 0 or plan.batch == 0:
        return
    recurrent, vectors, recurrent_bias = map(_contiguous, (recurrent, vectors, recurrent_bias))
    workspace = plan.workspace(x)
    products = Products(x)
    keep, room = gates.numel() > 0, plan.inputs(x)
    scratch = None if keep else fresh((plan.stretch, plan.batch, plan.rows), x)
    for begin, end in plan.stretches():
        part = gates[begin:end] if scratch is None else scratch[: end - begin]
        read = _inputs_by_time(x, begin, end, lengths, room)
        products.multiply(read, w.t(), part.view(-1, plan.rows), bias=bias)
        backends.run(
            partial(core().cells_forward, kind, switches, begin, begin == 0),
            recurrent,
            recurrent_bias,
            vectors,
            None if reset is None else reset[:, begin:end],
            lengths,
            part,
            rest[begin:end] if keep else None,
            final,
            output[:, begin:end],
            workspace,
        )


def _backward(inputs, outputs, grads, gradients):
    x, w, recurrent, _, _, vectors, initial, reset, lengths, kind, switches = inputs
    output, _, gates, rest = outputs
    grad_output, grad_final = grads
    grad_x, grad_w, grad_u, grad_bias, grad_recurrent_bias, grad_vectors, grad_state = gradients
    plan = _Plan(inputs)
    in_large_pages(grad_x, grad_w, grad_u)
    grad_state.copy_(grad_final)
    for gradient in (grad_w, grad_u, grad_bias, grad_recurrent_bias, grad_vectors):
        if gradient is not None:
            gradient.zero_()
    if plan.time == 0 or plan.batch == 0:
        return
    recurrent, vectors, initial = map(_contiguous, (recurrent, vectors, initial))
    grad_output = grad_output if grad_output.stride(-1) == 1 else grad_output.contiguous()
    workspace = plan.workspace(x)
    shape = (plan.stretch, plan.batch)
    dx, read = fresh((*shape, plan.rows), x), fresh((*shape, plan.operands * plan.hidden), x)
    du = None if plan.additive else fresh((*shape, plan.rows), x)
    two_stages = plan.first * plan.hidden < plan.rows
    second = fresh((*shape, plan.hidden), x) if two_stages else None
    # Row by row of the batch, so that their sums do not depend on how threads divide the rows.
    by_row = [
        x.new_zeros(plan.batch, *size) if wanted else None
        for wanted, *size in (
            (plan.vectors > 0, plan.vectors, plan.hidden),
            (
                grad_bias is not None or (plan.additive and grad_recurrent_bias is not None),
                plan.rows,
            ),
            (not plan.additive and grad_recurrent_bias is not None, plan.rows),
        )
    ]
    products, room, by_time = Products(x), plan.inputs(x), plan.inputs(x)
    in_large_pages(dx, read, du, second)
    for begin, end in reversed(plan.stretches()):
        size = end - begin
        before = initial
        if begin > 0:
            leaves = rest[begin - 1].view(plan.batch, -1, plan.hidden)[:, : plan.leaves - 1]
            before = stack([output[:, begin - 1], *leaves.unbind(1)])
        backends.run(
            partial(core().cells_backward, kind, switches, begin, end == plan.time),
            recurrent,
            vectors,
            None if reset is None else reset[:, begin:end],
            lengths,
            gates[begin:end],
            rest[begin:end],
            before,
            output[:, begin:end],
            grad_output[:, begin:end],
            grad_state,
            dx[:size],
            None if du is None else du[:size],
            read[:size],
            None if second is None else second[:size],
            *by_row,
            workspace,
        )
        left = dx[:size].view(-1, plan.rows)
        given = _inputs_by_time(x, begin, end, lengths, room)
        products.multiply(left.t(), given, grad_w, add=True)
        grad_x[:, begin:end] = (
            products.multiply(left, w, by_time[: len(left)])
            .view(size, plan.batch, plan.dim)
            .transpose(0, 1)
        )
        if du is not None:
            left = du[:size].view(-1, plan.rows)
        if plan.operands:
            edge = plan.first * plan.hidden
            _add_products(grad_u, left[:, :edge], read[:size], 0, plan, products)
            if second is not None:
                _add_products(grad_u, left[:, edge:], second[:size], plan.first, plan, products)
    of_vectors, of_bias, of_recurrent_bias = (y if y is None else y.sum(0) for y in by_row)
    for gradient, found in (
        (grad_vectors, of_vectors),
        (grad_bias, of_bias),
        # Where both products are added, so are both biases.
        (grad_recurrent_bias, of_bias if plan.additive else of_recurrent_bias),
    ):
        if gradient is not None:
            gradient.copy_(found)


def _add_products(
    grad_u: Tensor, left: Tensor, read: Tensor, gate: int, plan: _Plan, products: Products
) -> None:
    """Add to the recurrent matrix's gradient, head by head, from one gate on."""
    right = read.view(len(left), -1)
    width = plan.hidden // plan.heads
    if plan.heads == 1:
        matrix = grad_u[0, gate * width : gate * width + left.shape[1]]
        last = left.shape[1] // width
        edges = [0, last] if plan.apart >= last else [0, plan.apart, plan.apart + 1, last]
        for begin, end in pairwise(edges):
            rows = slice(begin * width, end * width)
            read_there = slice(width if begin == plan.apart else None)
            to = matrix[rows, read_there]
            products.multiply(left[:, rows].t(), right[:, read_there], to, add=True)
        return
    # (heads, gates * width, rows) times (heads, rows, operands * width)
    gates = left.shape[1] // plan.hidden
    lefts = left.view(-1, gates, plan.heads, width).permute(2, 1, 3, 0).flatten(1, 2)
    rights = right.view(len(left), -1, plan.heads, width).permute(2, 0, 1, 3).flatten(2)
    grad_u[:, gate * width : (gate + gates) * width].baddbmm_(lefts, rights)


def _contiguous(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.contiguous()


def _definition(
    x, w, recurrent, bias, recurrent_bias, vectors, initial, reset, lengths, kind, switches
):
    cell = reference.of_kernel(kind, switches)
    if cell.operands == 0:
        recurrent, vectors = vectors[0], None
    elif cell.operands > 1 or len(recurrent) == 1:
        recurrent = recurrent[0]
    output, final = reference.recur(
        cell,
        x,
        Weights(w, recurrent, bias, recurrent_bias, vectors),
        initial=initial.unbind(),
        reset=reset,
        lengths=lengths,
    )
    return output, stack(final)


_cells = native_op(
    "cells(Tensor x, Tensor input, Tensor recurrent, Tensor? bias, Tensor? recurrent_bias, "
    "Tensor? vectors, Tensor initial, Tensor? reset, Tensor? lengths, int kind, int switches)",
    results=2,
    kept=2,
    allocate=_allocate,
    forward=_forward,
    backward=_backward,
    definition=_definition,
)
