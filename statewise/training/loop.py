"""The loop: lessons in, gradients clipped, a bar, checkpoints, a clean stop.

one step    the lessons' forward and backward passes -> the sum of all gradients, over all
            processes, clipped -> one step of the optimizer
            -> what is held of weights: zeros, norms, their mean
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from torch import nn
from torch.utils._pytree import tree_leaves

from statewise import backends
from statewise.training import averaging, optimization, progress, sparsity
from statewise.training.averaging import Average
from statewise.training.bars import TrainingBar
from statewise.training.configuration import Often, Running
from statewise.training.constraints import NormConstraint
from statewise.training.lessons import Lessons, Taken
from statewise.training.processes import Processes
from statewise.training.progress import Progress
from statewise.training.runs import Run

MEASURED = 12
"""Steps whose tokens per second say how many tokens equal compute allows."""


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


def refuse_names(config: Running, model: nn.Module) -> None:
    """Refuse what no matrix of a model is, before anything is written.

    Raises:
        ValueError: for names in `sparsity` and `constraint` that are none of matrices that fit.
    """
    wanted = config.sparsity
    if wanted.share:
        sparsity.masks_of(model, wanted.share, method=wanted.method, only=wanted.only)
    _constraint(config, model)


def _constraint(config: Running, model: nn.Module) -> NormConstraint | None:
    wanted = config.constraint
    if wanted.only is None:
        return None
    held = sparsity.matrices(model, wanted.only).values()
    return NormConstraint(held, limit=wanted.limit, rate=wanted.rate)


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
        self.optimizer = optimization.optimizer(config.optimizer, self.model, processes.device)
        self.average: Average | None = None
        self.masks: sparsity.Masks = {}
        self.constraint = _constraint(config, self.model)
        self.rates: list[float] = []
        self.progress = Progress()
        self.scored = self.saved = -1  # the steps of the last score and the last checkpoint
        if last := run.last():
            self._go_on(last)
        else:
            run.forget_after(-1)  # what an earlier try measured that left no checkpoint

    def _go_on(self, folder: Path) -> None:
        self.progress, self.lessons.states, kept = progress.load(
            folder,
            model=self.model,
            optimizer=self.optimizer,
            like=self.lessons.examples(self.processes),
            about=self.about,
            rank=self.processes.rank,
            replicated=not self.processes.sharded,
        )
        self.masks = kept.get("mask", {})
        if self.constraint is not None:
            self.constraint.multipliers = kept["multiplier"]
        if count := self.progress.averaged:
            self.average = Average.go_on(self.model, count, kept["average"])
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
        evaluations = _Due(config.evaluation, done, since=done.read)
        checkpoints = _Due(config.checkpoints, done, since=done.step)
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
                before = (time.perf_counter(), done.tokens)
                if done.step == began_at:
                    taken, norm = self._first_step(share)
                else:
                    taken, norm = self._step(share)
                if config.equal_compute and not done.budget:
                    seconds = time.perf_counter() - before[0]
                    self._allow((done.tokens - before[1]) / seconds, config.equal_compute)
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
        shares = [getattr(done, name) / (end or math.inf) for name, end in self.config.ends.items()]
        return max(*shares, done.tokens / (done.budget or math.inf))

    def _allow(self, rate: float, seconds: float) -> None:
        """Note the tokens per second of a step; after some of them, say how many tokens there are.

        Medians, and not the first steps, in which memory is laid out.
        """
        self.rates.append(rate)
        if len(self.rates) < MEASURED:
            return
        rate, token = median(self.rates[MEASURED // 3 :]), self.lessons.token
        (self.progress.budget,) = self.processes.agree(math.ceil(rate * seconds))
        self._event("equal compute", f"{self.progress.budget} {token}s, at {rate:.0f} per second")

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
        rate = optimization.learning_rate(config.optimizer, done.step, share)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * self.lessons.pace(done.step)
        if config.sparsity.share and not self.masks and done.step >= config.sparsity.step:
            self._thin()
        self.wrapped.train()
        taken = self.lessons.backward(self.wrapped, done, processes)
        sparsity.apply_to_gradients(self.masks)
        if self.constraint is not None:
            self.constraint.add_gradients()
        norm = processes.norm(
            nn.utils.clip_grad_norm_(self.model.parameters(), config.optimizer.clip)
        )
        if math.isfinite(norm):
            if variance := config.optimizer.gradient_noise:
                groups = self.optimizer.param_groups
                optimization.add_noise(groups, variance, done.step, config.seed)
            self.optimizer.step()
            sparsity.apply(self.masks)
            if self.constraint is not None:
                self.constraint.ascend()
            if self.average is not None:
                self.average.add()
                done.averaged = self.average.count
        else:
            self._not_finite()
        self.optimizer.zero_grad(set_to_none=True)
        done.step += 1
        done.tokens += taken.tokens
        return taken, norm

    def _thin(self) -> None:
        """Set so many weights to zero as were asked for, from now on."""
        wanted, done = self.config.sparsity, self.progress
        self.masks = sparsity.masks_of(
            self.model, wanted.share, method=wanted.method, only=wanted.only, seed=self.config.seed
        )
        sparsity.apply(self.masks)
        if self.average is not None:  # of weights that are gone
            self.average, done.averaged = Average(self.model), 1
        gone = sum(int((~mask).sum()) for mask in self.masks.values())
        whole = sum(mask.numel() for mask in self.masks.values())
        self._event("sparse", f"{gone} of {whole} weights are zero")

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
        self.lessons.states = [s if s is not None and _finite(s) else None for s in states]

    def _score(self) -> None:
        """Read the held-out data, and save the run."""
        done, patience = self.progress, self.config.optimizer.average_after
        self.scored = done.read = done.step
        with self._mean():
            cost = self.lessons.cost()
            self.processes.scored(self.model)
        if patience is not None and self.average is None:
            if averaging.triggered(done.readings, cost, patience):
                self.average, done.averaged = Average(self.model), 1
                than = f"the best reading but for the last {patience}"
                self._event("averaging", f"{self.lessons.sentence(cost)} is worse than {than}")
            done.readings.append(cost)
        best = cost < done.best
        done.best, done.worse = min(cost, done.best), 0 if best else done.worse + 1
        self._record(**self.lessons.figures(cost))
        self.run.say(f"step {done.step}: {self.lessons.sentence(cost)}")
        self._save(best=best)

    def _mean(self) -> AbstractContextManager[None]:
        """Return a context in which the model has the mean of its weights, if there is one."""
        return nullcontext() if self.average is None else self.average.in_place()

    def _kept(self) -> progress.Kept:
        """Return what belongs to parameters beside the optimizer's moments."""
        return {
            "average": self.average.means if self.average else {},
            "mask": self.masks,
            "multiplier": self.constraint.multipliers if self.constraint else {},
        }

    def _save(self, *, best: bool) -> None:
        done, processes = self.progress, self.processes
        name = f"step-{done.step}"
        if self.saved != done.step:
            processes.wait()
            with self.run.begin(name) as folder, self._mean():
                processes.wait()
                processes.save_model(self.model, folder)
                progress.save(
                    folder,
                    done,
                    model=self.model,
                    optimizer=self.optimizer,
                    states_of_parts=self.lessons.states,
                    kept=self._kept(),
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


def _finite(state: Any) -> bool:
    return all(x.isfinite().all() for x in tree_leaves(state))


def _bits(nats: float, targets: float | int) -> float:
    """Return the mean cost of a target in bits."""
    return nats / max(targets, 1) / math.log(2)


class _Due:
    """Whether something is to be done again; asking starts the time anew when it is."""

    def __init__(self, often: Often, progress: Progress, *, since: int):
        if often.steps and not often.seconds:
            # Then the times of a run that goes on are those of one that never stopped.
            since = progress.step - progress.step % often.steps
        self.often, self.at = often, (since, progress.seconds)

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
