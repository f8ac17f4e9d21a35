"""The one home of recurrent sequence models.

Every recurrence stands behind one interface (`statewise.mixers`), trains in parallel, runs one step
at a time in constant memory, and keeps its memory in a value that you own (`statewise.state`).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
    from statewise.training.classifier import Classifier as Classifier
    from statewise.training.tagger import Tagger as Tagger

__all__ = [
    "Classifier",
    "Tagger",
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


def __getattr__(name: str) -> Any:
    # Loaded on first use: their configurations need pydantic, and an import should stay cheap.
    if name in ("analysis", "models", "tasks", "testing", "training"):
        return import_module(f"statewise.{name}")
    if name in ("Classifier", "Tagger"):
        return getattr(import_module(f"statewise.training.{name.lower()}"), name)
    raise AttributeError(f"module 'statewise' has no attribute {name!r}")
