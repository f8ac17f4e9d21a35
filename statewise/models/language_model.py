"""A language model: an embedding, one residual stack of any mixers, and a head."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from statewise import mixers as catalogue
from statewise.mixers.base import Mixer, state_dtype, within
from statewise.mixers.parts.linear import Embedding, Int8Embedding, Int8Linear, Linear, unstarted
from statewise.models import hub, layers, pretrained
from statewise.models.configuration import Configuration, stored
from statewise.models.dropout import Dropout, DropWords, drop
from statewise.models.generation import (
    BatchGeneration,
    Generation,
    GenerationState,
    Prefixes,
    Sampling,
)
from statewise.models.hub.download import local
from statewise.models.quantized import is_quantized, quantize
from statewise.models.stack import Norm, Stack, States
from statewise.models.tokenizers import ByteTokenizer, FileTokenizer, Tokenizer

MixerSpec = str | dict[str, Any]
"""A mixer by name, or `{"name": ..., option: value}`."""

MixerMaker = Callable[..., Mixer[Any]]
"""A class or callable that takes `dim` and the options of a specification."""

KIND, TOKENIZER = "language_model", "tokenizer.json"
"""What `config.json` says it describes, and a file that may stand beside it."""

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"dim": 64, "depth": 2},
    "small": {"dim": 256, "depth": 3},
    "medium": {"dim": 512, "depth": 6},
    "base": {"dim": 768, "depth": 12},
}
"""Sizes by name."""


class LanguageModelConfig(Configuration):
    """What a language model is built from. An unknown field is an error that suggests the nearest.

    Args:
        vocab: symbols; 256 for bytes.
        dim: features between the layers.
        depth: layers.
        mixer: a name from the catalogue, `{"name": ..., option: value}`, a layer's branches, a
            published hybrid, `{"hybrid": name}`, or a list of these, which is repeated over the
            depth: see `statewise.models.layers`.
        convolution: taps of the short convolution before each mixer, 0 for none; 4 if absent.
            Layers that name their branches, and so hybrids, have none but those.
        expansion: hidden width of the feed-forward branch after each mixer, over dim, 0 for none; 2
            if absent. Layers that name their branches have none but those.
        tie: whether the head shares the embedding's weights.
        norm: before every branch and the head: "layer", or "rms" (root mean square), which torch
            computes more slowly on a CPU and many published checkpoints have, or
            "zero_centered_rms", whose scale is one plus its weight (Gemma, Qwen3-Next).
        norm_epsilon: what the norm adds to the variance or the mean square.
        norm_bias: whether the norm "layer" adds a bias.
        embedding_norm: whether such a norm also stands after the embedding (RWKV, BLOOM).
        embedding_multiplier: what embeddings are multiplied by before that; Gemma's sqrt(dim).
        logit_soft_cap: logits become cap * tanh(logits / cap), within it either way; as they are if
            absent.
        dropout: what is absent while training; nothing if absent itself.
        hub: what the `config.json` of a checkpoint of the hub's library said, if the model was read
            from one: nothing is built from it, but it is written back with the model.
    """

    called = "a language model"

    vocab: Annotated[int, Field(ge=1)] = 256
    dim: Annotated[int, Field(ge=1)] = 256
    depth: Annotated[int, Field(ge=1)] = 3
    mixer: MixerSpec | list[MixerSpec] = "min_gru"
    convolution: Annotated[int, Field(ge=0)] | None = None
    expansion: Annotated[float, Field(ge=0)] | None = None
    tie: bool = True
    norm: Literal["layer", "rms", "zero_centered_rms"] = "layer"
    norm_epsilon: Annotated[float, Field(gt=0)] = 1e-5
    norm_bias: bool = False
    embedding_norm: bool = False
    embedding_multiplier: Annotated[float, Field(gt=0)] = 1.0
    logit_soft_cap: Annotated[float, Field(gt=0)] | None = None
    dropout: Dropout = Dropout()
    hub: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits(self) -> "LanguageModelConfig":
        layers.check(layers.pattern(self.mixer), self.depth, self.convolution, self.expansion)
        if self.norm_bias and self.norm != "layer":
            raise ValueError(f"norm_bias is of the norm 'layer', and norm = {self.norm!r} has none")
        return self

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
        tokenizer: turns text into tokens; bytes are the tokens if there is none and vocab is 256.
        mixers: mixers of your own by name: classes or callables that take `dim`. Loading such a
            model needs them again.

    Raises:
        ValueError: for a mixer or an option that does not exist, one that reads the whole sequence
            before it answers, or a tokenizer of another size than vocab.
    """

    def __init__(
        self,
        config: LanguageModelConfig | None = None,
        *,
        tokenizer: Tokenizer | None = None,
        mixers: Mapping[str, MixerMaker] | None = None,
    ):
        super().__init__()
        self.config = config = config or LanguageModelConfig()
        if tokenizer is None and config.vocab == ByteTokenizer.vocab:
            tokenizer = ByteTokenizer()
        # Fewer tokens than the vocabulary has room for: published checkpoints round it up.
        if tokenizer is not None and tokenizer.vocab > config.vocab:
            raise ValueError(
                f"the tokenizer has {tokenizer.vocab} tokens, and the configuration a vocab of "
                f"{config.vocab}"
            )
        self.tokenizer = tokenizer
        # Small, because the head shares it: behind the norm of sqrt(dim) the logits then start
        # near zero and the loss near log(vocab).
        self.embedding: Embedding | Int8Embedding = Embedding(config.vocab, config.dim, spread=0.02)
        norm = Norm(config.norm, config.norm_epsilon, config.norm_bias)
        self.embedding_norm = norm.over(config.dim) if config.embedding_norm else None
        self.stack = Stack(
            layers.blocks(
                config.mixer,
                config.dim,
                config.depth,
                convolution=config.convolution,
                expansion=config.expansion,
                norm=norm,
                mixers=mixers,
            ),
            norm=norm,
        )
        self.head: Linear | Int8Linear | None = None
        if not config.tie:
            self.head = Linear(config.dim, config.vocab, bias=False)
        # Last, so that the weights begin as they do without.
        rates = config.dropout
        self.drop_words = DropWords(config.vocab, rates.words) if rates.words else None
        self.drop_input = drop(rates.input, locked=rates.locked)
        self.drop_output = drop(rates.output, locked=rates.locked)
        self.stack.drop_out(rates.layers, locked=rates.locked)

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
        return self.logits(self.drop_output(y)), state

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
        y, after = self.stack(self._embed(tokens), state, reset=reset, lengths=lengths)
        return self.drop_output(y), after

    def logits(self, features: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes vocab"]:
        """Return the head's answer to `features`, in float32 or wider."""
        logits = self.embedding.scores(features) if self.head is None else self.head(features)
        logits = logits.to(state_dtype(logits.dtype))
        cap = self.config.logit_soft_cap
        return logits if cap is None else cap * (logits / cap).tanh()

    def generate(
        self,
        prompt: str | bytes = "",
        *,
        max_tokens: int | None = 256,
        temperature: float | int = 1.0,
        top_k: int = 0,
        top_p: float | int = 1.0,
        repetition_penalty: float | int = 1.0,
        penalty_window: int = 64,
        stop: str | bytes | Sequence[str | bytes] = (),
        seed: int = 0,
        state: GenerationState | None = None,
        prefixes: Prefixes | None = None,
    ) -> Generation:
        """Go on from a prompt: an iterator that yields text as it comes and exposes `.state`.

        It yields whole characters; bytes that certainly are none come as U+FFFD. What may still
        become a character or a stop string is held back, and stays in the state when `max_tokens`
        are drawn. The memory is that of the model's state, however long the text.

        Args:
            prompt: what the model reads first, and after a state what it reads next. Without
                either it reads the end of a line.
            max_tokens: tokens drawn by this call; None to go on without end.
            temperature: what logits are divided by; at 0 the likeliest token is taken.
            top_k: how many of the likeliest tokens remain; 0 for all.
            top_p: the smallest set of tokens with this share of the probability remains.
            repetition_penalty: lowers the tokens seen lately if above 1.
            penalty_window: how many tokens back that looks, the prompt's included.
            stop: strings that end the text, and are not part of it.
            seed: in [0, 2**32); the same seed draws the same. A state brings its own.
            state: the `.state` of an earlier generation, which goes on from there bit by bit.
                Where it had met a stop string, it goes on only after a further prompt.
            prefixes: a `PrefixCache` of this model, which knows prompts that were read before.

        Raises:
            ValueError: for an option out of range, or a prompt that the tokenizer cannot read.
        """
        sampling = Sampling(temperature, top_k, top_p, repetition_penalty, penalty_window)
        return Generation(
            BatchGeneration(
                self,
                [prompt],
                max_tokens=max_tokens,
                sampling=sampling,
                stop=stop,
                seed=seed,
                state=state,
                prefixes=prefixes,
            )
        )

    def generate_batch(
        self,
        prompts: Sequence[str | bytes],
        *,
        max_tokens: int | None = 256,
        temperature: float | int = 1.0,
        top_k: int = 0,
        top_p: float | int = 1.0,
        repetition_penalty: float | int = 1.0,
        penalty_window: int = 64,
        stop: str | bytes | Sequence[str | bytes] = (),
        seed: int | Sequence[int] = 0,
        state: GenerationState | None = None,
    ) -> BatchGeneration:
        """Go on from several prompts at once: yields lists with what each row's text gained.

        As `generate`, row by row: row i draws as it would alone with its own seed, which is
        `seed + i`, or `seed[i]` if there are several. A row that met a stop string gains nothing
        more and keeps its state, while the others go on.
        """
        sampling = Sampling(temperature, top_k, top_p, repetition_penalty, penalty_window)
        return BatchGeneration(
            self,
            prompts,
            max_tokens=max_tokens,
            sampling=sampling,
            stop=stop,
            seed=seed,
            state=state,
        )

    def save_pretrained(
        self, folder: str | Path, *, format: Literal["statewise", "transformers"] = "statewise"
    ) -> None:
        """Write the model to a folder, which is made if it is missing.

        It then holds `config.json`, `model.safetensors` and, unless bytes are the tokens,
        `tokenizer.json`.

        Args:
            folder: where to.
            format: whose: our own, or that of the hub's library, which then loads it.

        Raises:
            TypeError: if the tokenizer is of your own making.
            ValueError: if the hub's library has no model that is built like it, or for another
                format.
        """
        files = {}
        if isinstance(self.tokenizer, FileTokenizer):
            files[TOKENIZER] = self.tokenizer.save
        elif not isinstance(self.tokenizer, ByteTokenizer | None):
            raise TypeError(
                f"a {type(self.tokenizer).__name__} is not saved: only tokenizers from a file are"
            )
        if format == "transformers":
            if is_quantized(self):
                raise ValueError("the hub's library has no such weights of eight bits")
            hub.write(folder, self.config.model_dump(), self, files)
        elif format == "statewise":
            config = self.config.model_dump()
            pretrained.write(folder, KIND, config, self, files, quantized=is_quantized(self))
        else:
            raise ValueError(f"format is {format!r}; it should be 'statewise' or 'transformers'")

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        mixers: Mapping[str, MixerMaker] | None = None,
        revision: str | None = None,
        weights: Literal["saved", "int8"] = "saved",
    ) -> "LanguageModel":
        """Return the model in a folder, in eval mode.

        Its weights are windows on the file, which the system reads when they are first needed and
        drops when memory is short. The file may be replaced or deleted, as `save_pretrained` does,
        but not be written into.

        Args:
            folder: what `save_pretrained` wrote, or a checkpoint of the hub's library of a family
                that our stack can be: see `statewise.models.hub`. Where there is no such folder,
                `owner/name` is downloaded from the hub.
            mixers: the mixers of your own that the model was built with, by name.
            revision: a branch, a tag or a commit on the hub; its main branch if absent.
            weights: as they were saved, or rounded to eight bits, as `statewise.models.quantize`
                does; such a model reads a quarter of the bytes for a token, and is not trained.

        Raises:
            FileNotFoundError: if the folder or a file of it is missing, and not on the hub either.
            ValueError: if a file is damaged, the weights are of another model, or the checkpoint is
                of a family that our stack is not; or for other words about weights.
        """
        if weights not in ("saved", "int8"):
            raise ValueError(f"weights is {weights!r}; it should be 'saved' or 'int8'")
        folder = local(folder, revision)
        foreign = pretrained.of_the_hub(folder)
        if foreign is None:
            config = stored(folder, KIND, LanguageModelConfig)
        else:
            config = LanguageModelConfig(**hub.read_fields(folder, foreign))
        file = Path(folder) / TOKENIZER
        tokenizer = FileTokenizer(file) if file.exists() else None
        try:
            with unstarted():
                model = cls(config, tokenizer=tokenizer, mixers=mixers).eval()
                if foreign is None and pretrained.is_quantized(folder):
                    quantize(model)
        except ValueError as error:
            raise ValueError(f"{Path(folder) / pretrained.CONFIG}: {error}") from None
        if foreign is not None:
            hub.read_weights(folder, foreign, model)
        else:
            pretrained.read_weights(folder, model, mapped=True)
        if weights == "int8":
            quantize(model)
        return model

    def _embed(self, tokens: Int[Tensor, "*axes"]) -> Float[Tensor, "*axes dim"]:
        try:
            x = self.embedding(tokens)
        except IndexError:  # asked for after the fact: looking at every token first would cost time
            raise ValueError(
                f"tokens {tuple(tokens.shape)} should be in [0, {self.config.vocab}), but they "
                f"range from {int(tokens.min())} to {int(tokens.max())}"
            ) from None
        if self.drop_words is not None:
            x = self.drop_words(x, tokens)
        if self.config.embedding_multiplier != 1:
            x = x * self.config.embedding_multiplier
        return self.drop_input(x if self.embedding_norm is None else self.embedding_norm(x))
