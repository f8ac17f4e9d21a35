"""Teaching a mixer to tell the next frame of music, and asking it.

cost = learned_chorales({"name": "gru", "hidden": 42}, steps=800)

model = Player({"name": "gru", "hidden": 42}, start=seen)
practise(model, seen, length=60, steps=1000)
frame_cost(model, held_out)

_, cost = stopped_early(model, seen, (kept, held_out), every=50, length=60, steps=1000)
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from statewise import mixers
from statewise.analysis.learning import minimize
from statewise.mixers import Mixer
from statewise.tasks import music
from statewise.tasks.chorales import Chorales

Pieces = Sequence[Bool[Tensor, "_ 88"]]
"""Frames, as `statewise.tasks.music` has them."""

PIECES = (229, 76, 200)
"""To learn from, to choose by, and to ask: the first two as JSB Chorales, a set of Bach's, has."""

LENGTH, BATCH, EVERY = 63, 16, 50
"""Frames of the longest piece after the first, pieces of a step, and steps between two moments."""


def learned_chorales(
    mixer: str | Mapping[str, Any],
    *,
    steps: int,
    rates: Sequence[float] = (3e-3, 1e-2),
    seed: int = 0,
) -> float:
    """Return what a frame of held-out chorales costs a fresh player, in nats, after it learned.

    The rate and the moment of stopping are those at which pieces kept for this cost least.

    Args:
        mixer: a name, or `{"name": ..., option: value}`.
        steps: of training, at each rate.
        rates: the highest of each training.
        seed: of the pieces and their order; weights come from torch's own generator.
    """
    drawn = Chorales().draw(sum(PIECES), torch.Generator().manual_seed(seed))
    frames = iter(piece.frames() for piece in drawn)
    seen, *others = (list(islice(frames, count)) for count in PIECES)
    options: Any = {"length": LENGTH, "batch": BATCH, "every": EVERY, "steps": steps, "seed": seed}
    costs = [
        stopped_early(
            Player(mixer, start=seen), seen, (others[0], others[1]), learning_rate=rate, **options
        )
        for rate in rates
    ]
    return min(costs)[1]


class Player(nn.Module):
    """Frames, a mixer and a linear map to the keys of the next frame, and nothing else.

    Args:
        mixer: a name, or `{"name": ..., option: value}`.
        start: what tells how often each key is down, where its answers start.

    Raises:
        ValueError: for a mixer that has no state.
    """

    def __init__(self, mixer: str | Mapping[str, Any], *, start: Pieces):
        super().__init__()
        built = mixers.build(mixer if isinstance(mixer, str) else dict(mixer), music.KEYS)
        if not isinstance(built, Mixer):
            raise ValueError(f"{mixer} reads the whole piece before it answers")
        self.mixer: Mixer[Any] = built
        self.answer = nn.Linear(self.mixer.out, music.KEYS)
        frames = torch.cat(list(start)).float()
        # A frame is added in which all keys are half down: no chance is zero.
        share = (frames.sum(0) + 0.5) / (len(frames) + 1)
        with torch.no_grad():
            self.answer.bias.copy_(share.logit())

    def forward(self, x: Float[Tensor, "batch time 88"]) -> Float[Tensor, "batch time 88"]:
        """Return the logits of each next frame."""
        return self.answer(self.mixer(x)[0])


def practise(
    model: nn.Module,
    pieces: Pieces,
    *,
    length: int,
    batch: int = 32,
    noise: float = 0.0,
    seed: int = 0,
    **options: Any,
) -> None:
    """Train a model on music.

    Args:
        model: maps frames to logits.
        pieces: what is learned from.
        length: of the stretches that are learned from, in frames that are predicted; those that are
            shorter are learned whole.
        batch: stretches of a step.
        noise: the deviation of normal numbers that are added to what is read.
        seed: of the order of the pieces, and of noise.
        options: of `statewise.analysis.learning.minimize`.
    """
    generator = torch.Generator().manual_seed(seed)

    def cost(_: float) -> Tensor:
        drawn = music.draw(pieces, batch, length, generator)
        inputs = drawn.inputs
        if noise:
            inputs = inputs + noise * torch.randn(inputs.shape, generator=generator)
        return music.loss(model(inputs), drawn)

    minimize(model, cost, **options)


@torch.no_grad()
def frame_cost(model: nn.Module, pieces: Pieces) -> float:
    """Return the mean cost of a frame, in nats."""
    frames = music.pad(pieces)
    return music.loss(model.eval()(frames.inputs), frames).item()


def stopped_early(
    model: nn.Module, pieces: Pieces, others: tuple[Pieces, Pieces], *, every: int, **options: Any
) -> tuple[float, float]:
    """Train a model on music; return the mean cost of a frame of two sets of other music.

    They are those of the moment at which the first, kept for this, costs least.

    Args:
        model: maps frames to logits.
        pieces: what is learned from.
        others: what the moment is chosen by, and what is asked then.
        every: steps from one moment to the next; the end is one too.
        options: of `practise`.
    """
    moments, taken = list[tuple[float, float]](), 0

    def ask() -> None:
        kept, asked = (frame_cost(model, some) for some in others)
        moments.append((kept, asked))
        model.train()

    def watch(_: float) -> None:
        nonlocal taken
        taken += 1
        if taken % every == 0:
            ask()

    practise(model, pieces, watch=watch, **options)
    ask()
    return min(moments)
