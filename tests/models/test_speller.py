"""A speller: its cost and what it writes against the equations, and copies of unknown letters."""

import pytest
import torch

from statewise.models.sentence_encoder import EncoderConfig
from statewise.models.speller import MOST, SPAN, SpellerConfig, SpellingModel
from statewise.models.spelling import Vocabulary
from statewise.models.word_encoder import WordConfig

SENTENCES = [["Two", "mice", "ran"], ["A", "mouse"], ["she", "has", "gone", "home"]]
LETTERS = list("abeghimnorsuw")
WORDS = WordConfig(dim=4, minimum=1, characters=None, grams=0)


def speller(seed=0):
    torch.manual_seed(seed)
    config = SpellerConfig(
        encoder=EncoderConfig(words=WORDS, hidden=3, dropout=0.0),
        labels=LETTERS,
        writing={"letters": 4, "hidden": 3},
    )
    model = SpellingModel(config, Vocabulary.of(SENTENCES)).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return model


def numbers(word):
    return [LETTERS.index(letter) for letter in word] + [len(LETTERS)]


def chances(model, word, feature, written):
    """Return the chance of every number after what was written, by a loop over the equations."""
    types = model.vocabulary.spell([[word]], buckets=0).types
    keys = model.reader(model.seen(types.characters[:, 1:-1]))[0]
    context, state = model.enter(feature), model.writer.initial_state(1)
    for last in [len(LETTERS), *(min(n, len(LETTERS) + 1) for n in written)]:
        read = torch.cat([model.written(torch.tensor(last)), context])
        s, state = model.writer.resume(read[None, None], state)
    s, at = s[0, 0], len(written)
    places = [max(-SPAN, min(SPAN, place - at)) + SPAN for place in range(len(word))]
    looks = torch.softmax(
        torch.stack([key @ model.look(s) for key in keys]) + model.place[places], 0
    )
    o = torch.cat([s, (looks[:, None] * keys).sum(0)])
    g = torch.sigmoid(model.gate(o))
    p = (1 - g) * torch.softmax(model.head(torch.tanh(model.join(o))), 0)
    copies = torch.zeros(len(word), dtype=p.dtype)
    for place, letter in enumerate(word):
        if letter in LETTERS:
            p = p + g * looks[place] * torch.eye(len(p))[LETTERS.index(letter)]
        else:
            copies[place] = g * looks[place]
    assert types.lengths[0] == len(word) + 2
    return torch.cat([p, copies])


@torch.no_grad()
def test_the_cost_is_that_of_the_equations():
    model = speller()
    batch = model.vocabulary.spell(SENTENCES, buckets=0).batch([0, 1, 2])
    x = model.features(batch)
    wanted = ["two", "mouse", "run", "a", "mouse", "she", "has", "gooooooooo", "home"]
    wanted = [word.replace("t", "").replace("l", "") for word in wanted]
    targets = torch.full((9, 12), -1)
    total, row = 0.0, 0
    for sentence, words in enumerate(SENTENCES):
        for place, word in enumerate(words):
            if row != 3:  # It is not known.
                right = numbers(wanted[row])
                targets[row, : len(right)] = torch.tensor(right)
                for at, number in enumerate(right):
                    p = chances(model, word, x[sentence, place], right[:at])
                    torch.testing.assert_close(p.sum(), p.new_ones(()))
                    total -= p[number].log()
            row += 1
    torch.testing.assert_close(model.cost(x, batch, targets), total)
    assert model.cost(x, batch, torch.full((9, 12), -1)) == 0


@torch.no_grad()
def test_it_writes_the_likeliest_letter_again_and_again():
    model = speller(1)
    with torch.no_grad():
        model.head.bias[len(LETTERS)] += 2
    batch = model.vocabulary.spell(SENTENCES, buckets=0).batch([0, 1, 2])
    x = model.features(batch)
    found = model.best(x, batch)
    sure = model.chances(x, batch)
    end = len(LETTERS)
    lengths = set()
    for sentence, words in enumerate(SENTENCES):
        for place, word in enumerate(words):
            written, chance = [], 1.0
            while len(written) < 2 * len(word) + MOST:
                p, number = chances(model, word, x[sentence, place], written).max(0)
                chance = chance * p
                if number == end:
                    break
                written.append(int(number))
            shown = [n if n < end else n - 1 for n in written]
            assert found[sentence][place] == shown
            torch.testing.assert_close(sure[sentence][place, 0], chance.float(), rtol=1e-5, atol=0)
            lengths.add(len(written) == 2 * len(word) + MOST)
    # Words that come to an end and words that are cut off were both seen.
    assert lengths == {True, False}


def test_what_it_writes_does_not_depend_on_the_others():
    model = speller(2).float()
    alone = [model.predict([words])[0] for words in SENTENCES]
    assert model.predict([*SENTENCES, []]) == [*alone, ()]
    alone = [model.predict_proba([words])[0] for words in SENTENCES]
    for one, other in zip(model.predict_proba(SENTENCES), alone, strict=True):
        torch.testing.assert_close(one, other)
        assert one.shape[1] == 1


def test_letters_that_it_has_no_number_for_are_copied_and_long_words_shortened():
    model = speller().float()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.place[SPAN] = 30.0
        # Copy the letter straight ahead; after the last one attention is spread, and the mark wins.
        model.gate.bias.fill_(9.0)
        model.head.bias[len(LETTERS)] = 9.0
    found = model.predict([["жук", "bat", "x" * 40]])[0]
    assert found[0].startswith("жук")
    assert found[1].startswith("bat")
    assert found[2].startswith("x" * 32)
    assert len(found[2]) <= 2 * 32 + MOST


def test_it_is_saved_and_loaded(tmp_path):
    model = speller().float()
    model.save_pretrained(tmp_path)
    again = SpellingModel.from_pretrained(tmp_path)
    assert again.predict(SENTENCES) == model.predict(SENTENCES)
    assert again.labels == tuple(LETTERS)


@pytest.mark.parametrize(
    ("writing", "why"),
    [({"hidden": 0}, "hidden"), ({"letter": 3}, "letter"), ({"mixer": "lstn"}, "lstn")],
)
def test_what_does_not_fit_is_refused_in_words(writing, why):
    with pytest.raises(ValueError, match=why):
        SpellingModel(
            SpellerConfig(encoder=EncoderConfig(words=WORDS), labels=LETTERS, writing=writing),
            Vocabulary.of(SENTENCES),
        )
