"""Training a language model on text, from a configuration to a saved model and its score."""

import zlib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch

from statewise.models import pretrained
from statewise.models.language_model import LanguageModel, LanguageModelConfig
from statewise.models.neural_cache import NeuralCache
from statewise.models.tokenizers import ByteTokenizer, FileTokenizer, Tokenizer
from statewise.tasks import documents, language
from statewise.tasks.ngrams import KneserNey
from statewise.training import penalties
from statewise.training.bars import bar
from statewise.training.configuration import Data, LanguageRun
from statewise.training.distillation import Teacher
from statewise.training.loop import Outcome, Training, refuse_names
from statewise.training.memory import keep_memory
from statewise.training.processes import Processes
from statewise.training.report import write_report
from statewise.training.runs import begin, checkpoint
from statewise.training.streaming import StreamLessons


class Trained(NamedTuple):
    """A trained language model and its score on the held-out text."""

    model: LanguageModel
    bits_per_byte: float | None
    """None if the run was interrupted."""
    outcome: Outcome
    folder: Path
    report: Path | None
    """None if the run was interrupted, or without matplotlib."""
    main: bool
    """Whether this is the process that speaks for all that trained together."""


def train_language_model(config: LanguageRun) -> Trained:
    """Train a language model as `config` says; return the best of its checkpoints.

    Raises:
        ValueError, OSError: for a text, a mixer, a size or a folder that will not do, before
            anything is written.
    """
    keep_memory()
    processes = Processes(config)
    rows = processes.rows(config.streams, config.accumulate)
    tokenizer = FileTokenizer(config.data.tokenizer) if config.data.tokenizer else ByteTokenizer()
    seen, held_out = documents.split(read(config.data), config.data.held_out)
    if config.data.shuffle:
        seen = documents.shuffle(seen, config.seed)
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
    teacher = _teacher(config, tokenizer, processes)
    refuse_names(config, model)
    if config.penalties.loudness or config.penalties.drift:
        penalties.last_memory(model)  # refuses a model that has none
    run = begin(config, processes)
    if last := run.last():
        pretrained.read_weights(last, model)
    parameters = sum(p.numel() for p in model.parameters())
    run.say(
        f"{parameters} parameters; to train on: {len(streams.tokens)} tokens in {len(seen)} "
        f"document{'s' * (len(seen) > 1)}"
    )

    beginning = _beginning((tokens_of(text, tokenizer) for text in held_out), config)
    size = sum(len(tokenizer.bytes_of(token)) for text in beginning for token in text.tolist())
    lessons = StreamLessons(
        model,
        streams,
        config,
        rows,
        lambda: _score(model, beginning, size),
        teacher=teacher,
    )
    about = {"text": zlib.crc32(streams.tokens.numpy().data)}
    training = Training(model, lessons, config, run, processes=processes, about=about)
    outcome = training.run_to_its_end()
    processes.wait()
    model = LanguageModel.from_pretrained(checkpoint(config.out))
    bits = report = None
    if outcome.signal is None:
        bits = 0.0
        if processes.main:
            bits = evaluate_language_model(model, held_out, quiet=config.quiet)
        (bits,) = processes.total(bits)
        run.measure(step=outcome.steps, held_out_bits_per_byte=bits)
        run.say(f"{bits:.4f} bits per byte on all of the held-out text, with the best checkpoint")
        if processes.main and find_spec("matplotlib"):
            report = write_report(run.folder)[1]
    processes.close()
    return Trained(model, bits, outcome, run.folder, report, processes.main)


def _teacher(config: LanguageRun, tokenizer: Tokenizer, processes: Processes) -> Teacher | None:
    """Return the model that is learned from, if there is one."""
    if config.distillation.teacher is None:
        return None
    model = LanguageModel.from_pretrained(checkpoint(config.distillation.teacher))
    if model.config.vocab != tokenizer.vocab:
        raise ValueError(
            f"distillation.teacher: {config.distillation.teacher} speaks {model.config.vocab} "
            f"tokens, and this run {tokenizer.vocab}"
        )
    model = model.to(processes.device)
    return Teacher(model, context=config.context)


def read(data: Data) -> list[str]:
    """Return the documents that a configuration names."""
    return documents.read_documents(
        data.path, encoding=data.encoding, separator=data.separator, field=data.field
    )


def evaluate_language_model(
    model: LanguageModel | NeuralCache, texts: list[str], *, quiet: bool = False
) -> float:
    """Return the bits per byte of documents under the model, each read from the initial state.

    Raises:
        ValueError: if the model has no tokenizer, or one that cannot spell the text.
    """
    tokenizer = _tokenizer(model)
    tokens = [tokens_of(text, tokenizer) for text in texts]
    size, total = sum(len(text.encode()) for text in texts), sum(map(len, tokens))
    with bar(total=total, desc="evaluating", unit=" tokens", delay=2, disable=quiet) as shown:
        return _score(model, tokens, size, shown.update)


def ngram_bits(model: LanguageModel, seen: list[str], texts: list[str], *, order: int) -> float:
    """Return the bits per byte of documents under n-grams of a model's tokens.

    Args:
        model: whose tokenizer cuts the texts.
        seen: documents that are counted.
        texts: documents that are scored.
        order: tokens of the longest n-grams.

    Raises:
        ValueError: for an order below 1, or what `evaluate_language_model` refuses.
    """
    tokenizer = _tokenizer(model)
    counted = (tokenizer.encode(text) for text in seen)
    ngrams = KneserNey(counted, order=order, vocab=tokenizer.vocab)
    bits = sum(sum(ngrams.costs(tokenizer.encode(text))) for text in texts)
    return bits / sum(len(text.encode()) for text in texts)


def _tokenizer(model: LanguageModel | NeuralCache) -> Tokenizer:
    if model.tokenizer is None:
        raise ValueError("this model has no tokenizer: give it one to read text")
    return model.tokenizer


def tokens_of(text: str, tokenizer: Tokenizer) -> torch.Tensor:
    """Return a text as one tensor of tokens, (time,)."""
    return torch.tensor(tokenizer.encode(text), dtype=torch.int64)


def _beginning(tokens: Iterable[torch.Tensor], config: LanguageRun) -> list[torch.Tensor]:
    beginning, left = [], config.evaluation.tokens
    for document in tokens:
        beginning.append(document[:left])
        left -= len(beginning[-1])
        if left == 0:
            break
    return beginning


def _score(
    model: LanguageModel | NeuralCache, tokens: list[torch.Tensor], size: int, watch=lambda n: None
) -> float:
    model.eval()
    return language.bits_per_byte(model, tokens, size, watch=watch)
