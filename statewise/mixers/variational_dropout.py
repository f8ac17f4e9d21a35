r"""Variational dropout: while it trains, a sequence lacks the same input features at all times.

Gal and Ghahramani, "A Theoretically Grounded Application of Dropout in Recurrent Neural Networks",
2016, arXiv:1512.05287, section 4; "locked" dropout in the AWD-LSTM.

    y_t = mixer(x_t * m / (1 - rate))       while training; m, 0 with a chance of `rate` and else 1,
                                            is of the sequence: each row and reset has another
    y_t = mixer(x_t)                        otherwise

m follows from a number in the state, so that a sequence that is read piece by piece keeps it. A
fresh state has a new number, from the module's own generator: `draws`, saved with the weights.

Family   part
Forms    that of its mixer
State    that of its mixer, and sequence, (batch,): a number for each m
Cost     that of its mixer; while training, a random number for each feature of each row, at each
         time where there are resets
Differs  Inputs only: recurrent_dropout is for what gates read of h. No dropout of words.
See also recurrent_dropout.py, zoneout.py, weight_dropped_lstm.py
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from statewise import mixers
from statewise.mixers.base import Mixer, state_dtype, within
from statewise.mixers.parts.chance import uniform
from statewise.mixers.parts.draws import Draws


class VariationalDropoutState(NamedTuple):
    """What the mixer remembers, and which features are absent."""

    mixer: Any
    sequence: Int[Tensor, " batch"]


class VariationalDropout(Mixer[VariationalDropoutState]):
    """A mixer that reads a share of the features.

    Args:
        dim: features read.
        mixer: a name, `{"name": ..., option: value}`, a class or a callable.
        rate: the share of features that a sequence lacks while training.
    """

    def __init__(self, dim: int, mixer: "mixers.Spec" = "lstm", *, rate: float = 0.4):
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"variational_dropout: rate = {rate} should be from 0 and below 1")
        inner = mixers.build(mixer, dim)
        if not isinstance(inner, Mixer):
            raise ValueError(f"variational_dropout: mixer {mixer!r} has no state")
        self.mixer: Mixer[Any] = inner
        self.dim, self.out, self.rate = dim, inner.out, rate
        self.draws = Draws()

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> VariationalDropoutState:
        """Return that of the mixer, and new numbers while training."""
        inner = self.mixer.initial_state(batch, device=device, dtype=dtype)
        drawn = self.draws(batch) if self.training else torch.zeros(batch)
        where = self.draws.seed.device if device is None else device
        return VariationalDropoutState(inner, (drawn * 2**62).long().to(where))

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        state: VariationalDropoutState | None = None,
        *,
        reset: Bool[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time out"], VariationalDropoutState]:
        """Map a whole sequence."""
        if state is None:
            state = self.initial_state(len(x), device=x.device, dtype=state_dtype(x.dtype))
        sequence = state.sequence.clone()
        if self.training:
            which = sequence[:, None]
            if reset is not None:
                real = reset if lengths is None else reset & within(lengths, x.shape[1])
                which = which + real.cumsum(1)
                sequence = sequence + real.sum(1)
            x = x * self._scale(which, x)
        y, inner = self.mixer(x, state.mixer, reset=reset, lengths=lengths)
        return y, VariationalDropoutState(inner, sequence)

    def step(
        self, x: Float[Tensor, "batch dim"], state: VariationalDropoutState
    ) -> tuple[Float[Tensor, "batch out"], VariationalDropoutState]:
        """Map one input."""
        if self.training:
            x = x * self._scale(state.sequence, x)
        y, inner = self.mixer.step(x, state.mixer)
        return y, VariationalDropoutState(inner, state.sequence.clone())

    def _scale(self, which: Int[Tensor, "*axes"], like: Tensor) -> Float[Tensor, "*axes dim"]:
        """Return what features are multiplied with in such sequences."""
        features = torch.arange(self.dim, device=which.device)
        there = uniform(which[..., None] * self.dim + features) >= self.rate
        return there.to(like.dtype) / (1 - self.rate)

    def state_size(self, time: int) -> int:
        """Return that of the mixer, and one."""
        return self.mixer.state_size(time) + 1

    @classmethod
    def example(cls) -> "VariationalDropout":
        """Return a small instance."""
        return cls(dim=4)
