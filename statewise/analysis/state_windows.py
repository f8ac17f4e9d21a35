"""States that hold the last inputs alone, by the difference of two that decay alike.

    S_t - decay_{t-w+1} ... decay_t S_{t-w}        what was written at t - w + 1, ..., t

The second state is the first one's of w inputs ago, and decays on as the first does. Chen, Zhang,
Hu, Han, Liu and Sun, "Stuffed Mamba: State Collapse and State Capacity of RNN-Based Long-Context
Modeling", 2024, arXiv:2410.07145, section 4: what a state that was trained on short texts cannot
take, it need not hold.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn.functional import pad

from statewise.mixers.mamba2 import Mamba2, Mamba2State
from statewise.mixers.parts.recurrent import Run
from statewise.ops.linear_attention import linear_attention


def windowed(run: Run, window: int) -> Run:
    """Return a mixer's `run` whose linear attention has a decay a head and sees a window of inputs.

    It is for whole sequences that begin at a state of zero; other ops run as they did.

    Args:
        run: as `Recurrent.mix` is given it.
        window: how many inputs are seen, the present one included.

    Raises:
        ValueError: for a window without an input.
    """
    if window < 1:
        raise ValueError(f"window = {window} should be at least 1")

    def difference(op: Callable[..., Any], *given: Any, **options: Any) -> Any:
        y, S = run(op, *given, **options)
        if op is not linear_attention or given[0].shape[1] <= window:
            return y, S
        query, key, value = given
        kept = options["log_decay"].cumsum(1)
        faded = value[:, :-window] * (kept[:, window:] - kept[:, :-window]).exp()[..., None]
        old = (pad(part, (0, 0, 0, 0, window, 0)) for part in (key[:, :-window], faded))
        z, R = run(op, query, *old, **options)
        return y - z, S - R

    return difference


class WindowedMamba2(Mamba2):
    """Mamba-2 whose states hold the last inputs alone, with the parameters of the one it is like.

    Args:
        dim: features read and answered.
        window: how many inputs are seen, the present one included.
        options: of Mamba-2.
    """

    def __init__(self, dim: int, *, window: int, **options: Any):
        super().__init__(dim, **options)
        self.window = window

    def mix(self, x: Tensor, state: Mamba2State, run: Run) -> tuple[Tensor, Mamba2State]:
        """Map whole sequences."""
        return super().mix(x, state, windowed(run, self.window))
