"""Scans in other arithmetics beside what a user of torch has for them.

- `log_scan`: cumulative sums and `logcumsumexp`, exact enough where decays do not run off, and our
  form by halving, which is exact everywhere.
- the chains: the loop over time that packages of conditional random fields for torch are, and for
  per-time transitions the same loop.
- `softmax_scan`: cumulative sums shifted by the maximum of the whole row, which lose what lies far
  below it, and our form by halving.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.ops import figures as take
from benchmarks.ops.figures import Figure, Work
from statewise.ops.semiring import (
    SoftmaxState,
    log_matrix_scan,
    log_matrix_scan_step,
    log_scan,
    log_scan_step,
    max_matrix_scan,
    max_matrix_scan_step,
    reference,
    softmax_scan,
    softmax_scan_step,
)
from statewise.ops.semiring.torch import log_scan as log_scan_by_halving
from statewise.ops.semiring.torch import softmax_scan as softmax_scan_by_halving

OP = "semiring"
Form = Callable[..., Any]
WAYS = (("forward", take.quietly), ("forward + backward", take.with_gradients))


def logs(batch: int, time: int, dim: int) -> list[Tensor]:
    """Return log decays and log drives as a gate's sigmoid gives them, and the start, log 0."""
    g = torch.Generator().manual_seed(0)
    gates = [torch.randn(batch, time, dim, generator=g) for _ in range(2)]
    return [
        *(torch.nn.functional.logsigmoid(x) for x in gates),
        torch.full((batch, dim), -torch.inf),
    ]


def chain(batch: int, time: int, states: int, each: bool = False) -> list[Tensor]:
    """Return transitions, one or one for each time, and the scores of states."""
    g = torch.Generator().manual_seed(0)
    shape = (batch, time, states, states) if each else (states, states)
    return [torch.randn(shape, generator=g), torch.randn(batch, time, states, generator=g)]


def queries(batch: int, time: int, heads: int, dim: int) -> list[Tensor]:
    """Return scores and values."""
    g = torch.Generator().manual_seed(0)
    score = torch.randn(batch, time, heads, generator=g)
    return [score, torch.randn(batch, time, heads, dim, generator=g)]


def cumulative(log_decay: Tensor, log_drive: Tensor, initial: Tensor) -> Tensor:
    """Compute the scan of logarithms by cumulative sums (Heinsen, 2023, arXiv:2311.06281)."""
    total = log_decay.cumsum(1)
    terms = torch.cat([initial[:, None], log_drive - total], 1)
    return terms.logcumsumexp(1)[:, 1:] + total


def forward_loop(log_transition: Tensor, score: Tensor) -> Tensor:
    """Compute the forward algorithm as packages of conditional random fields do."""
    h = score[:, 0]
    outputs = [h]
    for t in range(1, score.shape[1]):
        transition = log_transition if log_transition.ndim == 2 else log_transition[:, t]
        h = (h[:, :, None] + transition).logsumexp(1) + score[:, t]
        outputs.append(h)
    return torch.stack(outputs, 1)


def viterbi_loop(log_transition: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the best paths' scores and pointers as they do."""
    h = score[:, 0]
    outputs, pointers = [h], [torch.full(h.shape, -1)]
    for t in range(1, score.shape[1]):
        transition = log_transition if log_transition.ndim == 2 else log_transition[:, t]
        best, pointer = (h[:, :, None] + transition).max(1)
        h = best + score[:, t]
        outputs.append(h)
        pointers.append(pointer)
    return torch.stack(outputs, 1), torch.stack(pointers, 1)


def shifted_sums(score: Tensor, value: Tensor) -> Tensor:
    """Compute the means of values so far from cumulative sums of weights below one."""
    weight = (score - score.amax(1, keepdim=True)).exp()[..., None]
    return (weight * value).cumsum(1) / weight.cumsum(1)


def log_ours(log_decay: Tensor, log_drive: Tensor, initial: Tensor) -> tuple[Tensor, Tensor]:
    """Compute through the table."""
    return log_scan(log_decay, log_drive, initial=initial)


def log_halving(log_decay: Tensor, log_drive: Tensor, initial: Tensor) -> tuple[Tensor, Tensor]:
    """Compute by our form in torch."""
    return log_scan_by_halving(log_decay, log_drive, initial=initial)


def max_ours(log_transition: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
    """Compute scores and pointers through the table."""
    scan, _ = max_matrix_scan(log_transition, score)
    return scan.score, scan.pointer


def empty(value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the state of the online softmax that has seen nothing."""
    batch, _, heads, dim = value.shape
    none = value.new_zeros(batch, heads)
    return none - torch.inf, none, value.new_zeros(batch, heads, dim)


def softmax_halving(score: Tensor, value: Tensor) -> Tensor:
    """Compute by our form in torch."""
    return softmax_scan_by_halving(score, value, *empty(value))[0]


def beside(
    entry: str,
    shape: str,
    ours: Form,
    given: list[Tensor],
    others: dict[str, Form],
    exact: Form,
    bytes_moved: tuple[float, float],
    rounds: int,
) -> Iterator[Figure]:
    """Give both passes beside every other form, then on two threads."""
    small = [x[:, :64] if x.ndim > 2 else x for x in given]
    [result, *_], [true, *_] = ours(*small), exact(*(x.double() for x in small))
    error = take.worst([result], [true])
    for (what, way), size in zip(WAYS, bytes_moved, strict=True):
        for name, form in others.items():
            yield take.against(
                OP,
                what,
                f"{entry}, {shape}",
                way(ours, given),
                name,
                way(form, given),
                work=Work(bytes=size),
                error=error if what == "forward" else None,
                rounds=rounds,
            )
    for (what, way), size in zip(WAYS, bytes_moved, strict=True):
        yield take.two_threads(
            OP,
            f"{entry}, {what}, {shape}",
            way(ours, given),
            stream=take.stream_of(int(size)),
            rounds=rounds,
        )


def figures(rounds: int) -> Iterator[Figure]:
    """Give the figures one by one."""
    yield from _log(rounds)
    for states, batch, each in ((16, 16, False), (64, 16, False), (256, 8, False), (32, 8, True)):
        yield from _chain(batch, 512, states, each, rounds)
    yield from _softmax(rounds)
    yield from _long()
    yield from _steps()


def _log(rounds: int) -> Iterator[Figure]:
    batch, time, dim = 8, 1024, 256
    given = logs(batch, time, dim)
    size = 4 * given[0].numel()
    yield from beside(
        "log_scan",
        take.sizes({"batch": batch, "time": time, "dim": dim}),
        log_ours,
        given,
        {"cumsum and logcumsumexp": cumulative, "our torch backend": log_halving},
        lambda *x: reference.log_scan(*x[:2], initial=x[2]),
        (3 * size, 9 * size),
        rounds,
    )


def _chain(batch: int, time: int, states: int, each: bool, rounds: int) -> Iterator[Figure]:
    given = chain(batch, time, states, each)
    named = take.sizes({"batch": batch, "time": time, "states": states})
    shape = f"{'transitions for each time, ' if each else ''}{named}"
    size = 4 * given[1].numel()
    matrices = 4 * given[0].numel()
    loop, start = "a loop of torch operations", torch.full((batch, states), torch.inf)
    yield from beside(
        "log_matrix_scan",
        shape,
        log_matrix_scan,
        given,
        {loop: forward_loop},
        lambda *x: reference.log_matrix_scan(*x, initial=start.double()),
        (2 * size + matrices, 6 * size + 3 * matrices),
        rounds,
    )
    yield from beside(
        "max_matrix_scan",
        shape,
        max_ours,
        given,
        {loop: viterbi_loop},
        lambda *x: reference.max_matrix_scan(*x, initial=start.double()),
        (3 * size + matrices, 7 * size + 3 * matrices),
        rounds,
    )


def _softmax(rounds: int) -> Iterator[Figure]:
    batch, time, heads, dim = 8, 1024, 8, 64
    given = queries(batch, time, heads, dim)
    size = 4 * given[1].numel()
    yield from beside(
        "softmax_scan",
        take.sizes({"batch": batch, "time": time, "heads": heads, "dim": dim}),
        softmax_scan,
        given,
        {"cumsum of shifted weights": shifted_sums, "our torch backend": softmax_halving},
        lambda score, value: reference.softmax_scan(score, value, *empty(value)),
        (2 * size, 6 * size),
        rounds,
    )


def _long() -> Iterator[Figure]:
    time = 100_000
    entries = (
        ("log_scan, dim 64", lambda *x: log_scan(*x), logs(1, time, 64)[:2]),
        ("log_matrix_scan, states 16", log_matrix_scan, chain(1, time, 16)),
        ("max_matrix_scan, states 16", max_ours, chain(1, time, 16)),
        ("softmax_scan, heads 4, dim 64", softmax_scan, queries(1, time, 4, 64)),
    )
    for shape, form, given in entries:
        for what, way in WAYS:
            where = f"{what}, batch 1, {shape}"
            yield take.long_sequences(OP, where, form, given, way=way)


def _steps() -> Iterator[Figure]:
    for dim in (256, 4096):
        decay, drive = (x[:, 0] for x in logs(1, 1, dim)[:2])
        h = torch.zeros(1, dim)
        named = take.sizes({"batch": 1, "dim": dim})
        yield take.step(OP, f"log_scan, {named}", _call(log_scan_step, decay, drive, h), 16 * dim)
    for states in (16, 64):
        transition, score = chain(1, 1, states)
        score, h = score[:, 0], torch.zeros(1, states)
        size = 4 * (states * states + 3 * states)
        named = take.sizes({"batch": 1, "states": states})
        for name, form in (
            ("log_matrix_scan", log_matrix_scan_step),
            ("max_matrix_scan", max_matrix_scan_step),
        ):
            yield take.step(OP, f"{name}, {named}", _call(form, transition, score, h), size)
    for heads, dim in ((8, 64), (32, 128)):
        score, value = queries(1, 1, heads, dim)
        score, value = score[:, 0], value[:, 0]
        state = SoftmaxState(torch.zeros_like(score), torch.ones_like(score), value)
        size = 4 * (4 * value.numel() + 5 * score.numel())
        named = take.sizes({"batch": 1, "heads": heads, "dim": dim})
        yield take.step(
            OP, f"softmax_scan, {named}", _call(softmax_scan_step, score, value, state), size
        )


def _call(form: Form, *given: Any) -> Callable[[], object]:
    return lambda: form(*given)
