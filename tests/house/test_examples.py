"""Every example is short, and does what it says it does."""

import runpy
import sys

import pytest

from tests.house import rules

EXAMPLES = sorted((rules.ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_is_a_page_long(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 100


def test_carry_and_fork(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    path = rules.ROOT / "examples" / "carry_and_fork.py"
    monkeypatch.setattr(sys, "argv", [str(path)])
    runpy.run_path(str(path), run_name="__main__")  # it checks its own claims
    assert capsys.readouterr().out.count("\n") == 4


def test_delayed_recall_learns():
    """Beyond chance, one in ten, by far; trained for a third of its steps, to save the minutes."""
    program = runpy.run_path(str(rules.ROOT / "examples" / "delayed_recall.py"))
    assert program["main"](steps=0) < 0.3
    assert program["main"](steps=50) > 0.6
