"""Mamba and Falcon-Mamba, which takes the root mean square out of what a step is selected by."""

from collections.abc import Mapping
from typing import Any, ClassVar

from statewise.models.hub.family import Family, Fields, whole


class Mamba(Family):
    """Mamba."""

    kind, architecture, mixer, tied = "mamba", "MambaForCausalLM", "mamba", True
    memory: ClassVar[Mapping[str, str]] = {
        "mixer.x_proj.weight": "parts.0.selective.select.weight",
        "mixer.dt_proj.weight": "parts.0.selective.step_weight",
        "mixer.dt_proj.bias": "parts.0.selective.step_bias",
        "mixer.A_log": "parts.0.selective.log_rate",
        "mixer.D": "parts.0.selective.skip",
    }

    def options(self, given: Fields) -> dict[str, Any]:
        """Return the options of our Mamba."""
        rank = given.get("time_step_rank", "auto")
        return {
            "expansion": float(given.get("expand", 2)),
            "state": given.get("state_size", 16),
            "width": given.get("conv_kernel", 4),
            "rank": -(-given["hidden_size"] // 16) if rank == "auto" else rank,
        }

    def said(self, config: Fields, options: Fields) -> dict[str, Any]:
        """Return their options."""
        if options.get("epsilon") is not None:
            raise ValueError("it selects steps as they are, and has no epsilon")
        rank = options.get("rank")
        return {
            "state_size": options.get("state", 16),
            "expand": whole("expansion", options.get("expansion", 2.0)),
            "conv_kernel": options.get("width", 4),
            "time_step_rank": -(-config["dim"] // 16) if rank is None else rank,
        }

    def shapes(self, dim: int, options: Fields) -> dict[str, tuple[int, ...]]:
        """Return that of the convolution."""
        inner = int(options.get("expansion", 2.0) * dim)
        return {"conv1d.weight": (inner, 1, options.get("width", 4))}


class FalconMamba(Mamba):
    """Falcon-Mamba."""

    kind, architecture = "falcon_mamba", "FalconMambaForCausalLM"

    def options(self, given: Fields) -> dict[str, Any]:
        """Return the options of our Mamba."""
        return {**super().options(given), "epsilon": given.get("mixer_rms_eps", 1e-6)}

    def said(self, config: Fields, options: Fields) -> dict[str, Any]:
        """Return their options."""
        epsilon = options.get("epsilon")
        if epsilon is None:
            raise ValueError("it takes the root mean square out of steps, by an epsilon")
        plain = {name: value for name, value in options.items() if name != "epsilon"}
        return {**super().said(config, plain), "mixer_rms_eps": epsilon}
