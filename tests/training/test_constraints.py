import pytest
import torch
from torch import nn

from statewise import mixers
from statewise.training import sparsity
from statewise.training.constraints import NormConstraint, rows
from statewise.training.language import train_language_model
from tests.training.test_loop import configuration


def test_the_gradient_and_the_multipliers_by_their_formulas():
    weight = nn.Parameter(torch.tensor([[1.0, -2.0], [0.25, 0.5]]))
    held = NormConstraint([weight], limit=1.0, rate=0.5)
    assert held.excess() == pytest.approx(2.0)
    held.ascend()
    assert held.multipliers[weight].tolist() == [1.0, 0.0]  # 0.5 (3 - 1), and 0 where it is below
    weight.grad = torch.full((2, 2), 10.0)
    held.add_gradients()
    # d/dW of the Lagrangian, by torch
    asked = weight.detach().clone().requires_grad_()
    (held.multipliers[weight] * (asked.abs().sum(1) - 1)).sum().backward()
    assert torch.equal(weight.grad, 10 + asked.grad)
    with torch.no_grad():
        weight.zero_()
    held.ascend()
    held.ascend()
    assert held.multipliers[weight].tolist() == [0.0, 0.0]  # never below


def test_it_finds_the_least_cost_within_the_limit():
    """|W - T|^2 with rows of magnitudes of 1 at most: T shrunk, in closed form."""
    target = torch.tensor([[2.0, -1.5, 0.1], [0.2, 0.3, 0.1]], dtype=torch.float64)
    weight = nn.Parameter(torch.zeros_like(target))
    held = NormConstraint([weight], limit=1.0, rate=0.02)
    for step in range(6000):
        weight.grad = 2 * (weight.detach() - target)
        held.add_gradients()
        with torch.no_grad():
            weight -= 0.02 / (1 + step / 300) * weight.grad
        held.ascend()
    # The nearest point of the L1 ball to the first row: shrunk by 1.25; the second is inside.
    expected = torch.tensor([[0.75, -0.25, 0.0], [0.2, 0.3, 0.1]], dtype=torch.float64)
    torch.testing.assert_close(weight.detach(), expected, atol=5e-3, rtol=0)
    assert held.multipliers[weight].tolist() == pytest.approx([2.5, 0.0], abs=0.05)


def test_a_held_elman_forgets_how_it_began():
    torch.manual_seed(0)
    mixer = mixers.Elman(2, 6)
    weight = next(p for p in sparsity.matrices(mixer, "*hh*").values())
    with torch.no_grad():
        weight.mul_(4)
    held = NormConstraint([weight], limit=0.95, rate=0.05)
    assert held.excess() > 0
    optimizer = torch.optim.SGD([weight], lr=0.01)
    for _ in range(600):
        optimizer.zero_grad()
        held.add_gradients()
        optimizer.step()
        held.ascend()
    assert held.excess() < 0.05
    x, state = torch.zeros(2, 200, 2), mixer.initial_state(2)
    far = torch.tensor([3.0, -3.0])[:, None, None].expand(2, 1, 6)
    y, _ = mixer(x, state._replace(h=far))
    assert (y[0, -1] - y[1, -1]).abs().max() < 1e-3


def test_a_run_holds_its_norms(tmp_path):
    found = {}
    for only in (None, "*weight_hh*"):
        options = {"constraint": {"only": only, "limit": 1.0, "rate": 0.3}, "mixer": "lstm"}
        config = configuration(tmp_path / str(only), max_steps=60, **options)
        model = train_language_model(config).model
        found[only] = max(
            float(rows(p).max()) for p in sparsity.matrices(model, "*weight_hh*").values()
        )
    assert found["*weight_hh*"] < 0.7 * found[None]


def test_what_is_no_matrix_is_refused():
    with pytest.raises(ValueError, match=r"\(3, 2, 2\) is none"):
        NormConstraint([nn.Parameter(torch.zeros(3, 2, 2))], limit=1.0, rate=1.0)
