"""Train a mixer to keep one marked symbol in mind while others go by.

    read   3 1 [4] 1 5 9 2 6 5 3 5 8 ...
    say                              ... 4

A model without memory is right once in ten. Another mixer by its name:

    python examples/delayed_recall.py min_gru
"""

import sys

import torch
from torch import Tensor, nn

from statewise import mixers

SYMBOLS, TIME, DIM = 10, 50, 32


class Recall(nn.Module):
    """Symbols in, marked ones numbered from SYMBOLS on; after the last, logits out."""

    def __init__(self, mixer: str):
        super().__init__()
        self.read = nn.Embedding(2 * SYMBOLS, DIM)
        self.mixer = mixers.build(mixer, DIM)
        self.answer = nn.Linear(DIM, SYMBOLS)

    def forward(self, symbols: Tensor) -> Tensor:
        """Map symbols (batch, time) to logits (batch, symbols)."""
        y, _ = self.mixer(self.read(symbols))
        return self.answer(y[:, -1])


def draw(batch: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return sequences with one mark in their first half, and what was marked."""
    symbols = torch.randint(SYMBOLS, (batch, TIME), generator=random)
    marks = torch.randint(TIME // 2, (batch, 1), generator=random)
    marked = symbols.gather(1, marks)
    return symbols.scatter(1, marks, marked + SYMBOLS), marked[:, 0]


def main(mixer: str = "min_gru", steps: int = 300) -> float:
    """Train, print how often it is right on new sequences, and return that."""
    torch.manual_seed(0)
    random = torch.Generator().manual_seed(0)
    unseen, marked = draw(500, random)
    model = Recall(mixer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    right = 0.0
    for step in range(steps + 1):
        if step % 100 == 0:
            with torch.no_grad():
                right = (model(unseen).argmax(-1) == marked).float().mean().item()
            print(f"step {step}: {right:.0%} right on sequences it never saw")
        symbols, targets = draw(64, random)
        loss = nn.functional.cross_entropy(model(symbols), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return right


if __name__ == "__main__":
    main(*sys.argv[1:])
