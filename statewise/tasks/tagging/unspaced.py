"""Sentences of a made-up script without spaces: common words that return, and names that are new.

    words       主习 丁乤乘 丗 丠丧乃 丠乷          the second is a name: a surname and two more
    characters  主 习 丁 乤 乘 丗 丠 丧 乃 丠 乷

Common words are 400, of one to three characters, the first about twenty times as often as the
last. Each character prefers to begin words or to end them, and stands anywhere one time in four.
A name begins with one of ten surnames, which begin words too; what follows stands in any word.
"""

import random

from statewise.tasks.different_words import different

CHARACTERS = [chr(0x4E00 + number) for number in range(120)]
SURNAMES = CHARACTERS[:10]
BEGIN, END = CHARACTERS[:60], CHARACTERS[60:]
"""What characters prefer."""


def _common() -> list[str]:
    """Return the common words, always the same."""
    draw = random.Random(0)

    def word() -> str:
        size = draw.choices((1, 2, 3), (1, 6, 3))[0]
        sides = (BEGIN, CHARACTERS, END) if size == 3 else (BEGIN, END)[:size]
        sides = [side if draw.random() < 0.75 else CHARACTERS for side in sides]
        return "".join(map(draw.choice, sides))

    return different(word, 400)


COMMON = _common()


def unspaced(
    count: int, *, seed: int, names: float = 0.15, size: int = 10
) -> list[tuple[str, ...]]:
    """Return sentences as their words; the same seed, the same ones.

    Args:
        count: how many.
        seed: of all of them.
        names: the share of words that are names.
        size: words of each sentence.
    """
    draw = random.Random(seed)
    often = [1 / (rank + 20) for rank in range(len(COMMON))]

    def word() -> str:
        if draw.random() >= names:
            return draw.choices(COMMON, often)[0]
        return draw.choice(SURNAMES) + "".join(draw.choices(CHARACTERS, k=draw.choice((1, 2))))

    return [tuple(word() for _ in range(size)) for _ in range(count)]
