"""Convolutions of several widths side by side over a sequence: each filter answers to a pattern.

Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP 2014, arXiv:1408.5882,
section 2; before recurrent layers, as Sonderby et al. have them, "Convolutional LSTM Networks for
Subcellular Localization of Proteins", 2015, arXiv:1503.01919, section 2.

    y_t = [relu(b + sum_j W_j x_{t + j}) for each width],   j = -(width - 1) // 2 ... width // 2

where x is 0 outside the sequence.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from statewise.mixers.base import blank


class Filters(nn.Module):
    """Several convolutions, answering side by side.

    Args:
        dim: features of each item.
        widths: how many items each of them sees; one convolution for each width.
        each: how many filters are of each width.
    """

    def __init__(self, dim: int, widths: Sequence[int], each: int):
        super().__init__()
        self.widths, self.each, self.out = tuple(widths), each, each * len(widths)
        self.convolutions = nn.ModuleList(nn.Conv1d(dim, each, width) for width in widths)

    def forward(
        self, x: Float[Tensor, "batch time dim"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch time out"]:
        """Return how each filter answers at each item; zero in the padding, which is not read."""
        if not x.shape[1]:
            return x.new_zeros(len(x), 0, self.out)
        x = blank(x, lengths).mT
        found = [
            # Not Conv1d's own "same": of an even width it warns of a copy.
            convolution(functional.pad(x, ((width - 1) // 2, width // 2)))
            for width, convolution in zip(self.widths, self.convolutions, strict=True)
        ]
        return blank(torch.cat(found, 1).relu().mT, lengths)

    def windows(self) -> list[tuple[int, int]]:
        """Return what each filter sees around an item: from where to where, the end excluded."""
        around = [(-((width - 1) // 2), width // 2 + 1) for width in self.widths]
        return [window for window in around for _ in range(self.each)]
