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
from statewise import state as state

if TYPE_CHECKING:
    from statewise import analysis as analysis
    from statewise import models as models
    from statewise import tasks as tasks
    from statewise import testing as testing
    from statewise import training as training

__all__ = [
    "analysis",
    "backends",
    "mixers",
    "models",
    "ops",
    "state",
    "tasks",
    "testing",
    "training",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> ModuleType:
    # Loaded on first use: their configurations need pydantic, and an import should stay cheap.
    if name in ("analysis", "models", "tasks", "testing", "training"):
        return import_module(f"statewise.{name}")
    raise AttributeError(f"module 'statewise' has no attribute {name!r}")
