"""Real-time recurrent learning beside back-propagation through all time."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from statewise.mixers import Cell
from statewise.ops import newton
from statewise.training.online import RealTimeLearner


class OneLeaf(NamedTuple):
    c: Tensor


class TwoLeaves(NamedTuple):
    c: Tensor
    h: Tensor


class Elementwise(Cell[OneLeaf]):
    """A gate and a candidate that each read their own unit; the output reads input and state."""

    remembers = OneLeaf

    def __init__(self, dim=3, hidden=5):
        super().__init__()
        self.dim, self.out, self.hidden = dim, 2, hidden
        self.input = nn.Linear(dim, 2 * hidden)
        self.own = nn.Parameter(torch.rand(2, hidden))
        self.output = nn.Linear(hidden + dim, 2)

    def shapes(self):
        return {"c": (self.hidden,)}

    def cell(self, x, state):
        z, f = self.input(x).chunk(2, -1)
        z = torch.tanh(z + self.own[0] * state.c)
        f = torch.sigmoid(f + self.own[1] * state.c)
        c = f * state.c + (1 - f) * z
        return self.output(torch.cat([c, x], 1)), OneLeaf(c)

    @classmethod
    def example(cls):
        return cls()


class Blocks(Cell[TwoLeaves]):
    """Two leaves that read one another, unit by unit."""

    remembers = TwoLeaves

    def __init__(self, dim=3, hidden=4):
        super().__init__()
        self.dim, self.out, self.hidden = dim, hidden, hidden
        self.input = nn.Linear(dim, 3 * hidden, bias=False)
        self.own = nn.Parameter(torch.rand(3, hidden))

    def shapes(self):
        return dict.fromkeys(("c", "h"), (self.hidden,))

    def cell(self, x, state):
        f, z, o = self.input(x).chunk(3, -1)
        f = torch.sigmoid(f + self.own[0] * state.h + state.c)
        c = f * state.c + (1 - f) * torch.tanh(z + self.own[1] * state.h)
        h = torch.sigmoid(o + self.own[2] * c) * torch.tanh(c)
        return h * x.sum(1, keepdim=True), TwoLeaves(c, h)

    @classmethod
    def example(cls):
        return cls()


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("kind", [Elementwise, Blocks])
def test_gradients_are_those_of_back_propagation(kind):
    cell = kind().double()
    x = torch.randn(2, 30, cell.dim, dtype=torch.float64)
    targets = torch.randn(2, 30, cell.out, dtype=torch.float64)
    (((cell(x)[0] - targets) ** 2) / 60).sum().backward()
    wanted = {name: p.grad.clone() for name, p in cell.named_parameters()}
    cell.zero_grad()
    learner = RealTimeLearner(cell)
    trace = learner.start(2)
    for t in range(30):
        y, trace, step = learner.step(x[:, t], trace)
        learner.backward((((y - targets[:, t]) ** 2) / 60).sum(), step)
    for name, p in cell.named_parameters():
        error = (p.grad - wanted[name]).norm() / wanted[name].norm()
        assert error < 1e-9, f"{name}: {error:.1e}"


def test_its_output_and_state_are_the_cells():
    cell = Blocks().double()
    x = torch.randn(2, 4, 3, dtype=torch.float64)
    learner = RealTimeLearner(cell)
    trace, ys = learner.start(2), []
    for t in range(4):
        y, trace, _ = learner.step(x[:, t], trace)
        ys.append(y)
    y, state = cell(x)
    torch.testing.assert_close(torch.stack(ys, 1), y)
    torch.testing.assert_close(trace.state, state)


def test_what_is_carried_does_not_grow():
    cell = Elementwise()
    learner = RealTimeLearner(cell)
    trace = learner.start(2)
    sizes = []
    for _ in range(5):
        y, trace, step = learner.step(torch.randn(2, 3), trace)
        learner.backward(y.sum(), step)
        leaves = (*trace.state, *trace[1:])
        assert not any(leaf.requires_grad for leaf in leaves), "no graph is carried"
        sizes.append(sum(leaf.untyped_storage().nbytes() for leaf in leaves))
    assert len(set(sizes)) == 1


def test_a_cell_learns_online():
    """To remember the sign of what came three steps ago, from one step's gradients at a time."""
    cell = Elementwise(dim=1, hidden=16)
    cell.output = nn.Linear(17, 1)
    cell.out = 1
    learner = RealTimeLearner(cell)
    optimizer = torch.optim.Adam(cell.parameters(), lr=0.01)
    bits = torch.randint(2, (16, 403)).float() * 2 - 1
    trace, losses = learner.start(16), []
    for t in range(3, 403):
        y, trace, step = learner.step(bits[:, t : t + 1], trace)
        loss = ((y[:, 0] - bits[:, t - 1]) ** 2).mean()
        learner.backward(loss, step)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert sum(losses[-50:]) < 0.3 * sum(losses[:50])


class Dense(Elementwise):
    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(5, 5)

    def cell(self, x, state):
        y, after = super().cell(x, state)
        return y, OneLeaf(after.c + self.mix(state.c))


class Bent(Elementwise):
    def cell(self, x, state):
        return super().cell(x * x, state)


def test_refused():
    with pytest.raises(ValueError, match="Dense: its units read one another"):
        RealTimeLearner(Dense())
    with pytest.raises(ValueError, match="Bent: it reads inputs by no linear map"):
        RealTimeLearner(Bent())


@pytest.mark.parametrize("kind", [Elementwise, Blocks])
def test_such_cells_are_solved_by_narrow_scans(kind):
    cell = kind().double()
    x = torch.randn(2, 30, cell.dim, dtype=torch.float64)
    y, state, report = cell.solve(x)
    assert report.structure == ("diagonal" if kind is Elementwise else "blocks")
    assert report.converged
    exact, after = cell(x)
    torch.testing.assert_close(y, exact, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(state, after, rtol=1e-9, atol=1e-9)
    assert newton.Report(*report) == report
