r"""Aaren: softmax attention whose query is learned and the same at all times, as a recurrence.

Feng et al., "Attention as an RNN", 2024, arXiv:2405.13956, section 3.

    k_t, v_t = W_k x_t, W_v x_t                      of each head
    s_t = q . k_t / sqrt(key)                        q a parameter of each head
    m_t = max(m_{t-1}, s_t)
    u_t = exp(m_{t-1} - m_t) u_{t-1} + exp(s_t - m_t)
    w_t = exp(m_{t-1} - m_t) w_{t-1} + exp(s_t - m_t) v_t
    y_t = W_out [w_t / u_t]                          heads side by side

So y_t is softmax attention to all inputs so far. q starts normal.

Family   attention
Forms    scan; step
State    maximum m, (batch, heads), -inf at the start; total u, (batch, heads); weighted w, (batch,
         heads, value): dim + 2 heads numbers
Cost     O(time dim^2) work and O(log time) depth in `forward`; O(dim^2) in `step`
Differs  The query is a parameter for each head. In the paper's stack it is a token that each layer
         maps and hands on to the next.
See also attention.py, lightnet.py
"""

import math
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.heads import Projections
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.recurrent import Recurrent, Run, divided
from statewise.ops.semiring import SoftmaxState, softmax_scan


class AarenState(NamedTuple):
    """What Aaren remembers."""

    maximum: Float[Tensor, "batch heads"]
    total: Float[Tensor, "batch heads"]
    weighted: Float[Tensor, "batch heads value"]


class Aaren(Recurrent[AarenState]):
    """Attention as a recurrent network.

    Args:
        dim: features read and answered.
        heads: parts of the features that attend apart.
    """

    remembers = AarenState
    starts: ClassVar[Mapping[str, float]] = {"maximum": -math.inf}

    def __init__(self, dim: int, *, heads: int = 4):
        super().__init__()
        self.dim = self.out = dim
        self.heads = heads
        divided("aaren", heads, dim=dim)
        self.key_value = Projections(dim, heads, dim, dim)
        self.query = nn.Parameter(torch.randn(heads, dim // heads))
        self.output = Linear(dim, dim, bias=False)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of m, u and w."""
        heads = (self.heads,)
        return {"maximum": heads, "total": heads, "weighted": (*heads, self.dim // self.heads)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: AarenState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], AarenState]:
        """Map inputs."""
        key, value = self.key_value(x)
        wide = state_dtype(x.dtype)
        score = (key.to(wide) * self.query.to(wide)).sum(-1) / key.shape[-1] ** 0.5
        read, after = run(softmax_scan, score, value, initial=SoftmaxState(*state))
        return self.output(read.flatten(-2)), AarenState(*after)

    @classmethod
    def example(cls) -> "Aaren":
        """Return a small instance."""
        return cls(dim=6, heads=2)
