"""The pictures of a training, as PNG: drawn on figures of our own, so that no setting is changed.

No text from a file is read as mathematics or needs a glyph that the font may lack.
"""

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np

LINE, PALE, SCORE, QUIET = "#1f5fa8", "#9dbfe3", "#c2410c", "#6b7280"
MARKS = {"skipped": "#b91c1c", "interrupted": "#a16207", "resumed": "#15803d"}
"""Colours, each told from the others in grey as well; of events, the ones that are drawn."""

WIDTH, HEIGHT, DPI = 6.2, 3.3, 200
"""Inches and dots: sharp on a dense screen, with letters that a narrow page leaves legible."""


class Points(NamedTuple):
    """Where a quantity was measured, and what it was; finite values alone."""

    x: np.ndarray
    y: np.ndarray

    @classmethod
    def of(cls, pairs: Iterable[tuple[float, float]]) -> "Points":
        """Return pairs as two arrays, without those that cannot be drawn."""
        array = np.array(list(pairs), dtype=float).reshape(-1, 2)
        array = array[np.isfinite(array).all(axis=1)]
        return cls(array[:, 0], array[:, 1])


Drawing = Callable[[Any], None]
"""Draws on one pair of axes."""


def picture(drawings: list[Drawing], x_label: str, title: str = "") -> bytes:
    """Return a PNG of drawings, one under the other over one horizontal axis.

    Raises:
        ImportError: if matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        raise ImportError(
            "the report is drawn by matplotlib: pip install 'statewise[plot]'"
        ) from None
    size = (WIDTH, HEIGHT if len(drawings) == 1 else 0.75 * HEIGHT * len(drawings))
    figure = Figure(figsize=size, dpi=DPI, layout="constrained", facecolor="white")
    rows = figure.subplots(len(drawings), sharex=True, squeeze=False)[:, 0]
    for axes, draw in zip(rows, drawings, strict=True):
        draw(axes)
        axes.grid(color="#e5e7eb", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=9, edgecolor="none", framealpha=0.85, fancybox=False)
    rows[-1].set_xlabel(x_label, fontsize=10)
    rows[-1].xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    rows[-1].xaxis.set_major_formatter("{x:,.0f}")
    rows[0].set_title(_printable(title), fontsize=10, loc="left", color=QUIET, parse_math=False)
    file = BytesIO()
    FigureCanvasAgg(figure).print_png(file)
    return file.getvalue()


def smooth(points: Points) -> tuple[Points, int]:
    """Return the running mean, centred, and over how many measurements it is taken.

    At the ends it is over those there are.
    """
    reach = len(points.y) // 60
    sums = np.concatenate([[0.0], np.cumsum(points.y)])
    at = np.arange(len(points.y))
    low, high = np.maximum(at - reach, 0), np.minimum(at + reach + 1, len(points.y))
    return Points(points.x, (sums[high] - sums[low]) / (high - low)), 2 * reach + 1


def settled(points: Points) -> float:
    """Return the highest value after the first twentieth of the points, where a run is steepest."""
    return float(points.y[len(points.y) // 20 :].max())


def noisy(points: Points, label: str, unit: str) -> Drawing:
    """Draw pale dots under their running mean."""

    def draw(axes: Any) -> None:
        mean, _ = smooth(points)
        axes.plot(*points, ".", color=PALE, markersize=3, zorder=2)
        axes.plot(*mean, color=LINE, linewidth=1.8, label=label, zorder=3)
        axes.set_ylabel(unit, fontsize=10)

    return draw


def marked(points: Points, best: int, label: str, unit: str) -> Drawing:
    """Draw each point for itself, and write beside the one numbered `best` what it is."""

    def draw(axes: Any) -> None:
        axes.plot(
            *points, "D", color=SCORE, markersize=5, markeredgecolor="white", label=label, zorder=4
        )
        axes.set_ylabel(unit, fontsize=10)
        axes.annotate(
            f"best {points.y[best]:.4f}",
            (points.x[best], points.y[best]),
            xytext=(0, 22),
            textcoords="offset points",
            ha="right" if points.x[best] > points.x.mean() else "left",
            fontsize=9,
            color=SCORE,
            arrowprops={"arrowstyle": "-", "color": SCORE, "linewidth": 0.8},
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5},
            zorder=5,
        )

    return draw


def plain(points: Points, unit: str, *, from_zero: bool = True) -> Drawing:
    """Draw a line, on a logarithmic scale unless it starts from zero."""

    def draw(axes: Any) -> None:
        # A line through one point, or of points far apart, would show nothing without its points.
        axes.plot(
            *points, ".-", color=LINE, linewidth=1.2, markersize=2 if len(points.x) > 9 else 6
        )
        axes.set_ylabel(unit, fontsize=10)
        if from_zero:
            axes.set_ylim(bottom=0)
            if points.y.max() >= 1000:
                axes.yaxis.set_major_formatter("{x:,.0f}")
        elif (points.y > 0).all():
            from matplotlib.ticker import LogLocator, NullFormatter

            axes.set_yscale("log")
            low, high = axes.get_ylim()
            axes.set_ylim(min(low, high / 4), high)  # so that noise looks small, and a tick is in
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())

    return draw


def below(y: float) -> Drawing:
    """Show what was drawn before up to a little above y."""

    def draw(axes: Any) -> None:
        low = axes.get_ylim()[0]
        axes.set_ylim(low, y + 0.05 * (y - low))

    return draw


def level(y: float, label: str) -> Drawing:
    """Draw a level line that nothing should cross unnoticed."""
    return lambda axes: axes.axhline(
        y, color=SCORE, linestyle="--", linewidth=1.2, label=label, zorder=3
    )


def moments(events: Iterable[tuple[str, float]]) -> Drawing:
    """Draw a thin upright line where something happened, each kind named once."""

    def draw(axes: Any) -> None:
        named = set()
        for kind, x in events:
            if kind in MARKS:
                label = None if kind in named else kind
                axes.axvline(x, color=MARKS[kind], linestyle=":", linewidth=1, label=label)
                named.add(kind)

    return draw


def together(*drawings: Drawing) -> Drawing:
    """Draw all of them on the same axes."""

    def draw(axes: Any) -> None:
        for one in drawings:
            one(axes)

    return draw


def _printable(text: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in text[:80])
