import math

import pytest
import torch

from statewise.analysis.lengths import extrapolation, plot_extrapolation
from statewise.analysis.needles import needle_map, plot_needles
from statewise.tasks.associative_recall import AssociativeRecall
from statewise.tasks.examples import Examples
from statewise.tasks.parity import Parity
from tests.analysis.recurrences import Answers


def solver(task):
    return Answers(
        lambda tokens: torch.tensor([task.solve(t) for t in tokens.tolist()]), task.vocab
    )


def short_sighted(length):
    """Right on the first bits and wrong on every one after them."""

    def answer(tokens):
        right = tokens.cumsum(1) % 2
        return torch.where(torch.arange(tokens.shape[1]) < length, right, 1 - right)

    return Answers(answer, 2)


def test_who_solves_is_right_at_every_length():
    for task in (Parity(), AssociativeRecall()):
        for score in extrapolation(solver(task), task, [8, 32, 100], rows=70, batch=32):
            assert score.accuracy == 1
            assert score.nats < 1e-6


def test_who_is_right_up_to_a_length_is_right_to_that_part():
    scores = extrapolation(short_sighted(10), Parity(), [5, 10, 20, 40], rows=50, batch=16)
    assert [score.accuracy for score in scores] == pytest.approx([1, 1, 0.5, 0.25])
    assert [score.nats for score in scores] == pytest.approx([0, 0, 25, 37.5])
    assert [score.length for score in scores] == [5, 10, 20, 40]


def test_who_guesses_pays_for_it():
    unsure = Answers(lambda tokens: tokens, 2, sure=0.0)
    [score] = extrapolation(unsure, Parity(), [64], rows=200)
    assert score.nats == pytest.approx(math.log(2))
    assert score.accuracy == pytest.approx(0.5, abs=0.05)


def test_the_same_seed_asks_the_same_and_as_many_rows_as_said():
    class Counted(Parity):
        drawn = 0

        def draw(self, batch, length, generator):
            type(self).drawn += batch
            return super().draw(batch, length, generator)

    one, two = (extrapolation(short_sighted(3), Counted(), [9], rows=70, seed=1) for _ in range(2))
    assert one == two
    assert Counted.drawn == 140


def needle(length, place, generator):
    """Zeros, one symbol of 1 to 7 among them, asked at the last token."""
    tokens = torch.zeros(20, length, dtype=torch.long)
    at = round(place * (length - 1))
    tokens[:, at] = torch.randint(1, 8, (20,), generator=generator)
    targets = tokens.amax(1, keepdim=True).expand(20, length)
    return Examples(tokens, targets, (torch.arange(length) == length - 1).expand(20, length))


def windowed(window):
    """Answers with what it sees among its last tokens."""

    def answer(tokens):
        seen = torch.nn.functional.pad(tokens, (window - 1, 0)).unfold(1, window, 1)
        return seen.amax(2)

    return Answers(answer, 8)


def test_a_window_finds_the_needles_within_it():
    lengths, places = [11, 21, 41], [0, 0.25, 0.5, 0.75, 1]
    found = needle_map(windowed(11), needle, lengths, places)
    expected = [[round(p * (n - 1)) >= n - 11 for p in places] for n in lengths]
    assert found.tolist() == expected
    assert needle_map(windowed(41), needle, lengths, places).min() == 1


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(ValueError, match="rows = 0 should be at least 1"):
        extrapolation(short_sighted(3), Parity(), [9], rows=0)
    with pytest.raises(ValueError, match=r"places = \[1\.5\] should be in \[0, 1\]"):
        needle_map(windowed(3), needle, [9], [1.5])

    def silent(length, place, generator):
        drawn = needle(length, place, generator)
        return drawn._replace(mask=torch.zeros_like(drawn.mask))

    with pytest.raises(ValueError, match="no answer counts in the 20 examples"):
        needle_map(windowed(3), silent, [9], [0.5])
    with pytest.raises(ValueError, match=r"found \(2, 3\) should have a row for each of 3 lengths"):
        plot_needles(torch.zeros(2, 3), [1, 2, 3], [0, 1])


def test_the_plots_are_pictures():
    scores = {"a": extrapolation(short_sighted(3), Parity(), [4, 9], rows=8)}
    assert plot_extrapolation(scores, trained=4, chance=0.5).startswith(b"\x89PNG")
    assert plot_needles(torch.rand(2, 3), [8, 16], [0, 0.5, 1], title="a_$1$").startswith(
        b"\x89PNG"
    )
