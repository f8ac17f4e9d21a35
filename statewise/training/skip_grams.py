"""Word vectors learned from text without labels: a word's neighbours are told from drawn words.

    s(w, c) = z_w . v_c
    z_w     = the vector of the word, or the mean of it and those of the word's n-grams
    loss    = sum over pairs of  -log sigmoid(s(w, c)) - sum_k log sigmoid(-s(w, n_k))

A pair is a word and one near it in its sentence, no farther than a reach that is drawn anew for
each place from 1 to the window; n_k are words drawn by their counts to the power of 3/4. Mikolov et
al., "Distributed Representations of Words and Phrases and their Compositionality", 2013,
arXiv:1310.4546, section 2.2; n-grams as Bojanowski et al., "Enriching Word Vectors with Subword
Information", 2017, arXiv:1607.04606, section 3.2, whose sum is a mean here.

Differs  Adagrad, and frequent words are not left out.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from statewise.models.spelling import grams, key

PAIRS = 128
"""Of one step."""


class SkipGrams(nn.Module):
    """Vectors of words, known and new.

    Args:
        words: the keys of those that are known, the most frequent first.
        dim: numbers of a vector.
        buckets: how many vectors n-grams share; 0 for no n-grams.
    """

    def __init__(self, words: Sequence[str], dim: int, buckets: int):
        super().__init__()
        self.words = {word: at for at, word in enumerate(words)}
        self.dim, self.buckets = dim, buckets
        # n-grams after the words, so that a word is one bag of parts.
        self.parts = nn.EmbeddingBag(len(words) + buckets, dim, mode="mean")
        nn.init.uniform_(self.parts.weight, -1 / dim, 1 / dim)
        self.contexts = nn.Embedding(len(words), dim)
        nn.init.zeros_(self.contexts.weight)

    def bag(self, word: str) -> list[int]:
        """Return the numbers of the parts of a word: itself, if it is known, and its n-grams."""
        known = self.words.get(key(word))
        own = [] if known is None else [known]
        if not self.buckets:
            return own
        return own + [len(self.words) - 1 + gram for gram in grams(word, self.buckets)]

    def loss(
        self, bags: Sequence[Tensor], near: Int[Tensor, " pairs"], drawn: Int[Tensor, "pairs drawn"]
    ) -> Float[Tensor, ""]:
        """Return what telling neighbours from drawn words costs, summed over pairs, in nats.

        Args:
            bags: the parts of the first word of each pair.
            near: the numbers of the second ones.
            drawn: of those that they are told from.
        """
        sizes = torch.tensor([len(bag) for bag in bags])
        z = self.parts(torch.cat(list(bags)), sizes.cumsum(0) - sizes)
        right = (z * self.contexts(near)).sum(1)
        wrong = torch.einsum("pd,pnd->pn", z, self.contexts(drawn))
        return -functional.logsigmoid(right).sum() - functional.logsigmoid(-wrong).sum()

    @torch.no_grad()
    def vector(self, word: str) -> Float[Tensor, " dim"]:
        """Return that of a word; of one that is not known, by its n-grams.

        Raises:
            ValueError: if it is not known, and n-grams are not either.
        """
        if not (bag := self.bag(word)):
            raise ValueError(f"there is no vector of {word!r}, and no n-grams to make one of")
        return self.parts(torch.tensor([bag]))[0]

    def windows(
        self, sentences: Iterable[Sequence[str]], around: int
    ) -> Float[Tensor, "words features"]:
        """Return the vector of each word with those of its neighbours, one word after another.

        Args:
            sentences: of one word at least each.
            around: how many on either side; zeros where a sentence has none.

        Raises:
            ValueError: as `vector` does.
        """
        read = (torch.stack([self.vector(word) for word in words]) for words in sentences)
        padded = (functional.pad(row, (0, 0, around, around)) for row in read)
        rows = [row.unfold(0, 2 * around + 1, 1).mT.flatten(1) for row in padded]
        return torch.cat(rows)

    def save(self, path: str | Path, words: Iterable[str] = ()) -> None:
        """Write vectors to a text file, as word2vec writes them and `--vectors` reads them.

        Args:
            path: of the file.
            words: further ones, after those that are known.
        """
        listed = dict.fromkeys([*self.words, *map(key, words)])
        lines = [f"{len(listed)} {self.dim}"]
        for word in listed:
            numbers = " ".join(f"{number:.6g}" for number in self.vector(word).tolist())
            lines.append(f"{word} {numbers}")
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def learn_vectors(
    sentences: Iterable[Sequence[str]],
    *,
    dim: int = 100,
    window: int = 5,
    drawn: int = 5,
    minimum: int = 2,
    buckets: int = 20_000,
    epochs: int = 5,
    learning_rate: float = 0.3,
    seed: int = 0,
) -> SkipGrams:
    """Return vectors of the words of a text; the same seed, the same ones.

    Args:
        sentences: lists of words.
        dim: numbers of a vector.
        window: how far neighbours are, at most.
        drawn: words that each is told from.
        minimum: how often a word has to stand there; rarer ones are passed over.
        buckets: how many vectors n-grams share; 0 for whole words alone.
        epochs: how often everything is read.
        learning_rate: of the first step; it falls to 0 along a line.
        seed: of all that is drawn.

    Raises:
        ValueError: if no two words are neighbours.
    """
    read = [[key(word) for word in sentence] for sentence in sentences]
    counts = Counter(word for sentence in read for word in sentence)
    words = sorted((w for w, n in counts.items() if n >= minimum), key=lambda w: (-counts[w], w))
    numbers = {word: at for at, word in enumerate(words)}
    kept = [[numbers[word] for word in sentence if word in numbers] for sentence in read]
    if not any(len(sentence) > 1 for sentence in kept):
        raise ValueError(f"learn_vectors: no two words that stand {minimum} times are neighbours")
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SkipGrams(words, dim, buckets)
    bags = [torch.tensor(model.bag(word)) for word in words]
    chances = torch.tensor([float(counts[word]) for word in words]) ** 0.75
    optimizer = torch.optim.Adagrad(model.parameters(), learning_rate)
    for epoch in range(epochs):
        pairs = neighbours(kept, window, generator)
        pairs = pairs[torch.randperm(len(pairs), generator=generator)]
        for start in range(0, len(pairs), PAIRS):
            done = (epoch + start / len(pairs)) / epochs
            optimizer.param_groups[0]["lr"] = learning_rate * (1 - done)
            word, near = pairs[start : start + PAIRS].unbind(1)
            others = torch.multinomial(
                chances, len(word) * drawn, replacement=True, generator=generator
            ).reshape(-1, drawn)
            optimizer.zero_grad()
            model.loss([bags[at] for at in word.tolist()], near, others).backward()
            optimizer.step()
    return model


def neighbours(
    sentences: Sequence[Sequence[int]], window: int, generator: torch.Generator
) -> Int[Tensor, "pairs both"]:
    """Return each word of sentences with each that is within its reach.

    Args:
        sentences: of the numbers of words.
        window: the longest reach.
        generator: draws it, from 1 to the window, for each place.
    """
    words = torch.tensor([word for sentence in sentences for word in sentence])
    of = torch.tensor([at for at, sentence in enumerate(sentences) for _ in sentence])
    reach = torch.randint(1, window + 1, words.shape, generator=generator)
    found = []
    for far in range(1, min(window, len(words) - 1) + 1):
        left, right = words[:-far], words[far:]
        together = of[:-far] == of[far:]
        for one, other, reaching in ((left, right, reach[:-far]), (right, left, reach[far:])):
            here = together & (reaching >= far)
            found.append(torch.stack([one[here], other[here]], 1))
    return torch.cat(found)
