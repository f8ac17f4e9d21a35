"""The diagonal scan beside what else a user could run, and beside the memory's own rate.

    python -m benchmarks.scan [--json] [--threads N] [--rounds N] [--fast]

Forward: `native` writes into memory that exists, as does the limit, `torch.add(a, b, out=h)`; both
move three tensors. Backward: five, and the limit is the same five streams without a recurrence,
`torch.add(a, b, out=x); torch.mul(c, 2, out=y)`. The other rows make their results anew, as a
user's call does; `scan` is our op as it is called, memory and all. Bytes count each tensor once.
Errors are relative to a float64 loop.
"""

import argparse
import json
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._functorch import config as functorch_config
from torch._higher_order_ops.associative_scan import associative_scan

from benchmarks.timing import machine, paired
from statewise import backends
from statewise.ops.scan import reference, scan
from statewise.ops.scan.torch import scan as parallel_scan

Row = dict[str, float]
SHAPES = [(8, 1024, 256), (1, 8192, 512), (16, 512, 1024), (32, 1024, 1024)]


def heinsen(decay: Tensor, drive: Tensor, *, initial: Tensor) -> Tensor:
    """Scan by cumulative sums in log space (Heinsen, 2023, arXiv:2311.06281), all positive."""
    total = decay.log().cumsum(1)
    logs = torch.cat([initial.log()[:, None], drive.log() - total], 1).logcumsumexp(1)
    return (logs[:, 1:] + total).exp()


def _compose(left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return left[0] * right[0], right[0] * left[1] + right[1]


def associative(decay: Tensor, drive: Tensor, *, initial: Tensor) -> Tensor:
    """Scan with torch's own higher-order operator."""
    first = drive[:, :1] + decay[:, :1] * initial[:, None]
    pairs = (decay, torch.cat([first, drive[:, 1:]], 1))
    return associative_scan(_compose, pairs, dim=1, combine_mode="generic")[1]


def measure(shape: tuple[int, int, int], rounds: int, fast: bool) -> dict[str, Any]:
    """Return times, rates, ratios to the limit and errors, forward and backward, at one shape."""
    g = torch.Generator().manual_seed(0)
    # Minimal GRUs start near these; positive, since the log-space form can do no other.
    decay = torch.randn(shape, generator=g).sigmoid()
    drive = torch.rand(shape, generator=g) * (1 - decay)
    initial = torch.rand(shape[0], shape[2], generator=g)
    grad, grad_final = torch.randn(shape, generator=g), torch.zeros_like(initial)
    h, out, other = (torch.empty(shape) for _ in range(3))
    state, grad_initial = torch.empty_like(initial), torch.empty_like(initial)

    compiled = torch.compile(associative, fullgraph=True)
    whole: dict[str, Callable[..., Tensor]] = {
        "scan": lambda *x, initial: scan(*x, initial=initial)[0],
        "torch backend": lambda *x, initial: parallel_scan(*x, initial=initial)[0],
        "log space": heinsen,
    }
    if not fast:
        whole["associative_scan, eager"] = associative
        whole["associative_scan, compiled"] = compiled
        whole["loop"] = lambda *x, initial: reference.scan(*x, initial=initial)[0]
    notes: dict[str, str] = {}
    inputs = [x.clone().requires_grad_() for x in (decay, drive, initial)]
    wide = [x.double().detach().requires_grad_() for x in inputs]
    y = reference.scan(wide[0], wide[1], initial=wide[2])[0]
    exact = [y.detach(), *torch.autograd.grad(y, wide, grad.double())]
    del y

    def forward() -> None:
        assert backends.core is not None
        backends.run(backends.core.scan, decay, drive, initial, None, None, h, state)

    def backward() -> None:
        assert backends.core is not None
        given = (decay, h, initial, None, None, grad, grad_final)
        backends.run(backends.core.scan_backward, *given, out, other, grad_initial)

    def five_streams() -> None:
        torch.add(decay, h, out=out)
        torch.mul(grad, 2.0, out=other)

    def add() -> None:
        torch.add(decay, drive, out=h)

    size = decay.numel() * decay.element_size()
    fore: dict[str, Row] = {}
    back: dict[str, Row] = {}
    if backends.core is not None:
        fore["native"] = beside(add, forward, 3 * size, rounds)
        forward()  # into the memory that `add` wrote too
        back["native"] = beside(five_streams, backward, 5 * size, rounds)
        fore["native"]["error"] = relative(h, exact[0])
        back["native"]["error"] = worst((out, other, grad_initial), exact[1:])
    for name, form in whole.items():
        # One at a time: a graph of the largest shape may take gigabytes.
        try:
            y = form(*inputs[:2], initial=inputs[2])
            grads = torch.autograd.grad(y, inputs, grad, retain_graph=True)
        except Exception as error:
            notes[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:120]}"
            continue

        def again(y: Tensor = y) -> object:
            return torch.autograd.grad(y, inputs, grad, retain_graph=True)

        back[name] = beside(five_streams, again, 5 * size, rounds)
        back[name]["error"] = worst(grads, exact[1:])
        error = relative(y.detach(), exact[0])
        del y, grads, again
        with torch.no_grad():
            once = partial(form, decay, drive, initial=initial)
            once()  # without gradients it may be compiled anew, which is not to be timed
            fore[name] = beside(add, once, 3 * size, rounds)
        fore[name]["error"] = error
    return {"shape": shape, "forward": fore, "backward": back, "notes": notes}


def beside(limit: Callable[[], object], call: Callable[[], object], size: int, rounds: int) -> Row:
    """Return milliseconds, GB/s of both and their ratio, by the median and by the best."""
    times = paired({"limit": limit, "call": call}, rounds=rounds)
    ours, theirs = times["call"], times["limit"]
    return {
        "ms": 1e3 * ours.median,
        "GB/s": size / ours.median / 1e9,
        "limit GB/s": size / theirs.median / 1e9,
        "of limit": theirs.median / ours.median,
        "of limit, best": theirs.best / ours.best,
    }


def relative(a: Tensor, b: Tensor) -> float:
    """Return ||a - b|| / ||b||."""
    return float((a.double() - b).norm() / b.norm())


def worst(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """Return the largest relative error, tensor by tensor."""
    return max(relative(x, y) for x, y in zip(a, b, strict=True))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scan", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--threads", type=int, help="threads of torch; its own choice if absent")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of timing, at least five")
    parser.add_argument("--fast", action="store_true", help="leave the slow forms out")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", category=UserWarning, module="torch")
    # The backward passes are timed again and again on one graph, whose buffers they must leave.
    functorch_config.donated_buffer = False
    found: dict[str, Any] = {"machine": machine(), "shapes": []}
    if not options.json:
        print(", ".join(f"{k} {v}" for k, v in found["machine"].items()))
    for shape in SHAPES:
        result = measure(shape, options.rounds, options.fast)
        found["shapes"].append(result)
        if options.json:
            continue
        for way in ("forward", "backward"):
            head = f"{way} {result['shape']}"
            print(
                f"\n{head:36}{'ms':>9}{'GB/s':>7}{'limit':>7}{'ratio':>7}{'(best)':>7}{'error':>9}"
            )
            for name, row in result[way].items():
                print(
                    f"  {name:34}{row['ms']:9.2f}{row['GB/s']:7.1f}{row['limit GB/s']:7.1f}"
                    f"{row['of limit']:7.2f}{row['of limit, best']:7.2f}{row['error']:9.1e}"
                )
        for name, note in result["notes"].items():
            print(f"  {name}: {note}")
    if options.json:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
