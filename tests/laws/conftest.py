"""The trials of laws, which processes of their own make while the other tests run."""

import pytest
import torch
from tried import Trial, Trials

_TRIALS = pytest.StashKey[Trials]()


def pytest_collection_modifyitems(items):
    """Put the laws last, since their trials take longest."""
    items.sort(key=lambda item: _trial(item) is not None)


def pytest_collection_finish(session):
    """Begin to try all laws that were selected."""
    selected = [trial for item in session.items if (trial := _trial(item)) is not None]
    if selected and not session.config.option.collectonly:
        session.stash[_TRIALS] = Trials(selected)
        # The processes leave no core free, and threads that wait for one another at every call
        # would wait for a core: small products took 34 ms each beside one busy process.
        torch.set_num_threads(1)


def pytest_sessionfinish(session):
    """Stop the processes."""
    if _TRIALS in session.stash:
        session.stash[_TRIALS].close()


def _trial(item) -> Trial | None:
    trial = getattr(getattr(item, "callspec", None), "params", {}).get("trial")
    return trial if isinstance(trial, Trial) else None


@pytest.fixture
def trials(request) -> Trials:
    """All trials of laws that were selected."""
    return request.session.stash[_TRIALS]


@pytest.fixture
def seen(trial, trials) -> str | None:
    """What was seen where the law of a trial does not hold."""
    return trials[trial]


def pytest_terminal_summary(terminalreporter):
    """Say how many laws held, on how many mixers."""
    held = [
        report.nodeid.partition("[")[2].split(":")[0]
        for report in terminalreporter.stats.get("passed", [])
        if "test_mixers.py::test_law" in report.nodeid
    ]
    if held:
        terminalreporter.write_line(f"{len(held)} laws held on {len(set(held))} mixers")
