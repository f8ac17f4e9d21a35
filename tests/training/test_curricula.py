import pytest
import torch

from statewise.analysis.learning import minimize
from statewise.models.language_model import LanguageModel, LanguageModelConfig
from statewise.tasks.delayed_match import DelayedMatch
from statewise.tasks.n_parity import NParity
from statewise.training.curricula import Curriculum


def course(heads, levels=(2, 3, 4), **options):
    torch.manual_seed(0)
    body = LanguageModel(LanguageModelConfig(vocab=2, dim=16, depth=1, mixer="lstm", tie=False))
    return Curriculum(body, NParity, levels, heads=heads, **options)


@pytest.mark.parametrize("heads", ["single", "multi"])
def test_the_cost_is_that_of_the_heads_in_training(heads):
    one = course(heads)
    one.at = 1
    assert one.trained() == ([3] if heads == "single" else [2, 3])
    generator = torch.Generator().manual_seed(0)
    tokens = NParity(3).draw(64, 10, generator).tokens
    features, _ = one.body.features(tokens)
    expected = 0.0
    for level in one.trained():
        logits = one.heads[level - 2](features)[:, level - 1 :]
        targets = NParity(level).targets(tokens)[:, level - 1 :]
        expected += torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    torch.testing.assert_close(one(length=10), expected)


@pytest.mark.parametrize("heads", ["single", "multi"])
def test_it_goes_on_when_a_level_is_learned(heads, monkeypatch):
    one = course(heads, threshold=0.9)
    right = iter([1.0] * 22 + [0.0] * 50)
    monkeypatch.setattr(Curriculum, "_accuracy", lambda *_: next(right))
    for _ in range(60):
        one(length=6, batch=2)
    assert one.learned == {2: 22}  # 1 - 0.9 ** 22 is the first above 0.9
    assert one.level == 3


def test_levels_end_with_the_last(monkeypatch):
    one = course("multi", levels=(2, 5), threshold=0.5)
    monkeypatch.setattr(Curriculum, "_accuracy", lambda *_: 1.0)
    for _ in range(30):
        one(length=6, batch=2)
    assert list(one.learned) == [2, 5]
    assert one.trained() == [2, 5]


def test_a_model_learns_level_by_level():
    one = course("multi", levels=(1, 2), threshold=0.95)
    minimize(one, lambda _: one(length=8), steps=400, learning_rate=1e-2)
    assert list(one.learned) == [1, 2]
    assert one.accuracy(1, length=8) > 0.95
    assert one.accuracy(2, length=8) > 0.9


def test_another_task_of_levels_will_do():
    body = LanguageModel(LanguageModelConfig(vocab=2, dim=8, depth=1, tie=False))
    one = Curriculum(body, DelayedMatch, [2, 3], heads="single")
    assert one(length=5).isfinite()


def test_what_is_no_course_is_refused():
    with pytest.raises(ValueError, match="a curriculum needs a level"):
        course("single", levels=())
    with pytest.raises(ValueError, match=r"not 1.5"):
        course("single", threshold=1.5)
