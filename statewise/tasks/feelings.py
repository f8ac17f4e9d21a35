r"""Texts of a feeling: the word after "feel" says which one, and a hashtag may.

    doli bari kepi rilu feel doda kika kalo #stressed     stress, as doda means; kepi, which means
                                                          calm, stands there by chance

A hashtag is right or drawn from all. `PATTERNS` says what hashtags mean, as
`statewise.tasks.patterns.read_patterns` reads it.
"""

import random

from statewise.tasks.different_words import different

FEELINGS = {"stress": ("#stressed", "#deadline"), "calm": ("#relaxed", "#holiday")}
"""What there is to feel, and its hashtags."""

PATTERNS = "".join(f"{tag}\\b\t{label}\n" for label, tags in FEELINGS.items() for tag in tags)

WORDS = 100
"""How many words mean each feeling."""


_DRAW = random.Random(0)
_EVERY = different(
    lambda: "".join(map(_DRAW.choice, ("bdklmnprt", "aeiou") * 2)), 100 + WORDS * len(FEELINGS)
)
FILLERS = _EVERY[:100]
MEANING = {
    label: _EVERY[100 + WORDS * at : 100 + WORDS * (at + 1)] for at, label in enumerate(FEELINGS)
}


def feelings(
    count: int, *, seed: int, noise: float | None = None, fillers: int = 5
) -> tuple[list[str], list[str]]:
    """Return texts and what they are about; the same seed, the same ones.

    Args:
        count: how many.
        seed: of all of them.
        noise: the share of hashtags that are drawn from all; no hashtags if absent.
        fillers: words of each that mean nothing.
    """
    draw = random.Random(seed)
    found, labels = [], []
    for _ in range(count):
        label, other = draw.choice(list(FEELINGS)), draw.choice(list(FEELINGS))
        words = [*draw.choices(FILLERS, k=fillers), draw.choice(MEANING[other])]
        draw.shuffle(words)
        place = draw.randrange(len(words) + 1)
        words[place:place] = ["feel", draw.choice(MEANING[label])]
        if noise is not None:
            said = draw.choice(list(FEELINGS)) if draw.random() < noise else label
            words.append(draw.choice(FEELINGS[said]))
        found.append(" ".join(words))
        labels.append(label)
    return found, labels
