"""What activations may cost beside the loss: to be large, and to move from one time to the next.

    loudness   sum_t mean_i h_{t,i}^2                     activation regularization, AR
    drift      sum_t mean_i (h_{t,i} - h_{t-1,i})^2       temporal activation regularization, TAR

Merity, McCann and Socher, "Revisiting Activation Regularization for Language RNNs", 2017,
arXiv:1708.01009, section 2; squared as in the AWD-LSTM (arXiv:1708.02182, section 4.5) and not
under a root. Over the times of a delay alone, drift is what keeps a memory where it is: temporal
consistency.

    with answers(model) as h:
        logits, _ = model(tokens)
    cost = loss(logits, targets) + 2.0 * loudness(h[0]) / tokens.numel()
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn

from statewise.mixers.base import Mixer, state_dtype
from statewise.models.stack import Block


def loudness(h: Float[Tensor, "batch time dim"]) -> Float[Tensor, ""]:
    """Return the mean squares of activations, added up over rows and times."""
    return h.to(state_dtype(h.dtype)).square().mean(-1).sum()


def drift(
    h: Float[Tensor, "batch time dim"], where: Bool[Tensor, "batch time"] | None = None
) -> Float[Tensor, ""]:
    """Return the mean squares of what activations move by, added up over rows and times.

    Args:
        h: activations. The first time has none before it, and so costs nothing.
        where: times whose distance from the time before counts; all if absent. Those that begin a
            document should not.
    """
    wide = h.to(state_dtype(h.dtype))
    moved = (wide[:, 1:] - wide[:, :-1]).square().mean(-1)
    return (moved if where is None else moved.where(where[:, 1:], 0)).sum()


@contextmanager
def answers(model: nn.Module) -> Iterator[list[Tensor]]:
    """Give a list that gains what the last mixer with a memory answers, while the model is called.

    It is of the last block that has one: after it there may be a feed-forward layer.

    Args:
        model: made of a `Stack`, as a language model is.

    Raises:
        ValueError: if no mixer of the model has a memory.
    """
    found: list[Tensor] = []

    def note(module: nn.Module, given: Any, answer: Any) -> None:
        found.append(answer[0])

    hook = last_memory(model).register_forward_hook(note)
    try:
        yield found
    finally:
        hook.remove()


@contextmanager
def penalized(model: nn.Module, alpha: float, beta: float) -> Iterator[Callable[[], Tensor]]:
    """Give what returns the cost of the last answers, by the mean over rows and times.

    Args:
        model: as `answers` has it.
        alpha: times `loudness`.
        beta: times `drift`.
    """
    with answers(model) as heard:

        def cost() -> Tensor:
            h = heard[-1]
            heard.clear()
            return (alpha * loudness(h) + beta * drift(h)) / h[..., 0].numel()

        yield cost


def last_memory(model: nn.Module) -> Mixer[Any]:
    """Return the last mixer of the last block that has one whose state holds anything.

    Raises:
        ValueError: if there is none.
    """
    blocks = [block for block in model.modules() if isinstance(block, Block)]
    for block in reversed(blocks):
        for part in reversed(block.parts):
            if isinstance(part, Mixer) and part.state_size(1):
                return part
    raise ValueError("penalties are of what a mixer with a memory answers: this model has none")
