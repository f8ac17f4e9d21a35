"""Gated cells beside torch.nn's, and the variants beside our LSTM."""

from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor

from benchmarks.ops.figures import (
    Figure,
    Work,
    against,
    long_sequences,
    sizes,
    step,
    two_threads,
    with_gradients,
    worst,
)
from statewise import backends
from statewise.ops import cells
from statewise.ops.cells import Cell, Weights, reference

SHAPES = {
    cells.GRU: {(16, 512, 128): 2.0, (32, 256, 256): 1.6, (1, 1024, 256): 5.0},
    cells.LSTM: {(16, 512, 128): 0.9, (32, 256, 256): 0.9, (1, 1024, 256): 0.9},
}
"""What is wanted of ours over torch.nn's; of the LSTM, 1.0 on one."""


def tensors(cell: Cell, batch: int, time: int, hidden: int, heads: int = 1) -> list[Tensor]:
    """Return inputs as wide as the state, and the weights, as torch.nn draws them."""
    g = torch.Generator().manual_seed(0)
    rows, width = cell.gates * hidden, hidden // heads

    def draw(*shape: int) -> Tensor:
        return (2 * torch.rand(shape, generator=g) - 1) / hidden**0.5

    recurrent = draw(rows, cell.operands * hidden)
    if cell.operands == 0:
        recurrent = draw(hidden)
    elif heads > 1:
        recurrent = draw(heads, cell.gates * width, width)
    weights = [draw(rows, hidden), recurrent, draw(rows), draw(rows)]
    if cell.vectors:
        weights.append(draw(cell.vectors, hidden))
    return [torch.randn(batch, time, hidden, generator=g), *weights]


def products(given: list[Tensor]) -> Work:
    """Return the operations of both passes: three products for every weight of both matrices."""
    x, w, recurrent, *_ = given
    return Work(operations=6.0 * x.shape[0] * x.shape[1] * (w.numel() + recurrent.numel()))


def native(cell: Cell, x: Tensor, *weights: Tensor) -> Tensor:
    """Return the output by our kernel, whatever the table would choose."""
    with backends.use("native"):
        return cells.recur(cell, x, Weights(*weights))[0]


def theirs(cell: Cell, given: list[Tensor]) -> Callable[..., Any]:
    """Return torch.nn's module as a function of the same tensors."""
    kernel = torch.gru if cell is cells.GRU else torch.lstm

    def run(x: Tensor, *weights: Tensor) -> Tensor:
        h = x.new_zeros(1, len(x), x.shape[2])
        state: Any = h if cell is cells.GRU else (h, h)
        return kernel(x, state, list(weights), True, 1, 0.0, True, False, True)[0]

    return run


def error(cell: Cell, given: list[Tensor]) -> float:
    """Return the error of the output and of the gradients against the definition in float64."""

    def definition(x: Tensor, *weights: Tensor) -> Tensor:
        zeros = x.new_zeros(len(x), x.shape[2])
        initial = (zeros,) * cell.leaves
        return reference.recur(cell, x, Weights(*weights), initial=initial)[0]

    def found(form: Callable[..., Tensor], dtype: torch.dtype) -> list[Tensor]:
        leaves = [x.to(dtype).detach().requires_grad_() for x in given]
        y = form(*leaves)
        return [y.detach(), *torch.autograd.grad(y.sum(), leaves)]

    return worst(found(partial(native, cell), torch.float32), found(definition, torch.float64))


def beside_torch(
    cell: Cell, batch: int, time: int, hidden: int, wanted: float, rounds: int
) -> Figure:
    """Return the figure of both passes beside torch.nn's."""
    given = tensors(cell, batch, time, hidden)
    return against(
        "cells",
        f"{cell.name}, forward + backward",
        sizes({"batch": batch, "time": time, "hidden": hidden}),
        with_gradients(partial(native, cell), given),
        f"torch.{cell.name}, as torch.nn.{cell.name.upper()} calls it",
        with_gradients(theirs(cell, given), given),
        work=products(given),
        wanted=wanted,
        error=error(cell, given),
        rounds=rounds,
    )


def by_name(name: str, *given: Any) -> Figure:
    """Return the figure of a cell by its name, which is what another process can be told."""
    return beside_torch(getattr(cells, name), *given)


def in_a_new_process(cell: Cell, *given: Any) -> Figure:
    """Return the same in a process whose memory is managed as Python and torch leave it.

    There both sides wait for fresh memory at every call, which is how most people train; torch.nn's
    asks for more of it.
    """
    with get_context("spawn").Pool(1) as pool:
        figure = pool.apply(by_name, (cell.name.upper(), *given))
    return figure._replace(what=f"{figure.what}, fresh memory")


def figures(rounds: int) -> Iterator[Figure]:
    """Yield the figures of the op."""
    for cell, shapes in SHAPES.items():
        for (batch, time, hidden), wanted in shapes.items():
            yield beside_torch(cell, batch, time, hidden, wanted, rounds)
            yield in_a_new_process(cell, batch, time, hidden, wanted, rounds)
    batch, time, hidden = 16, 512, 128
    lstm = with_gradients(partial(native, cells.LSTM), tensors(cells.LSTM, batch, time, hidden))
    variants = {f"LSTM variant {name}": cell for name, cell in cells.ODYSSEY.items()}
    others = {
        "sLSTM": cells.SLSTM,
        "GRU, reset before": cells.GRU_RESET_BEFORE,
        "MGU": cells.MGU,
        "Elman, tanh": cells.TANH,
        "IndRNN, relu": cells.INDRNN_RELU,
    }
    # FGR, whose gates recur, has 17 matrices of hidden * hidden where the LSTM has 8: four for the
    # input, four for each of i, f and o, and one for z. At the LSTM's operations a second that is
    # 2.1 times its time, or 0.47; 0.67 would take 1.4 times its rate.
    for name, cell in (variants | others).items():
        given = tensors(cell, batch, time, hidden)
        yield against(
            "cells",
            f"{name}, forward + backward",
            sizes({"batch": batch, "time": time, "hidden": hidden}),
            with_gradients(partial(native, cell), given),
            "our LSTM; 0.67 is 1.5 times its time",
            lstm,
            work=products(given),
            wanted=1 / 1.5 if "variant" in name or cell is cells.SLSTM else None,
            rounds=rounds,
        )
    headed = tensors(cells.SLSTM, batch, time, hidden, heads=4)
    yield against(
        "cells",
        "sLSTM with 4 heads, forward + backward",
        sizes({"batch": batch, "time": time, "hidden": hidden}),
        with_gradients(partial(native, cells.SLSTM), headed),
        "our LSTM",
        lstm,
        work=products(headed),
        wanted=1 / 1.5,
        rounds=rounds,
    )
    for cell in (cells.LSTM, cells.GRU):
        given = tensors(cell, batch, time, hidden)
        form = with_gradients(partial(native, cell), given)
        where = f"{cell.name}, " + sizes({"batch": batch, "time": time, "hidden": hidden})
        yield two_threads("cells", where, form, rounds=rounds)
    given = tensors(cells.GRU, 1, 100_000, 64)
    yield long_sequences("cells", "gru, batch 1, hidden 64", partial(native, cells.GRU), given)
    for cell in (cells.LSTM, cells.GRU, cells.SLSTM):
        for hidden in (64, 256):
            x, *weights = tensors(cell, 1, 1, hidden)
            state = tuple(torch.ones(1, hidden) for _ in range(cell.leaves))
            size = 4 * (sum(w.numel() for w in weights) + (2 * cell.leaves + 1) * hidden)
            call = partial(cells.recur_step, cell, x[:, 0], Weights(*weights), state)
            yield step("cells", f"{cell.name}, batch 1, hidden {hidden}", call, size)
