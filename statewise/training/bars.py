"""Bars that show how far a run is, and whose end is not the run's."""

import math
import os
import sys
from contextlib import suppress
from typing import Any

from tqdm import tqdm

from statewise.training.configuration import Running
from statewise.training.lessons import Lessons
from statewise.training.progress import Progress


class _Heedless:
    """Standard error, for a bar: whoever watched may close the terminal, or leave the pipe."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            if sys.stderr is sys.__stderr__:
                # Past its buffer: what cannot be written would wait there, and Python would fail
                # at its end over nothing but a bar.
                os.write(sys.stderr.fileno(), text.encode(errors="replace"))
            else:  # a notebook's, a test's
                sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


def bar(**options: Any) -> tqdm:
    """Return a tqdm bar on standard error that survives it."""
    return tqdm(file=_Heedless(), **options)


class TrainingBar:
    """Seconds, steps or tokens done, the loss, the best evaluation, tokens per second."""

    def __init__(self, config: Running, progress: Progress, lessons: Lessons, *, shown: bool):
        self.lessons = lessons
        ends = {**config.ends, "seconds": config.max_seconds or config.equal_compute}
        self.counts = next(name for name, end in ends.items() if end is not None)
        self.before = (progress.tokens, progress.seconds)
        # In a file every state of the bar is a line of its own, so that few are enough.
        pause = 0.1 if sys.stderr.isatty() else 10.0
        self.bar = bar(
            total=ends[self.counts],
            initial=getattr(progress, self.counts),
            desc="training",
            bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
            mininterval=pause,
            maxinterval=pause,
            disable=config.quiet or not shown,
        )

    def update(self, progress: Progress, loss_bits: float) -> None:
        """Show how far the run is."""
        if self.bar.disable:
            return
        tokens, seconds = progress.tokens - self.before[0], progress.seconds - self.before[1]
        rate = tokens / max(seconds, 1e-9)
        figures = (
            f" {loss_bits:.3f} bits/{self.lessons.target}, {rate:,.0f} {self.lessons.token}s/s"
        )
        if math.isfinite(progress.best):
            figures += f", held out {self.lessons.short(progress.best)}"
        self.bar.set_postfix_str(figures, refresh=False)
        done = min(getattr(progress, self.counts), self.bar.total)
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        self.bar.close()
