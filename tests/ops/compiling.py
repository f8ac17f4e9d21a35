"""An op under torch.compile and torch.export: what the programs compile_OP.py share.

They are programs because Dynamo refuses the hook that checks shapes in the process of the tests.
"""

import functools
import importlib
import json
import os
import pathlib
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from statewise import backends
from tests.ops.agreement import assert_agree

HOW = ("aot_eager", "export")
OPS = (
    "cells",
    "convolution",
    "delta_rule",
    "linear",
    "linear_attention",
    "matrix_scan",
    "programs",
    "scan",
    "selective_scan",
    "semiring",
    "stabilized_attention",
)


class Program(NamedTuple):
    """What is compiled, and what it is compared with."""

    ours: Callable[..., tuple]
    """Takes the arguments by position, returns a tuple of tensors."""
    definition: Callable[..., tuple]
    """The same, which must agree."""
    arguments: Callable[[int], Sequence[torch.Tensor]]
    """Gives them for a number of times, leaves that require a gradient where they have one."""
    dynamic_shapes: Callable[[Any], tuple] | None = None
    """For a symbol of the time, what torch.export wants to know of each argument."""


def program(op: str) -> Program:
    """Return the program of an op."""
    return importlib.import_module(f"tests.ops.compile_{op}").PROGRAM


def in_reference(form: Callable[..., tuple]) -> Callable[..., tuple]:
    """Return a form that takes the definitions of all ops within it."""

    def definition(*given):
        with backends.use("reference"):
            return form(*given)

    return definition


def assert_compiles(op: str, how: str) -> None:
    """Assert that the program of an op ends well: compiled by a backend of Dynamo, or exported."""
    found = _outcomes(op, HOW if how in HOW else (how,))[how]
    assert found is None, found


def run_module(name: str, *arguments: str, **environment: str) -> str:
    """Return what `python -m tests.ops.NAME` prints, in an environment with more variables."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.ops.{name}", *arguments],
        cwd=pathlib.Path(__file__).parents[2],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def _outcomes(op: str, ways: tuple[str, ...]) -> dict[str, str | None]:
    """Return how each way ended, all in one process: to start one takes seconds."""
    return json.loads(run_module(f"compile_{op}", *ways).splitlines()[-1])


def main(program: Program) -> None:
    """Do what the command line says, and print how each of it ended."""
    outcomes: dict[str, str | None] = {}
    for how in sys.argv[1:]:
        outcomes[how] = None
        try:
            _exports(program) if how == "export" else _compiles(program, how)
        except Exception:
            outcomes[how] = traceback.format_exc()
    print(json.dumps(outcomes))


def _compiles(program, how):
    given = program.arguments(7)
    compiled = torch.compile(program.ours, fullgraph=True, backend=how)
    assert_programs_agree(compiled, program.definition, given)
    with torch.no_grad():
        _agree(compiled(*given), program.definition(*given))


def _exports(program):
    class Module(torch.nn.Module):
        def forward(self, *given):
            return program.ours(*given)

    given, longer = (tuple(x.detach() for x in program.arguments(time)) for time in (7, 9))
    time = torch.export.Dim("time", min=2, max=100)
    shapes = None if program.dynamic_shapes is None else (program.dynamic_shapes(time),)
    exported = torch.export.export(Module(), given, dynamic_shapes=shapes)
    if backends.core is not None:
        assert "torch.ops.statewise." in str(exported.graph), "the export went around the op"
    given = given if shapes is None else longer
    _agree(exported.module()(*given), program.definition(*given))


def assert_programs_agree(ours: Callable[..., tuple], definition: Callable[..., tuple], given):
    """Assert that results agree, and the gradients of the sum of their squares."""
    _agree(_with_gradients(ours, given), _with_gradients(definition, given))


def _with_gradients(f, given):
    results = f(*given)
    total = sum(y.square().sum() for y in results if y.is_floating_point())
    return *results, *torch.autograd.grad(total, [x for x in given if x.requires_grad])


def _agree(left, right):
    for a, b in zip(left, right, strict=True):
        if a.is_floating_point():
            assert_agree([a], [b], 1e-5)
        else:
            assert torch.equal(a, b)
