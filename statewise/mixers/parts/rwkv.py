"""What the versions of RWKV share, and how their place in a stack starts them: no mixer itself."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from statewise.mixers.base import State
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.norms import HeadNorm
from statewise.mixers.parts.recurrent import Recurrent, Run, divided, shifted
from statewise.ops.linear_attention import linear_attention
from statewise.ops.scan import scan
from statewise.ops.semiring import log_scan


class Place:
    """Where in a stack of layers a mixer stands, which says how it starts.

    Args:
        mixer: its name, for what is refused.
        dim: features.
        layer: which layer of the stack it is, from 0.
        layers: how many there are.
    """

    def __init__(self, mixer: str, dim: int, layer: int, layers: int):
        if not 0 <= layer < layers:
            raise ValueError(
                f"{mixer}: layer = {layer} should be from 0 to layers - 1 = {layers - 1}"
            )
        self.depth = layer / max(layers - 1, 1)
        """0 for the first layer, 1 for the last."""
        self.left = 1 - layer / layers
        """1 for the first layer, towards 0 with the last."""
        self.scale = ((1 + layer) / layers) ** 0.7
        """What answers are scaled by: more from layer to layer."""
        self.index = torch.arange(dim)
        self.share = self.index / dim
        """From 0 for the first feature to nearly 1 for the last."""
        self.ramp = self.index / max(dim - 1, 1)
        """From 0 for the first feature to 1 for the last."""

    def zigzag(self) -> Float[Tensor, " dim"]:
        """Return 0, 1, -1 in turns."""
        return ((self.index + 1) % 3 - 1).to(self.ramp.dtype)

    def bonus(self) -> Float[Tensor, " dim"]:
        """Return what the present input counts more by, in versions 5 and 6."""
        return self.depth * (1 - self.ramp) + 0.1 * self.zigzag()

    def slowness(self, least: float, most: float) -> Float[Tensor, " dim"]:
        """Return log(-log decay): from slow features to fast ones, bent more in later layers."""
        return least + (most - least) * self.ramp ** (0.7 + 1.3 * self.depth)


def between(
    x: Float[Tensor, "*axes dim"],
    other: Float[Tensor, "*axes dim"],
    share: Float[Tensor, "*any ways dim"],
) -> tuple[Float[Tensor, "*axes dim"], ...]:
    """Return as many points between two inputs as there are ways, with that share of the other."""
    x, away = x[..., None, :], (other - x)[..., None, :]
    return (x + share * away).unbind(-2)


def linear(dim: int, out: int, *, gain: float) -> nn.Linear:
    """Return a map without a bias, orthogonal but for its gain, or zero with none."""
    layer = Linear(dim, out, bias=False)
    if gain == 0:
        nn.init.zeros_(layer.weight)
    else:
        nn.init.orthogonal_(layer.weight, gain)
    return layer


class TimeMixing(Recurrent[State]):
    """Time mixing with a matrix for each head, as from version 5 on: maps, norm and shapes.

    A subclass names its state, with two leaves, S and last, and writes `mix`.

    Args:
        mixer: its name, for what is refused.
        dim: features read and answered.
        heads: how many; of 64 features each if absent.
        place: says what the norm's scales start at.
    """

    def __init__(self, mixer: str, dim: int, heads: int | None, place: Place):
        super().__init__()
        self.dim = self.out = dim
        self.heads = max(1, dim // 64) if heads is None else heads
        divided(mixer, self.heads, dim=dim)
        self.receptance = linear(dim, dim, gain=1.0)
        self.key = linear(dim, dim, gain=0.1)
        self.value = linear(dim, dim, gain=1.0)
        self.output = linear(dim, dim, gain=0.0)
        # In version 5 the answers are divided by 8 before a norm whose eps is 1e-5.
        self.norm = HeadNorm(self.heads, dim // self.heads, center=True, bias=True, eps=64e-5)
        nn.init.constant_(self.norm.weight, place.scale)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of S and of an input."""
        width = self.dim // self.heads
        return {"S": (self.heads, width, width), "last": (self.dim,)}

    def split(self, x: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes heads width"]:
        """Return the features of each head."""
        return x.unflatten(-1, (self.heads, -1))


class BonusMixing(TimeMixing[State]):
    """Versions 5 and 6, who count the present input by a bonus and gate what they read.

    A subclass names its state, and in `mix` makes four mixtures of each input with the one before
    it and calls `attended`.
    """

    def __init__(self, mixer: str, dim: int, heads: int | None, place: Place):
        super().__init__(mixer, dim, heads, place)
        self.bonus = nn.Parameter(self.split(place.bonus()))
        self.gate = linear(dim, dim, gain=0.1)

    def attended(
        self,
        r: Float[Tensor, "batch *time dim"],
        k: Float[Tensor, "batch *time dim"],
        v: Float[Tensor, "batch *time dim"],
        g: Float[Tensor, "batch *time dim"],
        *,
        log_decay: Float[Tensor, "batch *time heads width"],
        initial: Float[Tensor, "batch heads width width"],
        run: Run,
    ) -> tuple[Float[Tensor, "batch *time dim"], Float[Tensor, "batch heads width width"]]:
        """Return the answers to mixtures for receptance, key, value and gate, and the last S."""
        read, S = run(
            linear_attention,
            self.split(self.receptance(r)),
            self.split(self.key(k)),
            self.split(self.value(v)),
            log_decay=log_decay,
            bonus=self.bonus,
            initial=initial,
        )
        return self.output(silu(self.gate(g)) * self.norm(read).flatten(-2)), S


@torch.no_grad()
def awake(mixer: nn.Module) -> None:
    """Draw the weights that start at zero, as if some steps of training had been.

    Behind a map that is zero nothing has a gradient: the first step moves that map alone.
    """
    for parameter in mixer.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)


def weighted_average(
    k: Float[Tensor, "batch *time dim"],
    v: Float[Tensor, "batch *time dim"],
    rate: Float[Tensor, " dim"],
    bonus: Float[Tensor, " dim"],
    z: Float[Tensor, "batch dim"],
    mean: Float[Tensor, "batch dim"],
    run: Run,
) -> tuple[
    Float[Tensor, "batch *time dim"], Float[Tensor, "batch dim"], Float[Tensor, "batch dim"]
]:
    """Return RWKV-4's average of values at every time, wkv, and the last z and mean.

    Args:
        k: logarithms of weights, in the dtype of the arithmetic.
        v: values.
        rate: at which a weight's logarithm falls, not below zero.
        bonus: what is added to the present weight's logarithm.
        z: the logarithm of the sum of weights before the first input, -inf if there were none.
        mean: the average before the first input.
        run: how ops are called.
    """
    after, final = run(log_scan, (-rate).expand_as(k), k, initial=z)
    # A one wherever something was before; there is a zero where the past was reset.
    one = torch.ones_like(k[..., :1])
    past, _ = shifted(one, z.new_ones(len(k), 1), run)
    before = torch.where(past > 0, shifted(after, z, run)[0], -math.inf)
    kept, new = torch.sigmoid(before - rate - k), torch.sigmoid(k + rate - before)
    means, average = run(scan, kept, new * v, initial=mean)
    means, _ = shifted(means, mean, run)
    return means + torch.sigmoid(k + bonus - before) * (v - means), final, average
