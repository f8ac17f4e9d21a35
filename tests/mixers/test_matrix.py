"""Mixers with a matrix state beside their papers' equations, one row, head and time at a time."""

import math

import pytest
import torch
from torch.nn.functional import logsigmoid, softplus

from statewise import backends, mixers
from statewise.mixers.parts.features import DPFP, FEATURES, Hedgehog, Taylor
from statewise.mixers.parts.positions import positions, positions_step

pytestmark = pytest.mark.filterwarnings("ignore:.*the native core is missing")


def parts(projections, x):
    """Return each product with x, (heads, features) at one time."""
    return [
        (weight @ x).view(projections.heads, -1)
        for weight in projections.map.weight.split(projections.sizes)
    ]


def swish(x):
    return x / (1 + (-x).exp())


def rms(x, eps):
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt()


def gated(output, read, x, gate=swish, eps=1e-5):
    """Return GatedOutput's answer to what was read, (heads, value)."""
    normed = rms(read, eps) * output.norm.weight
    return output.output.weight @ (gate(output.gate.weight @ x) * normed.flatten())


def filtered(convolution, xs):
    """Return a causal convolution of (time, features)."""
    width, ys = convolution.width, []
    for t in range(len(xs)):
        y = torch.zeros_like(xs[0]) if convolution.bias is None else convolution.bias
        for j in range(width):
            s = t - width + 1 + j
            y = y + (convolution.weight[:, j] * xs[s] if s >= 0 else 0)
        ys.append(y)
    return ys


def averaged(m, xs, phi):
    ys, past = [], []
    for x in xs:
        q, k, v = parts(m.query_key_value, x)
        past.append((phi(k), v))
        weight = torch.stack([(phi(q) * k).sum(-1) for k, _ in past])
        values = torch.stack([v for _, v in past])
        mean = (weight[..., None] * values).sum(0) / weight.sum(0)[:, None]
        ys.append(m.output.weight @ mean.flatten())
    return ys


def elu_plus_one(x):
    return torch.where(x > 0, x + 1, x.clamp(max=0).exp())


def squares(x):
    """Return the Taylor features with all products, each twice but for the squares."""
    x = x / x.shape[-1] ** 0.25
    pairs = (x[..., :, None] * x[..., None, :]).flatten(-2) / math.sqrt(2)
    return torch.cat([torch.ones_like(x[..., :1]), x, pairs], -1)


def linear_attention(m, xs):
    return averaged(m, xs, elu_plus_one)


def sized(m, xs):
    S, ys = 0, []
    for x in xs:
        q, k, v = parts(m.query_key_value, x)
        size = torch.log1p((m.size.weight @ x + m.size.bias).exp())
        S = remembered(S, torch.ones(1), elu_plus_one(k) * size[:, None], v)
        ys.append(m.output.weight @ read(S, elu_plus_one(q)).flatten())
    return ys


def based(m, xs):
    return averaged(m, xs, squares)


def remembered(S, decay, key, value):
    """Return  diag(decay) S + key value^T  for each head."""
    return decay[..., None] * S + key[..., :, None] * value[..., None, :]


def read(S, query):
    return torch.einsum("hkv,hk->hv", S, query)


def gla(m, xs):
    S, ys = 0, []
    for x in xs:
        q, k, v = parts(m.query_key_value, x)
        a = torch.sigmoid(m.decay(x)).view(m.heads, -1) ** (1 / m.temperature)
        S = remembered(S, a, k, v)
        ys.append(gated(m.output, read(S, q) / q.shape[-1] ** 0.5, x))
    return ys


def simple_gla(m, xs):
    S, ys = 0, []
    for x, u in zip(xs, filtered(m.convolution, xs @ m.query_key_value.map.weight.T), strict=True):
        q, k, v = swish(u).view(3, m.heads, -1)
        a = torch.sigmoid(m.decay.weight @ x + m.decay.bias) ** (1 / m.temperature)
        S = remembered(S, a[:, None], k, v)
        ys.append(gated(m.output, read(S, q) / q.shape[-1] ** 0.5, x))
    return ys


def retention(m, xs):
    """The parallel form, with rotations as complex numbers."""
    gamma = 1 - 2.0 ** (-5 - torch.arange(m.heads).double())
    half = m.key // m.heads // 2
    angle = 10000.0 ** -(torch.arange(half).double() / (half - 1))
    ys, past = [], []
    for t, x in enumerate(xs):
        q, k, v = parts(m.query_key_value, x)
        turn = torch.polar(torch.ones(half).double(), t * angle)
        q, k = (torch.complex(*part.split(half, -1)) * turn for part in (q, k))
        past.append((k, v))
        o = sum(
            (gamma ** (t - s) * (q * k.conj()).sum(-1).real)[:, None] * v
            for s, (k, v) in enumerate(past)
        )
        ys.append(gated(m.output, o / (2 * half) ** 0.5, x, eps=1e-6))
    return ys


def mamba2(m, xs):
    S, ys = 0, []
    z, u, dt = (xs @ m.input.weight.T).split(m.sizes, -1)
    for z_t, u_t, dt_t in zip(z, filtered(m.convolution, u), dt, strict=True):
        v, B, C = swish(u_t).split([m.inner, m.groups * m.state, m.groups * m.state])
        v = v.view(m.heads, m.head)
        B, C = (y.view(m.groups, -1).repeat_interleave(m.heads // m.groups, 0) for y in (B, C))
        dt_t = torch.log(1 + (dt_t + m.dt_bias).exp())
        S = remembered(S, (-dt_t * m.A_log.exp()).exp()[:, None], B, dt_t[:, None] * v)
        o = (read(S, C) + m.D[:, None] * v).flatten() * swish(z_t)
        o = rms(o.view(m.groups, -1), 1e-5) * m.norm.weight
        ys.append(m.output.weight @ o.flatten())
    return ys


def hgrn2(m, xs):
    S, ys = 0, []
    for x in xs:
        q, f, v = parts(m.query_forget_value, x)
        f = m.lower_bound + (1 - m.lower_bound) * torch.sigmoid(f)
        S = remembered(S, f, 1 - f, v)
        ys.append(m.output.weight @ (rms(read(S, swish(q)).flatten(), 1e-5) * m.norm.weight))
    return ys


def mlstm(m, xs):
    """Without the stabilizer."""
    C, n, ys = 0, 0, []
    for x in xs:
        q, k, v = parts(m.query_key_value, x)
        i, f = (m.gates.weight @ x + m.gates.bias).view(2, m.heads, 1)
        C = remembered(C, f.sigmoid(), i.exp() * k, v)
        n = f.sigmoid() * n + i.exp() * k
        divisor = (n * q).sum(-1).abs().clamp(min=q.shape[-1] ** 0.5)
        h = read(C, q) / divisor[:, None]
        h = h - h.mean(-1, keepdim=True)
        ys.append(gated(m.output, h, x, gate=torch.sigmoid))
    return ys


def lightnet(m, xs):
    """As softmax over time, for each feature of a key."""
    ys, past = [], []
    for x in xs:
        q, k, v = parts(m.query_key_value, x)
        past.append((k, v))
        weight = torch.stack([k for k, _ in past]).softmax(0)
        S = torch.einsum("thk,thv->hkv", weight, torch.stack([v for _, v in past]))
        o = rms(read(S, swish(q)).flatten() / m.key**0.5, 1e-5) * m.norm.weight
        ys.append(m.output.weight @ (o * swish(m.gate(x))))
    return ys


def gsa(m, xs):
    K, V, ys = 0, 0, []
    for x in xs:
        q, k, v, s = parts(m.project, x)
        a = torch.sigmoid(s) ** (1 / m.temperature)
        K = remembered(K, a, 1 - a, swish(k))
        V = remembered(V, a, 1 - a, swish(v))
        o = read(V, torch.einsum("hmk,hk->hm", K, swish(q)).softmax(-1))
        ys.append(m.output.weight @ (rms(swish(o.flatten()), 1e-5) * m.norm.weight))
    return ys


def abc(m, xs):
    ys, past = [], []
    for x in xs:
        q, k, v, s = parts(m.project, x)
        past.append((s, k, v))
        s, k, v = (torch.stack(leaf) for leaf in zip(*past, strict=True))
        weight = s.softmax(0)
        K, V = (torch.einsum("thm,thk->hmk", weight, part) for part in (k, v))
        score = torch.einsum("hmk,hk->hm", K, q) / q.shape[-1] ** 0.5
        ys.append(m.output.weight @ read(V, score.softmax(-1)).flatten())
    return ys


def aaren(m, xs):
    """As softmax attention with one query."""
    ys, past = [], []
    for x in xs:
        past.append(parts(m.key_value, x))
        k, v = (torch.stack(leaf) for leaf in zip(*past, strict=True))
        weight = ((k * m.query).sum(-1) / k.shape[-1] ** 0.5).softmax(0)
        ys.append(m.output.weight @ (weight[..., None] * v).sum(0).flatten())
    return ys


def neighbours(x, reach):
    r = torch.cat([x.clamp(min=0), (-x).clamp(min=0)], -1)
    width = r.shape[-1]
    return torch.stack(
        [r[..., j] * r[..., j - i] for i in range(1, reach + 1) for j in range(width)], -1
    )


def fast_weights(m, xs):
    S, ys = torch.zeros(m.heads, m.features.out, m.dim // m.heads).double(), []
    for x in xs:
        q, k, v, beta = parts(m.project, x)
        q, k = (neighbours(y, m.features.reach) for y in (q, k))
        q, k = (y / y.sum(-1, keepdim=True) for y in (q, k))
        S = remembered(S, torch.ones(1, 1), k, beta.sigmoid() * (v - read(S, k)))
        ys.append(m.output.weight @ read(S, q).flatten())
    return ys


def lion(m, xs):
    """The full form, by the mask of decays."""
    q, k, v = (torch.stack(y) for y in zip(*(parts(m.query_key_value, x) for x in xs), strict=True))
    if m.rate is None and m.forget is None:
        q, k, a = elu_plus_one(q), elu_plus_one(k), torch.ones(len(xs), m.heads).double()
    else:
        q, k = (swish(y) + 0.5 for y in (q, k))
        q, k = (y / y.square().sum(-1, keepdim=True).sqrt() for y in (q, k))
        fixed = m.rate is not None
        a = m.rate.sigmoid().expand(len(xs), -1) if fixed else 1 - torch.sigmoid(m.forget(xs))
    ys = []
    for i in range(len(xs)):
        weight = []
        for j in range(len(xs)):
            M = a[j:i].prod(0) if j < i else a[i + 1 : j + 1].prod(0)
            weight.append(M * (q[i] * k[j]).sum(-1))
        weight = torch.stack(weight)[..., None]
        ys.append(m.output.weight @ ((weight * v).sum(0) / weight.sum(0)).flatten())
    return ys


def jrt(m, xs):
    c, ys, past = m.causal, [], []
    whole = [parts(m.key_value, x) for x in xs[: m.prefix]]
    for x in xs:
        q, k, v = parts(c.query_key_value, x)
        past.append((k, v))
        k, v = (torch.stack(leaf) for leaf in zip(*past, *whole, strict=True))
        weight = (squares(q) * squares(k)).sum(-1)[..., None]
        ys.append(c.output.weight @ ((weight * v).sum(0) / weight.sum(0)).flatten())
    return ys


MIXERS = {
    "linear_attention": (linear_attention, lambda: mixers.LinearAttention(8, heads=2, key=6)),
    "linear_attention sized": (sized, lambda: mixers.LinearAttention(8, heads=2, sized=True)),
    "based": (based, lambda: mixers.Based(8, heads=2, key=3)),
    "gla": (gla, lambda: mixers.GLA(8, heads=2, temperature=4.0)),
    "simple_gla": (simple_gla, lambda: mixers.SimpleGLA(8, heads=2, temperature=4.0, width=3)),
    "retention": (retention, lambda: mixers.Retention(8, heads=2, key=12, value=6)),
    "mamba2": (mamba2, lambda: mixers.Mamba2(6, state=4, head=3, groups=2, width=3)),
    "mamba2 of one head": (mamba2, lambda: mixers.Mamba2(3, state=5, expand=1)),
    "hgrn2": (hgrn2, lambda: mixers.HGRN2(8, key=4, lower_bound=0.25)),
    "hgrn2 unbounded": (hgrn2, lambda: mixers.HGRN2(6)),
    "mlstm": (mlstm, lambda: mixers.MLSTM(8, heads=2, key=6)),
    "lightnet": (lightnet, lambda: mixers.LightNet(8, key=4)),
    "gsa": (gsa, lambda: mixers.GSA(6, heads=2, slots=5, temperature=3.0)),
    "abc": (abc, lambda: mixers.ABC(6, heads=2, slots=5)),
    "aaren": (aaren, lambda: mixers.Aaren(6, heads=2)),
    "fast_weights": (fast_weights, lambda: mixers.FastWeights(8, heads=2, reach=3)),
    "lion": (lion, mixers.LION.example),
    "lion with constant decay": (lion, lambda: mixers.LION(8, heads=2, decay="constant")),
    "lion without decay": (lion, lambda: mixers.LION(8, heads=2, decay="none")),
    "jrt": (jrt, lambda: mixers.JRT(8, heads=2, key=3, prefix=4)),
}


def made(make):
    """Return a mixer with no parameter at a special place, and inputs."""
    torch.manual_seed(0)
    mixer = make().double()
    for parameter in mixer.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return mixer, torch.randn(2, 19, mixer.dim).double()


@torch.no_grad()
@pytest.mark.parametrize("name", MIXERS)
def test_equals_the_equations(name):
    equations, make = MIXERS[name]
    mixer, x = made(make)
    y = mixer(x) if isinstance(mixer, mixers.WholeSequence) else mixer(x)[0]
    expected = torch.stack([torch.stack(equations(mixer, row)) for row in x])
    torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("name", ["lion", "lion with constant decay", "lion without decay"])
@pytest.mark.parametrize("backend", ["reference", "torch"])
def test_lion_is_the_same_in_full_as_a_recurrence_and_in_chunks(name, backend):
    full, make = MIXERS[name]
    mixer, _ = made(make)
    x = torch.randn(1, 70, 8).double()  # two chunks
    with backends.use(backend):
        y = mixer(x)
    torch.testing.assert_close(y[0], torch.stack(full(mixer, x[0])), rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_jrt_reads_on_after_its_prefix_step_by_step():
    mixer, x = made(MIXERS["jrt"][1])
    whole = mixer(x)
    prefix, rest = x[:, : mixer.prefix], x[:, mixer.prefix :]
    _, state = mixer.causal(prefix, mixer.encode(prefix))
    for t, row in enumerate(rest.unbind(1)):
        y, state = mixer.causal.step(row, state)
        torch.testing.assert_close(y, whole[:, mixer.prefix + t], rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_jrt_has_no_prefix_beyond_a_row_and_another_after_each_reset():
    mixer, x = made(MIXERS["jrt"][1])
    lengths, marks = torch.tensor([2, 19]), torch.zeros(2, 19, dtype=torch.bool)
    marks[1, 6] = True
    for reset in (None, marks):
        y = mixer(x, lengths=lengths, reset=reset)
        torch.testing.assert_close(y[:1, :2], mixer(x[:1, :2]))
    torch.testing.assert_close(y[1:, :6], mixer(x[1:, :6]))
    torch.testing.assert_close(y[1:, 6:], mixer(x[1:, 6:]))


def test_positions_count_from_the_start_or_a_reset():
    x, initial = torch.zeros(3, 6, 1), torch.tensor([7, 7, 7])
    reset = torch.zeros(3, 6, dtype=torch.bool)
    reset[0, 2] = reset[1, 5] = reset[2, 0] = True
    found, after = positions(x, initial=initial, reset=reset, lengths=torch.tensor([6, 4, 1]))
    assert found[0].tolist() == [7, 8, 0, 1, 2, 3]
    assert found[1, :4].tolist() == [7, 8, 9, 10]
    assert found[2, 0] == 0
    assert after.tolist() == [4, 11, 1]
    assert positions(x, initial=initial)[1].tolist() == [13, 13, 13]
    assert [leaf.tolist() for leaf in positions_step(x[:, 0], initial)] == [[7] * 3, [8] * 3]


def test_features_are_as_many_as_they_say_and_those_of_their_papers():
    torch.manual_seed(0)
    q, k = torch.randn(2, 5).double(), torch.randn(2, 5).double()
    for name, kind in FEATURES.items():
        features = kind(5).double()
        y = features(q)
        assert y.shape == (2, features.out), name
        assert (y > 0).all() or name == "taylor"
    s = (q * k).sum(-1) / 5**0.5
    taylor = Taylor(5)
    torch.testing.assert_close((taylor(q) * taylor(k)).sum(-1), 1 + s + s**2 / 2)
    torch.testing.assert_close(DPFP(5, 2)(q), neighbours(q, 2))
    both = torch.cat([2 * q, -2 * q], -1).softmax(-1)
    torch.testing.assert_close(Hedgehog(5).double()(q), both)


@torch.no_grad()
@pytest.mark.parametrize("features", FEATURES)
def test_linear_attention_takes_any_features_and_averages(features):
    mixer, x = made(lambda: mixers.LinearAttention(8, heads=2, features=features))
    phi = mixer.query_features, mixer.key_features
    q, k, v = (y[0] for y in mixer.query_key_value(x))
    weight = torch.einsum("thf,shf->hts", phi[0](q), phi[1](k)).tril()
    weight = weight / weight.sum(-1, keepdim=True).clamp(min=1e-6)
    expected = mixer.output(torch.einsum("hts,shv->thv", weight, v).flatten(1))
    torch.testing.assert_close(mixer(x)[0][0], expected, rtol=1e-9, atol=1e-9)


def test_features_that_are_all_zero_give_zero():
    x = torch.zeros(1, 3, 8)
    assert not mixers.FastWeights(8)(x)[0].any()


def test_initial_values_are_those_of_the_papers():
    torch.manual_seed(0)
    mamba2 = mixers.Mamba2(64, head=1)
    A, dt = mamba2.A_log.exp(), softplus(mamba2.dt_bias)
    assert A.min() >= 1
    assert A.min() < 2
    assert 15 < A.max() <= 16
    assert 0.00099 < dt.min() < 0.0015
    assert 0.07 < dt.max() < 0.1001
    assert abs(dt.log().mean() - math.log(0.01)) < 0.3
    assert (mamba2.D == 1).all()
    assert mamba2.convolution.weight.abs().max() <= 0.5

    mlstm = mixers.MLSTM(64, heads=4)
    assert not mlstm.gates.weight.any()
    torch.testing.assert_close(mlstm.gates.bias[4:], torch.tensor([3.0, 4.0, 5.0, 6.0]))
    assert 0 < mlstm.gates.bias[:4].abs().max() < 0.5

    retention = mixers.Retention(64)
    bound = 2**-2.5 * (6 / 128) ** 0.5
    query, _, value = retention.query_key_value.map.weight.split((64, 64, 128))
    assert 0.99 * bound < query.abs().max() <= bound
    assert value.abs().max() <= 2**-2.5 * (6 / 192) ** 0.5
    assert 0.9 * 0.5 < retention.output.output.weight.abs().max() / (6 / 192) ** 0.5 <= 0.5

    for mixer in (mixers.SimpleGLA(16), mixers.GLA(16).decay[1]):
        bias = mixer.decay.bias if isinstance(mixer, mixers.SimpleGLA) else mixer.bias
        torch.testing.assert_close(
            (logsigmoid(bias) / 16).exp(), torch.full_like(bias, 0.5**0.0625)
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mixers.LinearAttention(8, heads=3), "linear_attention: heads = 3 should divide"),
        (lambda: mixers.LinearAttention(8, features="tanh"), "features = 'tanh' should be one of"),
        (lambda: mixers.Based(8, heads=3), "based: heads = 3 should divide dim = 8"),
        (lambda: mixers.SimpleGLA(8, heads=3), "simple_gla: heads = 3 should divide dim = 8"),
        (
            lambda: mixers.Retention(8, key=12),
            "retention: heads = 4 should divide key = 12 by even",
        ),
        (lambda: mixers.Retention(8, value=9), "retention: heads = 4 should divide value = 9"),
        (lambda: mixers.Mamba2(8, head=5), "mamba2: head = 5 should divide the 16 features"),
        (lambda: mixers.Mamba2(8, head=4, groups=3), "groups = 3 should divide the 4 heads"),
        (lambda: mixers.HGRN2(8, key=3), "hgrn2: key = 3 should divide dim = 8"),
        (
            lambda: mixers.HGRN2(8, lower_bound=1.0),
            "lower_bound = 1.0 should be from 0 to less than 1",
        ),
        (lambda: mixers.MLSTM(8, key=6), "mlstm: heads = 4 should divide key = 6"),
        (lambda: mixers.LightNet(8, key=3), "lightnet: key = 3 should divide dim = 8"),
        (lambda: mixers.GSA(8, heads=3), "gsa: heads = 3 should divide dim = 8"),
        (lambda: mixers.ABC(8, heads=3), "abc: heads = 3 should divide dim = 8"),
        (lambda: mixers.ABC(8, slots=0), "abc: slots = 0 should be at least 1"),
        (lambda: mixers.GSA(8, slots=0), "gsa: slots = 0 should be at least 1"),
        (lambda: mixers.Aaren(8, heads=3), "aaren: heads = 3 should divide dim = 8"),
        (lambda: mixers.FastWeights(8, reach=4), "fast_weights: reach = 4 should be from 1"),
        (lambda: mixers.FastWeights(8, heads=3), "fast_weights: heads = 3 should divide dim = 8"),
        (lambda: mixers.LION(8, decay="much"), "lion: decay = 'much' should be one of none"),
        (lambda: mixers.LION(8, heads=3), "lion: heads = 3 should divide dim = 8"),
        (lambda: mixers.JRT(8, prefix=0), "jrt: prefix = 0 should be at least 1"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_words(make, message):
    with pytest.raises(ValueError, match=message):
        make()
