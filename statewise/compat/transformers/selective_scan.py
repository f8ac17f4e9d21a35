"""The selective scan of Mamba, Falcon-Mamba, Jamba and Zamba, as the hub's library calls it.

The library's own takes no state from before: read in pieces, its cached path keeps the inputs of
the convolution and drops the state. Here each piece goes on from the last.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from statewise.compat.transformers.pieces import Piece, current
from statewise.ops.selective_scan import selective_scan, selective_scan_step

Inputs = Float[Tensor, "batch dim time"]
Shared = Float[Tensor, "batch state time"]
State = Float[Tensor, "batch dim state"]


def mamba_selective_scan(
    hidden_states: Inputs,
    dt: Inputs,
    A: Float[Tensor, "dim state"],
    B: Shared,
    C: Shared,
    D: Float[Tensor, " dim"] | None = None,
    z: Inputs | None = None,
    delta_bias: Float[Tensor, " dim"] | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
    **_options: Any,
) -> Inputs | tuple[Inputs, State]:
    """Return what the scan answers, and its last state where that is asked for."""
    piece = current()
    if delta_softplus and delta_bias is None:
        delta_bias = A.new_zeros(len(A))
    y, final = selective_scan(
        hidden_states.transpose(1, 2),
        dt.transpose(1, 2),
        A,
        B.transpose(1, 2),
        C.transpose(1, 2),
        skip=D,
        gate=None if z is None else z.transpose(1, 2),
        step_bias=delta_bias,
        initial=_before(piece),
        lengths=piece.lengths,
    )
    y = y.transpose(1, 2)
    return (y, final) if return_last_state else y


def mamba_selective_state_update(
    state: State,
    hidden_states: Float[Tensor, "batch dim"],
    dt: Float[Tensor, "batch dim"],
    A: Float[Tensor, "dim state"],
    B: Float[Tensor, "batch state"],
    C: Float[Tensor, "batch state"],
    D: Float[Tensor, " dim"] | None = None,
    dt_bias: Float[Tensor, " dim"] | None = None,
    dt_softplus: bool = False,
    z: Float[Tensor, "batch dim"] | None = None,
    **_options: Any,
) -> Float[Tensor, "batch dim"]:
    """Return one output, and write the state after it into `state`."""
    if dt_softplus and dt_bias is None:
        dt_bias = A.new_zeros(len(A))
    piece = current()
    given = _before(piece)
    given = state if given is None else given
    y, after = selective_scan_step(
        hidden_states, dt, A, B, C, given, skip=D, gate=z, step_bias=dt_bias
    )
    state.copy_(piece.kept(after, given))
    return y


def _before(piece: Piece) -> State | None:
    """Return the state before this scan, the next one of its mixer: Zamba has one for each head."""
    if piece.state is None or piece.state.ndim == 3:
        return piece.state
    piece.scans += 1
    return piece.state[:, piece.scans - 1]
