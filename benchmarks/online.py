"""Real-time recurrent learning: its memory, speed and gradients: `python -m benchmarks.online`.

An ELSTM reads a stream of so many inputs, and each output is compared to a target. Beside real-time
learning stand back-propagation through all of them, which keeps them all, and truncated
back-propagation through pieces of 100 with the state carried over, whose gradient is another. Each
figure is of a process of its own: the most memory it took beyond what it had before it began.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from statewise.mixers import ELSTM
from statewise.training.online import RealTimeLearner

DIM, HIDDEN, BATCH, PIECE = 16, 64, 4, 100
TIMES = (100, 1_000, 10_000)
WAYS = ("real time", "back-propagation", f"truncated to {PIECE}")


def pieces(time: int, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield inputs and targets, the same whatever the length of the pieces."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(0, time, length):
        rows = (torch.randn(2, BATCH, DIM, generator=generator) for _ in range(length))
        both = torch.stack(list(rows), 2)
        yield both[0], both[1].mean(-1, keepdim=True)


def run(way: str, time: int) -> list[float]:
    """Return the gradient of the mean error, summed over the whole stream."""
    torch.manual_seed(0)
    cell = ELSTM(DIM, HIDDEN)
    if way == "real time":
        learner = RealTimeLearner(cell)
        trace = learner.start(BATCH)
        for x, target in pieces(time, 1):
            y, trace, step = learner.step(x[:, 0], trace)
            learner.backward((y[:, None] - target).square().sum(), step)
    else:
        state = cell.initial_state(BATCH)
        for x, target in pieces(time, time if way == "back-propagation" else PIECE):
            y, state = cell(x, tree_map(Tensor.detach, state))
            (y - target).square().sum().backward()
    return torch.cat([p.grad.flatten() for p in cell.parameters() if p.grad is not None]).tolist()


def child(way: str, time_: int) -> None:
    """Print what one way took."""
    run(way, PIECE)  # what is loaded and read at the first call
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    gradient = run(way, time_)
    spent = time.perf_counter() - start
    taken = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(json.dumps({"megabytes": taken, "seconds": spent, "gradient": gradient}))


def main() -> None:
    """Print a line for each way and length."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.online", description=__doc__)
    parser.add_argument("--times", type=int, nargs="+", default=TIMES)
    parser.add_argument("--child", nargs=2, metavar=("WAY", "TIME"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        way, time_ = options.child
        child(way, int(time_))
        return
    print(f"elstm, {DIM} features to {HIDDEN} units, batch {BATCH}, float32")
    print(f"{'':18}{'inputs':>9}{'more memory, MB':>18}{'inputs/s':>11}{'gradient differs by':>21}")
    for time_ in options.times:
        found = {}
        for way in WAYS:
            command = [sys.executable, "-m", "benchmarks.online", "--child", way, str(time_)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[way] = json.loads(done.stdout)
        exact = torch.tensor(found["back-propagation"]["gradient"])
        for way, one in found.items():
            off = float((torch.tensor(one["gradient"]) - exact).norm() / exact.norm())
            rate = time_ / one["seconds"]
            print(f"{way:18}{time_:9,}{one['megabytes']:18.1f}{rate:11,.0f}{off:21.1e}")


if __name__ == "__main__":
    main()
