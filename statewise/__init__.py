"""The one home of recurrent sequence models.

Every recurrence stands behind one interface (`statewise.mixers`), trains in parallel, runs one step
at a time in constant memory, and keeps its memory in a value that you own (`statewise.state`).
"""

from statewise import backends as backends
from statewise import mixers as mixers
from statewise import ops as ops
from statewise import state as state

__all__ = ["backends", "mixers", "ops", "state"]
__version__ = "0.1.0"
