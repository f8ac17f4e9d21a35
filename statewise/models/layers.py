"""Blocks from data: what every layer of a stack is made of, in words that a file can hold.

    min_gru                                          a layer with this mixer
    {name: attention, window: 512}                   the same, with options
    {branches: [hawk, gated_feed_forward]}           a layer with these branches and no others
    {hybrid: griffin}                                a published pattern of layers, by name
    [min_gru, min_gru, attention]                    a pattern of your own

A pattern is repeated over the depth. A branch is a mixer, or

    {side_by_side: [attention, mamba2], multipliers: [0.5, 1.0]}      parts whose answers are added
    {shared: memory, branch: attention}              one module wherever the word `memory` stands

To the name of a hybrid, options of its mixers may be added: {hybrid: griffin, attention: {window:
256}}. Mixers whose initialization depends on their place are told it, if their options `layer`,
`layers` or `depth` are not given.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from statewise import mixers as catalogue
from statewise.mixers.base import Mixer, WholeSequence
from statewise.models.hybrids import HYBRIDS
from statewise.models.stack import LAYER_NORM, Block, Norm, SideBySide

Spec = str | Mapping[str, Any]
"""A layer, a branch or a hybrid, as above."""

Makers = Mapping[str, Callable[..., Any]]
"""Mixers that are not in the catalogue, by name."""

CONVOLUTION, EXPANSION = 4, 2.0
"""What stands around a mixer that is not told otherwise: taps before it, and the feed-forward layer
after it, over dim."""


def pattern(spec: Spec | Sequence[Spec]) -> list[Spec]:
    """Return the layers that are repeated over the depth, hybrids replaced by theirs.

    Raises:
        ValueError: in words, for what is no layer, and for a hybrid or a mixer of it by a name that
            does not exist.
    """
    specs = [spec] if isinstance(spec, str | Mapping) else list(spec)
    if not specs:
        raise ValueError("mixer is an empty list: name at least one")
    found: list[Spec] = []
    for item in specs:
        if isinstance(item, Mapping) and "hybrid" in item:
            found += _hybrid(item)
        elif isinstance(item, Mapping) and "branches" in item:
            extra = [word for word in item if word != "branches"]
            if extra or not isinstance(item["branches"], list | tuple) or not item["branches"]:
                raise ValueError(f"a layer is {{branches: [...]}} and no more, not {dict(item)}")
            found.append(item)
        elif isinstance(item, Mapping) and not isinstance(item.get("name"), str):
            raise ValueError(f"the mixer {dict(item)} has no name")
        else:
            found.append(item)
    return found


def blocks(
    spec: Spec | Sequence[Spec],
    dim: int,
    depth: int,
    *,
    convolution: int | None = None,
    expansion: float | None = None,
    norm: Norm = LAYER_NORM,
    mixers: Makers | None = None,
) -> list[Block]:
    """Return the blocks of a stack.

    Args:
        spec: one layer, a list of layers, or a hybrid.
        dim: features between the layers.
        depth: layers.
        convolution: taps of the short convolution before each mixer, 0 for none; 4 if absent. Not
            of layers that name their branches.
        expansion: hidden width of the feed-forward branch after each mixer over `dim`, 0 for none;
            2 if absent. Not of layers that name their branches.
        norm: before every branch.
        mixers: mixers of your own by name.

    Raises:
        ValueError: for what does not exist or does not fit, in words.
    """
    layers = pattern(spec)
    check(layers, depth, convolution, expansion)
    shared: dict[str, Mixer[Any] | WholeSequence] = {}
    made = []
    for place in range(depth):
        layer = layers[place % len(layers)]
        if isinstance(layer, Mapping) and "branches" in layer:
            branches: list[Spec] = list(layer["branches"])
        else:
            branches = [layer]
            if taps := CONVOLUTION if convolution is None else convolution:
                branches.insert(0, {"name": "short_convolution", "width": taps})
            if width := EXPANSION if expansion is None else expansion:
                branches.append({"name": "feed_forward", "expansion": width})
        where = {"layer": place, "layers": depth, "depth": depth}
        parts = [_branch(branch, dim, where, shared, mixers) for branch in branches]
        made.append(Block(parts, norm=norm))
    return made


def check(
    layers: Sequence[Spec], depth: int, convolution: int | None, expansion: float | None
) -> None:
    """Refuse a pattern longer than the stack, and sizes that no layer would read.

    Raises:
        ValueError: says which.
    """
    if len(layers) > depth:
        raise ValueError(f"mixer lists {len(layers)} mixers for a depth of {depth}")
    if all(isinstance(layer, Mapping) and "branches" in layer for layer in layers):
        for name, size in (("convolution", convolution), ("expansion", expansion)):
            if size is not None:
                raise ValueError(
                    f"{name} = {size} would be read by no layer: all of them name their branches"
                )


def _branch(
    spec: Spec,
    dim: int,
    place: Mapping[str, int],
    shared: dict[str, Mixer[Any] | WholeSequence],
    mixers: Makers | None,
) -> Mixer[Any] | WholeSequence:
    if isinstance(spec, Mapping) and "side_by_side" in spec:
        options = {**spec}
        parts = [_branch(part, dim, place, shared, mixers) for part in options.pop("side_by_side")]
        for option in options:
            if option not in (known := ("multipliers", "learned", "norm")):
                raise ValueError(
                    f"side_by_side has no option {option!r}{catalogue.nearest(option, known)}"
                )
        return SideBySide(parts, **options)
    if isinstance(spec, Mapping) and "shared" in spec:
        if set(spec) != {"shared", "branch"}:
            raise ValueError(f"a shared branch is {{shared: name, branch: ...}}, not {dict(spec)}")
        name = spec["shared"]
        if name not in shared:
            shared[name] = _branch(spec["branch"], dim, place, shared, mixers)
        return shared[name]
    return catalogue.build(_placed(spec, place, mixers), dim, mixers=mixers)


def _placed(spec: Spec, place: Mapping[str, int], mixers: Makers | None) -> Spec:
    """Return a mixer's specification with its place in the stack, if it asks for that."""
    options = {"name": spec} if isinstance(spec, str) else dict(spec)
    maker = {**catalogue.catalogue(), **(mixers or {})}.get(options.get("name", ""))
    if maker is None:
        return spec
    asked = set(inspect.signature(maker).parameters)
    # Layers of an LSTM are its own: a place is asked for by `layer`, which says of how many too.
    wanted = asked & ({"layer", "layers", "depth"} if "layer" in asked else {"depth"})
    return {**{name: place[name] for name in sorted(wanted)}, **options}


def _hybrid(spec: Mapping[str, Any]) -> list[Spec]:
    """Return a hybrid's layers, with the options that were added for its mixers."""
    options = {**spec}
    name = options.pop("hybrid")
    if name not in HYBRIDS:
        raise ValueError(f"there is no hybrid {name!r}{catalogue.nearest(str(name), HYBRIDS)}")
    layers = HYBRIDS[name].layers
    known = {mixer for layer in layers for mixer in names(layer)}
    for mixer in options:
        if mixer not in known:
            raise ValueError(
                f"the hybrid {name!r} has no mixer {mixer!r}{catalogue.nearest(mixer, known)}"
            )
    return [_with(layer, options) for layer in layers]


def names(spec: Spec) -> Iterator[str]:
    """Yield the mixers that a layer or a branch names."""
    if isinstance(spec, str):
        yield spec
    elif "name" in spec:
        yield spec["name"]
    else:
        for part in (*spec.get("branches", ()), *spec.get("side_by_side", ())):
            yield from names(part)
        if "branch" in spec:
            yield from names(spec["branch"])


def _with(spec: Spec, options: Mapping[str, Mapping[str, Any]]) -> Spec:
    """Return a layer or a branch with further options of its mixers."""
    if isinstance(spec, str):
        return {"name": spec, **options[spec]} if spec in options else spec
    if "name" in spec:
        return {**spec, **options.get(spec["name"], {})}
    changed: dict[str, Any] = {
        word: [_with(part, options) for part in spec[word]]
        for word in ("branches", "side_by_side")
        if word in spec
    }
    if "branch" in spec:
        changed["branch"] = _with(spec["branch"], options)
    return {**spec, **changed}
