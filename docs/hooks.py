"""Tables that the documentation reads from the code when it is built, so that none can be stale.

A page says where a table goes with a comment such as `<!-- catalogue -->`.
"""

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from statewise import mixers, testing
from statewise.analysis import theory
from statewise.literature import Paper, drawing, entries, papers
from statewise.literature.paper import Decision
from statewise.literature.records import Record
from statewise.literature.reproduce import cells, inequality
from statewise.models import layers
from statewise.models.hybrids import HYBRIDS

ROOT = Path(__file__).parents[1]


def catalogue() -> str:
    """Return the mixers, first as a table and then with their equations."""
    rows = ["| mixer | what it is | family | forms | state | cost |", "|---|---|---|---|---|---|"]
    details = []
    for head in mixers.heads():
        link = f"[`{head.name}`](#{head.name})"
        cells = (link, head.sentence, head.family, head.forms, head.state, head.cost)
        rows.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
        details += [f"## {head.name}", head.sentence, head.paper, head.equations]
        details += [f"**Differs** {head.differs}"] if head.differs else []
    return "\n".join(rows) + "\n\n" + "\n\n".join(details)


def hybrids() -> str:
    """Return the published patterns of layers."""
    rows = ["| hybrid | layers, then repeated | from | differs |", "|---|---|---|---|"]
    for name, hybrid in HYBRIDS.items():
        order = "; ".join(" + ".join(layers.names(layer)) for layer in hybrid.layers)
        rows.append(f"| `{name}` | {order} | {hybrid.paper} | {hybrid.differs} |")
    return "\n".join(rows)


def kinds() -> str:
    """Return what theory says of the mixers, by the kind of their transitions."""
    words = {True: "allowed", False: "excluded", None: "open"}
    named: dict[theory.Kind, list[str]] = {kind: [] for kind in theory.KINDS.values()}
    for name, mixer in mixers.catalogue().items():
        if issubclass(mixer, mixers.Mixer):
            named[theory.kind(name)].append(f"`{name}`")
    rows = ["| mixers | parity | counting | S3 | because | source |", "|---|---|---|---|---|---|"]
    for kind, members in named.items():
        told = " | ".join(words[kind[place]] for place in range(3))
        who = ", ".join(members) or "by option only"
        rows.append(f"| {who} | {told} | {kind.why} | {kind.source} |")
    return "\n".join(rows)


def laws() -> str:
    """Return the laws with the faults that each was shown to catch."""
    planted = {law.__name__: faults for law, faults in _faults().items()}
    rows = ["| law | what it says | holds for | planted faults it caught |", "|---|---|---|---|"]
    for name, says, kinds in testing.table():
        caught = "<br>".join(_line(fault.__doc__) for fault in planted[name])
        rows.append(f"| {name.replace('_', ' ')} | {says} | {kinds} | {caught} |")
    return "\n".join(rows)


def _faults() -> dict[Any, tuple[type, ...]]:
    spec = spec_from_file_location("faults", ROOT / "tests" / "laws" / "faults.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.FAULTS


def _line(text: str | None) -> str:
    return " ".join((text or "").split())


def literature() -> str:
    """Return the papers that have a file as a table, and then each with what was measured."""
    rows = ["| paper | finding | verdict | ran |", "|---|---|---|---|"]
    details = []
    for entry in entries():
        if entry.file is None:
            continue
        here, record = papers()[entry.file], entry.record
        ran = "not yet"
        if record is not None:
            seeds = ", ".join(map(str, record.seeds))
            ran = f"{record.date}, seeds {seeds}, {record.seconds:.0f} s"
            details.append(_measured(here, record))
        if entry.void:
            ran += f"; {entry.void} of an earlier claim"
        link = f"[`{entry.file}`](#{entry.file})" if record else f"`{entry.file}`"
        verdict = entry.verdict or ""
        rows.append(f"| {link}, {entry.name} | {here.finding} | {verdict} | {ran} |")
    return "\n".join(rows) + "\n\n" + "\n\n".join(details)


def _measured(here: Paper, record: Record) -> str:
    """Return what a page says of a paper that has a verdict."""
    _, source, *told = (
        _line(part) for part in re.split(r"\n\n|\n(?=[A-Z][a-z]+ {2,})", here.module.__doc__ or "")
    )
    head, *rows = ([cell or " " for cell in row] for row in cells(record.tables))
    rules = ["---", *["---:"] * (len(head) - 1)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in (head, rules, *rows))
    checks = [Decision(**check) for check in record.checks]
    decided = "\n".join(f"- {check.verdict}: {inequality(check)}" for check in checks)
    parts = [
        f"## {here.name}",
        here.finding,
        source,
        *(re.sub(r"^(\w+) ", r"**\1** ", part) for part in told),
        table,
        f"![What each recipe came to]({PICTURES}/{here.name}.png)",
        f"**Claim** {record.text}",
        decided,
        f"**Verdict: {record.verdict}.**",
    ]
    return "\n\n".join(parts)


PICTURES = "papers"
"""The folder of the site in which papers have their pictures."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Draw the tables of every paper that has a verdict (called by mkdocs)."""
    for entry in entries():
        if entry.record is not None:
            drawn = drawing.picture(entry.record.tables)
            files.append(File.generated(config, f"{PICTURES}/{entry.file}.png", content=drawn))
    return files


TABLES = {
    "<!-- catalogue -->": catalogue,
    "<!-- hybrids -->": hybrids,
    "<!-- kinds -->": kinds,
    "<!-- laws -->": laws,
    "<!-- literature -->": literature,
}


def on_page_markdown(markdown: str, **_: object) -> str:
    """Put every table that a page asks for in its place (called by mkdocs)."""
    for place, table in TABLES.items():
        if place in markdown:
            markdown = markdown.replace(place, table())
    return markdown
