"""Language modelling: documents in, the next token out, scored in bits per byte.

One example, with bytes as tokens, two streams and a context of four:

    documents  "to be" "or" "not to be"            one circle of 16 tokens
    streams    begin at "to be" and "not to be"    evenly spread, then at the nearest beginning
    step 1     inputs  "to b"  "not "
               targets "o be"  "ot t"
    step 2     inputs  "eorn"  "to b"              the state goes on where step 1 ended, but for
               targets ".r.o"  "o be"              a reset at the o and the n: they begin documents
    step 3     inputs  "ot t"  "eto "              a document never tells what the next begins with:
               targets "t to"  ".o b"              "." is a target that does not count

So every stream meets every document, whole and in order, on each lap, and only its first may be one
that it enters in the middle: where documents are longer than a stream's share of the circle.

Bits per byte is the code length of the held-out documents in bits, divided by their bytes: whatever
the tokenizer, the number compares. A first token has no past and costs log2(vocab) bits.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

IGNORED = -100
"""A target that does not count; torch's own choice in `cross_entropy`."""


class Batch(NamedTuple):
    """One step of every stream."""

    inputs: Int[Tensor, "batch time"]
    targets: Int[Tensor, "batch time"]
    reset: Bool[Tensor, "batch time"]


@runtime_checkable
class Predictor(Protocol):
    """What this task asks of a model."""

    def __call__(
        self,
        tokens: Int[Tensor, "batch time"],
        state: Any = None,
        *,
        reset: Bool[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch time vocab"], Any]:
        """Return the logits of each next token, and the state."""
        ...

    def state_size(self, time: int) -> int:
        """Return the numbers kept per row after `time` tokens."""
        ...


class Streams:
    """Endless batches from a circle of documents, read by several streams, each where it left off.

    Args:
        documents: the tokens of each, (time,).
        streams: rows of a batch. They begin evenly spread over the circle, each at the nearest
            beginning of a document within half a share of it, where there is one.
        context: tokens a row reads at each step.

    Raises:
        ValueError: if the documents together are no longer than one step.
    """

    def __init__(self, documents: Sequence[Int[Tensor, " _"]], *, streams: int, context: int):
        documents = [document for document in documents if len(document)]
        *firsts, total = accumulate(map(len, documents), initial=0)
        if total <= context:
            raise ValueError(
                f"the training text has {total} tokens; a context of {context} needs more"
            )
        self.tokens, self.context = torch.cat(documents), context
        self.first = torch.zeros(total, dtype=torch.bool)
        self.first[firsts] = True
        self.starts = torch.tensor(_starts(firsts, total, streams))

    def batch(self, step: int, rows: slice = slice(None)) -> Batch:
        """Return the batch of one step, counted from 0: a pure function of the step.

        Args:
            step: which one.
            rows: of the whole batch, for a process or a part of a step that reads only these.
        """
        return self.read(step * self.context, self.context, rows)

    def read(self, before: int, length: int, rows: slice = slice(None)) -> Batch:
        """Return the next tokens of each stream: a pure function of what was read before.

        Args:
            before: tokens that each stream has read.
            length: tokens that each reads now.
            rows: as `batch` has them.
        """
        size = len(self.tokens)
        at = (self.starts[rows, None] + before + torch.arange(length)) % size
        after = (at + 1) % size
        targets = self.tokens[after].masked_fill(self.first[after], IGNORED)
        return Batch(self.tokens[at], targets, self.first[at])

    def __iter__(self) -> Iterator[Batch]:
        step = 0
        while True:
            yield self.batch(step)
            step += 1


def _starts(firsts: list[int], total: int, streams: int) -> list[int]:
    """Return where on the circle each stream begins.

    The shares are half-open, so that no beginning is in two of them and no two streams meet; and as
    each share is total / streams long, documents no longer than that are never entered midway.
    """
    starts = []
    for stream in range(streams):
        # Positions times `streams`: whole numbers, so that what is nearest never hangs on rounding.
        even = stream * total
        after = bisect_left(firsts, -(-even // streams))
        near = [
            (abs(first * streams - even), first)
            for first in firsts[max(after - 1, 0) : after + 1]
            if -total <= 2 * (first * streams - even) < total
        ]
        starts.append(min(near)[1] if near else even // streams)
    return starts


def counted(targets: Int[Tensor, "*axes"]) -> Int[Tensor, ""]:
    """Return how many targets count."""
    return (targets != IGNORED).sum()


def loss_sum(
    logits: Float[Tensor, "batch time vocab"], targets: Int[Tensor, "batch time"]
) -> Float[Tensor, ""]:
    """Return the cost of the targets that count, in nats."""
    return functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )


def loss(
    logits: Float[Tensor, "batch time vocab"], targets: Int[Tensor, "batch time"]
) -> Float[Tensor, ""]:
    """Return the mean cost of the targets that count, in nats per token; 0 if none does."""
    return loss_sum(logits, targets) / counted(targets).clamp(min=1)


def carries(model: Predictor, context: int) -> bool:
    """Return whether a state can be carried from step to step: whether it stays bounded."""
    return model.state_size(1) == model.state_size(context + 1)


@torch.no_grad()
def bits_per_byte(
    model: Predictor,
    documents: Sequence[Int[Tensor, " _"]],
    size: int,
    *,
    context: int = 4096,
    watch: Callable[[int], object] = lambda tokens: None,
) -> float:
    """Return the code length of documents under the model, in bits per byte of their UTF-8 form.

    Each is read from the initial state: a long one in pieces of `context` tokens with the state
    carried, or, where the state grows with what is read, each piece from the initial state.

    Args:
        model: in eval mode; its answers depend on nothing to their right.
        documents: the tokens of each, (time,).
        size: the bytes of all.
        context: tokens read at once, by one document or by several short ones side by side.
        watch: called with the number of tokens after each piece.
    """
    keep = carries(model, context)
    nats = 0.0
    for group in _groups(documents, context):
        padded = pad_sequence(group, batch_first=True, padding_value=IGNORED)
        state = before = None
        for piece in padded.split(context, dim=1):
            # What is read behind a document's end is read after all its answers.
            logits, state = model(piece.clamp(min=0), state)
            if before is None:
                # First tokens are predicted from nothing.
                nats += len(group) * math.log(logits.shape[-1])
            else:
                nats += loss_sum(before, piece[:, :1]).item()
            nats += loss_sum(logits[:, :-1], piece[:, 1:]).item()
            before = logits[:, -1:].clone()
            if not keep:
                state = before = None
            watch(int(counted(piece)))
    return nats / math.log(2) / size


def _groups(
    documents: Sequence[Int[Tensor, " _"]], context: int
) -> Iterator[list[Int[Tensor, " _"]]]:
    """Yield the documents, the short ones in groups that hold `context` tokens when padded."""
    group: list[Tensor] = []
    for document in sorted(filter(len, documents), key=len):
        if group and (len(group) + 1) * len(document) > context:
            yield group
            group = []
        group.append(document)
    if group:
        yield group
