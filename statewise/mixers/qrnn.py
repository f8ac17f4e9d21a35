r"""QRNN: gates from a convolution over the last inputs, and a recurrence that only pools.

Bradbury et al., "Quasi-Recurrent Neural Networks", 2016, arXiv:1611.01576, section 2.

    z_t, f_t, o_t, i_t = tanh, sigmoid, sigmoid, sigmoid of W [x_{t-width+1}, ..., x_t] + b
    c_t = f_t * c_{t-1} + (1 - f_t) * z_t                    f- and fo-pooling
    c_t = f_t * c_{t-1} + i_t * z_t                          ifo-pooling
    y_t = c_t  or, with an o, o_t * c_t

Where gates are absent from the pooling's name, they are not computed. In training, zoneout sets
gates f to one, at random, and rescales nothing.

Family   linear diagonal
Forms    scan; step
State    past, (batch, width - 1, dim): the last inputs; c, (batch, hidden)
         (width - 1) dim + hidden numbers
Cost     O(time width dim hidden) work in `forward`; O(width dim hidden) in `step`
Differs  No dense connections and no attention: they are the stack's. Biases, torch's start.
See also sru.py, min_gru.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import dropout

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.recurrent import Recurrent, Run
from statewise.ops.convolution import short_convolution
from statewise.ops.scan import scan


class QRNNState(NamedTuple):
    """What a quasi-recurrent layer remembers."""

    past: Float[Tensor, "batch past dim"]
    c: Float[Tensor, "batch hidden"]


class QRNN(Recurrent[QRNNState]):
    """Quasi-recurrent layer.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        width: how many inputs the gates read.
        pooling: "f", "fo" or "ifo": the gates there are.
        zoneout: in training, the share of gates f that are one.
    """

    remembers = QRNNState

    def __init__(
        self,
        dim: int,
        *,
        hidden: int | None = None,
        width: int = 2,
        pooling: str = "fo",
        zoneout: float = 0.0,
    ):
        super().__init__()
        if pooling not in ("f", "fo", "ifo"):
            raise ValueError(f"qrnn: pooling = {pooling!r} should be 'f', 'fo' or 'ifo'")
        if width < 1:
            raise ValueError(f"qrnn: width = {width} should be at least 1")
        if not 0 <= zoneout <= 1:
            raise ValueError(f"qrnn: zoneout = {zoneout} should be in [0, 1]")
        self.dim = dim
        self.out = self.hidden = dim if hidden is None else hidden
        self.width, self.pooling, self.zoneout = width, pooling, zoneout
        self.gates = Linear(width * dim, (1 + len(pooling)) * self.hidden)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of the inputs before the present one and of c."""
        return {"past": (self.width - 1, self.dim), "c": (self.hidden,)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: QRNNState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], QRNNState]:
        """Map inputs."""
        # One tap alone gives the inputs of one time before; side by side they are the window.
        taps = torch.eye(self.width, dtype=state_dtype(x.dtype), device=x.device)
        shifts = [
            run(short_convolution, x, tap.expand(self.dim, -1), initial=state.past) for tap in taps
        ]
        gates = self.gates(torch.cat([window for window, _ in shifts], -1))
        z, f, *rest = gates.to(state_dtype(x.dtype)).chunk(1 + len(self.pooling), -1)
        z, keep, take = z.tanh(), f.sigmoid(), (-f).sigmoid()
        if self.training and self.zoneout:
            kept = dropout(torch.ones_like(take), self.zoneout) * (1 - self.zoneout)
            keep, take = 1 - take * kept, take * kept
        if self.pooling == "ifo":
            take = rest[1].sigmoid()
        y, c = run(scan, keep, take * z, initial=state.c)
        y = y * rest[0].sigmoid() if rest else y
        return y.to(x.dtype), QRNNState(shifts[-1][1], c)

    @classmethod
    def example(cls) -> "QRNN":
        """Return a small instance."""
        return cls(dim=4, hidden=3)
