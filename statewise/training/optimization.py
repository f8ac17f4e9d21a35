"""The optimizer: what decays, how the learning rate moves, and whose gradient is not finite."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from statewise.training.configuration import Optimizer

NOISE_FALLS = 0.55
"""The power of the step by which the variance of gradient noise falls, as its authors have it."""


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the parameters as an optimizer wants them: only matrices decay."""
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    decays = [p for p in model.parameters() if p.ndim >= 2 and id(p) not in embeddings]
    others = [p for p in model.parameters() if p.ndim < 2 or id(p) in embeddings]
    return [
        {"name": "matrices", "params": decays, "weight_decay": weight_decay},
        {"name": "vectors and embeddings", "params": others, "weight_decay": 0.0},
    ]


def optimizer(
    config: Optimizer, model: nn.Module, device: torch.device
) -> torch.optim.AdamW | torch.optim.SGD:
    """Return the optimizer of a model's parameters."""
    groups = parameter_groups(model, config.weight_decay)
    fused = device.type in ("cpu", "cuda")
    if config.method == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, fused=fused)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=fused)


def learning_rate(config: Optimizer, step: int, progress: float) -> float:
    """Return the rate at `step`, where `progress` of the run, from 0 to 1, is done."""
    progress = min(1.0, progress)
    if config.schedule == "cosine":
        cycle = config.cycles * progress % 1 if progress < 1 else 1.0
        left = 0.5 * (1 + math.cos(math.pi * cycle))
    elif config.schedule == "infinite":
        left = 1 - math.sqrt(max(0.0, 1 - (1 - progress) / config.cooldown))
    else:
        left = 1.0
    warm = min(1.0, (step + 1) / (config.warm_up + 1))
    return config.learning_rate * warm * (config.final + (1 - config.final) * left)


def add_noise(groups: Iterable[dict[str, Any]], variance: float, step: int, seed: int) -> None:
    """Add normal noise to all gradients, of so much variance at the first step and less later.

    The seed and the step decide it, so that a run that goes on and processes that train together
    add the same.
    """
    deviation = math.sqrt(variance * (1 + step) ** -NOISE_FALLS)
    # Mixed, since torch's generator of a processor reads 32 bits of its seed alone.
    (mixed,) = np.random.SeedSequence([seed, step]).generate_state(1)
    generators: dict[torch.device, torch.Generator] = {}
    for group in groups:
        for p in group["params"]:
            if p.grad is None:
                continue
            if p.device not in generators:
                generators[p.device] = torch.Generator(p.device).manual_seed(int(mixed))
            drawn = torch.empty_like(p.grad).normal_(generator=generators[p.device])
            p.grad.add_(drawn, alpha=deviation)


def not_finite(groups: Iterable[dict[str, Any]], names: dict[Tensor, str]) -> str:
    """Return in words which gradient is not finite, the first there is.

    Args:
        groups: of the optimizer.
        names: of its parameters.
    """
    for group in groups:
        for p in group["params"]:
            if p.grad is not None and not torch.isfinite(p.grad).all():
                return f"of {names[p]}, in the group of {group['name']},"
    return "in the norm over all parameters"
