r"""RWKV-4: for each feature, a softmax average of the values so far that forgets at a fixed rate.

Peng et al., "RWKV: Reinventing RNNs for the Transformer Era", 2023, arXiv:2305.13048, section 3.1
and appendix D.

    r_t, k_t, v_t = W_r, W_k, W_v  of  mu * x_t + (1 - mu) * x_{t-1}    a mu for each
    w, u = exp(decay), bonus
    wkv_t = (sum_{i<t} e^{k_i - (t-1-i) w} v_i + e^{k_t + u} v_t) / (the same with 1 for v)
    y_t = W_out [sigmoid(r_t) * wkv_t]

Computed by a scan of logarithms, z_t = log sum_{i<=t} e^{k_i - (t-i) w}, and a scan of means, in
which nothing can overflow; for the token itself u stands in place of a past that decayed:

    z_t = log(e^{z_{t-1} - w} + e^{k_t})
    mean_t = mean_{t-1} + sigmoid(k_t + w - z_{t-1}) (v_t - mean_{t-1})
    wkv_t  = mean_{t-1} + sigmoid(k_t + u - z_{t-1}) (v_t - mean_{t-1})

This is the time mixing alone; the other half of a block is rwkv_channel_mixing.py.

Family   linear diagonal
Forms    scan; step
State    z, mean and last, the input before, (batch, dim) each: 3 dim numbers
Cost     O(time dim^2) work and O(log time) depth in `forward`; O(dim^2) in `step`
Differs  The authors keep numerator, denominator and maximum: 3 dim numbers where z and mean are 2.
         As theirs, the maps W_r, W_k and W_out start at zero.
See also rwkv5.py, rwkv_channel_mixing.py, aaren.py
"""

import math
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.recurrent import Recurrent, Run, shifted
from statewise.mixers.parts.rwkv import Place, awake, between, linear, weighted_average


class RWKV4State(NamedTuple):
    """What the time mixing of RWKV-4 remembers."""

    z: Float[Tensor, "batch dim"]
    mean: Float[Tensor, "batch dim"]
    last: Float[Tensor, "batch dim"]


class RWKV4(Recurrent[RWKV4State]):
    """The time mixing of RWKV-4.

    Args:
        dim: features read, remembered and answered.
        layer: which layer of its stack it starts as, from 0; later ones start less evenly.
        layers: of that stack.
    """

    remembers = RWKV4State
    starts: ClassVar[Mapping[str, float]] = {"z": -math.inf}

    def __init__(self, dim: int, *, layer: int = 0, layers: int = 1):
        super().__init__()
        self.dim = self.out = dim
        place = Place("rwkv4", dim, layer, layers)
        early = place.share**place.left
        shares = [place.share ** (place.left / 2), early, early + 0.3 * place.depth]
        self.mu = nn.Parameter(torch.stack(shares))
        self.decay = nn.Parameter(place.slowness(-5.0, 3.0))
        self.bonus = nn.Parameter(math.log(0.3) + 0.5 * place.zigzag())
        self.receptance, self.key = linear(dim, dim, gain=0.0), linear(dim, dim, gain=0.0)
        self.value, self.output = linear(dim, dim, gain=1.0), linear(dim, dim, gain=0.0)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of all three."""
        return {"z": (self.dim,), "mean": (self.dim,), "last": (self.dim,)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: RWKV4State, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], RWKV4State]:
        """Map inputs."""
        wide = state_dtype(x.dtype)
        before, last = shifted(x, state.last, run)
        r, k, v = between(before, x, self.mu)
        r, k, v = self.receptance(r), self.key(k).to(wide), self.value(v).to(wide)
        w, u = self.decay.to(wide).exp(), self.bonus.to(wide)

        wkv, final, average = weighted_average(k, v, w, u, state.z, state.mean, run)
        y = self.output(r.sigmoid() * wkv.to(x.dtype))
        return y, RWKV4State(final, average, last)

    @classmethod
    def example(cls) -> "RWKV4":
        """Return a small instance, with no map at zero."""
        mixer = cls(dim=4)
        awake(mixer)
        return mixer
