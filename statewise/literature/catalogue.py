"""All papers that statewise answers to, and the files of those that are here."""

import csv
import difflib
import importlib
import pkgutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import statewise.literature
from statewise.literature import records
from statewise.literature.paper import Budget, Claim
from statewise.literature.records import Record

Measure = Callable[[Any, Budget, int], Mapping[str, float]]


@dataclass(frozen=True)
class Paper:
    """A paper file."""

    name: str
    module: ModuleType

    @property
    def number(self) -> int:
        """Its number among all papers."""
        return self.module.PAPER

    @property
    def claim(self) -> Claim:
        """Return what should be seen."""
        return self.module.CLAIM

    @property
    def recipes(self) -> Mapping[str, Any]:
        """What is compared."""
        return self.module.RECIPES

    @property
    def measure(self) -> Measure:
        """What measures one of the recipes."""
        return self.module.measure

    @property
    def alone(self) -> Collection[str]:
        """The recipes that measure time, beside which nothing else may run."""
        return getattr(self.module, "ALONE", ())

    @property
    def finding(self) -> str:
        """The first sentence of the file."""
        return (self.module.__doc__ or "").strip().splitlines()[0]

    @property
    def path(self) -> Path:
        """Where the file is."""
        return Path(self.module.__file__ or "")


@dataclass(frozen=True)
class Entry:
    """A line of the list of all papers."""

    number: int
    name: str
    """As people call it."""
    kind: str
    family: str
    file: str | None
    """The name to give to `statewise reproduce`, where there is a file."""
    verdict: str | None
    record: Record | None
    void: int
    """Records of claims that were changed since."""


@cache
def papers() -> Mapping[str, Paper]:
    """Return all paper files by name."""
    found = {}
    for folder in pkgutil.iter_modules(statewise.literature.__path__):
        if not folder.ispkg:
            continue
        package = importlib.import_module(f"statewise.literature.{folder.name}")
        for part in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{part.name}")
            if hasattr(module, "PAPER"):
                found[part.name] = Paper(part.name, module)
    return dict(sorted(found.items(), key=lambda pair: pair[1].number))


def paper(name: str) -> Paper:
    """Return a paper file by its name.

    Raises:
        ValueError: if there is none, with the nearest that there is.
    """
    known = papers()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        guess = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"
        raise ValueError(f"no paper {name!r} is here{guess}")
    return known[name]


def entries() -> list[Entry]:
    """Return all papers in the order of their numbers, with where each stands."""
    here = {one.number: one for one in papers().values()}
    text = (files(statewise.literature) / "papers.tsv").read_text(encoding="utf-8")
    found = []
    for row in csv.DictReader(text.splitlines(), delimiter="\t"):
        number = int(row["number"])
        one, record, void = here.get(number), None, 0
        if one is not None:
            known = records.read(one.name)
            record = records.valid(known, one.claim)
            void = sum(r.claim != one.claim.digest for r in known)
        verdict = record.verdict if record else None
        file = one.name if one else None
        name, kind, family = row["name"], row["kind"], row["family"]
        found.append(Entry(number, name, kind, family, file, verdict, record, void))
    return found
