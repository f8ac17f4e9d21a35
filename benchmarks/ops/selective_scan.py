"""Mamba's selective scan beside the fastest forms in torch: mambapy's parallel scan, and our own.

mambapy's (Blelloch's scan over all states in memory) is what the hub library's Mamba runs on a CPU
where it is installed; without, a Python loop over time takes its place, which is slower than both.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import silu, softplus

from benchmarks.ops import figures as take
from benchmarks.ops.figures import Figure, Work
from statewise.ops.selective_scan import reference, selective_scan, selective_scan_step
from statewise.ops.selective_scan.torch import selective_scan as by_chunks

OP = "selective_scan"
NAMES = ("x", "step_size", "A", "B", "C", "skip", "gate", "step_bias", "initial")


def inputs(batch: int, time: int, dim: int, state: int) -> list[Tensor]:
    """Return inputs as a Mamba has them at its start, in the order of NAMES."""
    g = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g)

    rates = -torch.arange(1.0, state + 1).repeat(dim, 1)
    steps = torch.empty(dim).uniform_(-6.9, -2.3, generator=g)  # softplus gives 0.001 to 0.1
    projections = [normal(batch, time, 1, state) for _ in range(2)]
    x, step_size, gate = (normal(batch, time, dim) for _ in range(3))
    start = torch.zeros(batch, dim, state)
    return [x, step_size, rates, *projections, torch.ones(dim), gate, steps, start]


def ours(*given: Tensor) -> tuple[Tensor, Tensor]:
    """Compute through the table."""
    return selective_scan(**dict(zip(NAMES, given, strict=True)))


def torch_backend(*given: Tensor) -> tuple[Tensor, Tensor]:
    """Compute by our chunked form in torch."""
    return by_chunks(**dict(zip(NAMES, given, strict=True)))


def exact(*given: Tensor) -> tuple[Tensor, Tensor]:
    """Compute by the definition."""
    return reference.selective_scan(**dict(zip(NAMES, given, strict=True)))


def mambapy(
    x: Tensor,
    step_size: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    skip: Tensor,
    gate: Tensor,
    step_bias: Tensor,
    initial: Tensor,
) -> Tensor:
    """Compute from zero by the scan of the package mambapy."""
    from mambapy.pscan import pscan  # pyright: ignore[reportMissingImports]

    step = softplus(step_size + step_bias)
    states = pscan((step[..., None] * A).exp(), (step * x)[..., None] * B)
    return ((states @ C.transpose(2, 3))[..., 0] + skip * x) * silu(gate)


def work(batch: int, time: int, dim: int, state: int, backward: bool) -> Work:
    """Return what must be moved: x, the step, the gate and y, B and C, and as much back."""
    sequences = 4 * batch * time * (4 * dim + 2 * state)
    return Work(bytes=(3 if backward else 1) * sequences)


def figures(rounds: int) -> Iterator[Figure]:
    """Give the figures one by one."""
    sizes = {"batch": 4, "time": 1024, "dim": 512, "state": 16}
    named, given = take.sizes(sizes), inputs(*sizes.values())
    small = inputs(2, 300, 64, 16)
    error = take.worst(ours(*small), exact(*(v.double() for v in small)))
    grad = [torch.randn(given[0].shape)]
    others = {"our torch backend": torch_backend, "mambapy": None}
    if find_spec("mambapy"):
        others["mambapy"] = mambapy
    for name, form in others.items():
        yield take.against(
            OP,
            "forward",
            named,
            take.quietly(ours, given),
            name,
            take.quietly(form, given) if form else None,
            work=work(*sizes.values(), backward=False),
            wanted=15.0,
            error=error,
            rounds=rounds,
        )
        yield take.against(
            OP,
            "forward + backward",
            named,
            take.with_gradients(ours, given, grad),
            name,
            take.with_gradients(form, given, grad) if form else None,
            work=work(*sizes.values(), backward=True),
            wanted=10.0,
            rounds=rounds,
        )
    if Path("/proc/self/clear_refs").exists():
        yield memory(tuple(sizes.values()))
    yield take.two_threads(OP, f"forward, {named}", take.quietly(ours, given), rounds=rounds)
    yield take.two_threads(
        OP, f"forward + backward, {named}", take.with_gradients(ours, given, grad), rounds=rounds
    )
    given = inputs(1, 100_000, 64, 16)
    yield take.long_sequences(OP, "batch 1, dim 64, state 16", ours, given)
    for dim in (512, 1536):
        yield step(dim, 16)


def memory(shape: tuple[int, ...]) -> Figure:
    """Return the most memory that a forward and a backward pass take beside what they return.

    In a process of its own, which gives memory back as soon as it is free: here it is kept.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        taken, allowed = alone.submit(_memory, shape).result()
    return Figure(
        OP,
        "extra memory",
        take.sizes(dict(zip(("batch", "time", "dim", "state"), shape, strict=True))),
        taken / 1e6,
        "MB; 1.3 times inputs and output",
        allowed / 1e6,
        allowed / taken,
        1.0,
    )


def _memory(shape: tuple[int, ...]) -> tuple[float, float]:
    """Return the bytes taken at most beside output and gradients, and those allowed."""
    status = Path("/proc/self/status")

    def resident(line: str) -> int:
        [found] = [row for row in status.read_text().splitlines() if row.startswith(line)]
        return 1024 * int(found.split()[1])

    take.with_gradients(ours, inputs(1, 8, 16, 4))()  # what the first call of all brings along
    given = inputs(*shape)
    leaves = [v.requires_grad_() for v in given]
    grad = torch.ones_like(given[0])
    Path("/proc/self/clear_refs").write_text("5")  # the peak becomes what there is now
    before = resident("VmRSS")
    output = ours(*leaves)[0]
    gradients = torch.autograd.grad(output, leaves, grad)
    taken = resident("VmHWM") - before
    read = sum(v.nbytes for v in given)
    return taken - output.nbytes - sum(v.nbytes for v in gradients), 1.3 * (read + output.nbytes)


def step(dim: int, state: int) -> Figure:
    """Return the figure of one step of one row."""
    x, step_size, A, B, C, skip, gate, step_bias, h = inputs(1, 1, dim, state)
    now = [v[:, 0] for v in (x, step_size, B[:, :, 0], C[:, :, 0], gate)]
    size = sum(4 * v.numel() for v in (*now, A, skip, step_bias, h, h, now[0]))

    def call() -> object:
        return selective_scan_step(
            now[0], now[1], A, now[2], now[3], h, skip=skip, gate=now[4], step_bias=step_bias
        )

    return take.step(OP, take.sizes({"batch": 1, "dim": dim, "state": state}), call, size)
