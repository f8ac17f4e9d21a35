"""RWKV beside its equations: sums and loops in float64, and its starts feature by feature."""

import math

import pytest
import torch
from torch.nn.functional import normalize, silu

from statewise import mixers
from statewise.mixers import RWKV4, RWKV5, RWKV6, RWKV7, RWKVChannelMixing

pytestmark = pytest.mark.filterwarnings("ignore:.*the native core is missing")


def awake(mixer):
    """Return a mixer with no weight at its start."""
    torch.manual_seed(0)
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return mixer.double()


def before(x):
    return torch.cat([torch.zeros_like(x[:1]), x[:-1]])


def mixtures(x, mu):
    """Return inputs that are as much as mu says the input before."""
    return [(1 - share) * x + share * before(x) for share in mu]


def mixtures_of_present(x, mu):
    """Return inputs that are as much as mu says the present input: up to version 5."""
    return [share * x + (1 - share) * before(x) for share in mu]


def of_heads(x, heads):
    return x.reshape(len(x), heads, -1)


def standardized(mixer, o):
    """Return one head's answers side by side, (heads, width) in."""
    spread = (o - o.mean(1, keepdim=True)).square().mean(1, keepdim=True)
    y = (o - o.mean(1, keepdim=True)) / (spread + 64e-5).sqrt()
    return (y * mixer.norm.weight + mixer.norm.bias).flatten()


def rwkv4(mixer, x):
    r, k, v = (
        layer(z)
        for layer, z in zip(
            (mixer.receptance, mixer.key, mixer.value),
            mixtures_of_present(x, mixer.mu),
            strict=True,
        )
    )
    answers = []
    for t in range(len(x)):
        weights = [torch.exp(k[i] - (t - 1 - i) * mixer.decay.exp()) for i in range(t)]
        weights.append(torch.exp(k[t] + mixer.bonus))
        mean = sum(w * v[i] for i, w in enumerate(weights)) / sum(weights)
        answers.append(mixer.output(r[t].sigmoid() * mean))
    return torch.stack(answers)


def eagle(mixer, r, k, v, g, log_decay):
    """Return the answers of versions 5 and 6."""
    r, k, v, log_decay = (of_heads(z, mixer.heads) for z in (r, k, v, log_decay))
    S, answers = torch.zeros(*k.shape[1:], v.shape[-1]).double(), []
    for t in range(len(r)):
        new = torch.einsum("hk,hv->hkv", k[t], v[t])
        o = torch.einsum("hkv,hk->hv", S + mixer.bonus[..., None] * new, r[t])
        S = log_decay[t].exp()[..., None] * S + new
        answers.append(mixer.output(silu(g[t]) * standardized(mixer, o)))
    return torch.stack(answers)


def rwkv5(mixer, x):
    r, k, v, g = mixtures_of_present(x, mixer.mu)
    decay = -mixer.decay.exp().flatten().expand_as(x)
    r, k, v = mixer.receptance(r), mixer.key(k), mixer.value(v)
    return eagle(mixer, r, k, v, mixer.gate(g), decay)


def rwkv6(mixer, x):
    d = before(x) - x
    down = (x + mixer.mu_x * d) @ mixer.to_mix.weight.T
    parts = down.tanh().chunk(5, -1)
    r, w, k, v, g = (
        x + (mu + part @ up) * d
        for mu, part, up in zip(mixer.mu, parts, mixer.from_mix, strict=True)
    )
    low_rank = (w @ mixer.to_decay.weight.T).tanh() @ mixer.from_decay
    decay = -torch.exp(mixer.decay + low_rank)
    r, k, v = mixer.receptance(r), mixer.key(k), mixer.value(v)
    return eagle(mixer, r, k, v, mixer.gate(g), decay)


def rwkv7(mixer, x):
    r, w, k, v, a, g = mixtures(x, mixer.mu)
    r, k, v = mixer.receptance(r), mixer.key(k), mixer.value(v)
    w = mixer.decay + mixer.from_decay(mixer.to_decay(w).tanh())
    a = torch.sigmoid(mixer.rate + mixer.from_rate(mixer.to_rate(a)))
    g = mixer.from_gate(mixer.to_gate(g).sigmoid())
    # As the paper writes it: minus exp of minus softplus of minus w, less a half.
    decay = torch.exp(-torch.exp(-torch.nn.functional.softplus(-w) - 0.5))
    c, kept = k * mixer.removal, k * (1 + (a - 1) * mixer.replacement)
    r, c, k, v, a, decay = (of_heads(z, mixer.heads) for z in (r, c, kept, v, a, decay))
    bonus, answers = mixer.bonus.reshape(mixer.heads, -1), []
    S = torch.zeros(mixer.heads, r.shape[-1], r.shape[-1]).double()
    for t in range(len(x)):
        o, own = [], []
        for h in range(mixer.heads):
            at = normalize(c[t, h], dim=0)
            transition = torch.diag(decay[t, h]) - torch.outer(a[t, h] * at, at)
            S[h] = transition @ S[h] + torch.outer(k[t, h], v[t, h])
            o.append(S[h].T @ r[t, h])
            own.append((r[t, h] * k[t, h] * bonus[h]).sum() * v[t, h])
        y = standardized(mixer, torch.stack(o)) + torch.cat(own)
        answers.append(mixer.output(g[t] * y))
    return torch.stack(answers)


def channel_mixing(mixer, x):
    k, *r = (mixtures if mixer.receptance is None else mixtures_of_present)(x, mixer.mu)
    y = mixer.value(mixer.key(k).clamp(min=0) ** 2)
    return mixer.receptance(r[0]).sigmoid() * y if r else y


@pytest.mark.parametrize(
    ("mixer", "equations"),
    [
        (RWKV4(6), rwkv4),
        (RWKV5(6, heads=2), rwkv5),
        (RWKV6(6, heads=2, mix_rank=2, decay_rank=3), rwkv6),
        (RWKV7(6, heads=2, decay_rank=2, rate_rank=3, gate_rank=4), rwkv7),
        (RWKVChannelMixing(6, version=4), channel_mixing),
        (RWKVChannelMixing(6, version=7, expansion=2.0), channel_mixing),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_equals_its_equations(mixer, equations):
    mixer = awake(mixer)
    x = torch.randn(2, 12, 6).double()
    with torch.no_grad():
        wanted = torch.stack([equations(mixer, row) for row in x])
        torch.testing.assert_close(mixer(x)[0], wanted, rtol=1e-9, atol=1e-12)


def test_keys_of_any_size_average_to_numbers():
    """Where exp(k) overflows, the softmax average is that of the largest."""
    mixer = awake(RWKV4(3))
    with torch.no_grad():
        mixer.key.weight.mul_(2000)
        x = torch.randn(1, 50, 3).double()
        found, _ = mixer(x)
        r, k, v = mixtures_of_present(x[0], mixer.mu)
        r, k, v = mixer.receptance(r[-1]), mixer.key(k), mixer.value(v)
        score = k[:-1] + torch.arange(len(k) - 1)[:, None] * mixer.decay.exp()
        score = torch.cat([score, k[-1:] + mixer.bonus + (len(k) - 2) * mixer.decay.exp()])
        mean = (score.softmax(0) * v).sum(0)
        torch.testing.assert_close(found[0, -1], mixer.output(r.sigmoid() * mean))


LAYER, LAYERS, DIM = 3, 12, 24
DEPTH, LEFT = LAYER / (LAYERS - 1), 1 - LAYER / LAYERS


def features(formula):
    return torch.tensor([formula(c) for c in range(DIM)])


def at_start(name, **options):
    spec = {"name": name, "layer": LAYER, "layers": LAYERS, **options}
    return mixers.build(spec, DIM)


def test_rwkv4_starts_as_published():
    mixer = at_start("rwkv4")
    mu = [
        features(lambda c: (c / DIM) ** (0.5 * LEFT)),
        features(lambda c: (c / DIM) ** LEFT),
        features(lambda c: (c / DIM) ** LEFT + 0.3 * DEPTH),
    ]
    torch.testing.assert_close(mixer.mu.data, torch.stack(mu))
    decay = features(lambda c: -5 + 8 * (c / (DIM - 1)) ** (0.7 + 1.3 * DEPTH))
    torch.testing.assert_close(mixer.decay.data, decay)
    bonus = features(lambda c: math.log(0.3) + 0.5 * ((c + 1) % 3 - 1))
    torch.testing.assert_close(mixer.bonus.data, bonus)
    assert not any(layer.weight.any() for layer in (mixer.receptance, mixer.key, mixer.output))
    assert_orthogonal(mixer.value, 1.0)


@pytest.mark.parametrize("name", ["rwkv5", "rwkv6"])
def test_rwkv5_and_6_start_as_published(name):
    mixer = at_start(name, heads=2)
    early = features(lambda c: 1 - (c / DIM) ** LEFT)
    quick = features(lambda c: 1 - (c / DIM) ** (0.5 * LEFT))
    late = early - 0.3 * DEPTH
    if name == "rwkv5":
        mu = [1 - share for share in (quick, early, late, quick)]
    else:
        mu = [quick, early, early, late, quick]
    torch.testing.assert_close(mixer.mu.data, torch.stack(mu))
    decay = features(lambda c: -6 + 5 * (c / (DIM - 1)) ** (0.7 + 1.3 * DEPTH))
    torch.testing.assert_close(mixer.decay.data.flatten(), decay)
    bonus = features(lambda c: DEPTH * (1 - c / (DIM - 1)) + 0.1 * ((c + 1) % 3 - 1))
    torch.testing.assert_close(mixer.bonus.data.flatten(), bonus)
    assert not mixer.output.weight.any()
    assert mixer.norm.weight.unique().item() == pytest.approx((4 / 12) ** 0.7)
    for layer, gain in (
        (mixer.receptance, 1),
        (mixer.key, 0.1),
        (mixer.value, 1),
        (mixer.gate, 0.1),
    ):
        assert_orthogonal(layer, gain)
    if name == "rwkv6":
        assert not mixer.to_mix.weight.any()
        assert not mixer.to_decay.weight.any()
        for weight in (mixer.from_mix, mixer.from_decay):
            assert 0.009 < weight.abs().max() <= 0.01
        assert mixer.to_mix.out_features == 5 * 32
        assert mixer.to_decay.out_features == 64


def test_rwkv7_starts_as_published():
    mixer = at_start("rwkv7", heads=2)
    powers = (0.2, 0.9, 0.7, 0.7, 0.9, 0.2)
    mu = [features(lambda c, p=p: 1 - (c / DIM) ** (p * LEFT)) for p in powers]
    torch.testing.assert_close(mixer.mu.data, torch.stack(mu))

    def zigzag(c):
        z = (c % 12 - 5.5) / 5.5
        return z * abs(z)

    wanted = {
        "decay": lambda c: -6 + 6 * (c / (DIM - 1)) ** (1 + DEPTH**0.3) + 0.5 + 2.5 * zigzag(c),
        "rate": lambda c: -0.19 + 0.3 * zigzag(c) + 0.4 * (c / (DIM - 1) - 0.5),
        "removal": lambda c: 0.71 - 0.1 * (c / (DIM - 1) - 0.5),
        "replacement": lambda c: 1.02,
        "bonus": lambda c: -0.04,
    }
    for name, formula in wanted.items():
        torch.testing.assert_close(getattr(mixer, name).data, features(formula))
    for name in ("decay", "rate", "gate"):
        assert not getattr(mixer, f"to_{name}").weight.any()
        # Orthogonal from 32 to 24 features, times the root of their ratio and 0.1.
        assert_orthogonal(getattr(mixer, f"from_{name}"), 0.1 * (32 / 24) ** 0.5)
    assert not mixer.output.weight.any()
    assert mixer.norm.weight.unique().item() == pytest.approx((4 / 12) ** 0.7)
    big = RWKV7(768)
    assert (big.heads, big.to_decay.out_features, big.to_rate.out_features) == (12, 64, 64)
    assert big.to_gate.out_features == 128


@pytest.mark.parametrize(
    ("version", "power", "hidden", "gain"),
    [(4, 1, 96, 2.0), (5, 1, 84, 1.0), (6, 3, 84, 1.0), (7, 4, 96, 1.0)],
)
def test_channel_mixing_starts_as_published(version, power, hidden, gain):
    mixer = at_start("rwkv_channel_mixing", version=version)
    mu = features(lambda c: (c / DIM) ** (LEFT**power))
    mu = mu if version < 6 else 1 - mu
    torch.testing.assert_close(mixer.mu.data, mu.expand(1 if version == 7 else 2, DIM))
    assert mixer.key.out_features == hidden
    assert_orthogonal(mixer.key, gain)
    assert not mixer.value.weight.any()
    assert (mixer.receptance is None) == (version == 7)
    assert mixer.receptance is None or not mixer.receptance.weight.any()


def assert_orthogonal(layer, gain):
    weight = layer.weight if layer.in_features <= layer.out_features else layer.weight.T
    wanted = gain**2 * torch.eye(weight.shape[1])
    torch.testing.assert_close(weight.T @ weight, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"name": "rwkv4", "layer": 2, "layers": 2}, "rwkv4: layer = 2 should be from 0 to"),
        ({"name": "rwkv5", "heads": 3}, "rwkv5: heads = 3 should divide dim = 8"),
        ({"name": "rwkv6", "mix_rank": 0}, "rwkv6: mix_rank = 0 should be at least 1"),
        ({"name": "rwkv7", "gate_rank": 0}, "rwkv7: gate_rank = 0 should be at least 1"),
        ({"name": "rwkv_channel_mixing", "version": 3}, "version = 3 should be from 4 to 7"),
        ({"name": "rwkv_channel_mixing", "expansion": 0.01}, "leaves no inner features"),
    ],
)
def test_refuses(spec, sentence):
    with pytest.raises(ValueError, match=sentence):
        mixers.build(spec, 8)
