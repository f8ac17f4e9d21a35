"""Planted signals: where they are, and that nothing else tells."""

from collections import Counter

import pytest

from statewise.tasks.proteins import BEGIN, END, INSIDE, PAIR, PLACES, RESIDUES, proteins


def test_the_signals_are_where_they_are_said_to_be():
    some = proteins(1000, seed=3)
    assert some == proteins(1000, seed=3)
    assert {len(each.residues) for each in some} == set(range(60, 201))
    for each in some:
        said = [each.residues[at.start : at.stop] for at in each.signals]
        text, (one, other) = each.residues, PAIR
        told = {
            "begin": text.startswith(BEGIN),
            "end": text.endswith(END),
            "inside": INSIDE in text,
            "pair": text.index(one) < text.index(other),
        }
        assert [place for place, here in told.items() if here] == [each.place][: len(said) > 0]
        assert said == {
            "begin": [BEGIN],
            "end": [END],
            "inside": [INSIDE],
            "pair": [one, other],
            "none": [],
        }.get(each.place)
    places = Counter(each.place for each in some)
    assert all(places[place] / 1000 == pytest.approx(0.2, abs=0.04) for place in PLACES)


def test_places_are_of_one_composition():
    some = proteins(3000, seed=0)
    of = {
        place: Counter(letter for each in some if each.place == place for letter in each.residues)
        for place in PLACES
    }
    for letter in RESIDUES:
        shares = [of[place][letter] / of[place].total() for place in PLACES]
        assert max(shares) - min(shares) < 0.005


def test_a_protein_has_room_for_its_motifs():
    assert {len(each.residues) for each in proteins(50, seed=0, shortest=35, longest=35)} == {35}
    with pytest.raises(ValueError, match="35 <= shortest"):
        proteins(1, seed=0, shortest=34)
