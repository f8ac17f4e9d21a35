"""What the benchmark of every op is made of: one figure, and the ways to take one.

A figure is a ratio of two sides timed in turn, in one run: how many times as fast ours is. What the
machine allows stands beside it: bytes, each tensor counted once, over the rate of
`torch.add(a, b, out=h)` on as many bytes, or operations over the rate of a large matrix product.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.timing import paired


class Work(NamedTuple):
    """What a call must move and compute at least."""

    bytes: float = 0
    """Each tensor it reads or writes, once."""
    operations: float = 0
    """Multiplications and additions, of the form that needs the fewest."""


class Figure(NamedTuple):
    """One line of the table."""

    op: str
    what: str
    """forward, backward, forward + backward, step, two threads, long sequences, memory."""
    shape: str
    """Sizes with their names, and the dtype where it is not float32."""
    ours: float
    """Milliseconds of ours, or what the column of the baseline says it is."""
    baseline: str
    theirs: float
    """The same of the baseline; not a number where it is not installed."""
    ratio: float
    """theirs / ours."""
    wanted: float | None = None
    """The ratio that was set as the aim, or None."""
    rate: str = ""
    """Ours in GB/s or GFLOP/s."""
    of_limit: float | None = None
    """That rate over the machine's."""
    error: float | None = None
    """Of ours against the definition in float64, by relative norm."""


def against(
    op: str,
    what: str,
    shape: str,
    ours: Callable[[], object],
    baseline: str,
    theirs: Callable[[], object] | None,
    *,
    work: Work | None = None,
    wanted: float | None = None,
    error: float | None = None,
    rounds: int = 7,
) -> Figure:
    """Return a figure of two calls timed in turn. `theirs` is None where it is not installed."""
    sides: dict[str, Callable[[], object]] = {"ours": ours}
    if theirs is not None:
        sides["theirs"] = theirs
    times = paired(sides, rounds=rounds)
    taken = times["ours"].median
    beside = times["theirs"].median if theirs is not None else float("nan")
    rate, share = _rate(work, taken)
    return Figure(
        op,
        what,
        shape,
        1e3 * taken,
        baseline,
        1e3 * beside,
        beside / taken,
        wanted,
        rate,
        share,
        error,
    )


def two_threads(
    op: str,
    shape: str,
    call: Callable[[], object],
    *,
    stream: Callable[[], object] | None = None,
    rounds: int = 7,
) -> Figure:
    """Return how many times as fast a call is on two threads as on one.

    The aim is 1.7 where arithmetic or a core's own cache bounds it. Where memory that the cores
    share does, no op gains more than `stream`, a pass of torch over as many bytes, and the aim is
    0.9 of what that gains in the same rounds: so it is where that pass takes more than half of the
    op's time on two threads.

    Cores of a shared machine are seldom equally fast, and one thread may lie on the faster of them.
    So a product of large matrices stands beside each figure, in the same rounds: a gain over its
    gain is what of the machine's two cores was used. Where the product gains less than 1.9 the
    figure is taken again, and of five the one is kept in which the product gained most.
    """

    def on(threads: int, call: Callable[[], object]) -> Callable[[], object]:
        def run() -> None:
            torch.set_num_threads(threads)
            for _ in range(times):
                call()

        return run

    # Waking a sleeping core of a virtual machine takes half a millisecond, once in a row of calls.
    times = max(1, round(0.02 / paired({"call": call})["call"].median))
    before = torch.get_num_threads()
    product = matrix_product()
    sides = {"two": on(2, call), "one": on(1, call)}
    sides |= {"product on two": on(2, product), "product on one": on(1, product)}
    if stream is not None:
        sides |= {"stream on two": on(2, stream), "stream on one": on(1, stream)}

    def gain(medians: Mapping[str, float]) -> float:
        return medians["product on one"] / medians["product on two"]

    try:
        medians = _moment(sides, rounds, gain, enough=1.9, tries=5)
    finally:
        torch.set_num_threads(before)
    machine = gain(medians)
    baseline, wanted = f"one thread; torch.mm gains {machine:.2f}", 1.7
    if stream is not None:
        streams = medians["stream on one"] / medians["stream on two"]
        baseline += f", as many bytes in torch {streams:.2f}"
        if medians["stream on two"] > 0.5 * medians["two"]:
            wanted = min(wanted, 0.9 * streams)
    two, one = 1e3 * medians["two"] / times, 1e3 * medians["one"] / times
    share = one / two / machine
    return Figure(op, "two threads", shape, two, baseline, one, one / two, wanted, of_limit=share)


def long_sequences(
    op: str,
    shape: str,
    form: Callable[..., Any],
    inputs: Sequence[Tensor],
    *,
    way: Callable[..., Callable[[], object]] | None = None,
    short: int = 1_000,
    rounds: int = 5,
) -> Figure:
    """Return the cost per token of a long sequence beside that of short ones cut from it.

    The short ones are other tokens each time, and their results are kept as the long one's are: a
    thousand tokens again and again would be read from a cache, which says nothing of the op.

    Args:
        op: the op's name.
        shape: its sizes but the time.
        form: takes the inputs.
        inputs: those with `[1, time, ...]` are cut.
        way: `quietly` or `with_gradients`; `quietly` if absent.
        short: tokens of the short ones.
        rounds: of timing.
    """
    way = way or quietly
    time = max(x.shape[1] for x in inputs if x.ndim > 1)
    cut = [
        x.split(short, 1) if x.ndim > 2 and x.shape[:2] == (1, time) else (x,) * (time // short)
        for x in inputs
    ]
    pieces = [way(form, piece) for piece in zip(*cut, strict=True)]
    return against(
        op,
        "long sequences",
        shape,
        way(form, inputs),
        f"{len(pieces)} sequences of {short:,} tokens for one of {time:,}",
        lambda: [piece() for piece in pieces],
        wanted=1 / 1.1,
        rounds=rounds,
    )


def step(op: str, shape: str, call: Callable[[], object], size: float, times: int = 300) -> Figure:
    """Return the microseconds of a step beside what it may take: 15, and its bytes 1.5 times.

    What may be taken is fixed, and the machine is not: other guests of its processor slow all calls
    alike by half for seconds. A call of `torch.add` on eight numbers is timed in the same rounds,
    and where it takes a sixth more than its best of three seconds the figure is taken again, a
    second later; of thirty the one is kept in which `torch.add` was fastest.

    Args:
        op: the op's name.
        shape: its sizes.
        call: one step, through the public function.
        size: bytes it must read and write, which lie in a cache.
        times: calls in a row that are timed together.
    """

    def run() -> None:
        for _ in range(times):
            call()

    a, b, c = (torch.ones(8) for _ in range(3))

    def add() -> None:
        for _ in range(times):
            torch.add(a, b, out=c)

    with torch.no_grad():
        medians = _moment(
            {"step": run, "add": add},
            9,
            lambda medians: -medians["add"] / times,
            enough=-7 / 6 * _quickest_call(),
            tries=30,
            pause=1.0,
        )
    taken, least = (medians[name] / times for name in ("step", "add"))
    allowed = 15e-6 + 1.5 * size / cached_rate(int(size))
    return Figure(
        op,
        "step",
        f"{shape}, {size / 1e3:.0f} kB",
        1e6 * taken,
        f"microseconds allowed; torch.add of 8 numbers took {1e6 * least:.2f}",
        1e6 * allowed,
        allowed / taken,
        1.0,
    )


def _moment(
    sides: Mapping[str, Callable[[], object]],
    rounds: int,
    worth: Callable[[Mapping[str, float]], float],
    *,
    enough: float,
    tries: int,
    pause: float = 0.0,
) -> Mapping[str, float]:
    """Return the medians of all sides at the first moment that is worth enough, or at the best.

    What a moment is worth has to say how the machine was, and nothing of what is measured.
    """
    best: Mapping[str, float] = {}
    for turn in range(tries):
        medians = {name: taken.median for name, taken in paired(sides, rounds=rounds).items()}
        if not best or worth(medians) > worth(best):
            best = medians
        if worth(best) >= enough:
            break
        time.sleep(pause if turn + 1 < tries else 0.0)
    return best


@cache
def _quickest_call() -> float:
    """Return the least seconds of `torch.add` on eight numbers, of three seconds of calls."""
    a, b, c = (torch.ones(8) for _ in range(3))
    least, end = float("inf"), time.perf_counter() + 3
    while (begin := time.perf_counter()) < end:
        for _ in range(300):
            torch.add(a, b, out=c)
        least = min(least, (time.perf_counter() - begin) / 300)
    return least


def with_gradients(
    form: Callable[..., Any], inputs: Sequence[Tensor], grads: Sequence[Tensor] | None = None
) -> Callable[[], object]:
    """Return a call that computes `form(*inputs)` and the gradients of its first result.

    Args:
        form: gives one tensor, or a tuple that begins with one.
        inputs: all of them are differentiated.
        grads: the gradient of the first result, in a list; ones if absent.
    """
    leaves = [x.detach().clone().requires_grad_() for x in inputs]

    def run() -> object:
        made = form(*leaves)
        output = made if isinstance(made, Tensor) else made[0]
        grad = grads[0] if grads else torch.ones_like(output)
        return torch.autograd.grad(output, leaves, grad, allow_unused=True)

    return run


def quietly(form: Callable[..., Any], inputs: Sequence[Tensor]) -> Callable[[], object]:
    """Return a call that computes `form(*inputs)` without gradients."""

    def run() -> object:
        with torch.no_grad():
            return form(*inputs)

    return run


def worst(ours: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    """Return the largest relative error, tensor by tensor."""
    pairs = zip(ours, exact, strict=True)
    return max(float((a.to(b.dtype) - b).norm() / b.norm()) for a, b in pairs)


def sizes(named: Mapping[str, int]) -> str:
    """Return sizes with their names: batch 4, time 1024, dim 512."""
    return ", ".join(f"{name} {size}" for name, size in named.items())


def _rate(work: Work | None, seconds: float) -> tuple[str, float | None]:
    if work is None:
        return "", None
    by_bytes = work.bytes / stream_rate(int(work.bytes)) if work.bytes else 0.0
    by_operations = work.operations / matrix_rate() if work.operations else 0.0
    share = max(by_bytes, by_operations) / seconds
    if by_bytes >= by_operations:
        return f"{work.bytes / seconds / 1e9:.1f} GB/s", share
    return f"{work.operations / seconds / 1e9:.1f} GFLOP/s", share


@cache
def stream_rate(size: int) -> float:
    """Return the most bytes a second of `torch.add(a, b, out=h)` over so many bytes."""
    numbers = max(size // 12, 1)
    a, b, h = (torch.ones(numbers) for _ in range(3))
    return 12 * numbers / _least(lambda: torch.add(a, b, out=h))


def stream_of(size: int) -> Callable[[], object]:
    """Return a call of `torch.add` that moves so many bytes, a third of them to new memory."""
    a, b = (torch.ones(max(size // 12, 1)) for _ in range(2))
    return lambda: torch.add(a, b)


@cache
def matrix_rate(dtype: torch.dtype = torch.float32) -> float:
    """Return the most operations a second of a product of two matrices of 1,024 rows."""
    return 2 * 1024**3 / _least(matrix_product(dtype))


def _least(call: Callable[[], object]) -> float:
    """Return the least seconds of a call at five moments.

    A limit is the best there is: of one moment the median was 97 GFLOP/s in one run of the
    benchmark and 172 in another an hour apart, and a kernel seemed to pass it by half.
    """
    least = float("inf")
    for _ in range(5):
        least = min(least, paired({"call": call})["call"].best)
        time.sleep(0.1)
    return least


def matrix_product(dtype: torch.dtype = torch.float32) -> Callable[[], object]:
    """Return a product of two matrices of 1,024 rows, to be called."""
    a, b, c = (torch.ones(1024, 1024, dtype=dtype) for _ in range(3))
    return lambda: torch.mm(a, b, out=c)


@cache
def cached_rate(size: int) -> float:
    """Return the bytes a second of `torch.add` on one thread over so many bytes, 768 kB at least.

    That many lie in a core's own cache; more, in the one beyond it.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    numbers = max(65536, size // 12)
    a, b, h = (torch.ones(numbers) for _ in range(3))

    def run() -> None:
        for _ in range(100):
            torch.add(a, b, out=h)

    try:
        return 100 * 12 * numbers / paired({"add": run})["add"].median
    finally:
        torch.set_num_threads(before)
