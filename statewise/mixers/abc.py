r"""ABC: attention to a few slots, each a mean of keys and of values, with learned weights.

Peng et al., "ABC: Attention with Bounded-memory Control", ACL 2022, arXiv:2110.02488, sections 3
and 4.

    q_t, k_t, v_t, s_t = W_q x_t, W_k x_t, W_v x_t, W_s x_t          of each head; s of each slot
    z_t = log(exp(z_{t-1}) + exp(s_t))
    K_t = diag(exp(z_{t-1} - z_t)) K_{t-1} + exp(s_t - z_t) k_t^T    slots by key
    V_t = diag(exp(z_{t-1} - z_t)) V_{t-1} + exp(s_t - z_t) v_t^T    slots by value
    o_t = V_t^T softmax(K_t q_t / sqrt(key))
    y_t = W_out o_t                                                  heads side by side

So each slot holds the mean of all keys so far, and of all values, weighted by exp(s).

Family   matrix state
Forms    chunkwise, in two passes; step
State    K, (batch, heads, key, slots), its transpose; V, (batch, heads, slots, value); z, (batch,
         heads, slots), the logarithm of the sum of the weights, -inf at the start: 2 dim slots +
         heads slots numbers
Cost     O(time dim (dim + slots)) work in `forward`; O(dim (dim + slots)) in `step`
Differs  s is cut off at 32 in size. No positions.
See also gsa.py, lightnet.py
"""

import math
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

from jaxtyping import Float
from torch import Tensor

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.averages import averaging
from statewise.mixers.parts.recurrent import Run
from statewise.mixers.parts.slots import Slots, through_slots


class ABCState(NamedTuple):
    """What attention with bounded-memory control remembers."""

    K: Float[Tensor, "batch heads key slots"]
    V: Float[Tensor, "batch heads slots value"]
    z: Float[Tensor, "batch heads slots"]


class ABC(Slots[ABCState]):
    """Attention with bounded-memory control.

    Args:
        dim: features read and answered.
        heads: parts of the features that remember apart.
        slots: how many keys and values each head keeps.
    """

    remembers = ABCState
    starts: ClassVar[Mapping[str, float]] = {"z": -math.inf}

    def __init__(self, dim: int, *, heads: int = 4, slots: int = 64):
        super().__init__("abc", dim, heads, slots)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of K, V and z."""
        return {**super().shapes(), "z": (self.heads, self.slots)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: ABCState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], ABCState]:
        """Map inputs."""
        query, key, value, s = self.project(x)
        s = s.to(state_dtype(x.dtype)).clamp(-32, 32)
        write, log_decay, z = averaging(s, state.z, run)
        o, (K, V) = through_slots(
            query,
            key,
            value,
            write=write,
            log_decay=log_decay,
            initial=(state.K, state.V),
            run=run,
            scale=query.shape[-1] ** -0.5,
        )
        return self.output(o.flatten(-2)), ABCState(K, V, z)

    @classmethod
    def example(cls) -> "ABC":
        """Return a small instance."""
        return cls(dim=6, heads=2, slots=3)
