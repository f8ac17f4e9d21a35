"""Language models of ours as models of the hub's library: AutoModel, `generate`, pipelines, PEFT.

A model of ours is a submodule of one of theirs, and its weights keep their names and files. What
`generate` carries from token to token is our state.
"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor, nn
from transformers import (  # pyright: ignore[reportMissingImports]
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationMixin,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import (  # pyright: ignore[reportMissingImports]
    CausalLMOutputWithPast,
)

from statewise import state as states
from statewise.compat.transformers.pieces import front, rolled, unrolled
from statewise.models import LanguageModel, LanguageModelConfig, pretrained
from statewise.models.language_model import KIND

SPECIAL = ("bos_token_id", "eos_token_id", "pad_token_id")
"""What a checkpoint of the hub's library says of its tokens, and ours keep."""


class StatewiseConfig(PreTrainedConfig):
    """What `config.json` of a model of ours says.

    Args:
        config: the fields of a `LanguageModelConfig`; its defaults if absent.
        model: the kind of model; the library runs language models only.
        options: of every configuration of the library.
    """

    model_type = pretrained.OURS

    def __init__(self, config: dict[str, Any] | None = None, model: str = KIND, **options: Any):
        if model != KIND:
            raise ValueError(f"a {model} of statewise is no causal language model")
        self.model = model
        self.config = LanguageModelConfig(**(config or {})).model_dump()
        self.vocab_size, self.hidden_size = self.config["vocab"], self.config["dim"]
        self.num_hidden_layers = self.config["depth"]
        self.use_cache = options.pop("use_cache", True)
        kept = {name: self.config["hub"].get(name) for name in SPECIAL}
        # Where the head is the embedding, it is so by being no weight of its own.
        super().__init__(**{**kept, **options, "tie_word_embeddings": False})


class StateCache:
    """What `generate` keeps between tokens: a state of ours, and how much was read."""

    is_compileable = False

    def __init__(self) -> None:
        self.state: Any = None
        self.seen = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return how many inputs were read, padding included."""
        return self.seen

    def reorder_cache(self, beam_idx: Int[Tensor, " batch"]) -> None:
        """Go on with these rows."""
        self.state = states.select(self.state, beam_idx)

    def batch_select_indices(self, indices: Int[Tensor, " batch"]) -> None:
        """Go on with these rows."""
        self.reorder_cache(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Go on with each row so many times."""
        self.state = states.fork(self.state, repeats)


class StatewiseForCausalLM(PreTrainedModel, GenerationMixin):
    """A language model of ours, called as the library calls its own.

    Args:
        config: what it is built from.
    """

    config_class = StatewiseConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    _is_stateful = True

    def __init__(self, config: StatewiseConfig):
        super().__init__(config)
        # The library would build it without memory, and lose what no file holds.
        with torch.device("cpu"):
            self.model = LanguageModel(LanguageModelConfig(**config.config))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Leave weights as their papers start them."""

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False

    def get_input_embeddings(self) -> nn.Module:
        """Return the embedding."""
        return self.model.embedding

    def get_output_embeddings(self) -> nn.Module | None:
        """Return the head, None where it is the embedding."""
        return self.model.head

    def forward(
        self,
        input_ids: Int[Tensor, "batch time"],
        attention_mask: Tensor | None = None,
        past_key_values: StateCache | None = None,
        labels: Int[Tensor, "batch time"] | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Int[Tensor, " times"] = 0,
        **options: Any,
    ) -> CausalLMOutputWithPast:
        """Return logits, the loss of `labels` if there are any, and the state.

        Args:
            input_ids: tokens.
            attention_mask: (batch, time read before and now), zero where an input is padding, which
                may stand anywhere.
            past_key_values: what an earlier call returned; it is changed in place.
            labels: the tokens themselves, -100 where none is asked for.
            use_cache: whether a state is returned; not in training, if nothing is said.
            logits_to_keep: of how many last positions, or of which; of all if 0.
            options: of the loss.
        """
        if options.get("inputs_embeds") is not None:
            raise ValueError("a model of statewise reads input_ids, not inputs_embeds")
        wanted = self.config.use_cache and not self.training if use_cache is None else use_cache
        cache = StateCache() if past_key_values is None else past_key_values
        time, lengths, order = input_ids.shape[1], None, None
        if attention_mask is not None:
            lengths, order = front(attention_mask[:, -time:])
        if time == 1 and lengths is None and cache.state is not None:
            step, state = self.model.step(input_ids[:, 0], cache.state)
            logits: Float[Tensor, "batch time vocab"] = step[:, None]
        else:
            features, state = self.model.features(
                rolled(input_ids, order), cache.state, lengths=lengths
            )
            features = unrolled(features, order)
            kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else None
            features = features[:, logits_to_keep if kept is None else kept]
            logits = self.model.logits(features)
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.vocab_size, **options
            )
        if wanted or past_key_values is not None:
            cache.state, cache.seen = state, cache.seen + time
        after: Any = cache if wanted else None  # no Cache of theirs, which holds keys and values
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=after)

    def save_pretrained(self, save_directory: str | Path, *_args: Any, **_options: Any) -> None:
        """Write the model as `LanguageModel.save_pretrained` does, which reads it too."""
        self.model.save_pretrained(save_directory)
        if self.can_generate():
            self.generation_config.save_pretrained(save_directory)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of the library whose tokens are bytes, as ours are without a tokenizer."""
    # The symbols by which the tokenizers library writes bytes: themselves where they can be seen.
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    unseen = [byte for byte in range(256) if byte not in seen]
    symbols = {chr(byte): byte for byte in seen}
    symbols |= {chr(256 + number): byte for number, byte in enumerate(unseen)}
    tokenizer = Tokenizer(models.BPE(vocab=symbols, merges=[]))
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer, tokenizer.decoder = level, decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False)


def register() -> None:
    """Make the Auto classes of the library know folders of ours. A second call does nothing."""
    AutoConfig.register(pretrained.OURS, StatewiseConfig, exist_ok=True)
    AutoModelForCausalLM.register(StatewiseConfig, StatewiseForCausalLM, exist_ok=True)
    AutoTokenizer.register(
        StatewiseConfig, fast_tokenizer_class=PreTrainedTokenizerFast, exist_ok=True
    )
