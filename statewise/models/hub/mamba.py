"""Mamba and Falcon-Mamba, which takes the root mean square out of what a step is selected by."""

from collections.abc import Mapping
from typing import Any, ClassVar

from statewise.models.hub.family import Fields
from statewise.models.hub.one_mixer import OneMixer, whole_number


class Mamba(OneMixer):
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

    def said(self, config: Fields, options: dict[str, Any]) -> dict[str, Any]:
        """Return their options."""
        if options["epsilon"] is not None:
            raise ValueError("it selects steps as they are, and has no epsilon")
        rank = options["rank"]
        return {
            "state_size": options["state"],
            "expand": whole_number("expansion", options["expansion"]),
            "conv_kernel": options["width"],
            "time_step_rank": -(-config["dim"] // 16) if rank is None else rank,
        }

    def shapes(self, said: Fields) -> dict[str, tuple[int, ...]]:
        """Return that of the convolution."""
        inner = said.get("expand", 2) * said["hidden_size"]
        return {"conv1d.weight": (inner, 1, said.get("conv_kernel", 4))}


class FalconMamba(Mamba):
    """Falcon-Mamba."""

    kind, architecture = "falcon_mamba", "FalconMambaForCausalLM"

    def options(self, given: Fields) -> dict[str, Any]:
        """Return the options of our Mamba."""
        return {**super().options(given), "epsilon": given.get("mixer_rms_eps", 1e-6)}

    def said(self, config: Fields, options: dict[str, Any]) -> dict[str, Any]:
        """Return their options."""
        epsilon = options["epsilon"]
        if epsilon is None:
            raise ValueError("it takes the root mean square out of steps, by an epsilon")
        return {**super().said(config, {**options, "epsilon": None}), "mixer_rms_eps": epsilon}
