"""Any mixer behind the signature of torch.nn's recurrent modules."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from statewise import mixers
from statewise.compat.torch_nn.sequences import Sequences, read
from statewise.mixers.base import Mixer
from statewise.mixers.parts.linear import Linear


class RecurrentState(NamedTuple):
    """What the layers remember: a value for `statewise.state` to keep, fork and stack."""

    layers: tuple[Any, ...]
    """The mixers' own states, in torch's order: each layer's, the backward one after the other."""


class Recurrent(nn.Module):
    """Layers of any mixer, called as torch.nn's recurrent modules are.

    Every mixer reads and answers `hidden_size` features; where a layer is given another number of
    them, as the first may be and those above two directions are, a linear map goes before.

    Args:
        mixer: a name, `{"name": ..., option: value}`, a class or a callable; it has to be causal.
        input_size: features read.
        hidden_size: features that each direction answers.
        num_layers: how many, one above the other.
        batch_first: whether tensors are (batch, time, features), not (time, batch, features).
        dropout: the chance that a feature between two layers is dropped in training, from torch's
            global generator as in torch.nn.
        bidirectional: whether a second mixer of each layer reads from the right.
        device: where the parameters are.
        dtype: theirs; complex ones have parts of it.

    Raises:
        ValueError: if the mixer has no state, or answers another number of features than it reads.
    """

    def __init__(
        self,
        mixer: "mixers.Spec",
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if num_layers < 1 or not 0 <= dropout <= 1:
            raise ValueError(
                f"num_layers = {num_layers} should be 1 or more, and dropout = {dropout} from 0 to "
                "1"
            )
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.batch_first, self.dropout, self.bidirectional = batch_first, dropout, bidirectional
        ways = 2 if bidirectional else 1
        self.maps, self.mixers = nn.ModuleList(), nn.ModuleList()
        for place in range(num_layers * ways):
            below = input_size if place < ways else ways * hidden_size
            self.maps.append(nn.Identity() if below == hidden_size else Linear(below, hidden_size))
            self.mixers.append(_causal(mixer, hidden_size))
        self._apply(lambda tensor: _converted(tensor, device, dtype))

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> RecurrentState:
        """Return the state before any input: what hx is where none is given."""
        each: Any = self.mixers
        return RecurrentState(
            tuple(mixer.initial_state(batch, device=device, dtype=dtype) for mixer in each)
        )

    def forward(
        self, input: Sequences, hx: RecurrentState | None = None
    ) -> tuple[Any, RecurrentState]:
        """Return the outputs in the form of the input, and the state after the last of each row.

        Args:
            input: (time, batch, features), or batch first, (time, features), or a PackedSequence.
            hx: the state before, of one row if the input has no batch; the initial state if absent.
                Rows are in the order before they were packed. Backward mixers start from theirs at
                the last input of each row.
        """
        y, form = read(input, self.batch_first)
        if y.shape[2] != self.input_size:
            raise ValueError(
                f"input has {y.shape[2]} features and should have input_size = {self.input_size}"
            )
        states = (None,) * len(self.mixers) if hx is None else hx.layers
        if len(states) != len(self.mixers):
            raise ValueError(
                f"hx has {len(states)} states and should have {len(self.mixers)}: one for each "
                "direction of each layer"
            )
        after = []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                y = form.dropped(y, self.dropout)
            answers = []
            for backward in (False, True) if self.bidirectional else (False,):
                place = len(after)
                x = self.maps[place](form.turned(y) if backward else y)
                answer, state = self.mixers[place](x, states[place], lengths=form.lengths)
                answers.append(form.turned(answer) if backward else answer)
                after.append(state)
            y = torch.cat(answers, 2) if self.bidirectional else answers[0]
        return form.write(y), RecurrentState(tuple(after))

    def extra_repr(self) -> str:
        """Return the sizes, as torch.nn's modules print them."""
        return (
            f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}, "
            f"batch_first={self.batch_first}, dropout={self.dropout}, "
            f"bidirectional={self.bidirectional}"
        )


def _causal(spec: "mixers.Spec", size: int) -> Mixer[Any]:
    mixer = mixers.build(spec, size)
    if not isinstance(mixer, Mixer):
        raise ValueError(f"mixer {spec!r} reads whole sequences and has no state")
    if mixer.out != size:
        raise ValueError(
            f"mixer {spec!r} answers {mixer.out} features where hidden_size = {size}: give it "
            "options by which it answers as many as it reads"
        )
    return mixer


def _converted(
    tensor: Tensor, device: torch.device | str | None, dtype: torch.dtype | None
) -> Tensor:
    if dtype is None or not (tensor.is_floating_point() or tensor.is_complex()):
        return tensor.to(device=device)
    return tensor.to(device, dtype.to_complex() if tensor.is_complex() else dtype)
