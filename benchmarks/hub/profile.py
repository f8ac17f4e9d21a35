"""Where the time of a step of training goes after `use_native`: what there is left to gain.

The core's kernels are timed where they are called, torch's operations by its profiler, and what is
between them (Python, views, the calls themselves) is the rest of the step.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

from torch.profiler import ProfilerActivity, profile

from statewise import backends

PRODUCTS = {"aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm", "aten::_grouped_mm"}
ATTENTION = "scaled_dot_product"


def shares(step: Callable[[], None], steps: int = 3) -> dict[str, float]:
    """Return the shares of a call's time, by what it went to; they sum to one."""
    step()
    took: dict[str, float] = defaultdict(float)
    run = backends.run

    def timed(kernel: Any, *tensors: Any) -> None:
        begin = time.perf_counter()
        run(kernel, *tensors)
        name = (kernel.func if isinstance(kernel, partial) else kernel).__name__
        took["products" if name == "multiply" else "recurrence"] += time.perf_counter() - begin

    backends.run = timed
    try:
        with profile(activities=[ProfilerActivity.CPU]) as found:
            begin = time.perf_counter()
            for _ in range(steps):
                step()
            whole = time.perf_counter() - begin
    finally:
        backends.run = run
    for event in found.key_averages():
        took[_kind(event.key)] += event.self_cpu_time_total / 1e6
    # The profiler counts a function of autograd whole, and the core's kernels within it.
    known = ("products", "recurrence", "attention", "optimizer", "other operations")
    parts = {kind: took[kind] / whole for kind in known}
    return {**parts, "between": 1 - sum(parts.values())}


def _kind(event: str) -> str:
    if event in PRODUCTS:
        return "products"
    if ATTENTION in event:
        return "attention"
    if "adam" in event:
        return "optimizer"
    return "other operations" if event.startswith("aten::") else "between"
