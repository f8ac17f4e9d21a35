"""Random numbers of a module's own, which nothing but its training moves: no mixer itself."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Draws(nn.Module):
    """A generator whose state is a buffer: it is saved with the weights, and resumes with them.

    Each module begins somewhere else, where the global generator says, as weights do.
    """

    seed: Tensor

    def __init__(self):
        super().__init__()
        self.register_buffer("seed", torch.randint(1 << 62, ()))

    def forward(self, *shape: int) -> Float[Tensor, "*shape"]:
        """Return numbers in [0, 1), others at each call."""
        device = self.seed.device
        generator = torch.Generator(device).manual_seed(int(self.seed))
        self.seed += 1
        return torch.rand(shape, generator=generator, device=device)
