r"""Mega: attention within chunks whose queries and keys are moving averages of the input.

Ma et al., "Mega: Moving Average Equipped Gated Attention", 2022, arXiv:2209.10655, sections 3.1 to
3.4, for one direction.

    m_t = damped_ema(x_t)
    z_t = silu(W_z m_t + b_z)
    q_t, k_t = scale_q * z_t + offset_q, scale_k * z_t + offset_k
    v_t = silu(W_v x_t + b_v)
    a_t = sum_s softmax_s(q_t . k_s / sqrt(key) + nearness_{t-s}) v_s      s <= t in t's chunk
    r_t, u_t = silu(W_r m_t + b_r), sigmoid(W_u m_t + b_u)
    h_t = silu(W_h m_t + b_h + W_a (r_t * a_t))
    y_t = u_t * (h_t - x_t)

Chunks begin at the start and at resets, and after every `chunk` inputs.

Family   attention
Forms    convolution and chunks; scan and chunks; step
State    h of the averages, (batch, dim, state); keys, (batch, chunk, key), and values, (batch,
         chunk, hidden), of the chunk in progress; position, (batch,), of the next input:
         dim * state + chunk * (key + hidden) + 1 numbers
Cost     O(time dim (log time + dim + hidden) + time chunk (key + hidden)) work in `forward`;
         O(dim (state + dim + hidden) + chunk (key + hidden)) in `step`
Differs  The residual is the block's: what the paper answers, u h + (1 - u) x, is x + y here, with
         the x that was given, which a stack has normalized. Softmax, not Laplace; the simple bias.
See also damped_ema.py, tcnca.py, attention.py
"""

from collections.abc import Mapping
from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

from statewise.mixers.damped_ema import DampedEMA, DampedEMAState
from statewise.mixers.parts.gated_attention import GatedAttention
from statewise.mixers.parts.recurrent import Run


class MegaState(NamedTuple):
    """What Mega remembers."""

    h: Float[Tensor, "batch dim state"]
    keys: Float[Tensor, "batch chunk key"]
    values: Float[Tensor, "batch chunk hidden"]
    position: Int[Tensor, " batch"]


class Mega(GatedAttention[MegaState]):
    """Moving average equipped gated attention.

    Args:
        dim: features read and answered.
        state: moving averages of each feature.
        chunk: how many inputs attend to one another.
        hidden: features of values; twice `dim` if absent.
        key: features of queries and keys; a quarter of `dim` if absent.
    """

    remembers = MegaState

    def __init__(
        self,
        dim: int,
        *,
        state: int = 16,
        chunk: int = 128,
        hidden: int | None = None,
        key: int | None = None,
    ):
        super().__init__(dim, chunk, hidden, key)
        self.average = DampedEMA(dim, state=state)

    def memory_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of the averages."""
        return self.average.shapes()

    def memory(
        self, x: Float[Tensor, "batch *time dim"], state: MegaState, run: Run
    ) -> tuple[Float[Tensor, "batch *time dim"], tuple[Tensor, ...]]:
        """Return the moving averages."""
        return self.average.mix(x, DampedEMAState(state.h), run)

    @classmethod
    def example(cls) -> "Mega":
        """Return a small instance."""
        return cls(dim=4, state=2, chunk=5, key=3)
