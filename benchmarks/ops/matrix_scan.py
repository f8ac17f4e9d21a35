"""The matrix scan beside the memory's own rate, beside its form in torch, and a step of it."""

from collections.abc import Iterator

import torch

from benchmarks.ops.figures import (
    Figure,
    Work,
    against,
    long_sequences,
    quietly,
    sizes,
    step,
    stream_of,
    two_threads,
)
from benchmarks.ops.figures import with_gradients as and_back
from statewise import backends
from statewise.ops.matrix_scan import by_halving, matrix_scan, matrix_scan_step

BATCH, TIME = 8, 1024
BLOCKS = {2: 1024, 3: 512, 4: 512, 8: 256, 64: 4}


def figures(rounds: int) -> Iterator[Figure]:
    """Take the figures one by one."""
    for n, blocks in BLOCKS.items():
        yield from _streams(n, blocks, rounds)
    for n, blocks in ((2, 128), (4, 64), (64, 1)):
        yield from _whole(n, blocks, rounds)
    for n, blocks in ((2, 16), (4, 8), (64, 1)):
        yield from _on_two_threads(n, blocks, rounds)
    yield from _long()
    for n, blocks in ((4, 128), (256, 1)):
        yield _step(n, blocks)


def _streams(n: int, blocks: int, rounds: int) -> Iterator[Figure]:
    """Input-dependent transitions out of cache, both sides into memory that exists."""
    g = torch.Generator().manual_seed(0)
    transition = torch.randn(BATCH, TIME, blocks, n, n, generator=g) / n
    drive = torch.randn(BATCH, TIME, blocks, n, generator=g)
    h = torch.zeros(BATCH, blocks, n)
    output, final = torch.empty_like(drive), torch.empty_like(h)
    shape = sizes({"batch": BATCH, "time": TIME, "blocks": blocks, "n": n})
    numbers = transition.numel() + 2 * drive.numel()
    a, b, c = (torch.ones(numbers // 3) for _ in range(3))

    def forward() -> None:
        assert backends.core is not None
        backends.run(backends.core.matrix_scan, transition, drive, h, None, None, output, final)

    add = "torch.add of as many bytes"
    yield against(
        "matrix_scan",
        "forward",
        shape,
        forward,
        add,
        lambda: torch.add(a, b, out=c),
        work=Work(bytes=4 * numbers),
        wanted=0.85,
        rounds=rounds,
    )
    grads = [torch.empty_like(x) for x in (transition, drive, h)]
    numbers = 2 * transition.numel() + 3 * drive.numel()
    x, y, z, u, v = (torch.ones(numbers // 5) for _ in range(5))

    def backward() -> None:
        assert backends.core is not None
        given = (transition, output, h, None, None, drive, final)
        backends.run(backends.core.matrix_scan_backward, *given, *grads)

    def five_streams() -> None:
        torch.add(x, y, out=z)
        torch.mul(u, 2.0, out=v)

    yield against(
        "matrix_scan",
        "backward",
        shape,
        backward,
        "add and mul of as many bytes",
        five_streams,
        work=Work(bytes=4 * numbers),
        wanted=0.85,
        rounds=rounds,
    )


def _whole(n: int, blocks: int, rounds: int) -> Iterator[Figure]:
    """A transition that all times share, as a user calls it."""
    g = torch.Generator().manual_seed(0)
    transition = torch.randn(blocks, n, n, generator=g) / n
    drive = torch.randn(BATCH, TIME, blocks, n, generator=g)
    initial = torch.zeros(BATCH, blocks, n)
    shape = "shared, " + sizes({"batch": BATCH, "time": TIME, "blocks": blocks, "n": n})
    work = Work(bytes=8 * drive.numel(), operations=2 * drive.numel() * n)

    def halving(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return by_halving(a[None, None], b, initial=initial)

    given = (transition, drive)
    name = "the torch form"
    ours = quietly(matrix_scan, given)
    yield against(
        "matrix_scan",
        "forward",
        shape,
        ours,
        name,
        quietly(halving, given),
        work=work,
        rounds=rounds,
    )
    yield against(
        "matrix_scan",
        "forward + backward",
        shape,
        and_back(matrix_scan, given),
        name,
        and_back(halving, given),
        rounds=rounds,
    )


def _on_two_threads(n: int, blocks: int, rounds: int) -> Iterator[Figure]:
    """A transition that all times share: sequences in a cache, and milliseconds of work."""
    time = 8192
    g = torch.Generator().manual_seed(0)
    transition = torch.randn(blocks, n, n, generator=g) / n
    drive = torch.randn(BATCH, time, blocks, n, generator=g)
    shape = "shared, " + sizes({"batch": BATCH, "time": time, "blocks": blocks, "n": n})
    # The drive and the states; then the states and their gradients, and those of the drive.
    ways = (("forward", quietly, 2), ("forward + backward", and_back, 5))
    for what, way, tensors in ways:
        call, stream = way(matrix_scan, (transition, drive)), stream_of(4 * tensors * drive.numel())
        where = f"{what}, {shape}"
        yield two_threads("matrix_scan", where, call, stream=stream, rounds=rounds)


def _long() -> Iterator[Figure]:
    time, blocks, n = 100_000, 16, 4
    g = torch.Generator().manual_seed(0)
    given = (
        torch.randn(1, time, blocks, n, n, generator=g) / n,
        torch.randn(1, time, blocks, n, generator=g),
    )
    for what, way in (("forward", quietly), ("forward + backward", and_back)):
        where = f"{what}, {sizes({'batch': 1, 'blocks': blocks, 'n': n})}"
        yield long_sequences("matrix_scan", where, matrix_scan, given, way=way)


def _step(n: int, blocks: int) -> Figure:
    transition, h = torch.randn(1, blocks, n, n), torch.randn(1, blocks, n)
    return step(
        "matrix_scan",
        sizes({"batch": 1, "blocks": blocks, "n": n}),
        lambda: matrix_scan_step(transition, h, h),
        4 * (transition.numel() + 3 * h.numel()),
    )
