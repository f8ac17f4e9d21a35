"""Mamba-2."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from statewise.models.hub.family import Fields
from statewise.models.hub.one_mixer import OneMixer

ANY_STEP = (0.0, math.inf)
"""The limits of a step size that are none."""


class Mamba2(OneMixer):
    """Mamba-2."""

    kind, architecture, mixer, tied = "mamba2", "Mamba2ForCausalLM", "mamba2", False
    memory: ClassVar[Mapping[str, str]] = {
        "mixer.A_log": "parts.0.A_log",
        "mixer.dt_bias": "parts.0.dt_bias",
        "mixer.D": "parts.0.D",
        "mixer.norm.weight": "parts.0.norm.weight",
    }

    def options(self, given: Fields) -> dict[str, Any]:
        """Return the options of our Mamba-2."""
        limits = tuple(map(_number, given.get("time_step_limit", ANY_STEP)))
        if limits != ANY_STEP:
            raise ValueError(f"time_step_limit = {limits}: our steps have no limits")
        heads, head = given.get("num_heads", 128), given.get("head_dim", 64)
        expand = given.get("expand", 2)
        if heads * head != expand * given["hidden_size"]:
            raise ValueError(
                f"num_heads = {heads} of head_dim = {head} are not expand = {expand} times "
                f"hidden_size = {given['hidden_size']}"
            )
        return {
            "state": given.get("state_size", 128),
            "head": head,
            "groups": given.get("n_groups", 8),
            "expand": expand,
            "width": given.get("conv_kernel", 4),
            "epsilon": given.get("layer_norm_epsilon", 1e-5),
        }

    def said(self, config: Fields, options: dict[str, Any]) -> dict[str, Any]:
        """Return their options."""
        within, between = options["epsilon"], config["norm_epsilon"]
        if within != between:
            raise ValueError(
                f"its norms have one epsilon, not {between:g} between the layers and {within:g} "
                "within"
            )
        inner = options["expand"] * config["dim"]
        # All features are one head if they are fewer.
        options["head"] = min(options["head"], inner)
        return {
            "state_size": options["state"],
            "head_dim": options["head"],
            "num_heads": inner // options["head"],
            "n_groups": options["groups"],
            "expand": options["expand"],
            "conv_kernel": options["width"],
        }

    def shapes(self, said: Fields) -> dict[str, tuple[int, ...]]:
        """Return those of the convolution and of the norm, which is over groups."""
        inner = said.get("expand", 2) * said["hidden_size"]
        features = inner + 2 * said.get("n_groups", 8) * said.get("state_size", 128)
        return {
            "conv1d.weight": (features, 1, said.get("conv_kernel", 4)),
            "mixer.norm.weight": (inner,),
        }


def _number(said: Any) -> float:
    """Return a number of their files: what JSON cannot say is `{"__float__": "Infinity"}`."""
    return float(said["__float__"] if isinstance(said, Mapping) else said)
