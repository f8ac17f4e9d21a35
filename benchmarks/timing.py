"""Fair timing: all sides in turn, round after round, so that a busy machine slows all alike."""

import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch

from statewise import backends


class Times(NamedTuple):
    """Seconds of one side: the middle of the rounds, and the best."""

    median: float
    best: float


def paired(
    sides: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 7,
    slow: float = 0.1,
    glacial: float = 2.0,
) -> dict[str, Times]:
    """Time every side once a round, after two rounds of warm-up.

    Args:
        sides: what to call, by name.
        rounds: at least this many; five is the least that a median deserves.
        slow: sides that take more seconds than this stop after five rounds.
        glacial: sides that take more than this are timed once: their figure is no close race.
    """
    first = {name: _once(call) for name, call in sides.items()}
    quick = {name: call for name, call in sides.items() if first[name] < glacial}
    warm = {name: _once(call) for name, call in quick.items()}
    took = {name: [] if name in quick else [first[name]] for name in sides}
    for turn in range(max(rounds, 5)):
        for name, call in quick.items():
            if turn < 5 or warm[name] < slow:
                took[name].append(_once(call))
    return {name: Times(median(all_), min(all_)) for name, all_ in took.items()}


def _once(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def machine() -> dict[str, object]:
    """Return what a figure means nothing without: processor, threads, versions, the core."""
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "core": backends.core.about() if backends.core else str(backends.core_missing),
    }


def _processor() -> str:
    """Return the name, and its generation, since virtual machines give one name to several."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().split("\n\n")[0].splitlines() if info.exists() else []
    fields = {key.strip(): value.strip() for key, _, value in (x.partition(":") for x in lines)}
    name = fields.get("model name") or platform.processor() or platform.machine()
    if "cpu family" not in fields:
        return name
    return f"{name}, family {fields['cpu family']}, model {fields['model']}"
