"""What is known of words beforehand, brought to what attention scores.

Margatina, Baziotis and Potamianos, "Attention-based Conditioning Methods for External Knowledge
Integration", ACL 2019, arXiv:1906.03674, section 3; c_t are the numbers that a lexicon has for the
word, zero where it has none, and h_t what was read there:

    concatenation    f_t = [h_t; c_t]
    gate             f_t = sigmoid(W c_t + b) * h_t
    affine           f_t = (W c_t + b) * h_t + (U c_t + d)

Attention scores f_t in place of h_t, and still takes the mean of h_t.
"""

import abc

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.models.spelling import Sentences


class Condition(nn.Module, abc.ABC):
    """What is scored of a word, from what was read there and what is known.

    Args:
        dim: features that were read at each time.
        known: numbers that are known there.
    """

    layers: int
    """Of the network above it, as published."""

    def __init__(self, dim: int, known: int):
        super().__init__()
        self.dim, self.known = dim, known

    @property
    def out(self) -> int:
        """Features that are answered."""
        return self.dim

    @abc.abstractmethod
    def forward(
        self, x: Float[Tensor, "batch time dim"], known: Float[Tensor, "batch time known"]
    ) -> Float[Tensor, "batch time out"]:
        """Return what is scored at each time."""


class Concatenation(Condition):
    """What is known, beside what was read."""

    layers = 1

    @property
    def out(self) -> int:
        """Features that are answered: those of both."""
        return self.dim + self.known

    def forward(
        self, x: Float[Tensor, "batch time dim"], known: Float[Tensor, "batch time known"]
    ) -> Float[Tensor, "batch time out"]:
        """Return both side by side."""
        return torch.cat([x, known], 2)


class Gate(Condition):
    """How much of each feature counts, by what is known."""

    layers = 0

    def __init__(self, dim: int, known: int):
        super().__init__(dim, known)
        self.gate = nn.Linear(known, dim)

    def forward(
        self, x: Float[Tensor, "batch time dim"], known: Float[Tensor, "batch time known"]
    ) -> Float[Tensor, "batch time dim"]:
        """Return the features that the gate lets through."""
        return self.gate(known).sigmoid() * x


class Affine(Condition):
    """Each feature stretched and moved by what is known."""

    layers = 0

    def __init__(self, dim: int, known: int):
        super().__init__(dim, known)
        self.stretch, self.move = nn.Linear(known, dim), nn.Linear(known, dim)

    def forward(
        self, x: Float[Tensor, "batch time dim"], known: Float[Tensor, "batch time known"]
    ) -> Float[Tensor, "batch time dim"]:
        """Return the features stretched and moved."""
        return self.stretch(known) * x + self.move(known)


CONDITIONS: dict[str, type[Condition]] = {
    "concatenation": Concatenation,
    "gate": Gate,
    "affine": Affine,
}
"""By the names that a configuration has for them."""


def beside(
    x: Float[Tensor, "batch time dim"], sentences: Sentences
) -> Float[Tensor, "batch time read"]:
    """Return features of words, and after them the numbers that the lexicon has for each."""
    known = sentences.types.lexicon
    if not known.shape[1]:
        return x
    return torch.cat([x, known[sentences.places].to(x.dtype)], 2)
