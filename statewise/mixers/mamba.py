r"""Mamba: a short convolution and a selective state-space layer, multiplied by a gate.

Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023,
arXiv:2312.00752, section 3.4 and figure 3.

    u_t, z_t = W_in x_t                              inner features each
    v_t = silu(short_convolution(u)_t)
    y_t = W_out [S6(v)_t * silu(z_t)]

S6 stands in s6.py: 16 numbers for each inner feature, with A from -1 to -16 at the start.

Family   linear diagonal
Forms    scan; step
State    past, (batch, width - 1, inner): the last u; h, (batch, inner, state)
         inner (width - 1 + state) numbers
Cost     O(time inner (dim + state)) work in `forward`; O(inner (dim + state)) in `step`
Differs  The residual and the norm around it are the stack's; W_out is not scaled by depth.
See also s6.py, short_convolution.py, longhorn.py, hawk.py
"""

from collections.abc import Mapping
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from statewise.mixers.parts.mamba_block import MambaBlock
from statewise.mixers.parts.recurrent import Run
from statewise.mixers.s6 import S6, S6State


class MambaState(NamedTuple):
    """What a Mamba block remembers."""

    past: Float[Tensor, "batch past inner"]
    h: Float[Tensor, "batch inner state"]


class Mamba(MambaBlock[MambaState]):
    """Mamba block.

    Args:
        dim: features read and answered.
        expansion: inner features for each feature.
        state: numbers remembered of each inner feature.
        width: how many inputs the convolution reads.
        rank: features between the two maps to the step size; a sixteenth of `dim` if absent.
        epsilon: of S6, as Falcon-Mamba has it; nothing is divided if absent.
    """

    remembers = MambaState

    def __init__(
        self,
        dim: int,
        *,
        expansion: float = 2.0,
        state: int = 16,
        width: int = 4,
        rank: int | None = None,
        epsilon: float | None = None,
    ):
        super().__init__("mamba", dim, expansion, width)
        rank = -(-dim // 16) if rank is None else rank
        self.selective = S6(self.inner, state=state, rank=rank, epsilon=epsilon)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of the convolution's inputs and of h."""
        return {**self.convolution.shapes(), **self.selective.shapes()}

    def memory(
        self,
        v: Float[Tensor, "batch *time inner"],
        z: Float[Tensor, "batch *time inner"],
        state: MambaState,
        run: Run,
    ) -> tuple[Float[Tensor, "batch *time inner"], Tensor]:
        """Return what S6 answers."""
        y, (h,) = self.selective.mix(v, S6State(state.h), run, z)
        return y, h

    @classmethod
    def example(cls) -> "Mamba":
        """Return a small instance."""
        return cls(dim=4, state=3)
