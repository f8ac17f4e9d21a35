r"""RWKV channel mixing: a feed-forward layer that reads the input before beside the present one.

Peng et al., "RWKV: Reinventing RNNs for the Transformer Era", 2023, arXiv:2305.13048, section 3.1;
the starts of later versions, and the seventh, in arXiv:2404.05892 and arXiv:2503.14456.

    k_t = W_k (mu_k * x_t + (1 - mu_k) * x_{t-1})               versions 4 and 5
    k_t = W_k ((1 - mu_k) * x_t + mu_k * x_{t-1})               from version 6 on
    r_t = W_r of such a mixture by mu_r                         up to version 6
    y_t = sigmoid(r_t) * W_v relu(k_t)^2                        up to version 6
    y_t = W_v relu(k_t)^2                                       version 7

Family   part
Forms    all positions at once; step
State    last, the input before, (batch, dim)
Cost     O(time expansion dim^2) work in `forward`; O(expansion dim^2) in `step`
Differs  As the authors', the maps W_v and W_r start at zero.
See also rwkv4.py, rwkv5.py, rwkv6.py, rwkv7.py, feed_forward.py
"""

from collections.abc import Mapping
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.recurrent import Recurrent, Run, shifted
from statewise.mixers.parts.rwkv import Place, awake, between, linear


class RWKVChannelMixingState(NamedTuple):
    """What channel mixing remembers."""

    last: Float[Tensor, "batch dim"]


class RWKVChannelMixing(Recurrent[RWKVChannelMixingState]):
    """The feed-forward layer of RWKV.

    Args:
        dim: features read and answered.
        version: of RWKV, 4 to 7: 7 has no receptance, and starts differ.
        expansion: width of the inner layer, in multiples of `dim`; 4 if absent, 3.5 in versions 5
            and 6.
        layer: which layer of its stack it starts as, from 0.
        layers: of that stack.
    """

    remembers = RWKVChannelMixingState

    def __init__(
        self,
        dim: int,
        *,
        version: int = 6,
        expansion: float | None = None,
        layer: int = 0,
        layers: int = 1,
    ):
        super().__init__()
        if version not in _POWERS:
            raise ValueError(f"rwkv_channel_mixing: version = {version} should be from 4 to 7")
        if expansion is None:
            expansion = 3.5 if version in (5, 6) else 4
        hidden = round(expansion * dim)
        if hidden < 1:
            raise ValueError(
                f"rwkv_channel_mixing: expansion = {expansion} leaves no inner features"
            )
        self.dim = self.out = dim
        place = Place("rwkv_channel_mixing", dim, layer, layers)
        mu = place.share ** (place.left ** _POWERS[version])
        self.of_present = version < 6
        if not self.of_present:
            mu = 1 - mu
        gain = max(1.0, expansion) ** 0.5 if version == 4 else 1.0
        self.key, self.value = linear(dim, hidden, gain=gain), linear(hidden, dim, gain=0.0)
        self.receptance = None if version == 7 else linear(dim, dim, gain=0.0)
        self.mu = nn.Parameter(mu.expand(1 if version == 7 else 2, dim).clone())

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of an input."""
        return {"last": (self.dim,)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: RWKVChannelMixingState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], RWKVChannelMixingState]:
        """Map inputs."""
        before, last = shifted(x, state.last, run)
        k, *r = between(*((before, x) if self.of_present else (x, before)), self.mu)
        y = self.value(self.key(k).relu().square())
        if self.receptance is not None:
            y = self.receptance(r[0]).sigmoid() * y
        return y, RWKVChannelMixingState(last)

    @classmethod
    def example(cls) -> "RWKVChannelMixing":
        """Return a small instance, with no map at zero."""
        mixer = cls(dim=4)
        awake(mixer)
        return mixer


_POWERS = {4: 1, 5: 1, 6: 3, 7: 4}
"""Of what is left of the stack, in the exponent of the shares of the input before."""
