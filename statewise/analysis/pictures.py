"""What the plots of measurements share: figures of our own, so that no setting is changed, as PNG.

    Path("memory.png").write_bytes(plot_memory({"gru": memory_curve(gru, x, lags=50)}))

Colours are told apart by colour-blind readers (Okabe and Ito, "Color Universal Design", 2008), and
every line has its name at its end. No name is read as mathematics or needs a missing glyph.
"""

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import torch

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
STYLES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
QUIET, GRID = "#6b7280", "#e5e7eb"

WIDTH, HEIGHT, DPI = 6.4, 3.6, 160
"""Inches and dots of a plot with one pair of axes."""

LETTER = 0.17
"""Inches from one line of text to the next."""

Drawing = Callable[[Any], None]
"""Draws on one pair of axes."""

Numbers = Sequence[float | int] | np.ndarray | torch.Tensor
Line = tuple[Numbers, Numbers]
"""Where something was measured, and what it was."""


def picture(
    *drawings: Drawing,
    columns: int = 1,
    height: float | Sequence[float] = HEIGHT,
    title: str = "",
) -> bytes:
    """Return a PNG of drawings, row by row.

    Args:
        drawings: each on axes of its own.
        columns: drawings side by side.
        height: of the whole in inches, where drawings in a column have one horizontal axis with
            ticks below the last; or of each row, and each drawing has its own.
        title: what stands above.

    Raises:
        ImportError: if matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("plots are drawn by matplotlib: pip install 'statewise[plot]'") from None
    rows = -(-len(drawings) // columns)
    width = WIDTH if columns == 1 else 0.7 * WIDTH * columns
    heights = [height / rows] * rows if isinstance(height, float | int) else height
    size = (width, sum(heights))
    figure = Figure(figsize=size, dpi=DPI, layout="constrained", facecolor="white")
    canvas = FigureCanvasAgg(figure)
    shared = "col" if rows > 1 and isinstance(height, float | int) else "none"
    grid = figure.subplots(rows, columns, squeeze=False, sharex=shared, height_ratios=heights)
    for axes, draw in zip(grid.flat, drawings, strict=True):
        axes.grid(color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9, color=QUIET)
        draw(axes)
    if title:
        figure.suptitle(printable(title), fontsize=10, color=QUIET, parse_math=False)
    file = BytesIO()
    canvas.print_png(file)
    return file.getvalue()


def colour(number: int) -> str:
    """Return the colour of the line of this number; after the last they begin again."""
    return COLOURS[number % len(COLOURS)]


def style(number: int) -> str:
    """Return how the line of this number is broken: differently each time colours begin again."""
    return STYLES[number // len(COLOURS) % len(STYLES)]


def lines(axes: Any, named: Mapping[str, Line], *, marker: bool = False) -> None:
    """Draw lines, each with a colour of its own; `name_ends` or `name_beside` names them."""
    for number, (name, (x, y)) in enumerate(named.items()):
        axes.plot(
            np.asarray(x, dtype=float),
            np.asarray(y, dtype=float),
            color=colour(number),
            linestyle=style(number),
            linewidth=1.6,
            marker=MARKERS[number % len(MARKERS)] if marker else None,
            markersize=4,
            label=printable(name),
            zorder=3,
        )


def name_ends(axes: Any, named: Mapping[str, Line], *, height: float = HEIGHT) -> None:
    """Write the name of each line beyond the right edge, level with its end where there is room.

    Call it last: when limits change afterwards, names do not move.
    """
    axes.set_ylim(*axes.get_ylim())
    ends = []
    for xs, ys in named.values():
        pairs = np.array([np.asarray(xs, dtype=float), np.asarray(ys, dtype=float)])
        pairs = pairs[:, np.isfinite(pairs).all(0)]
        ends.append(pairs[:, -1] if pairs.size else np.array([np.nan, np.nan]))
    seen = axes.transAxes.inverted().transform(axes.transData.transform(ends))[:, 1]
    levels = np.clip(np.nan_to_num(seen), 0, 1).tolist()
    for number, (name, end, place) in enumerate(
        zip(named, ends, _apart(levels, LETTER / (0.78 * height)), strict=True)
    ):
        stroke = {"arrowstyle": "-", "color": colour(number), "linewidth": 0.7}
        axes.annotate(
            printable(name),
            end,
            xytext=(1.035, place),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            color=colour(number),
            arrowprops={**stroke, "relpos": (0, 0.5), "shrinkA": 1, "shrinkB": 3},
            annotation_clip=False,
            parse_math=False,
        )


def name_beside(axes: Any) -> None:
    """Write the names of what has a label in a column beyond the right edge."""
    legend = axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9, frameon=False)
    for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True):
        text.set_parse_math(False)
        handle.set_alpha(1.0)


def level(axes: Any, y: float | int, label: str) -> None:
    """Draw a level line, such as chance, with what it is written on it."""
    axes.axhline(y, color=QUIET, linestyle=(0, (4, 3)), linewidth=1, zorder=2)
    axes.annotate(
        printable(label),
        (0.0, y),
        xytext=(3, 3),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        fontsize=8,
        color=QUIET,
        zorder=4,
    )


def upright(axes: Any, x: float | int, label: str) -> None:
    """Draw an upright line, such as the training length, with what it is written at its top."""
    axes.axvline(x, color=QUIET, linestyle=(0, (4, 3)), linewidth=1, zorder=2)
    axes.annotate(
        printable(label),
        (x, 1.0),
        xytext=(0, 3),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        ha="center",
        fontsize=8,
        color=QUIET,
    )


def by_length(axes: Any, lengths: Sequence[int], label: str) -> None:
    """Make the horizontal axis one of lengths: logarithmic, with a tick at those measured."""
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log")
    ticks = sorted(set(lengths))
    axes.set_xticks(ticks[:: -(-len(ticks) // 9)])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel(label, fontsize=10)


def logarithmic(axes: Any) -> None:
    """Make the vertical axis logarithmic, with ticks at 1, 2 and 5 where there is room."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 200 * low else (1,)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.12g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def tall(names: int) -> float:
    """Return the height of a plot in inches at which so many names stand above one another."""
    return max(HEIGHT, LETTER * names / 0.78 + 0.4)


def printable(text: str) -> str:
    """Return text in which every character has a glyph."""
    return "".join(c if " " <= c <= "~" else "?" for c in text[:80])


def _apart(levels: Sequence[float], gap: float) -> list[float]:
    """Return the levels moved until neighbours are `gap` apart, each group about its middle."""
    order = sorted(range(len(levels)), key=lambda i: levels[i])
    groups: list[list[int]] = []

    def middle(group: list[int]) -> float:
        half = gap * (len(group) - 1) / 2
        mean = sum(levels[i] for i in group) / len(group)
        return min(max(mean, half), max(1 - half, half))

    for i in order:
        groups.append([i])
        while len(groups) > 1 and (
            middle(groups[-1]) - middle(groups[-2])
            < gap * (len(groups[-1]) + len(groups[-2])) / 2 - 1e-9
        ):
            last = groups.pop()
            groups[-1] += last
    places = [0.0] * len(levels)
    for group in groups:
        for rank, i in enumerate(group):
            places[i] = middle(group) + gap * (rank - (len(group) - 1) / 2)
    return places
