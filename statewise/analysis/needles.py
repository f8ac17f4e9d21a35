"""Where in a text a model still finds what it was told: accuracy by length and place.

    def draw(length, place, generator):
        ...                                at = round(place * last), and ask at the end
        return Examples(tokens, targets, mask)

    found = needle_map(model, draw, [64, 128, 256], [0, 0.25, 0.5, 0.75, 1])
    Path("needles.png").write_bytes(plot_needles(found, [64, 128, 256], [0, 0.25, 0.5, 0.75, 1]))

After Kamradt, "Needle in a Haystack: Pressure Testing LLMs", 2023: retrieval by depth and length.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from statewise.analysis import pictures
from statewise.analysis.lengths import answered
from statewise.analysis.positions import Predictor
from statewise.tasks.examples import Examples

Draw = Callable[[int, float | int, torch.Generator], Examples]
"""Draws a batch from its length, where the needle is (0 at the beginning, 1 at the end), and what
decides about the rest."""


def needle_map(
    model: Predictor,
    draw: Draw,
    lengths: Sequence[int],
    places: Sequence[float | int],
    *,
    seed: int = 0,
) -> Float[Tensor, "lengths places"]:
    """Return the share of right answers at each length and place.

    Args:
        model: in eval mode.
        draw: a batch of examples; its rows are what each share is measured on.
        lengths: tokens of an example.
        places: of the needle, from 0, the beginning, to 1, the end.
        seed: of the examples, for each length and place by itself.

    Raises:
        ValueError: for a place out of range, or a batch in which no answer counts.
    """
    if not all(0 <= place <= 1 for place in places):
        raise ValueError(f"places = {list(places)} should be in [0, 1]")
    found = torch.empty(len(lengths), len(places), dtype=torch.float64)
    for row, length in enumerate(lengths):
        for column, place in enumerate(places):
            drawn = draw(length, place, torch.Generator().manual_seed(seed))
            right, _, counted = answered(model, drawn)
            found[row, column] = right / counted
    return found


def plot_needles(
    found: Float[Tensor, "lengths places"],
    lengths: Sequence[int],
    places: Sequence[float | int],
    *,
    title: str = "",
) -> bytes:
    """Return a PNG of a map of needles: the percentage that is right in each field.

    Raises:
        ImportError: if matplotlib is missing.
        ValueError: if the numbers of lengths and places are not the map's.
    """
    if tuple(found.shape) != (len(lengths), len(places)):
        raise ValueError(
            f"found {tuple(found.shape)} should have a row for each of {len(lengths)} lengths and "
            f"a column for each of {len(places)} places"
        )

    def draw(axes: Any) -> None:
        axes.grid(visible=False)
        # Dark is wrong and light is right, in grey as well; the numbers say it in any case.
        axes.imshow(found.T.numpy(), cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for (row, column), share in zip(
            ((r, c) for r in range(len(lengths)) for c in range(len(places))),
            found.flatten().tolist(),
            strict=True,
        ):
            ink = "black" if share > 0.5 else "white"
            axes.text(row, column, f"{100 * share:.0f}", ha="center", va="center", color=ink)
        axes.set_xticks(range(len(lengths)), [f"{length:,}" for length in lengths])
        axes.set_yticks(range(len(places)), [f"{place:.0%}" for place in places])
        axes.set_xlabel("length of the text (tokens)", fontsize=10)
        axes.set_ylabel("place of the needle\n(0% is the beginning)", fontsize=10)
        axes.spines[:].set_visible(False)

    height = max(2.4, 0.36 * len(places) + 1.2)
    heading = f"{title}: answers that are right (percent)" if title else ""
    return pictures.picture(
        draw, height=height, title=heading or "answers that are right (percent)"
    )
