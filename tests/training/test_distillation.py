import pytest
import torch

from statewise.tasks import examples
from statewise.tasks.passages import Passages
from statewise.training.distillation import believed, divergence
from statewise.training.language import train_language_model
from tests.training.test_loop import configuration


def test_the_divergence_by_its_formula():
    torch.manual_seed(0)
    mine, theirs = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    where = torch.tensor([[True, False, True], [True, True, False]])
    expected = 0.0
    for b in range(2):
        for t in range(3):
            if where[b, t]:
                p = (theirs[b, t] / 3).softmax(-1)
                q = (mine[b, t] / 3).softmax(-1)
                expected += 9 * float((p * (p / q).log()).sum())
    assert divergence(mine, theirs, where, temperature=3.0).item() == pytest.approx(expected)
    assert divergence(mine, mine, where).item() == pytest.approx(0.0, abs=1e-6)


def test_only_the_learner_has_a_gradient():
    mine, theirs = (torch.randn(1, 2, 3, requires_grad=True) for _ in range(2))
    divergence(mine, theirs, torch.ones(1, 2, dtype=torch.bool)).backward()
    assert theirs.grad is None
    # of temperature 1 it is that of cross entropy with soft targets
    torch.testing.assert_close(mine.grad, (mine.softmax(-1) - theirs.softmax(-1)).detach())


def test_a_loss_of_examples_is_partly_the_teachers():
    drawn = Passages(torch.arange(40) % 5, 5).draw(3, 6, torch.Generator().manual_seed(0))
    logits, told = torch.randn(2, 3, 6, 5)
    own, apart = examples.loss(logits, drawn), divergence(logits, told, drawn.mask, temperature=3.0)
    loss = believed(lambda tokens: (told, tokens), weight=0.25, temperature=3.0)
    torch.testing.assert_close(loss(logits, drawn), 0.75 * own + 0.25 * apart / 18)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return train_language_model(
        configuration(tmp_path_factory.mktemp("teacher"), mixer="lstm", max_steps=60)
    )


def test_a_run_learns_from_a_teacher_alone(tmp_path, teacher):
    """With all the weight on the teacher no target is ever read."""
    wanted = {"teacher": str(teacher.folder), "weight": 1.0, "temperature": 1.0}
    learner = train_language_model(configuration(tmp_path, max_steps=60, distillation=wanted))
    assert learner.bits_per_byte < teacher.bits_per_byte + 1.0


def test_a_teacher_of_other_words_is_refused(tmp_path, teacher):
    from tokenizers import Tokenizer, models

    Tokenizer(models.BPE({"a": 0, "b": 1}, [])).save(str(tmp_path / "tokens.json"))
    config = configuration(tmp_path, distillation={"teacher": str(teacher.folder)})
    config.data.tokenizer = str(tmp_path / "tokens.json")
    (tmp_path / "text").write_text("ab" * 500)
    with pytest.raises(ValueError, match="speaks 256 tokens, and this run 2"):
        train_language_model(config)
    missing = configuration(tmp_path, distillation={"teacher": str(tmp_path / "nobody")})
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        train_language_model(missing)
