"""One file per mixer; the folder is the registry."""

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

from statewise.mixers.base import Cell as Cell
from statewise.mixers.base import Mixer as Mixer
from statewise.mixers.base import WholeSequence as WholeSequence
from statewise.mixers.min_gru import MinGRU as MinGRU

__all__ = ["Cell", "MinGRU", "Mixer", "WholeSequence", "build", "catalogue"]

Spec = str | Mapping[str, Any] | Callable[..., Mixer[Any] | WholeSequence]
"""How a mixer is asked for: a name, `{"name": ..., option: value}`, a class or a callable."""


def catalogue() -> dict[str, type[Mixer[Any]] | type[WholeSequence]]:
    """Return every mixer of this folder, keyed by the name of its file."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        if module.name == "base":
            continue
        path = f"{__name__}.{module.name}"
        classes = [
            item
            for item in vars(importlib.import_module(path)).values()
            if inspect.isclass(item)
            and issubclass(item, Mixer | WholeSequence)
            and item.__module__ == path
        ]
        if len(classes) != 1:
            raise TypeError(f"{path} should define one mixer, not {len(classes)}")
        found[module.name] = classes[0]
    return found


def build(
    spec: Spec, dim: int, *, mixers: Mapping[str, Callable[..., Any]] | None = None
) -> Mixer[Any] | WholeSequence:
    """Return the mixer that `spec` asks for, reading `dim` features.

    Args:
        spec: a name from the catalogue or from `mixers`, `{"name": ..., option: value}`, or a class
            or callable that takes `dim`.
        dim: features read.
        mixers: further mixers by name, such as your own.

    Raises:
        ValueError: for a name or an option that does not exist; it suggests the nearest.
    """
    if callable(spec):
        return spec(dim)
    options = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = options.pop("name", None)
    known = {**catalogue(), **(mixers or {})}
    if name not in known:
        raise ValueError(f"there is no mixer {name!r}{nearest(str(name), known)}")
    names = [n for n in inspect.signature(known[name]).parameters if n != "dim"]
    for option in options:
        if option not in names:
            raise ValueError(
                f"the mixer {name!r} has no option {option!r}{nearest(option, names)}"
            )
    return known[name](dim, **options)


def nearest(word: str, known: Any) -> str:
    """Return the end of a sentence about an unknown word: what was meant, or what there is."""
    known = list(known)
    close = difflib.get_close_matches(word, known, 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(map(repr, known))}" if known else "; there are none"
