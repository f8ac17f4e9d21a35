"""Every Python block in the documents runs, and every path in them exists."""

import re
from pathlib import Path

import pytest

from tests.house import rules

ROOT = rules.ROOT
DOCUMENTS = [
    path.relative_to(ROOT).as_posix()
    for path in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
]


def program(text: str) -> str:
    """Return a document's Python blocks, each on its own lines, so that an error names them."""
    lines, inside = [], False
    for line in text.splitlines():
        if line.startswith("```"):
            inside = line == "```python"
            lines.append("")
        else:
            lines.append(line if inside else "")
    return "\n".join(lines)


def run(path: str, text: str) -> None:
    """Run a document, as one program."""
    exec(compile(program(text), path, "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("path", DOCUMENTS)
def test_its_python_runs(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    run(path, (ROOT / path).read_text(encoding="utf-8"))


def test_a_block_that_fails_is_found_with_its_line():
    text = (
        "Words.\n\n```python\nx = 1\n```\n\n```bash\nfalse\n```\n\n```python\nassert x == 2\n```\n"
    )
    with pytest.raises(AssertionError) as failure:
        run("planted.md", text)
    assert failure.traceback[-1].lineno + 1 == 12


def test_the_readme_shows_ten_lines_that_run():
    readme = program((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(re.findall(r"^\S", readme, re.MULTILINE)) >= 10


@pytest.mark.parametrize("path", DOCUMENTS)
def test_its_paths_exist(path: str):
    assert rules.missing_paths(path, (ROOT / path).read_text(encoding="utf-8"), ROOT) == []


def test_a_path_that_leads_nowhere_is_found():
    text = "[a](nowhere.md) [b](README.md#x) [c](https://a.b/c)\n```text\nnowhere/  what\n```\n"
    assert len(rules.missing_paths("planted.md", text, ROOT)) == 2
