r"""RWKV-6: Finch, linear attention whose rates of forgetting and token shifts follow the input.

Peng et al., "Eagle and Finch: RWKV with Matrix-Valued States and Dynamic Recurrence", 2024,
arXiv:2404.05892, section 4.

    d_t = x_{t-1} - x_t
    m_t = A_2 tanh(A_1 (x_t + mu_x * d_t))                      of each of r, w, k, v, g
    r_t, k_t, v_t, g_t = W_r, W_k, W_v, W_g  of  x_t + (mu + m_t) * d_t
    log a_t = -exp(decay + D_2 tanh(D_1 (x_t + (mu_w + m_t) * d_t)))    of each key feature
    o_t = (S_{t-1} + diag(bonus) k_t v_t^T)^T r_t               of each head
    S_t = diag(a_t) S_{t-1} + k_t v_t^T
    y_t = W_out [silu(g_t) * norm(o_t)]                         heads side by side

The norm standardizes each head, then scales and shifts each feature. Between the two maps there are
32 features for each m and 64 for the decay. W_out, A_1 and D_1 start at zero, as published.

This is the time mixing alone; the other half of a block is rwkv_channel_mixing.py.

Family   matrix state
Forms    chunkwise; step
State    S, (batch, heads, key, key), and last, the input before, (batch, dim): dim^2 / heads + dim
Cost     O(time dim (dim + dim / heads)) work in `forward`; O(dim (dim + dim / heads)) in `step`
See also rwkv5.py, rwkv7.py, gla.py, rwkv_channel_mixing.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.recurrent import Run, shifted
from statewise.mixers.parts.rwkv import BonusMixing, Place, awake, between, linear


class RWKV6State(NamedTuple):
    """What the time mixing of RWKV-6 remembers."""

    S: Float[Tensor, "batch heads key value"]
    last: Float[Tensor, "batch dim"]


class RWKV6(BonusMixing[RWKV6State]):
    """The time mixing of RWKV-6.

    Args:
        dim: features read and answered.
        heads: parts of the features that remember apart; of 64 features each if absent.
        mix_rank: features between the two maps to each token shift.
        decay_rank: features between the two maps to the decay.
        layer: which layer of its stack it starts as, from 0.
        layers: of that stack.
    """

    remembers = RWKV6State

    def __init__(
        self,
        dim: int,
        *,
        heads: int | None = None,
        mix_rank: int = 32,
        decay_rank: int = 64,
        layer: int = 0,
        layers: int = 1,
    ):
        place = Place("rwkv6", dim, layer, layers)
        super().__init__("rwkv6", dim, heads, place)
        for name, rank in (("mix_rank", mix_rank), ("decay_rank", decay_rank)):
            if rank < 1:
                raise ValueError(f"rwkv6: {name} = {rank} should be at least 1")
        early, quick = place.share**place.left, place.share ** (place.left / 2)
        shares = [quick, early, early, early + 0.3 * place.depth, quick]
        self.mu_x = nn.Parameter(1 - early)
        self.mu = nn.Parameter(1 - torch.stack(shares))
        self.to_mix = linear(dim, 5 * mix_rank, gain=0.0)
        self.from_mix = nn.Parameter(torch.empty(5, mix_rank, dim).uniform_(-0.01, 0.01))
        self.to_decay = linear(dim, decay_rank, gain=0.0)
        self.from_decay = nn.Parameter(torch.empty(decay_rank, dim).uniform_(-0.01, 0.01))
        self.decay = nn.Parameter(place.slowness(-6.0, -1.0))

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: RWKV6State, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], RWKV6State]:
        """Map inputs."""
        before, last = shifted(x, state.last, run)
        (mixed,) = between(x, before, self.mu_x[None])
        m = self.to_mix(mixed).tanh().unflatten(-1, (5, -1))
        mu = self.mu + torch.einsum("...ij,ijk->...ik", m, self.from_mix)
        r, w, k, v, g = between(x, before, mu)
        w = (self.to_decay(w).tanh() @ self.from_decay).to(state_dtype(x.dtype)) + self.decay
        log_decay = self.split(-w.exp())
        y, S = self.attended(r, k, v, g, log_decay=log_decay, initial=state.S, run=run)
        return y, RWKV6State(S, last)

    @classmethod
    def example(cls) -> "RWKV6":
        """Return a small instance, with no map at zero."""
        mixer = cls(dim=8, heads=2, mix_rank=2, decay_rank=2)
        awake(mixer)
        return mixer
