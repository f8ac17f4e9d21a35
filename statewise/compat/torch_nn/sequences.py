"""The forms in which torch.nn's recurrent modules are given sequences: no module itself."""

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import dropout
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from statewise.mixers.parts.both_ways import Mirror, mirror

Sequences = Tensor | PackedSequence
"""(time, batch, features), or batch first if the module says so, (time, features), or packed."""


class Form(NamedTuple):
    """How sequences came, which is how the answer is to be handed out."""

    batch_first: bool
    batched: bool
    packed: PackedSequence | None
    lengths: Int[Tensor, " batch"] | None
    """Of packed rows, in the order before they were sorted."""

    mirror: Mirror | None
    """How packed rows look from the right."""

    def write(self, y: Float[Tensor, "batch time features"]) -> Sequences:
        """Return an answer in the form in which the sequences came."""
        if self.packed is None:
            if not self.batched:
                return y[0]
            # In memory too as torch lays it out: code that follows may take views of it.
            return y if self.batch_first else y.transpose(0, 1).contiguous()
        assert self.lengths is not None
        _, sizes, order, back = self.packed
        rows, lengths = (y, self.lengths) if order is None else (y[order], self.lengths[order])
        data = pack_padded_sequence(rows, lengths.cpu(), batch_first=True).data
        return PackedSequence(data, sizes, order, back)

    def turned(
        self, y: Float[Tensor, "batch time features"]
    ) -> Float[Tensor, "batch time features"]:
        """Return rows from their last real place to their first; twice, and they are as before."""
        return y.flip(1) if self.mirror is None else self.mirror(y)

    def dropped(
        self, y: Float[Tensor, "batch time features"], chance: float
    ) -> Float[Tensor, "batch time features"]:
        """Return features with some dropped: by the same seed, those that torch's modules drop.

        They draw in their own order: time first, and packed rows as they are packed.
        """
        if self.packed is None:
            return dropout(y.transpose(0, 1).contiguous(), chance).transpose(0, 1)
        written = self.write(y)
        return read(PackedSequence(dropout(written.data, chance), *written[1:]), True)[0]


def read(
    sequences: Sequences, batch_first: bool
) -> tuple[Float[Tensor, "batch time features"], Form]:
    """Return sequences as mixers read them, and the form in which they came.

    Raises:
        ValueError: if a tensor has neither two axes nor three.
    """
    if isinstance(sequences, PackedSequence):
        x, lengths = pad_packed_sequence(sequences, batch_first=True)
        lengths = lengths.to(x.device)
        back = mirror(x, lengths=lengths, reset=None)
        return x, Form(batch_first, True, sequences, lengths, back)
    if sequences.ndim not in (2, 3):
        raise ValueError(
            f"input {tuple(sequences.shape)} should be (time, features), or have an axis of the "
            "batch as well"
        )
    batched = sequences.ndim == 3
    if not batched:
        sequences = sequences[None]
    elif not batch_first:
        sequences = sequences.transpose(0, 1)
    return sequences, Form(batch_first, batched, None, None, None)
