r"""N-gram heads: what followed on average, so far, where the last n - 1 inputs were these.

Akyürek, Wang, Kim and Andreas, "In-Context Language Learning: Architectures and Algorithms", 2024,
arXiv:2401.12973, section 6, where they stand within transformers and recurrent models alike.

    c_t = the signs of R x_t                            a number of `bits` bits; R is never trained
    s^n_t = hash(c_t, ..., c_{t-n+2}) mod slots         of each order n; the same for n = 1
    a^n_t = mean of x_u over u <= t with s^n_{u-1} = s^n_t          zero where there is none
    y_t = W [x_t, a^n_t, ...]                           of all orders side by side

After the embedding, where equal symbols are equal vectors, this is the evidence of an n-gram model
that counts in the context alone: a^n_t averages the symbols that followed the last n - 1. It is a
linear attention whose keys and queries are each one of so many slots.

Family   matrix state
Forms    chunkwise; step
State    S, (batch, orders, slots, dim + 1): sums of what followed, and last how many there were;
         codes, (batch, longest order - 1): the last ones
Cost     O(time orders slots dim) work in `forward`, O(orders slots dim) in `step`, for the reading;
         O(orders dim^2) each for W
Differs  The paper compares symbols, and keeps all of them. Here inputs are the same when all signs
         are, so that rounding does not part them; the state is of one size; and contexts that share
         a slot count as one: few where there are many more slots than contexts. W starts at zero,
         our choice: with Xavier's start two layers of retention learned bytes more slowly than
         without the heads, 2.75 bits after 200 steps and 2.66.
See also linear_attention.py, abc.py, attention.py
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.recurrent import Recurrent, Run, shifted
from statewise.ops.linear import linear
from statewise.ops.linear_attention import linear_attention


class NgramHeadState(NamedTuple):
    """What n-gram heads remember."""

    S: Float[Tensor, "batch orders slots value"]
    codes: Float[Tensor, "batch past"]


class NgramHead(Recurrent[NgramHeadState]):
    """Averages of what followed the last inputs, wherever they were the same.

    Args:
        dim: features read and answered.
        orders: of the n-grams, what follows included: 1 looks at nothing, 2 at the present input.
        slots: of each order, that contexts are told apart by.
        bits: signs that inputs are told apart by; at most 24.
    """

    remembers = NgramHeadState

    def __init__(
        self, dim: int, *, orders: Sequence[int] = (1, 2, 3), slots: int = 512, bits: int = 16
    ):
        super().__init__()
        if not orders or min(orders) < 1 or len(set(orders)) < len(orders):
            raise ValueError(f"ngram_head: orders = {orders} should differ, and be 1 or more")
        if slots < 1 or not 1 <= bits <= 24:
            raise ValueError(
                f"ngram_head: slots = {slots} should be at least 1, and bits = {bits} from 1 to 24"
            )
        self.dim = self.out = dim
        self.orders, self.slots = tuple(orders), slots
        self.register_buffer("planes", torch.randn(bits, dim))
        self.output = Linear((1 + len(self.orders)) * dim, dim, bias=False)
        nn.init.zeros_(self.output.weight)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of the sums and the last codes."""
        sums = (len(self.orders), self.slots, self.dim + 1)
        return {"S": sums, "codes": (max(self.orders) - 1,)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: NgramHeadState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], NgramHeadState]:
        """Map inputs."""
        wide = state_dtype(x.dtype)
        planes = self.get_buffer("planes").to(wide)
        signs = (linear(x.to(wide), planes) > 0).to(wide)
        # One more, so that zero stands for what is before the start.
        codes = [1 + (signs * torch.arange(len(planes), device=x.device).exp2()).sum(-1, True)]
        last: list[Tensor] = []
        for ago in range(max(self.orders) - 1):
            before, now = shifted(codes[-1], state.codes[:, ago, None], run)
            codes.append(before)
            last.append(now)
        query, key = self._slots(codes, 0), self._slots(codes, 1)
        value = torch.cat([x.to(wide), torch.ones_like(codes[0])], -1)[..., None, :]
        value = value.expand(*query.shape[:-1], -1)
        read, S = run(linear_attention, query, key, value, initial=state.S)
        # Not the op that divides: where nothing is counted, its quotient has no derivative.
        found = read[..., :-1] / read[..., -1:].clamp(min=0.5)
        y = self.output(torch.cat([x, found.flatten(-2).to(x.dtype)], -1))
        return y, NgramHeadState(S, torch.cat([state.codes[:, :0], *last], -1))

    def _slots(
        self, codes: Sequence[Float[Tensor, "*axes one"]], ago: int
    ) -> Float[Tensor, "*axes orders slots"]:
        """Return which slot the context of each order is in: one there, zero elsewhere.

        Args:
            codes: of the last inputs, the last one first.
            ago: how many of them came after the context.
        """
        contexts: list[Tensor] = []
        for n in self.orders:
            mixed = torch.zeros_like(codes[0], dtype=torch.int64)
            for code in codes[ago : ago + n - 1]:
                # As Lehmer's generator: multiplied anew with each code, so that their order counts.
                mixed = (mixed + code.round().long()) * 48_271 % 2_147_483_647
            contexts.append(mixed % self.slots)
        slots = torch.arange(self.slots, device=codes[0].device)
        return (torch.stack(contexts, -2) == slots).to(codes[0].dtype)

    @classmethod
    def example(cls) -> "NgramHead":
        """Return a small instance, in which contexts meet."""
        return cls(dim=4, slots=3, bits=2)
