"""Passages of a text: bytes in, the next byte out, each passage from an empty memory.

tokens   o r   n o t
targets  r   n o t         from "to be or not to be"; every one counts

For training on whole documents, with states carried, there is `language`.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from torch import Tensor

from statewise.tasks.documents import manual, split
from statewise.tasks.examples import Examples


@dataclass(frozen=True)
class Passages:
    """Passages that begin anywhere in a text."""

    text: Int[Tensor, " time"] = field(repr=False)
    """Its bytes."""
    vocab: int = 256

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` passages of `length` bytes.

        Raises:
            ValueError: if the text is no longer than that.
        """
        if len(self.text) <= length:
            raise ValueError(f"a passage of {length} and one more: the text has {len(self.text)}")
        starts = torch.randint(len(self.text) - length, (batch, 1), generator=generator)
        read = self.text[starts + torch.arange(length + 1)]
        return Examples(read[:, :-1], read[:, 1:], torch.ones(batch, length, dtype=torch.bool))


def of_manual() -> tuple[Int[Tensor, " seen"], Int[Tensor, " held_out"]]:
    """Return the bytes of the manual that Python carries: to learn from, and the last tenth."""
    seen, held_out = (of(part) for [part] in split([manual()], 0.1))
    return seen, held_out


def of(text: str) -> Int[Tensor, " time"]:
    """Return the bytes of a text."""
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).long()
