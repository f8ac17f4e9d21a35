"""Newton's method for all times at once, beside the loop of the same cell."""

import functools

import pytest
import torch

from statewise.ops import cells, newton, programs
from tests.ops import test_cells
from tests.ops.agreement import (
    BOTH,
    MASKS,
    assert_a_reset_heals,
    assert_agree,
    assert_padding_may_hold_nan,
    marks,
    with_gradients,
)
from tests.ops.cell_functions import EXAMPLES
from tests.ops.test_programs import loop, read, results, taken, tensors_of

STRUCTURES = {
    "plain": "dense",
    "chained": "dense",
    "oscillator": "dense",
    "stabilized": "blocks",
    "normed": "dense",
    "compared": "diagonal",
    "clockwork": "dense",
    "delayed": "dense",
    "bare": "diagonal",
}
LONG = {"delayed", "oscillator"}  # of many numbers in a state, whose Jacobian is slow to build


def solved(name, tensors, clocks, reports=None, **options):
    parameters, x, initial, start = taken(name, tensors, clocks)
    masks = {key: options.pop(key, None) for key in BOTH}
    form = functools.partial(newton.recur, reports=reports, **options)
    found = read(name, x.dtype)
    y, final = programs.by_form(form, found, parameters, x, initial=initial, start=start, **masks)
    return y, [part for part in final if part.is_floating_point()]


@pytest.mark.parametrize("masks", MASKS, ids=str)
@pytest.mark.parametrize("name", EXAMPLES)
def test_equals_the_loop_with_its_gradients(name, masks):
    tensors, clocks = tensors_of(name, batch=3, time=5 if name in LONG else 20)
    drawn = marks(
        torch.Generator().manual_seed(1), 3, tensors[len(EXAMPLES[name].shapes)].shape[1], masks
    )
    ours = results(solved, name, tensors, clocks, drawn)
    assert_agree(ours, results(loop, name, tensors, clocks, drawn), 1e-9)


@pytest.mark.parametrize("name", ["plain", "stabilized", "bare"])
@pytest.mark.parametrize("time", [0, 1, 2])
def test_short_sequences(name, time):
    tensors, clocks = tensors_of(name, batch=2, time=time)
    ours = results(solved, name, tensors, clocks, {})
    assert_agree(ours, results(loop, name, tensors, clocks, {}), 1e-9)


def test_structures_are_found():
    assert {name: newton.structure_of(read(name).program) for name in EXAMPLES} == STRUCTURES


def test_the_structure_says_no_less_than_the_jacobian():
    """Where a program's Jacobian is said to be narrow, nothing lies outside, by differences."""
    for name, structure in STRUCTURES.items():
        if structure == "dense":
            continue
        tensors, clocks = tensors_of(name, batch=1, time=1)
        parameters, x, initial, _ = taken(name, [t.detach() for t in tensors], clocks)
        widths = [leaf.shape[1] for leaf in initial]

        def step(h, parameters=parameters, x=x, widths=widths, name=name):
            _, after = EXAMPLES[name].cell(parameters, x[:, 0], list(h[None].split(widths, 1)))
            return torch.cat(list(after), 1)[0]

        jacobian = torch.func.jacfwd(step)(torch.cat(initial, 1)[0])
        place = torch.arange(sum(widths)) % widths[0]
        outside = place[:, None] != place
        assert not jacobian[outside].count_nonzero(), name
        if structure == "blocks":
            assert jacobian[~outside].count_nonzero() > sum(widths), "leaves read one another"


@pytest.mark.parametrize("structure", ["dense", "quasi"])
def test_more_than_is_needed_or_less(structure):
    """A narrow Jacobian may be taken whole; of a whole one the diagonal may do, more slowly."""
    tensors, clocks = tensors_of("plain", batch=2, time=12)
    reports = []
    ours = results(
        functools.partial(solved, reports=reports, structure=structure),
        "plain",
        tensors,
        clocks,
        {},
    )
    assert_agree(ours, results(loop, "plain", tensors, clocks, {}), 1e-9)
    solved("plain", tensors, clocks, reports)
    counts = [report.iterations for report in reports]
    assert all(report.converged for report in reports)
    assert counts[0] >= counts[1]
    tensors, clocks = tensors_of("compared", batch=2, time=6)
    whole = results(functools.partial(solved, structure="dense"), "compared", tensors, clocks, {})
    assert_agree(whole, results(loop, "compared", tensors, clocks, {}), 1e-9)


def test_one_more_state_is_exact_with_every_iteration():
    tensors, clocks = tensors_of("plain", batch=2, time=12)
    exact, _ = loop("plain", tensors, clocks)
    for iterations in (1, 3, 6):
        reports = []
        with pytest.warns(UserWarning, match="did not converge"):
            solved("plain", tensors, clocks, reports, iterations=iterations, tolerance=0.0)
        (report,) = reports
        assert report.iterations == iterations
        assert not report.converged
    found, _ = solved("plain", tensors, clocks, iterations=13, damping=1.0, structure="quasi")
    assert_agree([found], [exact], 1e-9)


def test_what_does_not_converge_says_so_and_is_right():
    tensors, clocks = tensors_of("chained", batch=2, time=9)
    with torch.no_grad():
        for t in tensors[:4]:
            t.mul_(30)  # gates that jump
    with pytest.warns(UserWarning, match="one after another"):
        ours = results(
            functools.partial(solved, iterations=1, tolerance=1e-14), "chained", tensors, clocks, {}
        )
    assert_agree(ours, results(loop, "chained", tensors, clocks, {}), 1e-9)


def test_damping():
    tensors, clocks = tensors_of("plain", batch=2, time=9)
    reports = []
    y, _ = solved("plain", tensors, clocks, reports, damping=0.5)
    assert reports[0].converged
    assert_agree([y], [loop("plain", tensors, clocks)[0]], 1e-9)
    solved("plain", tensors, clocks, reports)
    assert reports[1].iterations < reports[0].iterations


def test_padding_and_healing():
    tensors, clocks = tensors_of("plain")
    masks = marks(torch.Generator().manual_seed(3), 4, 7)
    place = len(EXAMPLES["plain"].shapes)

    def run(given, masks):
        return results(solved, "plain", given, clocks, masks)

    close = functools.partial(assert_agree, tolerance=1e-9)
    assert_padding_may_hold_nan(run, tensors, {place}, masks, close)
    assert_a_reset_heals(run, tensors, {place + 1}, masks["reset"], close)


def test_refused():
    tensors, clocks = tensors_of("plain", batch=1, time=2)
    for options, message in (
        ({"damping": 0.0}, "damping = 0.0"),
        ({"damping": 1.5}, "damping = 1.5"),
        ({"iterations": 0}, "iterations = 0"),
        ({"structure": "diagonal"}, "this cell's is dense"),
    ):
        with pytest.raises(ValueError, match=message):
            solved("plain", tensors, clocks, **options)
    tensors, clocks = tensors_of("stabilized", batch=1, time=2)
    with pytest.raises(ValueError, match="one leaf"):
        solved("stabilized", tensors, clocks, structure="quasi")


def solve_cell(cell, tensors, masks, reports, **options):
    weights, initial = tensors[1 : -cell.leaves], tensors[-cell.leaves :]
    y, final, report = cells.solve(
        cell, tensors[0], cells.Weights(*weights), initial=tuple(initial), **masks, **options
    )
    reports.append(report)
    return y, final


@pytest.mark.parametrize("masks", MASKS, ids=str)
@pytest.mark.parametrize("cell", test_cells.CELLS)
def test_gated_cells_are_solved_as_well(cell, masks):
    tensors, drawn = test_cells.example(cell, 9, masks=masks)
    form = functools.partial(solve_cell, cell, masks=drawn, reports=[])
    ours = with_gradients(lambda *given: form(given), tensors)
    assert_agree(ours, test_cells.results(("reference", cell), tensors, drawn), 1e-9)


@pytest.mark.parametrize(("heads", "structure"), [(5, "blocks"), (1, "dense")])
def test_an_slstm_without_mixing_has_small_blocks(heads, structure):
    tensors, drawn = test_cells.example(cells.SLSTM, 9, heads=heads, masks=BOTH)
    reports = []
    form = functools.partial(solve_cell, cells.SLSTM, masks=drawn, reports=reports)
    ours = with_gradients(lambda *given: form(given), tensors)
    assert reports[0].structure == structure
    assert_agree(ours, test_cells.results(("reference", cells.SLSTM), tensors, drawn), 1e-9)


def system_of(name, tensors, clocks, scale=1.0):
    """Return the recurrence that `newton.recur` is given for a cell."""
    seen = []

    def form(program, drive, matrices, vectors, *, initial, start, reset, lengths):
        given = (drive, scale * matrices, vectors, initial, start, reset, lengths)
        seen.append(newton._System(program, *given).detached())
        return drive.new_zeros(*drive.shape[:2], program.output_width), initial

    parameters, x, initial, start = taken(name, tensors, clocks)
    found = read(name, x.dtype)
    marks = {"reset": None, "lengths": None}
    programs.by_form(form, found, parameters, x, initial=initial, start=start, **marks)
    return seen[0]


@pytest.mark.parametrize("structure", ["dense", "quasi"])
def test_no_state_is_further_from_the_solution_than_the_bound(structure):
    tensors, clocks = tensors_of("plain", batch=2, time=30)
    system = system_of("plain", tensors, clocks, scale=0.3)
    exact, bounds = system.sequential(), []
    for iterations in range(1, 9):
        h, report = system.solved(structure, 0.0, iterations, 1.0)
        off = float((h - exact).abs().amax())
        # To first order: what the slopes change by on the way is of the order of the error itself.
        assert off <= report.bound * (1 + 2 * report.bound) + 1e-15
        bounds.append((report.bound, off))
    assert bounds[0][1] > 1e-3
    assert bounds[-1][0] < 0.01 * bounds[0][0], "the bound closes in"


def test_sizes_of_slopes_are_no_less_than_the_jacobian():
    for name in EXAMPLES:
        tensors, clocks = tensors_of(name, batch=2, time=3)
        system = system_of(name, tensors, clocks)
        before = system.before(system.sequential())
        columns = torch.stack(system.pushed(before, before.shape[2]), -1)
        sizes = system.slopes(system.values(before), before.shape[2], newton._Sizes())
        assert (columns.abs().sum(-1) <= sizes * (1 + 1e-9) + 1e-12).all(), name


def test_a_bound_may_be_infinite_and_never_nan():
    tensors, clocks = tensors_of("plain", batch=2, time=400)
    system = system_of("plain", tensors, clocks, scale=100.0)
    _, report = system.solved("quasi", 1e-12, 2, 1.0)
    assert report.bound == float("inf")
    assert system.solved("dense", 1e-12, 3, 1.0)[1].bound >= 0
