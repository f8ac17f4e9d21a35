"""Tables that the documentation reads from the code when it is built, so that none can be stale.

A page says where a table goes with a comment such as `<!-- catalogue -->`.
"""

from statewise import mixers


def catalogue() -> str:
    """Return the mixers, first as a table and then with their equations."""
    rows = ["| mixer | what it is | state | cost |", "|---|---|---|---|"]
    details = []
    for head in mixers.heads():
        cells = (f"[`{head.name}`](#{head.name})", head.sentence, head.state, head.cost)
        rows.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
        details += [f"## {head.name}", head.sentence, head.paper, head.equations]
        details += [f"**Differs** {head.differs}"] if head.differs else []
    return "\n".join(rows) + "\n\n" + "\n\n".join(details)


TABLES = {"<!-- catalogue -->": catalogue}


def on_page_markdown(markdown: str, **_: object) -> str:
    """Put every table that a page asks for in its place (called by mkdocs)."""
    for place, table in TABLES.items():
        if place in markdown:
            markdown = markdown.replace(place, table())
    return markdown
