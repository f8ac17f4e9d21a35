"""A family of the hub's models whose layers are one mixer each, under a norm: the Mambas."""

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

from statewise.models.hub.family import Family, Fields, Places, refuse_others, whole

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


class OneMixer(Family):
    """A subclass names its kind and its parts, and translates the options of its mixer."""

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
    def said(self, config: Fields, options: dict[str, Any]) -> dict[str, Any]:
        """Return what their configuration says of a mixer of ours.

        Args:
            config: the fields of a `LanguageModelConfig`.
            options: of the mixer.

        Raises:
            ValueError: for an option that they have not.
        """

    @abc.abstractmethod
    def shapes(self, said: Fields) -> dict[str, tuple[int, ...]]:
        """Return the shapes of weights that differ from ours, by the ends of their names."""

    def fields(self, given: Fields) -> dict[str, Any]:
        """Return the fields of a `LanguageModelConfig`."""
        refuse_others(given, NEEDED)
        return {
            "vocab": given["vocab_size"],
            "dim": given["hidden_size"],
            "depth": given["num_hidden_layers"],
            "mixer": {"branches": [{"name": self.mixer, **self.options(given)}]},
            "tie": given.get("tie_word_embeddings", self.tied),
            "norm": "rms",
            "norm_epsilon": given.get("layer_norm_epsilon", 1e-5),
        }

    def describe(self, config: Fields, layers: list[list[dict[str, Any]]]) -> dict[str, Any]:
        """Return their configuration."""
        if [branch["name"] for branch in layers[0]] != [self.mixer]:
            raise ValueError(f"its layers are {{branches: [{self.mixer}]}} and no others")
        return {
            "layer_norm_epsilon": config["norm_epsilon"],
            "tie_word_embeddings": config["tie"],
            **NEEDED,
            **self.said(config, layers[0][0]),
        }

    def places(self, config: Fields, said: Fields) -> Places:
        """Yield every weight."""
        shapes = self.shapes(said)
        yield "backbone.embeddings.weight", whole("embedding.weight")
        for place in range(config["depth"]):
            for theirs, ours in (AROUND | dict(self.memory)).items():
                shape = next((s for end, s in shapes.items() if theirs.endswith(end)), None)
                name = f"backbone.layers.{place}.{theirs}"
                yield name, whole(f"stack.parts.{place}.{ours}", shape)
        yield "backbone.norm_f.weight", whole("stack.norm.weight")
        if not config["tie"]:
            yield "lm_head.weight", whole("head.weight")


def whole_number(name: str, number: float) -> int:
    """Return a number that the library has as an integer.

    Raises:
        ValueError: if it is none.
    """
    if number != int(number):
        raise ValueError(f"its {name} is a whole number, not {number:g}")
    return int(number)
