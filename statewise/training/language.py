"""Training a language model on text, from a configuration to a saved model and its score."""

import zlib
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch

from statewise.models import pretrained
from statewise.models.language_model import LanguageModel, LanguageModelConfig
from statewise.models.neural_cache import NeuralCache
from statewise.models.tokenizers import ByteTokenizer, FileTokenizer, Tokenizer
from statewise.tasks import documents, language
from statewise.tasks.ngrams import KneserNey
from statewise.training import penalties, sparsity
from statewise.training.bars import bar
from statewise.training.configuration import FREE_TO_CHANGE, Data, LanguageRun
from statewise.training.distillation import Teacher
from statewise.training.loop import Outcome, Training
from statewise.training.memory import keep_memory
from statewise.training.processes import Processes
from statewise.training.report import write_report
from statewise.training.runs import Run, checkpoint, stored_configuration


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
    _refuse_names(config, model)
    run = _run(config, processes)
    if last := run.last():
        pretrained.read_weights(last, model)
    parameters = sum(p.numel() for p in model.parameters())
    run.say(
        f"{parameters} parameters; to train on: {len(streams.tokens)} tokens in {len(seen)} "
        f"document{'s' * (len(seen) > 1)}"
    )

    beginning = _beginning((tokens_of(text, tokenizer) for text in held_out), config)
    size = sum(len(tokenizer.bytes_of(token)) for text in beginning for token in text.tolist())
    training = Training(
        model,
        streams,
        config,
        run,
        lambda: _score(model, beginning, size),
        processes=processes,
        about={"text": zlib.crc32(streams.tokens.numpy().data)},
        teacher=teacher,
    )
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


def _refuse_names(config: LanguageRun, model: LanguageModel) -> None:
    """Refuse what no matrix of the model is, before anything is written."""
    wanted = config.sparsity
    if wanted.share:
        sparsity.masks_of(model, wanted.share, method=wanted.method, only=wanted.only)
    if config.constraint.only is not None:
        sparsity.matrices(model, config.constraint.only)
    if config.penalties.loudness or config.penalties.drift:
        penalties.last_memory(model)


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
    return Teacher(model, context=config.context, parts=len(processes.rows))


def _run(config: LanguageRun, processes: Processes) -> Run:
    """Return the run folder, when all processes may look into it."""
    # What is kept begins and replaces nothing when it is given again, with --resume or without.
    chosen = {**config.model_dump(mode="json"), "overwrite": False, "resume": False}
    if config.resume and (stored := stored_configuration(config.out)) is not None:
        before = dict(_flat(stored.model_dump(mode="json")))
        for name, value in _flat(chosen):
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


def _flat(fields: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the options with their dotted names; those free to change are not looked into."""
    for name, value in fields.items():
        if isinstance(value, dict) and above + name not in {*FREE_TO_CHANGE, "mixer"}:
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, value


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
