"""The core's linear map beside torch's, at sizes around the one where the table changes."""

from collections.abc import Iterator

import torch
from torch.nn import functional

from benchmarks.ops.figures import Figure, Work, against, quietly, sizes, two_threads
from benchmarks.ops.figures import with_gradients as and_back
from statewise.ops.linear import native

SHAPES = ((64, 256, 256), (128, 512, 256), (512, 512, 512), (2048, 512, 2048), (8192, 2048, 512))


def figures(rounds: int) -> Iterator[Figure]:
    """Take the figures one by one."""
    for rows, inputs, outputs in SHAPES:
        g = torch.Generator().manual_seed(0)
        shapes = ((rows, inputs), (outputs, inputs), (outputs,))
        given = [torch.randn(shape, generator=g) for shape in shapes]
        shape = sizes({"rows": rows, "inputs": inputs, "outputs": outputs})
        product = 2 * rows * inputs * outputs
        for what, run, products in (("forward", quietly, 1), ("forward + backward", and_back, 3)):
            yield against(
                "linear",
                what,
                shape,
                run(native.linear, given),
                "torch's linear",
                run(functional.linear, given),
                work=Work(operations=products * product),
                rounds=rounds,
            )
        if rows == SHAPES[-1][0]:
            yield two_threads("linear", shape, quietly(native.linear, given), rounds=rounds)
