"""What is read one after another, each as the whole sequence says: layers of any mixer.

    x -> dropout -> layer -> dropout -> ... -> layer -> dropout [-> global context]

A layer is any mixer, in both directions or from the left alone; layers are wired plainly,
residually or densely, as in `statewise.mixers.stacked_bidirectional`. What is read are words in a
sentence, or texts in a conversation.
"""

from collections.abc import Iterator
from typing import Annotated, Any

from jaxtyping import Float, Int
from pydantic import ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from statewise.mixers.base import blank
from statewise.mixers.parts.wiring import Wiring, above, answered, layers
from statewise.models.configuration import Configuration
from statewise.models.dropout import Drop, Rate
from statewise.models.global_context import GlobalContext
from statewise.models.readers import Reader


class ReadingConfig(Configuration):
    """How a sequence is read.

    Args:
        mixer: what reads it: a name, or {name: ..., option: value}.
        hidden: features of each direction.
        depth: layers.
        wiring: what a layer reads: "plain", "residual" or "dense".
        both_ways: whether what comes after counts as well as what comes before.
        dropout: the share of features that each sequence lacks while training, before, between and
            after the layers.
        context: whether a gate adds to each item what the whole sequence says, see
            `statewise.models.global_context`.
    """

    # Not strict, which would take nothing but instances where others hold it.
    model_config = ConfigDict(strict=False)
    called = "a reading"

    mixer: str | dict[str, Any] = "lstm"
    hidden: Annotated[int, Field(ge=1)] = 200
    depth: Annotated[int, Field(ge=1)] = 1
    wiring: Wiring = "plain"
    both_ways: bool = True
    dropout: Rate = 0.4
    context: bool = False


class Reading(nn.Module):
    """Features of the items of sequences, each as the whole sequence says.

    Args:
        config: which.
        dim: features of an item.

    Raises:
        ValueError: for a mixer or an option that does not exist, or sizes that do not fit.
    """

    config: ReadingConfig

    def __init__(self, config: ReadingConfig, dim: int):
        super().__init__()
        self.config = config

        def layer(dim: int) -> Reader:
            return Reader(config.mixer, dim, config.hidden, both_ways=config.both_ways)

        self.layers = layers(config.called, layer, dim, depth=config.depth, wiring=config.wiring)
        self.dropouts = nn.ModuleList(
            Drop(config.dropout, locked=True) for _ in range(config.depth + 1)
        )
        self.out = answered(self.layers)
        self.context = (
            GlobalContext(self.out, both_ways=config.both_ways) if config.context else None
        )

    def read(
        self,
        x: Float[Tensor, "batch time dim"],
        lengths: Int[Tensor, " batch"],
        *,
        look_ahead: int = 0,
    ) -> Float[Tensor, "batch time out"]:
        """Return the features of each item; zero in the padding.

        Args:
            x: of each item by itself.
            lengths: of the sequences.
            look_ahead: items, or blanks after the last one, that are read before the features of
                one are taken.
        """
        if look_ahead:
            x = functional.pad(blank(x, lengths), (0, 0, 0, look_ahead))
        enter, *after = self.dropouts
        x = y = enter(x)
        for place, (layer, dropout) in enumerate(zip(self.layers, after, strict=True)):
            x = above(self.config.wiring, x, y) if place else x
            y = dropout(layer(x, lengths=lengths + look_ahead))
        y = blank(y[:, look_ahead:], lengths) if look_ahead else y
        return y if self.context is None else self.context(y, lengths)

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        """Return the state of every layer before anything is read.

        Raises:
            ValueError: if a layer reads from the right too, or a gate needs the whole sequence.
        """
        if self.context is not None:
            raise ValueError(
                "a gate of the whole sentence cannot be asked while it arrives: train with "
                "--model.context false"
            )
        return tuple(layer.initial_state(batch) for layer in self._readers())

    def resume(
        self, x: Float[Tensor, "batch time dim"], states: tuple[Any, ...]
    ) -> tuple[Float[Tensor, "batch time out"], tuple[Any, ...]]:
        """Return the features of more items of sequences that were read so far, and the states.

        Args:
            x: of each item by itself; zero for a blank.
            states: of the layers.
        """
        y = x
        after: list[Any] = []
        for place, (layer, state) in enumerate(zip(self._readers(), states, strict=True)):
            x = above(self.config.wiring, x, y) if place else x
            y, state = layer.resume(x, state)
            after.append(state)
        return y, tuple(after)

    def _readers(self) -> Iterator[Reader]:
        for layer in self.layers:
            assert isinstance(layer, Reader)
            yield layer
