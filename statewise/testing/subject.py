"""What a law is tried on: a mixer, its precision, and inputs made for it."""

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from statewise.mixers.base import Mixer, WholeSequence

TIMES = (0, 1, 2, 3, 63, 100)
"""The lengths at which forms are compared: none, the shortest, and no multiple of anything."""

AnyMixer = Mixer[Any] | WholeSequence
Source = AnyMixer | type[AnyMixer] | Callable[[], AnyMixer]
"""A mixer; a mixer class, whose `example()` is taken; or what makes one when called."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """A mixer in eval mode and one precision, with a source of inputs of its own.

    A law calls it, and never the mixer, where the two kinds of mixer are to be treated alike.
    """

    mixer: AnyMixer
    other: AnyMixer
    """The same mixer with other weights."""

    dtype: torch.dtype
    times: Sequence[int]
    generator: torch.Generator

    def __call__(
        self,
        x: Tensor,
        state: Any = None,
        *,
        reset: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        """Return outputs and state; the state of a whole-sequence mixer is empty."""
        if isinstance(self.mixer, Mixer):
            return self.mixer(x, state, reset=reset, lengths=lengths)
        return self.mixer(x, reset=reset, lengths=lengths), ()

    def input(self, batch: int, time: int) -> Tensor:
        """Return an input that was not seen before."""
        return example_input(self.mixer, batch, time, self.generator, self.dtype)

    def state(self, batch: int) -> Any:
        """Return the state after a few inputs; empty for a whole-sequence mixer."""
        with torch.no_grad():
            return self(self.input(batch, 5))[1]

    def reset(self, batch: int, time: int) -> Tensor:
        """Return resets at random places, about every third."""
        return torch.rand(batch, time, generator=self.generator) < 0.3

    def lengths(self, batch: int, time: int) -> Tensor:
        """Return lengths from 0 to `time`; the first two rows have these two."""
        lengths = torch.randint(0, time + 1, (batch,), generator=self.generator)
        lengths[:2] = torch.tensor([0, time])[:batch]
        return lengths

    def tangent(self, like: Tensor) -> Tensor:
        """Return a random direction."""
        return torch.randn(like.shape, generator=self.generator, dtype=like.dtype)

    def converted(self, dtype: torch.dtype) -> "Subject":
        """Return the same mixer in another precision."""
        return dataclasses.replace(self, mixer=copy.deepcopy(self.mixer).to(dtype), dtype=dtype)


def example_input(
    mixer: AnyMixer, batch: int, time: int, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """Return a random input: (batch, time, dim), or what the mixer's own `example_input` says.

    A mixer over frames, say, offers `example_input(batch, time, generator, dtype)`.
    """
    if (own := getattr(mixer, "example_input", None)) is not None:
        return own(batch, time, generator, dtype)
    return torch.randn(batch, time, mixer.dim, generator=generator, dtype=dtype)


def longest_agreement(mixer: AnyMixer) -> int | float:
    """Return the longest time at which forms are compared, which a mixer may limit.

    A recurrence that expands perturbations, such as a tanh network with gain 2, grows rounding
    errors exponentially, and no two forms of it agree for long. Its class says so:
    `longest_agreement = 63`. Nothing else is excused.
    """
    return getattr(mixer, "longest_agreement", float("inf"))


def prepare(
    source: Source, dtype: torch.dtype, *, times: Sequence[int] = TIMES, seed: int = 0
) -> Subject:
    """Return the subject that a law is tried on; what is given is never changed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mixer, other = _instance(source), _instance(source)
        if isinstance(source, Mixer | WholeSequence):
            for weight in other.state_dict().values():
                if weight.is_floating_point() or weight.is_complex():
                    weight += 0.1 * torch.randn_like(weight)
    reach = longest_agreement(mixer)
    return Subject(
        mixer.to(dtype).eval(),
        other.to(dtype).eval(),
        dtype,
        [time for time in times if time <= reach],
        torch.Generator().manual_seed(seed),
    )


def _instance(source: Source) -> AnyMixer:
    if isinstance(source, type):
        return source.example()
    if isinstance(source, Mixer | WholeSequence):
        return copy.deepcopy(source)
    return source()
