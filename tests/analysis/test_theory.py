import pytest

from statewise import mixers
from statewise.analysis import theory

THREE = ("parity", "counting", "words")


def says(spec, depth=2):
    return tuple(theory.verdict(spec, task, depth=depth).allowed for task in THREE)


def test_every_family_and_every_mixer_has_a_kind():
    assert set(theory.FAMILIES) == set(mixers.FAMILIES)
    assert set(theory.MIXERS) <= set(mixers.catalogue())
    assert set(theory.FAMILIES.values()) | set(theory.MIXERS.values()) <= set(theory.KINDS)
    for name in mixers.catalogue():
        assert theory.kind(name).why
        assert theory.kind(name).source


def test_nothing_solves_words_that_cannot_count_or_tell_parity():
    """S3 holds both as subgroups."""
    for kind in theory.KINDS.values():
        if kind.words:
            assert kind.parity
            assert kind.counting
        if kind.parity is False:
            assert kind.words is False


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("min_gru", (False, False, False)),
        ("gla", (False, False, False)),
        ("s4d", (False, None, False)),
        ("retention", (False, None, False)),
        ("gateloop", (True, True, True)),
        ("delta_net", (False, False, False)),
        ({"name": "delta_net", "negative_eigenvalues": True}, (True, True, True)),
        ("delta_product", (True, True, True)),
        ({"name": "delta_product", "negative_eigenvalues": False}, (False, False, False)),
        ("lstm", (True, True, True)),
        ("liquid_s4", (None, None, None)),
        ("attention", (False, False, False)),
        ({"name": "attention", "window": 8}, (False, False, False)),
        ({"name": "hgrn", "complex": False}, (False, False, False)),
        ("hgrn", (None, None, None)),
        ("sru", (False, False, False)),
        ("block_diagonal", (True, False, False)),
        ({"name": "block_diagonal", "block": 3}, (True, None, None)),
        ("short_convolution", (False, False, False)),
        ({"name": "fixed_point", "reads_state": True}, (None, None, None)),
    ],
)
def test_two_layers(spec, expected):
    assert says(spec) == expected


def test_what_takes_two_layers_is_excluded_in_one():
    assert says("gateloop", depth=1) == (True, True, False)
    reflecting = {"name": "delta_net", "negative_eigenvalues": True}
    assert says(reflecting, depth=1) == (True, False, False)
    assert says({**reflecting, "name": "delta_product", "steps": 1}, 1) == (True, False, False)
    assert says("delta_product", depth=1) == (True, True, True)


def test_recall_needs_room():
    def allowed(size):
        return theory.recall("gla", size=size, pairs=32, answers=8).allowed

    assert [allowed(size) for size in (0, 2, 3, 31, 32)] == [False, False, None, None, True]
    part = theory.recall("short_convolution", size=999, pairs=32, answers=8)
    assert part.allowed is False


def test_an_unknown_mixer_is_suggested():
    with pytest.raises(ValueError, match="did you mean 'min_gru'"):
        theory.kind("min_gri")
