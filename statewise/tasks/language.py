"""Language modelling: text in, the next token out, scored in bits per byte.

One example, with bytes as tokens, two streams and a context of four:

    text       "to be or not to be"
    streams    "to be or " and "not to be"         each read from left to right, step by step
    step 1     inputs  "to b"  "not "
               targets "o be"  "ot t"              the loss counts every position
    step 2     inputs  "e or"  "to b"              the state goes on where step 1 ended
               targets " or "  "o be"
    step 4     ...     the streams are a circle; where the text begins again, a reset

Bits per byte is the code length of the held-out text in bits, divided by its bytes: whatever the
tokenizer, the number compares. The first token has no past and costs log2(vocab) bits.
"""

import gzip
import math
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional


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


def read_text(path: str | Path, encoding: str = "utf-8") -> str:
    """Return the text of a file, unpacked first where it is gzip, whatever its name.

    Raises:
        ValueError: for a folder, an empty, binary or wrongly encoded file, or a damaged gzip.
        FileNotFoundError: if there is no such file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file")
    if path.is_dir():
        raise ValueError(f"{path}: this is a folder; name a text file")
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path}: the gzip file is damaged ({error})") from None
    if not data:
        raise ValueError(f"{path}: the file is empty")
    if b"\0" in data and not encoding.lower().startswith(("utf-16", "utf-32", "utf_16", "utf_32")):
        raise ValueError(
            f"{path}: this is a binary file, not text (a zero byte at offset {data.index(0)})"
        )
    try:
        return data.decode(encoding)
    except LookupError:
        raise ValueError(f"data.encoding: Python knows no encoding {encoding!r}") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is not {encoding}; "
            "name the right one with --data.encoding, such as latin-1"
        ) from None


def split(text: str, held_out: float) -> tuple[str, str]:
    """Return the text without its last part, and that part.

    Args:
        text: at least a few hundred characters.
        held_out: the share kept for evaluation, between 0 and 1, such as 0.1.

    Raises:
        ValueError: if one of the parts would hold fewer than two characters.
    """
    if not 0 < held_out < 1:
        raise ValueError(f"data.held_out is {held_out}; it should be between 0 and 1")
    cut = len(text) - round(len(text) * held_out)
    if cut < 2 or len(text) - cut < 2:
        raise ValueError(f"a text of {len(text)} characters is too short to hold out {held_out:g}")
    return text[:cut], text[cut:]


class Streams:
    """Endless batches from one text, read by several streams at once, each where it left off.

    Args:
        tokens: the text, (time,).
        streams: rows of a batch; they start evenly spread over the text.
        context: tokens a row reads at each step.

    Raises:
        ValueError: if the text is shorter than one step.
    """

    def __init__(self, tokens: Int[Tensor, " time"], *, streams: int, context: int):
        if len(tokens) <= context:
            raise ValueError(
                f"the training text has {len(tokens)} tokens; a context of {context} needs more"
            )
        self.tokens, self.context = tokens, context
        self.starts = torch.arange(streams) * len(tokens) // streams

    def batch(self, step: int) -> Batch:
        """Return the batch of one step, counted from 0: a pure function of the step."""
        size = len(self.tokens)
        at = (self.starts[:, None] + step * self.context + torch.arange(self.context)) % size
        return Batch(self.tokens[at], self.tokens[(at + 1) % size], at == 0)

    def __iter__(self) -> Iterator[Batch]:
        step = 0
        while True:
            yield self.batch(step)
            step += 1


def loss(
    logits: Float[Tensor, "batch time vocab"], targets: Int[Tensor, "batch time"]
) -> Float[Tensor, ""]:
    """Return the mean cost of the targets in nats per token."""
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def carries(model: Predictor, context: int) -> bool:
    """Return whether a state can be carried from step to step: whether it stays bounded."""
    return model.state_size(1) == model.state_size(context + 1)


@torch.no_grad()
def bits_per_byte(
    model: Predictor,
    tokens: Int[Tensor, " time"],
    size: int,
    *,
    context: int = 4096,
    watch: Callable[[int], object] = lambda tokens: None,
) -> float:
    """Return the code length of a text under the model, in bits per byte of its UTF-8 form.

    The text is read once, from the initial state, in pieces of `context` tokens with the state
    carried, or, where the state grows with what is read, each piece from the initial state.

    Args:
        model: in eval mode.
        tokens: the text, (time,), at least one token.
        size: its bytes.
        context: tokens read at once.
        watch: called with the number of tokens after each piece.
    """
    keep = carries(model, context)
    nats, state, before = 0.0, None, None
    for start in range(0, len(tokens), context):
        piece = tokens[start : start + context]
        logits, state = model(piece[None], state)
        if before is None:
            nats += math.log(logits.shape[-1])  # a first token is predicted from nothing
        else:
            nats += functional.cross_entropy(before, piece[:1]).item()
        nats += functional.cross_entropy(logits[0, :-1], piece[1:], reduction="sum").item()
        before = logits[0, -1:].clone()
        if not keep:
            state = before = None
        watch(len(piece))
    return nats / math.log(2) / size
