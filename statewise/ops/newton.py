"""Nonlinear recurrences for all times at once: Newton's method, whose linear part is a scan.

    h_t = f(h_{t-1}, x_t) for all t   is   r_t(h) = f(h_{t-1}, x_t) - h_t = 0,
    d_t = J_t d_{t-1} + r_t,  h_t <- h_t + damping * d_t,     J_t = df / dh at h_{t-1}.

Lim et al., "Parallelizing Non-linear Sequential Models over the Sequence Length", 2023,
arXiv:2309.12252, section 3; with only the diagonal of J, Gonzalez et al., "Towards Scalable and
Stable Parallelization of Nonlinear RNNs", 2024, arXiv:2407.19115, section 4. Every iteration makes
one more state exact from the left, with any J that is finite: after as many as there are times the
answer is the sequential one, but for rounding.
"""

import warnings
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypedDict

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from statewise.ops.matrix_scan import matrix_scan
from statewise.ops.programs.graph import POINTWISE, SOURCES, Program
from statewise.ops.programs.torch import beside, compute, unpacked
from statewise.ops.programs.torch import recur as by_torch
from statewise.ops.scan import scan

Structure = Literal["diagonal", "blocks", "dense", "quasi"]
"""Of the Jacobian: one number a unit; a small matrix a unit, over leaves of one width; whole; or
whole, of which only the diagonal is used."""

LARGEST = 1e8
"""Iterates are kept within: far from the solution they may grow without bound."""


class Report(NamedTuple):
    """How it went."""

    structure: Structure
    iterations: int
    change: float
    """The largest change of the last iteration, relative to 1 + |h|."""
    converged: bool
    bound: float
    """How far any number of a state may be from the solution, to first order; it may be infinite.

    With r what the states lack of being a solution,  e_t <= |J_t| e_{t-1} + |r_t|  in the largest
    norm, where |J_t| is at most what the sizes of the slopes add up to through the program.
    """


class Options(TypedDict, total=False):
    """What `recur` may be told of the method; it says what each is."""

    structure: Structure | None
    tolerance: float | None
    iterations: int
    damping: float


Linear = Callable[[Tensor], Tensor]
"""Returns d of  d_t = J_t d_{t-1} + r_t  from r, (batch, time, state)."""


def recur(
    program: Program,
    drive: Float[Tensor, "batch time drive"],
    matrices: Float[Tensor, " numbers"],
    vectors: Float[Tensor, " vectors"],
    *,
    initial: Float[Tensor, "batch state"],
    start: Float[Tensor, "batch state"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
    structure: Structure | None = None,
    tolerance: float | None = None,
    iterations: int = 100,
    damping: float = 1.0,
    reports: list[Report] | None = None,
) -> tuple[Float[Tensor, "batch time output"], Float[Tensor, "batch state"]]:
    """Return what a program hands out at every time, and the last state, as its loop would.

    Gradients are those of the solution, exact however it was found: one reverse scan. Derivatives
    of higher order are not: the sequential forms have them.

    Args:
        program: of a cell.
        drive: what it reads at every time.
        matrices: all of them, one after another.
        vectors: its parameters that act unit by unit.
        initial: the state before the first input.
        start: the one that a reset returns to.
        reset: where true, the state returns to its start.
        lengths: of the rows.
        structure: of the Jacobian; found from the program if absent.
        tolerance: the relative change at which the states are taken as solved; 64 times the
            precision of the dtype if absent.
        iterations: at most. More than there are times are never needed in exact arithmetic.
        damping: the part of each step that is taken, above 0 and up to 1.
        reports: a list to which a `Report` is added.

    Raises:
        ValueError: if the structure does not fit the program, or a number is out of its range.
    """
    if not 0 < damping <= 1:
        raise ValueError(f"newton: damping = {damping} should be above 0 and up to 1")
    if iterations < 1:
        raise ValueError(f"newton: iterations = {iterations} should be at least 1")
    found = structure_of(program)
    structure = found if structure is None else structure
    _check(program, structure, found)
    system = _System(program, drive, matrices, vectors, initial, start, reset, lengths)
    tolerance = 64 * torch.finfo(drive.dtype).eps if tolerance is None else tolerance
    with torch.no_grad():
        h, report = system.detached().solved(structure, tolerance, iterations, damping)
    if reports is not None:
        reports.append(report)
    if not report.converged:
        warnings.warn(
            f"newton did not converge: after {report.iterations} iterations the states still "
            f"changed by {report.change:.1e}, where {tolerance:.1e} was asked for; they were "
            "computed one after another instead",
            stacklevel=4,
        )
        with torch.no_grad():
            h = system.detached().sequential()
    if torch.is_grad_enabled() and system.differentiated():
        # From the solution one more step changes nothing, but its gradient is the solution's.
        with torch.no_grad():
            whole = "dense" if structure == "quasi" else structure
            linear = system.detached().linear(whole, h)
        h = h + linear(system.residual(h))
    return system.handed_out(h), system.last(h)


def structure_of(program: Program) -> Structure:
    """Return the structure of a program's Jacobian, "diagonal", "blocks" or "dense"."""
    # For each value, how far the places of the state that a number depends on lie from its own: a
    # set of distances, or None where it may depend on any.
    reads: list[set[int] | None] = []
    for op, of, width, at, _ in program.nodes:
        given = [reads[place] for place in of]
        if op == "state":
            reads.append({int(at)} if width > 1 or program.state_width == 1 else None)
        elif op in SOURCES or op == "literal":
            reads.append(set())
        elif op in ("product", "sum", "expand"):
            reads.append(set() if all(part == set() for part in given) else None)
        elif op == "concat":
            begin, all_of = 0, set[int]()
            known = True
            for place, part in zip(of, given, strict=True):
                known &= part is not None
                all_of |= {distance - begin for distance in part or ()}
                begin += program.nodes[place].width
            reads.append(all_of if known else None)
        else:
            shift = int(at) if op == "slice" else 0
            known = None not in given
            union = {d + shift for part in given for d in part or ()}
            reads.append(union if known else None)
    begin, widths = 0, [program.nodes[place].width for place in program.state]
    distances: set[int] = set()
    for place, width in zip(program.state, widths, strict=True):
        part = reads[place]
        if part is None:
            return "dense"
        distances |= {distance - begin for distance in part}
        begin += width
    if distances <= {0}:
        return "diagonal"
    whole = len(set(widths)) == 1 and all(distance % widths[0] == 0 for distance in distances)
    return "blocks" if whole else "dense"


def _check(program: Program, structure: Structure, found: Structure) -> None:
    """Refuse a structure that would leave out what there is, unless that is what it is for."""
    order = ("diagonal", "blocks", "dense")
    if structure == "quasi":
        if len(program.state) != 1:
            raise ValueError("newton: structure = 'quasi' needs a state of one leaf")
    elif structure not in order:
        raise ValueError(f"newton: structure = {structure!r} is none of {', '.join(order)}, quasi")
    elif order.index(structure) < order.index(found):
        raise ValueError(f"newton: structure = {structure!r}, but this cell's is {found}")
    elif structure == "blocks" and len({program.nodes[p].width for p in program.state}) != 1:
        raise ValueError("newton: structure = 'blocks' needs leaves of one width")


class _System(NamedTuple):
    """One recurrence and its inputs."""

    program: Program
    drive: Tensor
    matrices: Tensor
    vectors: Tensor
    initial: Tensor
    start: Tensor
    reset: Tensor | None
    lengths: Tensor | None

    def detached(self) -> "_System":
        """Return the same without gradients."""
        return self._replace(
            **{
                name: value.detach()
                for name, value in self._asdict().items()
                if isinstance(value, Tensor)
            }
        )

    def differentiated(self) -> bool:
        """Return whether a gradient is wanted of anything."""
        return any(isinstance(value, Tensor) and value.requires_grad for value in self)

    def real(self) -> Bool[Tensor, "batch time"] | None:
        """Return where rows have not ended."""
        if self.lengths is None:
            return None
        places = torch.arange(self.drive.shape[1], device=self.drive.device)
        return places < self.lengths[:, None]

    def before(self, h: Float[Tensor, "batch time state"]) -> Float[Tensor, "batch time state"]:
        """Return the state before every input."""
        known = torch.cat([self.initial[:, None], h], 1)[:, : h.shape[1]]
        if self.reset is not None:
            known = torch.where(self.reset[..., None], self.start[:, None], known)
        real = self.real()
        # What has ended computes on its start: its state may be NaN.
        return known if real is None else torch.where(real[..., None], known, self.start[:, None])

    def values(self, before: Tensor) -> list[Tensor]:
        """Return all values of the program at all times, (batch * time, width) each."""
        rows = before.shape[0] * before.shape[1]
        drive = self.drive
        real = self.real()
        if real is not None:
            drive = torch.where(real[..., None], drive, 0)
        sources = {
            "drive": drive.flatten(0, 1),
            "state": before.flatten(0, 1),
            "vector": self.vectors.expand(rows, -1),
        }
        return compute(self.program.nodes, sources, unpacked(self.program, self.matrices))

    def beside(self, values: list[Tensor], places: tuple[int, ...]) -> Tensor:
        """Return some values side by side, (batch, time, width), zero where rows have ended."""
        shape = self.drive.shape[:2]
        row = beside(values, places, self.drive.flatten(0, 1)).unflatten(0, shape)
        real = self.real()
        return row if real is None else torch.where(real[..., None], row, 0)

    def after(self, before: Tensor) -> Tensor:
        """Return the state after every input, from that before it."""
        return self.beside(self.values(before), self.program.state)

    def residual(self, h: Tensor) -> Tensor:
        """Return f(h_{t-1}, x_t) - h_t, (batch, time, state)."""
        return self.after(self.before(h)) - h

    def solved(
        self, structure: Structure, tolerance: float, iterations: int, damping: float
    ) -> tuple[Tensor, Report]:
        """Return the states, and how they were found."""
        h = self.after(self.start[:, None].expand(*self.drive.shape[:2], -1))
        done, change = 0, torch.inf
        while done < iterations and change > tolerance:
            d = self.linear(structure, h)(self.residual(h)) * damping
            d = d.nan_to_num(0.0, LARGEST, -LARGEST)
            change = float((d.abs() / (1 + h.abs())).amax()) if d.numel() else 0.0
            h = (h + d).clamp(-LARGEST, LARGEST)
            done += 1
        return h, Report(structure, done, change, change <= tolerance, self.bound(h))

    def bound(self, h: Tensor) -> float:
        """Return how far states may be from the solution, to first order."""
        before = self.before(h)
        if not h.numel():
            return 0.0
        values = self.values(before)
        growth = self.slopes(values, before.shape[2], _Sizes()).amax(-1, keepdim=True)
        lacking = (self.beside(values, self.program.state) - h).abs().amax(-1, keepdim=True)
        far, _ = scan(growth, lacking, reset=self.reset, lengths=self.lengths)
        return float(far.nan_to_num(torch.inf, torch.inf).amax())

    def sequential(self) -> Tensor:
        """Return the states, one after another."""
        program, drive, matrices, vectors, initial, start, reset, lengths = self
        states, _ = by_torch(
            program._replace(output=program.state),
            drive,
            matrices,
            vectors,
            initial=initial,
            start=start,
            reset=reset,
            lengths=lengths,
        )
        return states

    def linear(self, structure: Structure, h: Tensor) -> Linear:
        """Return the solver of the linear recurrence around some states."""
        before, state = self.before(h), h.shape[2]
        marks = {"reset": self.reset, "lengths": self.lengths}
        if structure in ("diagonal", "quasi"):
            if structure == "quasi":
                diagonal = self.slopes(self.values(before), state, _Own())
            else:
                diagonal = self.pushed(before, 1)[0]
            return lambda r: scan(diagonal, r, **marks)[0]
        leaves = len(self.program.state) if structure == "blocks" else state
        # (batch, time, column's leaf, row's leaf, units)
        columns = torch.stack(self.pushed(before, leaves))
        columns = columns.unflatten(-1, (leaves, state // leaves)).permute(1, 2, 4, 3, 0)

        def solve(r: Tensor) -> Tensor:
            blocks = r.unflatten(-1, (leaves, state // leaves)).transpose(2, 3)
            d, _ = matrix_scan(columns, blocks, **marks)
            return d.transpose(2, 3).flatten(2)

        return solve

    def pushed(self, before: Tensor, leaves: int) -> list[Tensor]:
        """Return J times a row of ones on each leaf, (batch, time, state) each.

        Of leaves of one number this is J, column by column; of a Jacobian with one number a unit,
        or a small matrix, the ones pick just these numbers.
        """
        each = before.shape[2] // leaves
        found = []
        for leaf in range(leaves):
            ones = torch.zeros_like(before)
            ones[..., leaf * each : (leaf + 1) * each] = 1
            found.append(torch.func.jvp(self.after, (before,), (ones,))[1])
        return found

    def slopes(self, values: list[Tensor], state: int, rule: "_Own | _Sizes") -> Tensor:
        """Return of every number of the state what a rule makes of its slopes along the state."""
        matrices = unpacked(self.program, self.matrices)
        slopes: list[Tensor] = []
        for place, (op, of, width, at, _) in enumerate(self.program.nodes):
            given = [slopes[p] for p in of]
            zero = torch.zeros_like(values[place])
            if op == "state":
                slopes.append(rule.state(zero, state))
            elif op in SOURCES or op == "literal":
                slopes.append(zero)
            elif op == "product":
                slopes.append(rule.product(given[0], matrices[int(at)], state))
            elif op in ("sum", "expand"):
                slopes.append(rule.together(given[0], zero))
            elif op == "slice":
                slopes.append(given[0][:, int(at) : int(at) + width])
            elif op == "concat":
                slopes.append(torch.cat(given, 1))
            elif op == "affine":
                slopes.append(rule.sized(given[0] * at))
            else:
                # Forward-mode differentiation refuses what was expanded.
                inputs = tuple(values[p].contiguous() for p in of)
                along = tuple(slope.contiguous() for slope in given)
                slopes.append(rule.pointwise(POINTWISE[op], inputs, along))
            assert slopes[place].shape == values[place].shape
        return self.beside(slopes, self.program.state)

    def handed_out(self, h: Tensor) -> Tensor:
        """Return what the program hands out at every time."""
        return self.beside(self.values(self.before(h)), self.program.output)

    def last(self, h: Tensor) -> Tensor:
        """Return the state after each row's last input, fresh."""
        known = torch.cat([self.initial[:, None], h], 1)
        if self.lengths is None:
            return known[:, -1].clone()
        return known[torch.arange(len(h), device=h.device), self.lengths]


class _Own:
    """About the diagonal of the Jacobian: of every product, what a unit gives to itself.

    Where two products follow each other, what comes back by way of other units is left out.
    """

    def state(self, zero: Tensor, state: int) -> Tensor:
        return torch.ones_like(zero) if zero.shape[1] == state else zero

    def product(self, given: Tensor, matrix: Tensor, state: int) -> Tensor:
        width = len(matrix)
        if matrix.shape[1] != state or width % state:
            return given.new_zeros(len(given), width)
        own = matrix.view(-1, state, state).diagonal(dim1=1, dim2=2).reshape(-1)
        return given.repeat(1, width // state) * own

    def together(self, given: Tensor, zero: Tensor) -> Tensor:
        return zero

    def sized(self, slopes: Tensor) -> Tensor:
        return slopes

    def pointwise(self, function: Any, inputs: tuple[Tensor, ...], given: Any) -> Tensor:
        return torch.func.jvp(function, inputs, given)[1]


class _Sizes:
    """What the sizes of the slopes along all numbers of the state add up to, or more."""

    def state(self, zero: Tensor, state: int) -> Tensor:
        return torch.ones_like(zero)

    def product(self, given: Tensor, matrix: Tensor, state: int) -> Tensor:
        return given @ matrix.abs().t()

    def together(self, given: Tensor, zero: Tensor) -> Tensor:
        return given.sum(1, keepdim=True) if zero.shape[1] == 1 else given.expand_as(zero)

    def sized(self, slopes: Tensor) -> Tensor:
        return slopes.abs()

    def pointwise(self, function: Any, inputs: tuple[Tensor, ...], given: Any) -> Tensor:
        total = torch.zeros_like(inputs[0])
        for place, slope in enumerate(given):
            tangents = [torch.zeros_like(x) for x in inputs]
            tangents[place] = slope
            total = total + torch.func.jvp(function, inputs, tuple(tangents))[1].abs()
        return total
