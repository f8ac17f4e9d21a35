"""FlashRNN: recurrent matrices cut into heads and loops fused into kernels make cells fast.

Pöppel, Beck and Hochreiter, "FlashRNN: I/O-Aware Optimization of Traditional RNNs on Modern
Hardware", 2024, arXiv:2412.07752, sections 3 and 5.

Recipe   our kernels beside the loop of Python that defines a cell: outputs and gradients on 4 rows
         of 64 inputs, seconds of both passes on 16 rows of 512 inputs, 128 wide; then stacks of two
         layers, trained on parities of up to 16 bits.
Weak     a processor alone: that kernels are 50 times as fast, and states 40 times as wide, is said
         of one graphics card. Where the core in C++ is not built, torch's kernels or the loop stand
         in for ours. The stacks of cells have short convolutions too.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from statewise import backends, mixers
from statewise.analysis.learning import learned_by_length
from statewise.analysis.throughput import median_seconds, times_faster
from statewise.literature.paper import Budget, Check, Claim, at
from statewise.tasks.parity import Parity
from statewise.testing.agreement import distance

PAPER = 29
LENGTH = 16
LONG = f"at {10 * LENGTH}"
CELLS = ("elman", "gru", "lstm", "slstm")
FASTER = "times faster"
SINGLE, DOUBLE = (f"relative difference in {kind}" for kind in ("float32", "float64"))

CLAIM = Claim(
    "Kernels of four cells agree with the loop that defines them, gradients included, and take a "
    "third of its time; eight heads of 32 are faster than one of 256; stacks of sLSTM or LSTM keep "
    "parity at ten times the training length, a transformer does not.",
    (
        *(
            check
            for name in CELLS
            for check in (
                Check(f"{name} in float32", (f"{name} kernel", SINGLE), "<=", 1e-5),
                Check(f"{name} in float64", (f"{name} kernel", DOUBLE), "<=", 1e-10),
                Check(f"{name} is fast", (f"{name} kernel", FASTER), ">=", 3.0),
            )
        ),
        Check("heads are faster", ("8 heads, not one", FASTER), ">=", 1.0),
        *(
            Check(f"{name} keeps parity", (f"{name} stack", LONG), ">=", 0.95)
            for name in ("slstm", "lstm")
        ),
        Check("a transformer does not", ("transformer", LONG), "<=", 0.6),
    ),
)


def kernel(name: str, budget: Budget, seed: int) -> dict[str, float]:
    """Return how far a cell's kernel is from its loop, and how much faster it is."""
    found = {}
    for measure, dtype in ((SINGLE, torch.float32), (DOUBLE, torch.float64)):
        ours, loop = (
            passes(name, backend, batch=4, time=64, dim=32, dtype=dtype, seed=seed)()
            for backend in (None, "reference")
        )
        found[measure] = max(map(distance, ours, loop))
    sizes: Any = {"batch": 16, "time": budget.steps(512), "dim": 128, "seed": seed}
    ours, loop = passes(name, None, **sizes), passes(name, "reference", **sizes)
    return found | {FASTER: times_faster(timed(ours), timed(loop))}


def heads(budget: Budget, seed: int) -> dict[str, float]:
    """Return how much faster an sLSTM of 256 is with 8 heads than with one."""
    sizes: Any = {"batch": 16, "time": budget.steps(512), "dim": 256, "seed": seed}
    one, eight = (passes({"name": "slstm", "heads": n}, None, **sizes) for n in (1, 8))
    return {FASTER: times_faster(timed(eight), timed(one))}


def parity(mixer: str | dict[str, Any], budget: Budget, seed: int) -> dict[str, float]:
    """Return how often a stack is right, within the training length and beyond."""
    asked = [times * LENGTH for times in (1, 4, 10)]
    options: Any = {"dim": 32, "depth": 2, "steps": budget.steps(1000), "learning_rate": 1e-2}
    return at(learned_by_length(mixer, Parity(), asked, length=LENGTH, seed=seed, **options))


RECIPES: Mapping[str, Callable[[Budget, int], dict[str, float]]] = {
    **{f"{name} kernel": partial(kernel, name) for name in CELLS},
    "8 heads, not one": heads,
    "slstm stack": partial(parity, "slstm"),
    "lstm stack": partial(parity, "lstm"),
    "transformer": partial(parity, {"branches": ["attention", "feed_forward"]}),
}
ALONE = tuple(RECIPES)[:5]


def measure(
    recipe: Callable[[Budget, int], dict[str, float]], budget: Budget, seed: int
) -> dict[str, float]:
    """Return what a recipe measures."""
    return recipe(budget, seed)


def passes(
    mixer: str | dict[str, Any],
    backend: str | None,
    *,
    batch: int,
    time: int,
    dim: int,
    seed: int,
    dtype: torch.dtype = torch.float32,
) -> Callable[[], list[Tensor]]:
    """Return what computes the outputs of a cell and all gradients by one backend."""
    generator = torch.Generator().manual_seed(seed)
    cell: Any = mixers.build(mixer, dim).to(dtype)
    for weight in cell.parameters():
        nn.init.normal_(weight, std=dim**-0.5, generator=generator)
    x, given = torch.randn(2, batch, time, dim, dtype=dtype, generator=generator)
    wanted = [x.requires_grad_(), *cell.parameters()]

    def both() -> list[Tensor]:
        with backends.use(backend):
            y, _ = cell(x)
        return [y, *torch.autograd.grad(y, wanted, given)]

    return both


def timed(call: Callable[[], object]) -> Callable[[], float]:
    """Return what measures a call."""
    return partial(median_seconds, call, least=2, seconds=0)
