"""Every backend of linear attention against its definition, and against others' equations."""

import functools
import inspect
import itertools

import pytest
import torch

from statewise import backends
from statewise.ops import linear_attention as package
from statewise.ops.linear_attention import (
    linear_attention,
    linear_attention_step,
    native,
    normalized_linear_attention,
    normalized_linear_attention_step,
    reference,
)
from statewise.ops.linear_attention.torch import linear_attention as chunkwise
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
    assert_equal,
    assert_fresh,
    assert_gradients_of_one_result_agree,
    assert_padding_may_hold_nan,
    assert_registered_rightly,
    assert_transforms_agree,
    assert_writes_every_number,
    beyond,
    error,
    marks,
    needs_core,
    with_gradients,
)
from tests.ops.compiling import HOW, assert_compiles


@pytest.fixture(autouse=True)
def as_measured(monkeypatch):
    """Let the kernel decide again by sizes, after a test of `native_by_chunks`."""
    monkeypatch.setattr(native, "CHUNKS_FROM_TIME", native.CHUNKS_FROM_TIME)
    monkeypatch.setattr(native, "CHUNKS_FROM_SIZE", native.CHUNKS_FROM_SIZE)


def native_by_chunks(*tensors, **options):
    """Compute by the kernel's chunks whatever the sizes; the gradients that follow too."""
    native.CHUNKS_FROM_TIME = native.CHUNKS_FROM_SIZE = 0
    return native.linear_attention(*tensors, **options)


NATIVE = [
    pytest.param(native.linear_attention, id="native", marks=needs_core),
    pytest.param(native_by_chunks, id="native_by_chunks", marks=needs_core),
]
FORMS = [*NATIVE, pytest.param(chunkwise, id="torch")]
DECAYS = ["none", "head", "key", "value"]
KINDS = [(decay, bonus) for decay in DECAYS for bonus in (False, True)]
each_kind = pytest.mark.parametrize(
    ("decay", "bonus"), KINDS, ids=[f"{d}{'+bonus' * b}" for d, b in KINDS]
)
NAMES = ("query", "key", "value", "log_decay", "bonus", "initial")


def example(
    decay="key",
    bonus=False,
    time=7,
    batch=3,
    heads=2,
    groups=2,
    key=5,
    value=4,
    masks=(),
    dtype=torch.float64,
    strength=2.0,
):
    """Return the tensors in the order of NAMES, and the masks asked for.

    Some decays are 1, some forget everything: by exp(-10000) or by minus infinity.
    """
    g = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    wide = torch.promote_types(dtype, torch.float32)
    sizes = {"none": None, "head": (), "key": (key,), "value": (key, value)}[decay]
    log_decay = None
    if sizes is not None:
        log_decay = -strength * torch.rand(
            batch, time, heads, *sizes, generator=g, dtype=torch.float64
        )
        edges = torch.randint(0, 24, log_decay.shape, generator=g)
        for edge, extreme in enumerate((0.0, -1e4, -torch.inf)):
            log_decay = torch.where(edges == edge, extreme, log_decay).to(wide)
    tensors = [
        normal(batch, time, groups, key).to(dtype),
        normal(batch, time, groups, key).to(dtype),
        normal(batch, time, heads, value).to(dtype),
        log_decay,
        normal(heads, key).to(wide) if bonus else None,
        normal(batch, heads, key, value).to(wide),
    ]
    tensors = [None if x is None else x.requires_grad_() for x in tensors]
    return tensors, marks(g, batch, time, masks)


def positional(form, **options):
    """Return the form as a function of the tensors in the order of NAMES."""

    def f(*tensors):
        query, key, value, log_decay, bonus, initial = tensors
        return form(query, key, value, log_decay=log_decay, bonus=bonus, initial=initial, **options)

    return f


def results(form, tensors, masks, rounded=None):
    return with_gradients(positional(form, scale=0.7, **masks), tensors, rounded)


def assert_agrees_with_reference(form, **options):
    assert_agrees_with_definition(
        finite_results, form, reference.linear_attention, example, wide=True, **options
    )


def finite_results(*arguments):
    found = results(*arguments)
    assert all(x.isfinite().all() for x in found)
    return found


@pytest.mark.parametrize("masks", MASKS, ids="+".join)
@pytest.mark.parametrize("time", TIMES)
@each_kind
@pytest.mark.parametrize("form", FORMS)
def test_agrees_at_every_length(form, decay, bonus, time, masks):
    assert_agrees_with_reference(form, decay=decay, bonus=bonus, time=time, masks=masks)


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("time", [100, pytest.param(1000, marks=pytest.mark.long)])
@each_kind
@pytest.mark.parametrize("form", FORMS)
def test_agrees_in_every_precision(form, decay, bonus, time, dtype):
    assert_agrees_with_reference(form, decay=decay, bonus=bonus, time=time, masks=BOTH, dtype=dtype)


@pytest.mark.parametrize(("key", "value"), [(1, 1), (3, 33), (70, 64)])
@each_kind
@pytest.mark.parametrize("form", FORMS)
def test_agrees_at_every_size(form, decay, bonus, key, value):
    assert_agrees_with_reference(form, decay=decay, bonus=bonus, key=key, value=value, masks=BOTH)


@pytest.mark.parametrize("strength", [0.01, 30.0])
@pytest.mark.parametrize("decay", DECAYS[1:])
@pytest.mark.parametrize("form", FORMS)
def test_agrees_at_every_strength_of_decay(form, decay, strength):
    """Also of the gradient of the decay, tiny beside the others where the decay is strong."""
    assert_agrees_with_reference(
        form, decay=decay, strength=strength, time=150, key=16, value=16, dtype=torch.float32
    )


@pytest.mark.parametrize("form", FORMS)
def test_agrees_where_heads_share_queries_and_keys(form):
    for decay, bonus in KINDS:
        for groups in (1, 2):
            assert_agrees_with_reference(
                form, decay=decay, bonus=bonus, heads=4, groups=groups, masks=BOTH
            )


@pytest.mark.parametrize("form", FORMS)
def test_agrees_without_rows(form):
    for decay, bonus in KINDS:
        assert_agrees_with_reference(form, decay=decay, bonus=bonus, batch=0, masks=BOTH)


@needs_core
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("form", NATIVE)
def test_every_level(core, form, level):
    core.set_level(level)
    for (decay, bonus), dtype in itertools.product(KINDS, DTYPES):
        assert_agrees_with_reference(
            form,
            decay=decay,
            bonus=bonus,
            time=25,
            key=33,
            value=20,
            masks=BOTH,
            dtype=dtype,
        )


@needs_core
@pytest.mark.parametrize("batch", [1, 3])
@each_kind
@pytest.mark.parametrize("form", NATIVE)
def test_bit_equal_at_any_number_of_threads(core, form, decay, bonus, batch):
    tensors, masks = example(
        decay, bonus, 130, batch, key=40, value=100, masks=BOTH, dtype=torch.float32, heads=1,
        groups=1,
    )  # fmt: skip
    assert_bit_equal_at_any_number_of_threads(lambda: results(form, tensors, masks))


@needs_core
@each_kind
@pytest.mark.parametrize("form", NATIVE)
def test_writes_every_number(form, decay, bonus):
    """Memory that came as NaN leaves without one."""
    tensors, masks = example(decay, bonus, 25, masks=BOTH)
    assert_writes_every_number(lambda: results(form, tensors, masks))
    query, key, value, log_decay, bonus, state = (
        None if x is None else x.detach() for x in tensors
    )
    gate = None if log_decay is None else log_decay[:, 0]
    now = query[:, 0], key[:, 0], value[:, 0], state
    assert_writes_every_number(lambda: linear_attention_step(*now, log_decay=gate, bonus=bonus))


@each_kind
@pytest.mark.parametrize("form", FORMS)
def test_padding_may_hold_nan(form, decay, bonus):
    tensors, masks = example(decay, bonus, 70, masks=BOTH)
    assert_padding_may_hold_nan(functools.partial(results, form), tensors, range(4), masks)


@each_kind
@pytest.mark.parametrize("form", FORMS)
def test_reset_heals_a_nan_state(form, decay, bonus):
    tensors, _ = example(decay, bonus)
    reset = torch.zeros(3, 7, dtype=torch.bool)
    assert_a_reset_heals(functools.partial(results, form), tensors, (5,), reset)
    ill = [*tensors[:5], torch.full_like(tensors[5], torch.nan)]
    # In the middle too, where the NaN came from the state or from an input.
    reset = torch.zeros(3, 7, dtype=torch.bool)
    reset[:, 4] = True
    for place in range(4):
        spoiled = [None if x is None else x.detach().clone() for x in ill]
        if place and spoiled[place] is not None:
            spoiled[5] = tensors[5].detach()
            spoiled[place][:, 2] = torch.nan
        output, final = positional(form, reset=reset)(*spoiled)
        assert output[:, 2 + (bonus and place in (1, 2, 3)) : 4].isnan().all()
        assert output[:, 4:].isfinite().all()
        assert final.isfinite().all()


@pytest.mark.parametrize("form", FORMS)
def test_reads_strided_and_expanded_inputs(form):
    """Slices of a projection, a decay of the head alone, time first, a strided last axis."""
    g = torch.Generator().manual_seed(0)
    base = torch.rand(3, 6, 2, 12, generator=g, dtype=torch.float64)
    views = [
        base[..., :4],
        base[:1, :1, :1, 2:6].expand(3, 6, 2, 4),
        base[..., 1:9:2],
        torch.stack([base[..., :4]] * 2, 1)[:, 1],
        base[:, :, :, None, 3].expand(3, 6, 2, 4),
        base.transpose(2, 3)[:, :, :4].transpose(2, 3),
    ]  # fmt: skip
    decays = [-view for view in views] + [
        -base[:1, :1, 0, :2].expand(3, 6, 2),
        -base[..., 0],
        -base[:, :, :1, 0].expand(3, 6, 2),
        -base[:1, :1, :, :4, None].expand(3, 6, 2, 4, 4),
        -base[:, :, :, 2:10, None].expand(3, 6, 2, 8, 4)[..., ::2, :],
    ]
    decays = [-x.abs() for x in decays]
    initial = base[:, 0, :, :, None][:, :, 2:10:2].expand(3, 2, 4, 4)
    bonus = base[0, 0, :, 1:9:2]
    masks = {"reset": (base[..., 0, 0] < 0.3).T.contiguous().T, "lengths": torch.tensor([6, 0, 9])}
    for place, view in enumerate(views):
        for log_decay in decays:
            given = [view, views[place - 1], views[place - 2], log_decay, bonus, initial]
            given = [x.detach().requires_grad_() for x in given]
            dense = [x.detach().clone(memory_format=torch.contiguous_format) for x in given]
            dense = [x.requires_grad_() for x in dense]
            expected = results(reference.linear_attention, dense, masks)
            assert_agree(results(form, given, masks), expected, 1e-9)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("which", [0, 1], ids=["output", "final"])
def test_gradients_of_one_result_alone(form, which):
    """Also: the expanded gradient that a sum sends back."""
    for decay, bonus in KINDS:
        tensors, masks = example(decay, bonus, masks=BOTH)
        ours, definition = (positional(f, **masks) for f in (form, reference.linear_attention))
        assert_gradients_of_one_result_agree(ours, definition, tensors, which)


@each_kind
@pytest.mark.parametrize("form", FORMS)
def test_denormals_agree(form, decay, bonus):
    """Values and the state of before: all is linear in these."""
    tensors, masks = example(decay, bonus, 20, masks=BOTH)
    ours, definition = (positional(f, **masks) for f in (form, reference.linear_attention))
    assert_denormals_agree(ours, definition, tensors, (2, 5))


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_shared_or_changed(form):
    for (decay, bonus), time in itertools.product(KINDS, (0, 1, 7)):
        tensors, masks = example(decay, bonus, time, masks=BOTH)
        with torch.no_grad():
            assert_fresh(
                positional(form, **masks), [x if x is None else x.detach() for x in tensors]
            )


@each_kind
@pytest.mark.parametrize("form", FORMS)
def test_gradcheck(form, decay, bonus):
    tensors, masks = example(decay, bonus, 3, heads=1, groups=1, key=2, value=2, masks=BOTH)
    if decay != "none":  # finite differences take no step from minus infinity
        tensors[3] = tensors[3].detach().clamp(min=-3, max=-0.1).requires_grad_()
    given = [x for x in tensors if x is not None]
    places = [place for place, x in enumerate(tensors) if x is not None]

    def f(*given):
        each = dict(zip(places, given, strict=True))
        return positional(form, scale=0.7, **masks)(*(each.get(place) for place in range(6)))

    assert torch.autograd.gradcheck(f, given, fast_mode=True)
    assert torch.autograd.gradgradcheck(f, given, fast_mode=True)


@pytest.mark.parametrize("decay", DECAYS)
def test_transforms_are_right_through_the_table(decay):
    """Through jvp and vmap a custom op would answer zero or fail; the table must see to it."""
    tensors, masks = example(decay, True, masks=BOTH)
    if decay != "none":
        tensors[3] = tensors[3].detach().clamp(min=-30)
    bonus = tensors[4].detach()
    given = [x for place, x in enumerate(tensors) if x is not None and place != 4]

    def through(form):
        def f(*everything):
            *tensors, initial, reset, lengths = everything
            return form(
                *tensors[:3],
                log_decay=tensors[3] if len(tensors) == 4 else None,
                bonus=bonus,
                initial=initial,
                reset=reset,
                lengths=lengths,
            )

        return f

    assert_transforms_agree(
        through(linear_attention),
        through(reference.linear_attention),
        given,
        tuple(masks.values()),
    )


@needs_core
@each_kind
def test_custom_ops_are_registered_rightly(decay, bonus):
    for names in (MASKS[0], BOTH):
        tensors, masks = example(decay, bonus, 3, masks=names)
        if decay != "none":  # opcheck compares gradients that it makes of the smallest numbers
            tensors[3] = tensors[3].detach().clamp(min=-30).requires_grad_()
        inputs = (*tensors, masks.get("reset"), masks.get("lengths"), 0.7)
        assert_registered_rightly(native._op, inputs, 2)


@pytest.mark.parametrize("how", HOW)
def test_compiles(how):
    assert_compiles("linear_attention", how)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("grads", [False, True])
@each_kind
def test_step_is_one_time_of_the_whole(decay, bonus, grads, dtype):
    for groups in (1, 2):
        tensors, _ = example(decay, bonus, groups=groups, key=7, value=20, dtype=dtype)
        state = tensors[5]
        with torch.set_grad_enabled(grads):
            output, final = positional(linear_attention, scale=0.7)(*tensors)
            for t in range(7):
                y, state = linear_attention_step(
                    *(x[:, t] for x in tensors[:3]),
                    state,
                    log_decay=None if decay == "none" else tensors[3][:, t],
                    bonus=tensors[4],
                    scale=0.7,
                )
                assert y.dtype == dtype
                assert error(y, output[:, t]) < 2 * torch.finfo(dtype).eps
            assert error(state, final) < 4 * torch.finfo(final.dtype).eps
            assert state.requires_grad == grads


def test_wider_state_widens_the_work():
    tensors, _ = example("key", dtype=torch.float32, time=63)
    narrow, wide = ([x if x is None else x.detach() for x in tensors] for _ in range(2))
    narrow[5] = narrow[5].double()
    output, final = positional(linear_attention)(*narrow)
    wide = [None if x is None else x.double() for x in wide]
    expected, end = positional(reference.linear_attention)(*wide)
    assert (output.dtype, final.dtype) == (torch.float32, torch.float64)
    assert error(final, end) < 1e-12
    assert error(output, expected) < 1e-6


def test_initial_is_zero_where_absent():
    tensors, _ = example("key")
    tensors[5] = None
    absent = positional(linear_attention)(*tensors)
    tensors[5] = torch.zeros(3, 2, 5, 4, dtype=torch.float64)
    assert_equal(absent, positional(linear_attention)(*tensors))


def plain_sums(query, key, value, log_decay, initial, reset, lengths, epsilon):
    """Compute the normalized form as a loop over its two sums."""
    state, norm = initial
    outputs = []
    for t in range(value.shape[1]):
        gone = reset[:, t, None, None]
        state = torch.where(gone[..., None], 0, state)
        norm = torch.where(gone, 0, norm)
        decay = torch.ones(()) if log_decay is None else log_decay[:, t].exp()
        decay = decay if decay.ndim == 3 else decay[..., None]
        real = (t < lengths)[:, None, None]
        after = decay[..., None] * state + key[:, t, :, :, None] * value[:, t, :, None]
        state = torch.where(real[..., None], after, state)
        norm = torch.where(real, decay * norm + key[:, t], norm)
        divisor = (norm * query[:, t]).sum(-1, keepdim=True)
        sign = torch.where(divisor < 0, -1.0, 1.0)
        divisor = torch.where(divisor.abs() < epsilon, sign * epsilon, divisor)
        y = torch.einsum("bhk,bhkv->bhv", query[:, t], state) / divisor
        outputs.append(torch.where(real, y, 0))
    return torch.stack(outputs, 1), (state, norm)


@pytest.mark.parametrize("epsilon", [1e-6, 2.0])
@pytest.mark.parametrize("decay", DECAYS[:3])
@pytest.mark.parametrize("form", ["native", "torch", "reference"])
def test_normalized_sums_agree_with_a_loop(form, decay, epsilon):
    if form == "native" and backends.core is None:
        pytest.skip("no core")
    tensors, masks = example(decay, masks=BOTH)
    masks["reset"] &= ~beyond(masks["lengths"], 7)
    query, key, value, log_decay, _, initial = tensors
    norm = initial[..., 0].detach().abs().requires_grad_()
    given = [query, key, value, initial, norm, *([] if log_decay is None else [log_decay])]

    def ours(q, k, v, s, n, g=None):
        return normalized_linear_attention(
            q.exp(), k.exp(), v, log_decay=g, initial=(s, n), epsilon=epsilon, **masks
        )

    def loop(q, k, v, s, n, g=None):
        return plain_sums(q.exp(), k.exp(), v, g, (s, n), **masks, epsilon=epsilon)

    with backends.use(form):
        found = with_gradients(ours, given)
    assert_agree(found, with_gradients(loop, given), 1e-9)


def test_normalized_features_that_vanish_give_zero():
    query, key, value = torch.zeros(1, 3, 1, 4), torch.zeros(1, 3, 1, 4), torch.ones(1, 3, 1, 2)
    given = [x.requires_grad_() for x in (query, key, value)]
    output, _ = normalized_linear_attention(*given)
    assert not output.any()
    assert all(x.isfinite().all() for x in torch.autograd.grad(output.sum(), given))


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_normalized_step_is_one_time_of_the_whole(dtype, grad):
    tensors, _ = example("head", dtype=dtype)
    query, key, value, log_decay, _, initial = (
        x if x is None else x.detach().requires_grad_(grad) for x in tensors
    )
    state = (initial, initial[..., 0].abs())
    query, key = query.exp(), key.exp()
    output, final = normalized_linear_attention(
        query, key, value, log_decay=log_decay, initial=state
    )
    for t in range(7):
        y, state = normalized_linear_attention_step(
            query[:, t], key[:, t], value[:, t], state, log_decay=log_decay[:, t]
        )
        assert error(y, output[:, t]) < 4 * torch.finfo(dtype).eps
        assert y.requires_grad == grad
    for a, b in zip(state, final, strict=True):
        assert error(a, b) < 4 * torch.finfo(a.dtype).eps


def test_normalized_step_divides_by_epsilon_at_least():
    """Features that vanish, and n . q of either sign, of plus zero and of minus zero."""
    key, value = torch.zeros(1, 1, 1), torch.ones(1, 1, 2)
    for n, query, divisor in (
        (1.0, 0.0, 0.5),
        (1.0, 0.25, 0.5),
        (1.0, -0.25, -0.5),
        (1.0, -2.0, -2.0),
        (-1.0, 0.0, 0.5),
        (1.0, 4.0, 4.0),
    ):
        state = (torch.full((1, 1, 1, 2), 3.0), torch.full((1, 1, 1), n))
        queries = torch.full((1, 1, 1), query)
        expected = torch.full((1, 1, 2), 3 * query / divisor)
        for x in (value, value.clone().requires_grad_()):
            y, after = normalized_linear_attention_step(queries, key, x, state, epsilon=0.5)
            assert torch.equal(y, expected)
            assert_equal(after, state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_normalized_is_an_average_of_the_values(dtype):
    (query, key, value, *_), _ = example("none", time=100, dtype=dtype)
    output, _ = normalized_linear_attention(query.exp(), key.exp(), value)
    weights = torch.einsum("bihk,bjhk->bhij", query.double().exp(), key.double().exp()).tril()
    weights = weights / weights.sum(-1, keepdim=True)
    expected = torch.einsum("bhij,bjhv->bihv", weights, value.double())
    assert error(output, expected) < {torch.float32: 1e-6, torch.bfloat16: 1e-2}[dtype]


def test_agrees_with_retention_in_parallel():
    """Sun et al., "Retentive Network", 2023, equation (5): (Q K^T * D) V, D = gamma^(i - j)."""
    (query, key, value, *_), _ = example("none", time=50)
    gamma = 1 - 2.0 ** -torch.arange(5, 7, dtype=torch.float64)
    steps = torch.arange(50)[:, None] - torch.arange(50)
    mask = torch.where(steps >= 0, gamma[:, None, None] ** steps, 0)
    expected = torch.einsum("bihk,bjhk,hij,bjhv->bihv", query, key, mask, value)
    output, _ = linear_attention(query, key, value, log_decay=gamma.log().expand(3, 50, 2))
    assert error(output, expected) < 1e-12


def test_agrees_with_another_library():
    """The chunked scan in the Mamba-2 of transformers, keys and queries shared by heads."""
    other = pytest.importorskip("transformers.models.mamba2.modeling_mamba2")
    (query, key, value, log_decay, _, initial), _ = example(
        "head", time=37, heads=4, groups=2, dtype=torch.float32
    )
    log_decay = log_decay.detach().clamp(min=-30, max=-0.01)
    expected, end = other.mamba2_chunk_scan(
        value,
        -log_decay,
        -torch.ones(4),
        key,
        query,
        chunk_size=16,
        initial_states=initial.mT,
        return_final_states=True,
    )
    output, final = linear_attention(
        query, key, value * -log_decay[..., None], log_decay=log_decay, initial=initial
    )
    assert error(output, expected) < 1e-5
    assert error(final, end.mT) < 1e-5


BAD = [
    ({"key": torch.ones(3, 7, 2, 4)}, r"query \(3, 7, 2, 5\) and key \(3, 7, 2, 4\) should both"),
    ({"value": torch.ones(3, 6, 2, 4)}, r"value \(3, 6, 2, 4\)|and value"),
    ({"value": torch.ones(3, 7, 3, 4)}, r"3 heads of value should be a multiple of the 2"),
    ({"log_decay": torch.ones(3, 7, 2, 4)}, r"log_decay \(3, 7, 2, 4\) should be"),
    ({"log_decay": torch.ones(3, 7)}, r"log_decay \(3, 7\) should be"),
    ({"bonus": torch.ones(2, 4)}, r"bonus \(2, 4\) should be \(heads, key\) = \(2, 5\)"),
    ({"initial": torch.ones(3, 2, 5, 5)}, r"initial \(3, 2, 5, 5\) should be .* \(3, 2, 5, 4\)"),
    ({"reset": torch.ones(3, 7)}, r"reset \(3, 7\) of torch.float32 should be boolean"),
    ({"reset": torch.ones(3, 6).bool()}, r"reset \(3, 6\)"),
    ({"lengths": torch.ones(3)}, r"lengths \(3,\) of torch.float32 should be integers"),
    ({"lengths": torch.ones(2).long()}, r"lengths \(2,\)"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_errors_name_the_argument_and_its_shape(change, message):
    good = {
        "query": torch.ones(3, 7, 2, 5),
        "key": torch.ones(3, 7, 2, 5),
        "value": torch.ones(3, 7, 2, 4),
    }
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(linear_attention)(**good | change)  # past the hook that checks shapes


def test_errors_of_steps_and_normalized_sums():
    q, v, state = torch.ones(3, 2, 5), torch.ones(3, 2, 4), torch.ones(3, 2, 5, 4)
    step, whole = map(inspect.unwrap, (linear_attention_step, normalized_linear_attention))
    with pytest.raises(ValueError, match=r"state \(3, 2, 4, 4\) should be .* \(3, 2, 5, 4\)"):
        step(q, q, v, torch.ones(3, 2, 4, 4))
    with pytest.raises(ValueError, match=r"linear_attention_step: log_decay \(3, 5\)"):
        step(q, q, v, state, log_decay=torch.ones(3, 5))
    x, y = torch.ones(3, 7, 2, 5), torch.ones(3, 7, 2, 4)
    with pytest.raises(ValueError, match="one per head or per key"):
        whole(x, x, y, log_decay=torch.ones(3, 7, 2, 5, 4))
    with pytest.raises(ValueError, match=r"epsilon 0\.0 should be more than zero"):
        whole(x, x, y, epsilon=0.0)
    with pytest.raises(ValueError, match=r"the state \(3, 2, 5, 4\) and \(3, 2, 4\)"):
        whole(x, x, y, initial=(state, torch.ones(3, 2, 4)))


@needs_core
def test_kernels_refuse_what_they_cannot_address(core):
    x, v, s = torch.ones(2, 3, 4, 5), torch.ones(2, 3, 4, 6), torch.ones(2, 4, 5, 6)
    good = {
        "query": x,
        "key": x,
        "value": v,
        "log_decay": None,
        "bonus": None,
        "initial": s,
        "reset": None,
        "lengths": None,
        "output": v.clone(),
        "final": s.clone(),
        "states": None,
    }
    bad = [
        ({"query": x[0]}, r"query of shape \(3, 4, 5\)"),
        ({"query": x[:, :, :3]}, "of heads that divide"),
        ({"query": x.double()}, "query .* of float32"),
        ({"value": v.half()}, "float32, float64 or bfloat16"),
        ({"key": x[..., :4]}, r"key of shape \(2, 3, 4, 4\)"),
        ({"key": x.mT.contiguous().mT}, "key .* contiguous"),
        ({"log_decay": x[0]}, "log_decay of shape"),
        ({"log_decay": x.double()}, "log_decay .* of float32"),
        ({"bonus": x[0, 0, :2]}, "bonus of shape"),
        ({"initial": s.double()}, "initial .* of float32"),
        ({"final": torch.ones(4, 2, 5, 6).transpose(0, 1)}, "final .* contiguous"),
        ({"output": v[:1].expand(2, 3, 4, 6)}, "output .* not expanded"),
        ({"states": torch.ones(2, 4, 2, 5, 6)}, r"states of shape \(2, 4, 2, 5, 6\)"),
        ({"reset": torch.ones(2, 3)}, "reset .* boolean"),
        ({"lengths": torch.ones(2, dtype=torch.int32)}, "lengths .* int64"),
    ]
    for change, message in bad:
        with pytest.raises(ValueError, match=message):
            native._run(core.linear_attention, list((good | change).values()), 1.0, 64, False)
    numbers = [
        ((1.0, 65, False), {}, "block should be 1 to 64"),
        ((1.0, 40, True), {}, "block should be a multiple of 16"),
        ((1.0, 64, True), {"log_decay": torch.zeros(2, 3, 4, 5, 6)}, "no chunkwise form"),
    ]
    for given, change, message in numbers:
        with pytest.raises(ValueError, match=message):
            native._run(core.linear_attention, list((good | change).values()), *given)


def test_table_names_every_form():
    assert [row.backend for row in package.TABLE] == ["native", "torch", "reference"]
