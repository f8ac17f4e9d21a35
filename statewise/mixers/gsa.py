r"""Gated slot attention: a softmax over a few slots, each of which forgets as it is written.

Zhang et al., "Gated Slot Attention for Efficient Linear-Time Sequence Modeling", 2024,
arXiv:2409.07146, section 3.

    q_t, k_t, v_t = silu(W_q x_t), silu(W_k x_t), silu(W_v x_t)      of each head
    a_t = sigmoid(W_a x_t) ** (1 / temperature)      of each slot
    K_t = diag(a_t) K_{t-1} + (1 - a_t) k_t^T        slots by key
    V_t = diag(a_t) V_{t-1} + (1 - a_t) v_t^T        slots by value
    o_t = V_t^T softmax(K_t q_t)
    y_t = W_out norm(silu(o_t))                      heads side by side

The norm divides all heads together by their root mean square.

Family   matrix state
Forms    chunkwise, in two passes; step
State    K, (batch, heads, key, slots), its transpose; V, (batch, heads, slots, value): 2 dim slots
         numbers
Cost     O(time dim (dim + slots)) work in `forward`; O(dim (dim + slots)) in `step`
See also abc.py, gla.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid, silu

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.norms import RMSNorm
from statewise.mixers.parts.recurrent import Run
from statewise.mixers.parts.slots import Slots, through_slots


class GSAState(NamedTuple):
    """What gated slot attention remembers."""

    K: Float[Tensor, "batch heads key slots"]
    V: Float[Tensor, "batch heads slots value"]


class GSA(Slots[GSAState]):
    """Gated slot attention.

    Args:
        dim: features read and answered.
        heads: parts of the features that remember apart.
        slots: how many keys and values each head keeps.
        temperature: what the logarithm of the gate is divided by; more forgets less.
    """

    remembers = GSAState

    def __init__(self, dim: int, *, heads: int = 4, slots: int = 64, temperature: float = 8):
        super().__init__("gsa", dim, heads, slots)
        self.temperature = temperature
        self.norm = RMSNorm(dim, eps=1e-5)

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: GSAState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], GSAState]:
        """Map inputs."""
        query, key, value, forget = self.project(x)
        log_decay = logsigmoid(forget.to(state_dtype(x.dtype))) / self.temperature
        o, after = through_slots(
            silu(query),
            silu(key),
            silu(value),
            write=-torch.expm1(log_decay),
            log_decay=log_decay,
            initial=state,
            run=run,
        )
        return self.output(self.norm(silu(o.flatten(-2)))), GSAState(*after)

    @classmethod
    def example(cls) -> "GSA":
        """Return a small instance."""
        return cls(dim=6, heads=2, slots=3)
