"""The convolutions beside torch's conv1d, the memory's own rate and a scan; a step of each."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import conv1d, pad

from benchmarks.ops.figures import Figure, Work, against, quietly, sizes, step, two_threads
from benchmarks.ops.figures import with_gradients as and_back
from statewise import backends
from statewise.ops.convolution import (
    diagonal_convolution,
    diagonal_convolution_step,
    fourier,
    long_convolution,
    long_convolution_step,
    short_convolution,
    short_convolution_step,
)


def figures(rounds: int) -> Iterator[Figure]:
    """Take the figures one by one."""
    for batch, time, dim, width in ((16, 256, 256, 4), (8, 1024, 1024, 4), (4, 1024, 1024, 7)):
        yield from _short(batch, time, dim, width, rounds)
    yield from _long(4, 1024, 128, 1024, rounds)
    yield from _diagonal(4, 1024, 64, 16, rounds)
    yield from _steps()


def _by_conv1d(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    dim, width = weight.shape
    return conv1d(pad(x.mT, (width - 1, 0)), weight[:, None], bias, groups=dim).mT


def _short(batch: int, time: int, dim: int, width: int, rounds: int) -> Iterator[Figure]:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(batch, time, dim, generator=g)
    weight, bias = torch.randn(dim, width, generator=g), torch.randn(dim, generator=g)
    shape = sizes({"batch": batch, "time": time, "dim": dim, "width": width})
    past = torch.zeros(batch, width - 1, dim)
    output, final = torch.empty_like(x), torch.empty_like(past)

    def forward() -> None:
        assert backends.core is not None
        given = (x, weight, bias, past, None, None, output, final)
        backends.run(backends.core.convolution, *given)

    def stream() -> None:
        torch.neg(x, out=output)

    yield against(
        "convolution",
        "forward",
        shape,
        forward,
        "torch.neg, as many bytes",
        stream,
        work=Work(bytes=8 * x.numel()),
        rounds=rounds,
    )
    given = (x, weight, bias)
    yield against(
        "convolution",
        "forward",
        shape,
        quietly(short_convolution, given),
        "conv1d in groups",
        quietly(_by_conv1d, given),
        rounds=rounds,
    )
    yield against(
        "convolution",
        "forward + backward",
        shape,
        and_back(short_convolution, given),
        "conv1d in groups",
        and_back(_by_conv1d, given),
        rounds=rounds,
    )
    yield two_threads("convolution", shape, forward, stream=stream, rounds=rounds)


def _long(batch: int, time: int, dim: int, length: int, rounds: int) -> Iterator[Figure]:
    g = torch.Generator().manual_seed(0)
    given = (torch.randn(batch, time, dim, generator=g), torch.randn(dim, length, generator=g))
    shape = "long, " + sizes({"batch": batch, "time": time, "dim": dim, "length": length})
    for what, run in (("forward", quietly), ("forward + backward", and_back)):
        yield against(
            "convolution",
            what,
            shape,
            run(long_convolution, given),
            "conv1d in groups",
            run(lambda x, kernel: _by_conv1d(x, kernel.flip(1)), given),
            rounds=rounds,
        )


def _diagonal(batch: int, time: int, dim: int, state: int, rounds: int) -> Iterator[Figure]:
    g = torch.Generator().manual_seed(0)

    def complex_normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, dtype=torch.complex64)

    decay = complex_normal(dim, state)
    decay = decay / (0.1 + decay.abs())
    x = torch.randn(batch, time, dim, generator=g)
    given = (x, decay, complex_normal(dim, state), complex_normal(dim, state))
    shape = "diagonal, " + sizes({"batch": batch, "time": time, "dim": dim, "state": state})
    never, start = torch.zeros(batch, time).bool(), torch.zeros(batch, dim, state) + 0j

    def scanned(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        return fourier.diagonal_recurrence(*tensors, initial=start, reset=never)

    for what, run in (("forward", quietly), ("forward + backward", and_back)):
        yield against(
            "convolution",
            what,
            shape,
            run(diagonal_convolution, given),
            "the scan of all states",
            run(scanned, given),
            rounds=rounds,
        )


def _steps() -> Iterator[Figure]:
    x, past, weight = torch.randn(1, 1024), torch.randn(1, 3, 1024), torch.randn(1024, 4)
    yield step(
        "convolution",
        "short, batch 1, dim 1024, width 4",
        lambda: short_convolution_step(x, weight, None, past),
        4 * (2 * x.numel() + 2 * past.numel() + weight.numel()),
    )
    y, longer, kernel = torch.randn(1, 256), torch.randn(1, 1023, 256), torch.randn(1024, 256).mT
    yield step(
        "convolution",
        "long, batch 1, dim 256, length 1024",
        lambda: long_convolution_step(y, kernel, longer),
        4 * (2 * y.numel() + 2 * longer.numel() + kernel.numel()),
    )
    for dim, state in ((64, 16), (512, 32)):
        decay, h = torch.randn(dim, state) + 0j, torch.randn(1, dim, state) + 0j
        z = torch.randn(1, dim)
        yield step(
            "convolution",
            f"diagonal, batch 1, dim {dim}, state {state}",
            lambda z=z, decay=decay, h=h: diagonal_convolution_step(z, decay, decay, decay, h),
            8 * 5 * h.numel(),
        )
