"""Emergent timescales: heads for all levels together learn faster than one by one, and stay fast.

Khajehabdollahi et al., "Emergent mechanisms for long timescales depend on training curriculum and
affect performance in memory tasks", 2023, arXiv:2309.12927, sections 2 and 3.

Recipe   64 leaky units with a time constant each, all trained, learn the parity of the last N bits,
         for N from 2 to 10: one head after another, or one more and all before it. A level is
         learned at a running accuracy of 0.98. All numbers are means of ten networks.
Weak     N to 10, where the paper comes to 100 and more, so that no long memory is needed of anyone:
         the order of the time constants is claimed, and not that they grow. Its timescales of the
         network, ablations and delayed matches are not here. A curriculum that does not come to the
         end counts with the updates that it had.

Seen before this was written, by an earlier program: to N = 14 in 3,300 updates with all heads, and
in 12,000 and 26,000 one by one. The first record was of one network to N = 14, and undecided: 1,398
to 1,481 updates, and 2,832 to 6,458. So chance decided: N and the batch, now of 32, were made
smaller for more networks. Tried so at seed 100: to N = 10 the means of six take 753 and 1,912
updates, 2.5 times as many; one each to N = 16 takes 2,762 and 8,316. The third is asked for still.
"""

from statistics import mean
from typing import Any, Literal

import torch

from statewise.literature.paper import Budget, Check, Claim, at
from statewise.mixers.leaky_rnn import LeakyRNN
from statewise.models.language_model import LanguageModel, LanguageModelConfig
from statewise.tasks.n_parity import NParity
from statewise.training.curricula import Curriculum

PAPER = 5
UNITS, LAST, EARLIER, LENGTH, NETWORKS = 64, 10, 3, 24, 10
UPDATES, TAU = f"updates until {LAST} bits are learned", "mean time constant, in inputs"
KEPT = f"right about {EARLIER} bits fewer"

CLAIM = Claim(
    "With heads for all levels N-parity is learned in a third of the updates, and the time "
    "constants end shorter, than one head after another, which is near chance at levels it has "
    "left.",
    (
        Check(
            "all heads learn faster", ("all heads", UPDATES), "<=", ("one by one", UPDATES), 1 / 3
        ),
        Check("their units are faster", ("all heads", TAU), "<=", ("one by one", TAU)),
        Check("one by one forgets", ("one by one", KEPT), "<=", 0.6),
    ),
)

RECIPES: dict[str, Literal["single", "multi"]] = {"all heads": "multi", "one by one": "single"}


def measure(heads: Literal["single", "multi"], budget: Budget, seed: int) -> dict[str, float]:
    """Return the updates that it took, the time constants, and what is kept of an earlier level."""
    found = [network(heads, budget, NETWORKS * seed + number) for number in range(NETWORKS)]
    return {name: mean(one[name] for one in found) for name in found[0]}


def network(heads: Literal["single", "multi"], budget: Budget, seed: int) -> dict[str, float]:
    """Return the same of one network."""
    units = {"name": "leaky_rnn", "shortest": 0.5, "longest": 1.0}
    shape: Any = {"vocab": 2, "dim": UNITS, "depth": 1, "convolution": 0, "expansion": 0}
    body = LanguageModel(LanguageModelConfig(mixer=units, **shape))
    course = Curriculum(body, NParity, range(2, LAST + 1), heads=heads, seed=seed)
    optimizer = torch.optim.Adam(course.parameters(), lr=1e-3)
    most = budget.steps(4000)
    while course.calls < most and LAST not in course.learned:
        optimizer.zero_grad()
        course(length=LENGTH, batch=32).backward()
        torch.nn.utils.clip_grad_norm_(course.parameters(), 1.0)
        optimizer.step()
    (leaky,) = (part for part in body.modules() if isinstance(part, LeakyRNN))
    alpha = -torch.expm1(-torch.exp(-leaky.log_tau.detach()))
    calls = {level: float(course.learned.get(level, course.calls)) for level in course.tasks}
    return {
        UPDATES: float(course.calls),
        TAU: float((1 / alpha).mean()),
        KEPT: course.accuracy(max(2, course.level - EARLIER), length=LENGTH),
    } | at(calls, "bits: updates until learned")
