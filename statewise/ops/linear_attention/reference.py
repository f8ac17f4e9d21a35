"""Linear attention written as its definition: one loop. Every other backend must agree with it."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def linear_attention(
    query: Float[Tensor, "batch time groups key"],
    key: Float[Tensor, "batch time groups key"],
    value: Float[Tensor, "batch time heads value"],
    *,
    log_decay: Float[Tensor, "batch time heads *axes"] | None = None,
    bonus: Float[Tensor, "heads key"] | None = None,
    scale: float = 1.0,
    initial: Float[Tensor, "batch heads key value"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time heads value"], Float[Tensor, "batch heads key value"]]:
    """Return every y_t of  S_t = decay_t * S_{t-1} + k_t v_t^T,  y_t = S_t^T q_t,  and the last S.

    With a bonus u,  y_t = (S_{t-1} + diag(u) k_t v_t^T)^T q_t.
    """
    state, outputs = initial, []
    query, key = (shared(x, value.shape[2]) for x in (query, key))
    for t in range(value.shape[1]):
        before, real = state, None
        q, k, v = (x[:, t].to(state.dtype) for x in (query, key, value))
        g = None if log_decay is None else log_decay[:, t].to(state.dtype)
        if lengths is not None:
            # The inputs are replaced, not only the result: a NaN in the padding would otherwise
            # reach the gradient as 0 * NaN.
            real = (t < lengths)[:, None, None]
            q, k, v = (torch.where(real, x, 0) for x in (q, k, v))
            g = None if g is None else torch.where(real.view(-1, *[1] * (g.ndim - 1)), g, 0)
        if reset is not None:
            before = torch.where(reset[:, t, None, None, None], 0, before)
        written = k[..., :, None] * v[..., None, :]
        after = before + written if g is None else decays(g) * before + written
        read = after if bonus is None else before + bonus[..., None].to(state.dtype) * written
        y = torch.einsum("bhk,bhkv->bhv", q, read) * scale
        state = after if real is None else torch.where(real[..., None], after, state)
        outputs.append(y)
    output = torch.stack(outputs, 1) if outputs else torch.zeros_like(value)
    return output.to(value.dtype), state.clone()


def shared(x: Float[Tensor, "batch time groups key"], heads: int) -> Tensor:
    """Return x with every group repeated for the heads that share it."""
    return x if x.shape[2] == heads else x.repeat_interleave(heads // x.shape[2], 2)


def decays(log_decay: Float[Tensor, "batch heads *axes"]) -> Tensor:
    """Return the decay as what multiplies a (batch, heads, key, value)."""
    return log_decay.exp()[(...,) + (None,) * (4 - log_decay.ndim)]
