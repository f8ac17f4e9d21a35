r"""Recoding: before each input, h moves to where it would have predicted that input better.

"Recoding latent sentence representations - Dynamic gradient-based activation modification in RNNs",
2021, arXiv:2101.00674, section 3, with the error of predicted features.

    e_t = P h_{t-1} + p - x_t                     what h predicted of x_t, less x_t
    delta_t = |e_t|^2 / 2
    h'_{t-1} = h_{t-1} - alpha d delta_t / d h_{t-1} = h_{t-1} - alpha P^T e_t
    y_t, s_t = mixer(x_t, s_{t-1} with h'_{t-1})

P, p and alpha are learned with the rest, through the correction; alpha = exp of a parameter.

Family   part
Forms    program; step
State    that of its mixer
Cost     that of its mixer, and O(hidden dim) work for each input
Differs  The paper's errors are the surprisal of a token, or the disagreement of predictions under
         dropout; here inputs are features, and their squared error has its gradient in one line.
See also zoneout.py
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise import mixers
from statewise.mixers.parts.around import Around


class Recoding(Around[Any]):
    """A mixer whose h is corrected by the gradient of what it predicted wrongly.

    Args:
        dim: features read.
        mixer: a name, `{"name": ..., option: value}`, a class or a callable; its state has an h of
            numbers side by side.
        rate: alpha at the start.
    """

    def __init__(self, dim: int, mixer: "mixers.Spec" = "lstm", *, rate: float = 0.1):
        super().__init__(dim, mixer)
        if rate <= 0:
            raise ValueError(f"recoding: rate = {rate} should be above 0")
        h = getattr(self.initial_state(1), "h", None)
        if h is None or h.ndim < 2 or not h.is_floating_point():
            raise ValueError(f"recoding: mixer {mixer!r} has no h of real numbers in its state")
        self.predict = nn.Linear(h.numel(), dim)
        self.log_rate = nn.Parameter(torch.tensor(math.log(rate)))

    def cell(
        self, x: Float[Tensor, "batch dim"], state: Any
    ) -> tuple[Float[Tensor, "batch out"], Any]:
        """Map one input."""
        h = state.h.flatten(1)
        error = self.predict(h) - x
        h = h - self.log_rate.exp() * (error @ self.predict.weight)
        return self.inner(x, state._replace(h=h.view_as(state.h)))

    @classmethod
    def example(cls) -> "Recoding":
        """Return a small instance."""
        return cls(dim=4)
