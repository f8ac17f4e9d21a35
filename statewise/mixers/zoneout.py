r"""Zoneout: while it trains, units of another mixer's state keep their last values at random.

Krueger et al., "Zoneout: Regularizing RNNs by Randomly Preserving Hidden Activations", 2016,
arXiv:1606.01305, section 3.

    y_t, s'_t = mixer(x_t, s_{t-1})
    s_t = d_t * s_{t-1} + (1 - d_t) * s'_t        for each leaf, such as h and c of an LSTM

While training d_t is 1 with a chance of `rate`, for each unit and time anew, and else 0; otherwise
it is `rate` itself. Where the mixer answers with its h, the answer is h after this.

d comes from the module's own generator: `draws`, which is saved with the weights.

Family   part
Forms    program; step
State    that of its mixer
Cost     that of its mixer, and what it remembers once more; while training, a random number for
         each unit and time
Differs  The authors' program for TensorFlow answers with h before this; the paper's equations do
         not.
See also variational_dropout.py, weight_dropped_lstm.py
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from statewise import mixers
from statewise.mixers.parts.around import Around
from statewise.mixers.parts.draws import Draws
from statewise.ops import newton


class Zoneout(Around[Any]):
    """A mixer whose state changes in part.

    Args:
        dim: features read.
        mixer: a name, `{"name": ..., option: value}`, a class or a callable.
        rate: the share of each floating leaf that stays; or by leaf, such as {"h": 0.05, "c": 0.5},
            where leaves that are not named change whole.
    """

    def __init__(
        self,
        dim: int,
        mixer: "mixers.Spec" = "lstm",
        *,
        rate: float | Mapping[str, float] = 0.1,
    ):
        super().__init__(dim, mixer)
        state: Any = self.initial_state(1)
        held = {name: leaf for name, leaf in state._asdict().items() if leaf.numel()}
        leaves = [name for name, leaf in held.items() if leaf.is_floating_point()]
        self.rates = dict(rate) if isinstance(rate, Mapping) else dict.fromkeys(leaves, rate)
        for name, share in self.rates.items():
            if name not in leaves:
                raise ValueError(f"zoneout: no leaf {name!r}{mixers.nearest(name, leaves)}")
            if not 0 <= share <= 1:
                raise ValueError(f"zoneout: rate = {share} of {name} should be from 0 to 1")
        self.widths = [math.prod(getattr(state, name).shape[1:]) for name in self.rates]
        with torch.no_grad():
            y, state = self.mixer.step(state[0].new_ones(1, dim), state)
            last = state.h.flatten(1)[:, -self.out :] if "h" in state._fields else None
        self.answers_h = last is not None and torch.equal(y, last)
        self.draws = Draws()

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        state: Any = None,
        *,
        reset: Bool[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time out"], Any]:
        """Map a whole sequence."""
        return super().forward(self._beside_draws(x), state, reset=reset, lengths=lengths)

    def solve(
        self, x: Float[Tensor, "batch time dim"], state: Any = None, **options: Any
    ) -> tuple[Float[Tensor, "batch time out"], Any, newton.Report]:
        """Map a whole sequence with all its states at once; see `Cell.solve`."""
        return super().solve(self._beside_draws(x), state, **options)

    def step(
        self, x: Float[Tensor, "batch dim"], state: Any
    ) -> tuple[Float[Tensor, "batch out"], Any]:
        """Map one input."""
        return super().step(self._beside_draws(x), state)

    def cell(
        self, x: Float[Tensor, "batch inputs"], state: Any
    ) -> tuple[Float[Tensor, "batch out"], Any]:
        """Map one input, beside which stands what stays while training."""
        x, *stays = x.split([self.dim, *self.widths] if self.training else [self.dim], -1)
        y, after = self.inner(x, state)
        zoned = {}
        for place, (name, rate) in enumerate(self.rates.items()):
            old, new = getattr(state, name), getattr(after, name)
            if self.training:
                zoned[name] = torch.where(stays[place].reshape(old.shape) > 0.5, old, new)
            else:
                zoned[name] = new.lerp(old, rate)
        after = after._replace(**zoned)
        return after.h.flatten(1)[:, -self.out :] if self.answers_h else y, after

    def _beside_draws(self, x: Tensor) -> Tensor:
        """Return inputs and, while training, ones where units stay."""
        if not self.training:
            return x
        stays = [
            self.draws(*x.shape[:-1], width) < rate
            for width, rate in zip(self.widths, self.rates.values(), strict=True)
        ]
        return torch.cat([x, *(mask.to(x.dtype) for mask in stays)], -1)

    @classmethod
    def example(cls) -> "Zoneout":
        """Return a small instance."""
        return cls(dim=4, rate={"h": 0.05, "c": 0.5})
