"""Real-time recurrent learning: exact gradients at every step, without going back in time.

For a cell whose units act on their own, the sensitivity of a state to the parameters is carried
along with the state itself, in memory that does not grow with time. For each unit, with d its
inputs d = W x + b of the recurrence  h_t = f(d_t, h_{t-1}, v):

    J_t = df/dh_{t-1}        E_t = J_t E_{t-1} + df/dd (x) x_t    for W; likewise for b and v
    dL_t/dW = (direct part) + (dL_t/dh_{t-1}) E_{t-1}

Williams and Zipser, "A Learning Algorithm for Continually Running Fully Recurrent Neural Networks",
Neural Computation 1(2), 1989; for element-wise cells, where it is affordable, Irie et al.,
"Exploring the Promise and Limits of Real-Time Recurrent Learning", 2023, arXiv:2305.19044, section
3. Beside it, truncated back-propagation is what the training loop does (`context`, `carry`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from statewise.mixers.base import Cell
from statewise.ops import newton, programs
from statewise.ops.programs.graph import Program
from statewise.ops.programs.torch import beside, compute


class Trace(NamedTuple):
    """What is carried from one step to the next. Its size is fixed."""

    state: Any
    weights: Float[Tensor, "batch leaves inputs units dim"]
    """How the state depends on the matrix that its inputs are computed with."""
    bias: Float[Tensor, "batch leaves inputs units"]
    vectors: Float[Tensor, "batch leaves vectors units"]
    """How it depends on each of the parameters that act unit by unit."""


class Step(NamedTuple):
    """One step taken, for `backward`."""

    before: tuple[Tensor, ...]
    """The state that was read, a leaf of the graph of the output."""
    trace: Trace
    """What belongs to that state."""


class RealTimeLearner:
    """Gradients of a cell by real-time recurrent learning.

        learner = RealTimeLearner(cell)
        trace = learner.start(batch)
        for x, target in stream:
            y, trace, step = learner.step(x, trace)
            learner.backward(loss(y, target), step)   # adds to .grad, as backward does

    Summed over all steps the gradients are those of back-propagation through all time, while
    parameters stay as they are; changed in between, sensitivities are a step behind, as the paper
    has it. Of several layers, each has its own learner, and what goes through the state of a layer
    above is left out.

    Args:
        cell: whose Jacobian is one number or a small matrix for each unit, and which reads its
            inputs by linear maps.

    Raises:
        ValueError: if the cell is not of this kind.
    """

    def __init__(self, cell: Cell[Any]):
        self.cell = cell
        leaves, self.structure = tree_flatten(cell.initial_state(1))
        x = leaves[0].new_zeros(1, cell.dim)
        reading = cell.reading(x, leaves)
        name = type(cell).__name__
        if isinstance(reading, programs.Unreadable):
            raise ValueError(f"real-time learning of {name}: {reading}")
        kind = newton.structure_of(reading.program)
        if kind == "dense" or reading.program.matrices:
            raise ValueError(
                f"real-time learning of {name}: its units read one another, so that sensitivities "
                "would take a matrix for every parameter"
            )
        self.reading, self.leaves = reading, len(leaves)
        self.units = leaves[0].shape[1]
        program = reading.program
        if program.drive_width % self.units or program.vectors_width % self.units:
            raise ValueError(
                f"real-time learning of {name}: inputs ({program.drive_width}) and parameters "
                f"({program.vectors_width}) should be some for each of its {self.units} units"
            )
        if any(leaf.requires_grad for leaf in leaves):
            raise ValueError(f"real-time learning of {name}: its start is learned, too")
        x = torch.stack([torch.zeros(cell.dim), torch.ones(cell.dim), 2 * torch.ones(cell.dim)])
        none, one, two = self._read(x.to(leaves[0]))[0].detach()
        if not torch.allclose(two - none, 2 * (one - none), rtol=1e-4, atol=1e-6):
            raise ValueError(f"real-time learning of {name}: it reads inputs by no linear map")

    def start(self, batch: int) -> Trace:
        """Return what is carried before the first input."""
        state = self.cell.initial_state(batch)
        like = tree_flatten(state)[0][0]
        inputs = self.reading.program.drive_width // self.units
        vectors = self.reading.program.vectors_width // self.units

        def zeros(*shape: int) -> Tensor:
            return like.new_zeros(batch, self.leaves, *shape)

        return Trace(
            state,
            zeros(inputs, self.units, self.cell.dim),
            zeros(inputs, self.units),
            zeros(vectors, self.units),
        )

    def step(
        self, x: Float[Tensor, "batch dim"], trace: Trace
    ) -> tuple[Float[Tensor, "batch out"], Trace, Step]:
        """Map one input; return the output, what is carried on, and the step for `backward`."""
        before = [leaf.detach().requires_grad_() for leaf in tree_flatten(trace.state)[0]]
        seen: list[Tensor] = []

        def form(
            program: Program, drive: Tensor, matrices: Tensor, vectors: Tensor, **given: Any
        ) -> tuple[Tensor, Tensor]:
            drive, state = drive[:, 0], given["initial"]
            seen.extend((drive.detach(), vectors.detach()))
            values = _values(program, drive, state, vectors.expand(len(x), -1))
            return beside(values, program.output, state)[:, None], state

        y = self._by(form, x, before)
        return y[:, 0], self._advanced(x, seen[0], seen[1], trace), Step(tuple(before), trace)

    def backward(self, loss: Tensor, step: Step) -> None:
        """Add the gradients of a loss of one step's output to those of the parameters."""
        parameters = [p for p in self.cell.parameters() if p.requires_grad]
        wanted = [*step.before, *parameters]
        found = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)
        sensitivity = torch.stack(found[: len(step.before)], 1)  # (batch, leaves, units)
        through = self._through_time(sensitivity, step.trace)
        with torch.enable_grad():
            pairs = self._pairs(through)
            of_time = torch.autograd.grad(
                sum(((a * b).sum() for a, b in pairs), loss.new_zeros(())),
                parameters,
                allow_unused=True,
                materialize_grads=True,
            )
        for p, direct, carried in zip(parameters, found[len(step.before) :], of_time, strict=True):
            gradient = direct + carried
            p.grad = gradient if p.grad is None else p.grad + gradient

    def _through_time(self, sensitivity: Tensor, trace: Trace) -> Mapping[str, Tensor]:
        """Return the gradients of the matrix, the bias and the vectors, summed over the batch."""
        weighed = sensitivity.detach()
        return {
            "weights": torch.einsum("blu,blkud->kud", weighed, trace.weights).flatten(0, 1),
            "bias": torch.einsum("blu,blku->ku", weighed, trace.bias).flatten(),
            "vectors": torch.einsum("blu,blku->ku", weighed, trace.vectors).flatten(),
        }

    def _pairs(self, through: Mapping[str, Tensor]) -> Sequence[tuple[Tensor, Tensor]]:
        """Return what the recurrence reads of the parameters, each beside its gradient."""
        # The linear map as it is: what it makes of nothing is the bias, of unit vectors the matrix.
        dim = self.cell.dim
        x = torch.cat([torch.zeros(1, dim), torch.eye(dim)]).to(through["bias"])
        drive, vectors = self._read(x)
        return [
            ((drive[1:] - drive[:1]).t(), through["weights"]),
            (drive[0], through["bias"]),
            (vectors, through["vectors"]),
        ]

    def _read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the recurrence reads of some inputs, and its parameters unit by unit."""
        seen: list[Tensor] = []

        def form(
            program: Program, drive: Tensor, matrices: Tensor, vectors: Tensor, **given: Any
        ) -> tuple[Tensor, Tensor]:
            seen.extend((drive[:, 0], vectors))
            return drive.new_zeros(len(drive), 1, program.output_width), given["initial"]

        self._by(form, x, tree_flatten(self.cell.initial_state(len(x), dtype=x.dtype))[0])
        drive, vectors = seen
        return drive, vectors

    def _by(self, form: Any, x: Tensor, leaves: Sequence[Tensor]) -> Tensor:
        """Return what the cell answers to one input where its program is done by `form`."""
        parameters = dict(self.cell.named_parameters()) | dict(self.cell.named_buffers())
        marks = {"initial": leaves, "start": leaves, "reset": None, "lengths": None}
        return programs.by_form(form, self.reading, parameters, x[:, None], **marks)[0]

    @torch.no_grad()
    def _advanced(self, x: Tensor, drive: Tensor, vectors: Tensor, trace: Trace) -> Trace:
        """Return the next state, and how it depends on the parameters."""
        program, rows = self.reading.program, len(x)
        before = torch.cat([leaf.detach() for leaf in tree_flatten(trace.state)[0]], 1)
        given = (drive, before, vectors.repeat(rows, 1))

        def after(*given: Tensor) -> Tensor:
            return beside(_values(program, *given), program.state, before)

        def pushed(which: int) -> Tensor:
            """Return (batch, leaves after, blocks of what is pushed, units)."""
            columns = []
            for block in range(given[which].shape[1] // self.units):
                tangents = [torch.zeros_like(t) for t in given]
                tangents[which][:, block * self.units : (block + 1) * self.units] = 1
                columns.append(torch.func.jvp(after, given, tuple(tangents))[1])
            if not columns:
                return before.new_zeros(rows, self.leaves, 0, self.units)
            return torch.stack(columns, 1).unflatten(2, (self.leaves, self.units)).transpose(1, 2)

        of_drive, jacobian, of_vectors = pushed(0), pushed(1), pushed(2)
        by_weight = of_drive[..., None] * x.detach()[:, None, None, None]
        leaves = [leaf.clone() for leaf in after(*given).split(self.units, 1)]
        return Trace(
            tree_unflatten(leaves, self.structure),
            torch.einsum("bijs,bjksd->biksd", jacobian, trace.weights) + by_weight,
            torch.einsum("bijs,bjks->biks", jacobian, trace.bias) + of_drive,
            torch.einsum("bijs,bjks->biks", jacobian, trace.vectors) + of_vectors,
        )


def _values(program: Program, drive: Tensor, state: Tensor, vectors: Tensor) -> list[Tensor]:
    return compute(program.nodes, {"drive": drive, "state": state, "vector": vectors}, ())
