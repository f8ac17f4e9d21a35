"""Classical cells beside torchrecurrent's of the same name: `python -m benchmarks.classical`.

Forward and backward at (16, 256, 128), float32, all threads, the sides in turn. `floor` is what the
products of a cell's matrices would take alone, by `torch.mm` over all times at once: one for the
answer and two for the gradients, which no recurrence can do without. `--newton` prints instead what
solving for all times at once takes beside the sequential kernel, by cell and length.
"""

import argparse
import importlib
import json
import warnings
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks import markdown
from benchmarks.timing import machine, paired
from statewise import mixers
from statewise.mixers import Cell
from statewise.training.memory import keep_memory

BATCH, TIME, DIM = 16, 256, 128

PEERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "antisymmetric_rnn": ("AntisymmetricRNN", {}),
    "atr": ("ATR", {}),
    "brc": ("BR", {}),
    "cfn": ("CFN", {}),
    "cornn": ("coRNN", {}),
    "fast_grnn": ("FastGRNN", {}),
    "fast_rnn": ("FastRNN", {}),
    "gated_antisymmetric_rnn": ("GatedAntisymmetricRNN", {}),
    "indrnn": ("IndRNN", {}),
    "janet": ("JANET", {}),
    "lem": ("LEM", {}),
    "ligru": ("LiGRU", {}),
    "mgu": ("MGU", {}),
    "minimal_rnn": ("MinimalRNN", {}),
    "multiplicative_lstm": ("MultiplicativeLSTM", {}),
    "nas_cell": ("NAS", {}),
    "nbrc": ("NBR", {}),
    "peephole_lstm": ("PeepholeLSTM", {}),
    "ran": ("RAN", {}),
    "scrn": ("SCRN", {}),
    "star": ("STAR", {}),
    "tau_gru": ("tauGRU", {"delay": 10}),
    "ugrnn": ("UGRNN", {}),
    "unicornn": ("UnICORNN", {}),
}
"""The peer's layer for each mixer, and its options."""

LENGTHS = (64, 256, 1024)


class Line(NamedTuple):
    """One cell: milliseconds of both and of the floor."""

    cell: str
    ours: float
    peer: float
    floor: float


def there_and_back(module: nn.Module, x: Tensor) -> Callable[[], None]:
    """Return a forward and a backward pass of a mixer, or of a peer's layer."""

    def call() -> None:
        module.zero_grad(set_to_none=True)
        read = x.clone().requires_grad_()
        module(read)[0].square().sum().backward()

    return call


def products(module: nn.Module) -> Callable[[], None]:
    """Return the products of a mixer's matrices at all times, there and back."""
    rows = BATCH * TIME
    sides = [
        (torch.randn(rows, p.shape[1]), p.detach(), torch.randn(rows, p.shape[0]))
        for p in module.parameters()
        if p.ndim == 2
    ]

    def call() -> None:
        for read, matrix, gave in sides:
            torch.mm(read, matrix.t())
            torch.mm(gave, matrix)
            torch.mm(gave.t(), read)

    return call


def lines(names: list[str], rounds: int) -> list[Line]:
    """Return what each cell took."""
    peers = importlib.import_module("torchrecurrent")  # an extra, seldom there
    found = []
    x = torch.randn(BATCH, TIME, DIM)
    for name in names:
        peer, options = PEERS[name]
        torch.manual_seed(0)
        ours = mixers.build(name, DIM)
        theirs = getattr(peers, peer)(DIM, DIM, batch_first=True, **options)
        sides = {
            "ours": there_and_back(ours, x),
            "peer": there_and_back(theirs, x),
            "floor": products(ours),
        }
        times = paired(sides, rounds=rounds, slow=0.3)
        line = Line(name, *(1e3 * times[side].median for side in ("ours", "peer", "floor")))
        found.append(line)
        print(
            f"{name}: {line.peer / line.ours:.1f} times the peer's speed, {line.ours:.1f} ms, "
            f"{line.ours / max(line.floor, 1e-3):.1f} of its products' floor",
            flush=True,
        )
    return found


def solved(rounds: int) -> list[tuple[str, int, int, float, float]]:
    """Return cell, length, iterations, and the milliseconds of Newton's method and of the loop."""
    found = []
    for name in ("para_gru", "para_lstm", "elstm", "brc", "unicornn", "ugrnn"):
        torch.manual_seed(0)
        dim = 16 if name == "ugrnn" else DIM  # its Jacobian is whole
        mixer = mixers.build(name, dim)
        assert isinstance(mixer, Cell)
        for time in LENGTHS:
            x = torch.randn(BATCH, time, dim)
            report = mixer.solve(x)[2]

            def newton(mixer: Any = mixer, x: Tensor = x) -> None:
                mixer.solve(x)[0].square().sum().backward()

            times = paired({"newton": newton, "loop": there_and_back(mixer, x)}, rounds=rounds)
            line = (
                name,
                time,
                report.iterations,
                1e3 * times["newton"].median,
                1e3 * times["loop"].median,
            )
            found.append(line)
            print(
                f"{name} at {time} times: {line[2]} iterations, {line[3]:.1f} ms, the sequential "
                f"kernel {line[4]:.1f} ms ({line[3] / line[4]:.1f})",
                flush=True,
            )
    return found


def main() -> None:
    """Print the lines as they are found, and what they come to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.classical", description=__doc__)
    parser.add_argument("cells", nargs="*", help=f"some of: {', '.join(PEERS)}")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--newton", action="store_true", help="solving for all times at once")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    parser.add_argument("--markdown", action="store_true", help="print a table at the end")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")  # the peer's own
    keep_memory()
    about = machine()
    print("\n".join(f"{name}: {value}" for name, value in about.items()), flush=True)
    if options.newton:
        rows: list[Any] = solved(options.rounds)
        head = ("cell", "times", "iterations", "newton, ms", "sequential, ms")
    else:
        rows = lines(options.cells or list(PEERS), options.rounds)
        ratios = [line.peer / line.ours for line in rows]
        print(f"median {median(ratios):.1f}, least {min(ratios):.1f} (aims 5 and 3)")
        head = ("cell", "ours, ms", "torchrecurrent, ms", "floor, ms")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"machine": about, "lines": [list(row) for row in rows]}, file, indent=1)
    if options.markdown:
        shown = [[f"{n:.1f}" if isinstance(n, float) else str(n) for n in row] for row in rows]
        print(markdown.table(head, shown))


if __name__ == "__main__":
    main()
