"""Every backend of the convolutions beside the definition, beside torch, and beside the scan."""

import inspect
from functools import partial

import pytest
import torch
from torch.nn.functional import conv1d, pad

from statewise import backends
from statewise.ops import convolution as package
from statewise.ops.convolution import (
    FOURIER_TABLE,
    TABLE,
    dense_convolution,
    dense_convolution_step,
    diagonal_convolution,
    diagonal_convolution_step,
    fourier,
    long_convolution,
    long_convolution_step,
    native,
    reference,
    short_convolution,
    short_convolution_step,
)
from statewise.ops.scan import reference as scan_reference
from tests.ops.agreement import (
    BOTH,
    DTYPES,
    LEVELS,
    MASKS,
    TIMES,
    TOLERANCE,
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
    forms,
    marks,
    needs_core,
    with_gradients,
)
from tests.ops.compiling import HOW, assert_compiles

BACKENDS = forms("native", "torch")
TAPS = ("output", "final", "grad_x", "grad_weight", "grad_bias", "grad_initial")


def draw(*shape, dtype=torch.float64, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=g, dtype=torch.promote_types(dtype, torch.float64))


def short(time=7, width=4, dim=5, masks=(), dtype=torch.float64, batch=3):
    """Return (x, weight, bias, initial) of the short convolution, and masks."""
    wide = torch.promote_types(dtype, torch.float32)
    tensors = [
        draw(batch, time, dim).to(dtype),
        draw(dim, width, seed=1).to(wide),
        draw(dim, seed=2).to(wide),
        draw(batch, width - 1, dim, seed=3).to(wide),
    ]
    g = torch.Generator().manual_seed(4)
    return [x.requires_grad_() for x in tensors], marks(g, batch, time, masks)


def through(backend, masks, op=short_convolution):
    """Return the op by one backend as a function of tensors, the initial state last."""

    def form(*tensors):
        with backends.use(backend):
            return op(*tensors[:-1], initial=tensors[-1], **masks)

    return form


def results(backend, tensors, masks, rounded=None):
    return with_gradients(through(backend, masks), tensors, rounded)


assert_agrees = partial(
    assert_agrees_with_definition, results, definition="reference", example=short
)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("masks", MASKS, ids="+".join)
@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_at_every_length(backend, time, masks, dtype):
    assert_agrees(backend, time=time, masks=masks, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 6, 7, 8, 11, 40])
@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_at_every_width(backend, width, dtype):
    for dim in (1, 19, 70):
        for masks in MASKS[::3]:
            options = {"width": width, "dim": dim, "masks": masks, "dtype": dtype}
            assert_agrees(backend, time=21, **options)


@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_without_rows_and_without_bias(backend):
    for batch, place in ((0, 5), (3, 2)):
        tensors, masks = short(batch=batch, masks=BOTH)
        if place == 2:
            tensors[place] = None
        found, expected = (
            with_gradients(through(name, masks), tensors) for name in (backend, "reference")
        )
        assert_agree(found, expected, 1e-12)


@needs_core
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("level", LEVELS)
def test_every_level(core, level, dtype):
    core.set_level(level)
    for width in (1, 4, 11):
        options = {"width": width, "dim": 37, "masks": BOTH, "dtype": dtype}
        assert_agrees("native", time=23, **options)


@needs_core
@pytest.mark.parametrize("batch", [1, 4])
def test_bit_equal_at_any_number_of_threads(batch):
    for width in (4, 11):
        tensors, masks = short(70, width, 1001, BOTH, torch.float32, batch)
        assert_bit_equal_at_any_number_of_threads(
            lambda tensors=tensors, masks=masks: with_gradients(through("native", masks), tensors)
        )


@needs_core
@pytest.mark.parametrize("dim", [5, 64, 1030])
def test_writes_every_number(dim):
    """Memory that came as NaN leaves without one."""
    tensors, masks = short(time=9, dim=dim, masks=BOTH)
    assert_writes_every_number(lambda: results("native", tensors, masks))
    x, weight, bias, past = (x.detach() for x in tensors)
    assert_writes_every_number(lambda: short_convolution_step(x[:, 0], weight, bias, past))


@pytest.mark.parametrize("which", [0, 1], ids=["output", "final"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_of_one_result_alone(backend, which):
    """Also: the expanded gradient that a sum sends back."""
    tensors, masks = short(masks=BOTH)
    ours, definition = (through(name, masks) for name in (backend, "reference"))
    assert_gradients_of_one_result_agree(ours, definition, tensors, which)


@pytest.mark.parametrize("width", [4, 11])
@pytest.mark.parametrize("backend", BACKENDS)
def test_denormals_agree(backend, width):
    tensors, masks = short(20, width, masks=BOTH)
    ours, definition = (through(name, masks) for name in (backend, "reference"))
    assert_denormals_agree(ours, definition, tensors, (0, 2, 3))


def families(time=7, masks=(), dtype=torch.float64, length=5):
    """Return, for each op, itself, its tensors with the initial state last, and masks."""
    complex_type = dtype.to_complex()
    decay = draw(4, 3, dtype=complex_type, seed=1)
    decay = decay / (1 + decay.abs())
    decay = torch.cat([torch.zeros(1, 3), torch.ones(1, 3), decay[2:]])
    parameters = [decay, *(draw(4, 3, dtype=complex_type, seed=seed) for seed in (2, 3))]
    kernel, past = draw(4, length, seed=1), draw(3, length - 1, 4, seed=2)
    state = draw(3, 4, 3, dtype=complex_type, seed=4)
    x, z = draw(3, time, 4), draw(3, time, 4, dtype=complex_type)
    real = [y.real for y in (*parameters, state)]
    matrix = torch.linalg.qr(draw(4, 3, 3, seed=6)).Q * (decay.abs()[..., None] + 0.5)
    cases = {
        "short": (short_convolution, (x, kernel, kernel[:, 0], past)),
        "long": (long_convolution, (x, kernel, past)),
        "longer than time": (
            long_convolution,
            (x, draw(4, time + 6, seed=1), draw(3, time + 5, 4, seed=2)),
        ),
        "S4D": (diagonal_convolution, (x, *parameters, state)),
        "LRU": (diagonal_convolution, (z, *(y[..., :1] for y in (*parameters, state)))),
        "real": (diagonal_convolution, (x, *real)),
        "dense": (dense_convolution, (x, matrix / 2, *real[1:])),
    }

    def cast(y):
        return y.to(complex_type if y.is_complex() else dtype).detach().clone().requires_grad_()

    g = torch.Generator().manual_seed(5)
    named = marks(g, 3, time, masks)
    return {name: (op, [cast(y) for y in tensors], named) for name, (op, tensors) in cases.items()}


FAMILIES = list(families())


@pytest.fixture(params=["few cuts", "many cuts"])
def cuts(request, monkeypatch):
    """Let resets be cut at, or be too many for that."""
    seen = package._cuts
    most = 10**9 if request.param == "few cuts" else 0
    monkeypatch.setattr(package, "_cuts", lambda reset, _: seen(reset, most))


@pytest.mark.parametrize("masks", MASKS, ids="+".join)
@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("name", FAMILIES[1:])
def test_transforms_agree_with_the_definition(name, time, masks, monkeypatch):
    seen = package._cuts
    for dtype in DTYPES[:2]:
        op, tensors, named = families(time, masks, dtype)[name]
        expected = with_gradients(through("reference", named, op), tensors)
        # Resets that are too many to be cut at, and few enough.
        for most in (0, time) if "reset" in masks and time < 63 else (0,):
            monkeypatch.setattr(package, "_cuts", lambda reset, _, most=most: seen(reset, most))
            found = with_gradients(through("torch", named, op), tensors)
            assert_agree(found, expected, TOLERANCE[dtype])


@pytest.mark.parametrize("name", FAMILIES[1:])
def test_transforms_of_bfloat16_are_of_float32(name):
    op, tensors, masks = families(40, BOTH, torch.float32)[name]
    if tensors[0].is_complex():
        pytest.skip("there is no complex bfloat16")
    stored = tensors[0].detach().to(torch.bfloat16)
    output, final = through("torch", masks, op)(stored, *tensors[1:])
    expected, end = through("torch", masks, op)(stored.float(), *tensors[1:])
    assert torch.equal(output, expected.to(torch.bfloat16))
    assert torch.equal(final, end)


def run(backend, op):
    return lambda tensors, masks: with_gradients(through(backend, masks, op), tensors)


nearly = partial(assert_agree, tolerance=1e-14)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.usefixtures("cuts")
def test_padding_may_hold_nan(name):
    op, tensors, masks = families(masks=BOTH)[name]
    assert_padding_may_hold_nan(run(None, op), tensors, (0,), masks, nearly)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.usefixtures("cuts")
def test_reset_heals_a_nan_state(name):
    reset_heals(None, name)


def reset_heals(backend, name):
    op, tensors, _ = families()[name]
    masks = {"reset": torch.zeros(3, 7, dtype=torch.bool)}
    state = (len(tensors) - 1,)
    assert_a_reset_heals(run(backend, op), tensors, state, masks["reset"], nearly)
    masks["reset"][:, 4] = True
    x = tensors[0].detach().clone()
    x[:, 2] = torch.nan
    output, final = through(backend, masks, op)(x, *tensors[1:])
    assert output[:, 4:].isfinite().all()
    assert final.isfinite().all()


def test_short_convolution_in_torch_is_safe_from_nan():
    """Where the table takes the kernels, this form is what other devices compute by."""
    op, tensors, masks = families(masks=BOTH)["short"]
    assert_padding_may_hold_nan(run("torch", op), tensors, (0,), masks, nearly)
    reset_heals("torch", "short")


@pytest.mark.parametrize("backend", BACKENDS)
def test_reads_strided_and_expanded_inputs(backend):
    base = draw(4, 6, 12)
    views = [base[..., :5], base[0, :1, :5].expand(4, 6, 5), base[..., 1:11:2], base.mT[:, :6, :5]]
    masks = {"reset": (base[..., 0] < -0.5).T.contiguous().T}
    masks["lengths"] = torch.tensor([6, 1, 0, 3], dtype=torch.int32)
    weight, initial = base[0, :3, :5].T, base[:, 3:5, 2:12:2]
    for x in views:
        for bias in (base[0, 0, :5], base[0, 0, ::2][:5], base[0, 0, :1].expand(5)):
            given = [y.detach().requires_grad_() for y in (x, weight, bias, initial)]
            dense = [y.detach().clone().requires_grad_() for y in given]
            expected = with_gradients(through("reference", masks), dense)
            assert_agree(with_gradients(through(backend, masks), given), expected, 1e-9, TAPS)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("time", [0, 1, 7])
def test_nothing_is_shared_or_changed(name, time):
    for masks in MASKS[::3]:
        op, tensors, named = families(time, masks)[name]
        for backend in (None, "torch"):
            assert_fresh(through(backend, named, op), [x.detach() for x in tensors])


@pytest.mark.parametrize("masks", MASKS[::3], ids="+".join)
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.usefixtures("cuts")
def test_gradcheck(name, masks):
    op, tensors, masks = families(4, masks)[name]
    for backend in (None, "torch") if name == "short" else (None,):
        form = through(backend, masks, op)
        assert torch.autograd.gradcheck(form, tensors, fast_mode=True)
        assert torch.autograd.gradgradcheck(form, tensors, fast_mode=True)


@pytest.mark.parametrize("name", ["short", "long", "real", "dense"])
def test_transforms_of_torch_func_are_right_through_the_table(name):
    op, tensors, masks = families(masks=BOTH)[name]
    parameters = tensors[1:-1]

    def form(backend):
        def f(x, initial, reset, lengths):
            with backends.use(backend):
                return op(x, *parameters, initial=initial, reset=reset, lengths=lengths)

        return f

    states = (tensors[0], tensors[-1])
    assert_transforms_agree(form(None), form("reference"), states, list(masks.values()))


@needs_core
@pytest.mark.parametrize("masks", MASKS[::3], ids="+".join)
def test_custom_ops_are_registered_rightly(masks):
    (x, weight, bias, initial), masks = short(masks=masks)
    rest = (masks.get("reset"), masks.get("lengths"))
    for given in (bias, None):
        inputs = (x, weight, given, initial, *rest)
        assert_registered_rightly(native._convolution, inputs, 2)


@pytest.mark.parametrize("how", HOW)
def test_compiles(how):
    assert_compiles("convolution", how)


@pytest.mark.parametrize("backend", [row.backend for row in TABLE])
def test_equals_conv1d(backend):
    x, weight, bias = draw(2, 9, 3), draw(3, 4), draw(3)
    expected = conv1d(pad(x.mT, (3, 0)), weight[:, None], bias, groups=3).mT
    with backends.use(backend):
        y, final = short_convolution(x, weight, bias)
    torch.testing.assert_close(y, expected)
    assert torch.equal(final, x[:, -3:])


@pytest.mark.parametrize("name", FAMILIES)
def test_there_may_be_no_rows(name):
    op, (x, *parameters, initial), _ = families()[name]
    output, final = op(x[:0], *parameters, initial=initial[:0])
    assert (output.shape, final.shape) == (x[:0].shape, initial[:0].shape)


@pytest.mark.parametrize("backend", [row.backend for row in FOURIER_TABLE])
def test_long_equals_conv1d(backend):
    x, kernel = draw(2, 90, 3), draw(3, 40)
    expected = conv1d(pad(x.mT, (39, 0)), kernel.flip(1)[:, None], groups=3).mT
    with backends.use(backend):
        y, final = long_convolution(x, kernel)
    torch.testing.assert_close(y, expected)
    assert torch.equal(final, x[:, -39:])


@pytest.mark.parametrize("masks", MASKS, ids="+".join)
def test_diagonal_equals_a_scan_with_constant_decay(masks):
    _, (x, decay, write, read, initial), masks = families(63, masks)["S4D"]
    output, final = diagonal_convolution(x, decay, write, read, initial=initial, **masks)
    x = torch.where(output == 0, 0, x)  # where a row has ended
    drive = (write * x[..., None]).flatten(2)
    h, end = scan_reference.scan(
        decay.flatten().expand_as(drive), drive, initial=initial.flatten(1), **masks
    )
    expected = (read * h.unflatten(2, decay.shape)).sum(-1).real
    assert error(output, expected) < 1e-12
    assert error(final, end.unflatten(1, decay.shape)) < 1e-12


def test_diagonal_equals_the_published_kernel_of_s4d():
    """K_l = 2 Re sum_n C_n B_n a_n^l  with zero-order hold, and the output that it gives."""
    time, step = 50, 0.1
    a = torch.complex(
        torch.full((4,), -0.5, dtype=torch.float64), torch.pi * torch.arange(4).double()
    )
    c = draw(3, 4, dtype=torch.complex128)
    x = draw(2, time, 3)
    held = (torch.exp(step * a) - 1) / a
    kernel = (
        2
        * torch.einsum(
            "dn,nt->dt", c * held, torch.exp(step * a[:, None] * torch.arange(time))
        ).real
    )
    expected = conv1d(pad(x.mT, (time - 1, 0)), kernel.flip(1)[:, None], groups=3).mT
    decay = torch.exp(step * a).expand(3, 4)
    output, _ = diagonal_convolution(x, decay, held.expand(3, 4), 2 * c)
    assert error(output, expected) < 1e-12


@pytest.mark.parametrize("time", [1, 2, 5, 8])
def test_a_dense_kernel_that_is_known_is_taken(time):
    _, (x, transition, write, read, initial), masks = families(time, BOTH)["dense"]
    kernel = torch.stack(
        [
            torch.einsum("di,dij,dj->d", read, torch.linalg.matrix_power(transition, power), write)
            for power in range(time + 1)
        ],
        1,
    )
    given = (x, transition, write, read)
    expected = dense_convolution(*given, initial=initial, **masks)
    for name, found, wanted in zip(
        ("output", "final"),
        dense_convolution(*given, kernel, initial=initial, **masks),
        expected,
        strict=True,
    ):
        assert error(found, wanted) < 1e-12, name
    halved, _ = dense_convolution(*given, kernel / 2)
    assert error(halved, dense_convolution(*given)[0] / 2) < 1e-12


STEPS = {
    short_convolution: lambda x, w, b, state: short_convolution_step(x, w, b, state),
    long_convolution: long_convolution_step,
    diagonal_convolution: diagonal_convolution_step,
    dense_convolution: dense_convolution_step,
}


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_prompt_is_read_in_parallel_and_answered_in_steps(name, grad):
    op, tensors, _ = families(40)[name]
    x, *parameters, state = (y.detach().requires_grad_(grad) for y in tensors)
    with backends.use("reference"):
        expected, end = op(x, *parameters, initial=state)
    output, state = op(x[:, :25], *parameters, initial=state)
    assert error(output, expected[:, :25]) < 1e-12
    for t in range(25, 40):
        output, state = STEPS[op](x[:, t], *parameters, state)
        assert output.requires_grad == grad
        assert error(output, expected[:, t]) < 1e-12
    assert error(state, end) < 1e-12


@pytest.mark.parametrize("name", FAMILIES)
def test_step_keeps_the_dtypes_of_input_and_state(name):
    op, tensors, _ = families(dtype=torch.float32)[name]
    x, *parameters, state = (y.detach() for y in tensors)
    x = x[:, 0] if x.is_complex() else x[:, 0].bfloat16()
    output, after = STEPS[op](x, *parameters, state)
    assert (output.dtype, after.dtype) == (x.dtype, state.dtype)


def diagonal_step_inputs(kind, dtype=torch.float64, batch=3, dim=37, state=19):
    """Return x and, in the same precision, real or complex parameters and state."""
    numbers = dtype.to_complex() if kind == "complex" else dtype
    shapes = [(dim, state)] * 3 + [(batch, dim, state)]
    return [
        draw(batch, dim).to(dtype),
        *(draw(*shape, dtype=numbers, seed=i + 1).to(numbers) for i, shape in enumerate(shapes)),
    ]


KINDS = ["real", "complex"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", [0, 1, 7, 8, 16, 19])
@pytest.mark.parametrize("dim", [1, 5, 37])
def test_diagonal_step_agrees_with_the_definition(dim, state, kind, dtype):
    given = diagonal_step_inputs(kind, dtype, dim=dim, state=state)
    assert_agree(
        diagonal_convolution_step(*given), reference.diagonal_step(*given), TOLERANCE[dtype]
    )


@needs_core
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", LEVELS)
def test_diagonal_step_at_every_level(core, level, kind):
    core.set_level(level)
    given = diagonal_step_inputs(kind)
    assert_agree(native.diagonal_step(*given), reference.diagonal_step(*given), 1e-12)


@needs_core
@pytest.mark.parametrize("kind", KINDS)
def test_diagonal_step_is_bit_equal_at_any_number_of_threads(kind):
    given = diagonal_step_inputs(kind, torch.float32, dim=1001, state=40)
    assert_bit_equal_at_any_number_of_threads(lambda: native.diagonal_step(*given))


@needs_core
@pytest.mark.parametrize("kind", KINDS)
def test_diagonal_step_calls_its_kernel_alone(kind, monkeypatch):
    """Rows of a sequence, parameters that are transposed or lazy conjugates, x in bfloat16."""
    x, *parameters, h = diagonal_step_inputs(kind, torch.float32)
    decay, write, read = (y.mT.contiguous().mT for y in parameters)
    rows = torch.stack([x, x], 1)[:, 1].bfloat16()
    given = rows, decay, write.conj(), read, h
    expected = reference.diagonal_step(*given)

    def refuse(*_):
        raise AssertionError("the definition")

    monkeypatch.setattr(reference, "diagonal_step", refuse)
    output, after = diagonal_convolution_step(*given)
    assert output.dtype == torch.bfloat16
    assert error(output, expected[0]) < 1e-2
    assert error(after, expected[1]) < 1e-5


@pytest.mark.parametrize("mixed", ["real write", "complex x", "bfloat16"])
def test_diagonal_step_of_what_the_kernel_does_not_read(mixed):
    x, decay, write, read, h = diagonal_step_inputs("real" if mixed == "bfloat16" else "complex")
    if mixed == "real write":
        write = write.real
    elif mixed == "complex x":
        x = x + 1j
    else:
        x, decay, write, read, h = (y.bfloat16() for y in (x, decay, write, read, h))
    output, after = reference.diagonal_step(x, decay, write, read, h)
    ours = diagonal_convolution_step(x, decay, write, read, h)
    assert_agree(ours, (output.to(x.dtype), after), 1e-12)


@needs_core
def test_diagonal_step_refuses_what_it_cannot_address(core):
    x, decay, write, read, h = diagonal_step_inputs("complex", torch.float32, 2, 3, 4)
    good = {"x": x, "decay": decay, "write": write, "read": read, "h": h}
    good |= {"output": x.clone(), "after": h.clone()}
    bad = [
        ({"x": x[0]}, r"x of shape \(3,\) should be \(batch, dim\)"),
        ({"x": x.bfloat16()}, "x .* float32 or float64"),
        ({"decay": decay[:2]}, r"decay of shape \(2, 4\) should be contiguous, \(dim, state\)"),
        ({"write": write.real.clone()}, "write .* all real or all complex"),
        ({"read": read.mT.contiguous().mT}, "read .* contiguous"),
        ({"h": h[0]}, r"h of shape \(3, 4\) should be \(batch, dim, state\)"),
        ({"h": h.to(torch.complex128)}, "h .* in the precision of x"),
        ({"output": x.double()}, "output"),
        ({"after": h[:1]}, "after"),
    ]
    assert_refused(core.diagonal_convolution_step, good, bad)


def test_wider_state_widens_the_work():
    (x, weight, bias, initial), _ = short(time=63, dtype=torch.float32)
    output, final = short_convolution(x, weight, bias, initial=initial.double())
    wide = [y.double() for y in (x, weight, bias, initial)]
    with backends.use("reference"):
        expected, _ = short_convolution(*wide[:3], initial=wide[3])
    assert (output.dtype, final.dtype) == (torch.float32, torch.float64)
    assert torch.equal(output, expected.float())


def test_a_transform_has_no_more_room_than_it_needs():
    for least in range(1, 2000):
        size = fourier._good_size(least)
        assert least <= size < 1.34 * least + 1
        assert size & (size - 1) == 0 or any(
            size % odd == 0 and (size // odd) & (size // odd - 1) == 0 for odd in (3, 5)
        )


def test_arguments_that_do_not_fit_are_refused_in_words():
    x, weight = torch.randn(2, 5, 3), torch.randn(3, 4)
    unchecked = inspect.unwrap(short_convolution)  # past the hook that checks shapes in tests
    with pytest.raises(ValueError, match=r"weight \(4, 3\) should be \(dim, width\)"):
        unchecked(x, weight.T)
    with pytest.raises(ValueError, match=r"bias \(4,\) should be"):
        unchecked(x, weight, torch.randn(4))
    with pytest.raises(ValueError, match=r"initial \(2, 4, 3\) should be"):
        unchecked(x, weight, initial=torch.randn(2, 4, 3))
    with pytest.raises(ValueError, match=r"lengths \(3,\) of torch.int64 should be"):
        unchecked(x, weight, lengths=torch.tensor([1, 2, 3]))
    with pytest.raises(ValueError, match=r"past \(2, 4, 3\)"):
        inspect.unwrap(short_convolution_step)(x[:, 0], weight, None, torch.randn(2, 4, 3))
    unchecked = inspect.unwrap(long_convolution)
    with pytest.raises(ValueError, match=r"kernel \(4, 3\) should be \(dim, length\)"):
        unchecked(x, weight.T)
    with pytest.raises(ValueError, match=r"initial \(2, 4, 3\) should be"):
        unchecked(x, weight, initial=torch.randn(2, 4, 3))
    unchecked = inspect.unwrap(diagonal_convolution)
    with pytest.raises(ValueError, match=r"decay \(3, 4\), write \(3, 2\)"):
        unchecked(x, weight, weight[:, :2], weight)
    with pytest.raises(ValueError, match=r"initial \(2, 3, 5\) should be"):
        unchecked(x, weight, weight, weight, initial=torch.randn(2, 3, 5))
    with pytest.raises(ValueError, match=r"reset \(2, 4\)"):
        unchecked(x, weight, weight, weight, reset=torch.zeros(2, 4).bool())
    unchecked = inspect.unwrap(dense_convolution)
    square = torch.randn(3, 4, 4)
    with pytest.raises(ValueError, match=r"transition \(3, 4\) should be \(dim, n, n\)"):
        unchecked(x, weight, weight, weight)
    with pytest.raises(ValueError, match=r"kernel \(3, 4\) should be \(dim, time\) = \(3, 5\)"):
        unchecked(x, square, weight, weight, weight)
    with pytest.raises(ValueError, match=r"initial \(2, 3, 5\) should be"):
        unchecked(x, square, weight, weight, initial=torch.randn(2, 3, 5))
    with pytest.raises(ValueError, match=r"h \(2, 4\)"):
        inspect.unwrap(dense_convolution_step)(x[:, 0], square, weight, weight, torch.randn(2, 4))
    with pytest.raises(ValueError, match=r"h \(2, 4\)"):
        inspect.unwrap(diagonal_convolution_step)(
            x[:, 0], weight, weight, weight, torch.randn(2, 4)
        )


@needs_core
def test_kernels_refuse_what_they_cannot_address(core):
    x, weight, past = torch.ones(2, 3, 4), torch.ones(4, 3), torch.ones(2, 2, 4)
    good = {"x": x, "weight": weight, "bias": torch.ones(4), "initial": past, "reset": None}
    good |= {"lengths": None, "output": x.clone(), "final": past.clone()}
    bad = [
        ({"x": x[0]}, r"x of shape \(3, 4\) should be \(batch, time, dim\)"),
        ({"x": x.mT.contiguous().mT}, "x .* contiguous"),
        ({"weight": torch.ones(3, 4).T}, "weight .* contiguous"),
        ({"weight": weight.double()}, "weight .* float32"),
        ({"bias": torch.ones(3)}, "bias .* should be"),
        ({"initial": past[:, :1]}, "initial .* should be"),
        ({"final": past.mT.contiguous().mT}, "final .* contiguous"),
        ({"output": x[:1].expand(2, 3, 4)}, "output .* not expanded"),
    ]
    assert_refused(core.convolution, good, bad)


def test_tables_name_every_form():
    assert [row.backend for row in TABLE] == ["native", "torch", "reference"]
    assert [row.backend for row in FOURIER_TABLE] == ["torch", "reference"]
