"""The hub's models before and after `use_native`, in one run, both sides in turn.

    python -m benchmarks.hub                     # every family, then decoding and memory
    python -m benchmarks.hub mamba decoding --llama ~/llama/bin/python
    python -m benchmarks.hub --markdown          # the documentation's page
    python -m benchmarks.hub --sources           # the hashes that `sources.TESTED` should have

Models have about 16 million parameters and random weights. A step of training is forward, backward
and AdamW on sequences of 256; a prompt is read once with a cache, of which the last logits are
kept. The sides are two copies of one model, and the losses of both are printed, as a check. Where
the library has more than a plain loop (mambapy, for Mamba), that is the side before, and the loop
is timed once. `decoding` is one stream from a Mamba of 130 million parameters
(`benchmarks.hub.decoding`), and `memory` what a step of training on 2,048 tokens takes at its peak.
"""

import argparse
import copy
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks import markdown
from benchmarks.end_to_end import WITHOUT_CACHE
from benchmarks.hub import decoding, memory
from benchmarks.hub.families import FAMILIES, build
from benchmarks.hub.profile import shares
from benchmarks.timing import Times, machine, paired
from statewise.compat.transformers import use_native
from statewise.compat.transformers.native import sources_of
from statewise.compat.transformers.sources import fingerprint, installed
from statewise.training.memory import keep_memory

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
    loop: float | None
    """Training after over the plain loop, where the library has something faster, and we too."""
    prompt: float
    difference: float
    """Of the losses, relative."""
    shares: dict[str, float]
    """Of a step of training after, by what it went to."""


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
        plain = (
            Side(_looped(copy.deepcopy(model))) if hasattr(model.config, "use_mambapy") else None
        )
        native = use_native(model)
        print(f"{family}: {native}", file=sys.stderr)
        tokens = torch.randint(3, VOCABULARY, (batch, CONTEXT + 1))
        prompt = torch.randint(3, VOCABULARY, (1, PROMPT))
        trained = _timed(Side.train, sides, tokens, rounds)
        read = _timed(Side.prompt, sides, prompt, rounds)
        rates = {name: batch * CONTEXT / times.median for name, times in trained.items()}
        loop = None
        if plain is not None:
            once = paired({"loop": partial(Side.train, plain, tokens)}, glacial=0)
            loop = once["loop"].median / trained["after"].median
        first = [side.losses[0] for side in sides.values()]
        yield Line(
            family,
            _count(model) / 1e6,
            rates["before"],
            rates["after"],
            rates["after"] / rates["before"],
            loop,
            read["before"].median / read["after"].median,
            abs(first[1] - first[0]) / first[0],
            shares(partial(Side.train, sides["after"], tokens)),
        )


def _looped(model: nn.Module) -> nn.Module:
    """Let the library take its plain loop, as it does where mambapy is not installed."""
    for module in model.modules():
        if hasattr(module, "use_mambapy"):
            object.__setattr__(module, "use_mambapy", False)
    return model


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


HEAD = (
    "family", "million", "before", "after", "training", "over the loop", "prompt", "losses differ",
)  # fmt: skip
PAGE = """# Hugging Face models, how fast

Made by `python -m benchmarks.hub --markdown`: models of about 16 million parameters before and
after `use_native`, tokens a second in training (one sequence of {context}), after over before in
training and in reading a prompt of {prompt}, and how far the first losses are apart. Mamba and
Falcon-Mamba have mambapy before; *over the loop* is training after over the library's plain loop,
which it takes where that package is missing. All sides of a line take turns.

{machine}

{table}

Products of matrices are torch's own or, where they are faster, ours: a family of which they and
the optimizer are most has little to gain from its recurrence. Of a step of training after:

{shares}

## One stream

A Mamba of 130 million parameters, token by token, and its reading of a prompt of {prompt}, tokens a
second, the middle of {turns} turns. *limit* is what the memory allows, the bytes of the weights
over the rate of `torch.add`; *differ* is how far the logits after the prompt are from ours in
float32.

{decoding}

## Memory

One step of training mamba on {time:,} tokens adds at its peak, in MB: {memory}.
"""


def _cells(line: Line) -> list[str]:
    return [
        line.family,
        f"{line.million:.1f}",
        f"{line.before:,.0f}",
        f"{line.after:,.0f}",
        f"{line.training:.2f}",
        "" if line.loop is None else f"{line.loop:.1f}",
        f"{line.prompt:.2f}",
        f"{line.difference:.0e}",
    ]


def _percents(shares: dict[str, float]) -> list[str]:
    return [f"{share:.0%}" for share in shares.values()]


def _decoded(found: decoding.Decoding) -> list[str]:
    numbers = (found.decoded, found.limit, found.decoded / found.limit, found.prompt)
    cells = [f"{n:,.{d}f}" for n, d in zip(numbers, (1, 0, 2, 0), strict=True)]
    return [found.side, *cells, f"{found.difference:.0e}"]


DECODED = ("side", "tokens a second", "limit", "of the limit", "prompt", "differ")


def main() -> None:
    """Print what is found as it is found, or the documentation's page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hub")
    every = [*FAMILIES, "decoding", "memory"]
    parser.add_argument("parts", nargs="*", default=every, metavar="FAMILY|decoding|memory")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--tokens", type=int, default=48, help="decoded by each side")
    parser.add_argument("--turns", type=int, default=3, help="of each side in decoding")
    parser.add_argument("--llama", metavar="PYTHON", help="with llama-cpp-python and gguf")
    parser.add_argument("--markdown", action="store_true", help="print the documentation's page")
    parser.add_argument("--sources", action="store_true", help="print hashes of sources, and stop")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(every):
        parser.error(f"there is no part {min(unknown)}: {', '.join(every)}")
    if given.sources:
        print(f"transformers {installed()}")
        for name, found in sorted(set(hashes())):
            print(name, found)
        return
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    warnings.filterwarnings("ignore")  # the library's own
    keep_memory()
    about = {**machine(), "transformers": installed()}
    where = sys.stderr if given.markdown else sys.stdout
    print(markdown.bullets(about), file=where)

    def shown(head: Sequence[str], rows: Iterable[list[str]]) -> str:
        made = []
        print("  ".join(head), file=where, flush=True)
        for row in rows:
            made.append(row)
            print("  ".join(cell or "-" for cell in row), file=where, flush=True)
        return markdown.table(head, made)

    families = [part for part in given.parts if part in FAMILIES]
    measured: list[Line] = []

    def cells() -> Iterator[list[str]]:
        for line in lines(families, given.rounds, given.batch):
            measured.append(line)
            yield _cells(line)

    trained, spent = shown(HEAD, cells()), "not measured"
    if measured:
        head = ("family", *measured[0].shares)
        spent = shown(head, ([line.family, *_percents(line.shares)] for line in measured))
    decoded = held = "not measured"
    if "decoding" in given.parts:
        sides = decoding.measure(given.tokens, given.turns, given.llama)
        decoded = shown(DECODED, map(_decoded, sides))
    if "memory" in given.parts:
        before, after = memory.peaks().values()
        held = f"{before:,.0f} before, {after:,.0f} after, {before / after:.1f} times less"
        print(f"peak memory of training on {memory.TIME} tokens, MB: {held}", file=where)
    if given.markdown:
        print(
            PAGE.format(
                context=CONTEXT,
                prompt=PROMPT,
                turns=given.turns,
                machine=markdown.bullets(about),
                table=trained,
                shares=spent,
                decoding=decoded,
                time=memory.TIME,
                memory=held,
            ),
            end="",
        )


if __name__ == "__main__":
    main()
