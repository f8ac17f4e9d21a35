"""What a paper file is made of: its claim, written down before it is run, and how it is decided.

    CLAIM = Claim(
        "Two steps a token track S3, one does not.",
        (
            Check("two steps solve four times the length", ("two steps", "at 96"), ">=", 0.95),
            Check("one step is behind", ("one step", "at 96"), "<=", ("two steps", "at 96"), 0.6),
        ),
    )

A value is a number for each seed. An inequality holds where all of its left numbers are on the
right side of all of its right ones, fails where all are on the other, and is undecided between. One
that is paired compares seed by seed: for sides that read the same examples, drawn by the seed, and
differ by less than examples do.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import product
from operator import ge, gt, le, lt
from typing import Literal, NamedTuple

Place = tuple[str, str]
"""A row and a column of the table: a model, and what was measured of it."""

Table = Mapping[str, Mapping[str, float]]
"""What one seed gave, by model and measure."""

Verdict = Literal["reproduced", "not reproduced", "undecided"]


class Budget(Enum):
    """How much is computed: a trial in seconds without a verdict, a verdict, or four times that."""

    smoke = "smoke"
    claim = "claim"
    full = "full"

    def steps(self, claim: int) -> int:
        """Return the steps of training, from those of a verdict."""
        return {"smoke": 2, "claim": claim, "full": 4 * claim}[self.value]


class Decision(NamedTuple):
    """One inequality after the run."""

    sentence: str
    left: list[float]
    relation: str
    right: list[float]
    verdict: Verdict
    paired: bool = False


@dataclass(frozen=True)
class Check:
    """One inequality of a claim.

    Args:
        sentence: what it says.
        value: the place of what is on the left.
        relation: ">=" or "<=".
        than: a number, or the place of what is on the right.
        times: what the right side is multiplied with.
        plus: what is added to it then.
        paired: whether each seed's left number is compared with its own right one alone.
    """

    sentence: str
    value: Place
    relation: Literal[">=", "<="]
    than: float | Place
    times: float = 1.0
    plus: float = field(default=0.0, repr=False)
    paired: bool = field(default=False, repr=False)

    def decide(self, tables: Sequence[Table]) -> Decision:
        """Return whether it holds over all seeds."""
        left = [_at(table, self.value) for table in tables]
        right = [
            self.times * (_at(table, self.than) if isinstance(self.than, tuple) else self.than)
            + self.plus
            for table in tables
        ]
        pairs = list(zip(left, right, strict=True) if self.paired else product(left, right))
        holds, fails = (ge, lt) if self.relation == ">=" else (le, gt)
        if all(holds(a, b) for a, b in pairs):
            verdict = "reproduced"
        else:
            fail = all(fails(a, b) for a, b in pairs)
            verdict = "not reproduced" if fail else "undecided"
        return Decision(self.sentence, left, self.relation, right, verdict, self.paired)


@dataclass(frozen=True)
class Claim:
    """What should be seen in miniature: a sentence, and the inequalities that it comes to."""

    text: str
    checks: tuple[Check, ...]

    @property
    def digest(self) -> str:
        """Return what changes with any word or number of the claim."""
        said = repr((self.text, self.checks))
        # Claims were recorded before there was either of these: theirs are what they were.
        for name in ("plus", "paired"):
            values = enumerate(getattr(check, name) for check in self.checks)
            if given := {place: value for place, value in values if value}:
                said += repr(given)
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def decide(self, tables: Sequence[Table]) -> tuple[Verdict, list[Decision]]:
        """Return the verdict, and each inequality's.

        The whole is reproduced where all are, and not where one is not.
        """
        decisions = [check.decide(tables) for check in self.checks]
        seen = {decision.verdict for decision in decisions}
        for verdict in ("not reproduced", "undecided"):
            if verdict in seen:
                return verdict, decisions
        return "reproduced", decisions


def _at(table: Table, place: Place) -> float:
    row, column = place
    if row not in table or column not in table[row]:
        raise KeyError(f"the claim reads {column!r} of {row!r}, which was not measured")
    return table[row][column]


def at(values: Mapping[int, float], unit: str = "") -> dict[str, float]:
    """Return measures whose names `drawing` makes one curve of: "at 24", or "at 24 UNIT".

    Where the places are no lengths, the unit says what they are: "seconds: bits per byte".
    """
    return {f"at {place} {unit}".rstrip(): value for place, value in values.items()}
