"""The one home of recurrent sequence models.

Every recurrence stands behind one interface (`statewise.mixers`), trains in parallel, runs one step
at a time in constant memory, and keeps its memory in a value that you own (`statewise.state`).
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from statewise import backends as backends
from statewise import mixers as mixers
from statewise import ops as ops

if TYPE_CHECKING:
    from statewise import models as models

__all__ = ["backends", "mixers", "models", "ops"]
__version__ = "0.1.0"


def __getattr__(name: str) -> ModuleType:
    if (
        name == "models"
    ):  # on first use, because configurations need pydantic, which is slow to load
        return import_module("statewise.models")
    raise AttributeError(f"module 'statewise' has no attribute {name!r}")
