"""What a text costs without learning a network: packers and an n-gram model, in bits per byte.

All see the training text first and pay for the held-out text only, as a trained model does.
"""

import gzip
import lzma
import math
from collections import defaultdict


def gzip_bits(train: bytes, test: bytes) -> float:
    """Return the bits per byte by which gzip -9 grows when `test` follows `train`.

    Its window is 32 KiB, so of the training text it sees the end.
    """
    grown = len(gzip.compress(train + test, 9)) - len(gzip.compress(train, 9))
    return 8 * grown / len(test)


def xz_bits(train: bytes, test: bytes) -> float:
    """Return the bits per byte by which xz -9e grows when `test` follows `train`."""
    best = lzma.PRESET_EXTREME | 9
    grown = len(lzma.compress(train + test, preset=best)) - len(lzma.compress(train, preset=best))
    return 8 * grown / len(test)


def ngram_bits(train: bytes, test: bytes, order: int = 6) -> float:
    """Return the bits per byte of an interpolated byte n-gram model, counts from `train` alone.

    Witten-Bell smoothing (Witten and Bell, "The Zero-Frequency Problem", 1991, method C): in a
    context seen n times with u different followers, a follower seen c times has probability
    (c + u q) / (n + u), where q is its probability in the context one byte shorter.

    Args:
        train: where the counts come from.
        test: what is scored.
        order: bytes of the longest n-gram, its last byte included; 6 is about the best on texts of
            a megabyte.
    """
    # One table per length of context: context -> [times seen, {follower: times}].
    tables: list[defaultdict[bytes, dict[int, int]]] = [defaultdict(dict) for _ in range(order)]
    for at, byte in enumerate(train):
        for length in range(min(order, at + 1)):
            followers = tables[length][train[at - length : at]]
            followers[byte] = followers.get(byte, 0) + 1
    totals = [{context: sum(seen.values()) for context, seen in t.items()} for t in tables]
    bits = 0.0
    text = train[-order:] + test
    for at in range(len(text) - len(test), len(text)):
        chance = 1 / 256
        for length in range(order):
            context = text[at - length : at]
            followers = tables[length].get(context)
            if followers is None:
                break
            total, kinds = totals[length][context], len(followers)
            chance = (followers.get(text[at], 0) + kinds * chance) / (total + kinds)
        bits -= math.log2(chance)
    return bits / len(test)
