"""The C++ core as a whole: that it is built, loaded rightly, and clean under sanitizers."""

import os
import pathlib
import shutil
import subprocess

import pytest
import torch

from statewise import backends
from statewise.ops.convolution import short_convolution_step
from statewise.ops.scan import scan
from tests.ops.agreement import assert_checkpoints, needs_core
from tests.ops.compiling import OPS, program, run_module


@pytest.mark.skipif(
    os.environ.get("STATEWISE_NATIVE", "1") in ("0", "off", "no", "false")
    or not any(map(shutil.which, ("c++", "g++", "clang++"))),
    reason="no compiler, or switched off by STATEWISE_NATIVE",
)
def test_core_is_built_where_there_is_a_compiler():
    assert backends.core is not None, backends.core_missing


@needs_core
def test_one_libgomp_in_the_process():
    if not pathlib.Path("/proc/self/maps").exists():
        pytest.skip("only Linux lists what is loaded")
    loaded = run_module("loaded").split()
    assert len(loaded) == 1, loaded


@needs_core
def test_the_environment_forces_a_level():
    """In a process of its own, for all ops at once: the core is loaded once in each."""
    assert run_module("forced_level", STATEWISE_LEVEL="portable").split() == list(OPS)


@needs_core
def test_the_environment_may_not_name_an_unknown_level():
    with pytest.raises(AssertionError, match="no level of instructions avx3; there are portable"):
        run_module("forced_level", STATEWISE_LEVEL="avx3")


@needs_core
@pytest.mark.parametrize("op", OPS)
def test_a_checkpoint_gives_the_same_gradients(op):
    ours, _, arguments, _ = program(op)
    assert_checkpoints(ours, arguments(7))


@pytest.mark.skipif(shutil.which("cmake") is None, reason="no cmake on the path to build them with")
@pytest.mark.long
def test_kernels_pass_the_sanitizers(tmp_path):
    """Address and undefined-behaviour sanitizers over the kernels, at every level."""
    source = pathlib.Path(__file__).parents[2] / "native"
    configure = ["cmake", "-S", source, "-B", tmp_path, "-DSTATEWISE_SANITIZE=ON"]
    build = ["cmake", "--build", tmp_path, "--parallel", str(os.cpu_count())]
    for command in (configure, build, [tmp_path / "kernels_test"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("with_gradient", [False, True])
def test_lazily_negated_inputs_are_read_as_what_they_stand_for(with_gradient):
    # Such a view is the imaginary part of a conjugate, but that is never contiguous.
    drive = torch._neg_view(torch.randn(2, 5, 3))
    assert drive.is_neg()
    plain = drive.resolve_neg()
    decay = torch.rand(2, 5, 3, requires_grad=with_gradient)
    torch.testing.assert_close(scan(decay, drive)[0], scan(decay, plain)[0])
    weight = torch.randn(3, 2)
    torch.testing.assert_close(
        short_convolution_step(drive[:, 0], weight, None, drive[:, :1]),
        short_convolution_step(plain[:, 0], weight, None, plain[:, :1]),
    )
