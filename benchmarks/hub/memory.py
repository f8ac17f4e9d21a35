"""What a step of training adds to a process at its peak, before and after `use_native`.

python -m benchmarks.hub.memory before      # one side, in a process of its own
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable

import psutil
import torch
from torch.nn.functional import cross_entropy

TIME = 2048
SIDES = ("before", "after")


def peaks() -> dict[str, float]:
    """Return the megabytes of each side."""
    found = {}
    for side in SIDES:
        command = [sys.executable, "-m", "benchmarks.hub.memory", side]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found[side] = float(said.stdout.split()[-1])
    return found


def grown(call: Callable[[], object]) -> float:
    """Return by how many megabytes resident memory grew at its peak during a call."""
    process, over = psutil.Process(), threading.Event()
    before = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not over.is_set():
            peak = max(peak, process.memory_info().rss)
            time.sleep(0.002)

    watching = threading.Thread(target=watch)
    watching.start()
    call()
    over.set()
    watching.join()
    return (peak - before) / 1e6


def main() -> None:
    """Measure one side, and print."""
    from benchmarks.end_to_end import WITHOUT_CACHE
    from benchmarks.hub.__main__ import VOCABULARY, sized
    from statewise.compat.transformers import use_native

    model = sized("mamba").train()
    if sys.argv[1] == "after":
        use_native(model)
    tokens = torch.randint(3, VOCABULARY, (1, TIME + 1))

    def step(time: int) -> None:
        logits = model(tokens[:, :time], **WITHOUT_CACHE).logits
        cross_entropy(logits.flatten(0, 1), tokens[:, 1 : time + 1].flatten()).backward()

    step(64)  # gradients, and what is allocated once
    print(grown(lambda: step(TIME)))


if __name__ == "__main__":
    main()
