"""The loop: lessons in, gradients clipped, a bar, checkpoints, a clean stop.

one step    the lessons' forward and backward passes -> the sum of all gradients, over all
            processes, clipped -> one step of AdamW
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from statewise import backends
from statewise.training import optimization, progress
from statewise.training.bars import TrainingBar
from statewise.training.configuration import Often, Running
from statewise.training.lessons import Lessons, Taken
from statewise.training.processes import Processes
from statewise.training.progress import Progress
from statewise.training.runs import Run


class Outcome(NamedTuple):
    """How a training ended."""

    steps: int
    seconds: float
    tokens: int
    best: float
    """The lowest cost of the held-out data."""
    signal: int | None
    """What interrupted it, such as signal.SIGINT, or None if it came to its end."""


class NotFinite(ArithmeticError):
    """A gradient is not finite; the checkpoints are as they were."""


class Interrupted(OSError):
    """The run could not go on; the message names the last good checkpoint."""


class Training:
    """The training of a model until one of the ends that are set, or Ctrl-C.

    Args:
        model: it has `save_pretrained`, and the weights of the last checkpoint where the run goes
            on.
        lessons: what it is trained on; they call it.
        config: how long and how.
        run: where measurements and checkpoints go.
        processes: that train together.
        about: what must be the same when the run goes on.
    """

    def __init__(
        self,
        model: Any,
        lessons: Lessons,
        config: Running,
        run: Run,
        *,
        processes: Processes,
        about: dict[str, Any],
    ):
        self.lessons, self.config, self.run = lessons, config, run
        self.processes = processes
        self.about = {**about, "processes": processes.count}
        self.model, self.wrapped = processes.distribute(model)
        self.optimizer = torch.optim.AdamW(
            optimization.parameter_groups(self.model, config.optimizer.weight_decay),
            lr=config.optimizer.learning_rate,
            betas=config.optimizer.betas,
            fused=processes.device.type in ("cpu", "cuda"),
        )
        self.progress = Progress()
        self.scored = self.saved = -1  # the steps of the last score and the last checkpoint
        if last := run.last():
            self._go_on(last)
        else:
            run.forget_after(-1)  # what an earlier try measured that left no checkpoint

    def _go_on(self, folder: Path) -> None:
        self.progress, self.lessons.states = progress.load(
            folder,
            model=self.model,
            optimizer=self.optimizer,
            like=self.lessons.examples(self.processes),
            about=self.about,
            rank=self.processes.rank,
            replicated=not self.processes.sharded,
        )
        self.saved = self.progress.step
        self.run.forget_after(self.progress.step)
        self._event("resumed", f"from {folder.name}")

    def run_to_its_end(self) -> Outcome:
        """Train, evaluate and save.

        Raises:
            NotFinite: if a gradient is not, and the run should stop there; the checkpoints are
                kept.
            Interrupted: if the run folder could not be written to.
        """
        try:
            with _interruption() as came:
                return self._loop(came)
        except OSError as error:
            if not self.run.folder.exists():
                # Somebody deleted it: what was learned is not lost with it.
                self.saved = -1
                self._save(best=True)
            raise Interrupted(f"{error}{self._where_to_go_on()}") from error

    def _loop(self, came: Callable[[], int]) -> Outcome:
        config, done = self.config, self.progress
        began = time.perf_counter() - done.seconds
        evaluations, checkpoints = _Due(config.evaluation, done), _Due(config.checkpoints, done)
        measured, began_at = (time.perf_counter(), done.tokens), done.step
        bar = TrainingBar(config, done, self.lessons, shown=self.processes.main)
        try:
            while True:
                done.seconds = time.perf_counter() - began
                share = self._share()
                stop = done.worse >= (config.evaluation.patience or math.inf)
                number, over, evaluation, checkpoint = self.processes.agree(
                    came(), share >= 1 or stop, evaluations(done), checkpoints(done)
                )
                if number or over:
                    break
                # Not when the end is so near that the last evaluation says the same.
                if evaluation and share * (1 + 0.5 * evaluations.share(done)) < 1:
                    self._score()
                    continue  # for what was read may end the run
                if checkpoint:
                    self._save(best=False)
                if done.step == began_at:
                    taken, norm = self._first_step(share)
                else:
                    taken, norm = self._step(share)
                bar.update(done, _bits(taken.nats, taken.targets))
                if done.step % config.log_steps == 0:
                    now = (time.perf_counter(), done.tokens)
                    rate = (now[1] - measured[1]) / (now[0] - measured[0])
                    measured = now
                    self._measure(taken, norm, rate)
        finally:
            bar.close()
        if number:
            self._event("interrupted", signal.Signals(number).name)
            self._save(best=False)
        else:
            if stop:
                self._event("stopped early", f"no better score in {done.worse} readings")
            if self.scored != done.step:
                self._score()
        rate, token = done.tokens / max(done.seconds, 1e-9), self.lessons.token
        self.run.say(
            f"{done.step} steps, {done.tokens} {token}s, {done.seconds:.1f} s, "
            f"{rate:.0f} {token}s/s"
        )
        return Outcome(done.step, done.seconds, done.tokens, done.best, number or None)

    def _share(self) -> float:
        """Return how much of the run is done, from 0 to 1."""
        done = self.progress
        return max(
            getattr(done, name) / (end or math.inf) for name, end in self.config.ends.items()
        )

    def _first_step(self, share: float) -> tuple[Taken, float]:
        """Take a step, and say which backend each op uses."""
        with backends.noted() as choices:
            figures = self._step(share)
        for op, chosen in sorted(choices.items()):
            each = (f"{choice.backend} ({choice.reason})" for choice in sorted(chosen))
            self.run.say(f"{op} runs on {' and '.join(each)}")
        return figures

    def _step(self, share: float) -> tuple[Taken, float]:
        """Take one step; return what it came to, and the gradient's norm."""
        config, done, processes = self.config, self.progress, self.processes
        for group in self.optimizer.param_groups:
            group["lr"] = optimization.learning_rate(config.optimizer, done.step, share)
        self.wrapped.train()
        taken = self.lessons.backward(self.wrapped, done.step, processes)
        norm = processes.norm(
            nn.utils.clip_grad_norm_(self.model.parameters(), config.optimizer.clip)
        )
        if math.isfinite(norm):
            if variance := config.optimizer.gradient_noise:
                groups = self.optimizer.param_groups
                optimization.add_noise(groups, variance, done.step, config.seed)
            self.optimizer.step()
        else:
            self._not_finite()
        self.optimizer.zero_grad(set_to_none=True)
        done.step += 1
        done.tokens += taken.tokens
        return taken, norm

    def _not_finite(self) -> None:
        done = self.progress
        names = {parameter: name for name, parameter in self.model.named_parameters()}
        blamed = optimization.not_finite(self.optimizer.param_groups, names)
        sentence = f"the gradient of step {done.step} is not finite {blamed}"
        if self.config.optimizer.not_finite == "stop":
            raise NotFinite(
                f"{sentence} so the run stopped; lower --optimizer.learning_rate, or skip such "
                f"steps with --optimizer.not_finite skip{self._where_to_go_on()}"
            )
        self._event("skipped", sentence)
        # A state that is not finite would make every later step like this one.
        states = self.lessons.states
        sick = [not all(x.isfinite().all() for x in tree_leaves(s)) for s in states]
        self.lessons.states = [None if s else x for s, x in zip(sick, states, strict=True)]

    def _score(self) -> None:
        """Read the held-out data, and save the run."""
        done = self.progress
        self.scored = done.step
        cost = self.lessons.cost()
        self.processes.scored(self.model)
        best = cost < done.best
        done.best, done.worse = min(cost, done.best), 0 if best else done.worse + 1
        self._record(**self.lessons.figures(cost))
        self.run.say(f"step {done.step}: {self.lessons.sentence(cost)}")
        self._save(best=best)

    def _save(self, *, best: bool) -> None:
        done, processes = self.progress, self.processes
        name = f"step-{done.step}"
        if self.saved != done.step:
            processes.wait()
            with self.run.begin(name) as folder:
                processes.wait()
                processes.save_model(self.model, folder)
                progress.save(
                    folder,
                    done,
                    model=self.model,
                    optimizer=self.optimizer,
                    states_of_parts=self.lessons.states,
                    about=self.about,
                    rank=processes.rank,
                    replicated=not processes.sharded,
                )
                processes.wait()
        self.run.point(name, best=best)
        self.saved = done.step

    def _measure(self, taken: Taken, norm: float, rate: float) -> None:
        self._record(
            **{self.lessons.loss: _bits(*self.processes.total(taken.nats, taken.targets))},
            learning_rate=self.optimizer.param_groups[0]["lr"],
            gradient_norm=norm,
            tokens_per_second=round(rate, 1),
        )

    def _event(self, event: str, why: str) -> None:
        self._record(event=event, why=why)
        self.run.say(f"step {self.progress.step}: {event}: {why}")

    def _record(self, **values: Any) -> None:
        done = self.progress
        at = {"step": done.step, "seconds": round(done.seconds, 3), "tokens": done.tokens}
        self.run.measure(**at, **values)
        self.processes.track({k: v for k, v in values.items() if not isinstance(v, str)}, done.step)

    def _where_to_go_on(self) -> str:
        last = self.run.last()
        if last is None:
            return "; there is no checkpoint yet"
        return f"; the checkpoint {last} is whole, and --resume goes on from it"


def _bits(nats: float, targets: float | int) -> float:
    """Return the mean cost of a target in bits."""
    return nats / max(targets, 1) / math.log(2)


class _Due:
    """Whether something is to be done again; asking starts the time anew when it is."""

    def __init__(self, often: Often, progress: Progress):
        # By steps alone, the times of a run that goes on are those of one that never stopped.
        past = progress.step % often.steps if often.steps and not often.seconds else 0
        self.often, self.at = often, (progress.step - past, progress.seconds)

    def __call__(self, progress: Progress) -> bool:
        steps, seconds = progress.step - self.at[0], progress.seconds - self.at[1]
        due = steps >= (self.often.steps or math.inf) or seconds >= (self.often.seconds or math.inf)
        if due:
            self.at = (progress.step, progress.seconds)
        return due

    def share(self, progress: Progress) -> float:
        """Return the length of one interval relative to what is done."""
        return min(
            (self.often.steps or math.inf) / max(progress.step, 1),
            (self.often.seconds or math.inf) / max(progress.seconds, 1e-9),
        )


@contextmanager
def _interruption() -> Iterator[Callable[[], int]]:
    """Give a function that says which signal came, 0 for none; a second Ctrl-C stops at once."""
    came: list[int] = []

    def note(number: int, frame: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0  # signals reach the main thread alone
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: came[0] if came else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
