"""Words as numbers: known by name, spelled by characters and n-grams, described by their shape.

    word          Zürich-2
    key           zürich-0              what a vocabulary lists: lower case, every digit a 0
    characters    < Z ü r i c h - 2 >   between two borders, the case kept
    n-grams       <zü zür üri ... -0>   of the key between its borders, 3 to 5 characters long
    shape         begins with a capital, has a digit, has a hyphen, ...
    features      PROPN, Case=Nom|Number=Sing      what is said of a word beside it, if anything
    lexicon       0.9, 0.4                         what is known of its key beforehand, if anything

A word with features is a tuple: the word, then its features. One that is written as CoNLL-U writes
several, `Case=Nom|Number=Sing`, is known by its parts; any other is one part.

All text is first brought to Unicode's normal form C, in which an accent and its letter are one
character where there is one; nothing else of it is changed. An n-gram has the number that CRC-32 of
its UTF-8 gives, modulo the buckets: the same on every machine. Bojanowski et al., "Enriching Word
Vectors with Subword Information", 2017, arXiv:1607.04606, section 3.2.
"""

import functools
import json
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

PADDING, UNKNOWN = 0, 1
"""The first two numbers of words, characters and features; of n-grams, the first."""

BEGINS, ENDS = 2, 3
"""The borders of a word, among the characters."""

LONGEST = 32
"""Characters that are read of a word: of a longer one its first and its last half as many."""

GRAMS = (3, 4, 5)
"""How long n-grams are, borders included."""

SHAPES = (
    ("begins with a capital", lambda word: word[:1].isupper()),
    ("has a capital later", lambda word: any(map(str.isupper, word[1:]))),
    ("is all capitals", str.isupper),
    ("has a small letter", lambda word: any(map(str.islower, word))),
    ("has a digit", lambda word: any(map(str.isdigit, word))),
    ("is all digits and marks", lambda word: not any(map(str.isalpha, word))),
    ("has a mark", lambda word: any(not character.isalnum() for character in word)),
    ("is all marks", lambda word: not any(map(str.isalnum, word))),
    ("has a hyphen", lambda word: "-" in word),
    ("is one character", lambda word: len(word) == 1),
)
"""What is asked of a word's shape."""

# Scripts that are written without spaces: each character is a word of its own.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_JOINERS = "\u200c\u200d"


@functools.cache
def _words() -> re.Pattern[str]:
    """Return what a word looks like."""
    # Python counts no combining mark among the characters of words, such as vowels of Bengali.
    points = map(chr, range(0x300, 0x1F000))
    marks = "".join(point for point in points if unicodedata.category(point)[0] == "M") + _JOINERS
    letters = rf"(?:(?![{_UNSPACED}])\w[{marks}]*)+"
    other = rf"\S[{marks}]*(?:(?<=\u200d)\S[{marks}]*)*"
    return re.compile(rf"[{_UNSPACED}][{marks}]*|{letters}(?:['\u2019]{letters})*|{other}")


def normalize(text: str) -> str:
    """Return a text in Unicode's normal form C."""
    return unicodedata.normalize("NFC", text)


def cut(text: str) -> tuple[str, ...]:
    """Return the words of a text: runs of letters and digits, and every other mark on its own.

    An apostrophe between letters belongs to them. Characters of Chinese and Japanese, and of Thai,
    Lao, Burmese and Khmer, which write no spaces, are words of their own.
    """
    return tuple(_words().findall(normalize(text)))


def surface(word: str | Sequence[str]) -> str:
    """Return a word without its features."""
    return word if isinstance(word, str) else word[0]


def attributes(feature: str) -> list[str]:
    """Return the parts of a feature: those of `Case=Nom|Number=Sing`, or the whole."""
    parts = feature.split("|")
    return parts if all("=" in part for part in parts) else [feature]


def key(word: str) -> str:
    """Return what a vocabulary knows a word by."""
    return re.sub(r"\d", "0", normalize(word).lower())


def kept(word: str) -> str:
    """Return the characters of a word that are read."""
    word = normalize(word)
    return word if len(word) <= LONGEST else word[: LONGEST // 2] + word[-LONGEST // 2 :]


def grams(word: str, buckets: int) -> list[int]:
    """Return the numbers of a word's n-grams, from 1 to `buckets`; of none, the whole word's."""
    bordered = f"<{key(word)}>"
    found = [bordered[at : at + n] for n in GRAMS for at in range(len(bordered) - n + 1)]
    # A surrogate escape is no text, and still has to have a number.
    pieces = (piece.encode("utf-8", "surrogatepass") for piece in found or [bordered])
    return [1 + zlib.crc32(piece) % buckets for piece in pieces]


class Spelled(NamedTuple):
    """Different words, each once."""

    words: Int[Tensor, " types"]
    """Their numbers in the vocabulary."""
    characters: Int[Tensor, "types letters"]
    """With both borders; `PADDING` after the last."""
    lengths: Int[Tensor, " types"]
    """How many characters each has, borders included."""
    grams: Int[Tensor, "types grams"]
    """`PADDING` after the last."""
    shapes: Float[Tensor, "types shapes"]
    """1 for what is so, else 0."""
    features: Int[Tensor, "types names parts"]
    """The parts of each feature; `PADDING` after the last."""
    lexicon: Float[Tensor, "types numbers"]
    """What the lexicon has for each; zero where it has nothing."""

    def take(self, which: Int[Tensor, " some"]) -> "Spelled":
        """Return some of them, with no more padding than they need."""
        taken = Spelled(*(leaf[which] for leaf in self))
        letters = int(taken.lengths.max()) if len(which) else 0
        widest = int((taken.grams != PADDING).sum(1).max()) if len(which) else 0
        return taken._replace(
            characters=taken.characters[:, :letters], grams=taken.grams[:, :widest]
        )


class Sentences(NamedTuple):
    """A batch of sentences, padded on the right."""

    places: Int[Tensor, "batch time"]
    """Which of `types` each word is; anything in the padding."""
    lengths: Int[Tensor, " batch"]
    types: Spelled

    @property
    def size(self) -> int:
        """How many words there are."""
        return int(self.lengths.sum())


class Spelling(NamedTuple):
    """Many sentences, of which batches are made."""

    places: list[Int[Tensor, " _"]]
    types: Spelled

    def batch(self, which: Iterable[int]) -> Sentences:
        """Return some sentences, in the order given."""
        chosen = [self.places[at] for at in which]
        lengths = torch.tensor([len(places) for places in chosen], dtype=torch.int64)
        # Of no sentence at all, as of a conversation without texts, there is nothing to pad.
        places = pad_sequence(chosen, batch_first=True) if chosen else lengths.reshape(0, 0)
        return Sentences(places, lengths, self.types)

    def rows(self, at_once: int) -> Iterator[list[int]]:
        """Yield which sentences to read together: the longest first, of about one length.

        Args:
            at_once: words, padding included; at least one sentence in any case.
        """
        order = sorted(range(len(self.places)), key=lambda at: -len(self.places[at]))
        while order:
            count = max(1, at_once // max(1, len(self.places[order[0]])))
            yield order[:count]
            order = order[count:]


class Vocabulary:
    """The words and characters that a model knows.

    Args:
        words: their keys, see `key`; the first has the number 2.
        characters: the first has the number 4.
        features: by the name of each, in their order, the parts that are known; the first has the
            number 2. None if absent.
        lexicon: what is known of words beforehand: as many numbers for each key as for any other.
            Nothing if absent.

    Raises:
        ValueError: if one stands there twice, or has another count of numbers.
    """

    def __init__(
        self,
        words: Sequence[str],
        characters: Sequence[str],
        features: Mapping[str, Sequence[str]] | None = None,
        lexicon: Mapping[str, Sequence[float]] | None = None,
    ):
        self.words, self.characters = tuple(words), tuple(characters)
        self.features = {name: tuple(parts) for name, parts in (features or {}).items()}
        self.lexicon = {word: tuple(map(float, known)) for word, known in (lexicon or {}).items()}
        if len({len(known) for known in self.lexicon.values()}) > 1:
            raise ValueError("the lexicon has more numbers for one word than for another")
        named = ((f"part of {name}", parts) for name, parts in self.features.items())
        for what, listed in (("word", self.words), ("character", self.characters), *named):
            twice = [item for item, count in Counter(listed).items() if count > 1]
            if twice:
                raise ValueError(f"the vocabulary has the {what} {twice[0]!r} twice")
        self._words = {word: at for at, word in enumerate(self.words, UNKNOWN + 1)}
        self._characters = {c: at for at, c in enumerate(self.characters, ENDS + 1)}
        self._features = [
            {part: at for at, part in enumerate(parts, UNKNOWN + 1)}
            for parts in self.features.values()
        ]

    @classmethod
    def of(
        cls, sentences: Iterable[Sequence[Any]], *, minimum: int = 1, features: Sequence[str] = ()
    ) -> "Vocabulary":
        """Return that of the sentences to train on, the most frequent first.

        Args:
            sentences: lists of words, which have features if these are named.
            minimum: how often a word or a character has to stand there to be known.
            features: their names, in their order; every part that stands there is known.
        """
        seen = Counter(word for sentence in sentences for word in sentence)
        words: Counter[str] = Counter()
        characters: Counter[str] = Counter()
        parts: list[Counter[str]] = [Counter() for _ in features]
        for word, count in seen.items():
            words[key(surface(word))] += count
            for character in normalize(surface(word)):
                characters[character] += count
            for known, feature in zip(parts, _features(word), strict=True):
                known.update(dict.fromkeys(attributes(feature), count))
        named = {name: _frequent(known, 1) for name, known in zip(features, parts, strict=True)}
        return cls(_frequent(words, minimum), _frequent(characters, minimum), named)

    @property
    def numbers(self) -> int:
        """How many numbers the lexicon has for a word; 0 without one."""
        return len(next(iter(self.lexicon.values()), ()))

    def __len__(self) -> int:
        return len(self.words)

    def with_lexicon(self, words: Mapping[str, Sequence[float]]) -> "Vocabulary":
        """Return this one with what is known of words beforehand, in place of what it knew.

        Args:
            words: with as many numbers each; of several that have one key, the first counts.
        """
        known: dict[str, Sequence[float]] = {}
        for word, numbers in words.items():
            known.setdefault(key(word), numbers)
        return Vocabulary(self.words, self.characters, self.features, known)

    def grown(self, other: "Vocabulary") -> "Vocabulary":
        """Return this one with what another knows besides after its own, whose numbers stay.

        The lexicon is the other's.

        Raises:
            ValueError: if they know features of other names.
        """
        if list(self.features) != list(other.features):
            mine, its = (", ".join(each.features) or "nothing" for each in (self, other))
            raise ValueError(f"words with {its} beside them, where {mine} should be")

        def more(known: tuple[str, ...], new: tuple[str, ...]) -> list[str]:
            return list(dict.fromkeys((*known, *new)))

        return Vocabulary(
            more(self.words, other.words),
            more(self.characters, other.characters),
            {name: more(parts, other.features[name]) for name, parts in self.features.items()},
            other.lexicon,
        )

    def spell(self, sentences: Iterable[Sequence[Any]], *, buckets: int) -> Spelling:
        """Return sentences as numbers.

        Args:
            sentences: lists of words, with as many features each as are known.
            buckets: of n-grams; 0 for none of them.
        """
        types: dict[Any, int] = {}
        places = [
            torch.tensor(
                [types.setdefault(_frozen(word), len(types)) for word in words], dtype=torch.int64
            )
            for words in sentences
        ]
        words = [surface(word) for word in types]
        letters = [self._spelled(word) for word in words]
        lengths = torch.tensor([len(word) for word in letters], dtype=torch.int64)
        pieces = [grams(word, buckets) if buckets else [] for word in words]
        known = [self._words.get(key(word), UNKNOWN) for word in words]
        nothing = (0.0,) * self.numbers
        shapes = [[float(asked(word)) for _, asked in SHAPES] for word in words]
        parts = [
            [numbers.get(part, UNKNOWN) for part in attributes(feature)]
            for word in types
            for numbers, feature in zip(self._features, _features(word), strict=True)
        ]
        return Spelling(
            places,
            Spelled(
                torch.tensor(known, dtype=torch.int64),
                _padded(letters),
                lengths,
                _padded(pieces),
                torch.tensor(shapes).reshape(len(types), len(SHAPES)),
                _padded(parts).reshape(len(types), len(self._features), -1 if parts else 0),
                torch.tensor([self.lexicon.get(key(word), nothing) for word in words]).reshape(
                    len(types), self.numbers
                ),
            ),
        )

    def _spelled(self, word: str) -> list[int]:
        return [BEGINS, *(self._characters.get(c, UNKNOWN) for c in kept(word)), ENDS]

    def save(self, path: str | Path) -> None:
        """Write it as JSON."""
        listed: dict[str, Any] = {"words": self.words, "characters": self.characters}
        if self.features:
            listed["features"] = [[name, parts] for name, parts in self.features.items()]
        if self.lexicon:
            listed["lexicon"] = self.lexicon
        Path(path).write_text(json.dumps(listed), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Vocabulary":
        """Return the vocabulary in a file.

        Raises:
            ValueError: if the file is damaged.
        """
        try:
            read = json.loads(Path(path).read_text(encoding="utf-8"))
            words, characters = (list(_strings(read[name])) for name in ("words", "characters"))
            named = {str(name): list(_strings(parts)) for name, parts in read.get("features", [])}
            lexicon = {
                str(word): _numbers(known) for word, known in read.get("lexicon", {}).items()
            }
            return cls(words, characters, named, lexicon)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: the vocabulary is damaged ({error})") from None


def check_sentences(sentences: Sequence[Any], features: Sequence[str] = ()) -> None:
    """Refuse what are no lists of words.

    Args:
        sentences: to look at.
        features: the names of those that each word should have.

    Raises:
        ValueError: says which sentence, from 1, and why.
    """
    for number, words in enumerate(sentences, 1):
        if isinstance(words, str):
            raise ValueError(
                f"sentence {number} is a string; a sentence is a list of words, such as "
                "statewise.models.cut makes of a text"
            )
        for at, word in enumerate(words, 1):
            if features:
                if not isinstance(word, tuple | list) or len(word) != 1 + len(features):
                    raise ValueError(
                        f"word {at} of sentence {number} is {word!r}; expected a word and its "
                        f"{len(features)} features ({', '.join(features)})"
                    )
                if not all(isinstance(part, str) and part for part in word):
                    raise ValueError(f"word {at} of sentence {number} is {word!r}, and no strings")
            elif not isinstance(word, str) or not word:
                raise ValueError(f"word {at} of sentence {number} is {word!r}, and no word")


def _frozen(word: str | Sequence[str]) -> str | tuple[str, ...]:
    return word if isinstance(word, str) else tuple(word)


def _features(word: str | Sequence[str]) -> Sequence[str]:
    return () if isinstance(word, str) else word[1:]


def _frequent(counts: Counter[str], minimum: int) -> list[str]:
    """Return what is frequent enough, ordered by count and then by name."""
    return [item for item, count in sorted(counts.items(), key=_by_count) if count >= minimum]


def _by_count(entry: tuple[str, int]) -> tuple[int, str]:
    return -entry[1], entry[0]


def _padded(rows: list[list[int]]) -> Int[Tensor, "rows widest"]:
    widest = max(map(len, rows), default=0)
    filled = [row + [PADDING] * (widest - len(row)) for row in rows]
    return torch.tensor(filled, dtype=torch.int64).reshape(len(rows), widest)


def _strings(listed: object) -> Iterator[str]:
    if not isinstance(listed, list):
        raise TypeError("a list is missing")
    for item in listed:
        if not isinstance(item, str):
            raise TypeError(f"{item!r} is no string")
        yield item


def _numbers(listed: object) -> tuple[float, ...]:
    if not isinstance(listed, list) or not listed:
        raise TypeError("numbers are missing")
    return tuple(map(float, listed))
