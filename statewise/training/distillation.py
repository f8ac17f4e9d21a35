"""Learning from another model's answers beside the text's.

    (1 - weight) cross entropy + weight temperature^2 KL(softmax(z' / temperature) ||
                                                         softmax(z / temperature))

with z the learner's logits and z' the teacher's. Hinton, Vinyals and Dean, "Distilling the
Knowledge in a Neural Network", 2015, arXiv:1503.02531, section 2: the factor temperature^2 keeps
the gradient as large as it is at 1.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from statewise.tasks import examples
from statewise.tasks.examples import Examples
from statewise.tasks.language import carries


def divergence(
    logits: Float[Tensor, "*axes vocab"],
    teacher: Float[Tensor, "*axes vocab"],
    where: Bool[Tensor, "*axes"],
    *,
    temperature: float = 1.0,
) -> Float[Tensor, ""]:
    """Return temperature^2 times how far answers are from the teacher's, added up, in nats.

    Args:
        logits: the learner's.
        teacher: the teacher's, which no gradient reaches.
        where: answers that count.
        temperature: what both are divided by, above 0.
    """
    mine = (logits[where] / temperature).log_softmax(-1)
    theirs = (teacher.detach()[where] / temperature).log_softmax(-1)
    return temperature**2 * nn.functional.kl_div(mine, theirs, log_target=True, reduction="sum")


def believed(
    model: Any, *, weight: float = 0.5, temperature: float = 2.0
) -> Callable[[Tensor, Examples], Tensor]:
    """Return the equation above as a loss of examples, by the mean over answers that count.

    Args:
        model: the teacher, in eval mode: it maps tokens to logits and a state.
        weight: of what it says, from 0 to 1.
        temperature: what logits are divided by, above 0.
    """

    def loss(logits: Tensor, drawn: Examples) -> Tensor:
        with torch.no_grad():
            told, _ = model(drawn.tokens)
        apart = divergence(logits, told, drawn.mask, temperature=temperature) / drawn.mask.sum()
        return (1 - weight) * examples.loss(logits, drawn) + weight * apart

    return loss


class Teacher:
    """A model that reads along, with states of its own.

    Args:
        model: in eval mode, with the learner's vocabulary.
        context: tokens that are read at once; a state that grows with them is not carried.
    """

    def __init__(self, model: Any, *, context: int):
        self.model, self.carries = model, carries(model, context)

    @torch.no_grad()
    def answer(
        self,
        tokens: Int[Tensor, "batch time"],
        state: Any,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch time vocab"], Any]:
        """Return the logits of what follows, and the state to carry, or None."""
        logits, state = self.model(tokens, state, reset=reset)
        return logits, state if self.carries else None
