"""Small sets of labelled sentences that a small model learns in a second."""

import random

from statewise.tasks.dialogues import dialogues

SMALL = (
    "--model.words.dim 16 --model.words.grams 8 --model.words.buckets 200 --model.hidden 16 "
    "--model.words.character_features 16 --model.words.minimum 1 --model.dropout 0.1 --batch 8 "
    "--optimizer.learning_rate 0.01 --quiet"
)
NAMES, PLACES = ["Uma", "Bo Li", "Ann Lee Ray"], ["Paris", "Le Havre", "Ulm"]


def sentence(draw):
    """Return words, their parts of speech, spans, and what the sentence is about."""
    name, place = draw.choice(NAMES).split(), draw.choice(PLACES).split()
    leaves = draw.random() < 0.5
    # `left` is a verb or an adjective, as what stands before it says.
    verb = ["left"] if leaves else draw.choice([["saw"], ["loves"]])
    words = [*name, *verb, *place, "."]
    tags = ["PROPN"] * len(name) + ["VERB"] + ["PROPN"] * len(place) + ["PUNCT"]
    spans = [*_spans(name, "PER"), "O", *_spans(place, "LOC"), "O"]
    if draw.random() < 0.3:
        words = ["The", "left", "side", ":", *words]
        tags = ["DET", "ADJ", "NOUN", "PUNCT", *tags]
        spans = ["O"] * 4 + spans
    return words, tags, spans, "leaving" if leaves else "staying"


def _spans(words, kind):
    return [f"B-{kind}"] + [f"I-{kind}"] * (len(words) - 1)


def sentences(count, seed=0):
    draw = random.Random(seed)
    return [sentence(draw) for _ in range(count)]


def conllu(found):
    """Return them as CoNLL-U."""
    blocks = []
    for words, tags, _, _ in found:
        rows = enumerate(zip(words, tags, strict=True), 1)
        blocks.append("".join(f"{n}\t{w}\t_\t{t}\t_\t_\t0\t_\t_\t_\n" for n, (w, t) in rows))
    return "\n".join(blocks) + "\n"


def columns(found):
    """Return words and spans, in columns."""
    blocks = (
        "".join(f"{word} {tag}\n" for word, tag in zip(words, spans, strict=True))
        for words, _, spans, _ in found
    )
    return "\n".join(blocks)


def texts(found):
    """Return what each is about, as CSV."""
    lines = (f'"{" ".join(words)}",{about}' for words, _, _, about in found)
    return "\n".join(["text,label", *lines]) + "\n"


def conversations(count, seed=0):
    return [(each.texts, each.acts) for each in dialogues(count, seed=seed)]


def talks(found):
    """Return them as CSV."""
    rows = (
        f'{number},"{text}",{kind}\n'
        for number, (texts, kinds) in enumerate(found)
        for text, kind in zip(texts, kinds, strict=True)
    )
    return "talk,text,label\n" + "".join(rows)
