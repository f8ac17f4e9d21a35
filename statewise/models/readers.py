"""A mixer as a layer that reads padded sentences, from the left or both ways."""

import inspect
from collections.abc import Mapping
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from statewise import mixers as catalogue
from statewise.mixers.base import Mixer, WholeSequence
from statewise.mixers.bidirectional import Bidirectional


class Reader(WholeSequence):
    """A mixer over padded batches.

    One that takes no option `hidden` reads, and so answers with, as many features as a linear map
    before it gives.

    Args:
        spec: the mixer, by name or as `{"name": ..., option: value}`.
        dim: features read.
        hidden: features of each direction.
        both_ways: whether another such mixer reads from the right. One that reads the whole
            sequence by itself does so in any case.

    Raises:
        ValueError: for a mixer or an option that does not exist.
    """

    def __init__(self, spec: str | Mapping[str, Any], dim: int, hidden: int, *, both_ways: bool):
        super().__init__()
        options = {"name": spec} if isinstance(spec, str) else dict(spec)
        made = catalogue.catalogue().get(options.get("name", ""))
        self.enter: nn.Module = nn.Identity()
        read = dim
        if made is not None and "hidden" in inspect.signature(made).parameters:
            options = {"hidden": hidden, **options}
        else:
            self.enter, read = nn.Linear(dim, hidden), hidden
        mixer = catalogue.build(options, read)
        if both_ways and isinstance(mixer, Mixer):
            mixer = Bidirectional(read, options)
        self.mixer = mixer
        self.dim, self.out = dim, mixer.out

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        *,
        lengths: Int[Tensor, " batch"] | None = None,
        reset: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch time out"]:
        """Map sequences; beyond their lengths the answer is zero."""
        x = self.enter(x)
        if isinstance(self.mixer, WholeSequence):
            return self.mixer(x, lengths=lengths, reset=reset)
        return self.mixer(x, lengths=lengths, reset=reset)[0]

    def initial_state(self, batch: int) -> Any:
        """Return the state before anything is read.

        Raises:
            ValueError: if it reads from the right too.
        """
        return self._causal().initial_state(batch)

    def resume(
        self, x: Float[Tensor, "batch time dim"], state: Any
    ) -> tuple[Float[Tensor, "batch time out"], Any]:
        """Map more of sequences that were read so far.

        Raises:
            ValueError: if it reads from the right too.
        """
        return self._causal()(self.enter(x), state)

    def _causal(self) -> Mixer[Any]:
        if not isinstance(self.mixer, Mixer):
            raise ValueError(
                "what reads a sentence from the right cannot label it while it arrives: train with "
                "--model.both_ways false, and a mixer that reads from the left"
            )
        return self.mixer

    @classmethod
    def example(cls) -> "Reader":
        """Return a small instance."""
        return cls("lstm", 4, 3, both_ways=True)
