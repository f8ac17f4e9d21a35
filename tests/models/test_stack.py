import pytest
import torch
from torch.utils._pytree import tree_leaves, tree_map

from statewise.mixers import MinGRU, Mixer, WholeSequence
from statewise.models import Block, SideBySide, Stack


class Wider(Mixer):
    """Answers with twice as many features as it reads."""

    def __init__(self, dim):
        super().__init__()
        self.inner, self.dim, self.out = MinGRU(dim), dim, 2 * dim

    def initial_state(self, batch, *, device=None, dtype=None):
        return self.inner.initial_state(batch, device=device, dtype=dtype)

    def forward(self, x, state=None, *, reset=None, lengths=None):
        y, state = self.inner(x, state, reset=reset, lengths=lengths)
        return torch.cat([y, -y], -1), state

    def state_size(self, time):
        return self.inner.state_size(time)

    @classmethod
    def example(cls):
        return cls(4)


class Mirror(WholeSequence):
    def __init__(self, dim):
        super().__init__()
        self.dim = self.out = dim

    def forward(self, x, *, lengths=None, reset=None):
        return x.flip(1)

    @classmethod
    def example(cls):
        return cls(4)


def shared():
    branch = MinGRU(4)
    return Stack([Block([MinGRU(4), branch]), Block([branch])])


KINDS = {
    "shared": shared,
    "stack": Stack.example,
    "block": Block.example,
    "side by side": SideBySide.example,
    "multiplied": lambda: SideBySide([MinGRU(4), MinGRU(4)], multipliers=[0.5, -2.0]),
    "normed": lambda: SideBySide([MinGRU(4), MinGRU(4)], learned=True, norm=True),
    "wider": lambda: Stack([Block([Wider(4), MinGRU(4)])]),
    "nested": lambda: Stack([Block([SideBySide([MinGRU(4), MinGRU(4)]), MinGRU(4)])]),
}


@pytest.fixture(params=KINDS)
def stack(request):
    torch.manual_seed(0)
    return KINDS[request.param]().double().eval()


def close(left, right):
    torch.testing.assert_close(tree_leaves(left), tree_leaves(right), rtol=1e-10, atol=1e-12)


def inputs(time=7):
    return torch.randn(3, time, 4, dtype=torch.float64)


def test_steps_equal_forward(stack):
    x = inputs()
    state, ys = stack.initial_state(3), []
    for x_t in x.unbind(1):
        y, state = stack.step(x_t, state)
        ys.append(y)
    close((torch.stack(ys, 1), state), stack(x))


@pytest.mark.parametrize("cut", [0, 1, 4, 7])
def test_splits_carry_the_state(stack, cut):
    x = inputs()
    head, state = stack(x[:, :cut])
    tail, state = stack(x[:, cut:], state)
    close((torch.cat([head, tail], 1), state), stack(x))


def test_a_reset_is_a_fresh_start_and_heals(stack):
    x = inputs()
    reset = torch.zeros(3, 7, dtype=torch.bool)
    reset[0, 0] = reset[1, 3] = True
    broken = tree_map(
        lambda leaf: leaf.clone().index_fill_(0, torch.tensor([0]), torch.nan), stack(inputs())[1]
    )
    y, state = stack(x, broken, reset=reset)
    close(y[0], stack(x)[0][0])
    close(y[1, 3:], stack(x[:, 3:])[0][1])
    assert all(leaf.isfinite().all() for leaf in tree_leaves(state))


def test_padding_changes_nothing(stack):
    x = inputs()
    lengths = torch.tensor([7, 0, 3])
    padded = x.clone()
    padded[1], padded[2, 3:] = torch.nan, torch.nan
    start = stack(inputs())[1]
    y, state = stack(padded.requires_grad_(), start, lengths=lengths)
    assert not y[1].any()
    assert not y[2, 3:].any()
    close(y[2, :3], stack(x, start)[0][2, :3])
    at_end = stack(x[:, :3], start)[1]
    for leaf, before, end in zip(*map(tree_leaves, (state, start, at_end)), strict=True):
        close(leaf[1], before[1])
        close(leaf[2], end[2])
    y.sum().backward()
    assert padded.grad is not None
    assert padded.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in stack.parameters())


def test_state_has_its_declared_size(stack):
    for time in (0, 1, 5):
        leaves = tree_leaves(stack(inputs(time))[1])
        assert sum(leaf[0].numel() for leaf in leaves) == stack.state_size(time)


def test_a_shared_branch_has_its_parameters_once_and_a_state_per_place():
    stack = shared()
    assert stack.parts[0].parts[1] is stack.parts[1].parts[0]
    gates = [name for name, _ in stack.named_parameters() if name.endswith("gate.weight")]
    assert len(gates) == 2
    _, state = stack(torch.randn(1, 5, 4))
    first, second = state[0][1], state[1][0]
    assert not torch.equal(first.h, second.h)


def test_branches_side_by_side_add_their_answers():
    a, b = MinGRU(4), MinGRU(4)
    x = torch.randn(2, 5, 4)
    y, state = SideBySide([a, b])(x)
    torch.testing.assert_close(y, a(x)[0] + b(x)[0])
    assert len(state) == 2


def test_whole_sequence_parts_are_refused():
    with pytest.raises(ValueError, match=r"Block answers from left to right, but Mirror reads"):
        Block([MinGRU(4), Mirror(4)])


def test_widths_must_agree():
    with pytest.raises(ValueError, match=r"parts of Block .* \[4, 5\]"):
        Block([MinGRU(4), MinGRU(5)])
    with pytest.raises(ValueError, match=r"different widths: \[4, 8\]"):
        SideBySide([MinGRU(4), Wider(4)])
    with pytest.raises(ValueError, match="Stack needs at least one part"):
        Stack([])


def test_a_state_of_another_stack_is_refused():
    stack = Stack.example()
    assert isinstance(stack, Mixer)
    with pytest.raises(ValueError, match="Stack has 2 parts, and the state was made by 1"):
        stack(torch.randn(1, 2, 4), stack.initial_state(1)[:1])
