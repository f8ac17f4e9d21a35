"""Attention over a few slots that are written as they forget: no mixer itself."""

from jaxtyping import Float
from torch import Tensor

from statewise.mixers.parts.recurrent import Run
from statewise.ops.linear_attention import linear_attention


def through_slots(
    query: Float[Tensor, "batch *time heads key"],
    key: Float[Tensor, "batch *time heads key"],
    value: Float[Tensor, "batch *time heads value"],
    *,
    write: Float[Tensor, "batch *time heads slots"],
    log_decay: Float[Tensor, "batch *time heads slots"],
    initial: tuple[Tensor, Tensor],
    run: Run,
    scale: float = 1.0,
) -> tuple[Float[Tensor, "batch *time heads value"], tuple[Tensor, Tensor]]:
    """Return  V_t^T softmax(scale * K_t^T q_t)  and the last K and V.

    Both are slots that forget by exp(log_decay) and take in by `write`: K_t, (key, slots), the key;
    V_t, (slots, value), the value. So there are two passes of linear attention; of the first, the
    values are what is written, and the decay is theirs.
    """
    K, V = initial
    theirs = log_decay[..., None, :].expand(*log_decay.shape[:-1], key.shape[-1], -1)
    scores, K = run(linear_attention, query, key, write, log_decay=theirs, scale=scale, initial=K)
    weight = scores.softmax(-1)
    read, V = run(linear_attention, weight, write, value, log_decay=log_decay, initial=V)
    return read, (K, V)
