r"""Recurrent dropout: while it trains, the gates of a sequence miss the same units of h throughout.

Gal and Ghahramani, "A Theoretically Grounded Application of Dropout in Recurrent Neural Networks",
2016, arXiv:1512.05287, section 4, equation 7, for what an LSTM's gates read of its own past.

    y_t, s_t = mixer(x_t, s_{t-1} with h_{t-1} * m / (1 - rate))
                                  while training; m, 0 with a chance of `rate` and else 1, is drawn
                                  with a fresh state, for each row, and again at a reset
    y_t, s_t = mixer(x_t, s_{t-1})                otherwise

m / (1 - rate) is kept in the state, so that a sequence that is read piece by piece keeps it. It
comes from the module's own generator: `draws`, which is saved with the weights.

Family   part
Forms    program; step
State    that of its mixer, and mask, (batch, hidden)
Cost     that of its mixer
Differs  All resets of a row within one call return to one mask. Inputs are for variational_dropout.
See also variational_dropout.py, zoneout.py, weight_dropped_lstm.py
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from statewise import mixers
from statewise.mixers.parts.around import Around
from statewise.mixers.parts.draws import Draws


class RecurrentDropoutState(NamedTuple):
    """What the mixer remembers, and what its h is multiplied with before gates read it."""

    mixer: Any
    mask: Float[Tensor, "batch hidden"]


class RecurrentDropout(Around[RecurrentDropoutState]):
    """A mixer whose gates read a share of its last answer.

    Args:
        dim: features read.
        mixer: a name, `{"name": ..., option: value}`, a class or a callable. Its state has an h
            that gates alone read, and a c in which it keeps its memory, as an LSTM's.
        rate: the share of units that a sequence misses while training.
    """

    def __init__(self, dim: int, mixer: "mixers.Spec" = "lstm", *, rate: float = 0.25):
        if not 0 <= rate < 1:
            raise ValueError(f"recurrent_dropout: rate = {rate} should be from 0 and below 1")
        super().__init__(dim, mixer)
        state: Any = self.mixer.initial_state(1)
        if not {"h", "c"} <= set(getattr(state, "_fields", ())):
            raise ValueError(
                f"recurrent_dropout: mixer {mixer!r} should have an h that gates read and a c that "
                "it keeps: to drop a part of a memory is another thing"
            )
        self.rate, self.hidden = rate, state.h.numel()
        self.draws = Draws()

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> RecurrentDropoutState:
        """Return that of the mixer, and while training a new mask."""
        inner: Any = self.mixer.initial_state(batch, device=device, dtype=dtype)
        mask = inner.h.new_ones(batch, self.hidden)
        if self.training:
            there = self.draws(batch, self.hidden).to(mask.device) >= self.rate
            mask = there.to(mask.dtype) / (1 - self.rate)
        return RecurrentDropoutState(inner, mask)

    def state_size(self, time: int) -> int:
        """Return that of the mixer, and a number for each unit."""
        return self.mixer.state_size(time) + self.hidden

    def cell(
        self, x: Float[Tensor, "batch dim"], state: RecurrentDropoutState
    ) -> tuple[Float[Tensor, "batch out"], RecurrentDropoutState]:
        """Map one input."""
        before, mask = state
        if self.training:
            before = before._replace(h=before.h * mask.view_as(before.h))
        y, after = self.inner(x, before)
        return y, RecurrentDropoutState(after, mask)

    @classmethod
    def example(cls) -> "RecurrentDropout":
        """Return a small instance."""
        return cls(dim=4)
