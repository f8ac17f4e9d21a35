r"""RG-LRU: a diagonal recurrence whose decay is a learned one to the power of an input gate.

De et al., "Griffin: Mixing Gated Linear Recurrences with Local Attention for Efficient Language
Models", 2024, arXiv:2402.19427, section 2.4 and appendix A.

    r_t = sigmoid(W_r x_t + b_r)                        how fast to forget; W_r has a block per head
    i_t = sigmoid(W_i x_t + b_i)                        how much to take; W_i too
    a_t = sigmoid(Lambda) ** (8 r_t)
    h_t = a_t * h_{t-1} + sqrt(1 - a_t^2) * (i_t * x_t)
    y_t = h_t

Lambda starts so that sigmoid(Lambda) ** 8 is uniform from 0.9 to 0.999.

Family   linear diagonal
Forms    scan; step
State    h, (batch, dim); begun, (batch, 1): one if anything was read; dim + 1 numbers
Cost     O(time dim^2 / heads) work in `forward`; O(dim^2 / heads) in `step`
Differs  The first input, and the first after a reset, enters as i_t * x_t, without the root, as in
         the authors' program. That program draws Lambda without the power of 8, which forgets
         faster: about `least=0.43, most=0.992`.
See also hawk.py, s6.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.rates import logit
from statewise.mixers.parts.recurrent import Recurrent, Run, divided, shifted
from statewise.ops.scan import scan

_POWER = 8


class RGLRUState(NamedTuple):
    """What a real-gated linear recurrent unit remembers."""

    h: Float[Tensor, "batch dim"]
    begun: Float[Tensor, "batch one"]


class RGLRU(Recurrent[RGLRUState]):
    """Real-gated linear recurrent unit.

    Args:
        dim: features read, remembered and answered.
        heads: blocks of the gates' matrices.
        least: the least decay at the start, with the gate open.
        most: the most.
    """

    remembers = RGLRUState

    def __init__(self, dim: int, *, heads: int = 4, least: float = 0.9, most: float = 0.999):
        super().__init__()
        divided("rg_lru", heads, dim=dim)
        if not 0 < least < most < 1:
            raise ValueError(f"rg_lru: least = {least} and most = {most} should rise within (0, 1)")
        self.dim = self.out = dim
        self.heads = heads
        width = dim // heads
        self.weight = nn.Parameter(torch.randn(2, heads, width, width) * width**-0.5)
        self.bias = nn.Parameter(torch.zeros(2, dim))
        decay = torch.empty(dim).uniform_(least, most)
        self.Lambda = nn.Parameter(logit(decay ** (1 / _POWER)))

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of h and of the mark that anything was read."""
        return {"h": (self.dim,), "begun": (1,)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: RGLRUState, run: Run
    ) -> tuple[Float[Tensor, "batch *time dim"], RGLRUState]:
        """Map inputs."""
        wide = state_dtype(x.dtype)
        blocks = x.unflatten(-1, (self.heads, -1))
        gates = torch.einsum("...hi,ghio->...gho", blocks, self.weight).flatten(-2) + self.bias
        r, i = gates.to(wide).sigmoid().unbind(-2)
        return gated(x, r, i, softplus(-self.Lambda.to(wide)), state, run)

    @classmethod
    def example(cls) -> "RGLRU":
        """Return a small instance."""
        return cls(dim=4, heads=2)


def gated(
    x: Float[Tensor, "batch *time dim"],
    r: Float[Tensor, "batch *time dim"],
    i: Float[Tensor, "batch *time dim"],
    rate: Float[Tensor, " dim"],
    state: RGLRUState,
    run: Run,
) -> tuple[Float[Tensor, "batch *time dim"], RGLRUState]:
    """Return h at every time, and the last state, of gates that were computed already.

    Args:
        x: the inputs.
        r: in (0, 1), how fast to forget, in the dtype of the arithmetic.
        i: in (0, 1), how much to take.
        rate: softplus(-Lambda): the decay is exp(-8 r rate).
        state: before the first input.
        run: how ops are called.
    """
    log_decay = -_POWER * r * rate
    # Where r has rounded to zero the root would have an infinite slope: 0 * inf.
    root = (-torch.expm1(2 * log_decay)).clamp(1e-24).sqrt()
    before, begun = shifted(torch.ones_like(x[..., :1], dtype=r.dtype), state.begun, run)
    drive = torch.where(before > 0, root, 1) * i * x
    y, h = run(scan, log_decay.exp(), drive, initial=state.h)
    return y.to(x.dtype), RGLRUState(h, begun)
