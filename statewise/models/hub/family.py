"""A family of the hub's models whose layers are one mixer each, under a norm."""

import abc
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

Fields = Mapping[str, Any]

AROUND = {
    "norm.weight": "norms.0.weight",
    "mixer.in_proj.weight": "parts.0.input.weight",
    "mixer.conv1d.weight": "parts.0.convolution.weight",
    "mixer.conv1d.bias": "parts.0.convolution.bias",
    "mixer.out_proj.weight": "parts.0.output.weight",
}
"""Weights around the memory of a layer, by their names."""

NEEDED: Fields = {"hidden_act": "silu", "use_bias": False, "use_conv_bias": True}
"""Options that our mixers have one value of, which is also the library's own default."""


class Family(abc.ABC):
    """How a `config.json` of the hub's library is one of ours, and which weight is which.

    A subclass names its kind and its parts, and translates the options of its mixer.
    """

    kind: ClassVar[str]
    """`model_type`."""
    architecture: ClassVar[str]
    """The class that the library makes of it."""
    mixer: ClassVar[str]
    """Ours."""
    memory: ClassVar[Mapping[str, str]]
    """Weights of a layer's memory, by their names."""
    tied: ClassVar[bool]
    """Whether the head is the embedding where nothing is said."""

    @abc.abstractmethod
    def options(self, given: Fields) -> dict[str, Any]:
        """Return the options of our mixer.

        Raises:
            KeyError: for what is missing.
            ValueError: for what our mixer cannot be.
        """

    @abc.abstractmethod
    def said(self, config: Fields, options: Fields) -> dict[str, Any]:
        """Return what their configuration says of a mixer of ours.

        Args:
            config: the fields of a `LanguageModelConfig`.
            options: of the mixer.

        Raises:
            ValueError: for an option that they have not.
        """

    def shapes(self, dim: int, options: Fields) -> dict[str, tuple[int, ...]]:
        """Return the shapes of weights that differ from ours, by the ends of their names."""
        return {}

    def fields(self, given: Fields) -> dict[str, Any]:
        """Return the fields of a `LanguageModelConfig`.

        Raises:
            KeyError: for what is missing.
            ValueError: for what our stack cannot be.
        """
        for name, value in NEEDED.items():
            if given.get(name, value) != value:
                raise ValueError(f"{name} = {given[name]!r} is not {value!r}, which our mixer has")
        return {
            "vocab": given["vocab_size"],
            "dim": given["hidden_size"],
            "depth": given["num_hidden_layers"],
            "mixer": {"branches": [{"name": self.mixer, **self.options(given)}]},
            "tie": given.get("tie_word_embeddings", self.tied),
            "norm": "rms",
            "norm_epsilon": given.get("layer_norm_epsilon", 1e-5),
        }

    def describe(self, config: Fields) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
        """Return their configuration, and the shapes of weights that differ from ours.

        Args:
            config: the fields of a `LanguageModelConfig`.

        Raises:
            ValueError: if this family is not built like that.
        """
        layer = config["mixer"]
        if isinstance(layer, list) and len(layer) == 1:
            (layer,) = layer
        branches = layer.get("branches", []) if isinstance(layer, Mapping) else []
        options = [
            {"name": branch} if isinstance(branch, str) else {**branch} for branch in branches
        ]
        if len(options) != 1 or options[0].pop("name", None) != self.mixer:
            raise ValueError(f"its layers are {{branches: [{self.mixer}]}} and no others")
        if config["norm"] != "rms":
            raise ValueError(f"its norm is rms, not {config['norm']}")
        dim = config["dim"]
        said = {
            "model_type": self.kind,
            "architectures": [self.architecture],
            "vocab_size": config["vocab"],
            "hidden_size": dim,
            "num_hidden_layers": config["depth"],
            "layer_norm_epsilon": config["norm_epsilon"],
            "tie_word_embeddings": config["tie"],
            **NEEDED,
            **self.said(config, options[0]),
        }
        return said, self.shapes(dim, options[0])

    def names(self, depth: int, tie: bool) -> Iterator[tuple[str, str]]:
        """Yield their name and ours of every weight.

        Args:
            depth: layers.
            tie: whether the head is the embedding.
        """
        yield "backbone.embeddings.weight", "embedding.weight"
        for place in range(depth):
            for theirs, ours in (AROUND | dict(self.memory)).items():
                yield f"backbone.layers.{place}.{theirs}", f"stack.parts.{place}.{ours}"
        yield "backbone.norm_f.weight", "stack.norm.weight"
        if not tie:
            yield "lm_head.weight", "head.weight"


def whole(name: str, number: float) -> int:
    """Return a number that the library has as an integer.

    Raises:
        ValueError: if it is none.
    """
    if number != int(number):
        raise ValueError(f"its {name} is a whole number, not {number:g}")
    return int(number)
