"""A copy of a function that finds other functions under the names it calls."""

import functools
from types import CellType, FunctionType
from typing import Any


def rebound(function: Any, names: dict[str, Any]) -> Any:
    """Return a copy of a function, and of those it wraps, that finds `names` among its globals."""
    inner = getattr(function, "__wrapped__", None)
    namespace, closure = function.__globals__, function.__closure__
    if inner is None:
        namespace = {**namespace, **names}
    else:
        copy = rebound(inner, names)
        closure = tuple(
            CellType(copy) if cell.cell_contents is inner else cell for cell in closure or ()
        )
    again = FunctionType(
        function.__code__, namespace, function.__name__, function.__defaults__, closure
    )
    again.__kwdefaults__ = function.__kwdefaults__
    functools.update_wrapper(again, function)
    if inner is None:
        del again.__wrapped__
    else:
        again.__wrapped__ = copy
    return again
