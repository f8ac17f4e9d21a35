import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from statewise.analysis.probes import by_position, linear_probe, units_of


@pytest.fixture
def drawn():
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(6, 50, 4, generator=generator)
    label = torch.randn(6, 50, generator=generator)
    states[..., 1] = 2 * label + 1
    states[..., 2] = -label
    states[..., 3] = 5.0
    return states, label


def test_correlations_are_those_of_numpy(drawn):
    states, label = drawn
    found = units_of(states, label).correlation
    expected = np.corrcoef(states[..., 0].flatten(), label.flatten())[0, 1]
    assert found.tolist() == pytest.approx([expected, 1.0, -1.0, 0.0], abs=1e-6)


def test_auc_is_that_of_scikit_learn_ties_included(drawn):
    states, label = drawn
    high, units = label > 0.3, states.round()
    found = units_of(units, high).auc
    expected = [roc_auc_score(high.flatten(), units[..., i].flatten()) for i in range(4)]
    assert found.tolist() == pytest.approx(expected)
    assert found[3] == 0.5


def test_only_places_that_count_count(drawn):
    states, label = drawn
    where = torch.zeros(6, 50, dtype=torch.bool)
    where[:, 10:20] = True
    garbled = label.where(where, 1e9)
    torch.testing.assert_close(
        units_of(states, garbled, where), units_of(states[:, 10:20], label[:, 10:20])
    )


def test_several_axes_of_units_are_one(drawn):
    states, label = drawn
    layers = states.unflatten(2, (2, 2))
    torch.testing.assert_close(units_of(layers, label), units_of(states, label))
    torch.testing.assert_close(by_position(layers, label), by_position(states, label))
    assert linear_probe(layers, label) == linear_probe(states, label)


def test_each_time_by_itself(drawn):
    states, label = drawn
    label[:, 7] = 1.0
    found = by_position(states, label)
    assert found.shape == (50, 4)
    assert found[7].isnan().all()
    assert found[3, 1].item() == pytest.approx(1.0)
    expected = np.corrcoef(states[:, 3, 0], label[:, 3])[0, 1]
    assert found[3, 0].item() == pytest.approx(expected)


def test_a_linear_probe_tells_what_units_tell_together():
    torch.manual_seed(0)
    states = torch.randn(40, 30, 6)
    hidden = states[..., 0] - states[..., 1]
    found = linear_probe(states, hidden)
    assert found.explained > 0.999
    assert linear_probe(states, hidden > 0).accuracy > 0.95
    nothing = linear_probe(states, torch.randn(40, 30))
    assert abs(nothing.explained) < 0.05
    assert units_of(states, hidden).correlation.abs().max() < 0.8


def test_it_is_not_asked_what_it_learned():
    """As many units as places: the half that is fitted is exact, the other is not."""
    torch.manual_seed(0)
    states, label = torch.randn(2, 20, 40), torch.randn(2, 20)
    assert linear_probe(states, label, penalty=1e-9).explained < 0.5


@pytest.mark.parametrize(
    ("states", "labels", "sentence"),
    [
        (torch.randn(2, 3, 4), torch.zeros(2, 3), "are the same wherever"),
        (torch.randn(2, 3, 4), torch.zeros(2, 5), "should be of the same rows and times"),
    ],
)
def test_what_cannot_be_asked_is_refused(states, labels, sentence):
    with pytest.raises(ValueError, match=sentence):
        units_of(states, labels)


def test_a_probe_needs_two_rows():
    with pytest.raises(ValueError, match="in both halves"):
        linear_probe(torch.randn(1, 9, 2), torch.randn(1, 9))
