r"""TCNCA: attention within chunks whose queries and keys come from dilated convolutions.

Terzic et al., "TCNCA: Temporal Convolution Network with Chunked Attention for Scalable Sequence
Processing", 2023, arXiv:2312.05605, abstract: Mega's block, with this for its moving averages,

    c_t = b + sum_{j < width} w_j * m_{t - (width - 1 - j) dilation^l}      of layer l = 0, 1, ...
    m_t = m_t + silu(c_t)                                                  m = x before the first

and everything after m as in mega.py. Chunks begin at the start and at resets, and after every
`chunk` inputs. A layer sees zeros before the start or a reset.

Family   attention
Forms    all positions at once, in chunks; step
State    past, (batch, (width - 1) (dilation^layers - 1) / (dilation - 1), dim): the last inputs of
         every layer, one layer after another; keys, (batch, chunk, key), values, (batch, chunk,
         hidden), and position, (batch,), as in mega.py: dim times the first, and chunk * (key +
         hidden) + 1 numbers
Cost     O(time dim (width dilation^layers + dim + hidden) + time chunk (key + hidden)) work in
         `forward`, since gaps are multiplied as zeros; O(past dim + dim (dim + hidden) + chunk (key
         + hidden)) in `step`
Differs  Written from the abstract and from Mega's equations: one depthwise convolution a layer,
         SiLU, a residual and no norm are choices made here.
See also mega.py, short_convolution.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from statewise.mixers.parts.gated_attention import GatedAttention
from statewise.mixers.parts.recurrent import Run
from statewise.ops.convolution import short_convolution


class TCNCAState(NamedTuple):
    """What TCNCA remembers."""

    past: Float[Tensor, "batch past dim"]
    keys: Float[Tensor, "batch chunk key"]
    values: Float[Tensor, "batch chunk hidden"]
    position: Int[Tensor, " batch"]


class TCNCA(GatedAttention[TCNCAState]):
    """Temporal convolution network with chunked attention.

    Args:
        dim: features read and answered.
        layers: convolutions, one after another.
        width: taps of each.
        dilation: how many times farther apart the taps of each layer are than those of the last.
        chunk: how many inputs attend to one another.
        hidden: features of values; twice `dim` if absent.
        key: features of queries and keys; a quarter of `dim` if absent.
    """

    remembers = TCNCAState

    def __init__(
        self,
        dim: int,
        *,
        layers: int = 4,
        width: int = 3,
        dilation: int = 2,
        chunk: int = 128,
        hidden: int | None = None,
        key: int | None = None,
    ):
        super().__init__(dim, chunk, hidden, key)
        if min(layers, width, dilation) < 1:
            raise ValueError(
                f"tcnca: layers = {layers}, width = {width} and dilation = {dilation} should be at "
                "least 1"
            )
        self.dilation = dilation
        self.pasts = [(width - 1) * dilation**layer for layer in range(layers)]
        bound = width**-0.5
        self.weight = nn.Parameter(torch.empty(layers, dim, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(layers, dim))

    def memory_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of all layers' inputs."""
        return {"past": (sum(self.pasts), self.dim)}

    def memory(
        self, x: Float[Tensor, "batch *time dim"], state: TCNCAState, run: Run
    ) -> tuple[Float[Tensor, "batch *time dim"], tuple[Tensor, ...]]:
        """Return the last layer's answers."""
        after = []
        pasts = state.past.split(self.pasts, 1)
        for layer, (weight, bias, past) in enumerate(
            zip(self.weight, self.bias, pasts, strict=True)
        ):
            # Zeros in the gaps between taps.
            gap = self.dilation**layer - 1
            taps = pad(weight[..., None], (gap, 0)).flatten(-2)[..., gap:]
            y, past = run(short_convolution, x, taps, bias, initial=past)
            x = x + silu(y)
            after.append(past)
        return x, (torch.cat(after, 1),)

    @classmethod
    def example(cls) -> "TCNCA":
        """Return a small instance."""
        return cls(dim=4, layers=2, chunk=5, key=3)
