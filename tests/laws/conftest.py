import pytest
from tried import Trial, Trials


@pytest.fixture(scope="session")
def trials(request) -> Trials:
    """All trials of laws that were selected."""
    selected = (
        item.callspec.params["trial"]
        for item in request.session.items
        if "trial" in getattr(getattr(item, "callspec", None), "params", {})
    )
    found = Trials([trial for trial in selected if isinstance(trial, Trial)])
    yield found
    found.close()


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
