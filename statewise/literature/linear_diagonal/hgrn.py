"""HGRN: forget gates whose lower bounds rise from layer to layer remember longer the higher up.

Qin, Yang and Zhong, "Hierarchically Gated Recurrent Neural Network for Sequence Modeling", 2023,
arXiv:2311.04823, sections 3.2, 4.1 and 4.4.

Recipe   three layers of 64 on Python's manual, and of 32 on copying four symbols over 500 tokens,
         with learned bounds and without; and on text with bounds and decays that read no input.
         Memory is the mean of 1 / (1 - f) over the gates f that passages held out open.
Weak     three layers where the paper has six and more, 1.2 million bytes, and windows of 64. Each
         layer stands behind a convolution of four taps, which the paper has not.

Tried before this was committed, at seeds 100 and 101: bounds rose, and memory with them, from 2 to
4 to 8 inputs; without bounds it rose to 3. Text cost 2.170 and 2.151 bits a byte with bounds, 2.164
and 2.153 without, and 2.189 and 2.170 where nothing reads.

The first record was undecided: its lengths grew too soon for copying to be learned but by chance,
so that they now grow by the same factor with each step, and two stacks are averaged; and it
compared stacks across seeds, which draw other examples. Tried since, at seeds 100 and 101: .99 and
.93 of the symbols are copied with bounds, .93 and .83 without; at a rate of 8e-3 .86 and .63 with,
1.0 and .86 without; and after 600 steps in place of 400 all of them, either way.
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from math import log
from typing import Any

import torch
from torch import Tensor, nn

from statewise.analysis.gates import retention
from statewise.analysis.learning import by_factors, learn, learned_by_length, stack
from statewise.analysis.lengths import extrapolation
from statewise.literature.paper import Budget, Check, Claim, at
from statewise.mixers.hgrn import HGRN
from statewise.mixers.parts.lower_bounds import LowerBounds
from statewise.models.language_model import LanguageModel
from statewise.tasks.copying import Copying
from statewise.tasks.passages import Passages, of_manual

PAPER = 105
DEPTH, WINDOW, LONG = 3, 64, 500
BITS, COPIED, RISE = "bits per byte", f"copied over {LONG}", "least rise of a bound"
REMEMBERED = "layers from the input: inputs remembered"
MEMORY = [("bounds, text", f"at {layer} {REMEMBERED}") for layer in range(1, DEPTH + 1)]
BOUND, FREE, FIXED = ((f"{kind}, text", BITS) for kind in ("bounds", "no bounds", "constant"))
COPIED_BOUND, COPIED_FREE = ((f"{kind}, copying", COPIED) for kind in ("bounds", "no bounds"))

CLAIM = Claim(
    "Learned bounds rise strictly from layer to layer, and so does the mean memory of the gates; "
    "with them text costs 1 in 100 fewer bits than without, and 10 in 100 more symbols are copied "
    "over 500 tokens; decays that read no input pay more than gates.",
    (
        Check("bounds rise", ("bounds, text", RISE), ">=", 1e-4),
        *(
            Check(f"memory rises to layer {place}", higher, ">=", lower, paired=True)
            for place, (lower, higher) in enumerate(pairwise(MEMORY), 2)
        ),
        Check("bounds on text", BOUND, "<=", FREE, 0.99, paired=True),
        Check(
            "bounds on copying",
            ("bounds, copying", COPIED),
            ">=",
            COPIED_FREE,
            plus=0.1,
            paired=True,
        ),
        Check("gates read", FIXED, ">=", BOUND),
    ),
)


class Constant(nn.Module):
    """What reads no input: a number for each feature."""

    def __init__(self, dim: int):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return the numbers, whatever is read."""
        return self.bias.expand_as(x)


def maker(kind: str, dim: int) -> Callable[..., HGRN]:
    """Return what makes the layers of one stack."""
    bounds = LowerBounds(DEPTH, dim)

    def make(dim: int, *, layer: int) -> HGRN:
        made = HGRN(dim, bound=0.0 if kind == "no bounds" else bounds, layer=layer)
        if kind == "constant":
            constant: Any = Constant(dim)
            made.forget = constant
        return made

    return make


def text(kind: str, budget: Budget, seed: int) -> dict[str, float]:
    """Return bits per byte of passages held out, how bounds rise, and the memory of each layer."""
    seen, held_out = map(Passages, of_manual())
    model = stack(maker(kind, 64), seen, dim=64, depth=DEPTH)
    options: Any = {"first": WINDOW, "length": WINDOW, "batch": 16, "seed": seed}
    learn(model, seen, steps=budget.steps(500), **options)
    (score,) = extrapolation(model.eval(), held_out, [WINDOW], rows=1024)
    found = {BITS: score.nats / log(2)}
    layers = [part for part in model.modules() if isinstance(part, HGRN)]
    if isinstance(bounds := layers[0].bound, LowerBounds):
        rising = torch.stack([bounds(place) for place in range(DEPTH)]).detach()
        found[RISE] = float(rising.diff(dim=0).min())
    generator = torch.Generator().manual_seed(2 * seed + 1)
    return found | memories(model, layers, held_out.draw(8, WINDOW, generator).tokens)


def memories(model: LanguageModel, layers: list[HGRN], tokens: Tensor) -> dict[str, float]:
    """Return the mean of 1 / (1 - f) of each layer."""
    read: list[Tensor] = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, given: read.append(given[0])) for layer in layers
    ]
    with torch.no_grad():
        model(tokens)
    for hook in hooks:
        hook.remove()
    kept = [retention(layer, x, leaf="h").abs() for layer, x in zip(layers, read, strict=True)]
    return at({place: float((1 / (1 - f)).mean()) for place, f in enumerate(kept, 1)}, REMEMBERED)


def copying(kind: str, budget: Budget, seed: int) -> dict[str, float]:
    """Return how many symbols are copied right, by the mean of two stacks."""
    length = 40 if budget is Budget.smoke else LONG
    options: Any = {"first": 12, "growth": by_factors, "batch": 16, "dim": 32, "depth": DEPTH}
    options |= {"length": length, "steps": budget.steps(400), "learning_rate": 5e-3}
    task, right = Copying(items=4, answers=4), 0.0
    for start in (2 * seed, 2 * seed + 1):
        found = learned_by_length(maker(kind, 32), task, [length], seed=start, **options)
        right += found[length] / 2
    return {COPIED: right}


RECIPES: Mapping[str, Callable[[Budget, int], dict[str, float]]] = {
    f"{kind}, {name}": partial(part, kind)
    for name, part in {"text": text, "copying": copying}.items()
    for kind in ("bounds", "no bounds", "constant")
    if (kind, name) != ("constant", "copying")
}


def measure(
    recipe: Callable[[Budget, int], dict[str, float]], budget: Budget, seed: int
) -> dict[str, float]:
    """Return what a recipe measures."""
    return recipe(budget, seed)
