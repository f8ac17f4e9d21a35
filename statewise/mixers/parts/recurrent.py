"""Mixers written once, for whole sequences and single steps alike: no mixer itself.

    class Mine(Recurrent[MineState]):
        def mix(self, x, state, run):
            q, k, v = self.projection(x).unflatten(-1, (3, self.heads, -1)).unbind(-3)
            y, S = run(linear_attention, q, k, v, initial=state.S)
            return self.output(y.flatten(-2)), MineState(S)

In `forward` x is (batch, time, dim) and `run` calls the op with reset and lengths; in `step` x is
(batch, dim), without an axis of time, and `run` calls the op's step. So the two agree because there
is but one of them.
"""

import abc
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from statewise.mixers.base import Shaped, State, blank, state_dtype
from statewise.mixers.parts.chunk_attention import chunk_attention, chunk_attention_step
from statewise.mixers.parts.matrix_rows import matrix_rows, matrix_rows_step
from statewise.mixers.parts.positions import positions, positions_step
from statewise.mixers.parts.taps import taps, taps_step
from statewise.ops.cells import Cell, Weights, recur, recur_step
from statewise.ops.convolution import (
    dense_convolution,
    dense_convolution_step,
    diagonal_convolution,
    diagonal_convolution_step,
    long_convolution,
    long_convolution_step,
    short_convolution,
    short_convolution_step,
)
from statewise.ops.delta_rule import (
    delta_product,
    delta_product_step,
    delta_rule,
    delta_rule_step,
    low_rank_delta_rule,
    low_rank_delta_rule_step,
)
from statewise.ops.linear_attention import (
    linear_attention,
    linear_attention_step,
    normalized_linear_attention,
    normalized_linear_attention_step,
)
from statewise.ops.matrix_scan import matrix_scan, matrix_scan_step
from statewise.ops.scan import scan, scan_step
from statewise.ops.selective_scan import selective_scan, selective_scan_step
from statewise.ops.semiring import log_scan, log_scan_step, softmax_scan, softmax_scan_step
from statewise.ops.stabilized_attention import (
    stabilized_linear_attention,
    stabilized_linear_attention_step,
)

Run = Callable[..., Any]
"""How a mixer calls an op: `run(op, *tensors, initial=..., **options)`, over all times or at one.

It returns what the op does, (output, final).
"""


class Recurrent(Shaped[State]):
    """A mixer that is written once, as `mix`; forward, step, masks and state sizes follow.

    A subclass sets `dim` and `out`, names its state, and writes `shapes` and `mix`.
    """

    @abc.abstractmethod
    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: State, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], State]:
        """Map inputs with or without an axis of time, calling every op by way of `run`.

        Padding comes as zeros, and what is answered there is not read. The state comes as it was
        given: ops widen what they compute in to its precision.
        """

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        state: State | None = None,
        *,
        reset: Bool[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time out"], State]:
        """Map a whole sequence."""
        if state is None:
            state = self.initial_state(len(x), device=x.device, dtype=state_dtype(x.dtype))

        def run(op: Callable[..., Any], *given: Any, initial: Any, **options: Any) -> Any:
            return op(*given, initial=initial, reset=reset, lengths=lengths, **options)

        y, state = self.mix(blank(x, lengths), state, run)
        return blank(y, lengths), state

    def step(
        self, x: Float[Tensor, "batch dim"], state: State
    ) -> tuple[Float[Tensor, "batch out"], State]:
        """Map one input."""
        return self.mix(x, state, once)


def divided(mixer: str, heads: int, **sizes: int) -> None:
    """Refuse sizes that the heads do not divide into equal parts.

    Raises:
        ValueError: names the mixer, the number of heads and the size.
    """
    for name, size in sizes.items():
        if heads < 1 or size < 1 or size % heads:
            raise ValueError(f"{mixer}: heads = {heads} should divide {name} = {size}")


def shifted(
    x: Float[Tensor, "batch *time dim"], last: Float[Tensor, "batch dim"], run: Run
) -> tuple[Float[Tensor, "batch *time dim"], Float[Tensor, "batch dim"]]:
    """Return at each time the input before it, `last` before the first, and the last input.

    Zeros stand before the start and after a reset: the token shift of the RWKV family.
    """
    one_before = torch.tensor([1.0, 0.0], device=x.device, dtype=last.dtype)
    y, past = run(short_convolution, x, one_before.expand(x.shape[-1], 2), initial=last[:, None])
    return y, past[:, 0]


def begins(x: Float[Tensor, "batch *time dim"], run: Run) -> Float[Tensor, "batch *time one"]:
    """Return one where the state was reset, and zero elsewhere: never in a step."""
    ones = torch.ones_like(x[..., :1], dtype=state_dtype(x.dtype))
    before, _ = shifted(ones, ones.new_ones(len(x), 1), run)
    return 1 - before


def once(op: Callable[..., Any], *given: Any, initial: Any, **options: Any) -> Any:
    """Run an op at one time: what `run` is in a step."""
    return _STEPS[op](*given, initial, **options)


def _scan_step(decay: Tensor, drive: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    h = scan_step(decay, drive, h)
    return _copied(h, drive), h


def _matrix_scan_step(transition: Tensor, drive: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    h = matrix_scan_step(transition, drive, h)
    return _copied(h, drive), h


def _log_scan_step(log_decay: Tensor, log_drive: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    h = log_scan_step(log_decay, log_drive, h)
    return _copied(h, log_drive), h


def _cell_step(
    cell: Cell, x: Tensor, weights: Weights, state: tuple[Tensor, ...]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    state = recur_step(cell, x, weights, state)
    return _copied(state[0], x), state


def _copied(h: Tensor, like: Tensor) -> Tensor:
    """Return an output as the whole-sequence op gives it, which is no view of the state."""
    dtype = like.dtype.to_complex() if h.is_complex() and not like.is_complex() else like.dtype
    return h.to(dtype, copy=True)


def _short_convolution_step(
    x: Tensor, weight: Tensor, *rest: Tensor | None
) -> tuple[Tensor, Tensor]:
    *bias, past = rest
    assert past is not None
    return short_convolution_step(x, weight, bias[0] if bias else None, past)


_STEPS: Mapping[Callable[..., Any], Callable[..., Any]] = {
    scan: _scan_step,
    matrix_scan: _matrix_scan_step,
    log_scan: _log_scan_step,
    recur: _cell_step,
    selective_scan: selective_scan_step,
    linear_attention: linear_attention_step,
    normalized_linear_attention: normalized_linear_attention_step,
    stabilized_linear_attention: stabilized_linear_attention_step,
    delta_rule: delta_rule_step,
    delta_product: delta_product_step,
    low_rank_delta_rule: low_rank_delta_rule_step,
    short_convolution: _short_convolution_step,
    long_convolution: long_convolution_step,
    diagonal_convolution: diagonal_convolution_step,
    dense_convolution: dense_convolution_step,
    softmax_scan: softmax_scan_step,
    chunk_attention: chunk_attention_step,
    positions: positions_step,
    matrix_rows: matrix_rows_step,
    taps: taps_step,
}
"""The step of every op, with the state as its last tensor."""
