"""Tables that the documentation reads from the code when it is built, so that none can be stale.

A page says where a table goes with a comment such as `<!-- catalogue -->`.
"""

from statewise import mixers, testing


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


def laws() -> str:
    """Return the laws."""
    rows = ["| law | what it says | holds for |", "|---|---|---|"]
    rows += [
        f"| {name.replace('_', ' ')} | {says} | {kinds} |" for name, says, kinds in testing.table()
    ]
    return "\n".join(rows)


TABLES = {"<!-- catalogue -->": catalogue, "<!-- laws -->": laws}


def on_page_markdown(markdown: str, **_: object) -> str:
    """Put every table that a page asks for in its place (called by mkdocs)."""
    for place, table in TABLES.items():
        if place in markdown:
            markdown = markdown.replace(place, table())
    return markdown
