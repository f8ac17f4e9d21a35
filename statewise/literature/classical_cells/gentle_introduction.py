"""Back-propagation through time, written by hand, is exact; cut short it turns towards the whole.

Schmidt, "Recurrent Neural Networks (RNNs): A gentle Introduction and Overview", 2019,
arXiv:1912.05911, sections 2 and 3: the equations of the gradient, and of its truncated form.

Recipe   the kernels' gradients, which are written by hand, beside those of autograd through a loop,
         in float64; and the gradient of a fresh network's squared error over 64 times when each
         error goes back through so many steps and no more.
Weak     what truncation does to a direction, and not to learning: Elman's network and the LSTM at
         their start, on noise.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from statewise import backends
from statewise.analysis.trajectories import states_before
from statewise.literature.paper import Budget, Check, Claim, at
from statewise.mixers import LSTM, Elman, Mixer
from statewise.testing.agreement import distance

PAPER = 76
DIM, TIME, BATCH = 16, 64, 8
WINDOWS = (1, 2, 4, 8, 16, 32, TIME)
ERROR, WHOLE, RISE = "largest error by hand", "error at the whole length", "least rise by doubling"

RECIPES = {"Elman": Elman, "LSTM": LSTM}

CLAIM = Claim(
    "Gradients by hand are autograd's to 1e-10; a window as long as the sequence gives the whole "
    "gradient, and every doubling of a window turns its gradient towards the whole one.",
    tuple(
        check
        for name in RECIPES
        for check in (
            Check(f"{name} by hand", (name, ERROR), "<=", 1e-10),
            Check(f"{name}, whole window", (name, WHOLE), "<=", 1e-10),
            Check(f"{name} turns", (name, RISE), ">=", 0.0),
        )
    ),
)


def measure(kind: Callable[[int], Mixer[Any]], budget: Budget, seed: int) -> dict[str, float]:
    """Return how exact gradients are, and how a truncated one points, by its window."""
    del budget  # nothing is trained
    mixer = kind(DIM).double()
    x, wanted = torch.randn(2, BATCH, TIME, DIM, dtype=torch.float64)
    whole = gradient(mixer, mixer(x)[0], wanted)
    with backends.use("reference"):
        by_autograd = gradient(mixer, mixer(x)[0], wanted)
    cut = {window: truncated(mixer, x, wanted, window) for window in WINDOWS}
    cosines = {window: float(cosine_similarity(cut[window], whole, 0)) for window in WINDOWS}
    return {
        ERROR: distance(whole, by_autograd),
        WHOLE: distance(cut[TIME], whole),
        RISE: min(longer - shorter for shorter, longer in pairwise(cosines.values())),
    } | at(cosines, "inputs of a window: cosine with the whole")


def gradient(mixer: Mixer[Any], y: Tensor, wanted: Tensor) -> Tensor:
    """Return the gradient of the squared error by all parameters."""
    found = torch.autograd.grad((y - wanted).square().sum(), list(mixer.parameters()))
    return torch.cat([part.flatten() for part in found])


def truncated(mixer: Mixer[Any], x: Tensor, wanted: Tensor, window: int) -> Tensor:
    """Return the gradient of which each error goes back through `window` steps and no more."""
    before = list(states_before(mixer, x))
    starts = [max(0, end - window) for end in range(1, TIME + 1)]
    pieces = (mixer(x[:, start:end], before[start])[0] for end, start in enumerate(starts, 1))
    return gradient(mixer, torch.stack([y[:, -1] for y in pieces], 1), wanted)
