"""What the records show, drawn: `python -m benchmarks.pictures docs` writes the pictures."""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import cards, text
from benchmarks.records import parted
from statewise.analysis import pictures
from statewise.analysis.capability import LENGTH, LONGER, TASKS

Cards = Mapping[str, dict[str, Any]]
"""By the name that is shown."""

WIDE = 4.3
"""Columns from one task to the next."""

RECALL = "associative recall"
TRACKING = [task for task in TASKS if task != RECALL]
PLACES = ((6, -3, "left"), (-6, -3, "right"), (0, 6, "center"), (0, -12, "center"))
"""Where a name may stand beside its mark, in points, and how it is aligned; the best first."""


def recall_by_state(found: Cards) -> bytes:
    """Return a PNG of what mixers recall against what they keep, a mark for each."""
    return pictures.picture(partial(_recall, found), height=6.4)


def _marker(family: int) -> str:
    return (*pictures.MARKERS, "*")[family]


def _recall(found: Cards, axes: Any) -> None:
    families = sorted({card["family"] for card in found.values()})
    points: dict[str, tuple[float, float, str]] = {}
    for number, family in enumerate(families):
        colour = pictures.colour(number)
        axes.plot([], [], _marker(number), color=colour, markersize=5, label=family)
        for name, card in found.items():
            if card["family"] == family and card["cost"]["state_bytes"]:
                size, right = card["cost"]["state_bytes"], 100 * _asked(card, RECALL)[1]
                inside = "white" if card["cost"]["state_grows"] else colour
                axes.plot(
                    size,
                    right,
                    _marker(number),
                    color=colour,
                    markerfacecolor=inside,
                    markersize=5,
                    zorder=3,
                )
                points[name] = size, right, colour
    best = _best({name: point[:2] for name, point in points.items()})
    axes.set_xscale("log")
    axes.set_xlabel(f"state of one layer after {LENGTH * LONGER} symbols (bytes)", fontsize=10)
    axes.set_ylabel(f"recalled at {LENGTH * LONGER} symbols (percent)", fontsize=10)
    axes.set_ylim(5, 100)
    pictures.level(axes, 100 / TASKS[RECALL].answers, "chance")
    steps = np.array([points[name][:2] for name in best] + [(axes.get_xlim()[1], 0)])
    steps[-1, 1] = steps[-2, 1]
    label = "the most with so much state"
    axes.step(*steps.T, where="post", color=pictures.QUIET, linewidth=0.8, zorder=1, label=label)
    order = best + sorted(points.keys() - set(best), key=lambda name: -points[name][1])
    _names(axes, {name: points[name] for name in order})
    axes.legend(frameon=False, fontsize=9, loc="center right")


def _best(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return what no other exceeds with as little state, in the order of their states."""
    found: list[str] = []
    for name in sorted(points, key=lambda name: (points[name][0], -points[name][1])):
        if not found or points[name][1] > points[found[-1]][1]:
            found.append(name)
    return found


def _names(axes: Any, points: Mapping[str, tuple[float, float, str]]) -> None:
    """Write names beside their marks, the first first, and leave out what finds no room."""
    canvas = axes.figure.canvas
    axes.figure.draw_without_rendering()
    marks = axes.transData.transform([point[:2] for point in points.values()])
    taken = [(x - 8, y - 8, x + 8, y + 8) for x, y in marks]
    for own, (name, (x, y, colour)) in enumerate(points.items()):
        for dx, dy, side in PLACES:
            written = axes.annotate(
                pictures.printable(name),
                (x, y),
                xytext=(dx, dy),
                textcoords="offset points",
                ha=side,
                fontsize=7,
                color=colour,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.5},
                zorder=2,
            )
            box = written.get_window_extent(canvas.get_renderer()).extents
            others = taken[:own] + taken[own + 1 :]
            inside = axes.bbox.x0 <= box[0] and box[2] <= axes.bbox.x1
            if inside and not any(_meet(box, other) for other in others):
                taken.append(tuple(box))
                break
            written.remove()


def _meet(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def tracking_by_length(found: Cards) -> bytes:
    """Return a PNG of what mixers track within the training length and beyond, beside theory."""
    names = sorted(found, key=lambda name: (-sum(_above(found[name])), name))
    half = -(-len(names) // 2)
    draw = [partial(_tracking, found, some) for some in (names[:half], names[half:])]
    return pictures.picture(*draw, columns=2, height=0.9 + pictures.LETTER * half)


def _tracking(found: Cards, names: Sequence[str], axes: Any) -> None:
    from matplotlib import colormaps

    shades, told = colormaps["Blues"], {True: "yes", False: "no", None: "open"}
    for row, name in enumerate(names):
        above = iter(_above(found[name]))
        for number, task in enumerate(TRACKING):
            left, result = WIDE * number, found[name]["tasks"][task]
            axes.text(
                left - 0.25,
                row,
                told[result["theory"]["allowed"]],
                fontsize=7,
                ha="center",
                va="center",
                color=pictures.QUIET,
            )
            for place, right in enumerate(_asked(found[name], task), 1):
                share = next(above)
                axes.fill_between(
                    [left + place - 0.5, left + place + 0.5],
                    row - 0.5,
                    row + 0.5,
                    color=shades(0.85 * share),
                    linewidth=0,
                )
                axes.text(
                    left + place,
                    row,
                    f"{right:.0%}"[:-1],
                    fontsize=7,
                    ha="center",
                    va="center",
                    color="white" if share > 0.6 else "black",
                )
    axes.set_yticks(range(len(names)), map(pictures.printable, names), fontsize=7)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(-1.0, None)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    ticks = {
        WIDE * n + place - (0 if place else 0.25): head
        for n in range(len(TRACKING))
        for place, head in enumerate(("theory", str(LENGTH), str(LENGTH * LONGER)))
    }
    axes.set_xticks(list(ticks), ticks.values(), fontsize=7)
    axes.xaxis.tick_top()
    for number, task in enumerate(TRACKING):
        axes.text(WIDE * number + 1, -2.0, task.replace(" ", "\n", 1), fontsize=8, ha="center")


def text_by_seconds(found: Mapping[str, dict[str, Any]]) -> bytes:
    """Return a PNG of bits per byte of held-out text against seconds of training, by mixer."""
    ends = sorted((each["curve"][-1][1], name) for name, each in found.items())
    curves: dict[str, pictures.Line] = {
        name: tuple(np.array(found[name]["curve"]).T) for _, name in ends
    }
    height = max(4.8, pictures.tall(len(curves)))

    def draw(axes: Any) -> None:
        axes.set_xlabel("seconds of training, one thread", fontsize=10)
        axes.set_ylabel("bits per byte of held-out text", fontsize=10)
        pictures.lines(axes, curves)
        pictures.name_ends(axes, curves, height=height)

    return pictures.picture(draw, height=height)


def _asked(card: Mapping[str, Any], task: str) -> tuple[float, float]:
    """Return how often a stack was right at the training length, and at the longer one."""
    return card["tasks"][task]["accuracy"], card["tasks"][task]["accuracy_longer"]


def _above(card: Mapping[str, Any]) -> list[float]:
    """Return the same of all tasks that track a state, as shares of what is above chance."""
    shares = []
    for task in TRACKING:
        chance = card["tasks"][task]["chance"]
        shares += [max(0.0, (right - chance) / (1 - chance)) for right in _asked(card, task)]
    return shares


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    records, _ = parted(cards.RECORDS.read(), [])
    every = {cards.title(name): card for name, card in records.items()}
    plain = {name: card for name, card in records.items() if not name.startswith("{")}
    if curves := parted(text.CURVES.read(), [])[0]:
        (folder / "text-by-seconds.png").write_bytes(text_by_seconds(curves))
    (folder / "recall-by-state.png").write_bytes(recall_by_state(plain))
    (folder / "tracking-by-length.png").write_bytes(tracking_by_length(every))


if __name__ == "__main__":
    main()
