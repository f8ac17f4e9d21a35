"""Tables that the documentation reads from the code when it is built, so that none can be stale.

A page says where a table goes with a comment such as `<!-- catalogue -->`.
"""

import ast
from pathlib import Path

from statewise.heads import Head, read_head

MIXERS = Path(__file__).parents[1] / "statewise" / "mixers"


def heads() -> dict[str, Head]:
    """Return the head of every mixer file, keyed by the mixer's name."""
    return {
        path.stem: read_head(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")
        for path in sorted(MIXERS.glob("*.py"))
        if path.stem not in ("__init__", "base")
    }


def catalogue() -> str:
    """Return the mixers, first as a table and then with their equations."""
    rows = ["| mixer | what it is | state | cost |", "|---|---|---|---|"]
    details = []
    for name, head in heads().items():
        rows.append(f"| [`{name}`](#{name}) | {head.sentence} | {head.state} | {head.cost} |")
        details += [f"## {name}", head.sentence, head.paper, head.equations]
        details += [f"**Differs** {head.differs}"] if head.differs else []
    return "\n".join(rows) + "\n\n" + "\n\n".join(details)


TABLES = {"<!-- catalogue -->": catalogue}


def on_page_markdown(markdown: str, **_: object) -> str:
    """Put every table that a page asks for in its place (called by mkdocs)."""
    for place, table in TABLES.items():
        if place in markdown:
            markdown = markdown.replace(place, table())
    return markdown
