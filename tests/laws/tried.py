"""Tries laws, in processes without the hook that checks shapes.

With it every law takes four times as long, and Dynamo refuses it. Mixers share the cores.
"""

import functools
import os
import warnings
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import torch
from faults import FAULTS
from variants import STACKS, VARIANTS

from statewise import mixers, testing

SUBJECTS = {**mixers.catalogue(), **VARIANTS}
COMPILED = {f.__name__: f for law in testing.COMPILER_LAWS for f in FAULTS[law]}
_EVERY = (*testing.LAWS, *testing.CELL_LAWS, *testing.COMPILER_LAWS)
_LAWS = {law.__name__: law for law in _EVERY}


class Trial(NamedTuple):
    """One law on one mixer."""

    subject: str
    law: str
    dtype: str
    times: tuple[int, ...]


def seen(trial: Trial) -> str | None:
    """Return what was seen where a law does not hold, None where it does."""
    subject = {**SUBJECTS, **STACKS, **COMPILED}[trial.subject]
    dtype = getattr(torch, trial.dtype)
    try:
        testing.hold(_LAWS[trial.law], subject, dtype, times=trial.times)
    except testing.LawBroken as error:
        return str(error)


class Trials:
    """Laws that are tried by as many processes as there are cores, a mixer at a time."""

    def __init__(self, trials: list[Trial]):
        self._pool = ProcessPoolExecutor(
            os.cpu_count(), mp_context=get_context("spawn"), initializer=_prepare
        )
        parts = {trial.subject: [] for trial in trials}
        for trial in trials:
            parts[trial.subject].append(trial)
        self._found: dict[str, Future[dict[Trial, str | None]]] = {
            subject: self._pool.submit(_all, part) for subject, part in parts.items()
        }

    @functools.cached_property
    def count(self) -> int:
        """How many were tried."""
        return sum(len(found.result()) for found in self._found.values())

    def __getitem__(self, trial: Trial) -> str | None:
        """Return what `seen` does, as soon as it is known."""
        return self._found[trial.subject].result()[trial]

    def close(self) -> None:
        """Stop."""
        self._pool.shutdown(cancel_futures=True)


def _prepare() -> None:
    # Other tests, which only one process runs, go first: these fill both cores at any time.
    os.nice(10)
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    # torch itself still scripts what it loads for its first forward-mode derivative.
    warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)


def _all(trials: list[Trial]) -> dict[Trial, str | None]:
    return {trial: seen(trial) for trial in trials}
