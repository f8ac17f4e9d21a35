"""The picture of a paper's tables: curves along lengths, else a row of marks, one for each seed."""

import re
from collections.abc import Sequence
from functools import partial
from statistics import mean
from typing import Any

from statewise.analysis import pictures
from statewise.literature.paper import Table

AT = re.compile(r"at (\d+)(?: (.+))?$")
"""What measures of one curve are named: "at 24", "at 96"; a unit after it is another curve's.

What stands before a colon says what the numbers are, if not lengths: "at 8 seconds: bits per byte".
"""


def picture(tables: Sequence[Table], title: str = "") -> bytes:
    """Return a PNG: a panel for the curves of each unit, and for each other measure.

    Args:
        tables: one for each seed.
        title: what stands above.

    Raises:
        ImportError: if matplotlib is missing.
    """
    measures = dict.fromkeys(c for row in tables[0].values() for c in row)
    units: dict[str, dict[int, str]] = {}
    for measure in measures:
        if found := AT.match(measure):
            units.setdefault(found[2] or "share right", {})[int(found[1])] = measure
    drawings: list[pictures.Drawing] = []
    heights: list[float] = []
    for unit, along in units.items():
        rows = [row for row, found in tables[0].items() if found.keys() & set(along.values())]
        heights.append(pictures.tall(2 * len(rows)))
        drawings.append(partial(_curves, tables, rows, along, unit, heights[-1]))
    for measure in measures:
        if not AT.match(measure):
            rows = [row for row, found in tables[0].items() if measure in found]
            heights.append(0.8 + 0.3 * len(rows))
            drawings.append(partial(_marks, tables, rows, measure))
    return pictures.picture(*drawings, height=heights, title=title)


def _curves(
    tables: Sequence[Table],
    rows: Sequence[str],
    along: dict[int, str],
    unit: str,
    height: float,
    axes: Any,
) -> None:
    """Draw a line for each row through the means, and a thin one for each seed."""
    middle: dict[str, tuple[list[int], list[float]]] = {}
    for number, row in enumerate(rows):
        places = [place for place, one in along.items() if one in tables[0][row]]
        seeds = [[table[row][along[place]] for place in places] for table in tables]
        for values in seeds:
            axes.plot(places, values, color=pictures.colour(number), alpha=0.35, linewidth=1)
        middle[row] = places, list(map(mean, zip(*seeds, strict=True)))
    counted, _, measured = unit.rpartition(": ")
    pictures.by_length(axes, list(along), counted or "length")
    axes.set_ylabel(measured, fontsize=10)
    if _wide([value for _, values in middle.values() for value in values]):
        axes.set_yscale("log")
    pictures.lines(axes, middle, marker=True)
    pictures.name_ends(axes, middle, height=height)


def _marks(tables: Sequence[Table], rows: Sequence[str], measure: str, axes: Any) -> None:
    """Draw a row of marks for each that has the measure."""
    for place, row in enumerate(rows):
        values = [table[row][measure] for table in tables]
        axes.plot(values, [place] * len(values), "o", color=pictures.colour(0), alpha=0.7)
    axes.set_yticks(range(len(rows)), map(pictures.printable, rows))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    if _wide([table[row][measure] for table in tables for row in rows]):
        axes.set_xscale("log")
    axes.set_xlabel(measure, fontsize=10)


def _wide(values: Sequence[float]) -> bool:
    """Return whether the least would be lost beside the greatest."""
    return min(values) > 0 and max(values) > 50 * min(values)
