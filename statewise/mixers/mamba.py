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

from statewise.mixers.parts.linear import stored
from statewise.mixers.parts.mamba_block import MambaBlock
from statewise.mixers.parts.recurrent import Run
from statewise.mixers.s6 import S6, S6State
from statewise.mixers.short_convolution import ShortConvolution
from statewise.ops.mamba_step import MambaWeights, mamba_step


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

    def step(
        self, x: Float[Tensor, "batch dim"], state: MambaState
    ) -> tuple[Float[Tensor, "batch out"], MambaState]:
        """Map one input."""
        weights = self._weights()
        if weights is not None:
            found = mamba_step(x, *state, weights, self.selective.epsilon)
            if found is not None:
                y, *after = found
                return y, MambaState(*after)
        return super().step(x, state)

    def _weights(self) -> MambaWeights | None:
        """Return all weights, unless a part was replaced or somebody watches its calls."""
        # By way of the dictionaries: to ask modules for them one by one takes as long as the step.
        convolution, selective = self._modules["convolution"], self._modules["selective"]
        if type(convolution) is not ShortConvolution or type(selective) is not S6:
            return None
        maps = (self._modules["input"], selective._modules["select"], self._modules["output"])
        enters, selects, leaves = map(stored, maps)
        if enters is None or selects is None or leaves is None:
            return None
        taps, given = convolution._parameters, selective._parameters
        return MambaWeights(
            *enters,
            taps["weight"],
            taps["bias"],
            *selects,
            given["step_weight"],
            given["step_bias"],
            given["log_rate"],
            given["skip"],
            *leaves,
        )

    @classmethod
    def example(cls) -> "Mamba":
        """Return a small instance."""
        return cls(dim=4, state=3)
