"""A linear readout fitted by ridge regression, from sums that a stream of any length adds to.

    readout = Ridge(reservoir.out, targets, penalty=1e-6, washout=100)
    state = None
    for x, target in stream:
        y, state = reservoir(x, state)
        readout.add(y, target)
    predict = readout.fit()
    predict(reservoir(x)[0])

How echo-state networks are trained (Lukosevicius, "A Practical Guide to Applying Echo State
Networks", 2012, section 4), and a probe of what any state holds.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from statewise.mixers.base import within


class Ridge:
    """The W and b with the least  sum over t of |W y_t + b - target_t|^2 + penalty |W|^2.

    It keeps sums of products in float64, (1 + features) (1 + features + targets) numbers.

    Args:
        features: of what is read.
        targets: how many numbers are predicted.
        penalty: of W; b has none.
        washout: inputs at the beginning of a stream that are not learned from.
    """

    def __init__(
        self, features: int, targets: int, *, penalty: float = 1e-6, washout: int = 0
    ) -> None:
        if features < 1 or targets < 1 or penalty < 0 or washout < 0:
            raise ValueError(
                f"readout: features = {features} and targets = {targets} should be at least 1, "
                f"penalty = {penalty} and washout = {washout} at least 0"
            )
        self.features, self.targets = features, targets
        self.penalty, self.washout = penalty, washout
        self.rows = 0
        """How many were learned from."""
        self._read = 0
        self._products = torch.zeros(1 + features, 1 + features, dtype=torch.float64)
        self._answers = torch.zeros(1 + features, targets, dtype=torch.float64)

    @torch.no_grad()
    def add(
        self,
        y: Float[Tensor, "batch time features"],
        target: Float[Tensor, "batch time targets"],
        *,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> None:
        """Learn from the next piece of a batch of streams; `restart` begins others.

        Raises:
            ValueError: if shapes do not fit.
        """
        batch, time = y.shape[:2]
        if y.shape[2] != self.features or target.shape != (batch, time, self.targets):
            raise ValueError(
                f"readout: y {tuple(y.shape)} and target {tuple(target.shape)} should be (batch, "
                f"time, {self.features}) and (batch, time, {self.targets})"
            )
        counts = torch.arange(time, device=y.device) >= self.washout - self._read
        counts = counts.expand(batch, -1)
        if lengths is not None:
            counts = counts & within(lengths, time)
        read = nn.functional.pad(y[counts].to("cpu", torch.float64), (1, 0), value=1.0)
        self._products += read.T @ read
        self._answers += read.T @ target[counts].to("cpu", torch.float64)
        self.rows += len(read)
        self._read += time

    def restart(self) -> None:
        """Say that the next piece begins other streams, with a washout of their own."""
        self._read = 0

    def fit(
        self, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> nn.Linear:
        """Return the readout of all that was added; more may be added afterwards.

        Raises:
            ValueError: if nothing was added beyond the washout.
        """
        if self.rows == 0:
            raise ValueError(f"readout: nothing was read beyond a washout of {self.washout}")
        # Around the means, b drops out of the equations.
        mean, answer = self._products[0, 1:] / self.rows, self._answers[0] / self.rows
        products = self._products[1:, 1:] - self.rows * mean[:, None] * mean
        answers = self._answers[1:] - self.rows * mean[:, None] * answer
        products = products + self.penalty * torch.eye(self.features, dtype=torch.float64)
        # Features that depend on others leave many solutions without a penalty: the least is taken.
        weight = torch.linalg.lstsq(products, answers, driver="gelsd").solution
        made = nn.Linear(self.features, self.targets, device=device, dtype=dtype)
        with torch.no_grad():
            made.weight.copy_(weight.T)
            made.bias.copy_(answer - mean @ weight)
        return made
