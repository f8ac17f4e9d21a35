"""The recurrence of Mamba-2 as the hub's library calls it, for the seven families that share it.

Their state is (batch, heads, head, state), the transpose of ours. What is returned is a view of
ours, and the library's cache keeps the strides of what it is given, so that nothing is copied.
"""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import silu, softplus

from statewise.compat.transformers.pieces import current
from statewise.ops.linear_attention import linear_attention, linear_attention_step

Inputs = Float[Tensor, "batch time heads head"]
Steps = Float[Tensor, "batch time heads"]
Grouped = Float[Tensor, "batch time groups state"]
State = Float[Tensor, "batch heads head state"]


def mamba2_chunk_scan(
    hidden_states: Inputs,
    dt: Steps,
    A: Float[Tensor, " heads"],
    B: Grouped,
    C: Grouped,
    chunk_size: int,
    D: Float[Tensor, " heads"] | None = None,
    dt_bias: Float[Tensor, " heads"] | None = None,
    initial_states: State | None = None,
    dt_softplus: bool = False,
    dt_limit: Sequence[float] = (0.0, float("inf")),
    return_final_states: bool = False,
    **_options: Any,
) -> Inputs | tuple[Inputs, State]:
    """Return what the recurrence answers, in float32, and its last state if that is asked for."""
    piece = current()
    step = _step_size(dt, dt_bias, dt_softplus, dt_limit)
    x = hidden_states.float()
    initial = initial_states if piece.state is None else piece.state
    y, final = linear_attention(
        C.float(),
        B.float(),
        x * step[..., None],
        log_decay=step * A.float(),
        initial=None if initial is None else initial.mT,
        lengths=piece.lengths,
    )
    if D is not None:
        y = y + D[..., None] * x
    return (y, final.mT) if return_final_states else y


def mamba2_selective_state_update(
    state: State,
    hidden_states: Float[Tensor, "batch heads head"],
    dt: Float[Tensor, "batch heads head"],
    A: Float[Tensor, "heads head state"],
    B: Float[Tensor, "batch groups state"],
    C: Float[Tensor, "batch groups state"],
    D: Float[Tensor, "heads head"] | None = None,
    dt_bias: Float[Tensor, "heads head"] | None = None,
    dt_softplus: bool = False,
    z: Float[Tensor, "batch heads head"] | None = None,
    **_options: Any,
) -> Float[Tensor, "batch heads head"]:
    """Return one output, and write the state after it into `state`.

    Rates and steps are the same for all of a head; the library expands them. Where a model limits
    its steps they are limited here too, as in `mamba2_chunk_scan`; the library's own forgets to.
    """
    piece = current()
    bias = None if dt_bias is None else dt_bias[:, 0]
    step = _step_size(dt[..., 0], bias, dt_softplus, piece.step_limits)
    given = state if piece.state is None else piece.state
    x = hidden_states.float()
    y, after = linear_attention_step(
        C.float(),
        B.float(),
        x * step[..., None],
        given.mT,
        log_decay=step * A[:, 0, 0].float(),
    )
    state.copy_(piece.kept(after.mT, given))
    if D is not None:
        y = y + x * D
    if z is not None:
        y = y * silu(z)
    return y.to(hidden_states.dtype)


def _step_size(
    dt: Tensor, bias: Tensor | None, positive: bool, limits: Sequence[float] | None
) -> Tensor:
    """Return how long each input lasts."""
    step = dt.float() if bias is None else dt.float() + bias.float()
    step = softplus(step) if positive else step
    if limits is None or tuple(limits) == (0.0, float("inf")):
        return step
    return step.clamp(*limits)
