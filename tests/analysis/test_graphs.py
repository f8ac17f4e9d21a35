"""Graphs of units: their ways counted by hand, and what they explain."""

import pytest
import torch

from statewise.analysis.graphs import Features, explained, features_of


def graph(units, links):
    mask = torch.eye(units, dtype=torch.bool)
    for begin, end in links:
        mask[end, begin] = True
    return mask


def test_a_chain_and_a_star():
    chain = features_of(graph(4, [(0, 1), (1, 2), (2, 3)]))
    assert chain == pytest.approx((0.5, 3, 10 / 6))
    star = features_of(graph(4, [(0, 1), (0, 2), (0, 3)]))
    assert star == pytest.approx((0.75**0.5, 1, 1.0))
    assert features_of(graph(3, [])) == (0.0, 0, 0.0)


def test_the_shortest_way_counts_for_distance_and_the_longest_for_depth():
    found = features_of(graph(3, [(0, 1), (1, 2), (0, 2)]))
    assert found.longest == 2
    assert found.distance == 1.0


def test_what_is_a_linear_function_is_explained():
    generator = torch.Generator().manual_seed(0)
    rows = [Features(*row) for row in torch.rand(40, 3, generator=generator).tolist()]
    exact = [2 * row.spread - row.distance + 1 for row in rows]
    assert explained(rows, exact) == pytest.approx(1)
    chance = [explained(rows, torch.randn(40, generator=generator).tolist()) for _ in range(200)]
    assert sum(chance) / 200 == pytest.approx(3 / 39, abs=0.02)
    with pytest.raises(ValueError, match="should be as many, and differ"):
        explained(rows, [0.5] * 40)


def test_ways_back_are_refused():
    with pytest.raises(ValueError, match="square, zeros above its diagonal"):
        features_of(torch.ones(3, 3, dtype=torch.bool))
