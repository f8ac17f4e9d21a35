"""A gate by which every word hears what its whole sentence says; it stands above the layers.

Xu et al., "A Global Context Mechanism for Sequence Labeling", 2023, arXiv:2305.19928.

    G    = [h_n from the left; h_1 from the right]      what was answered last, either way
    i_H  = sigmoid(W_H [h_t; G] + b_H)                  what is kept of the word
    i_G  = sigmoid(W_G [h_t; G] + b_G)                  what is taken of the sentence
    y_t  = i_H * h_t + i_G * G

Each matrix is kept in two, so that what G adds to both is computed once a sentence.
"""

from jaxtyping import Float, Int
from torch import Tensor, nn

from statewise.mixers.base import blank
from statewise.models.pooling import Last


class GlobalContext(nn.Module):
    """Mixes what a sentence says into the features of its words.

    Args:
        dim: features of each word, answered alike.
        both_ways: whether the second half of them was read from the right.
    """

    def __init__(self, dim: int, *, both_ways: bool):
        super().__init__()
        self.last = Last(dim, both_ways=both_ways)
        self.word = nn.Linear(dim, 2 * dim)
        self.sentence = nn.Linear(dim, 2 * dim, bias=False)

    def forward(
        self, x: Float[Tensor, "batch time dim"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch time dim"]:
        """Return the features of each word; zero in the padding, which is not read."""
        x = blank(x, lengths)
        context = self.last(x, lengths)[:, None]
        kept, taken = (self.word(x) + self.sentence(context)).sigmoid().chunk(2, 2)
        return blank(kept * x + taken * context, lengths)
