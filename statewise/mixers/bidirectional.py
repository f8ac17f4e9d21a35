r"""Bidirectional: one mixer reads from the left, another from the right; the answers are joined.

Schuster and Paliwal, "Bidirectional Recurrent Neural Networks", IEEE Transactions on Signal
Processing 45(11), 1997.

    y_t = [left(x_1 ... x_t), right(x_T ... x_t)]

Family   part
Forms    that of its mixer, in both directions
State    none: it reads the whole sequence before it answers
Cost     twice the mixer's
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from statewise import mixers
from statewise.mixers.base import Mixer, WholeSequence
from statewise.mixers.parts.both_ways import mirror


class Bidirectional(WholeSequence):
    """Two mixers of one kind, one in each direction.

    The backward one starts at each row's last real input. A reset before t parts t from t - 1 in
    both directions.

    Args:
        dim: features read; each direction answers with as many as the mixer does.
        mixer: a name, `{"name": ..., option: value}`, a class or a callable; it has to be causal.
    """

    def __init__(self, dim: int, mixer: "mixers.Spec" = "gru"):
        super().__init__()
        self.left, self.right = self._causal(mixer, dim), self._causal(mixer, dim)
        self.dim = dim
        self.out = self.left.out + self.right.out

    @staticmethod
    def _causal(spec: "mixers.Spec", dim: int) -> Mixer:
        mixer = mixers.build(spec, dim)
        if not isinstance(mixer, Mixer):
            raise ValueError(f"bidirectional: mixer {spec!r} reads whole sequences already")
        return mixer

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        *,
        lengths: Int[Tensor, " batch"] | None = None,
        reset: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch time out"]:
        """Map a whole sequence, from both ends."""
        left, _ = self.left(x, lengths=lengths, reset=reset)
        seen = mirror(x, lengths=lengths, reset=reset)
        right, _ = self.right(seen(x), lengths=lengths, reset=seen.reset)
        return torch.cat([left, seen(right)], 2)

    @classmethod
    def example(cls) -> "Bidirectional":
        """Return a small instance."""
        return cls(dim=4)
