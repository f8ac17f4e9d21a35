"""What the training loop costs, and whether its memory depends on how much it reads.

    python -m benchmarks.training

First the resident memory of one long run, with the state carried from step to step, after ten
thousand tokens and after a million. Then tokens a second of the loop beside a bare `for` loop
around the same model, data and optimizer, in turn, round after round; the ratio is that of the
medians.
Evaluations and checkpoints are not part of it: a run has as many as it asks for.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from benchmarks.timing import machine
from statewise.models.language_model import LanguageModel, LanguageModelConfig
from statewise.tasks.documents import manual
from statewise.tasks.language import Batch, Streams, loss
from statewise.training.configuration import Checkpoints, Data, Evaluation, LanguageRun
from statewise.training.loop import Training
from statewise.training.memory import keep_memory
from statewise.training.optimization import learning_rate, parameter_groups
from statewise.training.processes import Processes
from statewise.training.runs import Run
from statewise.training.streaming import StreamLessons


def configuration(folder: str, **options: Any) -> LanguageRun:
    """Return a run that neither evaluates nor saves before its end."""
    return LanguageRun(
        data=Data(path="the text that every Python carries"),
        evaluation=Evaluation(seconds=None),
        checkpoints=Checkpoints(seconds=None),
        out=folder,
        overwrite=True,
        quiet=True,
        **options,
    )


def build(config: LanguageRun) -> LanguageModel:
    """Return the model of a run, always with the same weights."""
    torch.manual_seed(config.seed)
    return LanguageModel(LanguageModelConfig.from_preset(config.preset, mixer=config.mixer))


def ours(config: LanguageRun, streams: Streams) -> float:
    """Train with the loop; return tokens a second."""
    run = Run(config.out, {}, overwrite=True)
    model, processes = build(config), Processes(config)
    rows = processes.rows(config.streams, config.accumulate)
    lessons = StreamLessons(model, streams, config, rows, lambda: 1.0)
    training = Training(model, lessons, config, run, processes=processes, about={})
    outcome = training.run_to_its_end()
    return outcome.tokens / outcome.seconds


def bare(config: LanguageRun, streams: Streams) -> float:
    """Train with the loop that anybody would write; return tokens a second."""
    model = build(config).train()
    groups = parameter_groups(model, config.optimizer.weight_decay)
    optimizer = torch.optim.AdamW(groups, betas=config.optimizer.betas, fused=True)
    state, steps = None, config.max_steps or 0
    began = time.perf_counter()
    for step in range(steps):
        batch = streams.batch(step)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config.optimizer, step, step / steps)
        reset = batch.reset if batch.reset.any() else None
        logits, state = model(batch.inputs, state, reset=reset)
        loss(logits, batch.targets).backward()
        state = tree_map(Tensor.detach, state)
        nn.utils.clip_grad_norm_(model.parameters(), config.optimizer.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return steps * config.streams * config.context / (time.perf_counter() - began)


class Watched(Streams):
    """Streams that note the resident memory whenever a batch is read."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.resident: list[int] = []

    def read(self, *arguments: Any, **options: Any) -> Batch:
        """Return a batch, as ever."""
        self.resident.append(psutil.Process().memory_info().rss)
        return super().read(*arguments, **options)


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    keep_memory()
    print(", ".join(f"{k} {v}" for k, v in machine().items()))
    documents = [torch.tensor(list(manual().encode()))]
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "run")
        # First, while the process has nothing else to take memory from.
        config = configuration(out, preset="tiny", max_tokens=1_000_000)
        watched = Watched(documents, streams=config.streams, context=config.context)
        ours(config, watched)
        print("\nresident memory after reading")
        for tokens in (10_000, 100_000, 1_000_000):
            step = min(tokens // (config.streams * config.context), len(watched.resident) - 1)
            print(f"{tokens:16,} tokens {watched.resident[step] / 2**20:8.1f} MB")

        print(f"\n{'tokens/s':24}{'loop':>10}{'bare':>10}{'ratio':>8}")
        for preset, mixer in (("small", "min_gru"), ("small", "lstm"), ("tiny", "min_gru")):
            config = configuration(out, preset=preset, mixer=mixer, max_steps=options.steps)
            streams = Streams(documents, streams=config.streams, context=config.context)
            sides: dict[Callable[..., float], list[float]] = {ours: [], bare: []}
            for turn in range(options.rounds + 1):
                for side, rates in sides.items():
                    rate = side(config, streams)
                    if turn:  # the first warms up
                        rates.append(rate)
            a, b = (median(rates) for rates in sides.values())
            print(f"{preset + ', ' + mixer:24}{a:10,.0f}{b:10,.0f}{a / b:8.3f}")


if __name__ == "__main__":
    main()
