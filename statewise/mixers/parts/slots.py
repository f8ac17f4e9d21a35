"""Attention over a few slots that are written as they forget: no mixer itself."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from statewise.mixers.base import State
from statewise.mixers.parts.heads import Projections
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.recurrent import Recurrent, Run, divided
from statewise.ops.linear_attention import linear_attention


class Slots(Recurrent[State]):
    """Heads that each keep a few keys and values: maps to what they are asked and told, and back.

    A subclass names its state, whose first leaves are K and V, and calls `through_slots` in `mix`.

    Args:
        mixer: its name, for what is refused.
        dim: features read and answered.
        heads: parts of the features that remember apart.
        slots: how many keys and values each head keeps.
    """

    def __init__(self, mixer: str, dim: int, heads: int, slots: int):
        super().__init__()
        divided(mixer, heads, dim=dim)
        if slots < 1:
            raise ValueError(f"{mixer}: slots = {slots} should be at least 1")
        self.dim = self.out = dim
        self.heads, self.slots = heads, slots
        self.project = Projections(dim, heads, dim, dim, dim, heads * slots)
        self.output = Linear(dim, dim, bias=False)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of K and V."""
        width = self.dim // self.heads
        return {"K": (self.heads, width, self.slots), "V": (self.heads, self.slots, width)}


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
