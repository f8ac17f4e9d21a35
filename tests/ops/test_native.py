"""The C++ core as a whole: that it is built, loaded rightly, and clean under sanitizers."""

import os
import pathlib
import shutil
import subprocess

import pytest

from statewise import backends
from tests.ops.agreement import needs_core


@pytest.mark.skipif(
    os.environ.get("STATEWISE_NATIVE", "1") in ("0", "off", "no", "false")
    or not any(map(shutil.which, ("c++", "g++", "clang++"))),
    reason="no compiler, or switched off by STATEWISE_NATIVE",
)
def test_core_is_built_where_there_is_a_compiler():
    assert backends.core is not None, backends.core_missing


@needs_core
def test_one_libgomp_in_the_process():
    maps = pathlib.Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("only Linux lists what is loaded")
    loaded = {line.split()[-1] for line in maps.read_text().splitlines() if "libgomp" in line}
    assert len(loaded) == 1, loaded


@pytest.mark.skipif(shutil.which("cmake") is None, reason="no cmake on the path to build them with")
@pytest.mark.long
def test_kernels_pass_the_sanitizers(tmp_path):
    """Address and undefined-behaviour sanitizers over the kernels, at every level."""
    source = pathlib.Path(__file__).parents[2] / "native"
    configure = ["cmake", "-S", source, "-B", tmp_path, "-DSTATEWISE_SANITIZE=ON"]
    for command in (configure, ["cmake", "--build", tmp_path], [tmp_path / "kernels_test"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
