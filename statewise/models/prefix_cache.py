"""Prompts that were read before are not read again: states on disk, by the hash of their tokens.

    prompts/9f0c51d2e7a83b64-4096-5a1e...safetensors     the state after these 4,096 tokens
    prompts/9f0c51d2e7a83b64-20000-c33f...safetensors    and after these 20,000

Of a prompt the longest beginning that is known is taken, and the rest is read. An entry is as large
as a state of the model, and so for a recurrent model of the same size however long the prompt. It
holds what made it: the weights, by their hash, and the version; no other model takes it.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from statewise import __version__, state
from statewise.models.generation import PREFILL

ENDING = ".safetensors"


@runtime_checkable
class Reader(Protocol):
    """A language model, as the cache sees it."""

    def initial_state(self, batch: int, /) -> Any:
        """Return the state before any token."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the weights by name."""
        ...

    def features(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return what the head reads, and the state."""
        ...

    def logits(self, features: Tensor) -> Tensor:
        """Return the head's answer."""
        ...


class PrefixCache:
    """States of a model after the beginnings of prompts, kept in a folder.

    Several processes may share a folder, and several models: each finds its own entries.

    Args:
        model: whose states they are. Its weights may not change while the cache is used.
        folder: made if absent.
        most: bytes in all; the entries that were used longest ago give way.
        every: tokens between two states that are kept of one prompt, so that a prompt that begins
            alike finds one.

    Raises:
        ValueError: if `most` or `every` is less than 1.
    """

    def __init__(
        self, model: Reader, folder: str | Path, *, most: int = 1 << 30, every: int = PREFILL
    ):
        for name, number in (("most", most), ("every", every)):
            if number < 1:
                raise ValueError(f"PrefixCache: {name} = {number} should be at least 1")
        self.model, self.folder, self.most, self.every = model, Path(folder), most, every
        self.folder.mkdir(parents=True, exist_ok=True)
        made = f"{state.fingerprint(model)} {__version__}"
        self.maker = hashlib.sha256(made.encode()).hexdigest()
        self.found = self.read_anew = 0

    def read(self, tokens: Sequence[int]) -> tuple[Float[Tensor, "1 vocab"], Any]:
        """Return the logits after a prompt, and the state; what had to be read is kept.

        `found` and `read_anew` count the tokens that were known and those that were read.

        Args:
            tokens: at least one.

        Raises:
            ValueError: for an empty prompt, or if an entry was made by other weights or another
                version, or is cut short; it names the file.
        """
        if not len(tokens):
            raise ValueError("PrefixCache: the prompt has no tokens")
        numbers = torch.tensor(list(tokens), dtype=torch.int64)
        known, (logits, now) = self._longest(numbers)
        self.found += known
        self.read_anew += len(numbers) - known
        if known == len(numbers):
            return logits, now
        ends = range((known // self.every + 1) * self.every, len(numbers), self.every)
        with torch.no_grad():
            for end in (*ends, len(numbers)):
                for piece in numbers[known:end].split(PREFILL):
                    y, now = self.model.features(piece[None], now)
                    logits = self.model.logits(y[:, -1])
                state.save(self._path(numbers[:end]), (logits, now), model=self.maker)
                known = end
        self._make_room()
        return logits, now

    def _longest(self, numbers: Tensor) -> tuple[int, tuple[Tensor, Any]]:
        """Return how much of a prompt is known, and what follows from it."""
        lengths = {int(path.name.split("-")[1]) for path in self._entries()}
        for length in sorted((n for n in lengths if n <= len(numbers)), reverse=True):
            path = self._path(numbers[:length])
            if path.exists():
                like = (torch.empty(1, 0), self.model.initial_state(1))
                found = state.load(path, model=self.maker, like=like)
                path.touch()
                return length, found
        return 0, (torch.empty(1, 0), self.model.initial_state(1))

    def _path(self, numbers: Tensor) -> Path:
        digest = hashlib.sha256(numbers.numpy().tobytes()).hexdigest()
        return self.folder / f"{self.maker[:16]}-{len(numbers)}-{digest}{ENDING}"

    def _entries(self) -> list[Path]:
        return list(self.folder.glob(f"{self.maker[:16]}-*-*{ENDING}"))

    def _make_room(self) -> None:
        """Remove what was used longest ago, of whichever model, until the rest is small enough."""
        # Another process may remove them meanwhile.
        entries = [(path, path.stat()) for path in self.folder.glob(f"*{ENDING}") if path.exists()]
        size = sum(about.st_size for _, about in entries)
        for path, about in sorted(entries, key=lambda entry: entry[1].st_mtime_ns):
            if size <= self.most:
                return
            path.unlink(missing_ok=True)
            size -= about.st_size
