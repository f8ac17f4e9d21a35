import itertools

import numpy as np
import pytest
from sklearn.tree import DecisionTreeRegressor

from statewise.analysis.variance import shares_of_tree, variance_shares


def tried(function, options=3, number=300, seed=0):
    draw = np.random.default_rng(seed)
    X = draw.uniform(size=(number, options))
    names = [f"o{i}" for i in range(options)]
    values = {name: X[:, i].tolist() for i, name in enumerate(names)}
    return values, function(*X.T).tolist(), dict.fromkeys(names, (0.0, 1.0))


def test_a_tree_is_summed_exactly():
    """Against all cells of the grid that its thresholds make, which is what the tree is."""
    draw = np.random.default_rng(0)
    X = draw.uniform(size=(40, 3))
    y = X[:, 0] + np.sin(5 * X[:, 1]) * X[:, 2]
    tree = DecisionTreeRegressor(max_leaf_nodes=14, random_state=0).fit(X, y)
    inner = tree.tree_.feature >= 0
    edges = [
        np.unique([0, *tree.tree_.threshold[inner & (tree.tree_.feature == i)], 1])
        for i in range(3)
    ]
    widths = [np.diff(e) for e in edges]
    middles = [(e[1:] + e[:-1]) / 2 for e in edges]
    grid = np.stack(np.meshgrid(*middles, indexing="ij"), -1)
    f = tree.predict(grid.reshape(-1, 3)).reshape(grid.shape[:3])
    weight = np.einsum("i,j,k->ijk", *widths)
    f = f - (f * weight).sum()

    def mean_over(dropped):
        letters, kept = "ijk", "".join("ijk"[i] for i in range(3) if i not in dropped)
        gone = ",".join(letters[i] for i in dropped)
        return np.einsum(f"ijk,{gone}->{kept}", f, *[widths[i] for i in dropped]), kept

    def variance(kept):
        if len(kept) == 3:
            return (f**2 * weight).sum()
        g, letters = mean_over([i for i in range(3) if i not in kept])
        gone = ",".join(letters)
        return np.einsum(f"{letters},{gone}->", g**2, *[widths["ijk".index(c)] for c in letters])

    expected = {}
    for size in (1, 2, 3):
        for kept in itertools.combinations(range(3), size):
            expected[kept] = variance(kept) - sum(
                v for few, v in expected.items() if set(few) < set(kept)
            )
    found = shares_of_tree(tree.tree_, 3, 3)
    assert found.keys() == expected.keys()
    for kept, share in found.items():
        assert share == pytest.approx(max(0, expected[kept] / variance((0, 1, 2))), abs=1e-9)
    assert sum(found.values()) == pytest.approx(1)


def test_a_sum_has_shares_of_its_squares_and_no_interaction():
    shares = variance_shares(*tried(lambda a, b, c: 2 * a + b + 0 * c))
    assert shares["o0",] == pytest.approx(0.8, abs=0.05)
    assert shares["o1",] == pytest.approx(0.2, abs=0.05)
    assert shares["o2",] < 0.01
    assert shares["o0", "o1"] < 0.05


def test_a_product_of_centred_options_is_all_interaction():
    shares = variance_shares(*tried(lambda a, b, c: 1.0 * ((a > 0.5) ^ (b > 0.5)), number=800))
    assert shares["o0", "o1"] > 0.85
    assert shares["o0",] < 0.05


def test_bounds_say_what_was_asked_and_choices_are_numbers():
    """An option tried only in a corner of its bounds is flat in the rest of them."""
    draw = np.random.default_rng(0)
    kind = draw.integers(3, size=300)
    rate = draw.uniform(-4, -1, size=300)
    values = {"kind": kind.tolist(), "rate": rate.tolist()}
    scores = ((kind == 1) + 0.1 * rate).tolist()
    shares = variance_shares(values, scores, {"kind": (-0.5, 2.5), "rate": (-4.0, -1.0)})
    # variances: 2/9 of the choice, 0.01 * 9/12 of the rate
    assert shares["kind",] == pytest.approx((2 / 9) / (2 / 9 + 0.0075), abs=0.05)
    assert set(shares) == {("kind",), ("rate",), ("kind", "rate")}


def test_the_same_seed_gives_the_same_shares():
    given = tried(lambda a, b, c: a * b, number=50)
    assert variance_shares(*given, seed=3) == variance_shares(*given, seed=3)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda v, s, b: (v, s, {**b, "x": (0.0, 1.0)}), "they should agree"),
        (lambda v, s, b: (v, s[:-1], b), "should have a value for each of 19 scores"),
        (lambda v, s, b: (v, s, {**b, "o1": (0.4, 1.0)}), "outside its bounds 0.4 and 1.0"),
        (lambda v, s, b: (v, [1.0] * 20, b), "they are all the same"),
    ],
)
def test_what_cannot_be_divided_is_refused(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        variance_shares(*change(*tried(lambda a, b, c: a, number=20)))
