"""Further constructions of our mixers that the laws are tried on, beside each one's `example()`."""

from collections.abc import Callable

from statewise import mixers
from statewise.testing.subject import AnyMixer

VARIANTS: dict[str, Callable[[], AnyMixer]] = {
    "min_gru of one feature": lambda: mixers.MinGRU(1),
}
