"""What a user without a compiler gets."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.house import rules

PROGRAM = """
import warnings
import torch
from statewise import backends, doctor, mixers

assert backends.core is None, "the core was built, although no compiler works"
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    y, state = mixers.MinGRU(4)(torch.randn(2, 9, 4))
assert y.isfinite().all() and state.h.shape == (2, 4)
assert len(said) == 1 and "native core is missing" in str(said[0].message), said
print(backends.__file__)
print(doctor.describe(doctor.examine()))
"""


@pytest.mark.long
@pytest.mark.parametrize(
    "setting", [{"CC": "/bin/false", "CXX": "/bin/false"}, {"STATEWISE_NATIVE": "0"}], ids=str
)
def test_without_a_compiler_it_installs_and_runs(tmp_path: Path, setting: dict[str, str]):
    # From a copy of what git knows, so that no build folder of ours is found.
    source, target = tmp_path / "source", tmp_path / "target"
    subprocess.run(["git", "clone", "--quiet", str(rules.ROOT), str(source)], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*pip, "--target", str(target), str(source)],
        env={**os.environ, **setting},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not list(target.rglob("_native*"))
    environment = {k: v for k, v in os.environ.items() if k != "STATEWISE_NATIVE"}
    # Without `site`, so that an editable installation of ours does not step in front.
    ran = subprocess.run(
        [sys.executable, "-S", "-c", PROGRAM],
        env={**environment, "PYTHONPATH": f"{target}{os.pathsep}{sysconfig.get_path('platlib')}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    where, *report = ran.stdout.splitlines()
    assert Path(where).is_relative_to(target)
    assert any("missing" in line for line in report)
    assert any(line.split()[:3] == ["cpu", "float32", "torch"] for line in report)
