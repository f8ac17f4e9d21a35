"""Critical review of recurrent networks: gradients vanish in Elman's network, and gates keep them.

Lipton, Berkowitz and Elkan, "A Critical Review of Recurrent Neural Networks for Sequence Learning",
2015, arXiv:1506.00019, sections 3.1 and 4.1.

Recipe   the norm of d state_T / d state_{T-100} of freshly started networks of 64 units, Elman's at
         spectral radius 0.9, the LSTM's forget gates at sigmoid(5); then both on the adding problem
         at 100 numbers, at the same width, steps and optimizer.
Weak     one task. "Near the baseline" is put as a ratio: an Elman network of 64 units learns a part
         of the problem at some seeds. The whole derivative of the LSTM's cells, by way of its gates
         too, grows; it is not their direct path alone.
"""

import torch
from torch import Tensor

from statewise import mixers
from statewise.analysis.adding import Adder, learn_sums, squared_error
from statewise.analysis.gradients import gradient_by_lag
from statewise.literature.paper import Budget, Check, Claim
from statewise.mixers import Mixer

PAPER = 2
HIDDEN, LAG, LENGTH = 64, 100, 100
FALL, ERROR = f"gradient falls over {LAG} by 10 to the", "squared error of sums"

CLAIM = Claim(
    "Over 100 inputs the gradient of Elman's network falls by a thousand at least, and that of the "
    "LSTM by ten at most; on the adding problem the LSTM's squared error ends below 0.02 and "
    "Elman's is at least four times as large.",
    (
        Check("Elman's gradient vanishes", ("elman", FALL), ">=", 3.0),
        Check("the LSTM's does not", ("lstm", FALL), "<=", 1.0),
        Check("the LSTM adds", ("lstm", ERROR), "<=", 0.02),
        Check("Elman's network lags behind", ("elman", ERROR), ">=", ("lstm", ERROR), times=4.0),
    ),
)

RECIPES = {"elman": ("elman", "h"), "lstm": ("lstm", "c")}
"""A mixer, and the leaf of its state whose gradient is measured."""


def measure(recipe: tuple[str, str], budget: Budget, seed: int) -> dict[str, float]:
    """Return how far the gradient falls, and the error after training."""
    name, leaf = recipe
    norms = gradient_by_lag(started(name), _inputs(seed), leaf=leaf)
    return {FALL: float((norms[0] / norms[LAG]).log10()), ERROR: learned(name, budget, seed)}


def started(name: str) -> Mixer:
    """Return a network of the kind whose gradients are asked for."""
    mixer = mixers.build(name, HIDDEN).double()
    assert isinstance(mixer, Mixer)
    with torch.no_grad():
        if name == "elman":
            matrix = mixer.get_parameter("weight_hh_l0")
            matrix *= 0.9 / torch.linalg.eigvals(matrix).abs().max()
        else:
            for which in ("bias_ih_l0", "bias_hh_l0"):
                mixer.get_parameter(which)[HIDDEN : 2 * HIDDEN] = 2.5
    return mixer


def _inputs(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(LAG, HIDDEN, generator=generator, dtype=torch.float64)


def learned(name: str, budget: Budget, seed: int) -> float:
    """Return the mean square of the error on examples that were not trained on."""
    adder = Adder(name, dim=HIDDEN)
    learn_sums(adder, length=LENGTH, steps=budget.steps(4000), seed=seed)
    return squared_error(adder, length=LENGTH, seed=seed)
