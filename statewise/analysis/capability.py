"""The capability card of a mixer: what it costs and which small tasks it solves, all measured.

Costs are those of one mixer alone. The tasks are learned by a small stack of it, as
`statewise train lm` builds one (a short convolution before each mixer, a feed-forward layer after),
up to one length, and asked at that length and at four times it. Solved means right at the long one.
"""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from statewise import mixers
from statewise import state as states
from statewise.analysis import theory
from statewise.analysis.learning import accuracy_by_length, learn, stack
from statewise.analysis.theory import Verdict
from statewise.analysis.throughput import median_seconds, training_seconds
from statewise.mixers.base import Mixer
from statewise.tasks.associative_recall import AssociativeRecall
from statewise.tasks.examples import Task
from statewise.tasks.group_words import GroupWords
from statewise.tasks.modular_counting import ModularCounting
from statewise.tasks.parity import Parity

SOLVED = 0.99
"""The accuracy at four times the training length from which a task counts as solved."""

LENGTH, LONGER = 32, 4
"""Tokens of an example in training, and how many times as many are asked at the end."""

SPEED_BATCH, SPEED_TIME = 8, 256
"""The size at which tokens per second are measured."""

RECALL = AssociativeRecall()
TASKS: dict[str, Task] = {
    "parity": Parity(),
    "modular counting": ModularCounting(),
    "words over S3": GroupWords(),
    "associative recall": RECALL,
}
"""By name; nothing is drawn until a card is made."""


@dataclass(frozen=True)
class Cost:
    """What one mixer costs, measured."""

    parameters: int
    state_numbers: int
    """Kept per row after `LENGTH * LONGER` inputs."""
    state_bytes: int
    state_grows: bool
    step_microseconds: float
    """The median of a step of one row."""
    training_tokens_per_second: float
    """Forward and backward of `SPEED_BATCH` rows of `SPEED_TIME` inputs, at the median."""
    threads: int


@dataclass(frozen=True)
class Result:
    """What a stack learned of one task."""

    accuracy: float
    """At the training length."""
    accuracy_longer: float
    """At `LONGER` times that."""
    chance: float
    solved: bool
    steps: int
    """Of training, those with a gradient that was not finite left out."""
    skipped: int
    """Steps left out."""
    seconds: float
    theory: Verdict


@dataclass(frozen=True)
class Card:
    """What `card` found."""

    mixer: str | dict[str, Any]
    family: str
    dim: int
    depth: int
    length: int
    longer: int
    threshold: float
    seed: int
    cost: Cost
    tasks: dict[str, Result]


def card(
    mixer: str | Mapping[str, Any],
    *,
    seconds: float = 30.0,
    steps: int | None = None,
    dim: int = 64,
    depth: int = 2,
    learning_rate: float = 3e-3,
    seed: int = 0,
    quiet: bool = False,
) -> Card:
    """Measure one mixer of the catalogue.

    Args:
        mixer: a name, or `{"name": ..., option: value}`.
        seconds: of training on each task.
        steps: of training on each task, in place of seconds: then the same seed learns the same.
        dim: features the mixer reads.
        depth: layers of the stack that learns the tasks.
        learning_rate: the highest; it rises over the first twentieth and then falls to zero.
        seed: of weights and examples.
        quiet: whether to show no bar.

    Raises:
        ValueError: for a mixer or an option that does not exist, a mixer that reads the whole
            sequence before it answers, or a number out of range.
    """
    for name, value in {"seconds": seconds, "steps": steps, "dim": dim, "depth": depth}.items():
        if value is not None and not value > 0:
            raise ValueError(f"{name} is {value}; a card needs more than zero")
    spec = mixer if isinstance(mixer, str) else dict(mixer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        alone = mixers.build(spec, dim)
        if not isinstance(alone, Mixer):
            raise ValueError(
                f"{type(alone).__name__} reads the whole sequence before it answers; a card is of "
                "mixers that keep a state and answer from left to right"
            )
        name = spec if isinstance(spec, str) else spec["name"]
        family = next(head.family for head in mixers.heads() if head.name == name)
        cost = _cost(alone.eval(), dim)
        results = {}
        # In a file every state of the bar is a line of its own, so that few are enough.
        pause = 0.1 if sys.stderr.isatty() else 10.0
        with tqdm(
            total=len(TASKS) * (seconds if steps is None else steps),
            disable=quiet,
            leave=False,
            mininterval=pause,
            maxinterval=pause,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
        ) as bar:
            for title, task in TASKS.items():
                bar.set_description(title)
                torch.manual_seed(seed)
                model = stack(spec, task, dim=dim, depth=depth)
                size = depth * cost.state_numbers
                says = _theory(spec, title, depth, size)
                results[title] = _learn(
                    model, task, seconds, steps, learning_rate, seed, says, bar.update
                )
    return Card(spec, family, dim, depth, LENGTH, LONGER, SOLVED, seed, cost, results)


def _cost(mixer: Mixer[Any], dim: int) -> Cost:
    """Measure one mixer."""
    time_ = LENGTH * LONGER
    with torch.no_grad():
        _, state = mixer(torch.randn(1, time_, dim))
        x = torch.randn(1, dim)
        step = median_seconds(lambda: mixer.step(x, state), least=20, most=500, seconds=0.5)
    x = torch.randn(SPEED_BATCH, SPEED_TIME, dim)
    took = training_seconds(
        lambda x: mixer(x)[0], x, mixer.parameters(), least=5, most=20, seconds=1.0
    )
    return Cost(
        parameters=sum(p.numel() for p in mixer.parameters()),
        state_numbers=mixer.state_size(time_),
        state_bytes=states.nbytes(state),
        state_grows=mixer.state_size(1) != mixer.state_size(time_),
        step_microseconds=1e6 * step,
        training_tokens_per_second=SPEED_BATCH * SPEED_TIME / took,
        threads=torch.get_num_threads(),
    )


def _learn(
    model: nn.Module,
    task: Task,
    seconds: float,
    steps: int | None,
    learning_rate: float,
    seed: int,
    says: Verdict,
    watch: Callable[[float], object],
) -> Result:
    """Train a model on a task, ask it, and tell `watch` how much of the budget is used."""
    start = time.perf_counter()
    taken, skipped = learn(
        model,
        task,
        seconds=seconds,
        steps=steps,
        learning_rate=learning_rate,
        length=LENGTH,
        seed=seed,
        watch=watch,
    )
    spent = time.perf_counter() - start
    right = accuracy_by_length(model, task, (LENGTH, LENGTH * LONGER), seed=seed)
    short, long = right.values()
    return Result(
        short, long, 1 / task.answers, long >= SOLVED, taken, skipped, round(spent, 1), says
    )


def _theory(spec: str | dict[str, Any], title: str, depth: int, size: int) -> Verdict:
    words = {"parity": "parity", "modular counting": "counting", "words over S3": "words"}
    if title in words:
        return theory.verdict(spec, words[title], depth=depth)
    pairs = RECALL.pairs(LENGTH * LONGER)
    return theory.recall(spec, size=size, pairs=pairs, answers=RECALL.answers)


def as_data(card: Card) -> dict[str, Any]:
    """Return a card as plain data, which JSON can hold."""
    data = asdict(card)
    for title, result in card.tasks.items():
        data["tasks"][title]["theory"] = result.theory._asdict()
    return data


def describe(card: Card) -> str:
    """Return a card as a person reads it."""
    cost, long = card.cost, card.length * card.longer
    grows = f", after {long} inputs; it grows" if cost.state_grows else ""
    threads = f"{cost.threads} thread{'s' if cost.threads > 1 else ''}"
    lines = [
        f"{card.mixer}   {card.family}",
        "",
        f"one mixer of {card.dim} features, float32, {threads}",
        f"  state        {cost.state_numbers:,} numbers, {cost.state_bytes:,} bytes a row{grows}",
        f"  parameters   {cost.parameters:,}",
        f"  step         {cost.step_microseconds:,.0f} us, one row, median",
        f"  training     {cost.training_tokens_per_second:,.0f} tokens/s, forward and backward, "
        f"{SPEED_BATCH} rows of {SPEED_TIME}",
        "",
        f"{card.depth} layers, trained up to length {card.length}; "
        f"solved: {card.threshold:.0%} right at {long}",
        f"  {'':20}{card.length:>6}{long:>8}{'chance':>8}   {'':8}{'theory':10}{'steps':>6}"
        f"{'seconds':>9}",
    ]
    for title, result in card.tasks.items():
        learned = f"to {card.length}" if result.accuracy >= card.threshold else "no"
        lines.append(
            f"  {title:20}{result.accuracy:6.1%}{result.accuracy_longer:8.1%}{result.chance:8.1%}"
            f"   {'solved' if result.solved else learned:8}{_WORDS[result.theory.allowed]:10}"
            f"{result.steps:6}{result.seconds:9.0f}"
        )
        if result.skipped:
            lines.append(
                f"  {'':20}{result.skipped} steps left out: their gradients were no numbers"
            )
    lines += ["", "theory, of all lengths"]
    reasons: dict[tuple[str, str], list[str]] = {}
    for title, result in card.tasks.items():
        says = result.theory
        reasons.setdefault((says.why, says.source), []).append(f"{title} {_WORDS[says.allowed]}")
    for (why, source), titles in reasons.items():
        lines += [f"  {', '.join(titles)}", f"    {why}", f"    {source}"]
    return "\n".join(lines)


_WORDS = {True: "allowed", False: "excluded", None: "open"}
