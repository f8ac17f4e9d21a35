"""Teaching a task to a small stack of a mixer, as `statewise train lm` builds one, and asking it.

right = learned_by_length("slstm", Parity(), [32, 128], length=32, steps=1500)
right[128]
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from statewise.analysis.lengths import extrapolation
from statewise.analysis.positions import Predictor
from statewise.models.language_model import LanguageModel, LanguageModelConfig
from statewise.tasks import examples
from statewise.tasks.examples import Source, Task

FIRST = 4
"""Tokens of the first examples: they grow over the first half of training. In 14 s an LSTM learned
parity so, and not from examples of one length."""

BATCH = 64
"""Examples of a training step."""

ASKED = 256
"""Examples that an accuracy is measured on."""


def learned_by_length(
    mixer: str | Mapping[str, Any],
    task: Task,
    lengths: Sequence[int],
    *,
    length: int,
    steps: int,
    dim: int = 64,
    depth: int = 1,
    seed: int = 0,
    **options: Any,
) -> dict[int, float]:
    """Return how often a fresh stack is right at each length, after it learned a task.

    Args:
        mixer: a name, or `{"name": ..., option: value}`.
        task: draws the examples.
        lengths: tokens of the examples that are asked.
        length: of the longest examples in training.
        steps: of training.
        dim: features the mixer reads.
        depth: layers.
        seed: of the examples; weights come from torch's own generator.
        options: of `learn`.
    """
    model = stack(mixer, task, dim=dim, depth=depth)
    learn(model, task, steps=steps, length=length, seed=seed, **options)
    return accuracy_by_length(model, task, lengths, seed=seed)


def stack(mixer: str | Mapping[str, Any], task: Source, *, dim: int, depth: int) -> LanguageModel:
    """Return a fresh model that reads and answers a task's symbols."""
    spec = mixer if isinstance(mixer, str) else dict(mixer)
    return LanguageModel(
        LanguageModelConfig(vocab=task.vocab, dim=dim, depth=depth, mixer=spec, tie=False)
    )


def learn(
    model: nn.Module,
    task: Source,
    *,
    seconds: float = 30.0,
    steps: int | None = None,
    learning_rate: float = 3e-3,
    length: int,
    first: int = FIRST,
    batch: int = BATCH,
    seed: int = 0,
    watch: Callable[[float], object] = lambda _: None,
) -> tuple[int, int]:
    """Train a model on a task; return the steps taken, and those left out.

    Examples grow from `first` tokens to `length` over the first half. A step whose gradient is not
    finite is left out.

    Args:
        model: maps tokens to logits and a state.
        task: draws the examples.
        seconds: of training.
        steps: of training, in place of seconds.
        learning_rate: the highest; it rises over the first twentieth and then falls to zero.
        length: of the longest examples.
        first: length of the first ones: at least what the task can draw.
        batch: examples of a step.
        seed: of the examples.
        watch: is told how much of the budget was used since it was called last.
    """
    generator = torch.Generator().manual_seed(2 * seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0
    )
    budget = seconds if steps is None else steps
    start, done, taken, skipped, before = time.perf_counter(), 0.0, 0, 0, 0.0
    model.train()
    while done < budget:
        progress = done / budget
        rising = min(1.0, 20 * progress + 0.02)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * rising * (1 + math.cos(math.pi * progress)) / 2
        reach = round(first + (length - first) * min(1.0, 2 * progress))
        drawn = task.draw(batch, reach, generator)
        optimizer.zero_grad()
        examples.loss(model(drawn.tokens)[0], drawn).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if norm.isfinite():
            optimizer.step()
            taken += 1
        else:
            skipped += 1
        spent = time.perf_counter() - start
        done = spent if steps is None else float(taken + skipped)
        watch(min(done, budget) - before)
        before = min(done, budget)
    return taken, skipped


def accuracy_by_length(
    model: nn.Module, task: Task, lengths: Sequence[int], *, seed: int = 0
) -> dict[int, float]:
    """Return how often a model is right at each length, on examples that `learn` did not draw."""
    predict: Predictor = model.eval()
    scores = extrapolation(predict, task, lengths, rows=ASKED, batch=ASKED, seed=2 * seed + 1)
    return {score.length: score.accuracy for score in scores}
