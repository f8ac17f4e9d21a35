"""What the head of a mixer file says, for `statewise list` and for the documentation.

A mixer file opens with its mathematics: one sentence, the paper, the equations, then `State`,
`Cost` and, where it departs from the paper, `Differs`. Nothing is written down twice: every table
of mixers is read from these heads.
"""

import re
from typing import NamedTuple


class Head(NamedTuple):
    """The parts of a head, as plain text on one line each; the equations keep their lines."""

    sentence: str
    paper: str
    equations: str
    state: str
    cost: str
    differs: str
    """Empty where nothing differs from the paper."""


_FIELD = re.compile(r"^(State|Cost|Differs|See also)\s+(.*(?:\n\s+\S.*)*)", re.MULTILINE)


def read_head(text: str) -> Head:
    """Return the parts of a mixer file's docstring.

    Raises:
        ValueError: names the parts that are missing.
    """
    fields = {name: _one_line(value) for name, value in _FIELD.findall(text)}
    prose = _FIELD.split(text, maxsplit=1)[0]
    paragraphs = [p for p in re.split(r"\n\s*\n", prose.strip("\n")) if p.strip()]
    written = [_one_line(p) for p in paragraphs if not p.startswith(" ")]
    equations = [p for p in paragraphs if p.startswith(" ")]
    head = Head(
        sentence=written[0] if written else "",
        paper=next((p for p in written[1:] if re.search(r"\b(19|20)\d\d\b", p)), ""),
        equations="\n\n".join(equations),
        state=fields.get("State", ""),
        cost=fields.get("Cost", ""),
        differs=fields.get("Differs", ""),
    )
    missing = [part for part in Head._fields if part != "differs" and not getattr(head, part)]
    if missing:
        raise ValueError(f"the head lacks its {', '.join(missing)}")
    return head


def _one_line(text: str) -> str:
    return " ".join(text.split())
