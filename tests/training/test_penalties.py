import pytest
import torch

from statewise.models.language_model import LanguageModel, LanguageModelConfig
from statewise.tasks.language import Streams, loss_sum
from statewise.training.language import train_language_model
from statewise.training.penalties import answers, drift, last_memory, loudness, penalized
from tests.training.test_loop import PROSE, apart, configuration, first_gradient


def test_both_by_their_loops():
    torch.manual_seed(0)
    h = torch.randn(3, 5, 4, dtype=torch.float64)
    where = torch.rand(3, 5) < 0.7
    loud = moved = chosen = 0.0
    for b in range(3):
        for t in range(5):
            loud += sum(x * x for x in h[b, t].tolist()) / 4
            if t:
                step = sum((x - y) ** 2 for x, y in zip(h[b, t], h[b, t - 1], strict=True)) / 4
                moved += step
                chosen += step * where[b, t]
    assert loudness(h).item() == pytest.approx(loud)
    assert drift(h).item() == pytest.approx(float(moved))
    assert drift(h, where).item() == pytest.approx(float(chosen))
    assert chosen < moved


def test_a_memory_that_stays_costs_nothing():
    h = torch.randn(2, 1, 3).expand(2, 6, 3)
    assert drift(h).item() == 0.0
    assert drift(torch.randn(2, 1, 3)).item() == 0.0
    assert loudness(torch.zeros(2, 0, 3)).item() == 0.0


@pytest.mark.parametrize(
    ("mixer", "kind"),
    [("lstm", "LSTM"), ({"branches": ["gru", "feed_forward", "short_convolution"]}, "ShortConv")],
)
def test_it_listens_to_the_last_mixer_with_a_memory(mixer, kind):
    model = LanguageModel(LanguageModelConfig(dim=8, depth=2, mixer=mixer))
    assert type(last_memory(model)).__name__.startswith(kind)
    with answers(model) as heard:
        model(torch.randint(256, (2, 5)))
    (h,) = heard
    assert h.shape == (2, 5, 8)
    model(torch.randint(256, (2, 5)))
    assert len(heard) == 1  # it has stopped listening


def test_the_cost_is_of_the_last_answers_alone():
    torch.manual_seed(0)
    model = LanguageModel(LanguageModelConfig(dim=8, depth=1, mixer="gru"))
    texts = torch.randint(256, (2, 3, 5))
    with penalized(model, 2.0, 3.0) as cost:
        for text in texts:
            model(text)
        found = cost()
    with answers(model) as heard:
        model(texts[1])
    expected = (2.0 * loudness(heard[0]) + 3.0 * drift(heard[0])) / 15
    torch.testing.assert_close(found, expected)
    found.backward()
    assert model.embedding.weight.grad is not None


def test_a_model_without_a_memory_is_refused(tmp_path):
    config = configuration(tmp_path, mixer={"branches": ["feed_forward"]}, penalties={"drift": 1.0})
    with pytest.raises(ValueError, match="this model has none"):
        train_language_model(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("truncation", [None, 8])
def test_the_loop_lowers_loss_and_penalties_per_token(tmp_path, truncation):
    config = configuration(tmp_path, max_steps=1, mixer="lstm")
    torch.manual_seed(config.seed)
    model = LanguageModel(LanguageModelConfig.from_preset("tiny", mixer="lstm"))
    text = torch.tensor(list(PROSE.encode())[: -len(PROSE) // 10])
    batch = Streams([text], streams=2, context=32).batch(0)
    with answers(model) as heard:
        logits, _ = model(batch.inputs, reset=batch.reset)
    cost = loss_sum(logits, batch.targets) + 2.0 * loudness(heard[0])
    (cost / batch.inputs.numel()).backward()
    expected = torch.cat([p.grad.flatten() for p in model.parameters()])
    shape = {"mixer": "lstm", "penalties": {"loudness": 2.0}}
    found = first_gradient(tmp_path / "a", truncation=truncation, **shape)
    plain = first_gradient(tmp_path / "b", truncation=truncation, mixer="lstm")
    if truncation is None:
        assert apart(found, expected) < 1e-5
    assert apart(found, plain) > 1e-3


def test_the_beginning_of_a_document_has_not_moved(tmp_path):
    """Of documents of one token nothing ever moves."""
    runs = {}
    for weight in (0.0, 5.0):
        config = configuration(tmp_path / str(weight), max_steps=1, penalties={"drift": weight})
        config.data.separator = "\x01"
        letters = "\x01".join("abcdefghij" * 60)
        (tmp_path / str(weight) / "text").write_text(letters)
        runs[weight] = train_language_model(config).model.state_dict()
    assert all(torch.equal(runs[0.0][k], runs[5.0][k]) for k in runs[0.0])
