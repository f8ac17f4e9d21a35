"""`LSTM`, `GRU` and `RNN` as torch.nn has them, computed by `statewise.ops.cells`."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from statewise import backends
from statewise.compat.torch_nn.sequences import Form, Sequences, read
from statewise.mixers.base import state_dtype
from statewise.mixers.projected_lstm import projected
from statewise.ops import cells, programs

_CELLS = {
    "RNN_TANH": cells.TANH,
    "RNN_RELU": cells.RELU,
    "GRU": cells.GRU,
    "LSTM": cells.LSTM,
}

Leaves = Sequence[Float[Tensor, "batch _"]]
"""The tensors of a state: h, and c of an LSTM, which is wider where h is a projection."""


class _Ours(nn.RNNBase):
    """What differs from torch's modules, all but the type of hx: the computation."""

    def _mapped(
        self, input: Sequences, hx: tuple[Tensor, ...] | None
    ) -> tuple[Any, tuple[Tensor, ...]]:
        """Return the output in the form of the input, and the tensors of the last state."""
        y, form = read(input, self.batch_first)
        if not form.batched and hx is not None:
            hx = tuple(leaf[:, None] for leaf in hx)
        self._check(input, hx)
        finals: list[Leaves] = []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                y = form.dropped(y, self.dropout)
            answers = []
            for suffix in ("", "_reverse") if self.bidirectional else ("",):
                before = None if hx is None else [leaf[len(finals)] for leaf in hx]
                answer, final = self._one_way(y, f"l{layer}{suffix}", before, form)
                answers.append(answer)
                finals.append(final)
            y = torch.cat(answers, 2) if self.bidirectional else answers[0]
        last = tuple(torch.stack(leaf).to(y.dtype) for leaf in zip(*finals, strict=True))
        return form.write(y), last if form.batched else tuple(leaf[:, 0] for leaf in last)

    def _check(self, input: Sequences, hx: tuple[Tensor, ...] | None) -> None:
        """Refuse, in torch's words, what does not fit the module."""
        sizes = input.batch_sizes if isinstance(input, PackedSequence) else None
        x = input.data if isinstance(input, PackedSequence) else input
        if sizes is None and x.ndim == 2:
            x = x[None] if self.batch_first else x[:, None]
        if hx is None:
            self.check_input(x, sizes)
        else:
            given: Any = hx if self.mode == "LSTM" else hx[0]
            self.check_forward_args(x, given, sizes)

    def _one_way(
        self, x: Float[Tensor, "batch time dim"], name: str, before: Leaves | None, form: Form
    ) -> tuple[Float[Tensor, "batch time features"], Leaves]:
        """Map sequences by one direction of one layer; return its last state too."""
        backward = name.endswith("_reverse")
        kinds = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if self.bias else [])]
        given = [getattr(self, f"{kind}_{name}") for kind in kinds]
        x = form.turned(x) if backward else x
        if self.proj_size:
            given += [] if self.bias else [None, None]
            given.append(getattr(self, f"weight_hr_{name}"))
            y, final = _recur_projected(x, given, before, form)
        else:
            y, final = _recur(_CELLS[self.mode], x, cells.Weights(*given), before, form)
        return form.turned(y) if backward else y, final


class LSTM(_Ours, nn.LSTM):
    """torch.nn.LSTM: constructor, shapes, packed sequences, state and `state_dict` are its own."""

    def forward(self, input: Sequences, hx: tuple[Tensor, Tensor] | None = None) -> Any:
        """Return the output and (h, c), as torch.nn.LSTM does."""
        return self._mapped(input, hx)


class GRU(_Ours, nn.GRU):
    """torch.nn.GRU: constructor, shapes, packed sequences, state and `state_dict` are its own."""

    def forward(self, input: Sequences, hx: Tensor | None = None) -> Any:
        """Return the output and h, as torch.nn.GRU does."""
        output, (h,) = self._mapped(input, None if hx is None else (hx,))
        return output, h


class RNN(_Ours, nn.RNN):
    """torch.nn.RNN: constructor, shapes, packed sequences, state and `state_dict` are its own."""

    def forward(self, input: Sequences, hx: Tensor | None = None) -> Any:
        """Return the output and h, as torch.nn.RNN does."""
        output, (h,) = self._mapped(input, None if hx is None else (hx,))
        return output, h


def _recur(
    cell: cells.Cell,
    x: Float[Tensor, "batch time dim"],
    weights: cells.Weights,
    before: Leaves | None,
    form: Form,
) -> tuple[Float[Tensor, "batch time features"], Leaves]:
    """Return what a cell answers: one input at a time by its step, a third of an op's call."""
    initial = None if before is None else tuple(leaf.to(state_dtype(x.dtype)) for leaf in before)
    if x.shape[1] != 1 or form.lengths is not None:
        return cells.recur(cell, x, weights, initial=initial, lengths=form.lengths)
    if initial is None:
        hidden = weights.recurrent.shape[1]
        initial = (x.new_zeros(len(x), hidden, dtype=state_dtype(x.dtype)),) * cell.leaves
    final = cells.recur_step(cell, x[:, 0], weights, initial)
    return final[0][:, None].to(x.dtype), final


_NAMES = ("w", "u", "bias", "recurrent_bias", "projection")


def _recur_projected(
    x: Float[Tensor, "batch time dim"],
    given: Sequence[Tensor | None],
    before: Leaves | None,
    form: Form,
) -> tuple[Float[Tensor, "batch time features"], Leaves]:
    """Return what an LSTM with a projection answers, which is a program and no kernel."""
    work = state_dtype(x.dtype)
    parameters = {
        name: weight.to(work)
        for name, weight in zip(_NAMES, given, strict=True)
        if weight is not None
    }
    features, cells_of = parameters["projection"].shape
    if before is None:
        before = [x.new_zeros(len(x), size) for size in (features, cells_of)]
    leaves = [leaf.to(work) for leaf in before]
    reading = (
        programs.Unreadable("nothing is read within torch.compile and transforms")
        if torch.compiler.is_compiling() or backends.transformed()
        else _reading(x.shape[2], features, cells_of, "bias" in parameters, work)
    )
    y, final = programs.recur(
        _projected,
        reading,
        parameters,
        x.to(work),
        initial=leaves,
        start=leaves,
        lengths=form.lengths,
    )
    return y.to(x.dtype), final


def _projected(parameters: Any, x: Tensor, leaves: Any) -> tuple[Tensor, list[Tensor]]:
    r, c = projected(x, *leaves, **parameters)
    return r, [r, c]


@cache
def _reading(
    dim: int, features: int, cells_of: int, bias: bool, work: torch.dtype
) -> programs.Reading:
    """Return the program of an LSTM with a projection, by its sizes."""
    rows = 4 * cells_of
    shapes = [(rows, dim), (rows, features), (rows,), (rows,), (features, cells_of)]
    parameters = {
        name: torch.zeros(shape)
        for name, shape in zip(_NAMES, shapes, strict=True)
        if bias or "bias" not in name
    }
    leaves = [torch.zeros(1, features), torch.zeros(1, cells_of)]
    return programs.read(_projected, parameters, dim, leaves, work)
