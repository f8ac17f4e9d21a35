"""A language model: an embedding, one residual stack of any mixers, and a head."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, cast

import torch
from jaxtyping import Bool, Float, Int
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from statewise import mixers as catalogue
from statewise.mixers.base import Mixer, state_dtype, within
from statewise.models.stack import Block, Stack, States

MixerSpec = str | dict[str, Any]
"""A mixer by name, or `{"name": ..., option: value}`."""

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"dim": 64, "depth": 2},
    "small": {"dim": 256, "depth": 3},
    "medium": {"dim": 512, "depth": 6},
    "base": {"dim": 768, "depth": 12},
}
"""Sizes by name."""


class LanguageModelConfig(BaseModel):
    """What a language model is built from. An unknown field is an error that suggests the nearest.

    Args:
        vocab: symbols; 256 for bytes.
        dim: features between the layers.
        depth: layers.
        mixer: a name from the catalogue, `{"name": ..., option: value}`, or a list of these, which
            is repeated over the depth: a hybrid.
        convolution: taps of the short convolution before each mixer; 0 for none.
        expansion: hidden width of the feed-forward branch after each mixer, over dim; 0 for none.
        tie: whether the head shares the embedding's weights.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    vocab: Annotated[int, Field(ge=1)] = 256
    dim: Annotated[int, Field(ge=1)] = 256
    depth: Annotated[int, Field(ge=1)] = 3
    mixer: MixerSpec | list[MixerSpec] = "min_gru"
    convolution: Annotated[int, Field(ge=0)] = 4
    expansion: Annotated[float, Field(ge=0)] = 2.0
    tie: bool = True

    @model_validator(mode="before")
    @classmethod
    def _known(cls, fields: Any) -> Any:
        if isinstance(fields, Mapping):
            for field in fields:
                if field not in cls.model_fields:
                    raise ValueError(
                        f"a language model has no field {field!r}"
                        f"{catalogue.nearest(str(field), cls.model_fields)}"
                    )
        return fields

    @model_validator(mode="after")
    def _fits(self) -> "LanguageModelConfig":
        specs = self.specs()
        if not specs:
            raise ValueError("mixer is an empty list: name at least one")
        if len(specs) > self.depth:
            raise ValueError(f"mixer lists {len(specs)} mixers for a depth of {self.depth}")
        for spec in specs:
            if isinstance(spec, dict) and not isinstance(spec.get("name"), str):
                raise ValueError(f"the mixer {spec} has no name")
        return self

    def specs(self) -> list[MixerSpec]:
        """Return the mixers as a list, before it is repeated over the depth."""
        return self.mixer if isinstance(self.mixer, list) else [self.mixer]

    @classmethod
    def from_preset(cls, name: str, **overrides: Any) -> "LanguageModelConfig":
        """Return the configuration of a preset ("tiny", "small", "medium", "base"), with changes.

        Raises:
            ValueError: for an unknown preset or field; it suggests the nearest.
        """
        if name not in PRESETS:
            raise ValueError(f"there is no preset {name!r}{catalogue.nearest(name, PRESETS)}")
        return cls(**{**PRESETS[name], **overrides})


class LanguageModel(nn.Module):
    """Predicts each token of a sequence from those before it.

    Args:
        config: what to build.
        mixers: mixers of your own by name: classes or callables that take `dim`. Loading such a
            model needs them again.

    Raises:
        ValueError: for a mixer or an option that does not exist, or one that reads the whole
            sequence before it answers.
    """

    def __init__(
        self,
        config: LanguageModelConfig | None = None,
        *,
        mixers: Mapping[str, Callable[..., Mixer[Any]]] | None = None,
    ):
        super().__init__()
        self.config = config = config or LanguageModelConfig()
        self.embedding = nn.Embedding(config.vocab, config.dim)
        # Small, because the head shares it: behind the norm of sqrt(dim) the logits then start
        # near zero and the loss near log(vocab).
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.stack = Stack([_block(config, layer, mixers) for layer in range(config.depth)])
        self.head = None if config.tie else nn.Linear(config.dim, config.vocab, bias=False)

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> States:
        """Return the state before any token."""
        return self.stack.initial_state(batch, device=device, dtype=dtype)

    def state_size(self, time: int) -> int:
        """Return how many numbers one row's state holds after `time` tokens."""
        return self.stack.state_size(time)

    def forward(
        self,
        tokens: Int[Tensor, "batch time"],
        state: States | None = None,
        *,
        reset: Bool[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time vocab"], States]:
        """Return the logits of the token after each one read, in float32 or wider, and the state.

        Where `reset[b, t]`, row b starts afresh before token t. Beyond `lengths[b]` the logits are
        zero and nothing is read.

        Raises:
            ValueError: for a token that is not in [0, vocab).
        """
        y, state = self.features(tokens, state, reset=reset, lengths=lengths)
        return self.logits(y), state

    def step(
        self, token: Int[Tensor, " batch"], state: States
    ) -> tuple[Float[Tensor, "batch vocab"], States]:
        """Read one token: return the logits of the next, and the state."""
        y, state = self.stack.step(self._embed(token), state)
        return self.logits(y), state

    def features(
        self,
        tokens: Int[Tensor, "batch time"],
        state: States | None = None,
        *,
        reset: Bool[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time dim"], States]:
        """Return what the head reads, and the state: `forward` without its last product."""
        if lengths is not None:
            tokens = torch.where(within(lengths, tokens.shape[1]), tokens, 0)
        return self.stack(self._embed(tokens), state, reset=reset, lengths=lengths)

    def logits(self, features: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes vocab"]:
        """Return the head's answer to `features`, in float32 or wider."""
        weight = self.embedding.weight if self.head is None else self.head.weight
        logits = F.linear(features, weight)
        return logits.to(state_dtype(logits.dtype))

    def _embed(self, tokens: Int[Tensor, "*axes"]) -> Float[Tensor, "*axes dim"]:
        try:
            return self.embedding(tokens)
        except IndexError:  # asked for after the fact: looking at every token first would cost time
            raise ValueError(
                f"tokens {tuple(tokens.shape)} should be in [0, {self.config.vocab}), but they "
                f"range from {int(tokens.min())} to {int(tokens.max())}"
            ) from None


def _block(
    config: LanguageModelConfig,
    layer: int,
    mixers: Mapping[str, Callable[..., Mixer[Any]]] | None,
) -> Block:
    specs: list[MixerSpec] = [config.specs()[layer % len(config.specs())]]
    if config.convolution:
        specs.insert(0, {"name": "short_convolution", "width": config.convolution})
    if config.expansion:
        specs.append({"name": "feed_forward", "expansion": config.expansion})
    branches = [catalogue.build(spec, config.dim, mixers=mixers) for spec in specs]
    return Block(cast("list[Mixer[Any]]", branches))  # which refuses whole-sequence parts
