"""torchrecurrent's LSTMs, IndRNN, tau-GRU and NAS cell, with equal weights."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.witness.agreement import Agreement, agree, draw
from statewise import mixers

DIM, HIDDEN = 12, 16


def agreements() -> Iterator[Agreement]:
    """Yield one for each cell."""
    import torchrecurrent as peers  # pyright: ignore[reportMissingImports]

    def compare(
        peer: Any,
        ours: Any,
        fill: Callable[[Any, Any], None],
        state: bool = True,
        defects: str = "",
        what: str = "",
    ) -> Agreement:
        cell = peer.cells[0]
        with torch.no_grad():
            for parameter in cell.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
            fill(ours, cell)

        def theirs(x: Tensor) -> list[Tensor]:
            y, after = peer(x)
            leaves = after if isinstance(after, tuple) else (after,)
            return [y, *(leaf[0] for leaf in leaves if state)]

        def found(x: Tensor) -> list[Tensor]:
            y, after = ours(x)
            return [y, *(leaf for leaf in after if state and leaf.numel())]

        name = f"{type(peer).__name__} {what}".strip()
        return agree(name, "torchrecurrent", found, theirs, [draw(3, 100, DIM)], defects=defects)

    sizes: dict[str, Any] = {"batch_first": True}
    yield compare(
        peers.PeepholeLSTM(DIM, HIDDEN, **sizes), mixers.PeepholeLSTM(DIM, HIDDEN), _peephole
    )
    yield compare(
        peers.OriginalLSTM(DIM, HIDDEN, **sizes),
        mixers.PeepholeLSTM(DIM, HIDDEN, variant="NFG"),
        _original,
    )
    yield compare(
        peers.MultiplicativeLSTM(DIM, HIDDEN, **sizes),
        mixers.MultiplicativeLSTM(DIM, HIDDEN),
        _multiplicative,
        defects="it adds biases to both factors of m, which the paper has not: they are zero here",
    )
    yield compare(
        peers.NAS(DIM, HIDDEN, **sizes),
        mixers.NASCell(DIM, HIDDEN),
        _nas,
        defects="its a_3 adds what the paper multiplies: the weights of that block are zero here",
    )
    for kind in ("relu", "tanh"):
        yield compare(
            peers.IndRNN(DIM, HIDDEN, nonlinearity=kind, **sizes),
            mixers.IndRNN(DIM, HIDDEN, nonlinearity=kind),
            _independent,
            defects="its recurrent weights start normal and have no bound: they are in (0, 1) here",
            what=kind,
        )
    yield compare(
        peers.tauGRU(DIM, HIDDEN, delay=5, **sizes),
        mixers.TauGRU(DIM, HIDDEN, delay=5),
        _tau,
        state=False,
        defects="it returns no delayed states, so that no sequence can go on",
    )


def _peephole(ours: Any, cell: Any) -> None:
    _common(ours, cell)
    ours.peepholes.copy_(cell.weight_ph.view(3, -1))


def _original(ours: Any, cell: Any) -> None:
    _common(ours, cell)
    ours.peepholes.zero_()


def _common(ours: Any, cell: Any) -> None:
    ours.input.weight.copy_(cell.weight_ih)
    ours.recurrent.weight.copy_(cell.weight_hh)
    if ours.input.bias is not None:
        ours.input.bias.copy_(cell.bias_ih + cell.bias_hh)


def _multiplicative(ours: Any, cell: Any) -> None:
    cell.bias_ih[:HIDDEN], cell.bias_hh[:] = 0, 0
    ours.multiplier.weight.copy_(cell.weight_ih[:HIDDEN])
    ours.input.weight.copy_(cell.weight_ih[HIDDEN:])
    ours.input.bias.copy_(cell.bias_ih[HIDDEN:] + cell.bias_mh)
    ours.recurrent.weight.copy_(cell.weight_hh)
    ours.mixed.weight.copy_(cell.weight_mh)


def _nas(ours: Any, cell: Any) -> None:
    for weight in (cell.weight_ih, cell.weight_hh):
        weight.view(8, HIDDEN, -1)[3] = 0
    for bias in (cell.bias_ih, cell.bias_hh):
        bias.zero_()
    _common(ours, cell)


def _independent(ours: Any, cell: Any) -> None:
    cell.vector_u.uniform_(0, 1)
    ours.input.weight.copy_(cell.weight_ih)
    ours.input.bias.copy_(cell.bias_ih + cell.bias_hh)
    ours.recurrent.copy_(cell.vector_u)


def _tau(ours: Any, cell: Any) -> None:
    u, z, g, a = cell.weight_hh.chunk(4)
    ours.input.weight.copy_(cell.weight_ih)
    ours.input.bias.copy_(cell.bias_ih + cell.bias_hh)
    ours.recurrent.weight.copy_(torch.cat([u, g, a]))
    ours.delayed.weight.copy_(z)
