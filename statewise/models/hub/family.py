"""What a family of the hub's models is: its configuration as ours, and which weight is which."""

import abc
import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from statewise.mixers import catalogue
from statewise.models.layers import pattern

Fields = Mapping[str, Any]

PLAIN: Fields = {
    "convolution": None,
    "expansion": None,
    "norm_bias": False,
    "embedding_norm": False,
    "embedding_multiplier": 1.0,
    "logit_soft_cap": None,
}
"""Fields of a `LanguageModelConfig` that a family has no word for, unless it says so itself."""

PLACES = ("layer", "layers", "depth")
"""Options of a mixer that say how it starts, and no more."""

SIZES = ("head", "inner", "key", "key_heads", "rank", "value")
"""Options that follow from others where they are absent."""

SHARES = ("expansion", "shared_expansion")
"""Options that are widths over dim, of which the width alone matters."""


class Place(NamedTuple):
    """Where the numbers of one of their weights are in ours: in runs of rows, one after another.

    The rows of a vector are its numbers, and those of several matrices the rows of all.
    """

    runs: tuple[tuple[str, slice], ...]
    shape: tuple[int, ...] | None = None
    """Theirs, where it is not that of the rows."""
    negative: bool = False
    """Whether ours are minus theirs."""


Places = Iterator[tuple[str, Place]]
"""Each of their weights by its name, and where it is in ours."""


def whole(name: str, shape: tuple[int, ...] | None = None) -> Place:
    """Return the place of a weight that is one of ours."""
    return Place(((name, slice(None)),), shape)


def rows(name: str, *bounds: tuple[int, int], shape: tuple[int, ...] | None = None) -> Place:
    """Return the place of a weight that is some rows of one of ours."""
    return Place(tuple((name, slice(*pair)) for pair in bounds), shape)


class Family(abc.ABC):
    """How a `config.json` of the hub's library is one of ours, and which weight is which."""

    kind: ClassVar[str]
    """`model_type`."""
    architecture: ClassVar[str]
    """The class that the library makes of it."""
    unread: ClassVar[tuple[str, ...]] = ()
    """How names of weights begin that the library does not read either."""

    @abc.abstractmethod
    def fields(self, given: Fields) -> dict[str, Any]:
        """Return the fields of a `LanguageModelConfig`.

        Raises:
            KeyError: for what is missing.
            ValueError: for what our stack cannot be.
        """

    @abc.abstractmethod
    def describe(self, config: Fields, layers: list[list[dict[str, Any]]]) -> dict[str, Any]:
        """Return what their configuration says of a model that is built like this family.

        What no word of it can say need not be looked for: it is found by reading the answer.

        Args:
            config: the fields of a `LanguageModelConfig`.
            layers: the branches of each layer, with every option; where two values of one mean the
                same, the one that the family has may be put in its place.

        Raises:
            ValueError: if this family is not built like that.
        """

    @abc.abstractmethod
    def places(self, config: Fields, said: Fields) -> Places:
        """Yield every weight.

        Args:
            config: the fields of a `LanguageModelConfig`.
            said: their configuration of it.
        """

    def description(self, config: Fields) -> dict[str, Any]:
        """Return their configuration.

        Raises:
            ValueError: if this family is not built like that.
        """
        layers = layers_of(config)
        said = {
            "model_type": self.kind,
            "architectures": [self.architecture],
            "vocab_size": config["vocab"],
            "hidden_size": config["dim"],
            "num_hidden_layers": config["depth"],
            **self.describe(config, layers),
        }
        agree(self.fields(said), config, layers)
        return said


def refuse_others(given: Fields, needed: Fields) -> None:
    """Refuse options of theirs of which our mixers have one value.

    Raises:
        ValueError: names the first.
    """
    for name, value in needed.items():
        if given.get(name, value) != value:
            raise ValueError(f"{name} = {given[name]!r} is not {value!r}, which our mixer has")


def agree(theirs: Fields, ours: Fields, layers: list[list[dict[str, Any]]]) -> None:
    """Refuse a model of ours that is not what a description of it says.

    Args:
        theirs: the fields that the description is read as.
        ours: those of the model.
        layers: its layers.

    Raises:
        ValueError: names the first difference.
    """
    for name, value in {**PLAIN, **theirs}.items():
        if name != "mixer" and ours[name] != value:
            raise ValueError(f"its {name} is {value}, not {ours[name]}")
    pairs = zip(layers_of(theirs), layers, strict=True)
    for place, (wanted, layer) in enumerate(pairs):
        names, found = ([branch["name"] for branch in side] for side in (wanted, layer))
        if names != found:
            raise ValueError(f"its layer {place} is {names}, not {found}")
        for one, other in zip(wanted, layer, strict=True):
            for option, value in one.items():
                if not _same(option, value, other[option], ours["dim"]):
                    raise ValueError(
                        f"its {one['name']} has {option} = {value}, not {other[option]}"
                    )


def _same(option: str, theirs: Any, ours: Any, dim: int) -> bool:
    """Return whether an option of a mixer is the same in two specifications."""
    if option in PLACES or (ours is None and option in SIZES):
        return True
    if option in SHARES and theirs is not None and ours is not None:
        return round(theirs * dim) == round(ours * dim)
    return theirs == ours


def layers_of(config: Fields) -> list[list[dict[str, Any]]]:
    """Return the branches of each layer, with every option of each.

    Raises:
        ValueError: for a layer that does not name its branches, and for branches that are no single
            mixer of the catalogue.
    """
    layers, known, made = pattern(config["mixer"]), catalogue(), []
    for place in range(config["depth"]):
        layer = layers[place % len(layers)]
        named = layer.get("branches") if isinstance(layer, Mapping) else None
        branches = [{"name": b} if isinstance(b, str) else {**b} for b in named or ()]
        if not branches or any(branch.get("name") not in known for branch in branches):
            raise ValueError(
                f"layers of the hub's models are {{branches: [...]}} of our mixers, not {layer}"
            )
        made.append([_complete(branch, known[branch["name"]]) for branch in branches])
    return made


def _complete(branch: dict[str, Any], mixer: type) -> dict[str, Any]:
    """Return a branch with the options that it leaves to the mixer."""
    parameters = inspect.signature(mixer).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty} | branch


def repeated(layers: Sequence[Any]) -> list[Any]:
    """Return the shortest pattern that makes these layers when it is repeated."""
    for length in range(1, len(layers) + 1):
        if all(layer == layers[i % length] for i, layer in enumerate(layers)):
            return list(layers[:length])
    return []


def factor(size: int, dim: int) -> float:
    """Return by what they multiply dim, and round down, to have this size."""
    ratio = size / dim
    return ratio if int(dim * ratio) == size else math.nextafter(ratio, math.inf)
