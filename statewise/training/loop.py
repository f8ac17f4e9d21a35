"""The loop: streams in, carried state, truncated gradients, a bar, checkpoints, a clean stop."""

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from tqdm import tqdm

from statewise.tasks.language import Streams, carries, loss
from statewise.training.configuration import LanguageRun, Optimizer
from statewise.training.runs import Run


class Outcome(NamedTuple):
    """How a training ended."""

    steps: int
    seconds: float
    tokens: int
    best: float
    interrupted: bool


class NotFinite(ArithmeticError):
    """A gradient is not finite; the checkpoints are as they were."""


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the parameters as AdamW wants them: matrices decay; vectors and embeddings do not."""
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    decays = [p for p in model.parameters() if p.ndim >= 2 and id(p) not in embeddings]
    others = [p for p in model.parameters() if p.ndim < 2 or id(p) in embeddings]
    return [
        {"params": decays, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def learning_rate(config: Optimizer, step: int, progress: float) -> float:
    """Return the rate at `step`, where `progress` of the run, from 0 to 1, is done."""
    warm = min(1.0, (step + 1) / (config.warm_up + 1))
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.learning_rate * warm * (config.final + (1 - config.final) * cosine)


def train(
    model: Any,
    streams: Streams,
    config: LanguageRun,
    run: Run,
    evaluate: Callable[[], float],
) -> Outcome:
    """Train a language model until `max_seconds` or `max_steps`, or Ctrl-C.

    The state is carried from step to step, without its gradient, where it stays bounded.

    Args:
        model: called with tokens, state and reset; it has `save_pretrained`.
        streams: the batches.
        config: how long and how.
        run: where measurements and checkpoints go.
        evaluate: returns the bits per byte on held-out text; called every `evaluation.seconds` and
            at the end.

    Raises:
        NotFinite: if a gradient is not; the checkpoints are kept.
    """
    optimizer = torch.optim.AdamW(
        parameter_groups(model, config.optimizer.weight_decay),
        lr=config.optimizer.learning_rate,
        betas=config.optimizer.betas,
        fused=next(model.parameters()).device.type in ("cpu", "cuda"),
    )
    keep = carries(model, config.context)
    began = time.perf_counter()
    evaluated, best, state, step, recent = began, math.inf, None, 0, math.nan

    def save(bits: float) -> None:
        nonlocal best
        run.keep(f"step-{step}", model.save_pretrained, best=bits < best)
        best = min(best, bits)
        run.measure(step=step, seconds=round(time.perf_counter() - began, 3), bits_per_byte=bits)
        run.say(f"step {step}: {bits:.4f} bits per byte on held-out text")

    bar = _Bar(config)
    with _until_interrupted() as interrupted:
        while not interrupted():
            seconds = time.perf_counter() - began
            shares = (
                seconds / (config.max_seconds or math.inf),
                step / (config.max_steps or math.inf),
            )
            progress = max(shares)
            if progress >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config.optimizer, step, progress)
            batch = streams.batch(step)
            model.train()
            # Most steps have no reset, and a mixer told so has less to do.
            reset = batch.reset if batch.reset.any() else None
            logits, state = model(batch.inputs, state if keep else None, reset=reset)
            cost = loss(logits, batch.targets)
            state = tree_map(Tensor.detach, state)
            optimizer.zero_grad(set_to_none=True)
            cost.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), config.optimizer.clip)
            if not torch.isfinite(norm):
                raise NotFinite(
                    f"the gradient of step {step} is not finite; lower --optimizer.learning_rate "
                    f"(the checkpoints in {run.checkpoints} are whole)"
                )
            optimizer.step()
            step += 1
            recent = cost.item() / math.log(2)
            bar.update(step, time.perf_counter() - began, recent, best)
            if step % 10 == 0:
                run.measure(
                    step=step,
                    seconds=round(time.perf_counter() - began, 3),
                    loss_bits=recent,
                    learning_rate=optimizer.param_groups[0]["lr"],
                    gradient_norm=norm.item(),
                )
            # Not when the end is so near that the last evaluation says the same.
            left = (config.max_seconds or math.inf) - (time.perf_counter() - began)
            due = time.perf_counter() - evaluated >= config.evaluation.seconds
            if due and left > config.evaluation.seconds / 2:
                save(evaluate())
                evaluated = time.perf_counter()
    seconds = time.perf_counter() - began
    bar.close()
    save(evaluate())
    tokens = step * config.streams * config.context
    rate = tokens / max(seconds, 1e-9)
    run.say(f"{step} steps, {tokens} tokens, {seconds:.1f} s, {rate:.0f} tokens/s")
    return Outcome(step, seconds, tokens, best, interrupted())


class _Bar:
    """Steps or seconds done, the loss, the best evaluation, tokens per second."""

    def __init__(self, config: LanguageRun):
        self.per_step = config.streams * config.context
        self.by_steps = config.max_seconds is None
        total = config.max_steps if self.by_steps else config.max_seconds
        form = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
        # In a file every state of the bar is a line of its own, so that few are enough.
        pause = 0.1 if sys.stderr.isatty() else 10.0
        self.bar = tqdm(
            total=total,
            desc="training",
            bar_format=form,
            mininterval=pause,
            maxinterval=pause,
            disable=config.quiet,
        )

    def update(self, step: int, seconds: float, loss_bits: float, best: float) -> None:
        figures = f" {loss_bits:.3f} bits/token, {step * self.per_step / seconds:,.0f} tokens/s"
        if math.isfinite(best):
            figures += f", held out {best:.3f} bits/byte"
        self.bar.set_postfix_str(figures, refresh=False)
        done = step if self.by_steps else min(seconds, self.bar.total)
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        self.bar.close()


@contextmanager
def _until_interrupted() -> Iterator[Callable[[], bool]]:
    """Give a function that says whether Ctrl-C or SIGTERM came; a second Ctrl-C stops at once."""
    came: list[int] = []

    def note(number: int, frame: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # signals reach the main thread alone
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
