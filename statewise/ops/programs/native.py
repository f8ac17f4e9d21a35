"""Programs in C++: one kernel that reads instructions, a register of numbers at a time.

Where gradients are wanted the kernel keeps the state after every time and what products gave; the
backward pass, itself a program, computes the rest once more. Time is cut into stretches whose
gradients of products stay in the cache until the matrices' own follow from them.
"""

from functools import partial

from jaxtyping import Bool, Float, Int
from torch import Tensor, empty, get_num_threads, uint8

from statewise import backends
from statewise.ops.custom import core, fresh, in_large_pages, native_op
from statewise.ops.products import Products
from statewise.ops.programs.assembly import Assembly, backward_of, forward_of
from statewise.ops.programs.derivative import products
from statewise.ops.programs.graph import Program, program
from statewise.ops.programs.torch import recur as by_torch
from statewise.ops.programs.torch import unpacked

ROWS = 2048
"""Rows of a stretch, through the batch: enough for fast products, few enough for the cache."""


def recur(
    given: Program,
    drive: Float[Tensor, "batch time drive"],
    matrices: Float[Tensor, " numbers"],
    vectors: Float[Tensor, " vectors"],
    *,
    initial: Float[Tensor, "batch state"],
    start: Float[Tensor, "batch state"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time output"], Float[Tensor, "batch state"]]:
    """Return what is handed out at every time, and the last state."""
    output, final = _programs(
        drive, matrices, vectors, initial, start, reset, lengths, given.text()
    )
    return output, final


class _Room:
    """Memory that calls of one pass share."""

    def __init__(self, given: Program, found: Assembly, drive: Tensor, back: bool):
        size, packed = core().program_room(
            back,
            len(drive),
            found.local,
            found.lasting,
            given.state_width,
            found.tape,
            given.matrices,
            drive.element_size(),
            get_num_threads(),
        )
        self.workspace, self.packed = empty(size, dtype=uint8), fresh((packed,), drive)
        self.stretch = max(1, min(drive.shape[1], -(-ROWS // max(len(drive), 1))))

    def stretches(self, time: int) -> list[tuple[int, int]]:
        """Return where each begins and ends."""
        begins = range(0, time, self.stretch)
        return [(begin, min(begin + self.stretch, time)) for begin in begins]


def _allocate(inputs, keep):
    drive, _, _, initial, _, _, _, text = inputs
    given = program(text)
    batch, time, _ = drive.shape
    output = fresh((batch, time, given.output_width), drive)
    final = fresh(initial.shape, initial)
    if not keep:
        return output, final, empty(0), empty(0)
    tape = sum(given.nodes[place].width for place in products(given))
    kept = fresh((time, batch, tape), drive)
    return output, final, fresh((time, batch, given.state_width), drive), kept


def _forward(inputs, outputs):
    drive, matrices, vectors, initial, start, reset, lengths, text = inputs
    output, final, states, kept = outputs
    final.copy_(initial)
    if drive.shape[0] == 0 or drive.shape[1] == 0:
        return
    given = program(text)
    found = forward_of(given, drive.dtype)
    keep = states.dim() > 1
    in_large_pages(output, states, kept)
    room = _Room(given, found, drive, False)
    backends.run(
        partial(
            core().program_forward,
            0,
            True,
            found.local,
            found.lasting,
            given.matrices,
            found.tape,
        ),
        found.code,
        found.literals,
        matrices.contiguous(),
        vectors.contiguous(),
        _rows(drive),
        start.contiguous(),
        reset,
        lengths,
        final,
        output,
        states if keep else None,
        kept if keep else None,
        room.packed,
        room.workspace,
    )


def _backward(inputs, outputs, grads, gradients):
    drive, matrices, vectors, initial, start, reset, lengths, text = inputs
    _, _, states, kept = outputs
    grad_output, grad_final = grads
    grad_drive, grad_matrices, grad_vectors, grad_initial, grad_start = gradients
    given = program(text)
    grad_initial.copy_(grad_final)
    for gradient in (grad_matrices, grad_start):
        gradient.zero_()
    batch, time, _ = drive.shape
    of_vectors = fresh((batch, given.vectors_width), drive).zero_()
    if batch and time:
        found = backward_of(given, drive.dtype)
        room = _Room(given, found, drive, True)
        operand = fresh((room.stretch, batch, found.operands), drive)
        of_tape = fresh((room.stretch, batch, found.tape), drive)
        in_large_pages(grad_drive, operand, of_tape)
        drive, grad_output = _rows(drive), _rows(grad_output)
        matrices, vectors, start = (x.contiguous() for x in (matrices, vectors, start))
        multiply = Products(drive)
        for begin, end in reversed(room.stretches(time)):
            size = end - begin
            backends.run(
                partial(
                    core().program_backward,
                    begin,
                    end == time,
                    found.local,
                    found.lasting,
                    given.matrices,
                ),
                found.code,
                found.literals,
                matrices,
                vectors,
                drive[:, begin:end],
                start,
                None if reset is None else reset[:, begin:end],
                lengths,
                (initial if begin == 0 else states[begin - 1]).contiguous(),
                states[begin:end],
                kept[begin:end],
                grad_output[:, begin:end],
                grad_initial,
                grad_start,
                grad_drive[:, begin:end],
                operand[:size],
                of_tape[:size],
                of_vectors,
                room.packed,
                room.workspace,
            )
            _add_products(given, grad_matrices, operand[:size], of_tape[:size], multiply)
    grad_vectors.copy_(of_vectors.sum(0))


def _add_products(
    given: Program, grad_matrices: Tensor, operand: Tensor, of_tape: Tensor, multiply: Products
) -> None:
    """Add the gradients of the matrices: of every product, what it read by what it gave."""
    each = unpacked(given, grad_matrices)
    read, gave = operand.flatten(0, 1), of_tape.flatten(0, 1)
    for place in products(given):
        node = given.nodes[place]
        width = given.nodes[node.of[0]].width
        left, gave = gave[:, : node.width], gave[:, node.width :]
        right, read = read[:, :width], read[:, width:]
        multiply.multiply(left.t(), right, each[int(node.at)], add=True)


def _rows(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 or x.shape[-1] <= 1 else x.contiguous()


def _definition(drive, matrices, vectors, initial, start, reset, lengths, text):
    return by_torch(
        program(text),
        drive,
        matrices,
        vectors,
        initial=initial,
        start=start,
        reset=reset,
        lengths=lengths,
    )


_programs = native_op(
    "programs(Tensor drive, Tensor matrices, Tensor vectors, Tensor initial, Tensor start, "
    "Tensor? reset, Tensor? lengths, str text)",
    results=2,
    kept=2,
    allocate=_allocate,
    forward=_forward,
    backward=_backward,
    definition=_definition,
)
