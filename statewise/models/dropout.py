"""Dropout where models place it: on words, and on what is read layer by layer.

    x_t = E[w_t] * m_{w_t}          words: an embedding is there or absent wherever the word stands
    x_t = x_t * m_t                 input: what the first layer reads
    branch(norm(x_t) * m_t)         layers: what each branch of each layer reads
    head(norm(x_t) * m_t)           output: what the head reads

Each m is 0 with a chance of its rate and else 1 / (1 - rate), and only while training. What a layer
keeps from one time to the next is never dropped: states pass untouched. A mask is drawn for each
time (Zaremba, Sutskever and Vinyals, "Recurrent Neural Network Regularization", 2014,
arXiv:1409.2329, section 3.1), or, locked, for each row of a call and all its times (Gal and
Ghahramani, 2016, arXiv:1512.05287; Merity, Keskar and Socher, 2017, arXiv:1708.02182, section 4.2,
and for words section 4.3). A step while training is a call of its own.

    Zaremba     input, layers and output of one rate
    Merity      locked, with a rate for each and for words; weight_dropped_lstm has the fifth
    encoders    locked, of one rate, before, between and after the layers of a sentence
"""

from typing import Annotated

from jaxtyping import Float, Int
from pydantic import ConfigDict, Field
from torch import Tensor, nn

from statewise.mixers.parts.draws import Draws
from statewise.models.configuration import Configuration

Rate = Annotated[float, Field(ge=0, lt=1)]


class Dropout(Configuration):
    """Shares of what is absent while training.

    Args:
        words: of the vocabulary, absent from a whole call wherever they stand.
        input: of the features that the first layer reads.
        layers: of the features that each branch of each layer reads.
        output: of the features that the head reads.
        locked: whether a row keeps one mask over all times of a call; each time has its own
            otherwise.
    """

    # Not strict, which would take nothing but instances where others hold it.
    model_config = ConfigDict(strict=False)
    called = "dropout"

    words: Rate = 0.0
    input: Rate = 0.0
    layers: Rate = 0.0
    output: Rate = 0.0
    locked: bool = False


class Drop(nn.Module):
    """Sets a share of features to zero while training, and makes up for it in the others.

    Args:
        rate: the share, from 0 and below 1.
        locked: whether all times of a call share a mask.

    Raises:
        ValueError: for another rate.
    """

    def __init__(self, rate: float, *, locked: bool):
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"dropout {rate} should be from 0 and below 1")
        self.rate, self.locked = rate, locked
        self.draws = Draws()

    def forward(self, x: Float[Tensor, "batch *time dim"]) -> Float[Tensor, "batch *time dim"]:
        """Return what is left of the features of a sequence, or of one time."""
        if not self.training or not self.rate:
            return x
        batch, *time, dim = x.shape
        return x * _mask(self.draws(batch, *(1 if self.locked else t for t in time), dim), self, x)

    def extra_repr(self) -> str:
        """Return what the printed module shows."""
        return f"rate={self.rate}, locked={self.locked}"


class DropWords(nn.Module):
    """Sets the embeddings of a share of the words to zero while training.

    Args:
        vocab: how many words there are.
        rate: the share, from 0 and below 1.
    """

    def __init__(self, vocab: int, rate: float):
        super().__init__()
        self.vocab, self.rate = vocab, rate
        self.draws = Draws()

    def forward(
        self, x: Float[Tensor, "*axes dim"], tokens: Int[Tensor, "*axes"]
    ) -> Float[Tensor, "*axes dim"]:
        """Return what is left of the embeddings of tokens."""
        if not self.training:
            return x
        return x * _mask(self.draws(self.vocab), self, x)[tokens, None]


def _mask(drawn: Tensor, drop: Drop | DropWords, like: Tensor) -> Tensor:
    """Return what to multiply with: 0 where a uniform number is below the rate."""
    return (drawn >= drop.rate).to(like.dtype) / (1 - drop.rate)


def drop(rate: float, *, locked: bool) -> nn.Module:
    """Return dropout of features, or nothing where the rate is 0."""
    return Drop(rate, locked=locked) if rate else nn.Identity()
