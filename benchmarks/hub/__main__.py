"""The hub's models before and after `use_native`, in one run, both sides in turn.

    python -m benchmarks.hub                     # training and a prompt, family after family
    python -m benchmarks.hub mamba qwen3_next
    python -m benchmarks.hub --sources           # the hashes that `sources.TESTED` should have

Models have about 16 million parameters and random weights. A step of training is forward, backward
and AdamW on sequences of 256; a prompt is read once with a cache, of which the last logits are
kept. The sides are two copies of one model, and the losses of both are printed, as a check.
"""

import argparse
import copy
import importlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.end_to_end import WITHOUT_CACHE
from benchmarks.hub.families import FAMILIES, build
from benchmarks.markdown import table
from benchmarks.timing import Times, machine, paired
from statewise.compat.transformers import use_native
from statewise.compat.transformers.native import sources_of
from statewise.compat.transformers.sources import fingerprint, installed

PARAMETERS = 16e6
VOCABULARY, DIM = 256, 384
CONTEXT, BATCH, PROMPT = 256, 1, 512


class Line(NamedTuple):
    """One line of the table: tokens a second, and ratios."""

    family: str
    million: float
    before: float
    after: float
    training: float
    prompt: float
    difference: float
    """Of the losses, relative."""


def sized(family: str) -> nn.Module:
    """Return a model with as near to 16 million parameters as its depth allows."""
    shallow, deeper = (_count(build(family, **_sizes(depth))) for depth in (4, 8))
    depth = max(2, 2 * round(2 + (PARAMETERS - shallow) / (deeper - shallow) * 2))
    torch.manual_seed(0)
    return build(family, **_sizes(depth))


def _sizes(depth: int) -> dict[str, int]:
    return {"dim": DIM, "depth": depth, "vocabulary": VOCABULARY}


def _count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


class Side:
    """One of the two copies of a model, with an optimizer of its own."""

    def __init__(self, model: nn.Module):
        self.model = model
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        self.losses: list[float] = []

    def train(self, tokens: Tensor) -> None:
        """Take one step."""
        self.model.train()
        logits = self.model(tokens[:, :-1], **WITHOUT_CACHE).logits
        loss = cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.losses.append(loss.item())

    def prompt(self, tokens: Tensor) -> None:
        """Read a prompt, with the cache that evaluation makes by default."""
        self.model.eval()
        with torch.no_grad():
            self.model(tokens)


def lines(families: list[str], rounds: int, batch: int) -> Iterator[Line]:
    """Measure one family after another."""
    for family in families:
        model = sized(family)
        sides = {"before": Side(copy.deepcopy(model)), "after": Side(model)}
        native = use_native(model)
        print(f"{family}: {native}", file=sys.stderr)
        tokens = torch.randint(3, VOCABULARY, (batch, CONTEXT + 1))
        prompt = torch.randint(3, VOCABULARY, (1, PROMPT))
        trained = _timed(Side.train, sides, tokens, rounds)
        read = _timed(Side.prompt, sides, prompt, rounds)
        rates = {name: batch * CONTEXT / times.median for name, times in trained.items()}
        first = [side.losses[0] for side in sides.values()]
        yield Line(
            family,
            _count(model) / 1e6,
            rates["before"],
            rates["after"],
            rates["after"] / rates["before"],
            read["before"].median / read["after"].median,
            abs(first[1] - first[0]) / first[0],
        )


def _timed(
    act: Callable[[Side, Tensor], None], sides: dict[str, Side], tokens: Tensor, rounds: int
) -> dict[str, Times]:
    """Time what both sides do, in turn."""
    calls = {name: partial(act, side, tokens) for name, side in sides.items()}
    return paired(calls, rounds=rounds, slow=1.0, glacial=5.0)


def hashes() -> Iterator[tuple[str, str]]:
    """Yield the name and the hash of all in the installed library that we take the place of."""
    for family in FAMILIES:
        home = importlib.import_module(f"transformers.models.{family}.modeling_{family}")
        for kind in classes(home):
            for name in sources_of(kind):
                if found := fingerprint(home, name):
                    yield name, found


def classes(home: ModuleType) -> list[type]:
    """Return the modules that a file of the library defines."""
    return [
        kind
        for kind in vars(home).values()
        if isinstance(kind, type)
        and issubclass(kind, nn.Module)
        and kind.__module__ == home.__name__
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hub")
    parser.add_argument("families", nargs="*", default=list(FAMILIES), metavar="FAMILY")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--sources", action="store_true", help="print hashes of sources, and stop")
    given = parser.parse_args()
    if unknown := set(given.families) - FAMILIES.keys():
        parser.error(f"there is no family {min(unknown)}: {', '.join(FAMILIES)}")
    if given.sources:
        print(f"transformers {installed()}")
        for name, found in sorted(set(hashes())):
            print(name, found)
        return
    print(machine(), f"transformers {installed()}", f"batch {given.batch} of {CONTEXT}")
    print(f"prompt {PROMPT}; tokens a second in training, and ratios after over before")
    head = ("family", "million", "before", "after", "training", "prompt", "losses differ by")
    rows = [
        [
            line.family,
            f"{line.million:.1f}",
            f"{line.before:,.0f}",
            f"{line.after:,.0f}",
            f"{line.training:.2f}",
            f"{line.prompt:.2f}",
            f"{line.difference:.0e}",
        ]
        for line in lines(given.families, given.rounds, given.batch)
    ]
    print(table(head, rows))


if __name__ == "__main__":
    main()
