"""The mixers of the delta rule beside their equations, as a plain loop in float64."""

import pytest
import torch
from torch.nn.functional import silu, softplus

from statewise import mixers
from statewise.mixers import KDA, DeltaNet, DeltaProduct, GatedDeltaNet, GatedDeltaProduct

pytestmark = pytest.mark.filterwarnings("ignore:.*the native core is missing")

ALL = [DeltaNet, GatedDeltaNet, DeltaProduct, GatedDeltaProduct, KDA]


def log_decay(mixer, x):
    """Return log a of one input, (heads, key)."""
    if isinstance(mixer, DeltaNet | DeltaProduct):
        return torch.zeros(mixer.matrix[:2]).double()
    project, clock = mixer.log_decay.project, mixer.log_decay
    if isinstance(mixer, KDA):
        raw = (project[1].weight @ (project[0].weight @ x)).reshape(mixer.matrix[:2]) + clock.bias
        return -clock.log_rate.exp() * softplus(raw)
    a = -clock.log_rate.exp() * softplus(project.weight @ x + clock.bias)
    return a[:, None].expand(mixer.matrix[:2])


def gate(mixer, x):
    """Return what the answers are multiplied by, of one input."""
    if isinstance(mixer, DeltaNet | DeltaProduct):
        return 1.0
    if isinstance(mixer, KDA):
        down, up, _ = mixer.gate
        return torch.sigmoid(up.weight @ (down.weight @ x) + up.bias)
    return silu(mixer.gate[0].weight @ x)


def unit(x):
    return x / (x.square().sum() + 1e-6).sqrt()


def by_hand(mixer, x, *, heads, key, value, steps, reach):
    """Return the answers to one sequence: one input, head and correction after another."""
    answers, z, taps = [], x @ mixer.query_key_value.weight.T, mixer.taps
    S = torch.zeros(heads, key, value).double()
    for t in range(len(x)):
        seen = [z[t - back] * taps[:, -1 - back] for back in range(min(t + 1, taps.shape[1]))]
        c = silu(sum(seen))
        q = c[: heads * key].reshape(heads, key)
        k = c[heads * key : (1 + steps) * heads * key].reshape(steps, heads, key)
        v = c[(1 + steps) * heads * key :].reshape(steps, heads, value)
        beta = reach * torch.sigmoid(mixer.beta.weight @ x[t]).reshape(steps, heads)
        new, reads = log_decay(mixer, x[t]).exp()[:, :, None] * S, []
        S = new.clone()
        for h in range(heads):
            for j in range(steps):
                at = unit(k[j, h])
                S[h] = S[h] + beta[j, h] * torch.outer(at, v[j, h] - S[h].T @ at)
            read = S[h].T @ unit(q[h]) / key**0.5
            reads.append(mixer.norm.weight * read / (read.square().mean() + 1e-5).sqrt())
        answers.append(mixer.output.weight @ (gate(mixer, x[t]) * torch.cat(reads)))
    return torch.stack(answers)


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize(
    ("mixer", "options", "key", "value", "steps"),
    [
        (DeltaNet, {}, 4, 4, 1),
        (DeltaNet, {"key": 6, "value": 10, "width": 3}, 3, 5, 1),
        (GatedDeltaNet, {}, 3, 6, 1),
        (DeltaProduct, {}, 4, 4, 2),
        (GatedDeltaProduct, {"steps": 3, "value": 4}, 3, 2, 3),
        (KDA, {"rank": 3}, 4, 4, 1),
    ],
)
def test_equals_its_equations(mixer, options, key, value, steps, negative):
    torch.manual_seed(0)
    module = mixer(8, heads=2, negative_eigenvalues=negative, **options).double()
    torch.nn.init.uniform_(module.norm.weight)
    x = torch.randn(2, 12, 8).double()
    with torch.no_grad():
        sizes = {"heads": 2, "key": key, "value": value, "steps": steps}
        wanted = [by_hand(module, row, reach=1.0 + negative, **sizes) for row in x]
        found, _ = module(x)
    torch.testing.assert_close(found, torch.stack(wanted), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("product", "net"), [(DeltaProduct, DeltaNet), (GatedDeltaProduct, GatedDeltaNet)]
)
def test_one_step_a_token_is_the_delta_rule(product, net):
    one, other = product(8, heads=2, steps=1), net(8, heads=2, negative_eigenvalues=True)
    one.load_state_dict(other.state_dict())
    x = torch.randn(2, 9, 8)
    torch.testing.assert_close(one(x), other(x))


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("mixer", ALL)
def test_eigenvalues_of_the_transition(mixer, negative):
    """The least eigenvalue that a token gives the state is about 0, or about -1."""
    torch.manual_seed(0)
    module = mixer(8, heads=2, negative_eigenvalues=negative)
    x = torch.randn(40, 8)
    with torch.no_grad():
        # The larger these weights, the nearer beta is to its ends; and nothing decays.
        module.beta.weight.mul_(100)
        if module.log_decay is not None:
            module.log_decay.log_rate.fill_(-100)
        _, keys, values = module.matrix
        start = module.initial_state(len(x))
        _, moved = module.step(x, start._replace(S=start.S + torch.eye(keys, values)))
        _, added = module.step(x, start)
        eigenvalues = torch.linalg.eigvals((moved.S - added.S)[..., :keys])
    assert eigenvalues.abs().max() < 1 + 1e-4
    assert (-1 if negative else 0) - 1e-3 < eigenvalues.real.min() < (-0.9 if negative else 0.1)


def test_defaults():
    """Reflections are DeltaProduct's point, and an option of the others."""
    reaches = {mixer: mixer(16).reach for mixer in ALL}
    assert {mixer for mixer, reach in reaches.items() if reach == 2} == {
        DeltaProduct,
        GatedDeltaProduct,
    }
    assert DeltaNet(16).matrix == KDA(16).matrix == (4, 4, 4)
    assert GatedDeltaNet(16).matrix == GatedDeltaProduct(16).matrix == (4, 3, 6)
    assert KDA(16).log_decay.project[0].out_features == KDA(16).gate[0].out_features == 4


@pytest.mark.parametrize(
    ("mixer", "least", "numbers"),
    [(GatedDeltaNet, 0.01, 64), (GatedDeltaProduct, 0.01, 64), (KDA, 1.0, 256)],
)
def test_clocks_start_as_published(mixer, least, numbers):
    torch.manual_seed(0)
    clock = mixer(256, heads=64).log_decay
    rate, step = clock.log_rate.exp(), softplus(clock.bias)
    assert rate.numel() == 64
    assert step.numel() == numbers
    assert least - 1e-6 <= rate.min() < 2
    assert 14 < rate.max() <= 16 + 1e-5
    assert 0.001 - 1e-6 <= step.min() < 0.0015
    assert 0.07 < step.max() <= 0.1 + 1e-6
    assert (step < 0.01).float().mean() == pytest.approx(0.5, abs=0.2)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"name": "delta_net", "heads": 3}, "delta_net: heads = 3 should divide key = 8"),
        ({"name": "delta_net", "width": 0}, "delta_net: width = 0 should be at least 1"),
        ({"name": "gated_delta_net", "heads": 4}, "gated_delta_net: heads = 4 should divide key"),
        ({"name": "delta_product", "steps": 0}, "delta_product: steps = 0 should be at least 1"),
        ({"name": "gated_delta_product", "value": 5, "heads": 2}, "heads = 2 should divide value"),
        ({"name": "kda", "heads": 3}, "kda: heads = 3 should divide dim = 8"),
        ({"name": "kda", "rank": 0}, "kda: rank = 0 should be at least 1"),
    ],
)
def test_refuses(spec, sentence):
    with pytest.raises(ValueError, match=sentence):
        mixers.build(spec, 8)
