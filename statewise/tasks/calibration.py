"""Whether confidence is deserved: of what is said with 0.9, nine of ten should be right.

    confidence  0.95 0.92 0.91   0.55 0.52        mean 0.93, right 2 of 3: off by 0.26
    right       yes  no   yes    yes  no          mean 0.54, right 1 of 2: off by 0.04

Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017,
arXiv:1706.04599, section 2: the expected calibration error is the mean of how far bins of equal
width are off, weighted by what they hold.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BINS = 15
"""As in the paper."""


class Bin(NamedTuple):
    """What was said with about the same confidence."""

    size: int
    confidence: float
    """The mean, from 0 to 1."""
    accuracy: float
    """The share that was right, from 0 to 1."""


class Calibration(NamedTuple):
    """What `calibration` found; printed, one line."""

    bins: tuple[Bin, ...]
    """From the least sure to the surest; those that hold nothing are left out."""

    @property
    def size(self) -> int:
        """How much was said."""
        return sum(bin.size for bin in self.bins)

    @property
    def error(self) -> float:
        """The expected calibration error, from 0 to 1; of nothing it is 0."""
        off = sum(bin.size * abs(bin.accuracy - bin.confidence) for bin in self.bins)
        return off / max(self.size, 1)

    @property
    def confidence(self) -> float:
        """The mean confidence."""
        return sum(bin.size * bin.confidence for bin in self.bins) / max(self.size, 1)

    @property
    def accuracy(self) -> float:
        """The share that was right."""
        return sum(bin.size * bin.accuracy for bin in self.bins) / max(self.size, 1)

    def __str__(self) -> str:
        return (
            f"expected calibration error {self.error:.4f}: mean confidence {self.confidence:.4f}, "
            f"share right {self.accuracy:.4f}, over {self.size:,}"
        )


def calibration(
    confidences: Sequence[float], right: Sequence[bool], *, bins: int = BINS
) -> Calibration:
    """Return how well confidences fit what was right.

    Args:
        confidences: the probability of what was said, from 0 to 1, each in the bin
            `((n - 1) / bins, n / bins]`.
        right: as many.
        bins: of equal width, 1 or more.

    Raises:
        ValueError: if these are not as many, or a confidence lies outside 0 to 1.
    """
    sure, true = np.asarray(confidences, dtype=float), np.asarray(right, dtype=bool)
    if sure.shape != true.shape or sure.ndim != 1:
        raise ValueError(f"calibration: {sure.size} confidences for {true.size} that are judged")
    slack = 1e-6  # sums of float32
    if outside := sure[~((sure >= -slack) & (sure <= 1 + slack))].tolist():
        raise ValueError(f"calibration: a confidence is no number from 0 to 1: {outside[0]}")
    place = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    found = [(place == at) for at in range(bins)]
    return Calibration(
        tuple(
            Bin(int(here.sum()), float(sure[here].mean()), float(true[here].mean()))
            for here in found
            if here.any()
        )
    )
