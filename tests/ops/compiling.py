"""An op under torch.compile and torch.export: what the programs compile_OP.py share.

They are programs because Dynamo refuses the hook that checks shapes in the process of the tests.
"""

import pathlib
import subprocess
import sys
from collections.abc import Callable, Sequence

import torch

from statewise import backends

HOW = ("aot_eager", "export")


def assert_compiles(program: str, how: str) -> None:
    """Assert that the program `tests.ops.PROGRAM` ends well."""
    root = pathlib.Path(__file__).parents[2]
    command = [sys.executable, "-m", f"tests.ops.{program}", how]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def main(
    ours: Callable[..., tuple],
    definition: Callable[..., tuple],
    arguments: Callable[[int], Sequence[torch.Tensor]],
    dynamic_shapes: Callable[[object], tuple] | None = None,
) -> None:
    """Do what the command line says: compile by a backend of Dynamo, or export.

    Args:
        ours: takes the arguments by position, returns a tuple of tensors.
        definition: the same, which must agree.
        arguments: gives them for a number of times; those that require a gradient come first.
        dynamic_shapes: for a symbol of the time, what torch.export wants to know of each argument.
    """
    how = sys.argv[1]
    if how == "export":
        _exports(ours, definition, arguments, dynamic_shapes)
    else:
        _compiles(how, ours, definition, arguments)


def _compiles(how, ours, definition, arguments):
    given = arguments(7)
    compiled = torch.compile(ours, fullgraph=True, backend=how)
    _agree(_with_gradients(compiled, given), _with_gradients(definition, given))
    with torch.no_grad():
        _agree(compiled(*given), definition(*given))


def _exports(ours, definition, arguments, dynamic_shapes):
    class Module(torch.nn.Module):
        def forward(self, *given):
            return ours(*given)

    given, longer = (tuple(x.detach() for x in arguments(time)) for time in (7, 9))
    time = torch.export.Dim("time", min=2, max=100)
    shapes = None if dynamic_shapes is None else (dynamic_shapes(time),)
    program = torch.export.export(Module(), given, dynamic_shapes=shapes)
    if backends.core is not None:
        assert "torch.ops.statewise." in str(program.graph), "the export went around the op"
    given = given if dynamic_shapes is None else longer
    _agree(program.module()(*given), definition(*given))


def _with_gradients(f, given):
    results = f(*given)
    total = sum(y.square().sum() for y in results)
    return *results, *torch.autograd.grad(total, [x for x in given if x.requires_grad])


def _agree(left, right):
    for a, b in zip(left, right, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
