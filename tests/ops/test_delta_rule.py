"""Every form of the delta rules against their definitions, and what the kernels promise besides."""

import inspect
from functools import cache, partial

import pytest
import torch

from statewise import backends
from statewise.ops import delta_rule as package
from statewise.ops.delta_rule import (
    delta_product,
    delta_product_step,
    delta_rule,
    delta_rule_step,
    low_rank_delta_rule,
    low_rank_delta_rule_step,
    native,
)
from tests.ops.agreement import (
    BOTH,
    DTYPES,
    LEVELS,
    MASKS,
    TIMES,
    TOLERANCE,
    assert_a_reset_heals,
    assert_agree,
    assert_as_exact_as_rounding,
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
    leaf,
    marks,
    needs_core,
    with_gradients,
)
from tests.ops.compiling import HOW, assert_compiles

BACKENDS = forms("native", "torch")
OPS = {"delta": delta_rule, "product": delta_product, "low rank": low_rank_delta_rule}
KINDS = [("delta", None), ("delta", "head"), ("delta", "key"), ("product", "head")]
KINDS += [("product", "key"), ("low rank", "key"), ("low rank", None)]
STEPS = 3


def example(op="delta", decay="head", time=7, key=5, value=6, batch=3, dtype=torch.float64, **how):
    """Return the main tensors of an op, its decay or None, and an initial state.

    Some of the decays are 0, minus infinity or very strong, and some betas 0, 1 or 2.
    """
    heads, g = how.get("heads", 2), torch.Generator().manual_seed(how.get("seed", 0))

    def normal(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    def uniform(*shape):
        return torch.rand(*shape, generator=g, dtype=torch.float64)

    def unit(*shape):
        return torch.nn.functional.normalize(normal(*shape, key), dim=-1)

    def edged(x, edges):
        which = torch.randint(0, 12, x.shape, generator=g)
        for place, edge in enumerate(edges):
            x = torch.where(which == place, edge, x)
        return x

    steps = (STEPS,) if op == "product" else ()
    tensors = [normal(batch, time, heads, key)]
    if op == "low rank":
        removed = unit(batch, time, heads)
        tensors += [normal(batch, time, heads, key), normal(batch, time, heads, value)]
        tensors += [-removed, removed * uniform(batch, time, heads, key)]
    else:
        beta = edged(2 * uniform(batch, time, *steps, heads), (0.0, 1.0, 2.0))
        tensors += [unit(batch, time, *steps, heads)]
        tensors += [normal(batch, time, *steps, heads, value), beta]
    log_decay = None
    if decay is not None:
        log_decay = -uniform(batch, time, heads, *((key,) if decay == "key" else ()))
        log_decay = edged(log_decay, how.get("edges", (0.0, -50.0, -1e4, -torch.inf)))
    initial = normal(batch, heads, key, value)
    made = [*tensors, log_decay, initial]
    wide = torch.promote_types(dtype, torch.float32)
    # Gates and states are wide whatever the rest is.
    kinds = [dtype] * len(tensors) + [wide, wide]
    if op != "low rank":
        kinds[3] = wide
    return [
        None if x is None else x.to(kind).requires_grad_()
        for x, kind in zip(made, kinds, strict=True)
    ]


def form(op, backend=None, scale=0.7, **masks):
    """Return an op as a function of its tensors by position, on a backend."""

    def f(*tensors):
        *main, log_decay, initial = tensors
        with backends.use(backend):
            return inspect.unwrap(OPS[op])(
                *main, log_decay=log_decay, scale=scale, initial=initial, **masks
            )

    return f


@cache
def expected(op, masks, dtype, options):
    """Return the reference's results, and for bfloat16 those from inputs that are not rounded."""
    options = dict(options)
    tensors = example(op, dtype=dtype, **options)
    named = marks(torch.Generator().manual_seed(2), options["batch"], options["time"], masks)
    reference = form(op, "reference", **named)
    if dtype != torch.bfloat16:
        return tensors, named, with_gradients(reference, tensors), None
    exact = with_gradients(reference, example(op, **options))
    wide = [None if x is None else x.detach().double().requires_grad_() for x in tensors]
    return tensors, named, with_gradients(reference, wide, dtype), exact


def assert_agrees_with_reference(op, backend, masks=(), dtype=torch.float64, **options):
    options = {"batch": 3, "time": 7} | options
    tensors, named, best, exact = expected(op, masks, dtype, tuple(options.items()))
    ours = with_gradients(form(op, backend, **named), tensors)
    if exact is None:
        assert_agree(ours, best, TOLERANCE[dtype])
    else:
        assert_as_exact_as_rounding(ours, exact, best)


@pytest.mark.parametrize("masks", MASKS, ids="+".join)
@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("decay", [None, "head", "key"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_at_every_length(backend, decay, time, masks):
    assert_agrees_with_reference("delta", backend, masks, decay=decay, time=time)


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("time", TIMES[2:])
@pytest.mark.parametrize("decay", [None, "head", "key"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_in_every_dtype(backend, decay, time, dtype):
    assert_agrees_with_reference("delta", backend, BOTH, dtype, decay=decay, time=time)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("op", "decay"), KINDS[3:])
@pytest.mark.parametrize("backend", BACKENDS)
def test_other_ops_agree(backend, op, decay, dtype):
    for time in (0, 1, 37):
        for masks in ((), BOTH):
            assert_agrees_with_reference(op, backend, masks, dtype, decay=decay, time=time)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("key", "value"), [(1, 1), (3, 33), (16, 64), (17, 31), (64, 20)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_at_every_size(backend, key, value, dtype):
    for decay in ("head", "key"):
        assert_agrees_with_reference(
            "delta", backend, BOTH, dtype, decay=decay, key=key, value=value, time=18
        )


@pytest.mark.parametrize(("op", "decay"), KINDS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_without_rows(backend, op, decay):
    assert_agrees_with_reference(op, backend, BOTH, decay=decay, batch=0)


@pytest.mark.parametrize(("op", "decay"), KINDS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_strong_decays_alone(backend, op, decay):
    """Where every decay is strong, its gradient is tiny, and still right: nothing cancels."""
    if decay is not None:
        options = {"decay": decay, "time": 20, "edges": (-30.0,) * 12}
        assert_agrees_with_reference(op, backend, **options)


@needs_core
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("level", LEVELS)
def test_every_level(core, level, dtype):
    core.set_level(level)
    for op, decay in KINDS:
        for size in ({"key": 5, "value": 6}, {"key": 18, "value": 40}):
            assert_agrees_with_reference(op, "native", BOTH, dtype, decay=decay, time=19, **size)


@needs_core
@pytest.mark.parametrize("decay", [None, "head", "key"])
def test_few_tokens_one_by_one(decay):
    """Without gradients few tokens take another kernel; its columns come in blocks of any width."""
    for value in (1, 6, 17, 150):
        for time in range(native.CHUNKWISE_FROM):
            named = marks(torch.Generator().manual_seed(2), 3, time)
            tensors = example("delta", decay, time=time, value=value)
            with torch.no_grad():
                ours = form("delta", "native", **named)(*tensors)
                assert_agree(ours, form("delta", "reference", **named)(*tensors), 1e-12)


@needs_core
@pytest.mark.parametrize(("op", "decay"), KINDS)
@pytest.mark.parametrize("batch", [1, 3])
def test_bit_equal_at_any_number_of_threads(op, decay, batch):
    """One row has fewer heads than there are threads: columns of the state are divided then."""
    named = marks(torch.Generator().manual_seed(2), batch, 70)
    tensors = example(op, decay, time=70, batch=batch, key=20, value=100, dtype=torch.float32)
    run = partial(with_gradients, form(op, "native", **named), tensors)
    assert_bit_equal_at_any_number_of_threads(run)


@needs_core
@pytest.mark.parametrize("given", [False, True])
def test_writes_every_number(given):
    """Memory that came as NaN leaves without one."""
    query, key, value, beta, log_decay, initial = example("delta", "key", time=70, edges=())
    write = leaf(key * beta[..., None]) if given else None
    named = marks(torch.Generator().manual_seed(2), 3, 70)

    def f(*tensors):
        return native.OP(*tensors, *named.values(), 0.7)

    inputs = (query, key, write, value, None if given else beta, log_decay, initial)
    assert_writes_every_number(lambda: with_gradients(f, inputs))
    query, key, value, beta, log_decay = (
        x.detach()[:, 0] for x in (query, key, value, beta, log_decay)
    )
    initial = initial.detach()
    assert_writes_every_number(
        lambda: delta_rule_step(query, key, value, beta, initial, log_decay=log_decay)
    )


def run(op, backend):
    return lambda tensors, masks: with_gradients(form(op, backend, **masks), tensors)


@pytest.mark.parametrize(("op", "decay"), KINDS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_padding_may_hold_nan(backend, op, decay):
    named = marks(torch.Generator().manual_seed(2), 3, 20)
    tensors = example(op, decay, time=20)
    timed = range(len(tensors) - 1)
    assert_padding_may_hold_nan(run(op, backend), tensors, timed, named)


@pytest.mark.parametrize(("op", "decay"), KINDS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_reset_heals_a_nan_state(backend, op, decay):
    tensors = example(op, decay, edges=())
    reset = torch.zeros(3, 7, dtype=torch.bool)
    state = (len(tensors) - 1,)
    assert_a_reset_heals(run(op, backend), tensors, state, reset)
    f = form(op, backend, reset=reset)
    # In the middle too, where the NaN came from an input; what came before it is untouched.
    value = tensors[2].detach().clone()
    value[:, 2] = torch.nan
    reset[:, 4] = True
    spoiled = [*tensors[:2], value, *tensors[3:]]
    output, final = f(*spoiled)
    expected, end = f(*tensors)
    assert output[:, 2:4].isnan().all()
    assert error(output[:, :2], expected[:, :2]) < 1e-12
    assert error(output[:, 4:], expected[:, 4:]) < 1e-12
    assert error(final, end) < 1e-12


@pytest.mark.parametrize("backend", BACKENDS)
def test_reads_strided_and_expanded_inputs(backend):
    """Slices of one projection, heads first in memory, shared by heads, a strided last axis."""
    g = torch.Generator().manual_seed(0)
    base = torch.randn(2, 20, 3, 24, generator=g, dtype=torch.float64)
    gates = torch.rand(2, 20, 3, 12, generator=g, dtype=torch.float64)
    reset = (base[..., 0, 0] < -1).T.contiguous().T
    initial = base[:, 0, :, :20].reshape(2, 3, 4, 5).transpose(0, 1)[:, :2].transpose(0, 1)
    initial = initial.transpose(2, 3).contiguous().transpose(2, 3)
    views = {
        "slices": (base[..., :4], base[..., 4:8] / 4, base[..., 8:13]),
        "heads first": tuple(
            x.transpose(1, 2).contiguous().transpose(1, 2)
            for x in (base[..., :4], base[..., 4:8] / 4, base[..., 8:13])
        ),
        "shared": (
            base[:, :, :1, :4].expand(2, 20, 3, 4),
            base[:, :1, :, :4].expand(2, 20, 3, 4) / 4,
            base[:1, ..., :5].expand(2, 20, 3, 5),
        ),
        "strided": (base[..., 0:8:2], base[..., 1:9:2] / 4, base[..., 0:10:2]),
    }
    for query, key, value in views.values():
        for beta, decay in (
            (gates[..., 0], -gates[..., 1]),
            (gates[..., 0, :1].expand(2, 20, 3), -gates[..., 0:8:2]),
            (gates[:, :, 0, :3], -gates[:1, :, :, :4].expand(2, 20, 3, 4)),
        ):
            given = [x.detach() for x in (query, key, value, beta, decay, initial[:, :3])]
            if given[-1].shape[1] != 3:
                given[-1] = torch.cat([given[-1], given[-1][:, :1]], 1)
            dense = [x.clone().contiguous().requires_grad_() for x in given]
            given = [x.requires_grad_() for x in given]
            masks = {"reset": reset, "lengths": torch.tensor([20, 7, 9])[::2]}
            ours = with_gradients(form("delta", backend, **masks), given)
            assert_agree(ours, with_gradients(form("delta", "reference", **masks), dense), 1e-9)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(("op", "decay"), KINDS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_of_one_result_alone(backend, op, decay, which):
    """Also: the expanded gradient that a sum sends back."""
    tensors = example(op, decay)
    named = marks(torch.Generator().manual_seed(2), 3, 7)
    ours, definition = (form(op, name, **named) for name in (backend, "reference"))
    assert_gradients_of_one_result_agree(ours, definition, tensors, which)


@pytest.mark.parametrize(("op", "decay"), KINDS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_denormals_agree(backend, op, decay):
    """Values and the state of before: all is linear in these."""
    tensors = example(op, decay, time=20)
    named = marks(torch.Generator().manual_seed(2), 3, 20)
    ours, definition = (form(op, name, **named) for name in (backend, "reference"))
    assert_denormals_agree(ours, definition, tensors, (2, len(tensors) - 1))


@pytest.mark.parametrize(("op", "decay"), KINDS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_shared_or_changed(backend, op, decay):
    for time in (0, 1, 7):
        tensors = [x if x is None else x.detach() for x in example(op, decay, time=time)]
        named = marks(torch.Generator().manual_seed(2), 3, time)
        assert_fresh(form(op, backend, **named), tensors)


@pytest.mark.parametrize(("op", "decay"), KINDS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_gradcheck(backend, op, decay):
    size = {"time": 2, "key": 2, "value": 1, "batch": 2, "heads": 1}
    tensors = example(op, decay, edges=(0.0,), **size)
    f = form(op, backend, reset=torch.tensor([[0, 0], [0, 1]]).bool(), lengths=torch.tensor([2, 2]))
    assert torch.autograd.gradcheck(f, tensors)
    assert torch.autograd.gradgradcheck(f, tensors, fast_mode=True)


@pytest.mark.parametrize(("op", "decay"), KINDS)
def test_transforms_are_right_through_the_table(op, decay):
    tensors = [x for x in example(op, decay, edges=(0.0,)) if x is not None]
    named = marks(torch.Generator().manual_seed(2), 3, 7)

    def by_position(backend):
        def f(*everything):
            *main, initial, reset, lengths = everything
            log_decay = None if decay is None else main.pop()
            return form(op, backend, reset=reset, lengths=lengths)(*main, log_decay, initial)

        return f

    assert_transforms_agree(by_position(None), by_position("reference"), tensors, named.values())


@needs_core
@pytest.mark.parametrize("masks", [(), BOTH], ids="+".join)
@pytest.mark.parametrize("decay", ["head", "key"])
def test_custom_ops_are_registered_rightly(decay, masks):
    query, key, value, beta, log_decay, initial = example("delta", decay)
    named = marks(torch.Generator().manual_seed(2), 3, 7, masks)
    reset, lengths = named.get("reset"), named.get("lengths")
    inputs = (query, key, None, value, beta, log_decay, initial, reset, lengths, 0.7)
    assert_registered_rightly(native.OP, inputs, 2)


@pytest.mark.parametrize("how", HOW)
def test_compiles(how):
    assert_compiles("delta_rule", how)


STEP = {
    "delta": delta_rule_step,
    "product": delta_product_step,
    "low rank": low_rank_delta_rule_step,
}


def one_step(op, *tensors):
    """Return one step of an op, whose last tensors are the decay and the state."""
    *main, log_decay, state = tensors
    return STEP[op](*main, state, log_decay=log_decay, scale=0.7)


def at(t, tensors):
    """Return the tensors of an op but the state, at one time, as leaves of their own."""
    return [None if x is None else x[:, t].detach().clone() for x in tensors[:-1]]


@pytest.mark.parametrize(("key", "value"), [(4, 5), (35, 37), (64, 130)])
@pytest.mark.parametrize(("op", "decay"), KINDS)
def test_step_is_one_time_of_the_op(op, decay, key, value):
    tensors = [x if x is None else x.detach() for x in example(op, decay, key=key, value=value)]
    output, final = form(op, "reference")(*tensors)
    state = tensors[-1]
    for t in range(7):
        y, state = one_step(op, *at(t, tensors), state)
        assert y.is_contiguous()
        assert error(y, output[:, t]) < 1e-12
    assert error(state, final) < 1e-12


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("op", "decay"), KINDS)
def test_step_in_every_dtype_and_with_gradients(op, decay, dtype):
    tensors = example(op, decay, time=1, dtype=dtype)
    now = [leaf(x) for x in (*at(0, tensors), tensors[-1])]
    ours = with_gradients(partial(one_step, op), now)

    def whole_op(*tensors):
        output, final = form(op, "reference")(*tensors)
        return output[:, 0], final

    whole = with_gradients(whole_op, tensors)
    with torch.no_grad():
        y, after = one_step(op, *now)
    tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-5
    for made in (ours[:2], (y, after)):
        assert made[0].dtype == dtype
        assert error(made[0], whole[0]) < tolerance
        assert error(made[1], whole[1]) < tolerance
    for made, grad in zip(ours[2:], whole[2:], strict=True):
        assert error(made, grad.reshape(made.shape)) < tolerance


@needs_core
@pytest.mark.parametrize(("op", "decay"), KINDS)
def test_step_calls_its_kernel_alone(op, decay, monkeypatch):
    """And goes by the whole op where dtypes differ, which no kernel reads."""
    tensors = [x if x is None else x.detach() for x in example(op, decay, time=1)]
    whole = form(op, None)(*tensors)
    mixed = [x if x is None else x.float() for x in tensors[:-1]] + tensors[-1:]
    y, after = one_step(op, *at(0, mixed), mixed[-1])
    assert (y.dtype, after.dtype) == (torch.float32, torch.float64)
    assert error(y, whole[0][:, 0]) < 1e-5

    def refuse(*_, **__):
        raise AssertionError("the whole op")

    for name in ("delta_rule", "delta_product", "low_rank_delta_rule"):
        monkeypatch.setattr(package, name, refuse)
    y, after = one_step(op, *at(0, tensors), tensors[-1])
    assert error(y, whole[0][:, 0]) < 1e-12
    assert error(after, whole[1]) < 1e-12


@needs_core
@pytest.mark.parametrize(("op", "decay"), KINDS)
@pytest.mark.parametrize("level", LEVELS)
def test_step_at_every_level(core, level, op, decay):
    tensors = [x if x is None else x.detach() for x in example(op, decay, time=1, key=19, value=70)]
    output, final = form(op, "reference")(*tensors)
    core.set_level(level)
    y, after = one_step(op, *at(0, tensors), tensors[-1])
    assert error(y, output[:, 0]) < 1e-12
    assert error(after, final) < 1e-12


def test_one_step_of_a_product_is_the_delta_rule():
    query, key, value, beta, log_decay, initial = example("delta", "key")
    one = delta_product(
        query,
        key[:, :, None],
        value[:, :, None],
        beta[:, :, None],
        log_decay=log_decay,
        initial=initial,
    )
    assert_agree(
        one, delta_rule(query, key, value, beta, log_decay=log_decay, initial=initial), 1e-12
    )


def test_low_rank_form_contains_the_delta_rule():
    """Without decay, with -key read and beta key written."""
    query, key, value, beta, _, initial = example("delta", None)
    written = beta[..., None] * key
    low = low_rank_delta_rule(query, written, value, -key, written, initial=initial)
    assert_agree(low, delta_rule(query, key, value, beta, initial=initial), 1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_full_correction_stores_and_a_double_one_reflects(backend):
    key = torch.tensor([0.6, 0.8]).view(1, 1, 1, 2)
    value = torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 1, 3)
    initial = torch.randn(1, 1, 2, 3, generator=torch.Generator().manual_seed(0))
    with backends.use(backend):
        stored, _ = delta_rule(key, key, value, torch.ones(1, 1, 1), initial=initial)
        _, mirrored = delta_rule(key, key, 0 * value, 2 * torch.ones(1, 1, 1), initial=initial)
        _, restored = delta_rule(key, key, 0 * value, 2 * torch.ones(1, 1, 1), initial=mirrored)
    assert error(stored, value) < 1e-6
    assert error(mirrored.norm(), initial.norm()) < 1e-6
    assert error(restored, initial) < 1e-6


@pytest.mark.parametrize("decay", [None, "head"])
def test_agrees_with_the_hub_library(decay):
    """An outside witness, in float32: Qwen3-Next's chunked form."""
    witness = pytest.importorskip("transformers.models.qwen3_next.modeling_qwen3_next")
    query, key, value, beta, log_decay, initial = (
        x if x is None else x.detach()
        for x in example("delta", decay, time=100, dtype=torch.float32, edges=())
    )
    none = torch.zeros_like(beta) if log_decay is None else log_decay
    expected = witness.torch_chunk_gated_delta_rule(
        query, key, value, none, beta, initial_state=initial, output_final_state=True
    )
    ours = delta_rule(query, key, value, beta, log_decay=log_decay, scale=5**-0.5, initial=initial)
    assert_agree(ours, expected, 1e-5)


def test_wider_gates_and_states_widen_the_work():
    tensors = [x.detach() for x in example(time=63, dtype=torch.float32)]
    wide = [x.double() for x in tensors]
    expected, end = form("delta", "reference")(*wide)
    for place in (3, 4, 5):
        mixed = [wide[i] if i == place else x for i, x in enumerate(tensors)]
        output, final = form("delta")(*mixed)
        assert (output.dtype, final.dtype) == (torch.float32, torch.float64)
        assert error(final, end) < 1e-12
        assert error(output, expected) < 1e-6


def test_starts_at_zero_without_an_initial_state():
    *main, log_decay, initial = example()
    ours = delta_rule(*main, log_decay=log_decay)
    assert_agree(ours, delta_rule(*main, log_decay=log_decay, initial=0 * initial), 0)


ONES = {
    "query": torch.ones(3, 7, 2, 5),
    "key": torch.ones(3, 7, 2, 5),
    "value": torch.ones(3, 7, 2, 6),
    "beta": torch.ones(3, 7, 2),
}
SEVERAL = {
    "query": ONES["query"],
    "key": torch.ones(3, 7, 4, 2, 5),
    "value": torch.ones(3, 7, 4, 2, 6),
    "beta": torch.ones(3, 7, 4, 2),
}
LOW = {name: ONES["query" if name != "value" else name] for name in (*ONES, "read", "write")}
del LOW["beta"]


@pytest.mark.parametrize(
    ("op", "good", "change", "message"),
    [
        (delta_rule, ONES, {"query": torch.ones(3, 7, 5)}, r"query \(3, 7, 5\) and key"),
        (delta_rule, ONES, {"key": torch.ones(3, 7, 2, 4)}, r"key \(3, 7, 2, 4\) should agree"),
        (delta_rule, ONES, {"value": torch.ones(3, 7, 1, 6)}, r"value \(3, 7, 1, 6\) should be"),
        (delta_rule, ONES, {"beta": torch.ones(3, 7)}, r"beta \(3, 7\) should be .*\(3, 7, 2\)"),
        (
            delta_rule,
            ONES,
            {"log_decay": torch.ones(3, 7, 5)},
            r"log_decay \(3, 7, 5\) should .* or",
        ),
        (delta_rule, ONES, {"initial": torch.ones(3, 2, 6, 5)}, r"initial .* \(3, 2, 5, 6\)"),
        (delta_rule, ONES, {"reset": torch.ones(3, 7)}, r"reset \(3, 7\) of torch.float32"),
        (delta_rule, ONES, {"lengths": torch.ones(2).long()}, r"lengths \(2,\)"),
        (delta_product, SEVERAL, {"key": torch.ones(3, 7, 2, 5)}, r"key \(3, 7, 2, 5\), value"),
        (delta_product, SEVERAL, {"key": torch.ones(3, 7, 0, 2, 5)}, r"at least one step"),
        (delta_product, SEVERAL, {"beta": torch.ones(3, 7, 3, 2)}, r"not 4, 4 and 3"),
        (delta_product, SEVERAL, {"query": torch.ones(3, 6, 2, 5)}, r"query \(3, 6, 2, 5\)"),
        (low_rank_delta_rule, LOW, {"read": torch.ones(3, 7, 2, 6)}, r"read \(3, 7, 2, 6\)"),
        (low_rank_delta_rule, LOW, {"write": torch.ones(3, 7, 2)}, r"write \(3, 7, 2\)"),
        (low_rank_delta_rule, LOW, {"log_decay": torch.ones(3, 7, 2)}, r"log_decay \(3, 7, 2\)"),
    ],
)
def test_errors_name_the_argument_and_its_shape(op, good, change, message):
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(op)(**(good | change))  # past the hook that checks shapes in tests


@needs_core
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": torch.ones(3, 7, 5)}, r"query of shape \(3, 7, 5\) should be \(batch, time"),
        ({"value": torch.ones(3, 7, 2, 6).half()}, "value .* should be float32, float64 or"),
        ({"key": torch.ones(3, 7, 2, 4)}, r"key .* should be \(3, 7, 2, 5\) of float32"),
        ({"key": ONES["key"].double()}, r"key .* of float32"),
        ({"key": torch.ones(3, 7, 5, 2).mT}, "key .* contiguous along its last axis"),
        ({"beta": None}, "either beta or write"),
        ({"write": ONES["key"]}, "either beta or write"),
        ({"beta": ONES["beta"].bfloat16()}, "beta .* of float32"),
        ({"beta": None, "write": ONES["key"], "log_decay": ONES["beta"]}, "one for every key"),
        ({"initial": torch.ones(3, 2, 6, 5).mT}, "initial .* contiguous"),
        ({"final": torch.ones(3, 2, 5, 6).double()}, "final .* in its precision"),
        ({"output": torch.ones(1, 7, 2, 6).expand(3, 7, 2, 6)}, "output .* not expanded"),
        ({"states": torch.ones(3, 2, 2, 5, 6)}, "states .* contiguous"),
        ({"reset": torch.ones(3, 7)}, "reset .* boolean"),
        ({"lengths": torch.ones(3, dtype=torch.int32)}, "lengths .* int64"),
    ],
)
def test_kernels_refuse_what_they_cannot_address(core, change, message):
    good = {"query": ONES["query"], "key": ONES["key"], "write": None, "value": ONES["value"]}
    good |= {"beta": ONES["beta"], "log_decay": None, "initial": torch.ones(3, 2, 5, 6)}
    good |= {"reset": None, "lengths": None, "output": torch.ones(3, 7, 2, 6)}
    good |= {"final": torch.ones(3, 2, 5, 6), "states": None}
    assert_refused(partial(core.delta_rule, True, 1.0), good, [(change, message)])


@needs_core
def test_kernels_of_steps_refuse_what_they_cannot_address(core):
    query, value, state = torch.ones(3, 2, 5), torch.ones(3, 2, 6), torch.ones(3, 2, 5, 6)
    rest = {"state": state, "output": value.clone(), "next": state.clone()}
    product = {"query": query, "key": torch.ones(3, 4, 2, 5), "value": torch.ones(3, 4, 2, 6)}
    product |= {"beta": torch.ones(3, 4, 2), "log_decay": None} | rest
    bad = [
        ({"value": value}, r"value .* should be \(batch, steps, heads, value\) with at least one"),
        ({"value": torch.ones(3, 0, 2, 6)}, "at least one step"),
        ({"key": query}, r"key .* should be \(3, 4, 2, 5\)"),
        ({"beta": torch.ones(3, 3, 2)}, r"beta .* should be \(3, 4, 2\)"),
        ({"query": torch.ones(3, 1, 5)}, r"query .* should be \(3, 2, 5\)"),
        ({"log_decay": torch.ones(3, 4, 2)}, r"log_decay .* should be \(3, 2, 5\)"),
        ({"next": state.mT}, "next .* contiguous"),
    ]
    assert_refused(partial(core.delta_product_step, 1.0), product, bad)
    low = {"query": query, "key": query, "value": value, "read": query, "write": query}
    low |= {"log_decay": None} | rest
    bad = [
        ({"value": product["value"]}, r"value .* should be \(batch, heads, value\)"),
        ({"query": product["key"]}, r"query .* should be \(batch, heads, key\)"),
        ({"key": query[:, :1]}, r"key .* should be \(3, 2, 5\)"),
        ({"read": query.double()}, "read .* of float32"),
        ({"write": query[..., :4]}, r"write .* should be \(3, 2, 5\)"),
        ({"log_decay": torch.ones(3, 2)}, "log_decay .* one for every key"),
        ({"output": value[:1].expand(3, 2, 6)}, "output .* not expanded"),
        ({"state": state.double()}, "state .* in its precision"),
    ]
    assert_refused(partial(core.low_rank_delta_rule_step, 1.0), low, bad)


def test_steps_refuse_in_words(monkeypatch):
    for name in ("delta_product", "low_rank_delta_rule"):  # past the hook that checks shapes
        monkeypatch.setattr(package, name, inspect.unwrap(getattr(package, name)))
    ones = {name: x[:, 0] for name, x in SEVERAL.items()} | {"state": torch.ones(3, 2, 5, 6)}
    with pytest.raises(ValueError, match=r"delta_product: key, value and beta .* not 4, 4 and 3"):
        inspect.unwrap(delta_product_step)(**(ones | {"beta": torch.ones(3, 3, 2)}))
    ones = {name: x[:, 0] for name, x in LOW.items()} | {"state": torch.ones(3, 2, 5, 6)}
    with pytest.raises(ValueError, match=r"low_rank_delta_rule: write \(3, 1, 2\)"):
        inspect.unwrap(low_rank_delta_rule_step)(**(ones | {"write": torch.ones(3, 2)}))


def test_table_names_every_form():
    assert [row.backend for row in package.TABLE] == ["native", "torch", "reference"]
