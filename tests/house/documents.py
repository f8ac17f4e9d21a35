"""Run the Python of documents as readers would:  python -m tests.house.documents README.md ..."""

import os
import re
import shlex
import sys
import tempfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from tests.house.rules import ROOT


def documents() -> list[str]:
    """Return the paths of the documents, from the root."""
    paths = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
    return [path.relative_to(ROOT).as_posix() for path in paths]


def text_of(path: str) -> str:
    """Return what a document says."""
    return (ROOT / path).read_text(encoding="utf-8")


def page_of(path: str) -> str:
    """Return a document as it is built, with the tables that are read from the code."""
    spec = spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    hooks = module_from_spec(spec)
    spec.loader.exec_module(hooks)
    return hooks.on_page_markdown(text_of(path))


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


def needs(text: str) -> list[str]:
    """Return the libraries of an extra that a document says it needs: `<!-- needs: a b -->`."""
    return " ".join(re.findall(r"<!-- needs: (.*?) -->", text)).split()


def run(path: str, text: str) -> None:
    """Run a document's Python as one program, in an empty folder."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            exec(compile(program(text), path, "exec"), {"__name__": "__main__"})
        finally:
            os.chdir(before)


def commands(text: str) -> list[list[str]]:
    """Return the arguments of every `statewise` command in a document, in their order."""
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    return [words[1:] for words in lines if words[:1] == ["statewise"]]


if __name__ == "__main__":
    for document in sys.argv[1:]:
        run(document, text_of(document))
