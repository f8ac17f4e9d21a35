r"""Mixture of experts: each position by itself, through a few feed-forward layers of many.

Shazeer et al., "Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer",
2017, arXiv:1701.06538, section 2; with the experts and the routing of Lieber et al., "Jamba: A
Hybrid Transformer-Mamba Language Model", 2024, arXiv:2403.19887, section 2; the balance from Fedus
et al., "Switch Transformers", 2021, arXiv:2101.03961, section 2.2, equations 4 to 6, and
the expert that is shared by all positions, behind a gate, from Qwen Team, "Qwen1.5-MoE", 2024.

    p_t = softmax(W_r x_t)                                          a number for each expert
    y_t = sum_e p_te W_out,e [silu(W_gate,e x_t) * W_value,e x_t]   over the `chosen` largest p_te
          + sigmoid(w_s . x_t) shared(x_t)                          one more, if asked for

    balance = experts sum_e f_e P_e      f_e the share of choices that fell on e, P_e the mean p_te

The balance is 1 where all experts serve alike; `balanced(model)` collects it while a model trains.

Family   part
Forms    all positions at once; step
State    none
Cost     O(time chosen expansion dim^2) work in `forward`; O(chosen expansion dim^2) in `step`;
         under torch.compile and torch.func every expert computes every position
Differs  Every position is served: no expert is ever full. The router answers in float32.
See also gated_feed_forward.py
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import one_hot, silu

from statewise import backends
from statewise.mixers.base import state_dtype
from statewise.mixers.gated_feed_forward import GatedFeedForward
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.positionwise import Positionwise
from statewise.ops.linear import linear


class MixtureState(NamedTuple):
    """Nothing."""


class Mixture(Positionwise[MixtureState]):
    """Gated feed-forward layers, of which each position takes a few.

    Args:
        dim: features read and answered.
        experts: how many layers there are.
        chosen: how many serve a position.
        expansion: width of each one's inner layer, in multiples of `dim`.
        normalized: whether the weights of those chosen are divided by their sum, as in Mixtral.
        shared_expansion: the same of an expert that serves every position; none if absent.
    """

    remembers = MixtureState

    def __init__(
        self,
        dim: int,
        *,
        experts: int = 16,
        chosen: int = 2,
        expansion: float = 8 / 3,
        normalized: bool = False,
        shared_expansion: float | int | None = None,
    ):
        super().__init__()
        hidden = round(expansion * dim)
        if hidden < 1:
            raise ValueError(f"mixture: expansion = {expansion} leaves no inner features")
        if not 1 <= chosen <= experts:
            raise ValueError(f"mixture: chosen = {chosen} should be from 1 to experts = {experts}")
        self.dim = self.out = dim
        self.chosen, self.normalized = chosen, normalized
        self.router = Router(dim, experts)
        # As nn.Linear starts, each expert by itself.
        self.widen = nn.Parameter(_uniform(experts, 2 * hidden, dim))
        self.narrow = nn.Parameter(_uniform(experts, dim, hidden))
        self.shared = self.shared_gate = None
        if shared_expansion is not None:
            self.shared = GatedFeedForward(dim, expansion=shared_expansion)
            self.shared_gate = Linear(dim, 1, bias=False)

    def at(self, x: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes dim"]:
        """Map positions."""
        y = self._chosen(x)
        if self.shared is not None and self.shared_gate is not None:
            y = y + self.shared_gate(x).sigmoid() * self.shared.at(x)
        return y

    def _chosen(self, x: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes dim"]:
        """Return the answers of the experts that each position chooses."""
        share, expert = self.router(x).softmax(-1).topk(self.chosen, -1)
        if self.normalized:
            share = share / share.sum(-1, keepdim=True)
        if torch.compiler.is_compiling() or backends.transformed():
            return self._by_all(x, share.to(x.dtype), expert)
        flat = x.flatten(0, -2)
        share, expert = share.to(x.dtype).flatten(0, -2), expert.flatten(0, -2)
        return self._by_chosen(flat, share, expert).view_as(x)

    def _by_chosen(
        self,
        x: Float[Tensor, "positions dim"],
        share: Float[Tensor, "positions chosen"],
        expert: Int[Tensor, "positions chosen"],
    ) -> Float[Tensor, "positions dim"]:
        """Return the answers, each expert computing the positions that chose it."""
        y = torch.zeros_like(x)
        for e in expert.unique().tolist():  # a step asks few of many
            position, place = (expert == e).nonzero(as_tuple=True)
            gate, value = linear(x[position], self.widen[e]).chunk(2, -1)
            served = linear(silu(gate) * value, self.narrow[e])
            y = y.index_add(0, position, share[position, place, None] * served)
        return y

    def _by_all(
        self,
        x: Float[Tensor, "*axes dim"],
        share: Float[Tensor, "*axes chosen"],
        expert: Int[Tensor, "*axes chosen"],
    ) -> Float[Tensor, "*axes dim"]:
        """Return the same with every expert computing every position, in shapes known before."""
        gate, value = torch.einsum("...i,eoi->...eo", x, self.widen).chunk(2, -1)
        served = torch.einsum("...eh,eoh->...eo", silu(gate) * value, self.narrow)
        picked = one_hot(expert, len(self.widen)).to(x.dtype)
        return torch.einsum("...eo,...ce,...c->...o", served, picked, share)

    @classmethod
    def example(cls) -> "Mixture":
        """Return a small instance."""
        return cls(dim=4, experts=3, expansion=1.0)


class Router(nn.Module):
    """W_r, whose logits are in float32 or wider: what is near a tie should not be rounded.

    Args:
        dim: features read.
        experts: numbers answered.
    """

    def __init__(self, dim: int, experts: int):
        super().__init__()
        self.weight = nn.Parameter(_uniform(experts, dim))

    def forward(self, x: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes experts"]:
        """Return the logits."""
        wide = state_dtype(x.dtype)
        return linear(x.to(wide), self.weight.to(wide))


@contextmanager
def balanced(model: nn.Module) -> Iterator[list[Float[Tensor, ""]]]:
    """Collect the balance of every mixture in a model, at each call while the context lasts.

        with balanced(model) as balances:
            y, _ = model(x)
        loss = loss + 0.01 * sum(balances)

    Positions that are padding count as those of zeros do.
    """
    found: list[Tensor] = []
    handles = []
    for mixture in model.modules():
        if isinstance(mixture, Mixture):

            def keep(_: nn.Module, x: Any, logits: Tensor, chosen: int = mixture.chosen) -> None:
                found.append(balance(logits.flatten(0, -2), chosen))

            handles.append(mixture.router.register_forward_hook(keep))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def balance(logits: Float[Tensor, "positions experts"], chosen: int) -> Float[Tensor, ""]:
    """Return experts times the sum of f_e P_e: 1 where all serve alike, at most `experts`."""
    p, experts = logits.softmax(-1), logits.shape[-1]
    served = one_hot(p.topk(chosen, -1).indices, experts).to(p.dtype).sum(1) / chosen
    return experts * (served.mean(0) * p.mean(0)).sum()


def _uniform(*shape: int) -> Tensor:
    return torch.empty(shape).uniform_(-1, 1) * shape[-1] ** -0.5
