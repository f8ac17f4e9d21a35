"""Every Python block and every command in the documents runs, and every path in them exists."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from statewise.cli import main
from tests.house import rules
from tests.house.documents import commands, documents, needs, page_of, program, run, text_of

ROOT = rules.ROOT


def python(paths: list[str]) -> None:
    """Run the Python of documents, in an interpreter of its own: readers have no hook of shapes."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.house.documents", *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr


def test_their_python_runs():
    texts = {path: text_of(path) for path in documents()}
    python([path for path, text in texts.items() if program(text).strip() and not needs(text)])


@pytest.mark.parametrize("path", [path for path in documents() if needs(text_of(path))])
def test_their_python_runs_with_what_it_needs(path: str):
    for library in needs(text_of(path)):
        pytest.importorskip(library)
    python([path])


def test_a_block_that_fails_is_found_with_its_line():
    text = (
        "Words.\n\n```python\nx = 1\n```\n\n```bash\nfalse\n```\n\n```python\nassert x == 2\n```\n"
    )
    with pytest.raises(AssertionError) as failure:
        run("planted.md", text)
    assert failure.traceback[-1].lineno + 1 == 12


def test_the_readme_shows_ten_lines_that_run():
    assert len(re.findall(r"^\S", program(text_of("README.md")), re.MULTILINE)) >= 10


@pytest.mark.parametrize("path", documents())
def test_its_paths_exist(path: str):
    assert rules.missing_paths(path, text_of(path), ROOT) == []


def test_a_path_that_leads_nowhere_is_found():
    text = "[a](nowhere.md) [b](README.md#x) [c](https://a.b/c)\n```text\nnowhere/  what\n```\n"
    assert len(rules.missing_paths("planted.md", text, ROOT)) == 2


def test_commands_are_found():
    text = "```bash\nmake\nstatewise list   # all\n```\nand\n```bash\nstatewise a --b 'c d'\n```\n"
    assert commands(text) == [["list"], ["a", "--b", "c d"]]


@pytest.mark.parametrize("path", ["README.md", "docs/command-line.md"])
def test_its_training_options_exist(path: str, capsys: pytest.CaptureFixture[str]):
    trainings = [words for words in commands(text_of(path)) if words[0] == "train"]
    assert trainings
    for words in trainings:
        with pytest.raises(SystemExit) as stopped:
            main([*words, "--print_config"])
        assert stopped.value.code in (0, None), capsys.readouterr().err


def test_the_catalogue_is_what_the_command_lists(capsys: pytest.CaptureFixture[str]):
    main(["list", "--json"])
    listed = json.loads(capsys.readouterr().out)
    page = page_of("docs/catalogue.md")
    table, *sections = page.split("\n## ")
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line[:3] == "| ["]
    columns = ("sentence", "family", "forms", "state", "cost")
    assert [[cell.replace("&#124;", "|") for cell in row] for row in rows] == [
        [f"[`{head['name']}`](#{head['name']})", *(head[column] for column in columns)]
        for head in listed
    ]
    for section, head in zip(sections, listed, strict=True):
        parts = [head[key] for key in ("name", "sentence", "paper", "equations")]
        parts += [f"**Differs** {head['differs']}"] if head["differs"] else []
        assert section.strip() == "\n\n".join(parts)


@pytest.mark.long
def test_the_commands_of_the_readme_work_as_printed(tmp_path: Path):
    shutil.copy(ROOT / "README.md", tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for words in commands(text_of("README.md")):
        done = subprocess.run(
            [sys.executable, "-m", "statewise", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"statewise {' '.join(words)}: {done.stderr}"
        assert done.stdout.strip(), f"statewise {' '.join(words)} said nothing"
