r"""Dilated RNN: one mixer reads every d-th input, in d sequences that take turns.

Chang et al., "Dilated Recurrent Neural Networks", 2017, arXiv:1710.02224, section 2.

    s_t, y_t = mixer(s_{t-d}, x_t)                    s_t is the mixer's start where t - d < 0

Sequence t mod d has inputs t, t + d, t + 2 d, ...: they are d rows of one batch to the mixer, so
that the time that has to pass one after another is d times shorter. A reset at t starts all d
sequences anew, and counts t as 0.

Family   part
Forms    that of its mixer, over rows d times as many and as short
State    inner, the mixer's states, (batch, d, ...); phase, (batch,), which of them is next: d times
         the mixer's numbers, and 1
Cost     that of the mixer
Differs  One layer: the paper's stack has d = 1, 2, 4, ... from layer to layer. The convolution that
         joins the d sequences of a stack whose first layer has d > 1 is left to the model.
See also clockwork_rnn.py, bidirectional.py
"""

from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn.functional import pad
from torch.utils._pytree import tree_leaves, tree_map

from statewise import mixers
from statewise.mixers.base import Mixer, blank, state_dtype, within


class DilatedRNNState(NamedTuple):
    """What a dilated RNN remembers."""

    inner: Any
    phase: Int[Tensor, " batch"]


class DilatedRNN(Mixer[DilatedRNNState]):
    """A mixer that skips `dilation` - 1 inputs between any two that it reads one after another.

    Args:
        dim: features read.
        mixer: a name, `{"name": ..., option: value}`, a class or a callable; it has to be causal,
            and its state of one size.
        dilation: d above.
    """

    def __init__(self, dim: int, *, mixer: "mixers.Spec" = "gru", dilation: int = 2):
        super().__init__()
        inner = mixers.build(mixer, dim)
        if not isinstance(inner, Mixer) or inner.state_size(1) != inner.state_size(100):
            raise ValueError(f"dilated_rnn: mixer {mixer!r} should have a state of one size")
        if dilation < 1:
            raise ValueError(f"dilated_rnn: dilation = {dilation} should be at least 1")
        self.mixer, self.dilation = inner, dilation
        self.dim, self.out = dim, inner.out

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> DilatedRNNState:
        """Return the mixer's start, `dilation` times."""
        d = self.dilation
        inner = self.mixer.initial_state(batch * d, device=device, dtype=dtype)
        like = next(iter(tree_leaves(inner)), torch.empty(0, device=device))
        phase = torch.zeros(batch, dtype=torch.int64, device=like.device)
        return DilatedRNNState(tree_map(lambda leaf: leaf.unflatten(0, (batch, d)), inner), phase)

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        state: DilatedRNNState | None = None,
        *,
        reset: Bool[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time out"], DilatedRNNState]:
        """Map a whole sequence, the d sequences that it consists of side by side."""
        (batch, time, _), d = x.shape, self.dilation
        start = self.initial_state(batch, device=x.device, dtype=state_dtype(x.dtype))
        state = start if state is None else state
        end = torch.full_like(state.phase, time) if lengths is None else lengths
        # Input t is read at place t mod d, which is that of sequence t + phase.
        places = torch.arange(d, device=x.device)
        count = (end[:, None] - places + d - 1).clamp(min=0) // d
        before = _reordered(state.inner, places + state.phase[:, None])
        begin, first = None, torch.full_like(end, -1)
        if reset is not None:
            real = reset & within(end, time)
            resets = real.cumsum(1)
            # A sequence starts anew if anything was reset since its last input.
            begin = self._turns(resets > pad(resets, (d, 0))[:, :time])
            first = torch.where(real, torch.arange(time, device=x.device), -1)
            first = torch.cat([first, torch.full_like(end, -1)[:, None]], 1).amax(1)
        y, after = self.mixer(
            self._turns(blank(x, lengths)),
            tree_map(lambda leaf: leaf.flatten(0, 1), before),
            reset=begin,
            lengths=None if lengths is None and time % d == 0 else count.flatten(),
        )
        y = y.unflatten(0, (batch, d)).transpose(1, 2).flatten(1, 2)[:, :time]
        after = tree_map(lambda leaf: leaf.unflatten(0, (batch, d)), after)
        # So do those that had no input yet since the last reset.
        waits = (first[:, None] > places + d * (count - 1)) & (first[:, None] >= 0)
        after = tree_map(partial(_where, waits), start.inner, after)
        shift = torch.where(first < 0, state.phase, -first)
        inner = _reordered(after, places - shift[:, None])
        return y, DilatedRNNState(inner, (end + shift) % d)

    def step(
        self, x: Float[Tensor, "batch dim"], state: DilatedRNNState
    ) -> tuple[Float[Tensor, "batch out"], DilatedRNNState]:
        """Map one input."""
        before = tree_map(lambda leaf: leaf[:, 0], _reordered(state.inner, state.phase[:, None]))
        y, after = self.mixer.step(x, before)
        turn = torch.arange(self.dilation, device=x.device) == state.phase[:, None]
        after = tree_map(lambda new, old: _where(turn, new[:, None], old), after, state.inner)
        return y, DilatedRNNState(after, (state.phase + 1) % self.dilation)

    def state_size(self, time: int) -> int:
        """Return the mixer's numbers, `dilation` times, and 1, whatever was read."""
        return self.dilation * self.mixer.state_size(time) + 1

    def _turns(self, x: Tensor) -> Tensor:
        """Return (batch, time, ...) as (batch d, rounds, ...): a row for each place in a round."""
        batch, time = x.shape[:2]
        missing = x.new_zeros(batch, -time % self.dilation, *x.shape[2:])
        rounds = torch.cat([x, missing], 1).unflatten(1, (-1, self.dilation))
        return rounds.transpose(1, 2).flatten(0, 1)

    @classmethod
    def example(cls) -> "DilatedRNN":
        """Return a small instance."""
        return cls(dim=4, dilation=3)


def _reordered(inner: Any, order: Int[Tensor, "batch places"]) -> Any:
    """Return the states of a row's sequences in another order, counted around."""
    rows = torch.arange(len(order), device=order.device)[:, None]

    def picked(leaf: Tensor) -> Tensor:
        return leaf[rows, order % leaf.shape[1]]

    return tree_map(picked, inner)


def _where(
    mask: Bool[Tensor, "batch places"],
    yes: Shaped[Tensor, "batch _ *features"],
    no: Shaped[Tensor, "batch places *features"],
) -> Shaped[Tensor, "batch places *features"]:
    return torch.where(mask.reshape(*mask.shape, *[1] * (no.ndim - 2)), yes, no)
