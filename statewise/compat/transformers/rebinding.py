"""A copy of a function that finds other functions under the names it calls."""

import functools
from types import CellType, FunctionType
from typing import Any


def rebound(function: Any, names: dict[str, Any]) -> Any:
    """Return a copy of a function, and of those it wraps, that finds `names` among its globals."""
    inner = getattr(function, "__wrapped__", None)
    if inner is None:
        return _copied(function, {**function.__globals__, **names}, function.__closure__)
    copy = rebound(inner, names)
    cells = function.__closure__ or ()
    closure = tuple(CellType(copy) if cell.cell_contents is inner else cell for cell in cells)
    return functools.update_wrapper(_copied(function, function.__globals__, closure), copy)


def _copied(function: Any, namespace: dict[str, Any], closure: Any) -> Any:
    """Return the function with other globals and another closure."""
    again = FunctionType(
        function.__code__, namespace, function.__name__, function.__defaults__, closure
    )
    again.__kwdefaults__ = function.__kwdefaults__
    again.__doc__, again.__annotations__ = function.__doc__, function.__annotations__
    return again
