"""Train a mixer to keep one marked symbol in mind while others go by.

    read   3 1 [4] 1 5 9 2 6 5 3 5 ...
    say    . .  4  4 4 4 4 4 4 4 4 ...

A model without memory is right once in ten. Another mixer by its name:

    python examples/delayed_recall.py gru
"""

import sys

import torch
from torch import Tensor, nn

from statewise import mixers

SYMBOLS, TIME, DIM = 10, 60, 32


class Recall(nn.Module):
    """Symbols in, the marked ones numbered from SYMBOLS on; logits out, at every time."""

    def __init__(self, mixer: str):
        super().__init__()
        self.read = nn.Embedding(2 * SYMBOLS, DIM)
        self.mixer = mixers.build(mixer, DIM)
        self.answer = nn.Linear(DIM, SYMBOLS)

    def forward(self, symbols: Tensor) -> Tensor:
        """Map symbols (batch, time) to logits (batch, time, symbols)."""
        y, _ = self.mixer(self.read(symbols))
        return self.answer(y)


def draw(batch: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return sequences with one mark in their first half, and what to say: -100 before the mark."""
    symbols = torch.randint(SYMBOLS, (batch, TIME), generator=random)
    marks = torch.randint(TIME // 2, (batch, 1), generator=random)
    marked = symbols.gather(1, marks)
    targets = torch.where(torch.arange(TIME) < marks, -100, marked)
    return symbols.scatter(1, marks, marked + SYMBOLS), targets


def main(mixer: str = "min_gru", steps: int = 150) -> float:
    """Train; print, and in the end return, how often the last answer on new sequences is right."""
    torch.manual_seed(0)
    random = torch.Generator().manual_seed(0)
    unseen, wanted = draw(500, random)
    model = Recall(mixer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    right = 0.0
    for step in range(steps + 1):
        if step % 50 == 0:
            with torch.no_grad():
                said = model(unseen)[:, -1].argmax(-1)
            right = (said == wanted[:, -1]).float().mean().item()
            print(f"step {step}: {right:.0%} right, {TIME // 2} symbols or more after the mark")
        symbols, targets = draw(64, random)
        # cross_entropy skips the targets that are -100.
        loss = nn.functional.cross_entropy(model(symbols).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return right


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "min_gru")
