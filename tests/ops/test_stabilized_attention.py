"""Every backend of stabilized linear attention against its definition, and the kernels alone."""

import functools
import inspect
import itertools

import pytest
import torch
from torch.nn.functional import logsigmoid

from statewise import backends
from statewise.ops import stabilized_attention as package
from statewise.ops.stabilized_attention import (
    native,
    reference,
    stabilized_linear_attention,
    stabilized_linear_attention_step,
)
from statewise.ops.stabilized_attention import torch as in_torch
from tests.ops import agreement
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
    flat,
    leaf,
    marks,
    needs_core,
    with_gradients,
)
from tests.ops.compiling import HOW, assert_compiles

NAMES = ("query", "key", "value", "log_input", "log_forget", "C", "n", "m")
RESULTS = ("output", "C", "n", "m", *(f"grad_{name}" for name in NAMES))


def form_of(backend, scale=0.5, eps=0.125):
    """Return a form that takes everything by position."""

    def form(query, key, value, log_input, log_forget, C, n, m, reset=None, lengths=None):
        return backend(
            query,
            key,
            value,
            log_input=log_input,
            log_forget=log_forget,
            scale=scale,
            eps=eps,
            initial=(C, n, m),
            reset=reset,
            lengths=lengths,
        )

    return form


definition = form_of(reference.stabilized_linear_attention)
through_table = form_of(stabilized_linear_attention)
in_core = form_of(native.stabilized_linear_attention)
FORMS = agreement.forms(in_core, form_of(in_torch.stabilized_linear_attention))


def example(
    time=7, key=5, value=4, masks=(), dtype=torch.float64, batch=3, heads=2, seed=0, spread=2.0
):
    """Return the tensors and the marks asked for.

    Normalizers of either sign, above their floor and below it, but not near zero: there the output
    has no precision whatever computes it.
    """
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=g, dtype=torch.float64)

    query, keys = normal(batch, time, heads, key).abs(), normal(batch, time, heads, key).abs()
    query[:, :, 1:] *= -1
    log_input = normal(batch, time, heads) * spread
    log_forget = logsigmoid(normal(batch, time, heads) * spread + 1)
    C, n = normal(batch, heads, key, value), normal(batch, heads, key).abs()
    wide = torch.promote_types(dtype, torch.float32)
    tensors = [x.to(dtype) for x in (query, keys, normal(batch, time, heads, value))]
    tensors += [x.to(wide) for x in (log_input, log_forget, C, n, normal(batch, heads))]
    return [x.requires_grad_() for x in tensors], marks(g, batch, time, masks)


def results(form, tensors, masks, rounded=None):
    return with_gradients(lambda *x: form(*x, **masks), tensors, rounded)


assert_agrees_with_reference = functools.partial(
    assert_agrees_with_definition, results, definition=definition, example=example
)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("masks", MASKS, ids="+".join)
@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("form", FORMS)
def test_agrees_at_every_length(form, time, masks, dtype):
    assert_agrees_with_reference(form, time=time, masks=masks, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("key", "value"), [(1, 1), (3, 17), (16, 33), (40, 100)])
@pytest.mark.parametrize("form", FORMS)
def test_agrees_at_every_size(form, key, value, dtype):
    for time in (5, 70):
        assert_agrees_with_reference(form, time=time, key=key, value=value, masks=BOTH, dtype=dtype)


@pytest.mark.parametrize("time", [64, 65, 128])
@pytest.mark.parametrize("form", FORMS)
def test_agrees_at_the_borders_of_chunks(form, time):
    assert_agrees_with_reference(form, time=time, masks=BOTH)


@needs_core
@pytest.mark.parametrize("masks", MASKS, ids="+".join)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_one_by_one_agrees(masks, dtype):
    """Where nothing is kept for gradients, few tokens have a form of their own."""
    for time, value in itertools.product((0, 1, 2, 8, 9), (1, 16, 70)):
        tensors, marked = example(time=time, value=value, masks=masks, dtype=dtype)
        with torch.no_grad():
            output, state = in_core(*tensors, **marked)
        wide = [x.detach().double() for x in tensors]
        expected, end = definition(*wide, **marked)
        tolerance = 1e-9 if dtype == torch.float64 else 1e-5
        assert error(output, expected.to(dtype)) <= (5e-3 if dtype == torch.bfloat16 else tolerance)
        for a, b in zip(state, end, strict=True):
            assert error(a, b) <= tolerance


@pytest.mark.parametrize("form", FORMS)
def test_agrees_without_rows(form):
    tensors, masks = example(batch=0, masks=BOTH)
    assert_agree(results(form, tensors, masks), results(definition, tensors, masks), 0)


@pytest.mark.parametrize("form", [*FORMS, pytest.param(definition, id="reference")])
def test_output_does_not_depend_on_the_stabilizer(form):
    """The same state in another unit: C and n times exp(-3), m three more."""
    tensors, masks = example(time=70, masks=("reset",))
    *inputs, C, n, m = (x.detach() for x in tensors)
    output, state = form(*inputs, C, n, m, **masks)
    for shift in (-3.0, 3.0, 30.0):
        by = torch.tensor(-shift, dtype=torch.float64).exp()
        other, end = form(*inputs, C * by, n * by, m + shift, **masks)
        assert error(other, output) < 1e-12
        for a, b in zip(end[:2], state[:2], strict=True):
            rank = [None] * (a.ndim - 2)
            unit = [x[2].exp()[(..., *rank)] for x in (end, state)]
            assert error(a * unit[0], b * unit[1]) < 1e-12


@pytest.mark.parametrize("form", [*FORMS, pytest.param(definition, id="reference")])
def test_is_the_paper_in_true_units(form):
    """Without a stabilizer: C and n themselves, and a normalizer that is never below one."""
    tensors, _ = example(time=20)
    q, k, v, log_input, log_forget, C, n, m = (x.detach() for x in tensors)
    output, _ = form(q, k, v, log_input, log_forget, C, n, m)
    C, n = C * m.exp()[..., None, None], n * m.exp()[..., None]
    for t in range(20):
        i, f = log_input[:, t].exp()[..., None], log_forget[:, t].exp()[..., None]
        C = f[..., None] * C + (i * k[:, t])[..., None] * v[:, t, :, None]
        n = f * n + i * k[:, t]
        floor = (0.5 * (n * q[:, t]).sum(-1)).abs().clamp(min=1) + 0.125
        expected = 0.5 * (C * q[:, t][..., None]).sum(-2) / floor[..., None]
        assert error(output[:, t], expected) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("form", [*FORMS, pytest.param(definition, id="reference")])
def test_extreme_gates_stay_finite(form, dtype):
    """exp of 100 and of -100 are no float32; what is computed from them is."""
    values = torch.tensor([-100.0, -50.0, 0.0, 50.0, 100.0], dtype=dtype)
    gates = torch.cartesian_prod(values, values, values, values)
    for forget in (lambda x: x.clamp(max=0), lambda x: x):
        tensors, _ = example(time=2, batch=len(gates), heads=1, dtype=dtype)
        tensors[3] = gates[:, :2, None].clone().requires_grad_()
        tensors[4] = forget(gates[:, 2:, None]).clone().requires_grad_()
        tensors[7] = torch.zeros(len(gates), 1, dtype=dtype).requires_grad_()
        made = results(form, tensors, {})
        assert all(x.isfinite().all() for x in made)
        if dtype == torch.float32:
            exact = definition(*(x.detach().double() for x in tensors))
            assert error(made[0], exact[0]) < 1e-5


@pytest.mark.parametrize("form", [*FORMS, pytest.param(definition, id="reference")])
def test_closed_gates_and_an_initial_maximum_of_minus_infinity(form):
    """A forget gate of zero forgets all, an input gate of zero writes nothing."""
    tensors, _ = example(time=9)
    *_, C, n, m = tensors
    with torch.no_grad():
        tensors[3][:, 4], tensors[4][:, 6] = -torch.inf, -torch.inf
        C.zero_(), n.zero_(), m.fill_(-torch.inf)
    made = results(form, tensors, {})
    expected = results(definition, tensors, {})
    assert all(x.isfinite().all() for x in made)
    assert_agree(made, expected, 1e-9, RESULTS)
    later = form(*(x[:, 6:] for x in tensors[:5]), *tensors[5:])
    assert error(made[0][:, 6:], later[0]) < 1e-9
    without = [torch.cat([x[:, :4], x[:, 5:]], 1) for x in tensors[:5]]
    without[4] = without[4].detach().clone()
    without[4][:, 4] += tensors[4].detach()[:, 4]
    again = form(*without, *tensors[5:])
    assert error(made[0][:, 5:], again[0][:, 4:]) < 1e-9


@pytest.mark.parametrize("form", [*FORMS, pytest.param(definition, id="reference")])
def test_zeros_are_answered_with_zeros(form):
    """A query of zero where the floor of its normalizer is no number either."""
    tensors, _ = example(time=3, dtype=torch.float32)
    with torch.no_grad():
        tensors[0].zero_()
        tensors[3].fill_(120.0)
    assert not form(*tensors)[0].any()


@needs_core
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("level", LEVELS)
def test_every_level(core, level, dtype):
    core.set_level(level)
    for time, key, value in ((70, 17, 33), (3, 5, 40)):
        assert_agrees_with_reference(
            in_core, time=time, key=key, value=value, masks=BOTH, dtype=dtype
        )
    tensors, masks = example(time=4, value=70, masks=BOTH)
    with torch.no_grad():
        output, _ = in_core(*tensors, **masks)
    assert error(output, definition(*tensors, **masks)[0]) < 1e-9


@needs_core
@pytest.mark.parametrize(("batch", "heads"), [(1, 1), (3, 2)])
def test_bit_equal_at_any_number_of_threads(core, batch, heads):
    for time in (4, 130):
        tensors, masks = example(time, 40, 100, BOTH, torch.float32, batch=batch, heads=heads)
        assert_bit_equal_at_any_number_of_threads(lambda: results(in_core, tensors, masks))  # noqa: B023

        def alone():
            with torch.no_grad():
                output, state = in_core(*tensors, **masks)  # noqa: B023
            return [output, *state]

        assert_bit_equal_at_any_number_of_threads(alone)


@needs_core
@pytest.mark.parametrize(("time", "chunk"), [(3, 0), (70, 64), (70, 16)])
def test_writes_every_number(core, time, chunk):
    """Memory that came as NaN leaves without one."""
    tensors, masks = example(time, 5, 40, masks=BOTH)
    tensors = [x.detach() for x in tensors]
    output, *state = (torch.full_like(tensors[i], torch.nan) for i in (2, 5, 6, 7))
    borders = None
    if chunk:
        borders = tensors[5].new_full((6 * -(-time // chunk) * (5 * 40 + 16),), torch.nan)
    rest = (masks["reset"], masks["lengths"])
    scalars = (0.5, 0.125, chunk)

    def forward(*arrays):
        core.stabilized_attention(*arrays, *scalars)

    backends.run(forward, *tensors, *rest, output, *state, borders)
    expected, end = definition(*tensors, **masks)
    assert_agree([output, *state], [expected, *end], 1e-9)
    if not chunk:
        return
    # Borders beyond a row's end are never read.
    grads = [torch.full_like(x, torch.nan) for x in tensors]

    def backward(*arrays):
        core.stabilized_attention_backward(*arrays, *scalars)

    backends.run(backward, *tensors, *rest, *state, borders, output, *state, *grads)
    assert not any(x.isnan().any() for x in grads)


@needs_core
def test_a_step_writes_every_number():
    tensors, _ = example()
    *inputs, C, n, m = (x.detach() for x in tensors)
    q, k, v, log_input, log_forget = (x[:, 0] for x in inputs)
    assert_writes_every_number(
        lambda: flat(
            stabilized_linear_attention_step(
                q, k, v, (C, n, m), log_input=log_input, log_forget=log_forget
            )
        )
    )


@pytest.mark.parametrize("form", FORMS)
def test_padding_may_hold_nan(form):
    for time in (7, 100):
        tensors, masks = example(time, masks=BOTH)
        assert_padding_may_hold_nan(functools.partial(results, form), tensors, range(5), masks)


@pytest.mark.parametrize("form", FORMS)
def test_reset_heals_a_nan_state(form):
    tensors, _ = example()
    reset = torch.zeros(3, 7, dtype=torch.bool)
    assert_a_reset_heals(functools.partial(results, form), tensors, (5, 6, 7), reset)
    reset[:, 0] = True
    ill = [*tensors[:5], *(leaf(torch.full_like(x, torch.nan)) for x in tensors[5:])]
    healed, expected = (flat(f(*ill, reset=reset)) for f in (form, definition))
    assert_agree(healed, expected, 1e-9)


@pytest.mark.parametrize("place", [1, 2, 3, 4])
@pytest.mark.parametrize("form", [*FORMS, pytest.param(definition, id="reference")])
def test_reset_heals_what_came_from_an_input(form, place):
    tensors, _ = example()
    ill = [x.detach().clone() for x in tensors]
    ill[place][:, 2] = torch.nan
    ill = [x.requires_grad_() for x in ill]
    reset = torch.zeros(3, 7, dtype=torch.bool)
    reset[:, 4] = True
    output, state = form(*ill, reset=reset)
    assert output[:, 2:4].isnan().all()
    assert output[:, 4:].isfinite().all()
    assert all(x.isfinite().all() for x in state)
    total = output[:, 4:].sum() + sum(x.sum() for x in state)
    grads = torch.autograd.grad(total, ill)
    assert all(x[:, 4:].isfinite().all() for x in grads[:5])


@pytest.mark.parametrize("form", FORMS)
def test_reads_strided_and_expanded_inputs(form):
    """Slices of one projection, heads that share keys, time first, a strided last axis."""
    g = torch.Generator().manual_seed(0)
    base = torch.rand(4, 6, 2, 15, generator=g, dtype=torch.float64) + 0.1
    views = [
        base[..., :5],
        base[:, :, :1, 5:10].expand(4, 6, 2, 5),
        base[1, :, None, :, :5].expand(6, 4, 2, 5).transpose(0, 1),
        base[..., 1:11:2],
        base.transpose(1, 2)[:, :, :, :5].contiguous().transpose(1, 2),
    ]
    gates = [base[..., 12], base[:, 0, :1, 13, None].expand(4, 6, 2), base[:, :, 0, 3:5] - 1]
    state = [base[:, 0, :, :5, None].expand(4, 2, 5, 5), base[:, 1, :, 2:7], base[:, 2, :, 7]]
    masks = {
        "reset": (base[..., 0, 0] < 0.3).T.contiguous().T,
        "lengths": torch.tensor([6, 1, 0, 3, 9])[:4],
    }
    for i, (x, y) in enumerate(itertools.product(views, repeat=2)):
        everything = (x, y, views[i % 5], gates[i % 3], -gates[(i + 1) % 3].abs(), *state)
        given = [x.detach().requires_grad_() for x in everything]
        dense = [x.detach().clone().requires_grad_() for x in everything]
        assert_agree(results(form, given, masks), results(definition, dense, masks), 1e-9, RESULTS)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("which", [0, 1, 2, 3])
def test_gradients_of_one_result_alone(form, which):
    """Also: the expanded gradient that a sum sends back."""
    tensors, masks = example(masks=BOTH)
    ours, theirs = (functools.partial(f, **masks) for f in (form, definition))
    assert_gradients_of_one_result_agree(ours, theirs, tensors, which)


@pytest.mark.parametrize("form", FORMS)
def test_denormals_agree(form):
    """Values and the C of before: the output is linear in these."""
    tensors, masks = example(20, masks=BOTH)
    ours, theirs = (functools.partial(f, **masks) for f in (form, definition))
    assert_denormals_agree(ours, theirs, tensors, (2, 5))


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_shared_or_changed(form):
    for time in (0, 1, 7, 100):
        tensors, masks = example(time=time, masks=BOTH)
        assert_fresh(form, [*(x.detach() for x in tensors), *masks.values()])


@pytest.mark.parametrize("masks", [(), BOTH], ids="+".join)
@pytest.mark.parametrize("form", FORMS)
def test_gradcheck(form, masks):
    tensors, masks = example(time=3, key=1, value=2, heads=1, batch=2, masks=masks)

    def f(*tensors):
        output, state = form(*tensors, **masks)
        return output, *state

    assert torch.autograd.gradcheck(f, tensors)
    assert torch.autograd.gradgradcheck(f, tensors, fast_mode=True)


def test_transforms_are_right_through_the_table():
    tensors, masks = example(time=5, masks=BOTH)
    assert_transforms_agree(through_table, definition, tensors, tuple(masks.values()))


@needs_core
@pytest.mark.parametrize("masks", [(), BOTH], ids="+".join)
def test_custom_ops_are_registered_rightly(masks):
    tensors, masks = example(masks=masks)
    inputs = (*tensors, masks.get("reset"), masks.get("lengths"), 0.5, 0.125)
    assert_registered_rightly(native._stabilized_attention, inputs, 4)


@pytest.mark.parametrize("how", HOW)
def test_compiles(how):
    assert_compiles("stabilized_attention", how)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("grad", [False, True])
def test_step_is_one_time(grad, dtype):
    tensors, _ = example(key=6, value=20, dtype=dtype)
    with torch.set_grad_enabled(grad):
        *inputs, C, n, m = tensors if grad else (x.detach() for x in tensors)
        output, final = through_table(*inputs, C, n, m)
        state = (C, n, m)
        for t in range(7):
            q, k, v, log_input, log_forget = (x[:, t] for x in inputs)
            y, state = stabilized_linear_attention_step(
                q, k, v, state, log_input=log_input, log_forget=log_forget, scale=0.5, eps=0.125
            )
            assert y.dtype == dtype
            assert error(y, output[:, t]) < {torch.bfloat16: 5e-3}.get(dtype, TOLERANCE.get(dtype))
        assert_agree(state, final, 1e-5 if dtype != torch.float64 else 1e-12)
        assert state[0].requires_grad == grad


def test_step_refuses_what_does_not_fit():
    tensors, _ = example()
    q, k, v, log_input, log_forget = (x.detach()[:, 0].contiguous() for x in tensors[:5])
    state = [x.detach() for x in tensors[5:]]
    with pytest.raises(ValueError, match=r"initial C \(3, 2, 5\) should be .* \(3, 2, 5, 4\)"):
        past_the_hook(q, k, v, (state[0][..., 0], *state[1:]), log_input, log_forget)
    with pytest.raises(ValueError, match=r"log_input \(3, 1, 1\) should be .* \(3, 1, 2\)"):
        past_the_hook(q, k, v, state, log_input[:, :1], log_forget)


def past_the_hook(q, k, v, state, log_input, log_forget):
    """Take a step where nothing checks the shapes first."""
    before = package.stabilized_linear_attention
    package.stabilized_linear_attention = inspect.unwrap(before)
    try:
        inspect.unwrap(stabilized_linear_attention_step)(
            q, k, v, tuple(state), log_input=log_input, log_forget=log_forget
        )
    finally:
        package.stabilized_linear_attention = before


def test_absent_initial_state_is_zeros_and_the_scale_that_of_the_paper():
    tensors, _ = example()
    *inputs, C, n, m = (x.detach() for x in tensors)
    q, k, v, log_input, log_forget = inputs
    made = stabilized_linear_attention(q, k, v, log_input=log_input, log_forget=log_forget)
    zeros = (torch.zeros_like(x) for x in (C, n, m))
    expected = form_of(stabilized_linear_attention, scale=5**-0.5, eps=0.0)(*inputs, *zeros)
    assert_agree([made[0], *made[1]], [expected[0], *expected[1]], 0)


def test_wider_state_widens_the_work():
    tensors, _ = example(time=63, dtype=torch.float32)
    wide = [x.detach().double() for x in tensors]
    output, final = through_table(*(x.detach() for x in tensors[:5]), *wide[5:])
    expected, end = definition(*wide)
    assert (output.dtype, final[0].dtype) == (torch.float32, torch.float64)
    assert_agree(final, end, 1e-12)
    assert error(output, expected) < 1e-6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": torch.ones(3, 7, 2)}, r"query \(3, 7, 2\) should be \(batch, time, heads, key"),
        ({"value": torch.ones(3, 7, 2)}, r"value \(3, 7, 2\) should be \(batch, time, heads, v"),
        ({"key": torch.ones(3, 7, 2, 4)}, r"key \(3, 7, 2, 4\) should be .* \(3, 7, 2, 5\)"),
        ({"value": torch.ones(3, 6, 2, 4)}, r"value \(3, 6, 2, 4\)"),
        ({"value": torch.ones(3, 7, 2, 4).int()}, r"value of torch.int32 should be floating"),
        ({"log_input": torch.ones(3, 7, 1)}, r"log_input \(3, 7, 1\) should be .* \(3, 7, 2\)"),
        ({"log_forget": torch.ones(3, 7)}, r"log_forget \(3, 7\)"),
        (
            {"initial": (torch.ones(3, 2, 4, 5), torch.ones(3, 2, 5), torch.ones(3, 2))},
            r"initial C \(3, 2, 4, 5\)",
        ),
        (
            {"initial": (torch.ones(3, 2, 5, 4), torch.ones(3, 2, 4), torch.ones(3, 2))},
            r"initial n \(3, 2, 4\)",
        ),
        (
            {"initial": (torch.ones(3, 2, 5, 4), torch.ones(3, 2, 5), torch.ones(3))},
            r"initial m \(3,\)",
        ),
        ({"reset": torch.ones(3, 7)}, r"reset \(3, 7\) of torch.float32 should be boolean"),
        ({"lengths": torch.ones(2).long()}, r"lengths \(2,\)"),
    ],
)
def test_errors_name_the_argument_and_its_shape(change, message):
    arguments = {
        "query": torch.ones(3, 7, 2, 5),
        "key": torch.ones(3, 7, 2, 5),
        "value": torch.ones(3, 7, 2, 4),
        "log_input": torch.ones(3, 7, 2),
        "log_forget": torch.ones(3, 7, 2),
    } | change
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(stabilized_linear_attention)(**arguments)  # past the hook on shapes


@needs_core
def test_kernels_refuse_what_they_cannot_address(core):
    x, gate = torch.ones(2, 3, 2, 4), torch.ones(2, 3, 2)
    C, n, m = torch.ones(2, 2, 4, 4), torch.ones(2, 2, 4), torch.ones(2, 2)
    good = {
        "query": x,
        "key": x,
        "value": x,
        "log_input": gate,
        "log_forget": gate,
        "C": C,
        "n": n,
        "m": m,
        "reset": None,
        "lengths": None,
        "output": x.clone(),
        "final_C": C.clone(),
        "final_n": n.clone(),
        "final_m": m.clone(),
        "borders": torch.zeros(2 * 2 * (4 * 4 + 16)),
    }
    bad = [
        ({"query": x[0]}, r"query of shape \(3, 2, 4\) should be \(batch, time, heads, key\)"),
        ({"value": x.half()}, "value .* should be float32, float64 or bfloat16"),
        ({"key": x.double()}, "key .* float32"),
        ({"key": x.transpose(1, 3).contiguous().transpose(1, 3)}, "key .* contiguous"),
        ({"log_input": gate.bfloat16()}, "log_input .* float32"),
        ({"log_forget": gate[:, :2]}, "log_forget"),
        ({"C": C.transpose(2, 3)[:, :, ::2]}, "initial"),
        ({"final_C": C.transpose(0, 1)}, "final .* contiguous"),
        ({"final_n": n.double()}, "final .* float32"),
        ({"output": x[:1].expand(2, 3, 2, 4)}, "output .* not expanded"),
        ({"borders": torch.zeros(2 * 2 * 4 * 4)}, r"borders of shape \(64,\) should be \(128\)"),
        ({"reset": gate[..., 0]}, "reset .* boolean"),
        ({"lengths": torch.ones(2, dtype=torch.int32)}, "lengths .* int64"),
    ]

    def forward(*arrays):
        core.stabilized_attention(*arrays, 0.5, 0.125, 64)

    backends.run(forward, *good.values())
    assert_refused(forward, good, bad)


def test_table_names_every_form():
    assert [row.backend for row in package.TABLE] == ["native", "torch", "reference"]


def test_agrees_with_the_model_hub():
    """Its chunkwise form, whose states are ours: there too the query bears the scale."""
    hub = pytest.importorskip("transformers.models.xlstm.modeling_xlstm")
    tensors, _ = example(time=128, key=16, value=16, dtype=torch.float32)
    q, k, v, log_input, pre, C, n, m = (x.detach() for x in tensors)
    output, state = stabilized_linear_attention(
        q, k, v, log_input=log_input, log_forget=logsigmoid(pre), initial=(C, n, m)
    )
    heads_first = [x.transpose(1, 2).contiguous() for x in (q, k, v, log_input, pre)]
    theirs, (their_C, their_n, their_m) = hub.mlstm_chunkwise_native_autograd(
        *heads_first, C, n, m, return_last_states=True, eps=0.0
    )
    assert error(output, theirs.transpose(1, 2)) < 1e-5
    for a, b in zip(state, (their_C, their_n, their_m), strict=True):
        assert error(a, b.view_as(a)) < 1e-5
