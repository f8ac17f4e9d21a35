r"""RWKV-7: Goose, a delta rule with a decay, a learning rate and a removal key of every feature.

Peng et al., "RWKV-7 'Goose' with Expressive Dynamic State Evolution", 2025, arXiv:2503.14456,
section 4.

    r_t, k_t, v_t = W_r, W_k, W_v  of  x_t + mu * (x_{t-1} - x_t)       a mu for each, and for
    w_t = decay + D_2 tanh(D_1 x^w_t)                           three more mixtures x^w, x^a, x^g
    log d_t = -exp(-1/2) sigmoid(w_t)                           d from 0.545 to 1
    a_t = sigmoid(rate + A_2 A_1 x^a_t)                         in-context learning rate
    g_t = G_2 sigmoid(G_1 x^g_t)
    c_t = unit(k_t * removal)                                   of each head; length one
    k_t = k_t * (1 + (a_t - 1) * replacement)
    S_t = (diag(d_t) - (a_t * c_t) c_t^T) S_{t-1} + k_t v_t^T
    o_t = norm(S_t^T r_t) + sum(r_t * k_t * bonus) v_t          of each head
    y_t = W_out [g_t * o_t]                                     heads side by side

The norm standardizes each head, then scales and shifts each feature. Where a_t exceeds d_t the
transition has a negative eigenvalue, down to -0.46.

This is the time mixing alone; the other half of a block is rwkv_channel_mixing.py.

Family   delta rule
Forms    chunkwise; step
State    S, (batch, heads, key, key), and last, the input before, (batch, dim): dim^2 / heads + dim
Cost     O(time dim (dim + dim / heads)) work in `forward`; O(dim (dim + dim / heads)) in `step`
Differs  Each layer keeps its own values: the authors' later layers mix in those of the first, which
         a mixer by itself does not see. As theirs, W_out, D_1, A_1 and G_1 start at zero.
See also rwkv6.py, kda.py, gated_delta_net.py, rwkv_channel_mixing.py
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.norms import unit
from statewise.mixers.parts.recurrent import Run, shifted
from statewise.mixers.parts.rwkv import Place, TimeMixing, awake, between, linear
from statewise.ops.delta_rule import low_rank_delta_rule


class RWKV7State(NamedTuple):
    """What the time mixing of RWKV-7 remembers."""

    S: Float[Tensor, "batch heads key value"]
    last: Float[Tensor, "batch dim"]


class RWKV7(TimeMixing[RWKV7State]):
    """The time mixing of RWKV-7.

    Args:
        dim: features read and answered.
        heads: parts of the features that remember apart; of 64 features each if absent.
        decay_rank: features between the two maps to the decay; the multiple of 32 nearest to
            2.5 sqrt(dim) if absent, and at least 32.
        rate_rank: of those to the learning rate; the same if absent.
        gate_rank: of those to the gate; nearest to 5 sqrt(dim) if absent.
        layer: which layer of its stack it starts as, from 0.
        layers: of that stack.
    """

    remembers = RWKV7State

    def __init__(
        self,
        dim: int,
        *,
        heads: int | None = None,
        decay_rank: int | None = None,
        rate_rank: int | None = None,
        gate_rank: int | None = None,
        layer: int = 0,
        layers: int = 1,
    ):
        place = Place("rwkv7", dim, layer, layers)
        super().__init__("rwkv7", dim, heads, place)
        powers = torch.tensor([0.2, 0.9, 0.7, 0.7, 0.9, 0.2])[:, None]
        self.mu = nn.Parameter(1 - place.share ** (powers * place.left))
        self.to_decay, self.from_decay = _narrow(dim, "decay_rank", decay_rank, 2.5)
        self.to_rate, self.from_rate = _narrow(dim, "rate_rank", rate_rank, 2.5)
        self.to_gate, self.from_gate = _narrow(dim, "gate_rank", gate_rank, 5.0)
        within = torch.linspace(-1, 1, dim // self.heads).repeat(self.heads)
        within, across = within * within.abs(), place.ramp - 0.5
        self.decay = nn.Parameter(6 * place.ramp ** (1 + place.depth**0.3) - 5.5 + 2.5 * within)
        self.rate = nn.Parameter(0.3 * within + 0.4 * across - 0.19)
        self.removal = nn.Parameter(0.71 - 0.1 * across)
        self.replacement = nn.Parameter(torch.full((dim,), 1.02))
        self.bonus = nn.Parameter(torch.full((dim,), -0.04))

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: RWKV7State, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], RWKV7State]:
        """Map inputs."""
        before, last = shifted(x, state.last, run)
        r, w, k, v, a, g = between(x, before, self.mu)
        r, k, v = self.receptance(r), self.key(k), self.split(self.value(v))
        w = self.from_decay(self.to_decay(w).tanh()).to(state_dtype(x.dtype)) + self.decay
        a = torch.sigmoid(self.from_rate(self.to_rate(a)) + self.rate)
        g = self.from_gate(self.to_gate(g).sigmoid())
        c = unit(self.split(k * self.removal), eps=1e-12)
        k = k * (1 + (a - 1) * self.replacement)
        read, S = run(
            low_rank_delta_rule,
            self.split(r),
            self.split(k),
            v,
            -c,
            self.split(a) * c,
            log_decay=self.split(-math.exp(-0.5) * w.sigmoid()),
            initial=state.S,
        )
        own = self.split(r * k * self.bonus).sum(-1, keepdim=True) * v
        return self.output(g * (self.norm(read) + own).flatten(-2)), RWKV7State(S, last)

    @classmethod
    def example(cls) -> "RWKV7":
        """Return a small instance, with no map at zero."""
        mixer = cls(dim=8, heads=2, decay_rank=2, rate_rank=2, gate_rank=2)
        awake(mixer)
        return mixer


def _narrow(dim: int, name: str, rank: int | None, roots: float) -> tuple[nn.Linear, nn.Linear]:
    """Return a map to few features, zero at the start, and one back."""
    rank = max(32, 32 * round(roots * dim**0.5 / 32)) if rank is None else rank
    if rank < 1:
        raise ValueError(f"rwkv7: {name} = {rank} should be at least 1")
    return linear(dim, rank, gain=0.0), linear(rank, dim, gain=0.1 * max(1, rank / dim) ** 0.5)
