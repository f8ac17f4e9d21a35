import math
import random
from fractions import Fraction

import pytest

from statewise.tasks.ngrams import DISCOUNT, KneserNey

TEXT = "abracadabra"


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("context", ["", "a", "br", "zz", "abracadab", "dabra"])
def test_what_may_follow_sums_to_one(order, context):
    model = KneserNey([TEXT, "alakazam"], order=order, vocab=30)
    symbols = [*"abcdefghijklmnopqrstuvwxyz", 1, 2, 3, 4]
    total = sum(model.probability(context, symbol) for symbol in symbols)
    assert math.isclose(total, 1, rel_tol=1e-12)


def test_a_bigram_by_hand():
    """Of "aabab": after the mark an a; aa, ab, ba, ab.

    Bigrams: .a 1, aa 1, ab 2, ba 1: three once and one twice, so that D_2 = 3 / (3 + 2).
    Each symbol stands after: a after ., a and b: 3; b after a alone: 1. None twice: D_1 = 1/2.
    """
    model = KneserNey(["aabab"], order=2, vocab=4)
    half, vocab = Fraction(1, 2), Fraction(1, 4)
    a = (3 - half) / 4 + half * 2 / 4 * vocab
    b = (1 - half) / 4 + half * 2 / 4 * vocab
    D = Fraction(3, 5)
    after_a = {"a": (1 - D) / 3 + D * 2 / 3 * a, "b": (2 - D) / 3 + D * 2 / 3 * b}
    after_b = {"a": (1 - D) / 1 + D * a, "b": D * b}
    for context, expected in (("a", after_a), ("b", after_b), ("", {"a": 1 - D + D * a})):
        for symbol, chance in expected.items():
            assert math.isclose(model.probability(context, symbol), chance)
    assert math.isclose(model.probability("z", "a"), a)  # never seen: the shorter context
    asked = [after_b["a"], after_a["a"], 1 - D + D * a]
    costs = model.costs("baa")
    assert math.isclose(costs[1], -math.log2(asked[0]))
    perplexity = 2 ** (sum(costs) / 3)
    assert math.isclose(model.perplexity(["baa"]), perplexity)
    by_hand = (D * b) * after_b["a"] * after_a["a"]
    assert math.isclose(perplexity, float(1 / by_hand) ** (1 / 3))


def test_few_kinds_of_neighbours_make_a_word_unlikely_elsewhere():
    """Kneser's and Ney's own example: Francisco is frequent, but after San alone."""
    text = "San Francisco . " * 20 + " ".join(f"the {c} of" for c in "abcdefgh")
    words = text.split()
    model = KneserNey([words], order=2, vocab=len(set(words)) + 1)
    assert words.count("Francisco") > words.count("of")
    assert model.probability(["unseen"], "Francisco") < model.probability(["unseen"], "of")


def test_bytes_characters_and_words_will_do():
    for text in (TEXT.encode(), TEXT, TEXT.split("a"), [3, 1, 3]):
        assert KneserNey([text], order=3, vocab=256).perplexity([text]) < 256


def test_a_document_does_not_lead_into_the_next():
    apart = KneserNey(["ab", "cd"], order=2, vocab=4)
    assert apart.probability("b", "c") == apart.probability("zz", "c")


def test_what_was_seen_costs_little_and_noise_much():
    seen = "the quick brown fox jumps over the lazy dog and " * 40
    model = KneserNey([seen], order=5, vocab=256)
    assert sum(model.costs(seen[:480])) / 480 < 0.3
    noise = random.Random(0).choices(range(256), k=400)
    assert sum(KneserNey([seen.encode()], order=5, vocab=256).costs(noise)) / 400 > 7


def test_a_text_that_tells_no_discount_has_one():
    assert KneserNey(["ab"], order=2, vocab=2).levels[1].discount == DISCOUNT


@pytest.mark.parametrize(
    ("texts", "order", "vocab", "sentence"),
    [
        (["ab"], 0, 5, "order = 0 should be at least 1"),
        ([], 2, 5, "vocab = 5, but the texts have 0 symbols"),
        (["abc"], 2, 2, "vocab = 2, but the texts have 3 symbols"),
    ],
)
def test_what_is_no_model_is_refused(texts, order, vocab, sentence):
    with pytest.raises(ValueError, match=sentence):
        KneserNey(texts, order=order, vocab=vocab)
