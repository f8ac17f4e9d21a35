"""The mean of the weights over the end of a run, from when readings of held-out text stop falling.

    begins   at the first reading v_k, after more than n, with  v_k > min(v_0, ..., v_{k-n-1})
    mean     of the weights then and after every step since

Merity, Keskar and Socher, "Regularizing and Optimizing LSTM Language Models", 2017,
arXiv:1708.02182, section 3 and algorithm 1: NT-ASGD, where the steps are plain ones of one rate. A
mean over the last steps was Polyak's and Juditsky's, 1992; they left open when it should begin.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn


def triggered(before: Sequence[float], now: float, patience: int) -> bool:
    """Return whether a reading is worse than the best of all but the last `patience` before it.

    Args:
        before: the readings before, in their order; lower is better.
        now: the reading.
        patience: n, of the equation above.
    """
    return len(before) > patience and now > min(before[: len(before) - patience])


class Average:
    """The mean of a model's parameters, which may change places with them.

    Args:
        model: whose parameters are averaged, from what they are now on.
    """

    def __init__(self, model: nn.Module):
        self.count = 1
        self.means: dict[Tensor, Tensor] = {p: p.detach().clone() for p in model.parameters()}

    @classmethod
    def go_on(cls, model: nn.Module, count: int, weights: dict[Tensor, Tensor]) -> "Average":
        """Return what was saved in place: the model has the mean, of `count`, and gets its weights.

        Args:
            model: that was saved within `in_place`.
            count: as it was.
            weights: of each parameter, what its mean's place held.
        """
        average = cls(model)
        average.count, average.means = count, weights
        average.swap()
        return average

    @torch.no_grad()
    def add(self) -> None:
        """Take the weights as they are into the mean."""
        self.count += 1
        for parameter, mean in self.means.items():
            mean.lerp_(parameter, 1 / self.count)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the model have the mean, and the mean's place its weights, for a while."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the weights and their mean."""
        for parameter, mean in self.means.items():
            kept = parameter.detach().clone()
            parameter.copy_(mean)
            mean.copy_(kept)


class NonMonotonic:
    """NT-ASGD: a mean of weights that begins by itself, after a reading as the equation has it.

    Args:
        model: whose parameters are averaged.
        patience: n, of the equation.
    """

    def __init__(self, model: nn.Module, *, patience: int):
        self.model, self.patience = model, patience
        self.readings: list[float] = []
        self.average: Average | None = None

    def add(self) -> None:
        """Take the weights of a step into the mean, if it began."""
        if self.average is not None:
            self.average.add()

    def note(self, reading: float) -> None:
        """Begin if a reading of the weights as they are says so; lower ones are better."""
        if self.average is None and triggered(self.readings, reading, self.patience):
            self.average = Average(self.model)
        self.readings.append(reading)

    def in_place(self) -> AbstractContextManager[None]:
        """Let the model have the mean, if it began, for a while."""
        return nullcontext() if self.average is None else self.average.in_place()
