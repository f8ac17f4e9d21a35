"""Training a language model on a text file, from a configuration to a saved model and its score."""

import zlib
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from statewise.models.language_model import LanguageModel, LanguageModelConfig
from statewise.models.tokenizers import ByteTokenizer, FileTokenizer, Tokenizer
from statewise.tasks import language
from statewise.training.configuration import FREE_TO_CHANGE, LanguageRun
from statewise.training.loop import Outcome, train
from statewise.training.memory import keep_memory
from statewise.training.processes import Processes
from statewise.training.runs import Run, checkpoint, stored_configuration


class Trained(NamedTuple):
    """A trained language model and its score on the held-out text."""

    model: LanguageModel
    bits_per_byte: float | None
    """None if the run was interrupted."""
    outcome: Outcome
    folder: Path


def train_language_model(config: LanguageRun) -> Trained:
    """Train a language model as `config` says; return the best of its checkpoints.

    Raises:
        ValueError, OSError: for a text, a mixer, a size or a folder that will not do, before
            anything is written.
    """
    keep_memory()
    processes = Processes(config)
    tokenizer = FileTokenizer(config.data.tokenizer) if config.data.tokenizer else ByteTokenizer()
    text = language.read_text(config.data.path, config.data.encoding)
    seen, held_out = language.split(text, config.data.held_out)
    streams = language.Streams(
        tokens_of(seen, tokenizer), streams=config.streams, context=config.context
    )
    torch.manual_seed(config.seed)
    shape = {k: v for k, v in config.model.model_dump().items() if v is not None}
    model = LanguageModel(
        LanguageModelConfig.from_preset(
            config.preset, vocab=tokenizer.vocab, mixer=config.mixer, **shape
        ),
        tokenizer=tokenizer,
    )
    run = _run(config, processes)
    if last := run.named().get("last"):
        model = LanguageModel.from_pretrained(run.checkpoints / last)
    parameters = sum(p.numel() for p in model.parameters())
    run.say(f"{parameters} parameters, {len(streams.tokens)} tokens to train on")

    beginning = tokens_of(held_out, tokenizer)[: config.evaluation.tokens]
    size = sum(len(tokenizer.bytes_of(token)) for token in beginning.tolist())
    outcome = train(
        model,
        streams,
        config,
        run,
        lambda: _score(model, beginning, size),
        processes=processes,
        about={"text": zlib.crc32(streams.tokens.numpy().tobytes())},
    )
    model = LanguageModel.from_pretrained(checkpoint(config.out))
    if outcome.signal is not None:
        return Trained(model, None, outcome, run.folder)
    bits = evaluate_language_model(model, held_out, quiet=config.quiet or not processes.main)
    run.measure(step=outcome.steps, held_out_bits_per_byte=bits)
    run.say(f"{bits:.4f} bits per byte on all of the held-out text, with the best checkpoint")
    processes.close()
    return Trained(model, bits, outcome, run.folder)


def _run(config: LanguageRun, processes: Processes) -> Run:
    """Return the run folder, when all processes may look into it."""
    chosen = config.model_dump(mode="json")
    if config.resume and (stored := stored_configuration(config.out)) is not None:
        before = LanguageRun(**stored).model_dump(mode="json")
        for name, value in chosen.items():
            if name not in FREE_TO_CHANGE and before[name] != value:
                raise ValueError(
                    f"{config.out}: the run there cannot go on with another {name}: it has "
                    f"{before[name]}, not {value}"
                )
    with processes.main_first():
        return Run(
            config.out,
            chosen,
            overwrite=config.overwrite,
            resume=config.resume,
            writes=processes.main,
        )


def evaluate_language_model(model: LanguageModel, text: str, *, quiet: bool = False) -> float:
    """Return the bits per byte of `text` under the model, read from the initial state.

    Raises:
        ValueError: if the model has no tokenizer, or one that cannot spell the text.
    """
    if model.tokenizer is None:
        raise ValueError("this model has no tokenizer: give it one to read text")
    tokens = tokens_of(text, model.tokenizer)
    with tqdm(total=len(tokens), desc="evaluating", unit=" tokens", delay=2, disable=quiet) as bar:
        return _score(model, tokens, len(text.encode()), bar.update)


def tokens_of(text: str, tokenizer: Tokenizer) -> torch.Tensor:
    """Return a text as one tensor of tokens, (time,)."""
    return torch.tensor(tokenizer.encode(text), dtype=torch.int64)


def _score(model: LanguageModel, tokens: torch.Tensor, size: int, watch=lambda n: None) -> float:
    model.eval()
    return language.bits_per_byte(model, tokens, size, watch=watch)
