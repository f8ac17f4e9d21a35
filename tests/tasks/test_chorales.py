"""Chorales: the rules that they are made by, and what one who knows the rules can know."""

from itertools import product

import pytest
import torch

from statewise.tasks import music
from statewise.tasks.chorales import STEPS, Chorale, Chorales, Chord, begins, least


def drawn(pieces=100, seed=0, **options):
    return Chorales(**options).draw(pieces, torch.Generator().manual_seed(seed))


def test_the_generator_alone_decides():
    before = torch.random.get_rng_state()
    first, again, other = (drawn(5, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first == again
    assert first != other


def test_four_voices_sing_and_three_breathe_where_a_phrase_ends():
    for piece in drawn(30):
        frames = piece.frames()
        assert len(frames) == len(piece) == 16 * piece.pace
        ends = torch.arange(1, len(piece) + 1) % (4 * piece.pace) == 0
        assert frames.sum(1).tolist() == [1 if end else 4 for end in ends]
        # Chords alone: what the soprano steps to need not be of them, and is of the key.
        sung = {int(key + 21 - piece.tonic) % 12 for key in frames.any(0).nonzero()}
        assert sung <= {0, 2, 4, 5, 7, 9, 11}


def test_phrases_come_back_as_they_were():
    for piece in drawn(30, form="ABCA", chords=3):
        first, second, third, last = piece.frames().chunk(4)
        assert torch.equal(first, last)
        assert len({tuple(part.flatten().tolist()) for part in (first, second, third)}) > 1


def test_the_first_frame_tells_the_key():
    told = {}
    for piece in drawn(500):
        told.setdefault(tuple(piece.frames()[0].tolist()), set()).add(piece.tonic)
    assert all(len(tonics) == 1 for tonics in told.values())
    assert set().union(*told.values()) == set(range(12))


def test_a_chord_is_held_for_as_long_as_the_pace():
    for piece in drawn(30):
        for start in range(0, len(piece), piece.pace):
            chord = piece.frames()[start : start + piece.pace]
            assert (chord[:-1] == chord[0]).all()
            # Of the last frame the bass, which is its lowest key, is the same.
            assert chord[-1].nonzero()[0] == chord[0].nonzero()[0]


def test_chances_are_those_of_counting_all_pieces_that_might_be():
    paces = (2, 3)
    every = [
        Chorale(7, pace, "A", {"A": (Chord(*one, up), Chord(*two, 0))}, paces)
        for pace, one, up in product(paces, begins(7, None), STEPS)
        for two in begins(7, Chord(*one, up))
    ]
    frames = [piece.frames() for piece in every]
    for piece in every[::7]:
        chances = piece.chances()
        assert (chances[0] == 0.5).all()
        for time in range(1, len(piece)):
            alike = [
                other[time].double()
                for other in frames
                if torch.equal(other[:time], piece.frames()[:time])
            ]
            torch.testing.assert_close(chances[time], torch.stack(alike).mean(0))


def test_a_key_is_down_as_often_as_its_chance_says():
    pieces = drawn(300)
    chances = torch.cat([piece.chances()[1:] for piece in pieces])
    down = torch.cat([piece.frames()[1:] for piece in pieces]).double()
    assert down[chances == 0].sum() == 0
    assert down[chances == 1].mean() == 1
    for low, high in ((0.05, 0.15), (0.15, 0.3), (0.3, 0.7), (0.7, 0.95)):
        group = (chances > low) & (chances < high)
        spread = (chances * (1 - chances))[group].sum().sqrt()
        assert 4 * spread < 0.25 * down[group].sum()
        assert abs((down - chances)[group].sum()) < 4 * spread


def test_no_other_answers_cost_less():
    pieces = drawn(40)
    frames = music.pad([piece.frames() for piece in pieces])
    chances = torch.nn.utils.rnn.pad_sequence([p.chances()[1:] for p in pieces], batch_first=True)
    costs = [
        music.loss(chances.pow(power).clamp(1e-9, 1 - 1e-9).logit(), frames).item()
        for power in (1.0, 0.8, 1.25)
    ]
    assert costs[0] == pytest.approx(least(pieces), rel=1e-3)
    assert costs[0] == min(costs)


def test_what_cannot_be_is_refused():
    for form, chords, paces in (("", 4, (2,)), ("A", 0, (2,)), ("A", 4, (1, 2)), ("A", 4, ())):
        with pytest.raises(ValueError, match="form = "):
            Chorales(form, chords, paces)
    with pytest.raises(ValueError, match=r"tonics = \(12,\) should be some of 0 to 11"):
        Chorales(tonics=(12,))
