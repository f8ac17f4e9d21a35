"""Attention within chunks, read and gated by what a short memory makes of the input: Mega's block.

What Mega and TCNCA share, who differ in the memory. No mixer itself.
"""

import abc
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from statewise.mixers.base import State, state_dtype
from statewise.mixers.parts.chunk_attention import chunk_attention
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.recurrent import Recurrent, Run


class GatedAttention(Recurrent[State]):
    """A mixer that attends within chunks, with queries and keys made by a memory.

    A subclass writes `memory` and names its state: the leaves of `memory_shapes`, then `keys`,
    `values` and `position`.
    """

    counters = ("position",)

    def __init__(self, dim: int, chunk: int, hidden: int | None, key: int | None):
        super().__init__()
        if chunk < 1:
            raise ValueError(f"{type(self).__name__.lower()}: chunk = {chunk} should be at least 1")
        self.dim = self.out = dim
        self.chunk = chunk
        self.hidden = 2 * dim if hidden is None else hidden
        self.key = max(dim // 4, 1) if key is None else key
        self.gates = Linear(dim, 2 * dim + self.key + self.hidden)
        self.value = Linear(dim, self.hidden)
        self.read = Linear(self.hidden, dim, bias=False)
        for layer in (self.gates, self.value, self.read):
            nn.init.normal_(layer.weight, std=0.02)
        for layer in (self.gates, self.value):
            nn.init.zeros_(layer.bias)
        self.scale = nn.Parameter(0.02 * torch.randn(2, self.key))
        self.offset = nn.Parameter(torch.zeros(2, self.key))
        self.nearness = nn.Parameter(0.02 * torch.randn(chunk))

    @abc.abstractmethod
    def memory_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of the memory's leaves."""

    @abc.abstractmethod
    def memory(
        self, x: Float[Tensor, "batch *time dim"], state: Any, run: Run
    ) -> tuple[Float[Tensor, "batch *time dim"], tuple[Tensor, ...]]:
        """Return what the memory answers, and its leaves after that."""

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of the memory and of the chunk in progress."""
        chunk = {"keys": (self.chunk, self.key), "values": (self.chunk, self.hidden)}
        return {**self.memory_shapes(), **chunk, "position": ()}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: Any, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], State]:
        """Map inputs."""
        wide = state_dtype(x.dtype)
        m, leaves = self.memory(x, state, run)
        sizes = (self.dim, self.dim, self.key, self.hidden)
        u, direct, z, r = self.gates(m).split(sizes, -1)
        both = silu(z)[..., None, :] * self.scale + self.offset
        query, key = both.to(wide).unbind(-2)
        before = (state.keys, state.values, state.position)
        a, after = run(
            chunk_attention,
            query,
            key,
            silu(self.value(x)).to(wide),
            self.nearness.to(wide),
            initial=before,
        )
        h = silu(direct + self.read(silu(r) * a.to(x.dtype)))
        return u.sigmoid() * (h - x), self.remembers(*leaves, *after)
