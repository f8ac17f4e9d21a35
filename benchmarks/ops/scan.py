"""The diagonal scan beside the memory's own rate, and beside what else a user could run.

Beside streams each side writes into memory of its own that exists. A forward pass reads two tensors
and writes one, as `torch.add(a, b, out=h)` does; a backward pass reads three and writes two, as an
add and a `torch.mul(g, 2, out=y)` do together. With a constant decay there is one less to read and
one less to write. Complex tensors count, and are added, as twice as many real ones. In a cache a
side is called several times in a row. Beside other forms, both sides make their results anew, as a
user's call does.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._higher_order_ops.associative_scan import associative_scan

from benchmarks.ops import figures as take
from benchmarks.ops.figures import Figure
from statewise import backends
from statewise.ops.scan import reference, scan, scan_step
from statewise.ops.scan.torch import scan as parallel_scan

Call = Callable[[], object]
KINDS = ("real", "complex", "constant decay")
IN_CACHE = ((4, 512, 256), (8, 1024, 256))
OUT_OF_CACHE = ((1, 8192, 1024), (16, 512, 1024), (32, 1024, 1024))
NAMES = ("batch", "time", "dim")


def inputs(shape: tuple[int, ...], kind: str = "real") -> tuple[Tensor, Tensor, Tensor]:
    """Return decay, drive and initial, of as many real numbers as the shape says."""
    g = torch.Generator().manual_seed(0)
    batch, time, dim = shape
    if kind == "complex":
        radius = torch.randn(batch, time, dim // 2, generator=g).sigmoid()
        phase = torch.randn(radius.shape, generator=g)
        drive = torch.randn(*radius.shape, 2, generator=g)
        initial = torch.zeros(batch, dim // 2, dtype=torch.complex64)
        return torch.polar(radius, phase), torch.view_as_complex(drive), initial
    # Minimal GRUs start near these; positive, since a form in log space can do no other.
    decay = torch.randn((dim,) if kind == "constant decay" else shape, generator=g).sigmoid()
    drive = torch.rand(shape, generator=g) * (1 - decay)
    return decay, drive, torch.rand(batch, dim, generator=g)


def named(shape: tuple[int, ...], kind: str) -> str:
    """Return sizes with their names."""
    batch, time, dim = shape
    if kind == "complex":
        return f"complex64, {take.sizes(dict(zip(NAMES, (batch, time, dim // 2), strict=True)))}"
    given = take.sizes(dict(zip(NAMES, shape, strict=True)))
    return given if kind == "real" else f"{kind}, {given}"


def real(x: Tensor) -> Tensor:
    """Return each complex number as two real ones along the last axis."""
    return torch.view_as_real(x).flatten(-2) if x.is_complex() else x


def streams(shape: tuple[int, ...], kind: str) -> dict[str, tuple[Call, str, Call, int]]:
    """Return ours, what the stream is called, the stream, and how many tensors both move."""
    decay, drive, initial = map(real, inputs(shape, kind))
    grad, grad_final = torch.randn(shape), torch.zeros_like(initial)
    h, to_drive = torch.empty(shape), torch.empty(shape)
    to_decay = torch.empty_like(decay)
    final, to_initial = torch.empty_like(initial), torch.empty_like(initial)
    suffix = "_complex" if kind == "complex" else ""

    def forward() -> None:
        kernel = getattr(backends.core, f"scan{suffix}")
        backends.run(kernel, decay, drive, initial, None, None, h, final)

    def backward() -> None:
        kernel = getattr(backends.core, f"scan{suffix}_backward")
        given = (decay, h, initial, None, None, grad, grad_final)
        backends.run(kernel, *given, to_decay, to_drive, to_initial)

    forward()  # what the backward pass reads
    x, y, z, u, v = (torch.ones(shape) for _ in range(5))

    def add_and_mul() -> None:
        torch.add(x, y, out=z)
        torch.mul(u, 2.0, out=v)

    add = partial(torch.add, x, y, out=z)
    if kind == "constant decay":
        mul = partial(torch.mul, x, 2.0, out=z)
        return {
            "forward": (forward, "torch.mul of as many bytes", mul, 2),
            "backward": (backward, "torch.add of as many bytes", add, 3),
        }
    return {
        "forward": (forward, "torch.add of as many bytes", add, 3),
        "backward": (backward, "add and mul of as many bytes", add_and_mul, 5),
    }


def times(call: Call, count: int) -> Call:
    """Return a call that makes another several times."""

    def run() -> None:
        for _ in range(count):
            call()

    return run


def beside_streams(
    shape: tuple[int, ...], kind: str, wanted: float, rounds: int
) -> Iterator[Figure]:
    """Give both passes beside streams of as many bytes."""
    size = 4 * shape[0] * shape[1] * shape[2]
    count = max(1, 64_000_000 // size) if wanted < 0.85 else 1
    for what, (ours, name, stream, tensors) in streams(shape, kind).items():
        figure = take.against(
            "scan",
            what,
            named(shape, kind),
            times(ours, count),
            name,
            times(stream, count),
            wanted=wanted,
            rounds=rounds,
        )
        rate = count * tensors * size / figure.ours / 1e6
        yield figure._replace(
            ours=figure.ours / count,
            theirs=figure.theirs / count,
            rate=f"{rate:.1f} GB/s",
            of_limit=figure.ratio,
        )


def in_log_space(decay: Tensor, drive: Tensor, initial: Tensor) -> Tensor:
    """Scan by cumulative sums in log space (Heinsen, 2023, arXiv:2311.06281), all positive."""
    total = decay.log().cumsum(1)
    logs = torch.cat([initial.log()[:, None], drive.log() - total], 1).logcumsumexp(1)
    return (logs[:, 1:] + total).exp()


def _compose(left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return left[0] * right[0], right[0] * left[1] + right[1]


def associative(decay: Tensor, drive: Tensor, initial: Tensor) -> Tensor:
    """Scan with torch's own higher-order operator."""
    first = drive[:, :1] + decay[:, :1] * initial[:, None]
    pairs = (decay, torch.cat([first, drive[:, 1:]], 1))
    return associative_scan(_compose, pairs, dim=1, combine_mode="generic")[1]


def ours(decay: Tensor, drive: Tensor, initial: Tensor) -> tuple[Tensor, Tensor]:
    """Scan as a user calls it."""
    return scan(decay, drive, initial=initial)


OTHERS: dict[str, Callable[..., Any]] = {
    "cumulative sums in log space": in_log_space,
    "associative_scan, eager": associative,
    "associative_scan, compiled": torch.compile(associative, fullgraph=True),
    "our torch backend": lambda *x: parallel_scan(*x[:2], initial=x[2]),
    "a loop over time": lambda *x: reference.scan(*x[:2], initial=x[2]),
}


def beside_others(shape: tuple[int, ...], rounds: int) -> Iterator[Figure]:
    """Give the op as it is called beside the other forms, results and gradients made anew."""
    given = inputs(shape)
    exact = reference.scan(given[0].double(), given[1].double(), initial=given[2].double())
    error = take.worst(ours(*given), exact)
    for name, form in OTHERS.items():
        for what, way in (("forward", take.quietly), ("forward + backward", take.with_gradients)):
            theirs = way(form, given)
            theirs()  # it may be compiled here, which is not to be timed
            yield take.against(
                "scan",
                what,
                named(shape, "real"),
                way(ours, given),
                name,
                theirs,
                error=error if what == "forward" else None,
                rounds=rounds,
            )


def figures(rounds: int) -> Iterator[Figure]:
    """Give the figures one by one."""
    for kind in KINDS:
        for shape in IN_CACHE:
            yield from beside_streams(shape, kind, 0.6, rounds)
        for shape in OUT_OF_CACHE:
            yield from beside_streams(shape, kind, 0.85, rounds)
    for kind in KINDS:
        yield from on_two_threads(kind, rounds)
    yield from beside_others((8, 1024, 256), rounds)
    for kind in ("real", "complex"):
        given = inputs((1, 100_000, 256), kind)
        where = f"{kind}, batch 1, dim {given[1].shape[2]}"
        for what, way in (("forward", take.quietly), ("and back", take.with_gradients)):
            yield take.long_sequences("scan", f"{what}, {where}", ours, given, way=way)
    for dim in (256, 4096):
        for kind in ("real", "complex"):
            yield step(dim, kind)


def on_two_threads(kind: str, rounds: int) -> Iterator[Figure]:
    """Give both passes in a cache on two threads and on one."""
    shape = (8, 1024, 256)
    for what, (call, _, stream, _) in streams(shape, kind).items():
        where = f"{what}, {named(shape, kind)}"
        yield take.two_threads("scan", where, call, stream=stream, rounds=rounds)


def step(dim: int, kind: str) -> Figure:
    """Give one step of one row."""
    decay, drive, h = inputs((1, 1, dim), kind)
    decay, drive = decay[:, 0], drive[:, 0]
    size = 4 * drive.element_size() * drive.numel()
    where = f"{kind}, {take.sizes({'batch': 1, 'dim': drive.shape[1]})}"
    return take.step("scan", where, lambda: scan_step(decay, drive, h), size)
