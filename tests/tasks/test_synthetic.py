"""The synthetic tasks: exact, repeatable, and as their pictures show them."""

import pytest
import torch

from statewise.tasks import (
    associative_recall,
    examples,
    group_words,
    modular_counting,
    parity,
)

TASKS = {
    "parity": parity.Parity(),
    "counting": modular_counting.ModularCounting(),
    "counting, 5": modular_counting.ModularCounting(5),
    "S3": group_words.GroupWords(),
    "S4": group_words.GroupWords(4),
    "recall": associative_recall.AssociativeRecall(),
    "recall, few": associative_recall.AssociativeRecall(keys=9, answers=2),
}
PICTURED = {parity: "parity", modular_counting: "counting", group_words: "S3"}


def drawn(task, length=33, seed=0, batch=40):
    return task.draw(batch, length, torch.Generator().manual_seed(seed))


@pytest.fixture(params=TASKS)
def task(request):
    return TASKS[request.param]


@pytest.mark.parametrize("length", [4, 5, 31, 39])
def test_the_solver_is_always_right_and_a_change_is_seen(task, length):
    batch = drawn(task, length)
    answers = torch.tensor([task.solve(row) for row in batch.tokens.tolist()])
    assert examples.accuracy(answers, batch) == 1.0
    answers[0, -1] = (answers[0, -1] + 1) % task.vocab
    assert examples.accuracy(answers, batch) < 1.0


def test_it_is_a_task_within_its_vocabulary(task):
    assert isinstance(task, examples.Task)
    batch = drawn(task)
    assert {tuple(part.shape) for part in batch} == {(40, 33)}
    assert int(batch.tokens.min()) >= 0
    assert int(batch.tokens.max()) < task.vocab
    wanted = batch.targets[batch.mask]
    assert len(wanted.unique()) == task.answers <= task.vocab


def test_the_generator_alone_decides(task):
    before = torch.random.get_rng_state()
    first, again, other = (drawn(task, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.tokens, other.tokens)


def test_everything_counts_but_what_is_no_question(task):
    mask = drawn(task).mask
    if isinstance(task, associative_recall.AssociativeRecall):
        assert torch.equal(mask, (torch.arange(33) >= 16).expand(40, 33))
    else:
        assert mask.all()


def test_recall_asks_only_what_it_told_and_each_key_once():
    task = TASKS["recall"]
    for row in drawn(task).tokens.tolist():
        keys, values, asked = row[:16:2], row[1:16:2], row[16:]
        assert len(set(keys)) == 8
        assert set(asked) <= set(keys) <= set(range(task.keys))
        assert set(values) <= set(range(task.keys, task.vocab))


def test_the_loss_is_of_what_counts():
    batch = drawn(TASKS["recall"])
    logits = torch.full((*batch.tokens.shape, TASKS["recall"].vocab), -50.0)
    logits.scatter_(2, batch.targets[..., None], 50.0)
    logits[:, :16] = 0
    assert examples.loss(logits, batch).item() == 0
    logits[0, 16] = 0
    assert examples.loss(logits, batch).item() > 0


def picture(module, word):
    """Return the symbols behind a word in the picture that a docstring is."""
    [line] = [row for row in module.__doc__.splitlines() if row.startswith(word)]
    return line.removeprefix(word).split()


@pytest.mark.parametrize("module", PICTURED, ids=lambda module: module.__name__.split(".")[-1])
def test_the_picture_is_right(module):
    task = TASKS[PICTURED[module]]
    tokens = [int(token) for token in picture(module, "tokens")]
    assert [int(word) for word in picture(module, "targets")[: len(tokens)]] == task.solve(tokens)


def test_the_picture_of_the_group_is_right():
    elements = TASKS["S3"].elements
    words = ["".join(map(str, element)) for element in elements]
    assert picture(group_words, "elements")[1:12:2] == words
    answers = TASKS["S3"].solve([1, 3, 5, 1])
    assert group_words.__doc__.split("as such")[2].split()[:4] == [words[a] for a in answers]


def test_the_picture_of_recall_is_right():
    shown = picture(associative_recall, "tokens")
    values = dict(zip(shown[:6:2], shown[1:6:2], strict=True))
    expected = ["."] * 6 + [values[key] for key in shown[6:]]
    assert picture(associative_recall, "targets")[:12] == expected


@pytest.mark.parametrize("length", [3, 40])
def test_recall_refuses_lengths_without_pairs_or_keys(length):
    with pytest.raises(ValueError, match=f"from 4 to 39 tokens, not {length}"):
        drawn(TASKS["recall, few"], length)


def test_a_modulus_of_one_counts_nothing():
    with pytest.raises(ValueError, match="modulus of 2 or more, not 1"):
        modular_counting.ModularCounting(1)
