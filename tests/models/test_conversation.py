"""The network that classifies texts in the light of their conversation, against its definition."""

import pytest
import torch

from statewise import state
from statewise.models.conversation import ConversationConfig, ConversationModel
from statewise.models.ensemble import Ensemble
from statewise.models.pretrained import kind_of
from statewise.models.spelling import Vocabulary
from tests.models.test_labelling import encoder_config

TALKS = [
    ["Where is my card?", "Which one?", "yes"],
    ["hello there"],
    [],
    ["Hi", "", "it has not come", "I see", "well, yes"],
]
LABELS = ["answer", "greeting", "question"]


def model(seed=0, output="crf", lexicon=None, **options):
    """A model that has learned nothing, with weights large enough to disagree with itself."""
    torch.manual_seed(seed)
    reading = {"hidden": 5, "dropout": 0.0, **options.pop("conversation", {})}
    config = ConversationConfig.model_validate(
        {
            "encoder": encoder_config(),
            "labels": LABELS,
            "output": output,
            "conversation": reading,
            **options,
        }
    )
    words = [text.split() for talk in TALKS for text in talk]
    made = ConversationModel(config, Vocabulary.of(words).with_lexicon(lexicon or {}))
    with torch.no_grad():
        for parameter in (made.head.weight, *(made.crf.parameters() if made.crf else ())):
            parameter.copy_(3 * torch.randn_like(parameter))
    return made.eval()


def batch(made, talks):
    read = [made.read(talk) for talk in talks]
    return made.spell(read).batch(range(len(talks)))


OPTIONS = {
    "crf": {},
    "softmax": {"output": "softmax"},
    "from the left": {"conversation": {"both_ways": False}},
    "two layers, residual": {
        "conversation": {"depth": 2, "wiring": "residual", "hidden": 8, "mixer": "gru"},
        "pooling": ["last", "mean"],
    },
    "a lexicon": {"lexicon": {"card": [1.0], "yes": [-1.0]}, "condition": "concatenation"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_features_of_a_text_are_those_of_its_vectors_in_their_order(options):
    made = model(**options)
    together = made.features(batch(made, TALKS))
    assert together.shape == (4, 5, made.conversation.out)
    for row, talk in enumerate(TALKS):
        # Each text by itself, and then each conversation by itself.
        vectors = [made._vectors(batch(made, [[text]]).texts)[0] for text in talk]
        assert (together[row, len(talk) :] == 0).all()
        if vectors:
            x = torch.stack(vectors)[None]
            y = made.conversation.read(x, torch.tensor([len(talk)]))
            torch.testing.assert_close(together[row, : len(talk)], y[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("output", ["crf", "softmax"])
def test_the_cost_is_that_of_what_is_answered(output):
    made = model(output=output)
    targets = torch.randint(3, (4, 5), generator=torch.Generator().manual_seed(0))
    cost = made.loss(batch(made, TALKS), targets)
    expected = torch.zeros(())
    for talk, wanted in zip(TALKS, targets, strict=True):
        if not talk:
            continue
        emissions = made.scores(made.features(batch(made, [talk])))
        if output == "crf":
            expected = expected + made.crf(emissions, wanted[None, : len(talk)])[0]
        else:
            chosen = emissions[0].log_softmax(1)[range(len(talk)), wanted[: len(talk)]]
            expected = expected - chosen.sum()
    torch.testing.assert_close(cost, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_conversation_is_classified_alike_whatever_stands_beside_it(options):
    made = model(**options)
    labels, chances = made.predict(TALKS), made.predict_proba(TALKS)
    assert [len(found) for found in labels] == [len(talk) for talk in TALKS]
    for talk, found, sure in zip(TALKS, labels, chances, strict=True):
        assert made.predict([talk]) == [found]
        assert sure.shape == (len(talk), 3)
        torch.testing.assert_close(made.predict_proba([talk])[0], sure, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(sure.sum(1), torch.ones(len(talk)))
    assert made.predict([]) == []


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_it_is_saved_and_loaded(tmp_path, options):
    made = model(**options)
    made.save_pretrained(tmp_path)
    assert kind_of(tmp_path) == "conversation_classifier"
    again = ConversationModel.from_pretrained(tmp_path)
    assert again.config == made.config
    for one, two in zip(made.predict_proba(TALKS), again.predict_proba(TALKS), strict=True):
        assert torch.equal(one, two)


def test_every_parameter_learns():
    made = model(lexicon={"card": [1.0]}, condition="gate").train()
    made.loss(batch(made, TALKS), torch.zeros(4, 5, dtype=torch.int64)).backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


LEFT = {"conversation": {"both_ways": False, "mixer": "gru"}}
LONG = [text or "well" for talk in TALKS for text in talk]


@pytest.mark.parametrize("output", ["crf", "softmax"])
@pytest.mark.parametrize("cuts", [[], [1], [3, 3, 7], list(range(1, 9))])
def test_a_stream_in_pieces_says_what_is_said_of_the_whole(output, cuts):
    for seed in range(3):
        made = model(seed, output, **LEFT)
        now, labels = made.initial_state(), []
        for begin, end in zip([0, *cuts], [*cuts, len(LONG)], strict=True):
            more, now = made.stream(LONG[begin:end], now, lag=len(LONG))
            labels += more
        more, _ = made.stream([], now, ended=True, lag=len(LONG))
        assert tuple(labels + more) == made.predict([LONG])[0]


def test_a_stream_answers_as_soon_as_it_may_and_its_state_is_a_value(tmp_path):
    made = model(**LEFT)
    labels, now = made.stream(LONG[:4], made.initial_state(), lag=2)
    assert len(labels) == 2
    state.save(tmp_path / "now", now)
    kept = state.load(tmp_path / "now", like=now)
    assert made.stream(LONG[4:], now, ended=True)[0] == made.stream(LONG[4:], kept, ended=True)[0]
    # Each model's stream begins anew after its end.
    _, after = made.stream(LONG[4:], now, ended=True)
    assert made.stream(LONG[:4], after, lag=2)[0] == labels
    plain = model(output="softmax", **LEFT)
    assert [text for text, _ in plain.tell(LONG)] == LONG
    assert tuple(label for _, label in plain.tell(LONG)) == plain.predict([LONG])[0]


@pytest.mark.parametrize("reading", [{}, {"both_ways": False, "context": True}])
def test_what_reads_the_end_first_has_no_stream(reading):
    with pytest.raises(ValueError, match=r"train with --conversation\.both_ways false"):
        model(conversation=reading).initial_state()


@pytest.mark.parametrize(
    ("talks", "why"),
    [
        (["hello"], "conversation 1 is a string; a conversation is a list of texts"),
        ([["a"], [["b", ""]]], "conversation 2: word 2 of sentence 1 is ''"),
        ([[["a", 3]]], "conversation 1: word 2 of sentence 1 is 3"),
    ],
)
def test_what_is_no_conversation_is_refused(talks, why):
    with pytest.raises(ValueError, match=why):
        model().predict(talks)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"conversation": {"mixer": "lstmm"}}, "there is no mixer 'lstmm'; did you mean 'lstm'"),
        ({"conversation": {"deep": 2}}, "a reading has no field 'deep'; did you mean 'depth'"),
        ({"condition": "gate"}, "needs a lexicon"),
    ],
)
def test_what_cannot_be_built_is_refused(options, why):
    with pytest.raises(ValueError, match=why):
        model(**options)


def test_rows_hold_every_conversation_once_and_no_more_than_asked():
    made = model()
    spelling = made.spell([made.read(talk) for talk in TALKS * 5])
    for most in (1, 12, 40, 1000):
        rows = list(spelling.rows(most))
        assert sorted(at for some in rows for at in some) == list(range(20))
        for some in rows:
            made_batch = spelling.batch(some)
            padded = made_batch.texts.places.shape[1] * len(some) * int(made_batch.lengths.max())
            assert len(some) == 1 or padded <= most


def test_several_are_asked_together():
    one, two = model(0, "softmax"), model(1, "softmax")
    both = Ensemble([one, two]).predict_proba(TALKS)
    for mine, its, mean in zip(*(m.predict_proba(TALKS) for m in (one, two)), both, strict=True):
        torch.testing.assert_close(mean, (mine + its) / 2)
