import math
import random

import pytest

from statewise.tasks import baselines

WORDS = b"the quick brown fox jumps over the lazy dog and "


@pytest.mark.parametrize("bits", [baselines.gzip_bits, baselines.xz_bits, baselines.ngram_bits])
def test_what_was_seen_costs_little_and_noise_costs_eight_bits(bits):
    noise = random.Random(0).randbytes(4000)
    assert bits(WORDS * 40, WORDS * 20) < 0.6
    assert 7.5 < bits(WORDS * 40, noise) < 14


def test_the_ngram_model_is_a_distribution():
    total = 0.0
    for byte in range(256):
        total += 2 ** -baselines.ngram_bits(b"abracadabra", bytes([byte]), order=4)
    assert math.isclose(total, 1, rel_tol=1e-9)


def test_the_first_order_is_witten_bell_by_hand():
    # "aab": seen 3 times, 2 kinds; b was seen once: (1 + 2/256) / (3 + 2).
    found = baselines.ngram_bits(b"aab", b"b", order=1)
    assert math.isclose(2**-found, (1 + 2 / 256) / 5)
