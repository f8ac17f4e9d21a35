"""Examples in batches of about one length, each once in every epoch, in an order of its own."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

JITTER = 0.2
"""By how much of itself a length may seem longer than it is, so that batches differ by epoch."""


class Epochs:
    """Which examples each step reads: a pure function of its number.

    Args:
        lengths: of the examples.
        batch: examples of a step; the last of an epoch may have fewer.
        seed: of all orders.

    Raises:
        ValueError: if there are no examples.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int):
        if not lengths:
            raise ValueError("there are no examples to train on")
        self.lengths = torch.tensor(lengths, dtype=torch.float64)
        self.batch, self.seed = batch, seed
        self.steps = -(-len(lengths) // batch)
        self._epoch, self._batches = -1, list[Tensor]()

    def rows(self, step: int) -> list[int]:
        """Return the examples of a step, counted from 0."""
        epoch, at = divmod(step, self.steps)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._order(epoch)
        return self._batches[at].tolist()

    def _order(self, epoch: int) -> list[Tensor]:
        """Return the batches of an epoch."""
        # Mixed, since torch's generator of a processor reads 32 bits of its seed alone.
        (mixed,) = np.random.SeedSequence([self.seed, epoch]).generate_state(1)
        generator = torch.Generator().manual_seed(int(mixed))
        seeming = torch.rand(len(self.lengths), dtype=torch.float64, generator=generator)
        # One more, or single words would never change places.
        order = ((self.lengths + 1) * (1 + JITTER * seeming)).argsort()
        batches = order.split(self.batch)
        return [batches[at] for at in torch.randperm(len(batches), generator=generator).tolist()]
