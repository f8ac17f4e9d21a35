"""The lessons of a language model: streams in, carried states, truncated gradients.

One step of a process that accumulates over two parts of its rows, with gradients that reach back
half of the context:

    part 0   state 0 -> first half  -> loss, backward -> second half -> loss, backward -> state 0
    part 1   state 1 -> first half  -> loss, backward -> second half -> loss, backward -> state 1

A state is cut from its graph between two halves and between two steps, and carried on.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from statewise.tasks.language import Batch, Streams, carries, counted
from statewise.training import truncation
from statewise.training.configuration import LanguageRun
from statewise.training.distillation import Teacher
from statewise.training.lessons import Lessons, Taken
from statewise.training.objective import Objective
from statewise.training.processes import Processes
from statewise.training.progress import Progress


class StreamLessons(Lessons):
    """Text, read by several streams that keep their states.

    The state is carried from step to step, without its gradient, where it stays bounded. `states`
    has those of all parts, and then the teacher's.

    Args:
        model: called with tokens, state and reset.
        streams: the batches.
        config: how many streams, in how many parts, how far gradients reach, and what is lowered.
        rows: of each part that this process reads.
        evaluate: returns the bits per byte on held-out text.
        teacher: to learn from beside the text.
    """

    loss, target, token = "loss_bits", "token", "token"

    def __init__(
        self,
        model: Any,
        streams: Streams,
        config: LanguageRun,
        rows: list[slice],
        evaluate: Callable[[], float],
        *,
        teacher: Teacher | None = None,
    ):
        self.model, self.streams, self.config, self.rows = model, streams, config, rows
        self.evaluate, self.teacher = evaluate, teacher
        self.carries = carries(model, config.context)
        self.objective = Objective(model, config, teacher)
        self.states: list[Any] = [None] * len(rows) * (1 if teacher is None else 2)

    def examples(self, processes: Processes) -> list[Any]:
        """Return an initial state for each part, and the teacher's."""
        readers = [self, *([] if self.teacher is None else [self.teacher])]
        return [
            reader.model.initial_state(rows.stop - rows.start, device=processes.device)
            if reader.carries
            else None
            for reader in readers
            for rows in self.rows
        ]

    def pace(self, step: int) -> float:
        """Return the tokens of a step relative to those of most."""
        return truncation.length(self.config, step) / self.config.context

    def backward(self, wrapped: Any, done: Progress, processes: Processes) -> Taken:
        """Read the next tokens of every stream, piece by piece, with a backward pass for each."""
        length = truncation.length(self.config, done.step)
        before = done.tokens // self.config.streams
        nats, targets = 0.0, 0
        for part, rows in enumerate(self.rows):
            batch = self.streams.read(before, length, rows)
            cost, count = self._part(part, batch, wrapped, done, processes)
            nats, targets = nats + cost, targets + count
        return Taken(nats, targets, self.config.streams * length)

    def _part(
        self, part: int, batch: Batch, wrapped: Any, done: Progress, processes: Processes
    ) -> tuple[float, int]:
        """Add the gradients of one part of the rows; return its nats and how many targets.

        Args:
            part: which, whose states go on.
            batch: what it reads.
            wrapped: the callable that trains the model.
            done: how far the run is.
            processes: that train together.
        """
        config, parts = self.config, len(self.rows)
        length = batch.inputs.shape[1]
        size = config.truncation or length
        pieces = zip(*(x.split(size, 1) for x in batch), strict=True)
        cuts = truncation.cuts(config, done.step, -(-length // size))
        # By all positions and not by those that count: however the rows are divided among parts and
        # processes, the sum is the same. Processes are averaged.
        share = processes.count / (config.streams * length)
        state = self.states[part]
        theirs = None if self.teacher is None else self.states[part + parts]
        pending = torch.zeros((), device=processes.device)
        nats, targets = 0.0, 0
        for number, (piece, cut) in enumerate(zip(pieces, cuts, strict=True), 1):
            here = Batch(*(x.to(processes.device) for x in piece))
            with processes.sync(wrapped, part == parts - 1 and number == len(cuts)):
                with processes.precision():
                    cost, lowered, state, theirs = self.objective(wrapped, here, state, theirs)
                    pending = pending + lowered
                if cut:
                    (pending * share).backward()
                    pending = torch.zeros_like(pending)
            if not self.carries:
                state = None
            elif cut:
                state = tree_map(Tensor.detach, state)
            else:
                state = truncation.amplified(state, 1 / (1 - config.truncation_chance))
            nats += cost.item()
            targets += int(counted(here.targets))
        self.states[part] = state
        if self.teacher is not None:
            self.states[part + parts] = theirs
        return nats, targets

    def cost(self) -> float:
        """Return the bits per byte on held-out text."""
        return self.evaluate()

    def figures(self, cost: float) -> dict[str, float]:
        """Return the bits per byte."""
        return {"bits_per_byte": cost}

    def sentence(self, cost: float) -> str:
        """Return the bits per byte in words."""
        return f"{cost:.4f} bits per byte on held-out text"

    def short(self, cost: float) -> str:
        """Return the bits per byte for a bar."""
        return f"{cost:.3f} bits/byte"
