"""Transitions that the input chooses, beside their equations as plain loops."""

import pytest
import torch

from statewise.mixers import Bilinear, BlockDiagonal, Rotation

pytestmark = pytest.mark.filterwarnings("ignore:.*the native core is missing")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def block_diagonal(m, x_t):
    blocks, block = m.start.shape
    matrices = []
    for B in m.transition(x_t).view(blocks, block, block):
        C = B - B.sum(0) / block
        matrices.append(
            C / max((abs(C[:, j]) ** m.power).sum() ** (1 / m.power) for j in range(block))
        )
    return torch.block_diag(*matrices), m.drive(x_t)


def rotation(m, x_t):
    turns = [torch.tensor([[t.cos(), -t.sin()], [t.sin(), t.cos()]]) for t in m.angle.weight @ x_t]
    return torch.block_diag(*turns), 0


def bilinear(m, x_t):
    blocks, block = m.start.shape
    if m.factors is None:
        W = m.weight.view(blocks, block, block, m.dim)
    else:
        U, Z = m.factors
        W = torch.einsum("nir,nrk,njr->nijk", U, m.weight, Z)
    return torch.block_diag(*(W @ x_t)), 0


def states(m, step, x):
    """Return h at every time."""
    h, hs = m.start.flatten(), []
    for x_t in x:
        A, drive = step(m, x_t)
        h = A @ h + drive
        hs.append(h)
    return torch.stack(hs)


@pytest.mark.parametrize(
    ("mixer", "step"),
    [
        (BlockDiagonal(5, hidden=6, block=3), block_diagonal),
        (BlockDiagonal(4, power=1.0), block_diagonal),
        (Rotation(5, hidden=6), rotation),
        (Bilinear(5, hidden=6, block=3), bilinear),
        (Bilinear(4, hidden=6, block=6), bilinear),
        (Bilinear(4, hidden=6, block=2, rank=3), bilinear),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@torch.no_grad()
def test_equals_the_equations(mixer, step):
    mixer = mixer.double()
    mixer.start += 0.3 * torch.randn_like(mixer.start)
    # 40 inputs are two pieces of the bilinear recurrence.
    x = torch.randn(40, mixer.dim).double()
    h = states(mixer, step, x)
    if step is bilinear:
        h = h.view(40, *mixer.start.shape)
        h = (h / h.square().mean(-1, keepdim=True).sqrt()).flatten(1)
    torch.testing.assert_close(mixer(x[None])[0][0], h, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("mixer", [BlockDiagonal(4), Rotation(4), Bilinear(4, block=2)])
def test_a_reset_goes_back_to_the_learned_start(mixer):
    x = torch.randn(1, 3, 4)
    y, _ = mixer(x, reset=torch.tensor([[False, True, False]]))
    torch.testing.assert_close(y[:, 1:], mixer(x[:, 1:])[0])
    (y[0, 2].square() * torch.arange(4.0)).sum().backward()
    assert mixer.start.grad.any()
    assert not torch.allclose(y[:, 1:], mixer(x)[0][:, 1:])


@torch.no_grad()
def test_columns_start_with_a_norm_of_one_and_a_power_of_one_never_expands():
    mixer = BlockDiagonal(4, hidden=12, block=4, power=1.0).double()
    mixer.drive[2].weight.zero_()
    mixer.drive[2].bias.zero_()
    y, _ = mixer(10 * torch.randn(1, 200, 4).double())
    sums = y.view(200, 3, 4).abs().sum(-1)
    assert (sums[1:] <= sums[:-1] * (1 + 1e-12)).all()


@torch.no_grad()
def test_rotations_count_modulo_and_keep_their_length():
    mixer = Rotation(1, hidden=2).double()
    mixer.angle.weight.fill_(2 * torch.pi / 5)
    ones = torch.randint(0, 2, (1, 400, 1)).double()
    y, _ = mixer(ones)
    residue = (ones.cumsum(1) % 5)[..., 0]
    expected = torch.stack(
        [(residue * 2 * torch.pi / 5).cos(), (residue * 2 * torch.pi / 5).sin()], -1
    )
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-10)


@torch.no_grad()
def test_bilinear_follows_permutations_whatever_their_scale():
    mixer = Bilinear(6, hidden=3, block=3)
    orders = torch.tensor([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
    matrices = torch.eye(3)[orders]
    mixer.weight.copy_(matrices.flatten(1).T[None])
    mixer.start.copy_(torch.tensor([[1.0, 0, 0]]))
    word = torch.randint(0, 6, (2000,))
    # Products of such scales would leave float32 after a few inputs.
    x = torch.eye(6)[word] * 10 ** torch.empty(2000, 1).uniform_(-9, 9)
    y, _ = mixer(x[None])
    place, places = 0, []
    for letter in word.tolist():
        place = orders[letter].tolist().index(place)
        places.append(place)
    assert y[0].argmax(-1).tolist() == places
    torch.testing.assert_close(y.square().mean(-1), torch.ones(1, 2000))


@torch.no_grad()
def test_a_state_that_nothing_can_move_stays_zero():
    mixer = Bilinear(4, block=2)
    y, state = mixer(torch.zeros(1, 3, 4))
    assert not y.any()
    assert not state.h.any()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: BlockDiagonal(4, block=3),
            "block_diagonal: hidden = 4 should part into blocks of 3",
        ),
        (lambda: BlockDiagonal(4, power=0.5), "block_diagonal: power = 0.5"),
        (lambda: Rotation(3), "rotation: hidden = 3"),
        (lambda: Bilinear(4, block=1), "bilinear: block = 1"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(make, words):
    with pytest.raises(ValueError, match=words):
        make()
