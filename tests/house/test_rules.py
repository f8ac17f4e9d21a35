"""The rules of the house hold; and each is shown to fail where it is broken."""

import importlib
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

from statewise import mixers
from tests.house import rules

ROOT = rules.ROOT
OURS = rules.read("statewise")
PROGRAMS = rules.read("benchmarks", "examples")
MIXERS = rules.read("statewise/mixers")

HEAD = """EMA: a running mean.

Someone, 1960, section 2.

    h_t = a h_{t-1} + x_t

Family   linear diagonal
Forms    scan
State    h, (batch, dim)
Cost     O(time dim)
"""


def test_imports_follow_the_arrows():
    assert rules.arrows(OURS) == []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("statewise/ops/scan/torch.py", "from statewise.mixers.base import Mixer"),
        ("statewise/ops/scan/torch.py", "from statewise import mixers"),
        ("statewise/ops/scan/torch.py", "from ...mixers import base"),
        ("statewise/mixers/gru.py", "import statewise.models.stack"),
        ("statewise/models/stack.py", "def f():\n    from statewise.training import loop"),
        ("statewise/training/loop.py", "from statewise.cli import main"),
        ("statewise/tasks/lm.py", "from statewise.models import LanguageModel"),
        ("statewise/state.py", "import statewise"),
        ("statewise/__init__.py", "from statewise import cli"),
        ("statewise/models/stack.py", "from statewise import doctor"),
        ("statewise/models/stack.py", "import statewise"),
        ("statewise/ops/scan/native.py", "from statewise import _native"),
        ("statewise/odds/ends.py", ""),
    ],
)
def test_an_import_against_the_arrows_is_found(path: str, line: str):
    assert len(rules.arrows({path: line})) == 1


def test_an_import_along_the_arrows_is_not():
    path, line = "statewise/training/loop.py", "from statewise.models import stack\nimport torch"
    assert rules.arrows({path: line}) == []


def test_everything_public_says_what_it_is():
    assert rules.without_docstring({**OURS, **PROGRAMS}) == []


@pytest.mark.parametrize(
    "text",
    [
        "x = 1",
        '"""Head."""\ndef f(): ...',
        '"""Head."""\nclass _C: ...\nclass D:\n    """D."""\n    def m(self): ...',
    ],
)
def test_what_says_nothing_is_found(text: str):
    assert len(rules.without_docstring({"a.py": text})) == 1


def test_every_mixer_opens_with_its_mathematics():
    modules = {name: sys.modules[cls.__module__] for name, cls in mixers.catalogue().items()}
    assert rules.mixer_heads({name: m.__doc__ or "" for name, m in modules.items()}) == []


@pytest.mark.parametrize(
    "part",
    [
        "1960",
        "    h_t = a h_{t-1} + x_t",
        " =",
        "Family",
        "diagonal",
        "Forms",
        "State ",
        "Cost ",
        "mean.",
    ],
)
def test_a_head_that_lacks_a_part_is_found(part: str):
    assert rules.mixer_heads({"ema": HEAD}) == []
    assert len(rules.mixer_heads({"ema": HEAD.replace(part, "")})) == 1


def test_the_table_of_contents_is_complete():
    init = MIXERS["statewise/mixers/__init__.py"]
    assert rules.missing_exports(init, mixers.catalogue()) == []
    named = {cls.__name__ for cls in mixers.catalogue().values()}
    assert named <= set(mixers.__all__)


def test_a_missing_line_is_named():
    (complaint,) = rules.missing_exports("", {"min_gru": mixers.MinGRU})
    assert complaint.endswith("from statewise.mixers.min_gru import MinGRU as MinGRU")


def test_one_word_for_one_thing():
    # Other people's interfaces keep other people's words.
    ours = {path: text for path, text in OURS.items() if not path.startswith("statewise/compat/")}
    assert rules.synonyms({**ours, **PROGRAMS}) == []


@pytest.mark.parametrize("text", ["def f(use_cache): ...", "x.init_state()", "zero_state = 1"])
def test_a_synonym_is_found(text: str):
    assert len(rules.synonyms({"a.py": text})) == 1


def test_names_of_folders_say_what_they_hold():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    assert rules.forbidden_folders(listed or [*OURS, *PROGRAMS]) == []


def test_an_empty_name_is_found():
    paths = ["statewise/utils/text.py", "statewise/common.py", "statewise/mixers/core/a.py"]
    assert len(rules.forbidden_folders(paths)) == 3


def test_mixer_files_are_short():
    named = [f"statewise/mixers/{name}.py" for name in mixers.catalogue()]
    lengths = [len(MIXERS[path].splitlines()) for path in named]
    assert statistics.median(lengths) < 150


def test_no_two_mixer_files_share_six_lines():
    assert rules.shared_lines(MIXERS) == []


SIX = "".join(f"    x = {i}\n" for i in range(6))


@pytest.mark.parametrize(
    "again",
    [
        SIX,
        SIX.replace("    x", "\n  # Why.\n  x"),
        SIX.replace("    x = 3", '\n\n@cached\ndef f(\n    y,\n):\n    """F."""\n    x = 3'),
    ],
)
def test_six_lines_in_two_files_are_found(again: str):
    sources = {"a.py": f"class A:\n{SIX}", "b.py": f"import a\n\n\nclass B:\n{again}"}
    (complaint,) = rules.shared_lines(sources)
    assert re.match(r"a\.py:2 and b\.py:(5|7) share 6 lines", complaint)


@pytest.mark.parametrize(
    "text",
    [
        f"class A:\n{SIX.replace('    x = 5', '')}",
        "".join(f"import a{i}\n" for i in range(6)),
        f'"""{SIX}"""\n\n\nclass A:\n    """{SIX}"""\n',
        "def f(\n" + "".join(f"    a{i},\n" for i in range(6)) + "):\n    return 0\n",
        "@cached\n" * 6 + "def f():\n    return 0\n",
        "x = 1\n\n# Why.\n" * 5,
    ],
)
def test_fewer_lines_and_what_says_nothing_are_not(text: str):
    assert rules.shared_lines({"a.py": text, "b.py": text}) == []


def test_a_file_dropped_into_the_folder_is_a_mixer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = MIXERS["statewise/mixers/min_gru.py"].replace("MinGRU", "Dropped")
    (tmp_path / "dropped.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(mixers, "__path__", [*mixers.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    try:
        assert mixers.catalogue()["dropped"].__name__ == "Dropped"
        built = mixers.build({"name": "dropped"}, 3)
        assert type(built).__name__ == "Dropped"
        init = MIXERS["statewise/mixers/__init__.py"]
        assert len(rules.missing_exports(init, mixers.catalogue())) == 1
    finally:
        sys.modules.pop("statewise.mixers.dropped", None)
        monkeypatch.delattr(mixers, "dropped", raising=False)


def test_shapes_in_signatures_are_checked_here():
    """Without this, a test run that lost its import hook would check nothing and say nothing."""
    with pytest.raises(TypeCheckError):
        mixers.MinGRU(4)(torch.zeros(2, 4))
