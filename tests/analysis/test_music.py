"""Teaching the next frame: what is learned, and that it is repeatable."""

import pytest
import torch

from statewise.analysis.music import Player, frame_cost, practise, stopped_early
from statewise.tasks import music
from statewise.tasks.chorales import Chorales


def pieces(count, seed):
    drawn = Chorales(paces=(2,)).draw(count, torch.Generator().manual_seed(seed))
    return [piece.frames() for piece in drawn]


def test_music_is_learned_and_the_same_seed_gives_the_same():
    costs = []
    for seed in (0, 0, 1):
        torch.manual_seed(0)
        model = Player({"name": "gru", "hidden": 8}, start=pieces(20, 0))
        practise(model, pieces(20, 0), length=31, steps=20, batch=4, seed=seed)
        costs.append(frame_cost(model, pieces(10, 1)))
    assert costs[0] == costs[1] != costs[2]
    torch.manual_seed(0)
    model = Player({"name": "gru", "hidden": 8}, start=pieces(20, 0))
    assert costs[0] < frame_cost(model, pieces(10, 1)) < 15


def test_a_player_starts_with_how_often_keys_are_down():
    seen = pieces(20, 0)
    model = Player("elman", start=seen)
    share = torch.cat(seen).float().mean(0)
    started = model.answer.bias.sigmoid()
    torch.testing.assert_close(started[share > 0.01], share[share > 0.01], atol=2e-3, rtol=0)
    assert started.min() > 0


def test_what_reads_the_whole_piece_is_refused():
    with pytest.raises(ValueError, match="bidirectional reads the whole piece"):
        Player("bidirectional", start=pieces(2, 0))


def test_the_cost_is_that_of_the_task():
    model, held_out = Player("elman", start=pieces(2, 0)), pieces(5, 1)
    frames = music.pad(held_out)
    with torch.no_grad():
        assert frame_cost(model, held_out) == music.loss(model(frames.inputs), frames).item()


def test_the_moment_is_that_at_which_kept_pieces_cost_least():
    def begun():
        torch.manual_seed(0)
        return Player({"name": "elman", "hidden": 40}, start=pieces(3, 0))

    options = {"length": 31, "steps": 60, "batch": 3, "learning_rate": 3e-2}
    model, others = begun(), (pieces(20, 1), pieces(20, 2))
    kept, asked = stopped_early(model, pieces(3, 0), others, every=5, **options)
    # Three pieces are learned by heart: what was never heard costs more and more.
    assert kept < 0.9 * frame_cost(model, others[0])
    assert asked < 0.9 * frame_cost(model, others[1])
    last = begun()
    practise(last, pieces(3, 0), **options)
    assert frame_cost(last, others[1]) == frame_cost(model, others[1])
    never = stopped_early(begun(), pieces(3, 0), others, every=1000, **options)
    assert never == tuple(frame_cost(last, some) for some in others)
