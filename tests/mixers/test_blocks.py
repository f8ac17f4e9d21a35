"""xLSTM, gated layers, mixtures and SWAX beside their equations, written as plain loops."""

import math

import pytest
import torch
from torch.nn.functional import gelu, silu

from statewise.mixers import (
    SLSTM,
    SWAX,
    Attention,
    Boom,
    GatedFeedForward,
    Mixture,
    MLSTMBlock,
    SingleHeadAttention,
    SLSTMBlock,
    build,
)
from statewise.mixers.mixture import balance, balanced
from statewise.mixers.parts.chance import uniform
from statewise.mixers.swax import redrawn


def made(maker, dim, time=9, **options):
    """Return a mixer whose parameters are all away from where they start, and an input."""
    torch.manual_seed(0)
    mixer = maker(dim, **options).double()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return mixer, torch.randn(2, time, dim, dtype=torch.float64)


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def convolved(convolution, x):
    """Return a causal convolution, tap by tap."""
    width = convolution.weight.shape[1]
    padded = torch.cat([x.new_zeros(len(x), width - 1, x.shape[2]), x], 1)
    taps = (convolution.weight[:, j] * padded[:, j : j + x.shape[1]] for j in range(width))
    return convolution.bias + sum(taps)


def standardized(norm, h):
    """Return each head (batch, heads, width) less its mean, over its deviation, and scaled."""
    centered = h - h.mean(-1, keepdim=True)
    return norm.weight * centered / (centered.square().mean(-1, keepdim=True) + norm.eps).sqrt()


def scalar_memory(projected, recurrent, heads):
    """Return h of the sLSTM in true units, from W x + b as (batch, time, 4, dim)."""
    batch, time, _, dim = projected.shape
    h = c = n = projected.new_zeros(batch, heads, dim // heads)
    blocks = recurrent.unflatten(1, (4, -1))
    ys = []
    for t in range(time):
        parts = projected[:, t].unflatten(-1, (heads, -1)) + torch.einsum(
            "ngok,bnk->bgno", blocks, h
        )
        i, f, z, o = parts.unbind(1)
        c = f.sigmoid() * c + i.exp() * z.tanh()
        n = f.sigmoid() * n + i.exp()
        h = o.sigmoid() * c / n
        ys.append(h)
    return torch.stack(ys, 1)


def test_slstm_is_its_equations():
    mixer, x = made(SLSTM, 5, hidden=6, heads=2)
    projected = (x @ mixer.weight.T + mixer.bias).unflatten(-1, (4, 6))
    close(mixer(x)[0], scalar_memory(projected, mixer.recurrent, 2).flatten(2))


def test_slstm_block_is_its_equations():
    mixer, x = made(SLSTMBlock, 6, heads=2)
    u = silu(convolved(mixer.convolution, x))
    parts = [v.unflatten(-1, (2, 3)) for v in (u, u, x, x)]
    gates = [
        torch.einsum("bthk,hok->btho", part, block).flatten(-2)
        for part, block in zip(parts, mixer.weight, strict=True)
    ]
    projected = torch.stack(gates, 2) + mixer.bias.view(4, 6)
    h = scalar_memory(projected, mixer.recurrent, 2)
    close(mixer(x)[0], standardized(mixer.norm, h).flatten(2))


def test_mlstm_block_is_its_equations():
    mixer, x = made(MLSTMBlock, 4, heads=2, width=3)
    u, g = (x @ mixer.up.weight.T).split(8, -1)
    w = silu(convolved(mixer.convolution, u))
    q, k, v = (
        (y.unflatten(-1, (2, 4))[..., None, :] @ m.weight.mT).flatten(-3)
        for y, m in ((w, mixer.query), (w, mixer.key), (u, mixer.value))
    )
    gates = torch.cat([q, k, v], -1) @ mixer.gates.weight.T + mixer.gates.bias
    i, f = gates[..., :2].exp(), gates[..., 2:].sigmoid()
    q, k, v = (y.unflatten(-1, (2, 4)) for y in (q, k, v))
    C, n, ys = x.new_zeros(2, 2, 4, 4), x.new_zeros(2, 2, 4), []
    for t in range(x.shape[1]):
        C = f[:, t, :, None, None] * C
        C = C + i[:, t, :, None, None] * k[:, t, :, :, None] * v[:, t, :, None, :]
        n = f[:, t, :, None] * n + i[:, t, :, None] * k[:, t]
        read = torch.einsum("bhkv,bhk->bhv", C, q[:, t])
        h = read / (n * q[:, t]).sum(-1, keepdim=True).abs().clamp_min(math.sqrt(4))
        inner = standardized(mixer.norm, h).flatten(1) + mixer.skip * w[:, t]
        ys.append((inner * silu(g[:, t])) @ mixer.down.weight.T)
    close(mixer(x)[0], torch.stack(ys, 1))


@pytest.mark.parametrize(("activation", "function"), [("silu", silu), ("gelu", gelu)])
def test_gated_feed_forward_is_its_equation(activation, function):
    mixer, x = made(GatedFeedForward, 4, expansion=2.0, activation=activation)
    gate, value = mixer.widen.weight.split(8)
    close(mixer(x)[0], (function(x @ gate.T) * (x @ value.T)) @ mixer.narrow.weight.T)


@pytest.mark.parametrize("normalized", [False, True])
def test_mixture_is_its_equation(normalized):
    mixer, x = made(Mixture, 4, experts=5, chosen=2, expansion=2.0, normalized=normalized)
    expected = torch.zeros_like(x)
    for place in [(b, t) for b in range(2) for t in range(9)]:
        p = (mixer.router.weight @ x[place]).softmax(0)
        best = sorted(range(5), key=lambda e: -p[e])[:2]
        for e in best:
            gate, value = (mixer.widen[e] @ x[place]).split(8)
            share = p[e] / sum(p[b] for b in best) if normalized else p[e]
            expected[place] += share * (mixer.narrow[e] @ (silu(gate) * value))
    close(mixer(x)[0], expected)
    # What compilers and transforms compute.
    close(torch.func.vmap(lambda row: mixer(row[None])[0][0])(x), expected)


def test_boom_is_its_equation():
    mixer, x = made(Boom, 4, expansion=3)
    u = x @ mixer.widen.weight.T + mixer.widen.bias
    u = u / (1 + (-1.702 * u).exp())
    close(mixer(x)[0], u[..., :4] + u[..., 4:8] + u[..., 8:])


def test_single_head_attention_is_its_equations():
    mixer, x = made(SingleHeadAttention, 4, window=5)
    parts = mixer.query_key_value
    normed = [
        norm.weight * (y - y.mean(-1, keepdim=True)) / y.std(-1, correction=0, keepdim=True)
        + norm.bias
        for norm, y in (
            (parts.memory_norm, x),
            (parts.query_norm, x @ parts.query.weight.T + parts.query.bias),
        )
    ]
    a_q, a_k, a_v = parts.scales.sigmoid()
    c, f = (parts.factor.weight @ a_v + parts.factor.bias).split(4)
    q, k, v = a_q * normed[1], a_k * normed[0], f.sigmoid() * c.tanh() * normed[0]
    expected = torch.zeros_like(x)
    for t in range(9):
        seen = slice(max(0, t - 4), t + 1)
        weights = (k[:, seen] @ q[:, t, :, None] / 2).softmax(1)
        expected[:, t] = (weights * v[:, seen]).sum(1)
    close(mixer(x)[0], expected)


def test_attention_without_rotary_positions_does_not_know_the_order():
    mixer, x = made(Attention, 6, heads=2, rotary=False)
    shuffled = torch.cat([x[:, :8].flip(1), x[:, 8:]], 1)
    close(mixer(shuffled)[0][:, -1], mixer(x)[0][:, -1])


def test_a_balance_is_one_where_all_serve_alike_and_is_collected():
    alike = 50 * torch.eye(4)
    torch.testing.assert_close(balance(alike, 1), torch.tensor(1.0))
    one_for_all = torch.tensor([[9.0, 0, 0, 0]]).expand(8, 4)
    assert 3.9 < balance(one_for_all, 1) < 4
    mixer, x = made(Mixture, 4, experts=3, expansion=1.0)
    stack = torch.nn.Sequential(mixer, torch.nn.Identity())
    with balanced(stack) as balances:
        mixer(x)
        mixer(x[:, :4])
    assert len(balances) == 2
    balances[0].backward()
    assert mixer.router.weight.grad.any()
    mixer(x)
    assert len(balances) == 2


def test_forget_gates_start_from_slow_to_fast_and_slower_higher_up():
    low = SLSTM(4, hidden=8, heads=2, layer=0, layers=3).bias.view(4, 2, 4)
    high = SLSTM(4, hidden=8, heads=2, layer=2, layers=3).bias.view(4, 2, 4)
    assert not low[[0, 2, 3]].any()
    for bias, power in ((low, 0.3), (high, 1.6)):
        expected = torch.tensor([5 - 12 * (c / 3) ** power for c in range(4)])
        torch.testing.assert_close(bias[1], expected.expand(2, 4))
    assert not SLSTM(4).recurrent.any()
    assert 0.8 < SLSTM(50, hidden=40).weight.std() / math.sqrt(2 / 250) < 1.2


def test_mlstm_block_starts_as_published():
    mixer = MLSTMBlock(100, heads=4, depth=8)
    assert not mixer.gates.weight.any()
    torch.testing.assert_close(mixer.gates.bias[4:], torch.linspace(3, 6, 4))
    assert 0 < mixer.gates.bias[:4].abs().max() < 0.5
    assert mixer.skip.eq(1).all()
    assert 0.9 < mixer.up.weight.std() / math.sqrt(2 / 500) < 1.1
    assert 0.9 < mixer.query.weight.std() / math.sqrt(2 / 500) < 1.1
    assert 0.9 < mixer.down.weight.std() / (2 / (8 * 10)) < 1.1


def seen(mixer, state, x):
    """Return how many positions back the last output depends on."""
    x = x.clone().requires_grad_()
    y, after = mixer(x, state)
    (gradient,) = torch.autograd.grad(y[:, -1].sum(), x)
    return [int(row.any(-1).sum()) for row in gradient], after


def test_swax_draws_a_window_for_each_call_while_it_trains():
    mixer, x = made(SWAX, 4, heads=1, window=6, short=2)
    calls, state = [], mixer.initial_state(2)
    for _ in range(40):
        found, after = seen(mixer, state._replace(position=torch.zeros(2, dtype=torch.int64)), x)
        state = state._replace(draws=after.draws)
        assert found[0] == found[1]
        calls.append(found[0])
    assert set(calls) == {2, 6}
    assert 10 < calls.count(6) < 30
    assert state.draws.tolist() == [40, 40]
    # The same state draws the same again, so that what is computed twice is computed alike.
    assert torch.equal(mixer(x, state)[0], mixer(x, state)[0])


def test_swax_rows_draw_apart_once_they_are_redrawn_and_empty_rows_draw_nothing():
    mixer, x = made(SWAX, 4, heads=1, window=6, short=2)
    state = ((mixer.initial_state(2),), mixer.initial_state(2))
    again = redrawn(state, torch.Generator().manual_seed(3))
    assert again[0][0].draws[0] != again[0][0].draws[1] != again[1].draws[1]
    _, after = mixer(x, lengths=torch.tensor([0, 3]))
    assert after.draws.tolist() == [0, 1]


def test_swax_evaluates_as_attention_over_the_whole_window():
    mixer, x = made(SWAX, 4, heads=1, window=6, short=2)
    plain = Attention(4, heads=1, window=6).double()
    plain.load_state_dict(mixer.attention.state_dict())
    y, state = mixer.eval()(x)
    torch.testing.assert_close(y, plain(x)[0])
    assert not state.draws.any()
    mixer.train().share = 1.0
    torch.testing.assert_close(mixer(x)[0], plain(x)[0])


def test_chance_is_uniform_and_each_count_has_its_own():
    u = uniform(torch.arange(20_000))
    assert 0 <= u.min() < 0.001
    assert 0.999 < u.max() < 1
    assert len(u.unique()) == 20_000
    counts = torch.histc(u, 20, 0, 1)
    assert ((counts - 1000).abs() < 5 * 1000**0.5).all()
    follows = torch.corrcoef(torch.stack([u[:-1], u[1:]]))[0, 1]
    assert follows.abs() < 0.03


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "slstm", "heads": 3}, "slstm: heads = 3 should divide hidden = 4"),
        ({"name": "slstm", "layer": 2, "layers": 2}, "slstm: layer = 2"),
        ({"name": "slstm_block", "heads": 3}, "slstm_block: heads = 3 should divide dim = 4"),
        ({"name": "mlstm_block", "heads": 3}, "mlstm_block: heads = 3 should divide inner = 8"),
        ({"name": "mlstm_block", "size": 3}, "mlstm_block: size = 3 should divide the 8"),
        ({"name": "gated_feed_forward", "expansion": 0.0}, "leaves no inner features"),
        (
            {"name": "gated_feed_forward", "activation": "relu"},
            "'relu' should be one of silu",
        ),
        ({"name": "mixture", "expansion": 0.0}, "mixture: expansion = 0.0"),
        ({"name": "mixture", "chosen": 17}, "mixture: chosen = 17 should be from 1 to experts"),
        ({"name": "boom", "expansion": 0}, "boom: expansion = 0 should be at least 1"),
        ({"name": "single_head_attention", "window": 0}, "single_head_attention: window = 0"),
        ({"name": "swax", "short": 9, "window": 8}, "swax: short = 9"),
        ({"name": "swax", "share": 1.5}, "swax: share = 1.5"),
    ],
)
def test_what_cannot_be_is_refused_in_words(spec, message):
    with pytest.raises(ValueError, match=message):
        build(spec, 4)
