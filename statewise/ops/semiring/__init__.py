"""Scans over time in other arithmetics: logarithms of sums, maxima, and the online softmax.

- `log_scan`, the diagonal scan of logarithms: probabilities and gates too small for a number.
- `log_matrix_scan`, a chain of states with dense transitions summed over all paths: the forward
  algorithm, and the partition function of a linear-chain conditional random field.
- `max_matrix_scan`, the same over the best path, with the pointers that `best_path` follows back
  (Viterbi).
- `softmax_scan`, softmax attention of one query per head as a recurrence (Feng et al., "Attention
  as an RNN", 2024, arXiv:2405.13956).

An entry of -inf is log 0: a forbidden transition, an impossible state, a value that has no weight.
Results are right there, and gradients finite. Storage in bfloat16 is widened before it is used.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

# Inside this package `torch` is the file torch.py, so the library is imported by its parts.
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import (
    Tensor,
    arange,
    bfloat16,
    cat,
    float32,
    from_numpy,
    full_like,
    int32,
    int64,
    promote_types,
    where,
)
from torch import (
    dtype as Dtype,
)

from statewise import backends
from statewise.ops.arguments import check_marks
from statewise.ops.semiring import native, reference
from statewise.ops.semiring.logs import logaddexp, logsumexp
from statewise.ops.semiring.torch import log_scan as parallel_log_scan
from statewise.ops.semiring.torch import softmax_scan as parallel_softmax_scan

__all__ = [
    "MATRIX_TABLE",
    "TABLE",
    "MaxScan",
    "SoftmaxState",
    "best_path",
    "log_matrix_scan",
    "log_matrix_scan_step",
    "log_scan",
    "log_scan_step",
    "max_matrix_scan",
    "max_matrix_scan_step",
    "softmax_scan",
    "softmax_scan_step",
]

TABLE = (
    backends.Row("native", backends.without_native),
    backends.Row("torch", backends.always),
    backends.Row("reference", backends.always),
)
"""Of the elementwise scans."""

MATRIX_TABLE = (
    backends.Row("native", backends.without_native),
    backends.Row("reference", backends.always),
)
"""Of the scans with dense transitions: composing two of them costs as many times more than a step
as there are states, so the loop over time is the form in torch as well."""

_LOG = {"native": native.log_scan, "torch": parallel_log_scan, "reference": reference.log_scan}
_LOG_MATRIX = {"native": native.log_matrix_scan, "reference": reference.log_matrix_scan}
_MAX_MATRIX = {"native": native.max_matrix_scan, "reference": reference.max_matrix_scan}
_SOFTMAX = {
    "native": native.softmax_scan,
    "torch": parallel_softmax_scan,
    "reference": reference.softmax_scan,
}


def log_scan(
    log_decay: Float[Tensor, "batch time dim"],
    log_drive: Float[Tensor, "batch time dim"],
    *,
    initial: Float[Tensor, "batch dim"] | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch dim"]]:
    """Return every h_t of  h_t = log(exp(log_decay_t + h_{t-1}) + exp(log_drive_t)),  and the last.

    Args:
        log_decay: any number but +inf; at -inf nothing is kept.
        log_drive: any number but +inf; at -inf nothing is added. Its dtype is the output's.
        initial: h before the first input; -inf, the logarithm of zero, if absent. Arithmetic is in
            its dtype, float32 or wider.
        reset: where true, h_{t-1} counts as -inf.
        lengths: from 0 to time. Beyond a row's length the output is zero, nothing is read, and the
            final state is the one after its last real input; with length 0, `initial`.

    Raises:
        ValueError: if shapes do not fit together.
    """
    if log_decay.shape != log_drive.shape or log_decay.ndim != 3:
        raise ValueError(
            f"log_scan: log_decay {tuple(log_decay.shape)} and log_drive {tuple(log_drive.shape)} "
            "should both be (batch, time, dim)"
        )
    batch, time, dim = log_drive.shape
    work = _work(log_decay, log_drive, initial)
    initial = _initial("log_scan", initial, (batch, dim), -math.inf, log_drive, work)
    check_marks("log_scan", batch, time, reset, lengths)
    dtype, log_drive = log_drive.dtype, log_drive.to(work)
    form = _LOG[backends.choose("log_scan", TABLE, log_drive).backend]
    output, final = form(
        log_decay.to(work), log_drive, initial=initial, reset=reset, lengths=lengths
    )
    return output.to(dtype), final


def log_scan_step(
    log_decay: Float[Tensor, "batch dim"],
    log_drive: Float[Tensor, "batch dim"],
    h: Float[Tensor, "batch dim"],
) -> Float[Tensor, "batch dim"]:
    """Return the next h, one step of `log_scan`, in the dtype of the h given.

    Raises:
        ValueError: if shapes differ.
    """
    if not log_decay.shape == log_drive.shape == h.shape:
        raise ValueError(
            f"log_scan_step: log_decay {tuple(log_decay.shape)}, log_drive "
            f"{tuple(log_drive.shape)} and h {tuple(h.shape)} should all be (batch, dim)"
        )
    log_decay, log_drive = _like(h, log_decay), _like(h, log_drive)
    if _direct("log_scan", TABLE, h, log_decay, log_drive):
        return native.log_scan_step(log_decay, log_drive, h)
    return logaddexp(log_decay + h, log_drive)


def log_matrix_scan(
    log_transition: Float[Tensor, "states states"] | Float[Tensor, "batch time states states"],
    score: Float[Tensor, "batch time states"],
    *,
    initial: Float[Tensor, "batch states"] | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time states"], Float[Tensor, "batch states"]]:
    """Return every h_t of  h_t[j] = logsumexp_i(h_{t-1}[i] + log_transition_t[i, j]) + score_t[j].

    Also the last, a fresh tensor; its logsumexp is the logarithm of the weight of all paths. Where
    a row starts, no transition is taken and h_t = score_t: weights that states have at the start
    are added to the score there.

    Args:
        log_transition: from state i to state j, the same for all or one for each row and time. The
            transition at a start is not read.
        score: of each state at each time; its dtype is the output's. None may be +inf.
        initial: h before the first input. +inf stands for nothing read yet, and so does its
            absence: the row starts with its first input. Arithmetic is in its dtype, float32 or
            wider.
        reset: where true, the row starts anew.
        lengths: from 0 to time. Beyond a row's length the output is zero, nothing is read, and the
            final state is the one after its last real input; with length 0, `initial`.

    Raises:
        ValueError: if shapes do not fit together.
    """
    transition, score, initial, dtype = _chain(
        "log_matrix_scan", log_transition, score, initial, reset, lengths
    )
    form = _LOG_MATRIX[backends.choose("log_matrix_scan", MATRIX_TABLE, score).backend]
    output, final = form(transition, score, initial=initial, reset=reset, lengths=lengths)
    return output.to(dtype), final


def log_matrix_scan_step(
    log_transition: Float[Tensor, "states states"] | Float[Tensor, "batch states states"],
    score: Float[Tensor, "batch states"],
    h: Float[Tensor, "batch states"],
) -> Float[Tensor, "batch states"]:
    """Return the next h, one step of `log_matrix_scan`, in the dtype of the h given.

    Raises:
        ValueError: if shapes do not fit together.
    """
    given = _step("log_matrix_scan_step", log_transition, score, h)
    if _direct("log_matrix_scan", MATRIX_TABLE, h, *given):
        return native.log_matrix_scan_step(*given, h)
    starts, paths = _paths(given[0], h)
    return where(starts, 0, logsumexp(paths, 1)) + given[1]


class MaxScan(NamedTuple):
    """What `max_matrix_scan` says of every time."""

    score: Float[Tensor, "batch time states"]
    """Of the best path that ends in each state."""
    pointer: Int[Tensor, "batch time states"]
    """The state it came from, int32; -1 where the row starts, and in the padding."""


def max_matrix_scan(
    log_transition: Float[Tensor, "states states"] | Float[Tensor, "batch time states states"],
    score: Float[Tensor, "batch time states"],
    *,
    initial: Float[Tensor, "batch states"] | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[MaxScan, Float[Tensor, "batch states"]]:
    """Return every h_t of  h_t[j] = max_i(h_{t-1}[i] + log_transition_t[i, j]) + score_t[j].

    With the i of each maximum, the first where several are equal, along which gradients flow; and
    the last h, a fresh tensor. Arguments are those of `log_matrix_scan`.

    Raises:
        ValueError: if shapes do not fit together.
    """
    transition, score, initial, dtype = _chain(
        "max_matrix_scan", log_transition, score, initial, reset, lengths
    )
    form = _MAX_MATRIX[backends.choose("max_matrix_scan", MATRIX_TABLE, score).backend]
    output, final, pointers = form(transition, score, initial=initial, reset=reset, lengths=lengths)
    return MaxScan(output.to(dtype), pointers), final


def max_matrix_scan_step(
    log_transition: Float[Tensor, "states states"] | Float[Tensor, "batch states states"],
    score: Float[Tensor, "batch states"],
    h: Float[Tensor, "batch states"],
) -> tuple[Float[Tensor, "batch states"], Int[Tensor, "batch states"]]:
    """Return the next h, one step of `max_matrix_scan`, and which state it came from, int32.

    Raises:
        ValueError: if shapes do not fit together.
    """
    given = _step("max_matrix_scan_step", log_transition, score, h)
    if _direct("max_matrix_scan", MATRIX_TABLE, h, *given):
        return native.max_matrix_scan_step(*given, h)
    starts, paths = _paths(given[0], h)
    best = paths.max(1)
    return where(starts, 0, best.values) + given[1], where(starts, -1, best.indices).to(int32)


def best_path(
    scan: MaxScan, *, lengths: Int[Tensor, " batch"] | None = None
) -> Int[Tensor, "batch time"]:
    """Return the states of the best path through each row, int64; -1 in the padding.

    It ends in the best state of the last time, and again before each start: rows that hold several
    sequences, divided by `reset`, give the best path of each.

    Raises:
        ValueError: if lengths are not one for each row.
    """
    score, pointer = scan
    batch, time, _ = score.shape
    check_marks("best_path", batch, time, None, lengths)
    ends = score.argmax(-1)
    real = None
    if lengths is not None:
        real = arange(time, device=lengths.device) < lengths[:, None]
        pointer = where(real[..., None], pointer, -1)
    if score.is_cpu and pointer.is_cpu and backends.plain((score, pointer)):
        # The same by numpy, a tenth of the time or less: 0.5 ms for 11.6 at 32 rows of 50.
        path = from_numpy(_followed(ends.numpy(), pointer.numpy()))
    else:
        came, states = full_like(ends[:, :1], -1), []
        for t in range(time - 1, -1, -1):
            states.append(where(came < 0, ends[:, t : t + 1], came))
            came = pointer[:, t].gather(1, states[-1]).to(int64)
        path = cat(states[::-1], 1) if states else ends
    return path if real is None else where(real, path, -1)


def _followed(ends: NDArray[Any], pointer: NDArray[Any]) -> NDArray[Any]:
    """Return the states that pointers lead to, back from the end of each path."""
    path, rows = ends.copy(), np.arange(len(ends))
    for t in range(ends.shape[1] - 1, 0, -1):
        came = pointer[rows, t, path[:, t]]
        path[:, t - 1] = np.where(came < 0, path[:, t - 1], came)
    return path


class SoftmaxState(NamedTuple):
    """What `softmax_scan` remembers."""

    maximum: Float[Tensor, "batch heads"]
    """The largest score."""
    total: Float[Tensor, "batch heads"]
    """The sum of exp(score - maximum)."""
    weighted: Float[Tensor, "batch heads dim"]
    """The sum of exp(score - maximum) * value."""


def softmax_scan(
    score: Float[Tensor, "batch time heads"],
    value: Float[Tensor, "batch time heads dim"],
    *,
    initial: SoftmaxState | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time heads dim"], SoftmaxState]:
    """Return the mean of the values so far, each weighted by exp(score), and the last state.

    y_t = sum_{s <= t} exp(score_s) value_s / sum_{s <= t} exp(score_s): the output of causal
    softmax attention whose query is the same at all times, with score = query . key.

    Args:
        score: any number but +inf; a value with -inf has no weight. Where all so far have none, the
            output is zero.
        value: its dtype is the output's.
        initial: the state before the first input; (-inf, 0, 0) if absent. Arithmetic is in the
            widest of its dtypes, float32 or wider.
        reset: where true, the state counts as (-inf, 0, 0).
        lengths: from 0 to time. Beyond a row's length the output is zero, nothing is read, and the
            final state is the one after its last real input; with length 0, `initial`.

    Raises:
        ValueError: if shapes do not fit together.
    """
    if value.ndim != 4 or score.shape != value.shape[:3]:
        raise ValueError(
            f"softmax_scan: score {tuple(score.shape)} should be (batch, time, heads) and value "
            f"{tuple(value.shape)} (batch, time, heads, dim)"
        )
    batch, time, heads, dim = value.shape
    work = _work(score, value, *(initial or ()))
    if initial is None:
        state = _empty_softmax(value, (batch, heads), dim, work)
    else:
        wanted = ((batch, heads), (batch, heads), (batch, heads, dim))
        for name, x, shape in zip(SoftmaxState._fields, initial, wanted, strict=True):
            if x.shape != shape:
                raise ValueError(f"softmax_scan: {name} {tuple(x.shape)} should be {shape}")
        state = tuple(x.to(work) for x in initial)
    check_marks("softmax_scan", batch, time, reset, lengths)
    dtype, value = value.dtype, value.to(work)
    form = _SOFTMAX[backends.choose("softmax_scan", TABLE, value).backend]
    output, *last = form(score.to(work), value, *state, reset=reset, lengths=lengths)
    return output.to(dtype), SoftmaxState(*last)


def softmax_scan_step(
    score: Float[Tensor, "batch heads"],
    value: Float[Tensor, "batch heads dim"],
    state: SoftmaxState,
) -> tuple[Float[Tensor, "batch heads dim"], SoftmaxState]:
    """Return the mean after one more value, in its dtype, and the next state.

    Raises:
        ValueError: if shapes do not fit together.
    """
    maximum, total, weighted = state
    score, wide = _like(maximum, score), _like(weighted, value)
    if backends.direct("softmax_scan", TABLE, (weighted, maximum, total, score, wide)):
        try:
            # The kernel looks at shapes, dtypes and strides itself, in a tenth of the time.
            y, *last = native.softmax_scan_step(score, wide, maximum, total, weighted)
            return _like(value, y), SoftmaxState(*last)
        except ValueError:
            pass  # what does not fit is said better below
    if not score.shape == maximum.shape == total.shape == value.shape[:-1] or (
        weighted.shape != value.shape
    ):
        raise ValueError(
            f"softmax_scan_step: score {tuple(score.shape)}, maximum {tuple(maximum.shape)} and "
            f"total {tuple(total.shape)} should be (batch, heads), value {tuple(value.shape)} and "
            f"weighted {tuple(weighted.shape)} (batch, heads, dim)"
        )
    high = where(score > maximum, score, maximum)
    shift = where(high == -math.inf, 0, high)
    kept, added = (maximum - shift).exp(), (score - shift).exp()
    total = kept * total + added
    weighted = kept[..., None] * weighted + added[..., None] * wide
    nothing = total == 0
    mean = where(nothing[..., None], 0, weighted / where(nothing, 1, total)[..., None])
    return mean.to(value.dtype), SoftmaxState(high, total, weighted)


def _empty_softmax(
    like: Tensor, heads: tuple[int, int], dim: int, work: Dtype
) -> tuple[Tensor, Tensor, Tensor]:
    zeros = like.new_zeros(heads, dtype=work)
    return zeros - math.inf, zeros, like.new_zeros((*heads, dim), dtype=work)


def _work(*tensors: Tensor | None) -> Dtype:
    """Return the dtype of the arithmetic: the widest given, float32 or wider."""
    work = float32
    for x in tensors:
        work = work if x is None else promote_types(work, x.dtype)
    return work


def _initial(
    op: str, x: Tensor | None, shape: tuple[int, int], absent: float, like: Tensor, work: Dtype
) -> Tensor:
    if x is None:
        return like.new_full(shape, absent, dtype=work)
    if x.shape != shape:
        raise ValueError(f"{op}: initial {tuple(x.shape)} should be {shape}")
    return x.to(work)


def _chain(
    op: str,
    transition: Tensor,
    score: Tensor,
    initial: Tensor | None,
    reset: Tensor | None,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Dtype]:
    """Return the arguments of a scan over a chain in the dtype of its arithmetic, checked."""
    batch, time, states = score.shape if score.ndim == 3 else (-1, -1, -1)
    if transition.shape not in ((states, states), (batch, time, states, states)):
        raise ValueError(
            f"{op}: score {tuple(score.shape)} should be (batch, time, states) and log_transition "
            f"{tuple(transition.shape)} (states, states) or (batch, time, states, states)"
        )
    if not states:
        raise ValueError(f"{op}: score {tuple(score.shape)} should have at least one state")
    check_marks(op, batch, time, reset, lengths)
    work = _work(transition, score, initial)
    initial = _initial(op, initial, (batch, states), math.inf, score, work)
    return transition.to(work), score.to(work), initial, score.dtype


def _step(op: str, transition: Tensor, score: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Return transition and score in the dtype of h, checked."""
    states = h.shape[-1]
    whole = (states, states), (len(h), states, states)
    if h.ndim != 2 or score.shape != h.shape or transition.shape not in whole:
        raise ValueError(
            f"{op}: score {tuple(score.shape)} and h {tuple(h.shape)} should be (batch, states), "
            f"log_transition {tuple(transition.shape)} (states, states) or one for each row"
        )
    return _like(h, transition), _like(h, score)


def _paths(transition: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Return whether each row starts, (batch, 1), and all paths of one step, (batch, from, to)."""
    starts = h[:, :1] == math.inf
    return starts, where(starts, 0, h)[:, :, None] + transition


def _like(x: Tensor, y: Tensor) -> Tensor:
    """Return y in the dtype of x. `y.to` takes a microsecond even where it has nothing to do."""
    return y if y.dtype == x.dtype else y.to(x.dtype)


def _direct(op: str, table: Sequence[backends.Row], h: Tensor, *tensors: Tensor) -> bool:
    """Return whether a step should call the kernel, which reads no state in bfloat16."""
    return h.dtype != bfloat16 and backends.direct(op, table, (h, *tensors))
