import math

import pytest
import torch

from statewise import mixers
from statewise.analysis.ranks import effective_rank, plot_ranks, plot_sizes, sizes
from statewise.analysis.trajectories import visited
from statewise.models.language_model import LanguageModel, LanguageModelConfig
from tests.analysis.recurrences import Linear


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("values", "rank"),
    [
        ([2.0, 2.0, 2.0], 3),
        ([5.0, 0.0, 0.0], 1),
        ([0.0, 0.0, 0.0], 0),
        ([3.0, 1.0, 0.0], math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))),
    ],
)
def test_by_hand_in_any_basis(values, rank):
    left, right = (torch.linalg.qr(torch.randn(2, n, n))[0] for n in (3, 5))
    matrices = left @ torch.diag(torch.tensor(values)) @ right[:, :3]
    turned = torch.polar(torch.tensor(1.0), torch.tensor(0.7)) * matrices
    for found in (effective_rank(matrices), effective_rank(turned)):
        assert found.tolist() == pytest.approx([rank, rank], abs=1e-4)


def test_a_matrix_state_gains_a_direction_with_each_key():
    """Linear attention adds k v^T: after t inputs the rank is at most t, and t of as many."""
    mixer = mixers.LinearAttention(16, heads=2).double()
    rank = effective_rank(visited(mixer, torch.randn(3, 6, 16, dtype=torch.float64), leaf="S"))
    assert rank.shape == (3, 6, 2)
    torch.testing.assert_close(rank[:, 0], torch.ones(3, 2, dtype=torch.float64))
    assert (rank <= torch.arange(1.0, 7.0).double()[:, None] + 1e-9).all()
    assert (rank[:, 5] > rank[:, 0]).all()


def test_what_was_visited_is_each_output_of_a_cell_that_shows_its_state():
    mixer = Linear(0.9 * torch.eye(3), torch.randn(3, 2))
    x = torch.randn(4, 5, 2)
    torch.testing.assert_close(visited(mixer, x, leaf="h"), mixer(x)[0].detach())
    assert visited(mixer, x[:, :0], leaf="h").shape == (4, 0, 3)


def test_a_state_that_grows_has_no_one_shape():
    with pytest.raises(ValueError, match="grows with what is read"):
        visited(mixers.Attention(4, heads=1), torch.zeros(1, 2, 4), leaf="keys")


def test_sizes_are_those_of_the_states():
    x = torch.randn(1, 40, 8)
    attention = sizes(mixers.Attention(8, heads=2), x, [40, 1, 0, 20])
    assert [size.length for size in attention] == [0, 1, 20, 40]
    keys_and_values = 2 * 8 * 40
    assert attention[3].numbers == keys_and_values + 1  # and a counter, of 8 bytes
    assert attention[3].bytes == 4 * keys_and_values + 8
    fixed = sizes(mixers.LRU(8, state=3), x, [0, 1, 40])
    assert {size[1:] for size in fixed} == {(3, 24)}  # complex: 8 bytes each
    model = LanguageModel(LanguageModelConfig(vocab=9, dim=8, depth=2, mixer="gru", convolution=0))
    assert {s[1:] for s in sizes(model, torch.zeros(1, 3).long(), [1, 3])} == {(16, 64)}


def test_what_has_no_size_is_refused():
    with pytest.raises(ValueError, match="x has 2 rows"):
        sizes(mixers.GRU(3), torch.zeros(2, 4, 3), [1])
    with pytest.raises(ValueError, match=r"lengths = \[5\] should be in \[0, 4\]"):
        sizes(mixers.GRU(3), torch.zeros(1, 4, 3), [5])


def test_the_plots_are_pictures():
    x = torch.randn(1, 9, 4)
    found = {m: sizes(mixers.build(m, 4), x, [0, 1, 9]) for m in ("gru", "min_gru")}
    assert plot_sizes(found).startswith(b"\x89PNG")
    assert plot_ranks({"a": torch.rand(4), "b": torch.rand(5)}, most=3).startswith(b"\x89PNG")
