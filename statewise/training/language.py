"""Training a language model on text, from a configuration to a saved model and its score."""

from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from statewise.models.language_model import LanguageModel, LanguageModelConfig
from statewise.models.tokenizers import ByteTokenizer, FileTokenizer, Tokenizer
from statewise.tasks import documents, language
from statewise.training.configuration import Data, LanguageRun
from statewise.training.loop import Outcome, train
from statewise.training.memory import keep_memory
from statewise.training.runs import Run, checkpoint


class Trained(NamedTuple):
    """A trained language model and its score on the held-out text."""

    model: LanguageModel
    bits_per_byte: float
    outcome: Outcome
    folder: Path


def train_language_model(config: LanguageRun) -> Trained:
    """Train a language model as `config` says; return the best of its checkpoints.

    Raises:
        ValueError, OSError: for a text, a mixer, a size or a folder that will not do, before
            anything is written.
    """
    keep_memory()
    tokenizer = FileTokenizer(config.data.tokenizer) if config.data.tokenizer else ByteTokenizer()
    seen, held_out = documents.split(read(config.data), config.data.held_out)
    streams = language.Streams(
        [tokens_of(text, tokenizer) for text in seen],
        streams=config.streams,
        context=config.context,
    )
    torch.manual_seed(config.seed)
    shape = {k: v for k, v in config.model.model_dump().items() if v is not None}
    model = LanguageModel(
        LanguageModelConfig.from_preset(
            config.preset, vocab=tokenizer.vocab, mixer=config.mixer, **shape
        ),
        tokenizer=tokenizer,
    )
    run = Run(config.out, config.model_dump(mode="json"), overwrite=config.overwrite)
    parameters = sum(p.numel() for p in model.parameters())
    run.say(
        f"{parameters} parameters, {len(streams.tokens)} tokens to train on, "
        f"{len(seen)} of {len(seen) + len(held_out)} documents"
    )

    beginning = _beginning([tokens_of(text, tokenizer) for text in held_out], config)
    size = sum(len(tokenizer.bytes_of(token)) for text in beginning for token in text.tolist())
    outcome = train(model, streams, config, run, lambda: _score(model, beginning, size))
    model = LanguageModel.from_pretrained(checkpoint(config.out))
    bits = evaluate_language_model(model, held_out, quiet=config.quiet)
    run.measure(step=outcome.steps, held_out_bits_per_byte=bits)
    run.say(f"{bits:.4f} bits per byte on all of the held-out text, with the best checkpoint")
    return Trained(model, bits, outcome, run.folder)


def read(data: Data) -> list[str]:
    """Return the documents that a configuration names."""
    return documents.read_documents(
        data.path, encoding=data.encoding, separator=data.separator, field=data.field
    )


def evaluate_language_model(
    model: LanguageModel, texts: list[str], *, quiet: bool = False
) -> float:
    """Return the bits per byte of documents under the model, each read from the initial state.

    Raises:
        ValueError: if the model has no tokenizer, or one that cannot spell the text.
    """
    if model.tokenizer is None:
        raise ValueError("this model has no tokenizer: give it one to read text")
    tokens = [tokens_of(text, model.tokenizer) for text in texts]
    size, total = sum(len(text.encode()) for text in texts), sum(map(len, tokens))
    with tqdm(total=total, desc="evaluating", unit=" tokens", delay=2, disable=quiet) as bar:
        return _score(model, tokens, size, bar.update)


def tokens_of(text: str, tokenizer: Tokenizer) -> torch.Tensor:
    """Return a text as one tensor of tokens, (time,)."""
    return torch.tensor(tokenizer.encode(text), dtype=torch.int64)


def _beginning(tokens: list[torch.Tensor], config: LanguageRun) -> list[torch.Tensor]:
    beginning, left = [], config.evaluation.tokens
    for document in tokens:
        beginning.append(document[:left])
        left -= len(beginning[-1])
        if left == 0:
            break
    return beginning


def _score(
    model: LanguageModel, tokens: list[torch.Tensor], size: int, watch=lambda n: None
) -> float:
    model.eval()
    return language.bits_per_byte(model, tokens, size, watch=watch)
