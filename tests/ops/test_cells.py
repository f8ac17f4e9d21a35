"""Every backend of the cells against their definition, and what the native kernels promise."""

import inspect
from functools import partial

import pytest
import torch

from statewise import backends
from statewise.ops import cells
from statewise.ops.cells import native, reference
from statewise.ops.cells.torch import KERNELS
from tests.ops.agreement import (
    BOTH,
    DTYPES,
    LEVELS,
    MASKS,
    TIMES,
    assert_a_reset_heals,
    assert_agree,
    assert_agrees_with_definition,
    assert_bit_equal_at_any_number_of_threads,
    assert_denormals_agree,
    assert_fresh,
    assert_gradients_of_one_result_agree,
    assert_padding_may_hold_nan,
    assert_refused,
    assert_registered_rightly,
    assert_transforms_agree,
    assert_writes_every_number,
    error,
    flat,
    needs_core,
    with_gradients,
)
from tests.ops.agreement import marks as random_marks
from tests.ops.compiling import HOW, assert_compiles

PLAIN = [cells.TANH, cells.RELU, cells.LSTM, cells.GRU]
OTHERS = [cells.GRU_RESET_BEFORE, cells.MGU, cells.SLSTM, cells.INDRNN_TANH, cells.INDRNN_RELU]
ODYSSEY = [cell for name, cell in cells.ODYSSEY.items() if name != "NP"]
MORE = [
    cells.lstm(forget_gate=False),
    cells.lstm(coupled=True, output_activation=False),
    cells.lstm(gates_recur=True),
]
CELLS = [pytest.param(cell, id=cell.name) for cell in PLAIN + OTHERS + ODYSSEY + MORE]
EASY = [pytest.param(cell, id=cell.name) for cell in PLAIN]
SOME = [pytest.param(cell, id=cell.name) for cell in (cells.LSTM, cells.GRU, *OTHERS[:3])]
HEADED = [c for c in CELLS if c.values[0].operands == 1]


def example(cell, time=7, *, dim=3, hidden=5, heads=1, batch=3, masks=(), dtype=torch.float64):
    """Return [x, weights that are there, leaves of the state] and the marks asked for."""
    g = torch.Generator().manual_seed(time)

    def draw(*shape):
        return torch.randn(shape, generator=g, dtype=torch.float64) / 2

    rows, width = cell.gates * hidden, hidden // heads
    recurrent = draw(rows, cell.operands * hidden)
    if cell.operands == 0:
        recurrent = draw(hidden)
    elif heads > 1:
        recurrent = draw(heads, cell.gates * width, width)
    tensors = [draw(batch, time, dim), draw(rows, dim), recurrent, draw(rows), draw(rows)]
    if cell.vectors:
        tensors.append(draw(cell.vectors, hidden))
    tensors += [draw(batch, hidden) for _ in range(cell.leaves)]
    if cell is cells.SLSTM:
        tensors[-2] = 1 + tensors[-2].abs()  # its sum of gates is not negative
        tensors[-2][0] = 0  # and zero for who begins
    wide = torch.promote_types(dtype, torch.float32)
    states = len(tensors) - cell.leaves
    tensors = [x.to(dtype if i < states else wide) for i, x in enumerate(tensors)]
    return [x.requires_grad_() for x in tensors], random_marks(g, batch, time, masks)


def run(backend, cell, *tensors, marks=None):
    """Return the output and the final state by one backend, through the table."""
    weights, initial = tensors[1 : -cell.leaves], tensors[-cell.leaves :]
    with backends.use(backend):
        return cells.recur(
            cell, tensors[0], cells.Weights(*weights), initial=tuple(initial), **(marks or {})
        )


def results(form, tensors, marks, rounded=None):
    """Return what a form (backend, cell) computes, and the gradients."""
    return with_gradients(partial(run, *form, marks=marks), tensors, rounded)


def agrees(backend, cell, **options):
    form, definition = (backend, cell), ("reference", cell)
    assert_agrees_with_definition(results, form, definition, example, cell=cell, **options)


@needs_core
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("masks", MASKS, ids="+".join)
@pytest.mark.parametrize("cell", CELLS)
def test_native_agrees_with_the_definition(cell, masks, dtype):
    agrees("native", cell, masks=masks, dtype=dtype)


@needs_core
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("cell", SOME)
def test_native_agrees_at_every_length(cell, time, dtype):
    agrees("native", cell, time=time, masks=BOTH, dtype=dtype)


@needs_core
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(("hidden", "heads"), [(8, 4), (34, 2), (96, 3)])
@pytest.mark.parametrize("cell", HEADED)
def test_native_agrees_with_heads(cell, hidden, heads, dtype):
    agrees("native", cell, time=4, hidden=hidden, heads=heads, masks=BOTH, dtype=dtype)


@needs_core
@pytest.mark.parametrize("batch", [1, 2, 7, 19])
@pytest.mark.parametrize("hidden", [1, 16, 67, 130])
@pytest.mark.parametrize("cell", SOME)
def test_native_agrees_at_every_size(cell, hidden, batch):
    agrees("native", cell, time=3, hidden=hidden, batch=batch)


@pytest.mark.parametrize("masks", MASKS, ids="+".join)
@pytest.mark.parametrize("time", [1, 2, 3, 16, 63, 100])
@pytest.mark.parametrize("cell", EASY)
def test_torch_agrees_with_the_definition(cell, time, masks):
    agrees("torch", cell, time=time, masks=masks)


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("cell", EASY)
def test_torch_agrees_in_every_precision(cell, dtype):
    agrees("torch", cell, time=16, masks=BOTH, dtype=dtype)


@needs_core
@pytest.mark.parametrize("cell", SOME)
@pytest.mark.parametrize("level", LEVELS)
def test_every_level(core, level, cell):
    core.set_level(level)
    for dtype in (torch.float32, torch.float64):
        agrees("native", cell, time=4, hidden=40, batch=4, masks=BOTH, dtype=dtype)


@needs_core
@pytest.mark.parametrize("cell", CELLS)
def test_long_sequences_are_cut_into_stretches(cell, monkeypatch):
    monkeypatch.setattr(native, "ROWS", 12)
    agrees("native", cell, time=19, masks=BOTH)
    with torch.no_grad():  # then nothing is kept
        tensors, marks = example(cell, time=19, masks=BOTH)
        made = [flat(run(name, cell, *tensors, marks=marks)) for name in ("native", "reference")]
    assert_agree(*made, 1e-12)


IN_ALL = [
    pytest.param((backend, cell), id=f"{backend}-{cell.name}", marks=needed)
    for backend, cells_of, needed in (
        ("native", [c.values[0] for c in CELLS], needs_core),
        ("torch", PLAIN, ()),
    )
    for cell in cells_of
]


@pytest.mark.parametrize("form", IN_ALL)
def test_padding_may_hold_nan_and_a_reset_heals(form):
    backend, cell = form
    tensors, marks = example(cell, masks=BOTH)
    compute = partial(results, form)
    assert_padding_may_hold_nan(compute, tensors, (0,), marks)
    states = range(len(tensors) - cell.leaves, len(tensors))
    assert_a_reset_heals(compute, tensors, states, marks["reset"])
    if cell.operands:
        # In the middle too, where the NaN came from an input; other rows never see it.
        x = tensors[0].detach().clone()
        x[0, 2] = torch.nan
        again = torch.zeros(3, 7, dtype=torch.bool)
        again[0, 4] = True
        y, final = run(backend, cell, x, *tensors[1:], marks={"reset": again})
        assert y[0, 2:4].isnan().all()
        assert y[0, 4:].isfinite().all()
        assert y[1:].isfinite().all()
        assert all(leaf.isfinite().all() for leaf in final)


def test_a_row_that_ended_in_nan_spoils_no_gradient():
    for backend in ("native", "torch", "reference"):
        if backend == "native" and backends.core is None:
            continue
        tensors, _ = example(cells.GRU, 3, batch=4)
        tensors[-1] = torch.full_like(tensors[-1], torch.nan).detach()
        marks = {
            "reset": torch.tensor([[True, False, False]] * 4),
            "lengths": torch.tensor([3, 0, 0, 2]),
        }
        y, (final,) = run(backend, cells.GRU, *tensors, marks=marks)
        assert final.isnan().all(1).tolist() == [False, True, True, False]
        grads = torch.autograd.grad(y.sum(), tensors[:-1])
        assert all(g.isfinite().all() for g in grads)


@needs_core
@pytest.mark.parametrize("cell", SOME)
def test_native_reads_strided_and_expanded_inputs(cell):
    tensors, marks = example(cell, masks=BOTH)
    x = torch.randn(7, 6, 3, dtype=torch.float64)
    views = [
        x.transpose(0, 1)[::2],
        x[:1, :3].transpose(0, 1).expand(3, 7, 3),
        x.repeat(1, 1, 2)[:, :3, ::2].transpose(0, 1),
    ]
    wide = [torch.randn(*t.shape[:-1], 2 * t.shape[-1]).double() for t in tensors[1:]]
    columns = [w[..., ::2].requires_grad_() for w in wide]
    reset = marks["reset"].T.contiguous().T
    for view in views:
        given = [view.detach().requires_grad_(), *columns]
        dense = [y.detach().clone(memory_format=torch.contiguous_format) for y in given]
        options = {"reset": reset, "lengths": marks["lengths"].int()}
        ours = with_gradients(partial(run, "native", cell, marks=options), given)
        plain = [y.requires_grad_() for y in dense]
        assert_agree(
            ours, with_gradients(partial(run, "reference", cell, marks=options), plain), 1e-9
        )


@needs_core
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_of_one_result_alone(cell):
    """Also: the expanded gradient that a sum sends back."""
    tensors, marks = example(cell, masks=BOTH)
    for place in range(1 + cell.leaves):
        ours, definition = (
            partial(run, backend, cell, marks=marks) for backend in ("native", "reference")
        )
        assert_gradients_of_one_result_agree(ours, definition, tensors, place)


@needs_core
@pytest.mark.parametrize("cell", CELLS)
def test_writes_every_number(cell):
    """Memory that came as NaN leaves without one."""
    for time in (1, 9):
        tensors, marks = example(cell, time, masks=BOTH)
        assert_writes_every_number(lambda given=(tensors, marks): results(("native", cell), *given))
    tensors = [x.detach() for x in tensors]
    weights, state = cells.Weights(*tensors[1 : -cell.leaves]), tuple(tensors[-cell.leaves :])
    x = tensors[0][:, 0].contiguous()
    assert_writes_every_number(lambda: cells.recur_step(cell, x, weights, state))


@pytest.mark.parametrize("form", IN_ALL)
def test_denormals_agree(form):
    """All but the weights: some leaf of every state is then denormal, and none is flushed."""
    backend, cell = form
    tensors, marks = example(cell, 9, masks=BOTH)
    ours, definition = (partial(run, name, cell, marks=marks) for name in (backend, "reference"))
    weights = (1, 2)
    tiny = [place for place in range(len(tensors)) if place not in weights]
    assert_denormals_agree(ours, definition, tensors, tiny)


@needs_core
@pytest.mark.parametrize("cell", CELLS)
def test_nothing_is_shared_or_changed(cell):
    for time in (0, 1, 7):
        tensors, marks = example(cell, time, masks=BOTH)

        def form(*everything, cell=cell):
            *given, reset, lengths = everything
            return run("native", cell, *given, marks={"reset": reset, "lengths": lengths})

        assert_fresh(form, [*(x.detach() for x in tensors), *marks.values()])


@needs_core
@pytest.mark.parametrize("cell", CELLS)
def test_gradcheck(cell):
    tensors, marks = example(cell, 3, dim=1, hidden=2, masks=BOTH)
    if cell in (cells.RELU, cells.INDRNN_RELU):
        tensors[0].data.abs_()  # away from the kink
    if cell is cells.SLSTM:
        tensors[-2].data += 1  # where a unit begins, its maximum jumps
    form = lambda *given: tuple(flat(run("native", cell, *given, marks=marks)))  # noqa: E731
    assert torch.autograd.gradcheck(form, tensors)
    assert torch.autograd.gradgradcheck(form, tensors)


@needs_core
@pytest.mark.parametrize("cell", CELLS)
def test_transforms_are_right_through_the_table(cell):
    """Through jvp and vmap a custom op would answer zero or fail; the table must see to it."""
    tensors, marks = example(cell, 4, masks=BOTH)
    rest = tensors[1 : -cell.leaves]

    def form(backend):
        def through(x, *others):
            given, (reset, lengths) = others[:-2], others[-2:]
            with backends.use(backend):
                return cells.recur(
                    cell,
                    x,
                    cells.Weights(*(w.detach() for w in rest)),
                    initial=given,
                    reset=reset,
                    lengths=lengths,
                )

        return through

    shared = (tensors[0], *tensors[-cell.leaves :])
    assert_transforms_agree(form(None), form("reference"), shared, tuple(marks.values()))


@needs_core
@pytest.mark.parametrize("masks", [(), BOTH], ids="+".join)
@pytest.mark.parametrize("cell", SOME)
def test_custom_ops_are_registered_rightly(cell, masks):
    (x, w, u, b, c, *initial), marks = example(cell, 4, masks=masks)
    state = torch.stack(initial).detach().requires_grad_()
    arguments = (x, w, u[None].detach().requires_grad_(), b, c, None, state)
    marked = (marks.get("reset"), marks.get("lengths"))
    inputs = (*arguments, *marked, *cell.kernel)
    assert_registered_rightly(native._cells, inputs, len(native._cells(*inputs)))


@pytest.mark.parametrize("how", HOW)
def test_compiles(how):
    assert_compiles("cells", how)


@needs_core
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("cell", SOME)
def test_bit_equal_at_any_number_of_threads(core, cell, batch, heads):
    """The kernels themselves: what torch's matrix products do with threads is theirs."""
    hidden, time = 128, 30
    tensors, marks = example(
        cell, time, hidden=hidden, heads=heads, batch=batch, dtype=torch.float32, masks=BOTH
    )
    x, w, u, b, c, *initial = (y.detach() for y in tensors)
    u = u if u.ndim == 3 else u[None]
    kept, first, _, additive, _ = core.cells_shape(*cell.kernel)
    projected = (x @ w.T + b).transpose(0, 1).contiguous()
    grad_output = torch.randn(batch, time, hidden)
    shape = (time, batch)

    def both():
        threads = torch.get_num_threads()
        size = core.cells_workspace(*cell.kernel, batch, heads, hidden // heads, 4, threads)
        work = torch.empty(size, dtype=torch.uint8)
        gates, rest = projected.clone(), torch.full((*shape, kept * hidden), torch.nan)
        state, output = torch.stack(initial), torch.full((batch, time, hidden), torch.nan)
        forward = partial(core.cells_forward, *cell.kernel, 0, True)
        backends.run(forward, u, c, None, *marks.values(), gates, rest, state, output, work)
        grads = torch.ones_like(state)
        dx, du = (torch.full((*shape, cell.gates * hidden), torch.nan) for _ in range(2))
        read, second = (torch.full((*shape, hidden), torch.nan) for _ in range(2))
        biases = torch.zeros(2, batch, cell.gates * hidden)  # added to
        backends.run(
            partial(core.cells_backward, *cell.kernel, 0, True),
            *(u, None, *marks.values(), gates, rest, torch.stack(initial), output, grad_output),
            *(grads, dx, None if additive else du, read, None if first == cell.gates else second),
            *(None, *biases, work),
        )
        made = [output, state, grads, dx, read, biases]
        return made + ([] if additive else [du]) + ([] if first == cell.gates else [second])

    assert not any(y.isnan().any() for y in both())  # memory that came as NaN leaves without one
    assert_bit_equal_at_any_number_of_threads(both)


@needs_core
@pytest.mark.parametrize("cell", CELLS)
def test_gates_at_the_edges_stay_finite(cell):
    for size in (50.0, -50.0, 500.0):
        tensors, _ = example(cell)
        tensors = [x.detach().float() for x in tensors]
        tensors[0] = torch.full_like(tensors[0], size)
        if cell.operands == 0 or cell is cells.RELU:
            tensors[2] = tensors[2].clamp(-0.1, 0.1)  # nothing else bounds them
        given = [x.requires_grad_() for x in tensors]
        for backend in ("native", "reference"):
            found = with_gradients(partial(run, backend, cell), given)
            assert all(y.isfinite().all() for y in found), backend


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_steps_are_the_sequence(cell, heads):
    if heads > 1 and cell.operands != 1:
        pytest.skip("no heads")
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        tensors, _ = example(cell, dim=20, hidden=38, heads=heads, dtype=dtype)
        tensors = [x.detach() for x in tensors]
        weights = cells.Weights(*tensors[1 : -cell.leaves])
        state = initial = tuple(tensors[-cell.leaves :])
        output, final = cells.recur(cell, tensors[0], weights, initial=initial)
        for t in range(7):
            before, kept = state, [leaf.clone() for leaf in state]
            state = cells.recur_step(cell, tensors[0][:, t], weights, state)
            assert error(state[0], output[:, t]) < tolerance
            assert all(torch.equal(a, b) for a, b in zip(before, kept, strict=True))
        assert_agree(state, final, tolerance)


@pytest.mark.parametrize(
    ("batch", "sizes", "message"),
    [
        (2, (5,), "lstm has 2 tensors in its state, not 1"),
        (2, (5, 4), r"initial \(2, 4\) should be \(batch, hidden\) = \(2, 5\)"),
        (1, (5, 5), r"initial \(2, 5\) should be \(batch, hidden\) = \(1, 5\)"),
    ],
)
def test_a_step_refuses_what_does_not_fit(batch, sizes, message):
    step = inspect.unwrap(cells.recur_step)  # past the hook that checks shapes in tests
    weights = cells.Weights(torch.randn(20, 3), torch.randn(20, 5))
    state = tuple(torch.zeros(2, size) for size in sizes)
    with pytest.raises(ValueError, match=message):
        step(cells.LSTM, torch.randn(batch, 3), weights, state)


def test_a_step_can_be_differentiated():
    tensors, _ = example(cells.GRU)
    x, *weights, h = tensors
    (after,) = cells.recur_step(cells.GRU, x[:, 0], cells.Weights(*weights), (h,))
    y, _ = run("reference", cells.GRU, *tensors)
    ours = torch.autograd.grad(after.square().sum(), weights)
    for a, b in zip(ours, torch.autograd.grad(y[:, 0].square().sum(), weights), strict=True):
        assert error(a, b) < 1e-12


@pytest.mark.parametrize("module", ["RNN", "LSTM", "GRU"])
def test_outside_witness_torch(module):
    """Parameters as torch.nn's modules have them give what these give."""
    torch.manual_seed(0)
    theirs = getattr(torch.nn, module)(3, 5, batch_first=True).double()
    cell = {"RNN": cells.TANH, "LSTM": cells.LSTM, "GRU": cells.GRU}[module]
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    expected, final = theirs(x)
    output, state = cells.recur(cell, x, cells.Weights(*theirs.parameters()))
    assert error(output, expected) < 1e-12
    for a, b in zip(state, final if module == "LSTM" else (final,), strict=True):
        assert error(a, b[0]) < 1e-12


def test_slstm_is_its_unstabilized_form():
    """c = f c + i z, n = f n + i, h = o c / n with i = exp(.), where nothing overflows."""
    tensors, _ = example(cells.SLSTM, 9)
    x, w, u, b, r, *_ = (y.detach() for y in tensors)
    output, _ = cells.recur(cells.SLSTM, x, cells.Weights(w, u, b, r))
    h = c = n = torch.zeros(3, 5, dtype=torch.float64)
    for t in range(9):
        i, f, z, o = (x[:, t] @ w.T + b + h @ u.T + r).chunk(4, 1)
        c, n = f.sigmoid() * c + i.exp() * z.tanh(), f.sigmoid() * n + i.exp()
        h = o.sigmoid() * c / n
        assert error(output[:, t], h) < 1e-12


def test_odyssey_variants_are_as_published():
    """The equations of Greff et al., section 3 and appendix, written out once more."""
    for name, cell in cells.ODYSSEY.items():
        tensors, _ = example(cell, 6)
        x, w, u, b, r, *rest = (y.detach() for y in tensors)
        p = rest[0] if cell.vectors else torch.zeros(3, 5, dtype=torch.float64)
        output, _ = cells.recur(cell, x, cells.Weights(w, u, b, r, *rest[: bool(cell.vectors)]))
        y = c = i = f = o = torch.zeros(3, 5, dtype=torch.float64)
        for t in range(6):
            rows = iter((x[:, t] @ w.T + b + r).chunk(cell.gates, 1))
            blocks = iter(u.chunk(cell.gates, 0))

            def gate(y=y, rows=rows, blocks=blocks, gates=(i, f, o), squash=True):
                block = next(blocks)
                sums = next(rows) + y @ block[:, :5].T
                if block.shape[1] > 5 and squash:
                    sums = sums + torch.cat(gates, 1) @ block[:, 5:].T
                return sums

            i = 1 if name == "NIG" else torch.sigmoid(gate() + p[0] * c)
            if name == "CIFG":
                f = 1 - i
            else:
                f = 1 if name == "NFG" else torch.sigmoid(gate() + p[1] * c)
            z = gate(squash=False)
            c = (z if name == "NIAF" else z.tanh()) * i + c * f
            o = 1 if name == "NOG" else torch.sigmoid(gate() + p[2] * c)
            y = (c if name == "NOAF" else c.tanh()) * o
            assert error(output[:, t], y) < 1e-12, name


@pytest.mark.parametrize("cell", EASY)
def test_torch_has_right_second_derivatives_in_float32(cell):
    """There torch's LSTM is another kernel than in float64, with a backward pass of its own."""
    found = []
    for backend, dtype in (("torch", torch.float32), ("reference", torch.float64)):
        tensors, _ = example(cell, 4, dtype=torch.float32)
        tensors = [x.detach().to(dtype).requires_grad_() for x in tensors]
        y, final = run(backend, cell, *tensors)
        loss = y.square().sum() + sum(leaf.sin().sum() for leaf in final)
        first = torch.autograd.grad(loss, tensors, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), tensors)
        found.append([g.double() for g in second])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)


def test_the_table_says_what_serves():
    x = torch.randn(2, 3, 3)
    weights = cells.Weights(torch.randn(15, 3), torch.randn(15, 5))

    def choice(cell, x, weights=weights):
        return backends.choose("cells", cells.table(cell, weights), x).backend

    assert [row.backend for row in cells.TABLE][-1] == "reference"
    seen = []
    torch.func.vmap(lambda x: seen.append(choice(cells.GRU, x)) or x)(x[None])
    assert seen == ["reference"]
    mine = cells.Cell("mine", 3, 1, cells.GRU.update)
    assert choice(mine, x) == "reference"
    assert choice(cells.MGU, x) == ("reference" if backends.core is None else "native")
    assert set(KERNELS) == {cell.name for cell in PLAIN}
    y, _ = cells.recur(mine, x, weights)
    assert error(y, reference.recur(cells.GRU, x, weights, initial=(torch.zeros(2, 5),))[0]) == 0
    with backends.use("torch"), pytest.raises(ValueError, match="torch has no mgu"):
        cells.recur(cells.MGU, x, cells.Weights(torch.randn(10, 3), torch.randn(10, 5)))


@pytest.mark.parametrize(
    ("cell", "change", "message"),
    [
        (cells.LSTM, {"initial": (4, 4)}, r"initial \(2, 4\) should be \(batch, hidden\)"),
        (cells.LSTM, {"initial": (5,)}, "lstm has 2 tensors in its state, not 1"),
        (cells.LSTM, {"input": (5, 3)}, r"input weights \(5, 3\) should be \(4 \* hidden, dim\)"),
        (cells.LSTM, {"recurrent": (15, 5)}, r"recurrent weights \(15, 5\) should be \(20, 5\)"),
        (cells.LSTM, {"recurrent": (2, 8, 2)}, r"\(2, 8, 2\) should be"),
        (cells.LSTM, {"input_bias": (5,)}, r"input bias \(5,\) should be"),
        (cells.LSTM, {"recurrent_bias": (5,)}, r"recurrent bias \(5,\) should be"),
        (cells.LSTM, {"vectors": (3, 5)}, r"vectors \(3, 5\) should be absent"),
        (cells.ODYSSEY["V"], {}, r"vectors absent should be \(vectors, hidden\) = \(3, 5\)"),
        (cells.ODYSSEY["FGR"], {"recurrent": (1, 20, 5), "vectors": (3, 5)}, "cannot have heads"),
        (cells.LSTM, {"reset": (2, 3)}, r"reset .* should be boolean"),
        (cells.LSTM, {"lengths": (2,)}, r"lengths .* should be integers"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_in_words(cell, change, message):
    recur = inspect.unwrap(cells.recur)  # past the hook that checks shapes in tests
    shapes = {"input": (20, 3), "recurrent": (20, 5)} | change
    initial = shapes.pop("initial", None)
    marks = {n: torch.ones(shapes.pop(n)) for n in ("reset", "lengths") if n in shapes}
    weights = cells.Weights(**{name: torch.randn(shape) for name, shape in shapes.items()})
    if initial:
        marks["initial"] = tuple(torch.zeros(2, size) for size in initial)
    with pytest.raises(ValueError, match=message):
        recur(cell, torch.randn(2, 3, 3), weights, **marks)


def test_parts_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="coupled gates need an input gate"):
        cells.lstm(coupled=True, input_gate=False)
    with pytest.raises(ValueError, match="gates that recur need all three"):
        cells.lstm(gates_recur=True, output_gate=False)


@needs_core
def test_kernels_refuse_what_they_cannot_address(core):
    x = torch.ones(3, 2, 20)
    good = {
        "recurrent": torch.ones(1, 20, 5),
        "recurrent_bias": None,
        "vectors": None,
        "reset": None,
        "lengths": None,
        "gates": x,
        "rest": torch.ones(3, 2, 5),
        "state": torch.ones(2, 2, 5),
        "output": torch.ones(2, 3, 5),
        "workspace": torch.empty(1 << 20, dtype=torch.uint8),
    }
    bad = [
        ({"recurrent": torch.ones(20, 5)}, r"recurrent of shape \(20, 5\)"),
        ({"recurrent": torch.ones(2, 10, 2)}, "heads that divide"),
        ({"recurrent": torch.ones(1, 5, 20).transpose(1, 2)}, "recurrent .* contiguous"),
        ({"recurrent_bias": torch.ones(5)}, r"recurrent_bias .* \(20\)"),
        ({"reset": torch.ones(2, 3)}, "reset .* boolean"),
        ({"lengths": torch.ones(2, dtype=torch.int32)}, "lengths .* int64"),
        ({"gates": x.double()}, "gates .* precision"),
        ({"gates": x[:2]}, r"gates .* \(3, 2, 20\)"),
        ({"rest": torch.ones(3, 2, 10)}, "rest"),
        ({"state": torch.ones(2, 5, 2).transpose(1, 2)}, "state .* contiguous"),
        ({"output": torch.ones(1, 3, 5).expand(2, 3, 5)}, "output .* not expanded"),
        ({"output": torch.ones(2, 3, 5).half()}, "float32 or float64"),
        ({"workspace": torch.empty(100, dtype=torch.uint8)}, "workspace .* at least"),
    ]
    forward = partial(core.cells_forward, *cells.LSTM.kernel, 0, True)
    assert_refused(forward, good, bad)
    with pytest.raises(ValueError, match="no kind of cell 9"):
        backends.run(partial(core.cells_forward, 9, 0, 0, True), *good.values())


@needs_core
def test_the_doctor_prints_the_tiling(core):
    found = core.cells_tiling(*cells.LSTM.kernel, 1, 1, 256, 2)
    assert found["row_parts"] * found["unit_parts"] == 2
    assert found["unit_parts"] == 2, "one row cannot be divided, its units can"
