"""One residual stack for every mixer, or any list of them.

    x = x + branch(norm(x))          for each branch of each block
    y = norm(x)                      after the last block

A branch is a mixer (one without memory has an empty state), so that attention, a recurrence, a
short convolution and a feed-forward layer are combined by listing them. A branch may stand in
several places: its parameters are then shared, and each place keeps a state of its own. Branches
that read the same input and add their answers are one branch, `SideBySide`.

The branches keep the initialization of their papers; nothing is rescaled by depth.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from statewise.mixers.base import Mixer, WholeSequence, blank
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.norms import RMSNorm, ZeroCenteredRMSNorm
from statewise.models.dropout import drop

States = tuple[Any, ...]
"""The states of the parts, in their order."""


class _Parts(Mixer[States]):
    """Several mixers of one width; their states make a tuple."""

    def __init__(self, parts: Sequence[Mixer[Any] | WholeSequence]):
        super().__init__()
        what = type(self).__name__
        if not parts:
            raise ValueError(f"{what} needs at least one part")
        for module in (module for part in parts for module in part.modules()):
            if isinstance(module, WholeSequence):
                raise ValueError(
                    f"{what} answers from left to right, but {type(module).__name__} reads the "
                    "whole sequence before it answers"
                )
        dims = sorted({part.dim for part in parts})
        if len(dims) > 1:
            raise ValueError(f"the parts of {what} read different numbers of features: {dims}")
        self.dim = self.out = dims[0]
        self.parts = nn.ModuleList(parts)

    def _mixers(self) -> Iterator[Mixer[Any]]:
        return cast("Iterator[Mixer[Any]]", iter(self.parts))

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> States:
        """Return the initial state of every part."""
        return tuple(p.initial_state(batch, device=device, dtype=dtype) for p in self._mixers())

    def state_size(self, time: int) -> int:
        """Return the sum over the parts."""
        return sum(part.state_size(time) for part in self._mixers())

    def _states(self, state: States | None) -> Sequence[Any]:
        if state is None:
            return [None] * len(self.parts)
        if len(state) != len(self.parts):
            raise ValueError(
                f"{type(self).__name__} has {len(self.parts)} parts, and the state was made by "
                f"{len(state)}"
            )
        return state


class SideBySide(_Parts):
    """Mixers that read the same input; their answers are added.

    Args:
        parts: mixers that read the same number of features, and answer with the same number.
        multipliers: what each answer is multiplied by; ones if absent.
        learned: whether the multipliers are where a parameter starts, one for each feature.
        norm: whether each answer is standardized before it is multiplied, so that none is louder.

    Raises:
        ValueError: if widths differ, or there is not one multiplier for each part.
    """

    def __init__(
        self,
        parts: Sequence[Mixer[Any] | WholeSequence],
        *,
        multipliers: Sequence[float] | None = None,
        learned: bool = False,
        norm: bool = False,
    ):
        super().__init__(parts)
        outs = sorted({part.out for part in parts})
        if len(outs) > 1:
            raise ValueError(f"SideBySide cannot add answers of different widths: {outs}")
        self.out = outs[0]
        if multipliers is not None and len(multipliers) != len(parts):
            raise ValueError(
                f"SideBySide has {len(parts)} parts and {len(multipliers)} multipliers"
            )
        self.norm = norm
        self.fixed = None if multipliers is None or learned else tuple(multipliers)
        self.learned = None
        if learned:
            rows = [[float(number)] * self.out for number in multipliers or [1.0] * len(parts)]
            self.learned = nn.Parameter(torch.tensor(rows))

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        state: States | None = None,
        *,
        reset: Bool[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time out"], States]:
        """Return the sum of the answers."""
        ys, after = zip(
            *(
                part(x, before, reset=reset, lengths=lengths)
                for part, before in zip(self._mixers(), self._states(state), strict=True)
            ),
            strict=True,
        )
        return self._sum(ys), after

    def step(
        self, x: Float[Tensor, "batch dim"], state: States
    ) -> tuple[Float[Tensor, "batch out"], States]:
        """Map one input."""
        pairs = zip(self._mixers(), self._states(state), strict=True)
        ys, after = zip(*(part.step(x, before) for part, before in pairs), strict=True)
        return self._sum(ys), after

    def _sum(self, ys: Sequence[Tensor]) -> Tensor:
        """Return the sum of the answers, each as loud as it should be."""
        if self.norm:
            ys = [layer_norm(y, y.shape[-1:]) for y in ys]
        weights = self.fixed if self.learned is None else self.learned.unbind()
        if weights is not None:
            ys = [weight * y for weight, y in zip(weights, ys, strict=True)]
        # From the second on: a sum that starts at zero would copy once more.
        total = ys[0]
        for y in ys[1:]:
            total = total + y
        return total

    @classmethod
    def example(cls) -> "SideBySide":
        """Return a small instance."""
        from statewise.mixers.min_gru import MinGRU

        return cls([MinGRU(4), MinGRU(4)])


class Norm(NamedTuple):
    """What stands before a branch.

    LayerNorm if nothing is said, not RMSNorm, which torch 2.13 computes on CPU as a chain of
    passes: forward and backward on (32, 256, 256), one thread, took 34 ms, LayerNorm 3.
    """

    kind: Literal["layer", "rms", "zero_centered_rms"] = "layer"
    epsilon: float = 1e-5
    bias: bool = False
    """Of LayerNorm; the others have none."""

    def over(self, dim: int) -> nn.Module:
        """Return the norm of so many features."""
        if self.kind == "rms":
            return RMSNorm(dim, eps=self.epsilon)
        if self.kind == "zero_centered_rms":
            return ZeroCenteredRMSNorm(dim, eps=self.epsilon)
        return nn.LayerNorm(dim, eps=self.epsilon, bias=self.bias)


LAYER_NORM = Norm()


class Block(_Parts):
    """Residual branches, one after another.

    Args:
        branches: mixers that read the same number of features. A linear map brings an answer of
            another width back to it.
        norm: what each reads through.
    """

    def __init__(self, branches: Sequence[Mixer[Any] | WholeSequence], *, norm: Norm = LAYER_NORM):
        super().__init__(branches)
        self.norms = nn.ModuleList(norm.over(self.dim) for _ in branches)
        self.maps = nn.ModuleList(
            nn.Identity() if branch.out == self.dim else Linear(branch.out, self.dim, bias=False)
            for branch in branches
        )
        self.drops = nn.ModuleList(nn.Identity() for _ in branches)

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        state: States | None = None,
        *,
        reset: Bool[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time out"], States]:
        """Map a whole sequence."""
        x = blank(x, lengths)
        after = []
        for norm, dropped, branch, out, before in self._places(state):
            y, new = branch(dropped(norm(x)), before, reset=reset, lengths=lengths)
            x = x + out(y)
            after.append(new)
        return x, tuple(after)

    def step(
        self, x: Float[Tensor, "batch dim"], state: States
    ) -> tuple[Float[Tensor, "batch out"], States]:
        """Map one input."""
        after = []
        for norm, dropped, branch, out, before in self._places(state):
            read = norm(x)
            # The call of a module that does nothing costs a step as much as an addition.
            y, new = branch.step(read if type(dropped) is nn.Identity else dropped(read), before)
            x = x + (y if type(out) is nn.Identity else out(y))
            after.append(new)
        return x, tuple(after)

    def _places(self, state: States | None) -> Iterator[tuple[Any, ...]]:
        each = (self.norms, self.drops, self.parts, self.maps, self._states(state))
        return zip(*each, strict=True)

    @classmethod
    def example(cls) -> "Block":
        """Return a small instance."""
        from statewise.mixers.min_gru import MinGRU

        return cls([MinGRU(4), MinGRU(4)])


class Stack(_Parts):
    """Blocks, one after another, and a norm.

    Args:
        blocks: at least one, all of the same width.
        norm: what stands after the last.
    """

    def __init__(self, blocks: Sequence[Block], *, norm: Norm = LAYER_NORM):
        super().__init__(blocks)
        self.norm = norm.over(self.dim)

    def drop_out(self, rate: float, *, locked: bool) -> None:
        """Let every branch read a part of its features while it trains.

        Args:
            rate: the share it does not read, from 0 and below 1.
            locked: whether that is the same part at all times of a call.
        """
        for block in self.parts:
            if isinstance(block, Block):
                block.drops = nn.ModuleList(drop(rate, locked=locked) for _ in block.drops)

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        state: States | None = None,
        *,
        reset: Bool[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time out"], States]:
        """Map a whole sequence."""
        after = []
        for block, before in zip(self.parts, self._states(state), strict=True):
            x, new = block(x, before, reset=reset, lengths=lengths)
            after.append(new)
        return blank(self.norm(x), lengths), tuple(after)

    def step(
        self, x: Float[Tensor, "batch dim"], state: States
    ) -> tuple[Float[Tensor, "batch out"], States]:
        """Map one input."""
        after = []
        for block, before in zip(self._mixers(), self._states(state), strict=True):
            x, new = block.step(x, before)
            after.append(new)
        return self.norm(x), tuple(after)

    @classmethod
    def example(cls) -> "Stack":
        """Return a small instance."""
        from statewise.mixers.min_gru import MinGRU

        return cls([Block([MinGRU(4)]), Block([MinGRU(4)])])
