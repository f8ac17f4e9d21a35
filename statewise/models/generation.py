"""Text from a language model, as it comes, in constant memory.

Each token is drawn from the logits, read by the model, and its bytes are passed on as soon as they
are whole characters that cannot begin a stop string. All that the rest of the text depends on is a
value, `GenerationState`: saved and taken up again, generation goes on bit by bit as if it had never
been interrupted.

The logits are changed in this order: repetition penalty (Keskar et al., "CTRL", 2019,
arXiv:1909.05858, section 4.1: a positive logit of a recent token is divided by it, a negative one
multiplied), temperature, top-k, top-p (Holtzman et al., "The Curious Case of Neural Text
Degeneration", 2020, arXiv:1904.09751, section 3.1). Tokens as likely as the last one kept are kept.
"""

import codecs
import math
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from statewise.models.tokenizers import Tokenizer

PREFILL = 4096
"""Tokens of a prompt read at once: enough to be fast, few enough to bound the memory."""


class GenerationState(NamedTuple):
    """All that the rest of the text depends on, besides the model and the options.

    A tree of tensors like any state: `statewise.state.save(path, generation.state)` keeps it, and
    `load(path, like=model.generate().state)` brings it back.
    """

    model: Any
    """The model's state after every token so far."""

    logits: Float[Tensor, "batch vocab"]
    """What the model says about the next token."""

    random: UInt8[Tensor, "batch bytes"]
    """A generator per row, so that a row draws the same alone and in a batch."""

    window: Int[Tensor, "batch window"]
    """The tokens the repetition penalty looks at, the latest last; -1 where there are none yet."""

    pending: UInt8[Tensor, "batch pending"]
    """Bytes not passed on: of an unfinished character, or of text that may begin a stop string."""

    pending_length: Int[Tensor, " batch"]
    """How many bytes of `pending` are a row's own."""

    finished: Bool[Tensor, " batch"]
    """Whether a stop string was met."""

    drawn: Int[Tensor, " batch"]
    """Tokens drawn so far."""


class Sampling(NamedTuple):
    """How the next token is drawn."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    penalty_window: int = 64

    def check(self) -> None:
        """Raise ValueError for an option out of range."""
        _require(0 <= self.temperature < math.inf, "temperature", self.temperature, "at least 0")
        _require(self.top_k >= 0, "top_k", self.top_k, "at least 1, or 0 for no limit")
        _require(0 < self.top_p <= 1, "top_p", self.top_p, "above 0 and at most 1")
        penalty = self.repetition_penalty
        _require(0 < penalty < math.inf, "repetition_penalty", penalty, "above 0")
        _require(self.penalty_window >= 0, "penalty_window", self.penalty_window, "at least 0")


@runtime_checkable
class Model(Protocol):
    """What generation asks of a language model."""

    tokenizer: Tokenizer | None

    def features(
        self, tokens: Tensor, state: Any = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Return what the head reads, and the state."""
        ...

    def logits(self, features: Tensor) -> Tensor:
        """Return the head's answer."""
        ...

    def step(self, token: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Read one token."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return the parameters."""
        ...

    def modules(self) -> Iterator[nn.Module]:
        """Return the model's modules."""
        ...


@runtime_checkable
class Prefixes(Protocol):
    """What remembers the beginnings of prompts: `statewise.models.PrefixCache`."""

    def read(self, tokens: Sequence[int]) -> tuple[Tensor, Any]:
        """Return the logits after a prompt, and the state."""
        ...


class BatchGeneration(Iterator[list[str]]):
    """Yields what each row's text gained, as a list; see `LanguageModel.generate_batch`."""

    def __init__(
        self,
        model: Model,
        prompts: Sequence[str | bytes],
        *,
        max_tokens: int | None,
        sampling: Sampling,
        stop: str | bytes | Sequence[str | bytes],
        seed: int | Sequence[int],
        state: GenerationState | None,
        prefixes: Prefixes | None = None,
    ):
        sampling.check()
        _require(max_tokens is None or max_tokens >= 0, "max_tokens", max_tokens, "at least 0")
        if model.tokenizer is None:
            raise ValueError("this model has no tokenizer: give it one to generate text")
        self._model, self._tokenizer, self._sampling = model, model.tokenizer, sampling
        self._modules = list(model.modules())
        self._left = math.inf if max_tokens is None else max_tokens
        self._stops = _stops(stop)
        self._said: list[str] = []
        self._prefixes = prefixes
        if state is None:
            # Some token must come first, and text begins where a line does.
            prompts = [prompt or "\n" for prompt in prompts]
            self._state, self._logits = None, torch.zeros(len(prompts), 1)
            self._rows = [
                _Row(_seeded(number), deque(maxlen=sampling.penalty_window))
                for number in _seeds(seed, len(prompts))
            ]
        else:
            if len(prompts) != len(state.drawn):
                raise ValueError(
                    f"the state has {len(state.drawn)} rows, and there are {len(prompts)} prompts"
                )
            self._state, self._logits = state.model, state.logits
            self._rows = [_taken_up(state, i, sampling) for i in range(len(prompts))]
        tokens = [self._encode(prompt, i, len(prompts)) for i, prompt in enumerate(prompts)]
        with torch.no_grad(), _evaluating(self._modules):
            self._read(tokens)

    @property
    def state(self) -> GenerationState:
        """All that the rest depends on, after every token drawn so far: a value of your own."""
        rows, device = self._rows, self._logits.device
        longest = max((len(row.pending) for row in rows), default=0)
        pending = [list(row.pending.ljust(longest, b"\0")) for row in rows]
        batch = len(rows)
        return GenerationState(
            self._state,
            self._logits,
            torch.stack([row.generator.get_state() for row in rows]).to(device),
            self._windows().to(device),
            torch.tensor(pending, dtype=torch.uint8, device=device).reshape(batch, longest),
            torch.tensor([len(row.pending) for row in rows], device=device),
            torch.tensor([row.finished for row in rows], device=device),
            torch.tensor([row.drawn for row in rows], device=device),
        )

    def __next__(self) -> list[str]:
        said, self._said = self._said, []
        if any(said):
            return said
        with torch.no_grad(), _evaluating(self._modules):
            while self._left > 0 and not all(row.finished for row in self._rows):
                self._left -= 1
                pieces = self._draw()
                if any(pieces):
                    return pieces
        raise StopIteration

    def _encode(self, prompt: str | bytes, row: int, rows: int) -> list[int]:
        try:
            tokens = self._tokenizer.encode(prompt)
        except ValueError as error:
            where = "the prompt" if rows == 1 else f"prompt {row}"
            raise ValueError(f"{where} cannot be read: {error}") from None
        if self._state is None and not tokens:
            raise ValueError(f"the prompt {prompt!r} has no tokens: there is nothing to go on from")
        return tokens

    def _read(self, prompts: list[list[int]]) -> None:
        """Let every row read its prompt; what a row held back can then no longer grow."""
        self._said = []
        for row, tokens in zip(self._rows, prompts, strict=True):
            self._said.append(row.flush() if tokens else "")
            row.window.extend(tokens)
        if self._prefixes is not None and self._state is None:
            (tokens,) = prompts
            self._logits, self._state = self._prefixes.read(tokens)
            return
        device = next(self._model.parameters()).device
        for start in range(0, max(map(len, prompts), default=0), PREFILL):
            parts = [tokens[start : start + PREFILL] for tokens in prompts]
            lengths = torch.tensor([len(part) for part in parts], device=device)
            width = max(map(len, parts))
            padded = [part + [0] * (width - len(part)) for part in parts]
            y, self._state = self._model.features(
                torch.tensor(padded, device=device),
                self._state,
                lengths=None if min(map(len, parts)) == width else lengths,
            )
            rows = torch.arange(len(parts), device=device)
            self._answer(y[rows, (lengths - 1).clamp(min=0)], lengths > 0)

    def _draw(self) -> list[str]:
        """Draw a token for every row that is not finished, and return what their texts gained."""
        rows = self._rows
        tokens = draw(
            # A vocabulary that was rounded up has tokens that no tokenizer knows.
            self._logits[:, : self._tokenizer.vocab],
            [None if row.finished else row.generator for row in rows],
            self._sampling,
            self._windows() if self._sampling.repetition_penalty != 1 else None,
        )
        going = [not row.finished for row in rows]
        token = torch.tensor(tokens, device=self._logits.device)
        if all(going):
            self._logits, self._state = self._model.step(token, self._state)
        else:  # a finished row reads nothing: it keeps its state
            active = torch.tensor(going, device=token.device)
            y, self._state = self._model.features(
                token[:, None], self._state, lengths=active.long()
            )
            self._answer(y[:, 0], active)
        return [
            row.take(token, self._tokenizer.bytes_of(token), self._stops) if active else ""
            for row, token, active in zip(rows, tokens, going, strict=True)
        ]

    def _answer(self, features: Tensor, active: Tensor) -> None:
        logits = self._model.logits(features)
        self._logits = torch.where(active[:, None], logits, self._logits.to(logits.device))

    def _windows(self) -> Tensor:
        width = self._sampling.penalty_window
        filled = [[-1] * (width - len(row.window)) + list(row.window) for row in self._rows]
        return torch.tensor(filled, dtype=torch.int64).reshape(len(filled), width)


class Generation(Iterator[str]):
    """Yields text as it comes; see `LanguageModel.generate`."""

    def __init__(self, rows: BatchGeneration):
        self._batch = rows

    @property
    def state(self) -> GenerationState:
        """All that the rest depends on, after every token drawn so far: a value of your own."""
        return self._batch.state

    def __next__(self) -> str:
        return next(self._batch)[0]


def draw(
    logits: Float[Tensor, "batch vocab"],
    generators: Sequence[torch.Generator | None],
    sampling: Sampling,
    window: Int[Tensor, "batch window"] | None = None,
) -> list[int]:
    """Draw a token for every row that has a generator; the others get token 0.

    Raises:
        ValueError: if a row's logits are NaN or infinite.
    """
    logits = logits.cpu()
    if window is not None:
        logits = penalized(logits, window, sampling.repetition_penalty)
    if sampling.temperature == 0:
        best, tokens = logits.max(-1)
        totals, tokens = best.tolist(), tokens.tolist()
    else:
        cumulative = weights(logits, sampling).cumsum(-1, dtype=torch.float64)
        totals = cumulative[:, -1].tolist()
        # The first token whose cumulative weight passes a uniform share of the total. The share
        # stays below one even when rounded, so that no token of weight zero is ever drawn.
        shares = [
            [0.0 if generator is None else total * (1 - 2**-52) * _uniform(generator)]
            for generator, total in zip(generators, totals, strict=True)
        ]
        shares = torch.tensor(shares, dtype=torch.float64)
        tokens = torch.searchsorted(cumulative, shares, right=True)[:, 0].tolist()
    for row, (generator, total) in enumerate(zip(generators, totals, strict=True)):
        if generator is None:
            tokens[row] = 0
        elif not math.isfinite(total):
            raise ValueError(f"the model's logits for row {row} are NaN or infinite")
    return tokens


def weights(
    logits: Float[Tensor, "batch vocab"], sampling: Sampling
) -> Float[Tensor, "batch vocab"]:
    """Return what each token is drawn in proportion to, under temperature, top-k and top-p."""
    shares = torch.softmax(logits / sampling.temperature, -1)
    if 0 < sampling.top_k < shares.shape[-1]:
        least = shares.topk(sampling.top_k).values[:, -1:]
        shares = torch.where(shares < least, 0, shares)
    if sampling.top_p < 1:
        falling = shares.sort(descending=True).values
        before = falling.cumsum(-1) - falling
        kept = (before < sampling.top_p * falling.sum(-1, keepdim=True)).sum(-1, keepdim=True)
        shares = torch.where(shares < falling.gather(-1, kept - 1), 0, shares)
    return shares


def penalized(
    logits: Float[Tensor, "batch vocab"], window: Int[Tensor, "batch window"], penalty: float
) -> Float[Tensor, "batch vocab"]:
    """Return the logits with those of the window's tokens lowered; -1 in the window is no token."""
    recent = torch.zeros(len(logits), logits.shape[1] + 1, dtype=torch.bool)
    # The column after the last takes the places that are empty.
    recent.scatter_(1, torch.where(window < 0, logits.shape[1], window), True)
    lowered = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(recent[:, :-1], lowered, logits)


class _Row:
    """What one row remembers besides the model's state."""

    def __init__(self, generator: torch.Generator, window: deque[int]):
        self.generator, self.window = generator, window
        self.pending, self.finished, self.drawn = b"", False, 0

    def take(self, token: int, added: bytes, stops: Sequence[bytes]) -> str:
        """Note a token drawn; return the text that is now certain."""
        self.window.append(token)
        self.drawn += 1
        text = self.pending + added
        ends = [at for at in map(text.find, stops) if at >= 0]
        if ends:
            self.pending, self.finished = b"", True
            return text[: min(ends)].decode("utf-8", "replace")
        held = _beginning(text, stops)
        said, used = codecs.utf_8_decode(text[: len(text) - held], "replace", False)
        self.pending = text[used:]
        return said

    def flush(self) -> str:
        """Return what was held back, and go on."""
        said, self.pending, self.finished = self.pending.decode("utf-8", "replace"), b"", False
        return said


def _taken_up(state: GenerationState, i: int, sampling: Sampling) -> _Row:
    generator = torch.Generator()
    generator.set_state(state.random[i].cpu().clone())
    recent = (token for token in state.window[i].tolist() if token >= 0)
    row = _Row(generator, deque(recent, maxlen=sampling.penalty_window))
    row.pending = bytes(state.pending[i, : int(state.pending_length[i])].tolist())
    row.finished, row.drawn = bool(state.finished[i]), int(state.drawn[i])
    return row


def _beginning(text: bytes, stops: Sequence[bytes]) -> int:
    """Return how long an end of `text` may be the beginning of a stop string."""
    longest = max(map(len, stops), default=1) - 1
    for held in range(min(longest, len(text)), 0, -1):
        if any(stop.startswith(text[-held:]) for stop in stops):
            return held
    return 0


def _stops(stop: str | bytes | Sequence[str | bytes]) -> list[bytes]:
    stops = [stop] if isinstance(stop, str | bytes) else stop
    coded = [item.encode() if isinstance(item, str) else item for item in stops]
    if b"" in coded:
        raise ValueError("stop holds an empty string, which every text begins with")
    return coded


def _seeds(seed: int | Sequence[int], rows: int) -> list[int]:
    seeds = [(seed + row) % 2**32 for row in range(rows)] if isinstance(seed, int) else list(seed)
    if len(seeds) != rows:
        raise ValueError(f"there are {len(seeds)} seeds for {rows} prompts")
    for number in [seed] if isinstance(seed, int) else seeds:
        # The generator is a Mersenne twister, which starts from 32 bits and drops the others.
        _require(0 <= number < 2**32, "seed", number, "at least 0 and below 2**32")
    return seeds


def _seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def _uniform(generator: torch.Generator) -> float:
    return torch.rand((), generator=generator, dtype=torch.float64).item()


def _require(holds: bool, name: str, value: Any, range_: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value}, but should be {range_}")


@contextmanager
def _evaluating(modules: list[nn.Module]) -> Iterator[None]:
    """Put modules in eval mode for a while: each keeps the flag it had."""
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
