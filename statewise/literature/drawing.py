"""The picture of a run: what each recipe came to, a mark for each seed."""

import re
from io import BytesIO
from typing import Any

from statewise.literature.reproduce import Run

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a8a8a")
"""Okabe and Ito's, which colour-blind readers tell apart."""

MARKS = "osD^vPX*"
AT = re.compile(r"at (\d+)(?: (.+))?$")


def picture(run: Run) -> bytes:
    """Return a PNG: curves where measures are "at 24", "at 96", else a row of marks each.

    Raises:
        ImportError: if matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("a run is drawn by matplotlib: pip install 'statewise[plot]'") from None
    columns = list(dict.fromkeys(c for row in run.tables[0].values() for c in row))
    along = [column for column in columns if AT.match(column)]
    others = [column for column in columns if column not in along]
    panels = bool(along) + len(others)
    height = 1.2 + 0.36 * len(run.tables[0])
    figure = Figure(figsize=(6.4, max(3.2, height) * panels), dpi=160, layout="constrained")
    axes = list(figure.subplots(panels, squeeze=False)[:, 0])
    if along:
        _curves(axes.pop(0), run, along)
    for column, one in zip(others, axes, strict=True):
        _marks(one, run, column)
    for one in figure.axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(color="#e5e7eb", linewidth=0.8)
        one.set_axisbelow(True)
    verdict = f": {run.verdict}" if run.verdict else ""
    figure.suptitle(f"{run.name}{verdict}", fontsize=11, x=0.02, ha="left")
    made = BytesIO()
    FigureCanvasAgg(figure).print_png(made)
    return made.getvalue()


def _curves(axes: Any, run: Run, columns: list[str]) -> None:
    places = [int(AT.match(column)[1]) for column in columns]  # type: ignore[index]
    for number, row in enumerate(run.tables[0]):
        colour, mark = COLOURS[number % len(COLOURS)], MARKS[number % len(MARKS)]
        for table in run.tables:
            values = [table[row].get(column, float("nan")) for column in columns]
            axes.plot(places, values, color=colour, alpha=0.35, linewidth=1)
        middle = [
            sum(table[row].get(column, float("nan")) for table in run.tables) / len(run.tables)
            for column in columns
        ]
        axes.plot(places, middle, color=colour, marker=mark, linewidth=2, label=row)
    axes.set_xscale("log", base=2)
    axes.set_xticks(places, [str(place) for place in places])
    axes.set_xlabel("length")
    match = AT.match(columns[0])
    axes.set_ylabel((match[2] if match else None) or "share right")
    axes.legend(frameon=False, fontsize=8, loc="best")


def _marks(axes: Any, run: Run, column: str) -> None:
    rows = [row for row in run.tables[0] if column in run.tables[0][row]]
    for place, row in enumerate(rows):
        values = [table[row][column] for table in run.tables]
        axes.plot(values, [place] * len(values), "o", color=COLOURS[0], alpha=0.7)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(column)
