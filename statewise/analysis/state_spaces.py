"""State-space layers that are one map, written in two ways.

S4D has oscillators of its own for each feature and is computed as a convolution; S5 has one bank of
them that hears all features, and is computed as a scan. S5's bank holds S4D's oscillators side by
side where each hears and is read by one feature alone: its matrices B and C are block-diagonal.
Smith, Warrington and Linderman, "Simplified State Space Layers for Sequence Modeling", 2022,
arXiv:2208.04933, section 4.
"""

import torch
from torch import Tensor

from statewise.mixers import S4D, S5


@torch.no_grad()
def s4d_and_s5(dim: int, state: int) -> tuple[S4D, S5]:
    """Return a fresh S4D, and the S5 that is the same map, in float64.

    S4D's output map is the narrower one of S5, s * sigmoid(W s + b).

    Args:
        dim: features read and answered.
        state: numbers remembered of each feature, conjugates counted; even.
    """
    s4d, s5 = S4D(dim, state=state).double(), S5(dim, state=dim * state).double()
    half = state // 2
    glu, which = s4d.output.get_submodule("1"), torch.arange(dim).repeat_interleave(half)
    weight, bias = glu.get_parameter("weight"), glu.get_parameter("bias")
    weight[:dim], bias[:dim] = torch.eye(dim), 0.0

    def blocks(pairs: Tensor) -> Tensor:
        """Return (2, dim * half, dim): each oscillator's number in the column of its feature."""
        spread = torch.zeros(2, dim * half, dim, dtype=pairs.dtype)
        spread[:, torch.arange(dim * half), which] = pairs.flatten(0, 1).T
        return spread

    s5.rate.copy_(-s4d.log_rate.exp().flatten())
    s5.frequency.copy_(s4d.frequency.flatten())
    s5.log_step.copy_(s4d.log_step[which])
    s5.enter.weight.copy_(blocks(s4d.B).flatten(0, 1))
    # Re(C h) = Re(C) Re(h) - Im(C) Im(h).
    real, imaginary = blocks(s4d.C)
    s5.read.weight.copy_(torch.cat([real, -imaginary]).T)
    s5.skip.copy_(s4d.skip)
    s5.gate.weight.copy_(weight[dim:])
    s5.gate.get_parameter("bias").copy_(bias[dim:])
    return s4d, s5
