"""What a step lowers: the cost of targets, a teacher's part in it, and what activations cost."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from statewise.tasks.language import IGNORED, Batch, loss_sum
from statewise.training import penalties
from statewise.training.configuration import LanguageRun
from statewise.training.distillation import Teacher, divergence


class Read(NamedTuple):
    """What a piece of text came to."""

    cost: Tensor
    """Of its targets, in nats."""
    lowered: Tensor
    """What gradients are taken of, added up over its tokens."""
    state: Any
    """After it, with its graph."""
    theirs: Any
    """The teacher's state after it; None if there is no teacher."""


class Objective:
    """Reads pieces of text with a model in training.

    Args:
        model: whose activations may cost something.
        config: which penalties, and how much the teacher says.
        teacher: to learn from beside the text, if there is one.
    """

    def __init__(self, model: Any, config: LanguageRun, teacher: Teacher | None):
        self.model, self.teacher = model, teacher
        self.penalties, self.distillation = config.penalties, config.distillation

    def __call__(self, wrapped: Any, piece: Batch, state: Any, theirs: Any) -> Read:
        """Return what a piece came to.

        Args:
            wrapped: the callable that trains the model.
            piece: some times of some rows.
            state: of the model before it.
            theirs: the teacher's state, or None.
        """
        # Most steps have no reset, and a mixer told so has less to do.
        reset = piece.reset if piece.reset.any() else None
        with self._noted() as heard:
            logits, state = wrapped(piece.inputs, state, reset=reset)
        cost = lowered = loss_sum(logits, piece.targets)
        if self.teacher is not None:
            weight = self.distillation.weight
            answers, theirs = self.teacher.answer(piece.inputs, theirs, reset)
            counts, heat = piece.targets != IGNORED, self.distillation.temperature
            apart = divergence(logits, answers, counts, temperature=heat)
            lowered = (1 - weight) * cost + weight * apart
        for h in heard:
            lowered = lowered + self._penalty(h, piece.reset)
        return Read(cost, lowered, state, theirs)

    def _noted(self) -> AbstractContextManager[list[Tensor]]:
        """Return a context that gives what penalties are of, if there are any."""
        wanted = self.penalties.loudness or self.penalties.drift
        return penalties.answers(self.model) if wanted else nullcontext([])

    def _penalty(self, h: Tensor, reset: Tensor) -> Tensor:
        """Return what activations cost."""
        cost = h.new_zeros((), dtype=torch.float32)
        if self.penalties.loudness:
            cost = cost + self.penalties.loudness * penalties.loudness(h)
        if self.penalties.drift:
            cost = cost + self.penalties.drift * penalties.drift(h, ~reset)
        return cost
