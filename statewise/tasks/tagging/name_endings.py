"""Names by their endings: persons and places on stems that no training has shown.

    words    sunk  bolov  ratina  mel  kodgrad  pis
    tags     O     B-PER  I-PER   O    B-LOC    O

A name has one to three words, and nothing around it tells its type; one word in ten ends as those
of either type do.
"""

import random

from statewise.tasks.tagging.ambiguous_forms import stems

ENDINGS = {"PER": ("ov", "ina"), "LOC": ("grad", "sk")}

Sentences = tuple[list[list[str]], list[list[str]]]
"""Words, and tags in BIO."""


def name_endings(train: int, test: int, *, seed: int) -> tuple[Sentences, Sentences]:
    """Return sentences to learn from and others to be scored; the same seed, the same ones.

    Args:
        train: how many are to learn from; with names on 200 stems.
        test: how many are to be scored; with names on 200 other stems.
        seed: of all of them.
    """
    draw = random.Random(seed)
    others, known = stems(draw, 80), stems(draw, 200)
    new = stems(draw, 200, frozenset(known))

    def sentence(names: list[str]) -> tuple[list[str], list[str]]:
        words = draw.choices(others, k=draw.randrange(1, 4))
        tags = ["O"] * len(words)
        for _ in range(draw.randrange(1, 3)):
            kind, size, rest = (
                draw.choice(list(ENDINGS)),
                draw.randrange(1, 4),
                draw.randrange(1, 4),
            )
            for _ in range(size):
                ending = kind if draw.random() < 0.8 else draw.choice(list(ENDINGS))
                words.append(draw.choice(names) + draw.choice(ENDINGS[ending]))
            words += draw.choices(others, k=rest)
            tags += [f"B-{kind}"] + [f"I-{kind}"] * (size - 1) + ["O"] * rest
        return words, tags

    def several(count: int, names: list[str]) -> Sentences:
        words, tags = zip(*(sentence(names) for _ in range(count)), strict=True)
        return list(words), list(tags)

    return several(train, known), several(test, new)
