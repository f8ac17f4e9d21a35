"""The tasks over real numbers and real data: regression, digits and music."""

import math
import sys

import numpy as np
import pytest
import torch

from statewise.tasks import digits, music, nearest_neighbour, regression
from tests.tasks.test_memory_tasks import pictured


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class TestRegression:
    def test_the_solver_is_exact_once_the_weights_are_determined(self):
        task = regression.LinearRegression(dim=5)
        batch = task.draw(200, 40, seeded())
        answers = task.solve(batch.inputs)
        errors = regression.errors(answers, batch)
        # Weights that fit n of 5 dimensions leave 5 - n unknown, each with a variance of 1.
        assert errors[:5].tolist() == pytest.approx([1, 0.8, 0.6, 0.4, 0.2], rel=0.35)
        assert errors[6:].max() < 1e-8
        assert regression.loss(answers, batch).item() == pytest.approx(errors.mean().item())

    def test_a_change_is_seen_where_it_counts(self):
        task = regression.LinearRegression(dim=5)
        batch = task.draw(2, 40, seeded())
        best = regression.loss(batch.targets, batch).item()
        assert best == 0
        answers = batch.targets.clone()
        answers[0, 1] += 1
        assert regression.loss(answers, batch) == 0
        answers[0, 2] += 1
        assert regression.loss(answers, batch).item() == pytest.approx(1 / (2 * 20 * 5))

    def test_chance_is_an_error_of_one(self):
        batch = regression.LinearRegression(dim=8).draw(4000, 9, seeded())
        errors = regression.errors(torch.zeros_like(batch.targets), batch)
        assert errors.tolist() == pytest.approx([1] * 5, abs=0.15)

    def test_the_solver_is_that_of_numpy(self):
        for noise in (0.0, 0.5):
            task = regression.LinearRegression(dim=4, noise=noise)
            batch = task.draw(3, 15, seeded())
            answers = task.solve(batch.inputs)
            for row, answer in zip(batch.inputs.double().numpy(), answers, strict=True):
                points, values = row[::2, :4], row[1::2, 4]
                for n in range(1, 8):
                    # A ridge penalty is least squares with as many more rows.
                    rows = np.vstack([points[:n], noise * np.eye(4)])
                    weights = np.linalg.lstsq(rows, np.append(values[:n], np.zeros(4)))[0]
                    assert answer[2 * n].item() == pytest.approx(points[n] @ weights, rel=1e-4)

    def test_with_noise_the_solver_is_better_than_plain_least_squares(self):
        task = regression.LinearRegression(dim=5, noise=1.0)
        batch = task.draw(500, 30, seeded())
        plain = regression.LinearRegression(dim=5).solve(batch.inputs)
        best = task.solve(batch.inputs)
        assert regression.loss(best, batch) < 0.8 * regression.loss(plain, batch)

    def test_no_answer_depends_on_what_comes_later(self):
        task = regression.LinearRegression(dim=3)
        batch = task.draw(4, 20, seeded())
        other = batch.inputs.clone()
        other[:, 11:] = 7.0
        assert torch.equal(task.solve(other)[:, :11], task.solve(batch.inputs)[:, :11])

    def test_points_and_values_take_turns(self):
        batch = regression.LinearRegression(dim=3).draw(5, 7, seeded())
        assert batch.inputs.shape == (5, 7, 4)
        assert batch.mask.tolist() == [[True, False] * 3 + [True]] * 5
        assert (batch.inputs[:, ::2, 3] == 0).all()
        assert (batch.inputs[:, 1::2, :3] == 0).all()
        assert torch.equal(batch.inputs[:, 1::2, 3], batch.targets[:, :6:2])

    def test_the_generator_alone_decides(self):
        task = regression.LinearRegression(noise=0.1)
        before = torch.random.get_rng_state()
        first, again, other = (task.draw(2, 9, seeded(seed)) for seed in (3, 3, 4))
        assert torch.equal(torch.random.get_rng_state(), before)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
        assert not torch.equal(first.inputs, other.inputs)

    def test_the_picture_is_right(self):
        numbers = pictured(regression, "inputs")[:18]
        inputs = torch.tensor([float(n) for n in numbers]).reshape(1, 6, 3)
        targets = pictured(regression, "targets")[:6]
        answers = regression.LinearRegression(dim=2).solve(inputs)[0]
        # The first two points ask for what only their own values tell.
        assert targets[1::2] == ["."] * 3
        assert targets[:4:2] == [f"{value:g}" for value in inputs[0, 1:4:2, 2].tolist()]
        assert answers[4].item() == pytest.approx(float(targets[4]))
        assert answers[4].item() == pytest.approx(inputs[0, 5, 2].item())

    def test_what_cannot_be_is_refused(self):
        with pytest.raises(ValueError, match="dim is 0"):
            regression.LinearRegression(dim=0)
        with pytest.raises(ValueError, match=r"noise is -1\.0"):
            regression.LinearRegression(noise=-1.0)


class TestNearestNeighbour:
    def test_the_solver_is_exact_and_a_change_is_seen(self):
        task = nearest_neighbour.NearestNeighbour()
        batch = task.draw(50, 40, seeded())
        answers = task.solve(batch.inputs)
        assert nearest_neighbour.loss(answers, batch) == 0
        answers[0, 0] += 1
        assert nearest_neighbour.loss(answers, batch) == 0
        answers[0, -1] += 1
        assert nearest_neighbour.loss(answers, batch).item() == pytest.approx(1 / (50 * 39))

    def test_answers_are_revised_ever_more_rarely(self):
        batch = nearest_neighbour.NearestNeighbour(3).draw(20_000, 11, seeded())
        assert batch.inputs.shape == (20_000, 11, 4)
        revised = (batch.targets[:, 2:] != batch.targets[:, 1:-1]).double().mean(0)
        # The nearest of n is the last of them once in n times.
        assert revised.tolist() == pytest.approx([1 / n for n in range(2, 11)], abs=0.02)
        mean = torch.full_like(batch.targets, 0.5)
        assert nearest_neighbour.loss(mean, batch).item() == pytest.approx(1 / 12, abs=0.002)

    def test_the_generator_alone_decides(self):
        task = nearest_neighbour.NearestNeighbour()
        before = torch.random.get_rng_state()
        first, again, other = (task.draw(2, 9, seeded(seed)) for seed in (3, 3, 4))
        assert torch.equal(torch.random.get_rng_state(), before)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
        assert not torch.equal(first.inputs, other.inputs)

    def test_the_picture_is_right(self):
        numbers = [float(n) for n in pictured(nearest_neighbour, "inputs")[:18]]
        answers = nearest_neighbour.NearestNeighbour().solve(torch.tensor([numbers]).view(1, 6, 3))
        shown = pictured(nearest_neighbour, "targets")[:6]
        assert shown == [".", *(f"{answer:g}" for answer in answers[0, 1:].tolist())]

    def test_a_point_without_coordinates_is_refused(self):
        with pytest.raises(ValueError, match="dim is 0"):
            nearest_neighbour.NearestNeighbour(0)


@pytest.fixture(scope="module")
def parts():
    pytest.importorskip("sklearn", reason="statewise[tasks] is not installed")
    return digits.read()


class TestDigits:
    def test_they_are_those_of_scikit_learn_dot_by_dot(self, parts):
        from sklearn.datasets import load_digits

        images = load_digits().images
        train, test = parts
        assert train.inputs.shape == (1438, 64, 1)
        assert test.inputs.shape == (359, 64, 1)
        both = torch.cat([train.inputs, test.inputs]).reshape(-1, 8, 8)
        assert np.array_equal(both.numpy() * 16, images)
        assert torch.cat([train.targets, test.targets]).tolist() == load_digits().target.tolist()

    def test_a_permutation_loses_nothing_to_what_knows_no_order(self, parts):
        def nearest(train, test):
            apart = torch.cdist(test.inputs[..., 0], train.inputs[..., 0])
            found = torch.nn.functional.one_hot(train.targets[apart.argmin(1)], 10)
            return digits.accuracy(found[:, None].float(), test)

        scores = {nearest(*parts)}
        for seed in (1, 1, 2):
            scores.add(nearest(*(digits.permute(part, seed) for part in parts)))
        # One accuracy for all orders, and that of pictures that keep their digits.
        assert len(scores) == 1
        assert scores.pop() > 0.94
        one, again, other = (digits.permute(parts[0], seed).inputs for seed in (1, 1, 2))
        assert torch.equal(one, again)
        assert not torch.equal(one, other)
        assert not torch.equal(one, parts[0].inputs)

    def test_rows_are_eight_dots(self, parts):
        rows = digits.fold(parts[1], 8)
        assert rows.inputs.shape == (359, 8, 8)
        assert torch.equal(rows.inputs.flatten(1), parts[1].inputs.flatten(1))
        with pytest.raises(ValueError, match="dots is 7; it should divide the 64 inputs"):
            digits.fold(parts[1], 7)

    def test_a_batch_is_drawn_by_the_generator_alone(self, parts):
        first, again, other = (digits.draw(parts[0], 50, seeded(seed)) for seed in (3, 3, 4))
        assert torch.equal(first.inputs, again.inputs)
        assert not torch.equal(first.inputs, other.inputs)
        known = {(tuple(i.flatten().tolist()), int(t)) for i, t in zip(*parts[0], strict=True)}
        for picture, target in zip(*first, strict=True):
            assert (tuple(picture.flatten().tolist()), int(target)) in known

    def test_without_the_package_the_error_says_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
        with pytest.raises(ImportError, match=r"pip install 'statewise\[tasks\]'"):
            digits.read()

    def test_the_share_held_out_is_one(self):
        with pytest.raises(ValueError, match=r"held_out is 1\.0"):
            digits.read(held_out=1.0)

    def test_only_the_last_answer_counts(self):
        batch = digits.Digits(torch.zeros(2, 3, 1), torch.tensor([4, 7]))
        logits = torch.full((2, 3, 10), -50.0)
        logits[0, 2, 4] = logits[1, 2, 7] = 50.0
        assert digits.accuracy(logits, batch) == 1.0
        assert digits.loss(logits, batch).item() == 0
        logits[1, 2] = 0
        assert digits.accuracy(logits, batch) == 0.5
        assert digits.loss(logits, batch).item() == pytest.approx(math.log(10) / 2)

    def test_the_picture_is_right(self):
        rows = [
            line.split()
            for line in digits.__doc__.splitlines()
            if line.startswith(("    .", "    #"))
        ]
        assert len(rows) == 3
        dots = [dot for row in rows for dot in row[:3]]
        assert rows[1][3:12] == dots
        assert sorted(rows[1][12:]) == sorted(dots)
        assert rows[1][12:] != dots


def rolls():
    """Return three short pieces that hold the lowest and the highest key."""
    pieces = []
    for length in (5, 2, 9):
        piece = torch.rand(length, music.KEYS, generator=seeded(length)) < 0.05
        piece[0, 0] = piece[-1, 87] = True
        pieces.append(piece)
    return pieces


def save(path, pieces, packed=True, **changes):
    frames = np.concatenate([piece.numpy() for piece in pieces])
    arrays = {}
    for part in ("train", "dev", "test"):
        arrays[part] = np.packbits(frames, axis=1) if packed else frames
        arrays[f"{part}_length"] = np.array([len(piece) for piece in pieces], np.int32)
    np.savez(path, **(arrays | changes))
    return path


class TestMusic:
    @pytest.mark.parametrize("packed", [True, False])
    def test_what_is_read_is_what_was_written(self, tmp_path, packed):
        path = save(tmp_path / "songs.npz", rolls(), packed)
        for part in ("train", "dev", "test"):
            pieces = music.read(path, part)
            assert [len(piece) for piece in pieces] == [5, 2, 9]
            assert all(torch.equal(a, b) for a, b in zip(pieces, rolls(), strict=True))
        assert all(torch.equal(a, b) for a, b in zip(music.read(str(path)), rolls(), strict=True))

    def test_what_cannot_be_read_is_refused(self, tmp_path):
        good = save(tmp_path / "good.npz", rolls())
        with pytest.raises(ValueError, match="part is 'valid', and valid is not"):
            music.read(good, "valid")
        with pytest.raises(ValueError, match="16 frames, which its 2 pieces should share"):
            music.read(save(tmp_path / "a.npz", rolls(), train_length=np.array([5, 9])))
        with pytest.raises(ValueError, match="16 frames, which its 3 pieces should share"):
            music.read(save(tmp_path / "a.npz", rolls(), train_length=np.array([-1, 9, 8])))
        with pytest.raises(ValueError, match=r"train is uint8 of shape \(16, 12\)"):
            music.read(save(tmp_path / "a.npz", rolls(), train=np.zeros((16, 12), np.uint8)))
        with pytest.raises(ValueError, match=r"train is float64 of shape \(16, 88\)"):
            music.read(save(tmp_path / "a.npz", rolls(), train=np.zeros((16, 88))))
        (tmp_path / "text.npz").write_text("do re mi")
        (tmp_path / "cut.npz").write_bytes(good.read_bytes()[:200])
        (tmp_path / "empty.npz").write_bytes(b"")
        np.save(tmp_path / "one.npy", np.zeros(3))
        np.savez(tmp_path / "objects.npz", train=np.array([{}]), train_length=np.array([1]))
        for name in ("text.npz", "cut.npz", "empty.npz", "one.npy", "objects.npz"):
            with pytest.raises(ValueError, match=f"{name}: this is no .npz file of numbers"):
                music.read(tmp_path / name)
        with pytest.raises(FileNotFoundError):
            music.read(tmp_path / "absent.npz")

    def test_a_batch_predicts_every_frame_but_the_first(self):
        frames = music.pad(rolls())
        assert frames.inputs.shape == frames.targets.shape == (3, 8, 88)
        assert frames.lengths.tolist() == [4, 1, 8]
        for row, piece in enumerate(rolls()):
            real = len(piece) - 1
            assert torch.equal(frames.inputs[row, :real], piece[:-1].float())
            assert torch.equal(frames.targets[row, :real], piece[1:].float())
        with pytest.raises(ValueError, match="a piece has 1 frames"):
            music.pad([torch.zeros(1, 88, dtype=torch.bool)])

    def test_the_loss_is_that_of_a_loop_over_frames_and_keys(self):
        frames = music.pad(rolls())
        logits = torch.randn(3, 8, 88, generator=seeded())
        total = 0.0
        for row, piece in enumerate(rolls()):
            for time, wanted in enumerate(piece[1:]):
                for key, down in enumerate(wanted):
                    chance = 1 / (1 + math.exp(-logits[row, time, key]))
                    total -= math.log(chance if down else 1 - chance)
        assert music.loss_sum(logits, frames).item() == pytest.approx(total, rel=1e-5)
        assert music.loss(logits, frames).item() == pytest.approx(total / 13, rel=1e-5)
        # Knowing nothing costs a bit a key.
        assert music.loss(logits * 0, frames).item() == pytest.approx(88 * math.log(2), rel=1e-5)

    def test_padding_counts_for_nothing_even_if_it_is_not_a_number(self):
        frames = music.pad(rolls())
        logits = torch.randn(3, 8, 88, generator=seeded())
        wanted = music.loss(logits, frames)
        logits[1, 1:] = math.nan
        assert torch.equal(music.loss(logits, frames), wanted)
        logits.requires_grad_()
        music.loss(logits, frames).backward()
        assert logits.grad[1, 1:].eq(0).all()
        assert logits.grad.isfinite().all()

    def test_stretches_are_drawn_by_the_generator_alone(self):
        first, again, other = (music.draw(rolls(), 30, 3, seeded(seed)) for seed in (3, 3, 4))
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
        assert not torch.equal(first.inputs, other.inputs)
        assert set(first.lengths.tolist()) == {1, 3}
        places = set()
        for inputs, targets, real in zip(*first, strict=True):
            stretch = torch.cat([inputs[:1], targets[:real]]).bool()
            found = [
                (number, start)
                for number, piece in enumerate(rolls())
                for start in range(len(piece) - len(stretch) + 1)
                if torch.equal(piece[start : start + len(stretch)], stretch)
            ]
            places.add(found[0])
        # Of pieces of 5, 2 and 9 frames, 2, 1 and 6 stretches of 4 or of all there are.
        assert len(places) > 6
        with pytest.raises(ValueError, match="length is 0"):
            music.draw(rolls(), 1, 0, seeded())

    def test_the_picture_is_right(self):
        keys = [int(key) for key in pictured(music, "key")[:4]]
        piece = torch.zeros(3, 88, dtype=torch.bool)
        for time in range(3):
            piece[time, keys] = torch.tensor(
                [down == "1" for down in pictured(music, f"frame {time}")[:4]]
            )
        frames = music.pad([piece])
        assert pictured(music, "frame 1")[4:] == ["wanted", "after", "frame", "0"]
        assert frames.targets[0, 0, keys].tolist() == [1, 1, 1, 0]
        assert frames.targets[0, 1, keys].tolist() == [1, 1, 1, 1]
        assert frames.lengths.tolist() == [2]
        assert 39 + 21 == 60  # MIDI's C in the middle
