"""How classical cells start: matrices with a block of rows for each gate, and chrono biases."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def xavier(weight: Tensor, gates: int = 1) -> None:
    """Draw a matrix by the rule of Glorot and Bengio, 2010, every gate's rows on their own."""
    for block in weight.chunk(gates):
        nn.init.xavier_uniform_(block)


@torch.no_grad()
def orthogonal(weight: Tensor, gates: int = 1) -> None:
    """Draw every gate's rows of a recurrent matrix orthogonal."""
    for block in weight.chunk(gates):
        nn.init.orthogonal_(block)


@torch.no_grad()
def chrono(bias: Tensor, longest: int) -> None:
    """Draw a forget gate's biases as log U(1, longest - 1), so that memories last up to `longest`.

    Tallec and Ollivier, "Can recurrent neural networks warp time?", 2018, arXiv:1804.11188, section
    2.2.
    """
    if longest < 3:
        raise ValueError(f"chrono: longest = {longest} should be at least 3")
    bias.copy_(bias.uniform_(1, longest - 1).log_())
