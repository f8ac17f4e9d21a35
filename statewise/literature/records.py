"""Verdicts, kept: one file a paper, each record with the commit that holds the claim it is about.

A claim is committed before it is run. A record belongs to the claim whose digest it has; where the
claim was changed since, the record is void, and stays listed.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from statewise.literature.paper import Claim

FOLDER = Path(__file__).parent / "records"


@dataclass(frozen=True)
class Record:
    """What one run found."""

    paper: int
    name: str
    claim: str
    """The digest of the claim."""
    text: str
    commit: str
    """In which the claim stood when it was run."""
    budget: str
    seeds: list[int]
    tables: list[dict[str, dict[str, float]]]
    """One for each seed."""
    checks: list[dict[str, Any]]
    verdict: str
    seconds: float
    date: str
    machine: dict[str, str]


def read(name: str) -> list[Record]:
    """Return all records of a paper, oldest first."""
    path = FOLDER / f"{name}.json"
    if not path.exists():
        return []
    return [Record(**one) for one in json.loads(path.read_text(encoding="utf-8"))]


def add(record: Record) -> Path:
    """Keep one more record; return its file."""
    path = FOLDER / f"{record.name}.json"
    path.parent.mkdir(exist_ok=True)
    known = [asdict(one) for one in read(record.name)]
    text = json.dumps([*known, asdict(record)], indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def valid(records: Sequence[Record], claim: Claim) -> Record | None:
    """Return the latest record with a verdict on the claim as it stands."""
    about = [r for r in records if r.claim == claim.digest and r.budget != "smoke"]
    return about[-1] if about else None


def committed(path: Path) -> str:
    """Return the last commit that changed a paper file.

    Raises:
        ValueError: if the file has changes that are not committed, or is in no repository.
    """

    def git(*words: str) -> str:
        command = ["git", "-C", str(path.parent), *words, "--", path.name]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"{path.name}: a record needs the repository, to name its commit")
        return done.stdout.strip()

    commit = git("log", "-1", "--format=%H")
    if not commit or git("status", "--porcelain"):
        raise ValueError(
            f"{path.name}: commit the claim before it is run, or leave out --record to see a "
            "verdict that is not kept"
        )
    return commit


def plain(table: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return a table as JSON holds it."""
    return {row: {k: float(v) for k, v in columns.items()} for row, columns in table.items()}
