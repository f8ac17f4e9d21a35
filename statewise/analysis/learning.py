"""Teaching a task to a small stack of a mixer, as `statewise train lm` builds one, and asking it.

right = learned_by_length("slstm", Parity(), [32, 128], length=32, steps=1500)
right[128]
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from statewise import mixers
from statewise.analysis.lengths import extrapolation
from statewise.analysis.positions import Predictor
from statewise.mixers import Mixer
from statewise.models.language_model import LanguageModel, LanguageModelConfig, MixerMaker
from statewise.state import detach
from statewise.tasks import examples, language
from statewise.tasks.examples import Examples, Source, Task
from statewise.tasks.language import Streams
from statewise.tasks.passages import Passages, of_manual

Mixing = str | Mapping[str, Any] | list[str | dict[str, Any]] | MixerMaker
"""What a stack is made of, as `statewise.models.layers` reads it, or a mixer of one's own."""

FIRST = 4
"""Tokens of the first examples: they grow over the first half of training. In 14 s an LSTM learned
parity so, and not from examples of one length."""

BATCH = 64
"""Examples of a training step."""

ASKED = 256
"""Examples that an accuracy is measured on."""

ADAM = partial(AdamW, betas=(0.9, 0.98), weight_decay=0.0)
"""What all is trained by that names nothing else."""

SMOOTH = 0.9
"""How much of the running share of right answers stays with each step of `longest_learned`."""


def learned_by_length(
    mixer: Mixing,
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
        mixer: a name, `{"name": ..., option: value}`, or a list of these, one for each layer; or a
            class or callable that takes `dim`.
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


def learned_bits(
    mixer: Mixing,
    *,
    length: int,
    steps: int,
    dim: int = 64,
    depth: int = 2,
    rows: int = 256,
    seed: int = 0,
    texts: tuple[Passages, Passages] | None = None,
    **options: Any,
) -> float:
    """Return the bits per symbol that a fresh stack pays for passages it did not learn from.

    Its symbols are bytes, of the manual that every Python carries, or those of other texts.

    Args:
        mixer: as `learned_by_length` has it.
        length: of all passages, in symbols.
        steps: of training.
        dim: features the mixer reads.
        depth: layers.
        rows: passages that are asked.
        seed: of the passages; weights come from torch's own generator.
        texts: what is learned from, and what is asked; the manual's bytes if absent.
        options: of `learn`.
    """
    seen, held_out = texts or map(Passages, of_manual())
    model = stack(mixer, seen, dim=dim, depth=depth)
    learn(model, seen, steps=steps, length=length, first=length, seed=seed, **options)
    predict: Predictor = model.eval()
    (score,) = extrapolation(predict, held_out, [length], rows=rows)
    return score.nats / math.log(2)


def stack(mixer: Mixing, task: Source, *, dim: int, depth: int) -> LanguageModel:
    """Return a fresh model that reads and answers a task's symbols."""
    size: dict[str, Any] = {"vocab": task.vocab, "dim": dim, "depth": depth, "tie": False}
    if callable(mixer):
        return LanguageModel(LanguageModelConfig(mixer="own", **size), mixers={"own": mixer})
    spec = dict(mixer) if isinstance(mixer, Mapping) else mixer
    return LanguageModel(LanguageModelConfig(mixer=spec, **size))


class Bare(nn.Module):
    """Symbols' vectors, a mixer and a linear map to logits: no norm, and no way around the mixer.

    Args:
        mixer: a name, or `{"name": ..., option: value}`.
        task: whose symbols are read and answered.
        dim: features the mixer reads.

    Raises:
        ValueError: for a mixer that has no state.
    """

    def __init__(self, mixer: str | Mapping[str, Any], task: Source, *, dim: int):
        super().__init__()
        self.embedding = nn.Embedding(task.vocab, dim)
        built = mixers.build(mixer if isinstance(mixer, str) else dict(mixer), dim)
        if not isinstance(built, Mixer):
            raise ValueError(f"{mixer} reads the whole sequence before it answers")
        self.mixer: Mixer[Any] = built
        self.head = nn.Linear(self.mixer.out, task.vocab)

    def forward(
        self, tokens: Tensor, state: Any = None, *, reset: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Return the logits of each answer, and the state."""
        y, state = self.mixer(self.embedding(tokens), state, reset=reset)
        return self.head(y), state


Growth = Callable[[float, int, int], float]
"""The length of examples, from what is used of the budget, the first and the last length."""


def evenly(progress: float, first: int, last: int) -> float:
    """Return a length that grows by as many tokens with each step of the first half."""
    return first + (last - first) * min(1.0, 2 * progress)


def by_factors(progress: float, first: int, last: int) -> float:
    """Return a length that grows by the same factor with each step of the first three quarters.

    Lengths that are far apart have more short ones in between so, which cost less too.
    """
    return first * (last / first) ** min(1.0, progress / 0.75)


class Whole(nn.Module):
    """Symbols' vectors, branches that may read the whole sequence, and a linear map to logits.

    Each branch has a norm before it, and a way around it.

    Args:
        branches: what makes each, from `dim`, or what `mixers.build` makes it from.
        task: whose symbols are read and answered.
        dim: features of a symbol.
    """

    def __init__(
        self,
        branches: Sequence[str | Mapping[str, Any] | Callable[[int], nn.Module]],
        task: Source,
        *,
        dim: int,
    ):
        super().__init__()
        self.embedding = nn.Embedding(task.vocab, dim)
        self.branches = nn.ModuleList(
            branch(dim) if callable(branch) else mixers.build(branch, dim) for branch in branches
        )
        self.norms = nn.ModuleList(nn.RMSNorm(dim) for _ in branches)
        self.answer = nn.Sequential(nn.RMSNorm(dim), nn.Linear(dim, task.vocab))

    def forward(self, tokens: Tensor) -> tuple[Tensor, None]:
        """Return the logits of each answer, and no state."""
        x = self.embedding(tokens)
        for branch, norm in zip(self.branches, self.norms, strict=True):
            y = branch(norm(x))
            x = x + (y if isinstance(y, Tensor) else y[0])
        return self.answer(x), None


def learn(
    model: nn.Module,
    task: Source,
    *,
    seconds: float = 30.0,
    steps: int | None = None,
    learning_rate: float = 3e-3,
    length: int,
    first: int = FIRST,
    growth: Growth = evenly,
    batch: int = BATCH,
    seed: int = 0,
    loss: Callable[[Tensor, Examples], Tensor] = examples.loss,
    watch: Callable[[float], object] = lambda _: None,
) -> tuple[int, int]:
    """Train a model on a task; return the steps taken, and those left out.

    Examples grow from `first` tokens to `length`. A step whose gradient is not finite is left out.

    Args:
        model: maps tokens to logits and a state.
        task: draws the examples.
        seconds: of training.
        steps: of training, in place of seconds.
        learning_rate: the highest; it rises over the first twentieth and then falls to zero.
        length: of the longest examples.
        first: length of the first ones: at least what the task can draw.
        growth: `evenly`, `by_factors`, or another map of progress and both lengths to a length.
        batch: examples of a step.
        seed: of the examples.
        loss: of logits and the examples that they answer.
        watch: is told how much of the budget was used since it was called last.
    """
    generator = torch.Generator().manual_seed(2 * seed)

    def cost(progress: float) -> Tensor:
        drawn = task.draw(batch, round(growth(progress, first, length)), generator)
        return loss(model(drawn.tokens)[0], drawn)

    return minimize(
        model, cost, seconds=seconds, steps=steps, learning_rate=learning_rate, watch=watch
    )


def minimize(
    model: nn.Module,
    cost: Callable[[float], Tensor],
    *,
    seconds: float = 30.0,
    steps: int | None = None,
    learning_rate: float = 3e-3,
    optimizer: Callable[..., Optimizer] = ADAM,
    watch: Callable[[float], object] = lambda _: None,
) -> tuple[int, int]:
    """Train a model to lower a cost; return the steps taken, and those left out, as `learn` does.

    Args:
        model: whose parameters are trained.
        cost: of new examples, told how much of the budget is used, from 0 to 1.
        seconds: of training.
        steps: of training, in place of seconds.
        learning_rate: the highest; it rises over the first twentieth and then falls to zero.
        optimizer: makes one, of parameters and `lr`.
        watch: is told how much of the budget was used since it was called last.
    """
    steered = optimizer(model.parameters(), lr=learning_rate)
    budget = seconds if steps is None else steps
    start, done, taken, skipped, before = time.perf_counter(), 0.0, 0, 0, 0.0
    model.train()
    while done < budget:
        progress = done / budget
        rising = min(1.0, 20 * progress + 0.02)
        for group in steered.param_groups:
            group["lr"] = learning_rate * rising * (1 + math.cos(math.pi * progress)) / 2
        loss = cost(progress)
        steered.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if norm.isfinite():
            steered.step()
            taken += 1
        else:
            skipped += 1
        spent = time.perf_counter() - start
        done = spent if steps is None else float(taken + skipped)
        watch(min(done, budget) - before)
        before = min(done, budget)
    return taken, skipped


def longest_learned(
    model: nn.Module,
    task: Source,
    *,
    steps: int,
    first: int = 2,
    threshold: float = 0.95,
    batch: int = BATCH,
    seed: int = 0,
    **options: Any,
) -> int:
    """Train on examples that grow by one token as soon as they are learned; return how far it came.

    A length is learned when the running share of right last answers, of which `SMOOTH` stays with
    each step, reaches the threshold; it begins anew at each length.

    Args:
        model: maps tokens to logits and a state.
        task: draws the examples, whose last answers count.
        steps: of training.
        first: tokens of the first examples.
        threshold: the running share at which they grow.
        batch: examples of a step.
        seed: of the examples.
        options: of `minimize`.
    """
    generator, length, right = torch.Generator().manual_seed(2 * seed), first, 0.0

    def cost(_: float) -> Tensor:
        nonlocal length, right
        drawn = task.draw(batch, length, generator)
        logits, _ = model(drawn.tokens)
        last = (logits[:, -1].argmax(-1) == drawn.targets[:, -1]).double().mean()
        right = SMOOTH * right + (1 - SMOOTH) * float(last)
        if right >= threshold:
            length, right = length + 1, 0.0
        return examples.loss(logits, drawn)

    minimize(model, cost, steps=steps, **options)
    return length - 1


def read_once(
    model: nn.Module,
    streams: Streams,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    clip: float = 1.0,
    beside: Callable[[], Tensor | float] = lambda: 0.0,
    after: Callable[[], object] = lambda: None,
) -> float:
    """Return the perplexity of a text that is read once, states carried from step to step.

    Args:
        model: maps tokens, a state and resets to logits and a state.
        streams: of the text.
        optimizer: learns from each step, by its own context alone, if there is one.
        clip: the norm of a gradient that is longer.
        beside: is called when a step was read to learn from: what is lowered beside its mean cost.
        after: is called when a step was learned from.
    """
    state, costs = None, list[float]()
    rows, context = len(streams.starts), streams.context
    with torch.set_grad_enabled(optimizer is not None):
        for batch in islice(streams, len(streams.tokens) // (rows * context) or 1):
            logits, state = model(batch.inputs, state, reset=batch.reset)
            state, cost = detach(state), language.loss(logits, batch.targets)
            costs.append(cost.item())
            if optimizer is not None:
                optimizer.zero_grad()
                (cost + beside()).backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
                after()
    return math.exp(mean(costs))


def descended(
    model: nn.Module, learned: Streams, asked: Streams, *, passes: int, rate: float
) -> list[float]:
    """Train by plain descent, whose rate halves with every pass of the second half.

    Returns the perplexity of the asked text after each pass.

    Args:
        model: maps tokens, a state and resets to logits and a state.
        learned: what is learned from.
        asked: what is only read.
        passes: over what is learned from.
        rate: of the first half.
    """
    readings = list[float]()
    for number in range(passes):
        halved = rate * 0.5 ** max(0, number - passes // 2 + 1)
        read_once(model.train(), learned, torch.optim.SGD(model.parameters(), halved))
        readings.append(read_once(model.eval(), asked))
    return readings


def accuracy_by_length(
    model: nn.Module, task: Task, lengths: Sequence[int], *, rows: int = ASKED, seed: int = 0
) -> dict[int, float]:
    """Return how often a model is right at each length, on examples that `learn` did not draw."""
    predict: Predictor = model.eval()
    scores = extrapolation(predict, task, lengths, rows=rows, batch=ASKED, seed=2 * seed + 1)
    return {score.length: score.accuracy for score in scores}
