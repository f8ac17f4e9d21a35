"""HGRN's recurrence,  h_t = exp(g_t) h_{t-1} + x_t,  with the signatures of fla.ops.hgrn."""

from jaxtyping import Float, Int
from torch import Tensor, float32, promote_types

from statewise.compat.fla.sequences import over_sequences
from statewise.ops.scan import scan

Inputs = Float[Tensor, "batch time dim"]
State = Float[Tensor, "sequences dim"]
Answer = tuple[Inputs, State | None]


def fused_recurrent_hgrn(
    x: Inputs,
    g: Inputs,
    initial_state: State | None = None,
    output_final_state: bool = False,
    cu_seqlens: Int[Tensor, " bounds"] | None = None,
) -> Answer:
    """Return every  h_t = exp(g_t) h_{t-1} + x_t  and, if asked for, the last of each sequence."""

    def op(x: Tensor, g: Tensor, **marks: Tensor | None):
        return scan(g.to(promote_types(g.dtype, float32)).exp(), x, **marks)

    return over_sequences(
        op,
        {"x": x, "g": g},
        initial_state=initial_state,
        output_final_state=output_final_state,
        cu_seqlens=cu_seqlens,
    )


def chunk_hgrn(
    x: Inputs, g: Inputs, initial_state: State | None = None, output_final_state: bool = False
) -> Answer:
    """Return what `fused_recurrent_hgrn` does, of sequences of equal lengths."""
    return fused_recurrent_hgrn(x, g, initial_state, output_final_state)
