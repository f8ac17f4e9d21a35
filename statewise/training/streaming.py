"""The lessons of a language model: streams in, carried states, truncated gradients.

One step of a process that accumulates over two parts of its rows, with gradients that reach back
half of the context:

    part 0   state 0 -> first half  -> loss, backward -> second half -> loss, backward -> state 0
    part 1   state 1 -> first half  -> loss, backward -> second half -> loss, backward -> state 1

A state is cut from its graph between two halves and between two steps, and carried on.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_map

from statewise.tasks.language import Streams, carries, counted, loss_sum
from statewise.training.configuration import LanguageRun
from statewise.training.lessons import Lessons, Taken
from statewise.training.processes import Processes


class StreamLessons(Lessons):
    """Text, read by several streams that keep their states.

    The state is carried from step to step, without its gradient, where it stays bounded.

    Args:
        model: called with tokens, state and reset.
        streams: the batches.
        config: how many streams, in how many parts, and how far gradients reach.
        rows: of each part that this process reads.
        evaluate: returns the bits per byte on held-out text.
    """

    loss, target, token = "loss_bits", "token", "token"

    def __init__(
        self,
        model: Any,
        streams: Streams,
        config: LanguageRun,
        rows: list[slice],
        evaluate: Callable[[], float],
    ):
        self.model, self.streams, self.config, self.rows = model, streams, config, rows
        self.evaluate = evaluate
        self.carries = carries(model, config.context)
        self.states: list[Any] = [None] * len(rows)

    def examples(self, processes: Processes) -> list[Any]:
        """Return an initial state for each part."""
        return [
            self.model.initial_state(rows.stop - rows.start, device=processes.device)
            if self.carries
            else None
            for rows in self.rows
        ]

    def backward(self, wrapped: Any, step: int, processes: Processes) -> Taken:
        """Read the next tokens of every stream, piece by piece, with a backward pass for each."""
        config = self.config
        nats, targets = 0.0, 0
        for part, rows in enumerate(self.rows):
            batch = self.streams.batch(step, rows)
            state = self.states[part]
            for at in range(0, config.context, config.truncation or config.context):
                piece = [x[:, at : at + (config.truncation or config.context)] for x in batch]
                inputs, answers, reset = (x.to(processes.device) for x in piece)
                last = part == len(self.rows) - 1 and at + inputs.shape[1] >= config.context
                with processes.sync(wrapped, last):
                    with processes.precision():
                        # Most steps have no reset, and a mixer told so has less to do.
                        given = reset if reset.any() else None
                        logits, state = wrapped(inputs, state, reset=given)
                        cost = loss_sum(logits, answers)
                    # By all positions and not by those that count: however the rows are divided
                    # among parts and processes, the sum is the same. Processes are averaged.
                    (cost * (processes.count / (config.streams * config.context))).backward()
                state = tree_map(Tensor.detach, state) if self.carries else None
                nats += cost.item()
                targets += int(counted(answers))
            self.states[part] = state
        return Taken(nats, targets, config.streams * config.context)

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
