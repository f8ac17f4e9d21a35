"""Every backend of the scans in other arithmetics against their definitions."""

import inspect
import itertools
import math

import pytest
import torch

from statewise import backends
from statewise.ops import semiring
from statewise.ops.semiring import native, reference
from statewise.ops.semiring import torch as parallel
from statewise.ops.semiring.logs import logaddexp, logsumexp
from tests.ops.agreement import (
    BOTH,
    DTYPES,
    LEVELS,
    MASKS,
    TIMES,
    TOLERANCE,
    assert_agree,
    assert_as_exact_as_rounding,
    assert_bit_equal_at_any_number_of_threads,
    assert_denormals_agree,
    assert_equal,
    assert_fresh,
    assert_padding_may_hold_nan,
    assert_registered_rightly,
    assert_transforms_agree,
    assert_writes_every_number,
    error,
    flat,
    marks,
    needs_core,
    with_gradients,
)
from tests.ops.compiling import HOW, assert_compiles

SCANS = ["log", "log matrix", "log matrices", "max matrix", "max matrices", "softmax"]
DENSE = SCANS[1:5]


def example(kind, time=7, size=5, dtype=torch.float64, batch=4, seed=0, wide=False):
    """Return the tensors of one scan; some inputs are -inf, and some weights are far apart."""
    g = torch.Generator().manual_seed(seed)
    work = torch.promote_types(dtype, torch.float32)

    def draw(*shape, scale=1.0, zeros=0.1):
        x = torch.randn(shape, generator=g, dtype=torch.float64) * scale
        return torch.where(torch.rand(shape, generator=g) < zeros, -math.inf, x)

    if kind == "log":
        tensors = [draw(batch, time, size), draw(batch, time, size, scale=5), draw(batch, size)]
    elif kind == "softmax":
        heads, dim = 2, size
        m, s = draw(batch, heads, zeros=0), draw(batch, time, heads, scale=3)
        w = draw(batch, heads, dim, zeros=0)
        tensors = [s, draw(batch, time, heads, dim, zeros=0), m, draw(batch, heads).exp() + 0.1, w]
    else:
        shape = (batch, time, size, size) if kind.endswith("matrices") else (size, size)
        tensors = [draw(*shape, scale=2), draw(batch, time, size), draw(batch, size)]
        if wide:
            tensors[0] = tensors[0] * 40
        elif kind.startswith("log"):
            # Sums stay near zero, where float32 is fine: at 100 its spacing is 8e-6.
            total = logsumexp(tensors[0], -2).unsqueeze(-2)
            tensors[0] = tensors[0] - torch.where(total.isinf(), 0, total)
        if batch > 1:
            tensors[2][1] = math.inf
    kept = 3 if kind == "softmax" else 1
    tensors = [x.to(dtype) for x in tensors[:-kept]] + [x.to(work) for x in tensors[-kept:]]
    return [x.requires_grad_() for x in tensors]


def form(kind, module, named=None):
    """Return one scan of a module as a function of tensors, reset and lengths, by position."""
    scan = {"log": "log_scan", "softmax": "softmax_scan"}.get(kind, f"{kind[:3]}_matrix_scan")
    f = getattr(module, scan)
    named = named or {}

    def call(*arguments):
        count = 5 if kind == "softmax" else 3
        rest = dict(zip(BOTH, arguments[count:], strict=False)) | named
        if module is semiring and kind == "softmax":
            state = semiring.SoftmaxState(*arguments[2:5])
            y, last = f(*arguments[:2], initial=state, **rest)
            return y, *last
        if kind == "softmax":
            return f(*arguments[:5], **rest)
        made = f(*arguments[:2], initial=arguments[2], **rest)
        if kind.startswith("max") and module is semiring:
            made = made[0].score, made[1], made[0].pointer
        return made

    return call


def forms(kinds=SCANS):
    return [
        pytest.param(
            kind, module, id=f"{name}-{kind}", marks=needs_core if name == "native" else ()
        )
        for kind in kinds
        for name, module in (("native", native), ("torch", parallel))
        if name == "native" or kind not in DENSE
    ]


def forms_of_reference():
    return [pytest.param(kind, reference, id=f"reference-{kind}") for kind in SCANS]


def drawn(like, names):
    batch, time = like.shape[:2]
    return marks(torch.Generator().manual_seed(3), batch, time, names)


def compare(kind, module, masks=(), tolerance=None, **options):
    tensors = example(kind, **options)
    named = drawn(tensors[1], masks)
    ours = with_gradients(form(kind, module, named), tensors)
    theirs = with_gradients(form(kind, reference, named), tensors)
    assert_agree_with_infinities(
        ours, theirs, tolerance or TOLERANCE[options.get("dtype", torch.float64)]
    )
    assert all(x.isfinite().all() for x in ours[-len(tensors) :]), "gradients are finite"


def assert_agree_with_infinities(ours, theirs, tolerance):
    """Assert that tensors agree, and are infinite at the same places."""
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a == math.inf, b == math.inf)
        assert torch.equal(a == -math.inf, b == -math.inf)
    cleaned = [[torch.where(x.isinf(), 0, x) for x in xs] for xs in (ours, theirs)]
    assert_agree(*cleaned, tolerance)


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
@pytest.mark.parametrize("masks", MASKS, ids="+".join)
@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize(("kind", "module"), forms())
def test_agrees_at_every_length(kind, module, time, masks, dtype):
    compare(kind, module, masks, time=time, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
@pytest.mark.parametrize("size", [1, 3, 17, 64, 70])
@pytest.mark.parametrize(("kind", "module"), forms())
def test_agrees_at_every_size(kind, module, size, dtype):
    for batch in (1, 9):
        compare(kind, module, ("reset",), size=size, dtype=dtype, batch=batch)


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
@pytest.mark.parametrize("kind", DENSE[:2])
@needs_core
def test_paths_of_weights_far_apart_agree(kind, dtype):
    """Differences of hundreds, which no product of factors can hold in float32."""
    assert example(kind, wide=True)[0].nan_to_num(neginf=0).abs().max() > 150
    compare(kind, native, BOTH, dtype=dtype, wide=True, time=20, tolerance=1e-4)
    if dtype == torch.float64:
        compare(kind, native, BOTH, wide=True, time=20)


@pytest.mark.parametrize("masks", [(), BOTH], ids="+".join)
@pytest.mark.parametrize("kind", SCANS)
def test_bfloat16_is_as_exact_as_rounding(kind, masks):
    tensors = example(kind, time=20, dtype=torch.bfloat16)
    exact = example(kind, time=20)
    named = drawn(tensors[1], masks)
    ours = with_gradients(form(kind, semiring, named), tensors)
    rounded = [x.detach().double().requires_grad_() for x in tensors]
    theirs = [
        with_gradients(form(kind, reference, named), x, torch.bfloat16) for x in (exact, rounded)
    ]
    both = [[torch.where(x.isinf(), 0, x) for x in xs] for xs in (ours, *theirs)]
    if kind.startswith("max"):
        # Which path is best may change with rounding, and all gradients with it.
        both = [xs[:2] for xs in both]
    assert_as_exact_as_rounding(*both)


@pytest.mark.parametrize(("kind", "module"), forms())
def test_agrees_without_rows(kind, module):
    compare(kind, module, BOTH, batch=0)


@needs_core
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
@pytest.mark.parametrize("kind", SCANS)
@pytest.mark.parametrize("level", LEVELS)
def test_every_level(core, level, kind, dtype):
    core.set_level(level)
    for size in (5, 33):
        compare(kind, native, BOTH, size=size, dtype=dtype)
        compare(kind, native, BOTH, size=size, dtype=dtype, wide=True, tolerance=1e-4)


@needs_core
@pytest.mark.parametrize("kind", SCANS)
@pytest.mark.parametrize("batch", [1, 4, 41])
def test_bit_equal_at_any_number_of_threads(kind, batch):
    time = 70 if batch > 1 else 700
    tensors = example(kind, time, 23, torch.float32, batch)
    named = drawn(tensors[1], ("reset",))
    assert_bit_equal_at_any_number_of_threads(
        lambda: with_gradients(form(kind, native, named), tensors)
    )


OPS = {
    "log": native._log_scan,
    "log matrix": native._log_chain,
    "log matrices": native._log_chain,
    "max matrix": native._max_chain,
    "max matrices": native._max_chain,
    "softmax": native._softmax_scan,
}


@needs_core
@pytest.mark.parametrize("size", [5, 33])
@pytest.mark.parametrize("kind", SCANS)
def test_writes_every_number(kind, size):
    """Memory that came as NaN leaves without one."""
    tensors = example(kind, time=9, size=size)
    named = drawn(tensors[1], BOTH)
    assert_writes_every_number(lambda: with_gradients(form(kind, native, named), tensors))
    tensors = [x.detach() for x in tensors]
    first, second = (x if x.ndim == 2 and kind in DENSE else x[:, 0] for x in tensors[:2])
    assert_writes_every_number(lambda: flat(step(kind, first, second, tensors[2:])))


def step(kind, first, second, state):
    """Return what the step of a scan returns, from the leaves of its state."""
    if kind == "softmax":
        return semiring.softmax_scan_step(first, second, semiring.SoftmaxState(*state))
    name = "log_scan_step" if kind == "log" else f"{kind[:3]}_matrix_scan_step"
    return getattr(semiring, name)(first, second, *state)


@pytest.mark.parametrize(("kind", "module"), forms() + forms_of_reference())
def test_padding_may_hold_nan(kind, module):
    tensors = example(kind)
    named = drawn(tensors[1], BOTH)
    timed = [i for i, x in enumerate(tensors[:2]) if x.shape[:2] == named["reset"].shape]

    def run(tensors, masks):
        return with_gradients(form(kind, module, masks), tensors)

    assert_padding_may_hold_nan(run, tensors, timed, named)


@pytest.mark.parametrize(("kind", "module"), forms() + forms_of_reference())
def test_reset_heals_a_nan_state(kind, module):
    tensors = example(kind)
    state = 2
    reset = torch.zeros(4, 7, dtype=torch.bool)
    reset[:, 0] = True
    ill = [
        *tensors[:state],
        *(torch.full_like(x, torch.nan).requires_grad_() for x in tensors[state:]),
    ]
    healed, fresh = (
        with_gradients(form(kind, module, {"reset": reset}), x) for x in (ill, tensors)
    )
    assert_equal(healed, fresh)
    # In the middle too, where the NaN came from an input.
    spoiled = tensors[1].detach().clone()
    spoiled[:, 2] = torch.nan
    reset[:, 4] = True
    output, *final = form(kind, module, {"reset": reset})(tensors[0], spoiled, *tensors[2:])
    assert output[:, 2:4].isnan().flatten(2).any(2).all()
    assert not output[:, 4:].isnan().any()
    assert not any(x.isnan().any() for x in final)


@pytest.mark.parametrize(("kind", "module"), forms())
def test_reads_strided_and_expanded_inputs(kind, module):
    tensors = [x.detach() for x in example(kind, size=6)]

    def views(x):
        doubled = torch.stack([x, x + 1], -1).flatten(-2)
        yield doubled[..., ::2]
        yield x.transpose(0, -1).contiguous().transpose(0, -1)
        yield x[..., :1].expand(x.shape)
        if x.ndim > 2:
            yield x[:, :1].expand(x.shape)

    for first, second in itertools.product(views(tensors[0]), views(tensors[1])):
        given = [first, second, *tensors[2:]]
        given[2] = next(views(given[2]))
        dense = [x.clone().requires_grad_() for x in given]
        given = [x.requires_grad_() for x in given]
        named = drawn(second, BOTH)
        named["reset"] = named["reset"].T.contiguous().T
        ours = with_gradients(form(kind, module, named), given)
        theirs = with_gradients(form(kind, reference, named), dense)
        if not kind.startswith("max"):  # where paths are equal, the first of them is any
            assert_agree_with_infinities(ours, theirs, 1e-9)
        else:
            assert_agree_with_infinities(ours[:2], theirs[:2], 1e-9)


@pytest.mark.parametrize(("kind", "module"), forms())
def test_nothing_is_shared_or_changed(kind, module):
    for time in (0, 1, 7):
        tensors = [x.detach() for x in example(kind, time=time)]
        named = drawn(tensors[1], BOTH)
        assert_fresh(form(kind, module), [*tensors, *named.values()])


def smooth(kind, **options):
    """Return an example without -inf, where finite differences exist."""
    tensors = [x.detach() for x in example(kind, **options)]
    tensors = [torch.where(x.isinf(), 0.3 + 0.1 * i, x) for i, x in enumerate(tensors)]
    return [x.requires_grad_() for x in tensors]


@pytest.mark.parametrize("masks", [(), BOTH], ids="+".join)
@pytest.mark.parametrize(("kind", "module"), forms())
def test_gradcheck(kind, module, masks):
    tensors = smooth(kind, time=3, size=1 if kind == "softmax" else 2, batch=2)
    named = drawn(tensors[1], masks)

    def f(*tensors):
        return tuple(y for y in form(kind, module, named)(*tensors) if y.is_floating_point())

    assert torch.autograd.gradcheck(f, tensors)
    assert torch.autograd.gradgradcheck(f, tensors, fast_mode=True)


@pytest.mark.parametrize("kind", SCANS)
def test_transforms_are_right_through_the_table(kind):
    tensors = smooth(kind)

    def floating(module):
        def f(*arguments):
            return tuple(y for y in form(kind, module)(*arguments) if y.is_floating_point())

        return f

    def with_rows(module):
        # A constant transition has no row of its own: each row is given the whole.
        if kind not in ("log matrix", "max matrix"):
            return floating(module), tensors
        transition = tensors[0].detach()
        return (lambda *x: floating(module)(transition, *x)), tensors[1:]

    named = drawn(tensors[1], BOTH)
    (ours, given), (theirs, _) = with_rows(semiring), with_rows(reference)
    assert_transforms_agree(ours, theirs, given, tuple(named.values()))


@needs_core
@pytest.mark.parametrize("masks", [(), BOTH], ids="+".join)
@pytest.mark.parametrize("kind", ["log", "log matrix", "max matrices", "softmax"])
def test_custom_ops_are_registered_rightly(kind, masks):
    tensors = smooth(kind, time=3)
    named = drawn(tensors[1], masks)
    op, inputs = OPS[kind], (*tensors, named.get("reset"), named.get("lengths"))
    assert_registered_rightly(op, inputs, len(op(*inputs)))


@pytest.mark.parametrize(("kind", "module"), forms(["max matrix", "max matrices", "softmax"]))
def test_denormals_agree(kind, module):
    """Scores of paths, or values and their sums; a sum of logarithms hides what is so small."""
    tensors = smooth(kind)
    named = drawn(tensors[1], BOTH)
    tiny = (1, 4) if kind == "softmax" else (0, 1, 2)

    def floating(module):
        def f(*tensors):
            return [y for y in form(kind, module, named)(*tensors) if y.is_floating_point()]

        return f

    assert_denormals_agree(floating(module), floating(reference), tensors, tiny)


@pytest.mark.parametrize("kind", SCANS)
def test_splits_anywhere_with_the_state_carried(kind):
    tensors = [x.detach() for x in example(kind, time=9)]
    timed = 2 if kind in ("log", "softmax") or kind.endswith("matrices") else 1
    run = form(kind, semiring)
    whole = run(*tensors)
    kept = 3 if kind == "softmax" else 1

    def piece(begin, end, state):
        parts = [x if i < 2 - timed else x[:, begin:end] for i, x in enumerate(tensors[:2])]
        return run(*parts, *state)

    for cut in (0, 1, 5, 9):
        left = piece(0, cut, tensors[2:])
        right = piece(cut, 9, left[1 : 1 + kept])
        joined = [torch.cat([left[0], right[0]], 1), *right[1 : 1 + kept]]
        assert_agree_with_infinities(joined, list(whole[: 1 + kept]), 1e-12)


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("kind", SCANS)
def test_step_is_one_time_of_the_scan(kind, gradients):
    """With gradients it is made of torch operations, without by the kernel."""
    tensors = [x if gradients else x.detach() for x in example(kind)]
    output, *rest = form(kind, semiring)(*tensors)
    state = semiring.SoftmaxState(*tensors[2:]) if kind == "softmax" else tensors[2]
    for t in range(7):
        first, second = (x if x.ndim == 2 and kind in DENSE else x[:, t] for x in tensors[:2])
        if kind == "softmax":
            y, state = semiring.softmax_scan_step(first, second, state)
        elif kind.startswith("max"):
            y, pointer = semiring.max_matrix_scan_step(first, second, state)
            state = y
            assert torch.equal(pointer, rest[1][:, t])
        else:
            step = semiring.log_scan_step if kind == "log" else semiring.log_matrix_scan_step
            y = state = step(first, second, state)
        assert_agree_with_infinities([y], [output[:, t]], 1e-12)
    assert_agree_with_infinities(flat(state), rest[: len(flat(state))], 1e-12)


def every_path(transition, score):
    """Return the scores of all paths through the states, (states,) * time; a start takes none."""
    time, states = score.shape
    total = torch.zeros((states,) * time, dtype=score.dtype)
    for t in range(time):
        total = total + score[t].view([states if i == t else 1 for i in range(time)])
        if t:
            ends = [states if i in (t - 1, t) else 1 for i in range(time)]
            total = total + transition.view(ends)
    return total


@pytest.mark.parametrize("name", ["native", "reference"] if backends.core else ["reference"])
def test_chains_are_the_sum_and_the_best_of_all_paths(name):
    g = torch.Generator().manual_seed(0)
    transition = torch.randn(3, 3, generator=g, dtype=torch.float64).requires_grad_()
    with torch.no_grad():
        transition[0, 2] = -math.inf
    score = torch.randn(2, 6, 3, generator=g, dtype=torch.float64, requires_grad=True)
    with backends.use(name):
        total = semiring.log_matrix_scan(transition, score)[1].logsumexp(1)
        scan, best = semiring.max_matrix_scan(transition, score)
    path = semiring.best_path(scan)
    for row in range(2):
        paths = every_path(transition, score[row])
        assert error(total[row], paths.logsumexp(tuple(range(6)), False)) < 1e-12
        assert error(best[row].max(), paths.max()) < 1e-12
        assert paths[tuple(path[row])] == paths.max()
    # The gradient of log Z is the probability of each state and of each pair.
    states, pairs = torch.autograd.grad(total.sum(), (score, transition))
    assert error(states.sum(2), torch.ones(2, 6)) < 1e-12
    assert error(pairs.sum(), torch.tensor(10.0)) < 1e-12
    assert pairs[0, 2] == 0


@pytest.mark.parametrize("watched", [False, True])
def test_best_path_ends_before_every_start_and_in_the_padding(watched, monkeypatch):
    """Both as plain tensors are followed and as all others are."""
    if watched:
        monkeypatch.setattr(backends, "plain", lambda tensors: False)
    g = torch.Generator().manual_seed(0)
    transition = torch.randn(4, 4, generator=g)
    score = torch.randn(3, 9, 4, generator=g)
    reset = torch.zeros(3, 9, dtype=torch.bool)
    reset[0, 4] = reset[1, 6] = True
    lengths = torch.tensor([9, 5, 0])
    scan, _ = semiring.max_matrix_scan(transition, score, reset=reset, lengths=lengths)
    path = semiring.best_path(scan, lengths=lengths)

    def alone(row, begin, end):
        return semiring.best_path(
            semiring.max_matrix_scan(transition, score[row : row + 1, begin:end])[0]
        )[0]

    assert torch.equal(path[0], torch.cat([alone(0, 0, 4), alone(0, 4, 9)]))
    assert torch.equal(path[1], torch.cat([alone(1, 0, 5), torch.full((4,), -1)]))
    assert torch.equal(path[2], torch.full((9,), -1))
    assert semiring.best_path(semiring.MaxScan(score[:, :0], scan.pointer[:, :0])).shape == (3, 0)


def test_online_softmax_is_causal_attention_of_a_constant_query():
    g = torch.Generator().manual_seed(0)
    score = torch.randn(2, 40, 3, generator=g, dtype=torch.float64) * 10
    value = torch.randn(2, 40, 3, 5, generator=g, dtype=torch.float64)
    score[:, :3] = -math.inf
    y, state = semiring.softmax_scan(score, value)
    logits = score.transpose(1, 2)[:, :, None, :].expand(2, 3, 40, 40)
    seen = torch.ones(40, 40, dtype=torch.bool).tril()
    weights = logits.masked_fill(~seen, -math.inf).softmax(-1).nan_to_num(0)
    assert error(y, torch.einsum("bhts,bshd->bthd", weights, value)) < 1e-12
    assert torch.equal(state.maximum, score.amax(1))


@pytest.mark.parametrize("name", ["native", "torch", "reference"])
def test_scores_far_apart_stay_finite(name):
    if name == "native" and backends.core is None:
        pytest.skip("no core")
    for scale in (50, 1e4, 1e30):
        score = torch.tensor([0.0, -1, 1, 1, -1, 0]).view(1, 6, 1) * scale
        value = torch.arange(6.0).view(1, 6, 1, 1)
        inputs = [x.clone().requires_grad_() for x in (score, value)]
        with backends.use(name):
            y, state = semiring.softmax_scan(*inputs)
            h, _ = semiring.log_scan(inputs[0], inputs[0])
        grads = torch.autograd.grad(y.sum() + state.total.sum() + h.clamp(max=2).sum(), inputs)
        assert y.isfinite().all()
        assert not h.isnan().any()
        assert all(x.isfinite().all() for x in grads)


def test_derivatives_of_sums_of_logarithms():
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randn(6, generator=g, dtype=torch.float64) * 4 for _ in range(2))
    a[:2], b[1] = b[:2], a[1]  # equal ones too
    a, b = a.requires_grad_(), b.requires_grad_()
    assert torch.autograd.gradcheck(logaddexp, (a, b))
    assert torch.autograd.gradgradcheck(logaddexp, (a, b))
    assert error(logaddexp(a, b), torch.logaddexp(a, b)) < 1e-15
    nothing = torch.full((2,), -math.inf, requires_grad=True)
    for y in (logaddexp(nothing, nothing).sum(), logsumexp(nothing, 0)):
        assert y == -math.inf
        (first,) = torch.autograd.grad(y, nothing, create_graph=True)
        assert torch.equal(first, torch.zeros(2))
        assert torch.autograd.grad(first.sum(), nothing)[0].isfinite().all()
    assert logaddexp(torch.tensor(torch.nan), b[:1]).isnan().all()


BAD = [
    ("log_scan", (torch.ones(3, 7, 5), torch.ones(3, 7, 4)), {}, r"log_drive \(3, 7, 4\)"),
    ("log_scan", (torch.ones(3, 7, 5),) * 2, {"initial": torch.ones(3, 4)}, r"initial \(3, 4\)"),
    ("log_scan", (torch.ones(3, 7, 5),) * 2, {"reset": torch.ones(3, 7)}, "reset .* boolean"),
    ("log_matrix_scan", (torch.ones(4, 4), torch.ones(3, 7, 5)), {}, r"log_transition \(4, 4\)"),
    ("log_matrix_scan", (torch.ones(4, 4), torch.ones(7, 5)), {}, r"score \(7, 5\)"),
    ("log_matrix_scan", (torch.ones(0, 0), torch.ones(3, 7, 0)), {}, "at least one state"),
    (
        "max_matrix_scan",
        (torch.ones(5, 5), torch.ones(3, 7, 5)),
        {"initial": torch.ones(3)},
        r"max_matrix_scan: initial \(3,\)",
    ),
    (
        "max_matrix_scan",
        (torch.ones(5, 5), torch.ones(3, 7, 5)),
        {"lengths": torch.ones(2).long()},
        r"lengths \(2,\)",
    ),
    ("softmax_scan", (torch.ones(3, 7), torch.ones(3, 7, 2, 5)), {}, r"score \(3, 7\)"),
    (
        "softmax_scan",
        (torch.ones(3, 7, 2), torch.ones(3, 7, 2, 5)),
        {"initial": (torch.ones(3, 2), torch.ones(3), torch.ones(3, 2, 5))},
        r"total \(3,\)",
    ),
    ("log_scan_step", (torch.ones(3, 5), torch.ones(3, 5), torch.ones(3, 4)), {}, r"h \(3, 4\)"),
    ("log_matrix_scan_step", (torch.ones(5, 5), torch.ones(3, 5), torch.ones(3, 4)), {}, "score"),
    ("max_matrix_scan_step", (torch.ones(4, 5), torch.ones(3, 5), torch.ones(3, 5)), {}, "score"),
    (
        "softmax_scan_step",
        (torch.ones(3, 2), torch.ones(3, 2, 5), [torch.ones(3, 2)] * 3),
        {},
        r"weighted \(3, 2\)",
    ),
    (
        "best_path",
        ((torch.ones(3, 7, 5), torch.ones(3, 7, 5).int()),),
        {"lengths": torch.ones(2).long()},
        "lengths",
    ),
]


@pytest.mark.parametrize(("name", "arguments", "named", "message"), BAD)
def test_errors_name_the_argument_and_its_shape(name, arguments, named, message):
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(getattr(semiring, name))(*arguments, **named)  # past the shape hook


@needs_core
def test_kernels_refuse_what_they_cannot_address(core):
    x, h = torch.ones(2, 3, 4), torch.ones(2, 4)
    chain = (torch.ones(4, 4), x, h, None, None, x.clone(), h.clone())
    pointers = torch.ones(2, 3, 4, dtype=torch.int32)
    for kernel, given, place, bad, message in [
        (core.log_scan, (x, *chain[1:]), 1, x.bfloat16(), "log_drive .* float32 or float64"),
        (core.log_scan, (x, *chain[1:]), 0, x[:, :2], r"log_decay of shape \(2, 2, 4\)"),
        (core.log_chain, (*chain, None), 0, torch.ones(4, 3), r"transition of shape \(4, 3\)"),
        (core.log_chain, (*chain, None), 0, torch.ones(2, 3, 4, 5), "transition of shape"),
        (core.log_chain, (*chain, None), 6, h.double(), "final .* precision of the state"),
        (core.max_chain, (*chain, pointers), 7, pointers.long(), "pointers .* int32"),
        (core.max_chain, (*chain, pointers), 7, None, "a maximum needs pointers"),
    ]:
        given = [bad if i == place else y for i, y in enumerate(given)]
        with pytest.raises(ValueError, match=message):
            backends.run(kernel, *given)


def test_tables_name_every_form():
    assert [row.backend for row in semiring.TABLE] == ["native", "torch", "reference"]
    assert [row.backend for row in semiring.MATRIX_TABLE] == ["native", "reference"]


@pytest.mark.parametrize("how", HOW)
def test_compiles(how):
    assert_compiles("semiring", how)


def test_a_step_of_a_narrow_state_is_computed_in_torch():
    """No kernel reads a state in bfloat16; a step answers in the dtype of its h."""
    nothing = torch.zeros(1, 4, dtype=torch.bfloat16)
    after = semiring.log_scan_step(torch.zeros(1, 4), torch.zeros(1, 4), nothing)
    assert after.dtype == torch.bfloat16
    assert_agree_with_infinities([after.float()], [torch.full((1, 4), math.log(2.0))], 1e-2)
