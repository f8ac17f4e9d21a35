"""Minimal pairs: passages of a text, and the same with one word exchanged for its rival.

passages    the   value   is   returned        and half as many others, in which "are" stands
exchanged   the   value   are  returned        and "is" is put in its place

A model that knows which of the two belongs there finds the passage likelier than the exchanged one.
Both words stand in as many passages, so that one who always prefers the same is right in half of
them. After Warstadt et al., "BLiMP: The Benchmark of Linguistic Minimal Pairs for English", 2020,
arXiv:1912.00582, whose pairs are of sentences from grammars; these are of a text as it stands.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.functional import cross_entropy


class MinimalPairs(NamedTuple):
    """Passages, and what became of them."""

    passages: Int[Tensor, "pairs time"]
    exchanged: Int[Tensor, "pairs time"]


def minimal_pairs(
    text: Int[Tensor, " time"],
    rivals: Sequence[tuple[int, int]],
    *,
    before: int = 16,
    after: int = 8,
) -> MinimalPairs:
    """Return the pairs of a text, for each two rivals the first ones of either that it has.

    Args:
        text: symbols.
        rivals: two symbols each, of which either may stand where the other does.
        before: symbols of a passage before the one that is exchanged.
        after: symbols after it, which may depend on it.

    Raises:
        ValueError: if there is none.
    """
    around = torch.arange(-before, after + 1)
    passages, exchanged = [text.new_zeros(0, len(around))], [text.new_zeros(0, len(around))]
    inside = slice(before, len(text) - after)
    for pair in rivals:
        found = [(text[inside] == symbol).nonzero()[:, 0] + before for symbol in pair]
        for places, rival in zip(found, reversed(pair), strict=True):
            at = text[places[: min(map(len, found)), None] + around]
            passages.append(at)
            exchanged.append(at.clone().index_fill_(1, torch.tensor(before), rival))
    if not sum(map(len, passages)):
        raise ValueError(f"a text of {len(text)} symbols has no two rivals of {list(rivals)}")
    return MinimalPairs(torch.cat(passages), torch.cat(exchanged))


@torch.no_grad()
def preferred(model: Callable[[Tensor], tuple[Tensor, Any]], pairs: MinimalPairs) -> float:
    """Return the share of pairs whose passage a model finds likelier; 0.5 is chance.

    Args:
        model: in eval mode: maps symbols to logits and a state.
        pairs: that are judged.
    """
    passage, exchanged = (_costs(model, side) for side in pairs)
    return (passage < exchanged).double().mean().item()


def _costs(model: Callable[[Tensor], tuple[Tensor, Any]], rows: Tensor) -> Tensor:
    """Return what all symbols after the first cost, in nats, row by row."""
    logits, _ = model(rows[:, :-1])
    return cross_entropy(logits.mT, rows[:, 1:], reduction="none").sum(1)
