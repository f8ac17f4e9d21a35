"""Whether a graph is a tree: the answers, the walk, and what the graphs are."""

from itertools import pairwise

import pytest
import torch

from statewise.tasks import examples, is_tree
from statewise.tasks.is_tree import IsTree

TASKS = {"at once": IsTree(), "with a walk": IsTree(walk=True), "small": IsTree(5, walk=True)}


PICTURE = (is_tree.__doc__ or "").split("\n\n")[2]


def drawn(task, nodes=8, batch=60, seed=0):
    nodes = min(nodes, task.nodes)
    return task.draw(batch, task.tokens(nodes), torch.Generator().manual_seed(seed))


@pytest.fixture(params=TASKS)
def task(request):
    return TASKS[request.param]


def edges(task, row):
    """The edges written in a row, each as a set."""
    tokens = row[: row.index(task.vocab - 1)]
    return {frozenset(pair) for pair in zip(tokens[::2], tokens[1::2], strict=True)}


def answers(batch):
    """What is asked for in each row, in its order, and the tokens of the row."""
    for tokens, targets, mask in zip(*batch[:3], strict=True):
        yield targets[mask].tolist(), tokens.tolist()


def joined(edges):
    """Whether all nodes hang together, by merging sets: another way than a walk."""
    parts = [set(edge) for edge in edges]
    merged = []
    while parts:
        part = parts.pop()
        near = [other for other in parts if other & part]
        if near:
            parts = [other for other in parts if not other & part] + [part.union(*near)]
        else:
            merged.append(part)
    return len(merged) == 1


@pytest.mark.parametrize("more", [0, 1, 9])
def test_the_solver_is_always_right_and_a_change_is_seen(task, more):
    generator = torch.Generator().manual_seed(0)
    batch = task.draw(30, task.tokens(5) + more, generator)
    answers = torch.tensor([task.solve(row) for row in batch.tokens.tolist()])
    assert examples.accuracy(answers, batch) == 1.0
    row, time = batch.mask.nonzero()[-1].tolist()
    answers[row, time] = (answers[row, time] + 1) % task.vocab
    assert examples.accuracy(answers, batch) < 1.0


def test_a_tree_is_what_hangs_together_with_one_edge_less_than_nodes(task):
    batch = drawn(task, batch=200)
    nodes = min(8, task.nodes)
    trees = 0
    for (*_, last), row in answers(batch):
        found = edges(task, row)
        assert len(found) == nodes - 1
        assert set().union(*found) == set(range(nodes))
        assert (task.symbols[last] == "yes") == joined(found)
        trees += joined(found)
    assert 70 < trees < 130


def test_steps_of_the_walk_are_edges_and_a_tree_has_all_both_ways():
    task = TASKS["with a walk"]
    for (*walk, answer), row in answers(drawn(task)):
        steps = list(pairwise(walk))
        assert walk[0] == walk[-1] == 0
        assert len(set(steps)) == len(steps)
        assert {frozenset(step) for step in steps} <= edges(task, row)
        assert (len(steps) == 14) == (task.symbols[answer] == "yes")
        # What is asked for is what stands next, but for the answer.
        asked = row.index(task.vocab - 1)
        assert row[asked + 1 : asked + 1 + len(walk)] == walk


def test_they_are_tasks_within_their_vocabulary(task):
    assert isinstance(task, IsTree)
    assert isinstance(task, examples.Task)
    batch = drawn(task, nodes=12, batch=300)
    assert {tuple(part.shape) for part in batch if part is not None} == {batch.tokens.shape}
    assert 0 <= int(batch.tokens.min()) <= int(batch.tokens.max()) < task.vocab
    assert len(batch.targets[batch.mask].unique()) == task.answers
    assert len(task.symbols) == task.vocab


def test_the_generator_alone_decides(task):
    first, again, other = (drawn(task, seed=seed) for seed in (3, 3, 4))
    for one, two in zip(first[:3], again[:3], strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(first.tokens, other.tokens)


def test_the_picture_is_an_example():
    short, long = (line.split()[1:] for line in PICTURE.splitlines()[:2])
    for task, end in ((TASKS["at once"], short), (TASKS["with a walk"], long)):
        row = [task.symbols.index(word) for word in end]
        asked = row.index(task.vocab - 1)
        found = [task.symbols[answer] for answer in task.solve([*row, 0])[asked:]]
        assert found[: len(end) - asked] == [*end[asked + 1 :], "yes"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: IsTree(4), "nodes is 4"),
        (lambda: IsTree().draw(1, 16, torch.Generator()), "5 nodes need 17"),
    ],
)
def test_what_cannot_be_is_refused_in_words(call, words):
    with pytest.raises(ValueError, match=words):
        call()
