import pytest

from statewise.training.epochs import Epochs

LENGTHS = [3, 9, 1, 4, 4, 4, 30, 2, 8, 8, 5]


def test_every_epoch_holds_each_example_once():
    epochs = Epochs(LENGTHS, 4, seed=0)
    assert epochs.steps == 3
    for epoch in range(4):
        rows = [at for step in range(3) for at in epochs.rows(3 * epoch + step)]
        assert sorted(rows) == list(range(len(LENGTHS)))


def test_a_step_depends_on_its_number_alone():
    one, other = Epochs(LENGTHS, 4, seed=1), Epochs(LENGTHS, 4, seed=1)
    before = [one.rows(step) for step in range(9)]
    assert [other.rows(step) for step in reversed(range(9))] == before[::-1]
    assert [Epochs(LENGTHS, 4, seed=2).rows(step) for step in range(9)] != before


def test_epochs_differ_and_batches_are_of_about_one_length():
    lengths = [1 + at % 40 for at in range(400)]
    epochs = Epochs(lengths, 10, seed=0)
    first = [epochs.rows(step) for step in range(40)]
    assert first != [epochs.rows(step) for step in range(40, 80)]
    for rows in first:
        found = [lengths[at] for at in rows]
        assert max(found) + 1 <= 1.5 * (min(found) + 1)
    # Short ones are not first.
    assert [lengths[rows[0]] for rows in first] != sorted(lengths[rows[0]] for rows in first)


def test_no_examples_are_refused():
    with pytest.raises(ValueError, match="no examples"):
        Epochs([], 4, seed=0)
