"""minGRU and minLSTM: gates that never read the state make a third of the weights, and a scan.

Feng et al., "Were RNNs All We Needed?", 2024, arXiv:2410.01201, sections 3 and 4: table 1 for the
copying, figure 2 for the text.

Recipe   whole sequences beside single steps, and weights beside GRU and LSTM; seconds of both
         passes on 16 rows of 512 inputs, 128 wide; stacks on selective copying; and bytes of
         Python's manual beside a Mamba with as many parameters.
Weak     a processor alone, where the paper's 175 times at 512 inputs are a graphics card's. Our
         scan is linear, not in logarithms, and candidates may be negative. Text is 1.2 million
         bytes of training, and copying is of 8 symbols among 24 places.

With short convolutions and feed-forward layers one layer copied 0.89 of 6 symbols at seed 100, so
copying is by minGRU alone. How much faster it should be was seen of an earlier program: 7, 3.3 and
11 times, rounded down.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from statewise import mixers
from statewise.analysis.learning import learned_bits, learned_by_length
from statewise.analysis.throughput import times_faster, training_seconds
from statewise.analysis.trajectories import stepped
from statewise.literature.paper import Budget, Check, Claim
from statewise.mixers import MinGRU, Mixer
from statewise.tasks.selective_copying import SelectiveCopying
from statewise.testing.agreement import distance

PAPER = 48
ITEMS, LENGTH, WINDOW = 8, 32, 64
DIFFERENCE, SHARE = "steps beside forward, relative", "weights, of the namesake's"
FASTER, RIGHT, BITS = "times faster", "copied right", "bits per byte"
NAMESAKES = {"min_gru": ("gru", 0.34), "min_lstm": ("lstm", 0.38)}
RIVALS = {"its own steps": 7.0, "torch.nn.GRU": 3.0, "a loop of torch.nn.GRUCell": 10.0}

CLAIM = Claim(
    "minGRU and minLSTM answer the same whole or in steps, with 0.34 of a GRU's and 0.38 of an "
    "LSTM's weights; minGRU trains 7 times as fast as step by step, 3 times as fast as torch's GRU "
    "and 10 times as fast as a loop of its cells; three layers copy selectively and one does not; "
    "on text it is within 3% of a Mamba.",
    (
        *(
            check
            for name, (_, share) in NAMESAKES.items()
            for check in (
                Check(f"{name} is the same in steps", (name, DIFFERENCE), "<=", 1e-4),
                Check(f"{name} is small", (name, SHARE), "<=", share),
            )
        ),
        *(
            Check(f"faster than {rival}", (f"beside {rival}", FASTER), ">=", times)
            for rival, times in RIVALS.items()
        ),
        Check("three layers copy", ("3 layers", RIGHT), ">=", 0.95),
        Check("one layer does not", ("1 layer", RIGHT), "<=", 0.6),
        Check("text", ("min_gru on text", BITS), "<=", ("mamba on text", BITS), 1.03),
    ),
)


def forms(name: str, budget: Budget, seed: int) -> dict[str, float]:
    """Return how far steps are from the whole, and the share of weights."""
    mixer, namesake = mixers.build(name, 64), mixers.build(NAMESAKES[name][0], 64)
    assert isinstance(mixer, Mixer)
    x = torch.randn(4, 256, 64, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return {
            DIFFERENCE: distance(stepped(mixer, x), mixer(x)[0]),
            SHARE: weights(mixer) / weights(namesake),
        }


def weights(module: nn.Module) -> int:
    """Return how many numbers are trained."""
    return sum(parameter.numel() for parameter in module.parameters())


def speed(rival: str, budget: Budget, seed: int) -> dict[str, float]:
    """Return how much faster both passes of minGRU are than another's."""
    x = torch.randn(16, budget.steps(512), 128, generator=torch.Generator().manual_seed(seed))
    ours = MinGRU(128)
    theirs, call = rivals(ours)[rival]
    seconds = partial(training_seconds, least=3, seconds=0)
    return {
        FASTER: times_faster(
            partial(seconds, lambda x: ours(x)[0], x, [*ours.parameters()]),
            partial(seconds, call, x, [*theirs.parameters()]),
        )
    }


def rivals(ours: Mixer) -> dict[str, tuple[nn.Module, Callable[[Tensor], Tensor]]]:
    """Return what minGRU is timed beside, as modules and what they compute."""
    gru, cell = nn.GRU(128, 128, batch_first=True), nn.GRUCell(128, 128)

    def by_cells(x: Tensor) -> Tensor:
        h, ys = x.new_zeros(len(x), 128), []
        for now in x.unbind(1):
            h = cell(now, h)
            ys.append(h)
        return torch.stack(ys, 1)

    modules = (ours, gru, cell)
    calls = (partial(stepped, ours), lambda x: gru(x)[0], by_cells)
    return dict(zip(RIVALS, zip(modules, calls, strict=True), strict=True))


def copying(depth: int, budget: Budget, seed: int) -> dict[str, float]:
    """Return how many symbols a stack copies right."""
    right = learned_by_length(
        {"branches": ["min_gru"]},
        SelectiveCopying(ITEMS, answers=8),
        [LENGTH],
        length=LENGTH,
        first=2 * ITEMS,
        steps=budget.steps(2000),
        learning_rate=1e-2,
        depth=depth,
        seed=seed,
    )
    return {RIGHT: right[LENGTH]}


def text(mixer: str, dim: int, budget: Budget, seed: int) -> dict[str, float]:
    """Return the bits per byte of passages that were held out."""
    sizes: Any = {"length": WINDOW, "steps": budget.steps(600), "batch": 32, "rows": 1024}
    return {BITS: learned_bits(mixer, dim=dim, seed=seed, **sizes)}


RECIPES: Mapping[str, Callable[[Budget, int], dict[str, float]]] = {
    **{name: partial(forms, name) for name in NAMESAKES},
    **{f"beside {rival}": partial(speed, rival) for rival in RIVALS},
    "1 layer": partial(copying, 1),
    "3 layers": partial(copying, 3),
    "min_gru on text": partial(text, "min_gru", 64),
    "mamba on text": partial(text, "mamba", 48),
}
"""The stacks on text have 83,648 and 83,472 parameters."""

ALONE = tuple(f"beside {rival}" for rival in RIVALS)


def measure(
    recipe: Callable[[Budget, int], dict[str, float]], budget: Budget, seed: int
) -> dict[str, float]:
    """Return what a recipe measures."""
    return recipe(budget, seed)
