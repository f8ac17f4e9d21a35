"""The kernel library's functions against their recurrence, written as one loop over time.

`python -m benchmarks.witness fla_signatures` compares them with that library's own references.
"""

import inspect
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch.nn.functional import normalize, softplus
from torch.utils._pytree import tree_leaves

from statewise.compat import fla

BATCH, TIME, HEADS, KEY, VALUE = 2, 9, 2, 4, 3
KEYS, VALUES = (HEADS, KEY), (HEADS, VALUE)
CUTS = [0, 2, 2, 7, 8, 9]


def loop(q, k, v, gate=0.0, *, beta=None, a=None, b=None, u=None, scale=None, start=None):
    """Return outputs and last states; a gate broadcasts to (batch, time, heads, key, value)."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    S = v.new_zeros(len(q), v.shape[2], q.shape[3], v.shape[3]) if start is None else start
    gate = torch.as_tensor(gate, dtype=v.dtype).expand(*v.shape[:3], q.shape[3], v.shape[3])
    outputs = []
    for t in range(q.shape[1]):
        before, S = S, gate[:, t].exp() * S
        if a is not None:
            S = S + b[:, t, :, :, None] * (a[:, t, :, :, None] * before).sum(-2, keepdim=True)
        value = v[:, t]
        if beta is not None:
            value = beta[:, t] * (value - (k[:, t, :, :, None] * S).sum(-2))
        written = k[:, t, :, :, None] * value[:, :, None]
        S = S + written
        read = S if u is None else before + u[..., None] * written
        outputs.append(scale * (q[:, t, :, :, None] * read).sum(-2))
    return torch.stack(outputs, 1), S


def drawn(*shape, batch=BATCH, time=TIME, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, time, *shape, generator=g, dtype=torch.float64)
    return x.requires_grad_()


def started(sequences=BATCH, heads=HEADS):
    return drawn(heads, KEY, VALUE, batch=sequences, time=1, seed=99)[:, 0]


def far(found, expected):
    leaves = ([x for x in tree_leaves(tree) if x is not None] for tree in (found, expected))
    pairs = list(zip(*leaves, strict=True))
    assert all(a.shape == b.shape for a, b in pairs)
    return max(((a - b).norm() / b.norm().clamp_min(1e-30)).item() for a, b in pairs)


def with_gradients(function, tensors):
    """Return what a function answers, and the gradients of what it reads."""
    answer = function(**tensors)
    given = [leaf for leaf in tree_leaves(answer) if leaf is not None]
    loss = sum((leaf * leaf.detach().cos()).sum() for leaf in given)
    return [answer, torch.autograd.grad(loss, list(tensors.values()))]


def gated(name, shape):
    """Return a function with one gate, and its recurrence."""
    axes = [..., *[None] * (5 - len(shape) - 2)]

    def expected(q, k, v, initial_state, **gate):
        (g,) = gate.values()
        return loop(q, k, v, g[tuple(axes)], start=initial_state)

    return {"q": KEYS, "k": KEYS, "v": VALUES, name: shape}, expected


def ungated(q, k, v, initial_state):
    return loop(q, k, v, start=initial_state)


def retained(q, k, v, initial_state):
    rates = torch.tensor([1 - 2**-5, 1 - 2**-6], dtype=torch.float64)
    return loop(q, k, v, rates.log()[:, None, None], start=initial_state)


def rwkv6(r, k, v, w, initial_state):
    return loop(r, k, v, w[..., None], u=BONUS, start=initial_state)


def delta(q, k, v, beta, initial_state, g=None, gate=0.0):
    gate = gate if g is None else g[(..., *[None] * (5 - g.ndim))]
    return loop(q, k, v, gate, beta=beta[..., None], start=initial_state)


def low_rank(q, k, v, a, b, gk, initial_state, scale=None):
    return loop(q, k, v, gk[..., None], a=a, b=b, scale=scale, start=initial_state)


def rwkv7(r, w, k, v, a, b, initial_state, scale=None):
    return low_rank(r, k, v, a, b, w, initial_state, scale)


BONUS = torch.tensor([[0.5, -1.0, 2.0, 0.0], [1.0, 0.1, -0.3, 0.7]], dtype=torch.float64)
QKV = {"q": KEYS, "k": KEYS, "v": VALUES}
RATED = {**QKV, "beta": (HEADS,)}
RWKV6 = {"r": KEYS, "k": KEYS, "v": VALUES, "w": KEYS}
RWKV7 = {"r": KEYS, "w": KEYS, "k": KEYS, "v": VALUES, "a": KEYS, "b": KEYS}
LOW_RANK = {**QKV, "a": KEYS, "b": KEYS, "gk": KEYS}
CASES = {
    "chunk_gla": gated("g", KEYS),
    "fused_recurrent_gla": gated("gk", KEYS),
    "chunk_simple_gla": gated("g", (HEADS,)),
    "fused_chunk_simple_gla": gated("g", (HEADS,)),
    "fused_recurrent_simple_gla": gated("g", (HEADS,)),
    "chunk_retention": (QKV, retained),
    "fused_chunk_retention": (QKV, retained),
    "fused_recurrent_retention": (QKV, retained),
    "chunk_linear_attn": (QKV, ungated),
    "fused_chunk_linear_attn": (QKV, ungated),
    "fused_recurrent_linear_attn": (QKV, ungated),
    "chunk_rwkv6": (RWKV6, rwkv6),
    "fused_recurrent_rwkv6": (RWKV6, rwkv6),
    "chunk_delta_rule": (RATED, delta),
    "fused_recurrent_delta_rule": (RATED, delta),
    "chunk_gated_delta_rule": ({**RATED, "g": (HEADS,)}, delta),
    "fused_recurrent_gated_delta_rule": ({**RATED, "g": (HEADS,)}, delta),
    "chunk_kda": ({**RATED, "g": KEYS}, delta),
    "fused_recurrent_kda": ({**RATED, "g": KEYS}, delta),
    "chunk_dplr_delta_rule": (LOW_RANK, low_rank),
    "fused_recurrent_dplr_delta_rule": (LOW_RANK, low_rank),
    "chunk_rwkv7": (RWKV7, partial(rwkv7, scale=1.0)),
    "fused_recurrent_rwkv7": (RWKV7, rwkv7),
}
"""What each function reads, and its recurrence."""


def asked(name):
    """Return a function that gives the last state too, and is not normalized."""
    options = {"output_final_state": True}
    if "linear_attn" in name:
        options["normalize"] = False
    if "rwkv6" in name:
        options["u"] = BONUS
    return partial(getattr(fla, name), **options)


def read_by(name, **sizes):
    """Return random tensors for a function: gates at most 0, betas in [0, 1], keys of norm one."""
    shapes, _ = CASES[name]
    tensors = {}
    for seed, (argument, shape) in enumerate(shapes.items()):
        x = drawn(*shape, seed=seed, **sizes).detach()
        if argument in ("g", "gk", "w"):
            x = -x.abs()
        elif argument == "beta":
            x = x.sigmoid()
        elif argument in ("k", "a"):
            x = normalize(x, dim=-1)
        tensors[argument] = x.requires_grad_()
    return tensors


def test_the_table_of_contents_is_whole():
    assert {*CASES, "chunk_hgrn", "fused_recurrent_hgrn"} == set(fla.__all__)
    assert all(callable(getattr(fla, name)) for name in fla.__all__)


@pytest.mark.parametrize("name", CASES)
def test_it_is_its_recurrence(name):
    tensors = {**read_by(name), "initial_state": started()}
    assert far(with_gradients(asked(name), tensors), with_gradients(CASES[name][1], tensors)) < 1e-9


@pytest.mark.parametrize("name", CASES)
def test_sequences_end_to_end_are_read_as_if_alone(name):
    tensors = {**read_by(name, batch=1), "initial_state": started(len(CUTS) - 1)}
    packed = partial(asked(name), cu_seqlens=torch.tensor(CUTS))

    def each(initial_state, **given):
        answers = [
            asked(name)(
                initial_state=initial_state[n : n + 1],
                **{key: x[:, begin:end] for key, x in given.items()},
            )
            for n, (begin, end) in enumerate(pairwise(CUTS))
        ]
        outputs, finals = zip(*answers, strict=True)
        return torch.cat(outputs, 1), torch.cat(finals)

    assert far(with_gradients(packed, tensors), with_gradients(each, tensors)) < 1e-9


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("cuts", [CUTS, [0, 0, 9, 9], [0, 9]], ids=str)
def test_sequences_end_to_end_are_the_same_without_states(name, cuts):
    tensors, packed = read_by(name, batch=1), {"cu_seqlens": torch.tensor(cuts, dtype=torch.int32)}
    zeros = 0 * started(len(cuts) - 1).detach()
    plain = partial(asked(name), output_final_state=False, **packed)
    without = with_gradients(plain, tensors)
    assert without[0][1] is None
    assert far(without, with_gradients(partial(plain, initial_state=zeros), tensors)) < 1e-9
    output, final = asked(name)(**tensors, **packed)
    assert far(output, without[0][0]) < 1e-9
    assert final.shape == zeros.shape


@pytest.mark.parametrize("name", CASES)
def test_a_state_that_is_not_asked_for_is_none_and_zeros_begin(name):
    tensors = {key: x.detach() for key, x in read_by(name).items()}
    output, final = asked(name)(**tensors)
    again, nothing = asked(name)(**tensors, initial_state=0 * started(), output_final_state=False)
    assert nothing is None
    assert far(output, again) < 1e-9
    half = {key: x.bfloat16() for key, x in tensors.items()}
    if "rwkv6" in name:
        half["u"] = BONUS.bfloat16()
    coarse, wide = asked(name)(**half)
    assert (coarse.dtype, wide.dtype) == (torch.bfloat16, torch.float32)
    assert far([coarse, wide], [output, final]) < 0.1


@pytest.mark.parametrize(
    "name", [n for n in CASES if "reverse" in inspect.signature(getattr(fla, n)).parameters]
)
@pytest.mark.parametrize("cuts", [None, CUTS], ids=["batch", "end to end"])
def test_reverse_reads_every_sequence_from_its_end(name, cuts):
    rows, sequences = (BATCH, BATCH) if cuts is None else (1, len(CUTS) - 1)
    tensors, start = read_by(name, batch=rows), started(sequences)
    packed = {} if cuts is None else {"cu_seqlens": torch.tensor(cuts)}
    found, after = asked(name)(**tensors, initial_state=start, reverse=True, **packed)
    for n in range(sequences):
        place = (slice(n, n + 1),) if cuts is None else (slice(None), slice(*cuts[n : n + 2]))
        turned = {key: x[place].flip(1) for key, x in tensors.items()}
        expected, final = asked(name)(**turned, initial_state=start[n : n + 1])
        assert far([found[place], after[n : n + 1]], [expected.flip(1), final]) < 1e-9
    zeros = asked(name)(**tensors, initial_state=0 * start, reverse=True, **packed)
    plain = asked(name)(**tensors, output_final_state=False, reverse=True, **packed)
    assert far(plain[0], zeros[0]) < 1e-9


@pytest.mark.parametrize(
    "name", [n for n in CASES if "state_v_first" in inspect.signature(getattr(fla, n)).parameters]
)
def test_states_may_have_the_value_first(name):
    tensors, start = read_by(name), started()
    output, final = asked(name)(**tensors, initial_state=start)
    turned = start.transpose(-1, -2)
    found = asked(name)(**tensors, initial_state=turned, state_v_first=True)
    assert far(found, [output, final.transpose(-1, -2)]) < 1e-9
    assert found[1].is_contiguous()


def test_hgrn_is_its_recurrence():
    x, g = drawn(5), -drawn(5, seed=1).detach().abs()
    start = drawn(5, time=1, seed=2)[:, 0]
    h, outputs = start, []
    for t in range(TIME):
        h = g[:, t].exp() * h + x[:, t]
        outputs.append(h)
    for name in ("chunk_hgrn", "fused_recurrent_hgrn"):
        found = getattr(fla, name)(x, g, initial_state=start, output_final_state=True)
        assert far(found, [torch.stack(outputs, 1), h]) < 1e-9
    cuts = torch.tensor([0, 4, TIME])
    packed, last = fla.fused_recurrent_hgrn(x[:1], g[:1], start, True, cu_seqlens=cuts)
    tail = fla.fused_recurrent_hgrn(x[:1, 4:], g[:1, 4:], start[1:], True)
    assert far([packed[:, 4:], last[1:]], tail) < 1e-9


# Gates and betas of other kinds.


def test_gates_of_keys_and_values_multiply():
    t = read_by("fused_recurrent_gla")
    gv = -drawn(*VALUES, seed=7).abs()
    for gk, gate in (
        (None, gv[..., None, :]),
        (t["gk"], t["gk"][..., None] + gv[..., None, :]),
    ):
        found = fla.fused_recurrent_gla(t["q"], t["k"], t["v"], gk, gv, 0.5, None, True)
        assert far(found, loop(t["q"], t["k"], t["v"], gate, scale=0.5)) < 1e-9


def test_a_decay_at_all_times_multiplies_that_of_each():
    t, gamma = read_by("chunk_simple_gla"), torch.tensor([-0.1, -1.0], dtype=torch.float64)
    for g, gate in ((None, gamma), (t["g"], t["g"] + gamma)):
        found, _ = fla.chunk_simple_gla(t["q"], t["k"], t["v"], g, g_gamma=gamma)
        assert far(found, loop(t["q"], t["k"], t["v"], gate[..., None, None])[0]) < 1e-9


@pytest.mark.parametrize("cuts", [None, [0, 4, TIME]], ids=["batch", "end to end"])
def test_what_is_normalized_is_divided_by_its_weights(cuts):
    rows = BATCH if cuts is None else 1
    q, k = (drawn(*KEYS, batch=rows, seed=n).abs() for n in (0, 1))
    v, S = drawn(*VALUES, batch=rows), started(2)
    n = drawn(*KEYS, batch=2, time=1, seed=5).abs()
    packed = {} if cuts is None else {"cu_seqlens": torch.tensor(cuts)}
    for name in ("chunk_linear_attn", "fused_chunk_linear_attn", "fused_recurrent_linear_attn"):
        function = partial(getattr(fla, name), normalize=True, output_final_state=True, **packed)
        found, (last, weights) = function(q, k, v, initial_state=(S, n))
        for row in range(2):
            place = (slice(row, row + 1),)
            if cuts is not None:
                place = (slice(None), slice(*cuts[row : row + 2]))
            sums, final = loop(q[place], k[place], v[place], scale=1.0, start=S[row : row + 1])
            totals = n[row : row + 1] + k[place].cumsum(1)
            expected = sums / (q[place] * totals).sum(-1, keepdim=True)
            assert far([found[place], last[row : row + 1]], [expected, final]) < 1e-9
            assert far(weights[row : row + 1], totals[:, -1:]) < 1e-9
        only_S, _ = function(q, k, v, initial_state=S)
        assert far(only_S, function(q, k, v, initial_state=(S, 0 * n))[0]) < 1e-9


def test_values_may_have_more_heads_than_keys():
    q, k = drawn(*KEYS), normalize(drawn(*KEYS, seed=1), dim=-1)
    v, beta = drawn(6, VALUE, seed=2), drawn(6, seed=3).sigmoid()
    start = started(heads=6)
    wide = [x.repeat_interleave(3, 2) for x in (q, k)]
    for function, g, gate in (
        (fla.chunk_gated_delta_rule, -drawn(6, seed=4).abs(), (..., None, None)),
        (fla.chunk_kda, -drawn(6, KEY, seed=4).abs(), (..., None)),
    ):
        found = function(q, k, v, g, beta, initial_state=start, output_final_state=True)
        assert far(found, loop(*wide, v, g[gate], beta=beta[..., None], start=start)) < 1e-9


@pytest.mark.parametrize("kinds", ["g", "gk", "gv", "g gk", "g gv", "gk gv", ""])
@pytest.mark.parametrize("of_value", [False, True], ids=["beta a head", "beta a value"])
def test_gates_of_heads_keys_and_values_multiply_in_the_delta_rule(kinds, of_value):
    t = read_by("fused_recurrent_gated_delta_rule")
    axes = {"g": (..., None, None), "gk": (..., None), "gv": (..., None, slice(None))}
    shapes = {"g": (HEADS,), "gk": KEYS, "gv": VALUES}
    gates = {
        kind: -drawn(*shapes[kind], seed=place + 20).abs()
        for place, kind in enumerate(kinds.split())
    }
    gate = sum((g[axes[kind]] for kind, g in gates.items()), torch.zeros(()))
    t = {key: x for key, x in t.items() if key != "g"}
    t["beta"] = drawn(*VALUES, seed=30).sigmoid() if of_value else t["beta"]
    start = started()
    found = fla.fused_recurrent_gated_delta_rule(
        **t, **gates, initial_state=start, output_final_state=True
    )
    beta = t.pop("beta")
    expected = loop(**t, gate=gate, beta=beta if of_value else beta[..., None], start=start)
    assert far(found, expected) < 1e-9


def test_the_delta_rule_replaces_without_a_beta():
    t = read_by("fused_recurrent_delta_rule")
    found = fla.fused_recurrent_delta_rule(t["q"], t["k"], t["v"])
    ones = torch.ones_like(t["beta"])
    assert far(found[0], fla.fused_recurrent_delta_rule(t["q"], t["k"], t["v"], ones)[0]) == 0


@pytest.mark.parametrize("name", ["chunk_delta_rule", "chunk_gated_delta_rule", "chunk_kda"])
def test_queries_and_keys_may_be_normalized_within(name):
    t = read_by(name)
    t["k"] = 3 * t["k"]
    found, _ = asked(name)(**t, use_qk_l2norm_in_kernel=True)
    of_norm_one = {n: x / (x.square().sum(-1, keepdim=True) + 1e-6).sqrt() for n, x in t.items()}
    expected, _ = asked(name)(**{**t, "q": of_norm_one["q"], "k": of_norm_one["k"]})
    assert far(found, expected) < 1e-9


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("form", ["chunk", "fused_recurrent"])
@pytest.mark.parametrize("rule", ["gated_delta_rule", "kda"])
def test_gates_and_betas_may_be_made_within(rule, form, negative):
    function = asked(f"{form}_{rule}")
    t = read_by(f"{form}_{rule}")
    raw = {**t, "g": -3 * t["g"], "beta": drawn(HEADS, seed=8)}
    A = torch.tensor([0.3, -0.4], dtype=torch.float64)
    shape, rate = ((HEADS,), A.exp()) if rule == "gated_delta_rule" else (KEYS, A.exp()[:, None])
    bias = drawn(*shape, batch=1, time=1)[0, 0]
    within = {
        "use_gate_in_kernel": True,
        "use_beta_sigmoid_in_kernel": True,
        "allow_neg_eigval": negative,
        "dt_bias": bias.flatten(),
    }
    beta = (1 + negative) * raw["beta"].sigmoid()
    g = -rate * softplus(raw["g"] + bias)
    made = function(**{**raw, "g": g, "beta": beta})
    assert far(function(**raw, A_log=A, **within), made) < 1e-9
    if rule == "kda":
        for A_log, times in ((A, rate), (None, 1.0)):
            g = -2.0 * torch.sigmoid(times * (raw["g"] + bias))
            made = function(**{**raw, "g": g, "beta": beta})
            found = function(**raw, A_log=A_log, lower_bound=-2.0, **within)
            assert far(found, made) < 1e-9


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("chunk_gla", {"cu_seqlens": [0, 9]}, r"q \(2, 9, 2, 4\) should have a batch of 1"),
        ("chunk_gla", {"cu_seqlens": [1, 9]}, r"cu_seqlens \[1, 9\] should rise from 0"),
        ("chunk_gla", {"cu_seqlens": [0, 5, 4]}, r"cu_seqlens \[0, 5, 4\] should rise from 0"),
        ("chunk_gla", {"cu_seqlens": [0]}, r"cu_seqlens \[0\] should rise from 0"),
        ("chunk_kda", {"return_intermediate_states": True}, "return_intermediate_states"),
        ("chunk_rwkv7", {"cp_context": object()}, "chunk_rwkv7: cp_context"),
        ("chunk_kda", {"allow_neg_eigval": True}, "allow_neg_eigval needs"),
        ("chunk_kda", {"use_gate_in_kernel": True}, "needs A_log, or a lower_bound"),
        ("chunk_gated_delta_rule", {"use_gate_in_kernel": True}, "needs both g and A_log"),
        (
            "fused_recurrent_delta_rule",
            {"v": drawn(3, VALUE), "beta": None},
            "the 3 heads of v should be a multiple of the 2 of q and k",
        ),
        ("chunk_gla", {"initial_state": started(3)}, "has 3 rows and should have 2"),
        (
            "chunk_linear_attn",
            {"initial_state": (started(), drawn(HEADS, KEY, time=1))},
            "is a pair",
        ),
    ],
)
def test_what_does_not_fit_is_refused(name, options, message):
    if "cu_seqlens" in options:
        options = {"cu_seqlens": torch.tensor(options["cu_seqlens"])}
    with pytest.raises(ValueError, match=message):
        asked(name)(**{**read_by(name), **options})


def test_states_have_to_be_as_many_as_sequences():
    t, cuts = read_by("chunk_gla", batch=1), torch.tensor([0, 4, 9])
    with pytest.raises(ValueError, match="has 3 rows and should have 2"):
        fla.chunk_gla(**t, initial_state=started(3), cu_seqlens=cuts)


def test_what_steers_a_gpu_changes_nothing():
    t = read_by("chunk_kda")
    steered = fla.chunk_kda(
        **t, chunk_size=32, safe_gate=True, disable_recompute=True, use_graph=True, max_num_seqs=4
    )
    assert far(steered[0], fla.chunk_kda(**t)[0]) == 0
