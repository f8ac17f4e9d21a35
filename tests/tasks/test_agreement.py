"""Agreement: each verb has the number of its own noun, in both orders."""

import pytest
import torch

from statewise.tasks import examples
from statewise.tasks.agreement import Agreement


@pytest.mark.parametrize("order", ["nested", "crossing"])
@pytest.mark.parametrize("length", [6, 7, 12])
def test_the_solver_is_always_right(order, length):
    task = Agreement(order, nouns=2, shallowest=2)
    batch = task.draw(60, length, torch.Generator().manual_seed(0))
    answers = torch.tensor([task.solve(row) for row in batch.tokens.tolist()])
    assert examples.accuracy(answers, batch) == 1.0
    other = Agreement("crossing" if order == "nested" else "nested", nouns=2)
    answers = torch.tensor([other.solve(row) for row in batch.tokens.tolist()])
    assert examples.accuracy(answers, batch) < 0.9


def test_verbs_agree_with_their_own_nouns():
    nested, crossing = Agreement(nouns=1), Agreement("crossing", nouns=1)
    key, dogs, verb = range(3)
    sentence = [key, key, dogs, verb, verb, verb]
    assert nested.solve(sentence)[2:5] == [1, 0, 0]
    assert crossing.solve(sentence)[2:5] == [0, 0, 1]
    batch = Agreement(shallowest=2).draw(300, 8, torch.Generator().manual_seed(0))
    assert batch.difficulty[:, 0].unique().tolist() == [2, 3, 4]
    assert torch.equal(batch.mask.sum(1), batch.difficulty[:, 0])
    with pytest.raises(ValueError, match="2 nouns and verbs need more"):
        Agreement(shallowest=2).draw(1, 3, torch.Generator())
    with pytest.raises(ValueError, match="both are 1 or more"):
        Agreement(nouns=0)
