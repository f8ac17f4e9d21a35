"""Records of long measurements, one subject after another: what is stopped goes on where it was."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

Record = dict[str, Any]


class Records:
    """A JSON file beside this one, of what was found by name.

    Args:
        name: of the file, without its ending.
    """

    def __init__(self, name: str):
        self.path = Path(__file__).parent / f"{name}.json"

    def read(self) -> dict[str, Record]:
        """Return all records."""
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def complete(
        self, names: Iterable[str], measure: Callable[[str], Mapping[str, Any]], *, again: bool
    ) -> None:
        """Measure what has no record, or all names again, and keep each result at once."""
        known = self.read()
        for name in tqdm([name for name in names if again or name not in known]):
            found = measure(name)
            # Another process may have written meanwhile.
            records = self.read() | {name: dict(found)}
            self.path.write_text(json.dumps(dict(sorted(records.items())), indent=1) + "\n")
            tqdm.write(f"{name}: {found.get('failed', 'done')}")


def by_reason(missing: Mapping[str, str]) -> str:
    """Return names by why they are missing: "a, b (out of memory); c (was not run yet)"."""
    reasons: dict[str, list[str]] = {}
    for name, why in sorted(missing.items()):
        reasons.setdefault(why, []).append(name)
    return "; ".join(f"{', '.join(names)} ({why})" for why, names in reasons.items()) or "none"


def parted(
    records: Mapping[str, Record], names: Iterable[str]
) -> tuple[dict[str, Record], dict[str, str]]:
    """Return what was found, and why the others were not: they failed, or have no record yet."""
    good = {name: found for name, found in records.items() if "failed" not in found}
    missing = {name: found["failed"] for name, found in records.items() if "failed" in found}
    return good, missing | {name: "was not run yet" for name in names if name not in records}
