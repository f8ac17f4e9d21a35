r"""Stacked bidirectional mixers: each layer reads both ways, and may read all layers below.

Ding et al., "Densely Connected Bidirectional LSTM with Applications to Sentence Classification",
2018, arXiv:1802.00889, section 3: with dense wiring and an LSTM, their DC-Bi-LSTM, which trains at
20 layers, where plainly stacked ones do not.

    x^1 = x,  y^l_t = [left^l(x^l_1 ... x^l_t), right^l(x^l_T ... x^l_t)]
    x^{l+1} = y^l                 plain
    x^{l+1} = x^l + y^l           residual
    x^{l+1} = [x^l, y^l]          dense: x and the answers of all layers below
    y = y^L, or x^L + y^L where residual

The paper's layers have 13 units in each direction below a top of 100, whose answers are averaged
over time for a class.

Family   part
Forms    that of its mixer, in both directions
State    none: it reads the whole sequence before it answers
Cost     that of all layers, in both directions
Differs  All layers have one size. The average over time is left to the model.
See also bidirectional.py, stacked.py
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

from statewise import mixers
from statewise.mixers.base import WholeSequence, blank
from statewise.mixers.bidirectional import Bidirectional
from statewise.mixers.parts.wiring import Wiring, above, answered, layers


class StackedBidirectional(WholeSequence):
    """Layers that read in both directions.

    Args:
        dim: features read.
        mixer: a name, `{"name": ..., option: value}`, a class or a callable, of each direction of
            each layer; it has to be causal.
        depth: how many layers.
        wiring: what a layer reads: "plain", "residual" or "dense".
    """

    def __init__(
        self,
        dim: int,
        mixer: "mixers.Spec" = "lstm",
        *,
        depth: int = 2,
        wiring: Wiring = "dense",
    ):
        super().__init__()

        def both_ways(dim: int) -> Bidirectional:
            return Bidirectional(dim, mixer)

        self.layers = layers("stacked_bidirectional", both_ways, dim, depth=depth, wiring=wiring)
        self.dim, self.wiring = dim, wiring
        self.out = answered(self.layers)

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        *,
        lengths: Int[Tensor, " batch"] | None = None,
        reset: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch time out"]:
        """Map a whole sequence, layer by layer."""
        y = x
        for place, layer in enumerate(self.layers):
            x = above(self.wiring, x, y) if place else x
            y = layer(x, lengths=lengths, reset=reset)
        return blank(x + y, lengths) if self.wiring == "residual" else y

    @classmethod
    def example(cls) -> "StackedBidirectional":
        """Return a small instance."""
        return cls(dim=4, mixer={"name": "lstm", "hidden": 3}, depth=3)
