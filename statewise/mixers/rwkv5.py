r"""RWKV-5: Eagle, linear attention whose keys forget at fixed rates, with a bonus for the present.

Peng et al., "Eagle and Finch: RWKV with Matrix-Valued States and Dynamic Recurrence", 2024,
arXiv:2404.05892, section 4.

    r_t, k_t, v_t, g_t = W_r, W_k, W_v, W_g  of  mu * x_t + (1 - mu) * x_{t-1}  a mu for each
    a = exp(-exp(decay))                                        of each key feature, at all times
    o_t = (S_{t-1} + diag(bonus) k_t v_t^T)^T r_t               of each head
    S_t = diag(a) S_{t-1} + k_t v_t^T
    y_t = W_out [silu(g_t) * norm(o_t)]                         heads side by side

The norm standardizes each head, then scales and shifts each feature.

This is the time mixing alone; the other half of a block is rwkv_channel_mixing.py.

Family   matrix state
Forms    chunkwise; step
State    S, (batch, heads, key, key), and last, the input before, (batch, dim): dim^2 / heads + dim
Cost     O(time dim (dim + dim / heads)) work in `forward`; O(dim (dim + dim / heads)) in `step`
Differs  As the authors', W_out starts at zero.
See also rwkv4.py, rwkv6.py, rwkv_channel_mixing.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.recurrent import Run, shifted
from statewise.mixers.parts.rwkv import BonusMixing, Place, awake, between


class RWKV5State(NamedTuple):
    """What the time mixing of RWKV-5 remembers."""

    S: Float[Tensor, "batch heads key value"]
    last: Float[Tensor, "batch dim"]


class RWKV5(BonusMixing[RWKV5State]):
    """The time mixing of RWKV-5.

    Args:
        dim: features read and answered.
        heads: parts of the features that remember apart; of 64 features each if absent.
        layer: which layer of its stack it starts as, from 0.
        layers: of that stack.
    """

    remembers = RWKV5State

    def __init__(self, dim: int, *, heads: int | None = None, layer: int = 0, layers: int = 1):
        place = Place("rwkv5", dim, layer, layers)
        super().__init__("rwkv5", dim, heads, place)
        early, quick = place.share**place.left, place.share ** (place.left / 2)
        self.mu = nn.Parameter(torch.stack([quick, early, early + 0.3 * place.depth, quick]))
        self.decay = nn.Parameter(self.split(place.slowness(-6.0, -1.0)))

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: RWKV5State, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], RWKV5State]:
        """Map inputs."""
        before, last = shifted(x, state.last, run)
        r, k, v, g = between(before, x, self.mu)
        log_decay = -self.decay.to(state_dtype(x.dtype)).exp().expand(*x.shape[:-1], -1, -1)
        y, S = self.attended(r, k, v, g, log_decay=log_decay, initial=state.S, run=run)
        return y, RWKV5State(S, last)

    @classmethod
    def example(cls) -> "RWKV5":
        """Return a small instance, with no map at zero."""
        mixer = cls(dim=8, heads=2)
        awake(mixer)
        return mixer
