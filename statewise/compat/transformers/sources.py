"""Which sources of the hub's library our functions were tested against.

A function is known by the hash of its source, so that a version that changed it is seen whatever
its number, and one that did not change it is taken. `python -m benchmarks.hub --sources` prints the
table for the version that is installed.
"""

import hashlib
import inspect
from importlib.metadata import PackageNotFoundError, version
from operator import attrgetter
from types import ModuleType

TESTED: dict[str, dict[str, str]] = {}
"""Of each function or method, the hashes of its source and the versions it was tested in."""


def fingerprint(home: ModuleType, name: str) -> str | None:
    """Return the hash of the source of a function or method of a module; None if it has none."""
    try:
        source = inspect.getsource(inspect.unwrap(attrgetter(name)(home)))
    except (AttributeError, OSError, TypeError):
        return None
    return hashlib.sha256(source.encode()).hexdigest()[:12]


def tested(home: ModuleType, name: str) -> bool:
    """Return whether a function or method of a module is one that our own were tested against."""
    return fingerprint(home, name) in TESTED.get(name, {})


def installed() -> str:
    """Return the version of the library."""
    try:
        return version("transformers")
    except PackageNotFoundError:
        return "of an unknown version"
