"""Sparse weights: which stay; the others are zero, and stay so while the rest goes on learning.

    magnitude    the largest of each matrix stay: what was trained, pruned
    random       as many of each matrix, drawn: a structure that is sparse from its beginning
    small_world  of matrices as high as wide, a ring of neighbours with some links drawn anew
    scale_free   of the same, each unit reads earlier ones: the more links one has, the likelier

So many of each matrix go that they are exactly the share, rounded to a whole number. Han et al.,
"Learning both Weights and Connections for Efficient Neural Networks", 2015, arXiv:1506.02626,
section 3: prune, then train what is left. The ring is that of Watts and Strogatz, Nature 393, 1998,
filled from the nearest neighbours on; links that gather are those of Barabási and Albert, Science
286, 1999. `acyclic` leaves of either only the ways from earlier units to later ones.

    masks = masks_of(model, 0.9)     nine weights of ten go
    apply(masks)                     now, and again after each step of an optimizer
"""

import math
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

Method = Literal["magnitude", "random", "small_world", "scale_free"]

REWIRED = 0.1
"""The share of a small world's links that lead anywhere, with which its paths are short and its
neighbours still neighbours."""

Masks = dict[Tensor, Tensor]
"""Where each of some parameters stays."""


def masks_of(
    model: nn.Module,
    share: float,
    *,
    method: Method = "magnitude",
    only: str = "*",
    seed: int = 0,
) -> Masks:
    """Return where the weights of a model's matrices stay.

    Args:
        model: whose matrices; of tables of embeddings nothing goes.
        share: of each matrix that goes, from 0 to 1.
        method: which stay.
        only: a pattern of the names of parameters, as of files: "*recurrent*".
        seed: of what is drawn.

    Raises:
        ValueError: for a share out of range, a pattern that no matrix has, a graph of a matrix that
            is not as high as wide, or more links than it can have.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"sparsity: share = {share} should be from 0 to 1")
    generator = torch.Generator().manual_seed(seed)
    ways: dict[str, Callable[[Tensor, int], Tensor]] = {
        "magnitude": largest,
        "random": lambda weight, kept: drawn(weight, kept, generator),
        "small_world": lambda weight, kept: small_world(weight, kept, generator),
        "scale_free": lambda weight, kept: scale_free(weight, kept, generator),
    }
    named = matrices(model, only)
    return {
        p: ways[method](p.detach(), p.numel() - round(share * p.numel())) for p in named.values()
    }


def matrices(model: nn.Module, only: str = "*") -> dict[str, nn.Parameter]:
    """Return the matrices of a model by their names, tables of embeddings left out.

    Args:
        model: whose.
        only: a pattern of their names, as of files.

    Raises:
        ValueError: if it has none of such a name; it says which there are.
    """
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    known = {n: p for n, p in model.named_parameters() if p.ndim >= 2 and id(p) not in tables}
    found = {name: p for name, p in known.items() if fnmatchcase(name, only)}
    if not found:
        raise ValueError(f"no matrix is named {only!r}; there are {', '.join(known) or 'none'}")
    return found


def largest(weight: Float[Tensor, "*axes"], kept: int) -> Bool[Tensor, "*axes"]:
    """Return where the `kept` weights of the largest magnitude are; of equal ones, the first."""
    order = weight.abs().flatten().sort(descending=True, stable=True).indices
    return _at(order[:kept], weight)


def drawn(
    weight: Float[Tensor, "*axes"], kept: int, generator: torch.Generator
) -> Bool[Tensor, "*axes"]:
    """Return `kept` places of a matrix, each as likely as any other."""
    return _at(torch.randperm(weight.numel(), generator=generator)[:kept], weight)


def small_world(
    weight: Float[Tensor, "units inputs"], kept: int, generator: torch.Generator
) -> Bool[Tensor, "units inputs"]:
    """Return `kept` links from units to their neighbours on a ring, some of them drawn anew.

    Raises:
        ValueError: if there are not as many inputs as units.
    """
    units = _units(weight, "a small world")
    place = torch.arange(units)
    steps = (place[None] - place[:, None]) % units
    far = torch.minimum(steps, units - steps) + torch.rand(units, units, generator=generator)
    mask = _at(far.flatten().argsort()[:kept], far)
    moved = mask & (torch.rand(units, units, generator=generator) < REWIRED)
    for row, column in moved.nonzero().tolist():
        free = (~mask[row]).nonzero()[:, 0]
        if len(free):
            choice = torch.randint(len(free), (), generator=generator)
            mask[row, column], mask[row, free[choice]] = False, True
    return mask.to(weight.device)


def scale_free(
    weight: Float[Tensor, "units inputs"], kept: int, generator: torch.Generator
) -> Bool[Tensor, "units inputs"]:
    """Return `kept` links from units to earlier ones, of which those with more links get more.

    Each unit has as many as the next one, as far as there are enough before it.

    Raises:
        ValueError: if there are not as many inputs as units, or more links than places below the
            diagonal.
    """
    units = _units(weight, "a scale-free graph")
    most = units * (units - 1) // 2
    if kept > most:
        raise ValueError(f"a scale-free graph of {units} units has up to {most} links, not {kept}")
    mask = torch.zeros(units, units, dtype=torch.bool)
    links = torch.ones(units)
    for unit in range(1, units):
        # What the first units have no room for is shared by all that follow.
        count = min(unit, math.ceil((kept - int(mask.sum())) / (units - unit)))
        if count:
            chosen = links[:unit].multinomial(count, generator=generator)
            mask[unit, chosen] = True
            links[chosen] += 1
            links[unit] += count
    return mask.to(weight.device)


def acyclic(mask: Bool[Tensor, "units units"]) -> Bool[Tensor, "units units"]:
    """Return a graph's links as ways from earlier units to later ones, and of each to itself."""
    return (mask | mask.T).tril(-1) | torch.eye(len(mask), dtype=torch.bool, device=mask.device)


def _units(weight: Tensor, graph: str) -> int:
    units = len(weight)
    if weight.shape != (units, units):
        raise ValueError(
            f"{graph} links units with one another: {tuple(weight.shape)} should be as high as "
            "wide; name those that are"
        )
    return units


def _at(places: Tensor, like: Tensor) -> Tensor:
    mask = torch.zeros(like.numel(), dtype=torch.bool, device=like.device)
    mask[places.to(like.device)] = True
    return mask.view(like.shape)


@torch.no_grad()
def apply(masks: Mapping[Tensor, Tensor]) -> None:
    """Set the weights to zero that do not stay."""
    for parameter, mask in masks.items():
        parameter.masked_fill_(~mask, 0)


def apply_to_gradients(masks: Mapping[Tensor, Tensor]) -> None:
    """Set the gradients to zero of weights that do not stay, so that no norm counts them."""
    for parameter, mask in masks.items():
        if parameter.grad is not None:
            parameter.grad.masked_fill_(~mask, 0)


def zeros_of(model: nn.Module, only: str = "*") -> Masks:
    """Return masks by which a model stays as sparse as it is, such as one that was loaded.

    Raises:
        ValueError: if no matrix has such a name.
    """
    return {parameter: parameter.detach() != 0 for parameter in matrices(model, only).values()}
