"""Cells as programs: every form beside a plain loop over the function that was read."""

import functools

import pytest
import torch

from statewise import backends
from statewise.ops import programs
from statewise.ops.programs import assembly, derivative, native, reading
from tests.ops.agreement import (
    BOTH,
    LEVELS,
    MASKS,
    TIMES,
    assert_a_reset_heals,
    assert_agree,
    assert_bit_equal_at_any_number_of_threads,
    assert_checkpoints,
    assert_padding_may_hold_nan,
    assert_refused,
    assert_registered_rightly,
    assert_transforms_agree,
    assert_writes_every_number,
    leaf,
    marks,
    needs_core,
    with_gradients,
)
from tests.ops.cell_functions import DIM, EXAMPLES, drawn
from tests.ops.compiling import HOW, assert_compiles

BACKENDS = [pytest.param("native", marks=needs_core), "torch", "reference"]


@functools.cache
def read(name, dtype=torch.float64):
    example = EXAMPLES[name]
    parameters, _, state, _ = drawn(example, 2, 1, dtype)
    return programs.read(example.cell, parameters, DIM, state, dtype)


def tensors_of(name, batch=4, time=7, dtype=torch.float64):
    """Return parameters, x, and the floating leaves of both states, in a list; and the clocks."""
    parameters, x, initial, start = drawn(EXAMPLES[name], batch, time, dtype)
    everything = [*parameters.values(), x, *initial, *start]
    floating = [leaf(t) for t in everything if t.is_floating_point()]
    return floating, [t for t in everything if not t.is_floating_point()]


def taken(name, tensors, clocks):
    """Return what `tensors_of` has put in a list as it was."""
    example, tensors, clocks = EXAMPLES[name], list(tensors), list(clocks)
    parameters = {key: tensors.pop(0) for key in example.shapes}
    x = tensors.pop(0)
    states = [
        [clocks.pop(0) if counts else tensors.pop(0) for counts in example.counts] for _ in range(2)
    ]
    return parameters, x, *states


def loop(name, tensors, clocks, reset=None, lengths=None):
    """The definition: the function, one time after another."""
    parameters, x, state, start = taken(name, tensors, clocks)
    ys = []

    def pick(rows, yes, no):
        return [
            torch.where(rows.reshape(-1, *[1] * (a.ndim - 1)), a, b)
            for a, b in zip(yes, no, strict=True)
        ]

    for t in range(x.shape[1]):
        real = torch.ones(len(x), dtype=torch.bool) if lengths is None else t < lengths
        before = state if reset is None else pick(reset[:, t] & real, start, state)
        before = pick(real, before, start)  # a state that has ended may be NaN
        y, after = EXAMPLES[name].cell(parameters, torch.where(real[:, None], x[:, t], 0), before)
        ys.append(torch.where(real[:, None], y, 0))
        state = pick(real, after, state)
    y = torch.stack(ys, 1) if ys else _nothing(name, parameters, x, state)
    return y, [part for part in state if part.is_floating_point()]


def _nothing(name, parameters, x, state):
    y, _ = EXAMPLES[name].cell(parameters, x.new_zeros(len(x), DIM), state)
    return y[:, None][:, :0]


def by(backend, name, tensors, clocks, **masks):
    parameters, x, initial, start = taken(name, tensors, clocks)
    with backends.use(backend):
        cell, found = EXAMPLES[name].cell, read(name, x.dtype)
        y, final = programs.recur(cell, found, parameters, x, initial=initial, start=start, **masks)
    return y, [part for part in final if part.is_floating_point()]


def results(form, name, tensors, clocks, masks):
    return with_gradients(lambda *t: form(name, t, clocks, **masks), tensors)


def assert_agrees(backend, name, masks=(), dtype=torch.float64, **sizes):
    tensors, clocks = tensors_of(name, dtype=dtype, **sizes)
    g = torch.Generator().manual_seed(2)
    drawn_marks = marks(g, sizes.get("batch", 4), sizes.get("time", 7), masks)
    ours = results(functools.partial(by, backend), name, tensors, clocks, drawn_marks)
    if dtype == torch.float64:
        assert_agree(ours, results(loop, name, tensors, clocks, drawn_marks), 1e-9)
        return
    wide = [leaf(t.double()) for t in tensors]
    exact = [t.to(dtype) for t in results(loop, name, wide, clocks, drawn_marks)]
    assert_agree(ours, exact, 1e-5)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_at_every_length(backend, name, time):
    assert_agrees(backend, name, time=time)


@pytest.mark.parametrize("masks", MASKS[1:], ids=str)
@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_resets_and_lengths(backend, name, masks):
    assert_agrees(backend, name, masks, time=11)


@needs_core
@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("level", LEVELS)
def test_every_level(core, level, name):
    core.set_level(level)
    assert_agrees("native", name, BOTH, time=5)
    assert_agrees("native", name, BOTH, torch.float32, time=5)


@needs_core
@pytest.mark.parametrize("batch", [0, 1, 3, 40])
def test_every_batch(batch):
    for name in EXAMPLES:
        assert_agrees("native", name, batch=batch, time=3)


@needs_core
def test_stretches_of_time(monkeypatch):
    """The backward pass goes through time piece by piece, over the borders as over any step."""
    monkeypatch.setattr(native, "ROWS", 12)
    for name in EXAMPLES:
        assert_agrees("native", name, BOTH, time=10)


@needs_core
def test_bit_equal_at_any_number_of_threads():
    for name in EXAMPLES:
        tensors, clocks = tensors_of(name, batch=7, time=40, dtype=torch.float32)
        form = functools.partial(by, "native")
        assert_bit_equal_at_any_number_of_threads(
            lambda n=name, t=tensors, c=clocks, f=form: results(f, n, t, c, {})
        )


@needs_core
def test_writes_every_number():
    form = functools.partial(by, "native")
    for name in ("plain", "oscillator", "normed"):
        tensors, clocks = tensors_of(name)
        assert_writes_every_number(lambda n=name, t=tensors, c=clocks: results(form, n, t, c, {}))


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_padding_and_healing(backend, name):
    tensors, clocks = tensors_of(name)
    masks = marks(torch.Generator().manual_seed(3), 4, 7)
    place = len(EXAMPLES[name].shapes)
    states = range(place + 1, place + 1 + EXAMPLES[name].counts.count(False))

    def run(given, masks):
        return results(functools.partial(by, backend), name, given, clocks, masks)

    assert_padding_may_hold_nan(run, tensors, {place}, masks)
    assert_a_reset_heals(run, tensors, states, masks["reset"])


@needs_core
def test_registered_rightly():
    tensors, clocks = tensors_of("plain", batch=2, time=3)
    parameters, x, (h,), (start,) = taken("plain", tensors, clocks)
    program = read("plain").program
    drive = torch.nn.functional.linear(x, parameters["W"], parameters["b"]).detach()
    given = (
        drive.requires_grad_(),
        parameters["U"].detach().flatten().requires_grad_(),
        torch.zeros(0, dtype=x.dtype, requires_grad=True),
        h,
        start,
        None,
        torch.tensor([3, 1]),
        program.text(),
    )
    assert_registered_rightly(native._programs, given, 2)


@needs_core
def test_derivatives_of_every_order():
    for name in ("plain", "oscillator"):
        tensors, clocks = tensors_of(name, batch=1, time=2)

        def f(*given, name=name, clocks=clocks):
            y, final = by("native", name, given, clocks)
            return y, *final

        assert torch.autograd.gradcheck(f, tensors)
        assert_checkpoints(lambda *given, f=f: f(*given)[0].sin(), tensors)


@needs_core
def test_second_derivatives():
    tensors, clocks = tensors_of("chained", batch=2, time=3)
    place = len(EXAMPLES["chained"].shapes) + 1

    def second(form):
        y, _ = form("chained", tensors, clocks)
        (first,) = torch.autograd.grad(y.square().sum(), tensors[place], create_graph=True)
        return torch.autograd.grad(first.square().sum(), tensors, materialize_grads=True)

    assert_agree(second(functools.partial(by, "native")), second(loop), 1e-9)


def test_transforms():
    tensors, clocks = tensors_of("plain", batch=2, time=3)
    count = len(EXAMPLES["plain"].shapes)
    parameters, rest = tensors[:count], tensors[count:]

    def through(form):
        def f(x, initial, start, reset):
            given = [t.detach() for t in parameters]
            return form("plain", [*given, x, initial, start], clocks, reset=reset)

        return f

    def chosen(name, tensors, clocks, **masks):
        parameters, x, initial, start = taken(name, tensors, clocks)
        given = (EXAMPLES[name].cell, read(name), parameters, x)
        return programs.recur(*given, initial=initial, start=start, **masks)

    reset = torch.tensor([[False, True, False], [False] * 3])
    assert_transforms_agree(through(chosen), through(loop), rest, (reset,))


@pytest.mark.parametrize("how", HOW)
def test_compiles(how):
    assert_compiles("programs", how)


def test_every_word_is_tried(monkeypatch):
    used = set()
    lower = reading._Lowering.lower

    def seen(self, call):
        used.add(call.function.overloadpacket.__name__)
        lower(self, call)

    monkeypatch.setattr(reading._Lowering, "lower", seen)
    for name in EXAMPLES:
        read.__wrapped__(name)
    # The same words under other names, as torch chooses by version.
    other = {"rsub", "sgn", "clamp_min", "clamp_max", "_unsafe_view", "alias", "squeeze"}
    other |= {"_to_copy", "split", "split_with_sizes", "reciprocal", "neg", "sqrt", "full_like"}
    assert set(reading._WORDS) - used <= other


def test_every_operation_has_a_derivative():
    unary = {op for op in programs.graph.POINTWISE if op != "where"}
    assert unary == set(derivative._SLOPES)


def test_what_reads_inputs_alone_is_computed_ahead():
    found = read("plain")
    assert [node.op for node in found.program.nodes].count("product") == 1
    assert found.program.drive_width == 34
    assert len(found.output) == 1, "the state; the answer is computed from it afterwards"
    assert found.afterwards


def unreadable(function):
    x, h = torch.zeros(2, 1), [torch.zeros(2, 3)]
    with pytest.raises(programs.Unreadable) as caught:
        programs.read(lambda _, x, state: function(x, *state), {}, 1, h, torch.float32)
    del x
    return str(caught.value)


def in_place(x, h):
    h = h + x
    h.add_(1)
    return h, (h,)


def test_what_cannot_be_read_is_said():
    def answer(change):
        return lambda x, h: (h, (change(x, h),))

    assert "in place" in unreadable(in_place)
    assert "random" in unreadable(answer(lambda x, h: h + torch.rand_like(h)))
    assert "depends on the numbers" in unreadable(answer(lambda x, h: h if h.sum() > 0 else -h))
    assert "no word for aten.cumsum" in unreadable(answer(lambda x, h: h.cumsum(1)))
    assert "stops the gradient" in unreadable(answer(lambda x, h: h.detach() + x))
    assert "other shapes" in unreadable(lambda x, h: (h, (h[:, :2],)))
    constant = torch.ones(3)
    assert "neither a parameter" in unreadable(answer(lambda x, h: h + constant))
    assert "power" in unreadable(answer(lambda x, h: h**3))
    assert "no matrix" in unreadable(answer(lambda x, h: torch.mm(h, x.new_zeros(3, 3))))
    assert "axis 0" in unreadable(answer(lambda x, h: torch.cat([h[1:], h[:1]])))


@needs_core
def test_wrong_programs_are_refused():
    program = read("plain").program
    found = assembly.forward_of(program, torch.float64)
    tensors, clocks = tensors_of("plain", batch=2, time=3)
    parameters, x, (h,), (start,) = taken("plain", [t.detach() for t in tensors], clocks)
    drive = torch.nn.functional.linear(x, parameters["W"], parameters["b"])
    room = native._Room(program, found, drive, False)
    output = torch.zeros(2, 3, program.output_width, dtype=torch.float64)
    good = {
        "code": found.code,
        "literals": found.literals,
        "numbers": parameters["U"].flatten().contiguous(),
        "vectors": torch.zeros(0, dtype=torch.float64),
        "drive": drive,
        "start": start.contiguous(),
        "reset": None,
        "lengths": None,
        "state": h.clone(),
        "output": output,
        "states": None,
        "kept": None,
        "packed": room.packed,
        "workspace": room.workspace,
    }

    kernel = functools.partial(
        backends.core.program_forward,
        0,
        True,
        found.local,
        found.lasting,
        program.matrices,
        found.tape,
    )
    backends.run(kernel, *good.values())

    def changed(row, column, value):
        code = found.code.clone()
        code[row, column] = value
        return code

    products = (found.code[:, 0] == backends.core.program_operations().index("product")).nonzero()

    def code(row, column, value):
        return {"code": changed(row, column, value)}

    assert_refused(
        kernel,
        good,
        [
            (code(0, 0, 99), "instruction 0: there is no such operation"),
            (code(0, 0, -1), "no such operation"),
            (code(0, 3, 10**6), "no room"),
            (code(-1, 2, backends.core.program_spaces().index("drive")), "no room"),
            (code(-1, 5, -3), "beyond its space"),
            (code(int(products[0]), 10, 7), "no such matrix"),
            ({"code": found.code[:, :5]}, "code"),
            ({"code": found.code.int()}, "code"),
            ({"numbers": torch.zeros(3, dtype=torch.float64)}, "numbers"),
            ({"start": torch.zeros(2, 3, dtype=torch.float64)}, "state"),
            ({"state": torch.zeros(2, 17)}, "state"),
            ({"output": output.float()}, "output"),
            ({"output": output[:1]}, "output"),
            ({"packed": torch.zeros(1, dtype=torch.float64)}, "packed"),
            ({"workspace": torch.zeros(8, dtype=torch.uint8)}, "workspace"),
        ],
    )
