"""A speller: for each word in its sentence another is written, letter by letter, as its lemma is.

    word       m   i   c   e             its letters, read in both directions: k_1 ... k_4
    features   x                         of the word in its sentence
    written    m   o   u   s   e   .     the last mark says that it is whole

    s_j = mixer([E c_{j-1}, W x])                          after the letters written so far
    a_j = softmax_l(k_l W_a s_j + b_{l-j})                 which letters of the word it looks at
    o_j = [s_j, K^T a_j];  g_j = sigmoid(w_g o_j)
    p_j(c) = (1 - g_j) softmax(W_c tanh(W_o o_j))_c + g_j (a_j summed over the letters that are c)

Arakelyan, Hambardzumyan and Khachatrian, "Towards JointUD: Part-of-speech Tagging and Lemmatization
using Recurrent Neural Networks", 2018, arXiv:1809.03211, spell a lemma from the state of a tagger,
with attention over the word; the share g that is copied is from See, Liu and Manning, "Get To The
Point", 2017, arXiv:1704.04368, section 2.2: so a letter that no training has shown can be written.
The bias b of where a letter stands beside the one that is written is Shaw, Uszkoreit and Vaswani's,
2018, arXiv:1803.02155, as one number; it begins by looking straight ahead, since most words that
are written begin as the word does.
"""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from statewise.mixers.base import within
from statewise.models.configuration import Configuration
from statewise.models.labelling import LabelConfig, Labelling
from statewise.models.readers import Reader
from statewise.models.sentence_encoder import SentenceEncoder
from statewise.models.spelling import ENDS, Sentences, Vocabulary, kept, surface

NOTHING = -1
"""In place of a letter: there is none, or it is not known."""

SPAN = 8
"""Places before and after the one straight ahead that have a bias of their own."""

AHEAD = 4.0
"""The bias of the place straight ahead at the start; the others are zero."""

MOST = 8
"""Letters that may be written beside twice as many as the word has."""

TINY = 1e-30
"""Added to a chance whose logarithm is taken: a gate of float32 may be quite closed."""


class WritingConfig(Configuration):
    """How words are written.

    Args:
        letters: features of each letter.
        hidden: features of what reads the letters, in each direction, and twice as many of what
            writes.
        mixer: what does both: a name, or {name: ..., option: value}.
    """

    # Not strict, which would take nothing but instances where others hold it.
    model_config = ConfigDict(strict=False)
    called = "a writing"

    letters: Annotated[int, Field(ge=1)] = 32
    hidden: Annotated[int, Field(ge=1)] = 48
    mixer: str | dict[str, Any] = "lstm"


class SpellerConfig(LabelConfig):
    """What a speller is built from.

    Args:
        encoder: how it reads.
        labels: the letters that it can write beside those of the word, in their order.
        writing: how it writes.
    """

    called = "a speller"

    writing: WritingConfig = Field(default_factory=WritingConfig)


class Seen(NamedTuple):
    """The letters of words, and what is known of each word."""

    keys: Float[Tensor, "words letters features"]
    copied: Int[Tensor, "words letters"]
    """Which of the letters that can be written each is; `NOTHING` for none of them."""
    lengths: Int[Tensor, " words"]
    context: Float[Tensor, "words hidden"]
    """The features of the word in its sentence, mapped."""


class SpellingModel(Labelling[SpellerConfig]):
    """Writes a word for each word.

    A written word is numbers: that of each letter among `labels` or, from `len(labels)` on, of the
    place in the word from which it is copied.

    Args:
        config: what to build.
        vocabulary: of the words and characters that it knows.
        encoder: which reads, if it is at hand.

    Raises:
        ValueError: for a configuration that does not fit together, in words.
    """

    kind = "speller"
    configuration = SpellerConfig
    labels: tuple[str, ...]
    copied_as: Tensor

    def __init__(
        self,
        config: SpellerConfig,
        vocabulary: Vocabulary,
        *,
        encoder: SentenceEncoder | None = None,
    ):
        super().__init__(config, vocabulary, encoder=encoder)
        self.labels = tuple(config.labels)
        writing, hidden = config.writing, 2 * config.writing.hidden
        characters = len(vocabulary.characters) + ENDS + 1
        self.enter = nn.Linear(self.encoder.out, hidden)
        self.seen = nn.Embedding(characters, writing.letters)
        self.reader = Reader(writing.mixer, writing.letters, writing.hidden, both_ways=True)
        # After the letters: the mark at the end, which begins too, and any letter not among them.
        self.written = nn.Embedding(self._end + 2, writing.letters)
        self.writer = Reader(writing.mixer, writing.letters + hidden, hidden, both_ways=False)
        both = self.writer.out + self.reader.out
        self.look = nn.Linear(self.writer.out, self.reader.out, bias=False)
        self.place = nn.Parameter(torch.zeros(2 * SPAN + 1))
        with torch.no_grad():
            self.place[SPAN] = AHEAD
        self.join, self.gate = nn.Linear(both, hidden), nn.Linear(both, 1)
        self.head = nn.Linear(hidden, self._end + 1)
        numbers = {letter: number for number, letter in enumerate(self.labels)}
        known = [numbers.get(character, NOTHING) for character in vocabulary.characters]
        copied_as = torch.tensor([NOTHING] * (ENDS + 1) + known)
        self.register_buffer("copied_as", copied_as, persistent=False)

    @property
    def _end(self) -> int:
        """The number of the mark at the end."""
        return len(self.labels)

    def cost(
        self,
        x: Float[Tensor, "batch time out"],
        sentences: Sentences,
        targets: Int[Tensor, "words written"],
    ) -> Float[Tensor, ""]:
        """Return what the right words cost, summed over the batch, in nats.

        Args:
            x: features of the words.
            sentences: a batch of them.
            targets: of every word of the batch, one sentence after another, the numbers of its
                letters among `labels`, then `len(labels)`, then -1; -1 alone where it is not known.
        """
        cost, size = x.new_zeros(()), (targets >= 0).sum(1)
        if not size.any():
            return cost
        seen = self._seen(x, sentences)
        # Words about as long together: of all at once most of the work would be padding.
        width = 4
        while width < 2 * int(size.max()):
            rows = (size > width // 2 if width > 4 else size > 0) & (size <= width)
            if rows.any():
                wanted = targets[rows, :width]
                cost = cost + self._cost(wanted, Seen(*(leaf[rows] for leaf in seen)))
            width *= 2
        return cost

    def _cost(self, targets: Int[Tensor, "words written"], seen: Seen) -> Float[Tensor, ""]:
        """Return what the right words cost, summed, in nats."""
        before = functional.pad(targets.clamp(min=0), (1, -1), value=self._end)
        written, copied = self._chances(self.writer(self._entered(before, seen)), seen)
        same = seen.copied[:, None] == targets[..., None]
        chance = written.gather(2, targets.clamp(min=0)[..., None])[..., 0]
        chance = chance + (copied * same).sum(2)
        return -(chance + TINY).log()[targets >= 0].sum()

    def best(
        self, x: Float[Tensor, "batch time out"], sentences: Sentences
    ) -> list[list[list[int]]]:
        """Return what is written for each word of each sentence, as numbers."""
        return [[numbers for numbers, _ in words] for words in self._write(x, sentences)]

    def chances(self, x: Float[Tensor, "batch time out"], sentences: Sentences) -> list[Tensor]:
        """Return the probability of what is written, (words, 1), for each sentence."""
        return [
            torch.tensor([sure for _, sure in words]).reshape(len(words), 1)
            for words in self._write(x, sentences)
        ]

    def named(self, found: Sequence[Sequence[int]], sentence: Sequence[Any]) -> tuple[str, ...]:
        """Return the words that have these numbers."""
        known = len(self.labels)
        return tuple(
            "".join(self.labels[n] if n < known else word[n - known] for n in numbers)
            for numbers, word in zip(found, map(kept, map(surface, sentence)), strict=True)
        )

    def _seen(self, x: Float[Tensor, "batch time out"], sentences: Sentences) -> Seen:
        """Return the letters of all words of a batch, one sentence after another."""
        real = within(sentences.lengths, x.shape[1])
        which, back = sentences.places[real].unique(return_inverse=True)
        types = sentences.types.take(which)
        # Without the borders: `ENDS` stands where a shorter word has it, beyond the length.
        characters, lengths = types.characters[:, 1:-1], types.lengths - 2
        keys = self.reader(self.seen(characters), lengths=lengths)
        return Seen(
            keys[back], self.copied_as[characters][back], lengths[back], self.enter(x[real])
        )

    def _entered(
        self, before: Int[Tensor, "words written"], seen: Seen
    ) -> Float[Tensor, "words written entered"]:
        """Return what the writer reads: the letter before, and the word in its sentence."""
        context = seen.context[:, None].expand(-1, before.shape[1], -1)
        return torch.cat([self.written(before), context], 2)

    def _chances(
        self, s: Float[Tensor, "words written hidden"], seen: Seen, first: int = 0
    ) -> tuple[Float[Tensor, "words written numbers"], Float[Tensor, "words written letters"]]:
        """Return the chance of each number, and of a copy from each place.

        Args:
            s: of the writer, before each letter that is written.
            seen: the letters of the words.
            first: letters written before these.
        """
        inside = within(seen.lengths, seen.keys.shape[1])[:, None]
        scores = torch.einsum("wjf,wlf->wjl", self.look(s), seen.keys)
        at = torch.arange(seen.keys.shape[1], device=s.device)
        ahead = at - torch.arange(first, first + s.shape[1], device=s.device)[:, None]
        scores = scores + self.place[ahead.clamp(-SPAN, SPAN) + SPAN]
        looks = scores.masked_fill(~inside, -torch.inf).softmax(2)
        both = torch.cat([s, torch.einsum("wjl,wlf->wjf", looks, seen.keys)], 2)
        share = self.gate(both).sigmoid()
        return (1 - share) * self.head(self.join(both).tanh()).softmax(2), share * looks

    @torch.no_grad()
    def _write(
        self, x: Float[Tensor, "batch time out"], sentences: Sentences
    ) -> list[list[tuple[list[int], float]]]:
        """Return for each word the likeliest next letter again and again, and their chance."""
        words, end = sentences.size, self._end
        found, sure = torch.full((words, 1), end, device=x.device), x.new_ones(words)
        if words:
            seen, state = self._seen(x, sentences), self.writer.initial_state(words)
            whole = torch.zeros(words, dtype=torch.bool, device=x.device)
            while not whole.all():
                last = found[:, -1:].clamp(max=end + 1)
                s, state = self.writer.resume(self._entered(last, seen), state)
                number, chance = self._likeliest(s, seen, found.shape[1] - 1)
                whole = whole | (found.shape[1] > 2 * seen.lengths + MOST)
                sure = torch.where(whole, sure, sure * chance)
                whole = whole | (number == end)
                found = torch.cat([found, number.masked_fill(whole, end)[:, None]], 1)
        rows = [
            ([n if n < end else n - 1 for n in row if n != end], p)
            for row, p in zip(found.tolist(), sure.tolist(), strict=True)
        ]
        ends = sentences.lengths.cumsum(0).tolist()
        return [rows[a:b] for a, b in zip([0, *ends], ends, strict=False)]

    def _likeliest(
        self, s: Float[Tensor, "words 1 hidden"], seen: Seen, first: int
    ) -> tuple[Int[Tensor, " words"], Float[Tensor, " words"]]:
        """Return the likeliest number for each word, after the mark's those of copies; its chance.

        A place is copied as such where its letter has no number of its own.
        """
        written, copied = (chance[:, 0] for chance in self._chances(s, seen, first))
        nameless = seen.copied == NOTHING
        named = copied.masked_fill(nameless, 0)
        written = written.scatter_add(1, seen.copied.clamp(min=0), named)
        chance, number = torch.cat([written, copied.masked_fill(~nameless, 0)], 1).max(1)
        return number, chance
