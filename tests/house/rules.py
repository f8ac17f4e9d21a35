"""The rules of the house, as functions from sources to complaints, so that each can be tried.

`sources` are texts keyed by their path from the root of the repository. A complaint is one sentence
that says where, what, and what to do.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path

from statewise.mixers import read_head

ROOT = Path(__file__).parents[2]

LEAVES = {"axes", "backends", "state"}
BELOW_MODELS = {"ops", "mixers"} | LEAVES
MAY_IMPORT: dict[str, set[str]] = {
    **{leaf: set() for leaf in LEAVES},
    "backends": {"_native"},
    "ops": {"backends"},
    "mixers": {"ops"} | LEAVES,
    "models": BELOW_MODELS,
    "tasks": set(),  # it knows models by interface
    "training": {"models", "tasks"} | BELOW_MODELS,
    "analysis": {"models", "tasks"} | BELOW_MODELS,
    "serving": {"models"} | BELOW_MODELS,
    "testing": BELOW_MODELS,
    "compat": {"models", "tasks", "training", "serving"} | BELOW_MODELS,
    "literature": {"models", "tasks", "training", "analysis", "testing"} | BELOW_MODELS,
}
"""ops <- mixers <- models <- {training, analysis, serving}."""

PROGRAMS = {"cli", "demo", "doctor"}
"""What a person runs: it may use everything, and nothing else may use it."""

FORBIDDEN_FOLDERS = {"utils", "util", "common", "core", "misc", "helpers", "lib"}

SYNONYMS = {
    "allocate_inference_cache": "initial_state",
    "default_state": "initial_state",
    "get_initial_state": "initial_state",
    "hidden_state": "state",
    "inference_params": "state",
    "init_cache": "initial_state",
    "init_hidden": "initial_state",
    "init_state": "initial_state",
    "initial_hidden": "initial_state",
    "output_final_state": "always (output, state)",
    "return_cache": "always (output, state)",
    "return_hidden": "always (output, state)",
    "return_state": "always (output, state)",
    "seq_len": "time",
    "use_cache": "always (output, state)",
    "zero_state": "initial_state",
}
"""Other libraries' words for what we already have a word for."""


def read(*folders: str) -> dict[str, str]:
    """Return the Python sources of some folders of the repository."""
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def arrows(sources: Mapping[str, str]) -> list[str]:
    """Complain of imports against the arrows between the packages."""
    everything = set(MAY_IMPORT) | {"", "__version__"}
    complaints = []
    for path, text in sources.items():
        part = path.split("/")[1].removesuffix(".py")
        if part in PROGRAMS | {"__main__"}:
            allowed = everything | PROGRAMS
        elif part == "__init__":
            allowed = everything
        elif part in MAY_IMPORT:
            allowed = MAY_IMPORT[part] | {part, "__version__"}
        else:
            complaints.append(f"{path}: {part} is not on the map; give it a line in MAY_IMPORT")
            continue
        complaints += [
            f"{path}:{line}: {part} may not import {target or 'the whole of statewise'}"
            for line, target in _imports(path, text)
            if target not in allowed
        ]
    return complaints


def _imports(path: str, text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the part of statewise, empty for its root, of every import of ours."""
    package = path.split("/")[:-1]
    for node in ast.walk(ast.parse(text)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            base += node.module.split(".") if node.module else []
            names = [".".join([*base, alias.name]) for alias in node.names]
        for name in names:
            if name.split(".")[0] == "statewise":
                yield node.lineno, ".".join(name.split(".")[1:2])


def without_docstring(sources: Mapping[str, str]) -> list[str]:
    """Complain of files, and of public classes and functions, that do not say what they are."""
    complaints = []
    for path, text in sources.items():
        tree = ast.parse(text)
        if not ast.get_docstring(tree):
            complaints.append(f"{path}: the file has no head")
        complaints += [
            f"{path}:{node.lineno}: {node.name} has no docstring"
            for node in _public(tree)
            if not ast.get_docstring(node)
        ]
    return complaints


Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _public(node: ast.Module | ast.ClassDef) -> Iterator[Definition]:
    for child in node.body:
        if isinstance(child, Definition) and not child.name.startswith("_"):
            yield child
            if isinstance(child, ast.ClassDef):
                yield from _public(child)


def mixer_heads(docstrings: Mapping[str, str]) -> list[str]:
    """Complain of mixers, by name, whose file's head lacks a part."""
    complaints = []
    for name, text in docstrings.items():
        try:
            head = read_head(name, text)
        except ValueError as error:
            complaints.append(str(error))
            continue
        if "=" not in head.equations:
            complaints.append(f"the head of the mixer {name} has no equation")
        if not head.sentence.endswith("."):
            complaints.append(f"the head of the mixer {name} opens without a whole sentence")
    return complaints


def missing_exports(init: str, catalogue: Mapping[str, type]) -> list[str]:
    """Complain of mixers that the table of contents, the folder's __init__.py, leaves out."""
    exported = {
        alias.asname
        for node in ast.parse(init).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    return [
        "statewise/mixers/__init__.py lacks the line: "
        f"from {cls.__module__} import {cls.__name__} as {cls.__name__}"
        for cls in catalogue.values()
        if cls.__name__ not in exported
    ]


def synonyms(sources: Mapping[str, str]) -> list[str]:
    """Complain of other libraries' names for what has a name here."""
    complaints = []
    for path, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            for field in ("id", "arg", "attr", "name"):
                name = getattr(node, field, None)
                if isinstance(name, str) and name in SYNONYMS:
                    line = getattr(node, "lineno", 1)
                    complaints.append(f"{path}:{line}: {name}; here it is {SYNONYMS[name]}")
    return complaints


def forbidden_folders(paths: Iterable[str]) -> list[str]:
    """Complain of folders and files whose name says nothing."""
    return [
        f"{path}: name it after what it holds"
        for path in paths
        if FORBIDDEN_FOLDERS & {part.removesuffix(".py") for part in Path(path).parts}
    ]


def missing_paths(path: str, text: str, root: Path) -> list[str]:
    """Complain of links and of lines of the map, in a document, that lead nowhere."""
    beside = (root / path).parent
    links = [(beside, link) for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text)]
    for block in re.findall(r"```text\n(.*?)```", text, re.DOTALL):
        links += [(root, line.split()[0]) for line in block.splitlines() if "/" in line[:40]]
    return [
        f"{path}: {link} does not exist" for start, link in links if not (start / link).exists()
    ]


def shared_lines(sources: Mapping[str, str], most: int = 5) -> list[str]:
    """Complain of files that share more lines in a row than `most`, once for every two of them.

    What says nothing of its own does not count: blank lines, comments, docstrings, imports,
    decorators, and the lines that a `def` or a `class` takes up to its body.
    """
    places: dict[tuple[str, ...], dict[str, int]] = {}
    for path, text in sources.items():
        lines = _counted_lines(text)
        for i in range(len(lines) - most):
            run = lines[i : i + most + 1]
            found = places.setdefault(tuple(line for _, line in run), {})
            found.setdefault(path, run[0][0])
    complaints: dict[tuple[str, str], str] = {}
    for found in places.values():
        for (one, first), (other, second) in combinations(found.items(), 2):
            complaints.setdefault(
                (one, other),
                f"{one}:{first} and {other}:{second} share {most + 1} lines; give them one place",
            )
    return list(complaints.values())


def _counted_lines(text: str) -> list[tuple[int, str]]:
    """Return the lines that say something of their own, stripped, with their numbers."""
    tree = ast.parse(text)
    silent: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            silent.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        elif isinstance(node, Definition):
            first = min(part.lineno for part in [node, *node.decorator_list])
            silent.update(range(first, max(node.body[0].lineno, node.lineno + 1)))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            silent.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    numbered = ((i, line.strip()) for i, line in enumerate(text.splitlines(), 1))
    return [(i, line) for i, line in numbered if i not in silent and line and line[0] != "#"]
