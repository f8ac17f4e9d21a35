"""Hawkes process: a stream of events, each of which makes others likelier for a while.

    gaps    1.9  0.1  0.2  2.4  0.1     time since the event before
    kinds    2    0    1    2    0      where a 2 brings on a 0, and that a 1

Hawkes, "Spectra of some self-exciting and mutually exciting point processes", Biometrika 58(1),
1971. At time t events of kind k come at the rate

    base[k] + sum_i influence[kind_i, k] exp(t_i - t)         over the events i before t
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Events(NamedTuple):
    """Streams, each from its beginning."""

    gaps: Float[Tensor, "batch time"]
    kinds: Int[Tensor, "batch time"]


@dataclass(frozen=True)
class Hawkes:
    """Events that bring on others. Where the largest eigenvalue of `influence` is 1, they explode.

    Args:
        base: the rate of each kind when nothing has happened, above 0.
        influence: what an event of one kind (row) adds to the rate of another, 0 or more.
    """

    base: Float[Tensor, " kinds"] = field(repr=False)
    influence: Float[Tensor, "kinds kinds"] = field(repr=False)

    def __post_init__(self) -> None:
        if not (self.base > 0).all() or not (self.influence >= 0).all():
            raise ValueError("a base rate is above 0, and an influence 0 or more")
        if (radius := torch.linalg.eigvals(self.influence).abs().max().item()) >= 1:
            raise ValueError(f"influence has the eigenvalue {radius:.3g}: it should be below 1")

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Events:
        """Return streams of `length` events, by thinning: a rate only falls between events."""
        gaps, kinds = torch.zeros(batch, length), torch.zeros(batch, length, dtype=torch.int64)
        excited = torch.zeros(batch, len(self.base))
        since, done = torch.zeros(batch), torch.zeros(batch, dtype=torch.int64)
        rows = torch.arange(batch)
        while (done < length).any():
            bound = (self.base + excited).sum(1)
            waited = torch.empty(batch).exponential_(generator=generator) / bound
            since, excited = since + waited, excited * torch.exp(-waited)[:, None]
            rates = self.base + excited
            happens = torch.rand(batch, generator=generator) * bound < rates.sum(1)
            kind = torch.multinomial(rates, 1, generator=generator)[:, 0]
            kept = rows[happens & (done < length)]
            gaps[kept, done[kept]], kinds[kept, done[kept]] = since[kept], kind[kept]
            excited = excited + torch.where(happens[:, None], self.influence[kind], 0)
            since, done = torch.where(happens, 0, since), done + happens
        return Events(gaps, kinds)
