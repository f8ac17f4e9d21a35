"""The command line: demo, train, predict, evaluate, generate, list, card, reproduce and more."""

import codecs
import difflib
import json
import os
import re
import signal
import sys
from argparse import Action
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

import yaml
from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace
from pydantic import ValidationError

import statewise
from statewise.training.configuration import (
    ClassifierRun,
    Data,
    LabelRun,
    LanguageRun,
    Running,
    TaggerRun,
)

if TYPE_CHECKING:
    from statewise.training import labels
    from statewise.training.language import Trained


class _Help(DefaultHelpFormatter):
    """Help that shows types as a reader knows them, without their bounds' Python."""

    def _expand_help(self, action: Action) -> str:
        text = re.sub(
            r"Optional\[Annotated\[(\w+), FieldInfo\(.*?\[.*?\]\)\]\]",
            r"\1 | null",
            super()._expand_help(action),
        )
        return re.sub(r"Annotated\[(\w+), [^\]]*\]", r"\1", text)


class _Parser(ArgumentParser):
    """A parser whose errors are one sentence, and which guesses what a misspelt word meant."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say what is wrong in one sentence, and leave."""
        text = " ".join(str(message).split())
        if unknown := re.match(r"unrecognized arguments: (-*[^\s=]+)", text):
            _fail(f"there is no option {unknown[1]}" + _suggest(unknown[1], self._options()))
        if missing := re.match(r"the following arguments are required: (.*)", text):
            names = [f"--{n}" if f"--{n}" in self._options() else n for n in missing[1].split(", ")]
            _fail(f"{' and '.join(names)} must be given")
        if inside := re.search(r"(?:Group '(.*?)' does not accept o|O)ption '(.*?)'", text):
            name = "--" + ".".join(filter(None, inside.groups()))
            _fail(f"--config: there is no option {name}" + _suggest(name, self._options()))
        key = re.search(r'[Kk]ey "([^"]+)"', text)
        why = re.search(r"(Input should [^\[]*?) \[type", text)
        given = re.search(r"(?:Given|Got) value: (.*)$", text)
        if key and why and given:
            _fail(f"--{key[1]} {given[1]}: {why[1][0].lower()}{why[1][1:]}")
        if re.match("Problems parsing config|Unexpected config", text):
            text = f"--config: this is not the YAML of a configuration: {text}"
        _fail(re.sub(r'^Parser key "(\S+)"', r"--\1", text))

    def _options(self) -> list[str]:
        return [o for a in self._actions for o in a.option_strings if o.startswith("--")]


class Command(NamedTuple):
    """One command: what it does, its options, and the function that does it."""

    sentence: str
    options: Callable[[_Parser], object]
    run: Callable[[Namespace], None]


def main(arguments: list[str] | None = None) -> None:
    """Run `statewise` with these arguments, by default the command line's."""
    given = sys.argv[1:] if arguments is None else arguments
    if not given or given[0] in ("-h", "--help"):
        print(_overview())
        return
    if given[0] == "--version":
        print(statewise.__version__)
        return
    name = " ".join(given[:2]) if given[0] == "train" else given[0]
    if name not in COMMANDS:
        _fail(f"there is no command {name!r}" + _suggest(name, list(COMMANDS)))
    command = COMMANDS[name]
    parser = _Parser(
        prog=f"statewise {name}",
        description=command.sentence,
        formatter_class=_Help,
        allow_abbrev=False,
    )
    command.options(parser)
    try:
        command.run(parser.parse_args(given[len(name.split()) :]))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        _fail(f"--{where}: {first['msg']}" if where else first["msg"].removeprefix("Value error, "))
    except BrokenPipeError:
        # The reader of our output has left (`| head`): nothing more to say, nothing to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except (ValueError, OSError, ArithmeticError, ImportError) as error:
        if os.environ.get("STATEWISE_TRACEBACK"):
            raise
        _fail(str(error))


def _overview() -> str:
    lines = [f"statewise {statewise.__version__}: recurrent sequence models", ""]
    lines += [f"  statewise {name:16} {command.sentence}" for name, command in COMMANDS.items()]
    return "\n".join([*lines, "", "statewise COMMAND --help shows the options of each."])


def _demo_options(parser: _Parser) -> None:
    parser.add_argument("--seconds", type=float, default=120.0, help="of training")
    parser.add_argument(
        "--out", type=str, default="runs/demo", help="folder of the run; the text goes beside it"
    )


def _train_options(kind: type[Running]) -> Callable[[_Parser], None]:
    """Return what adds the options of a kind of run."""

    def options(parser: _Parser) -> None:
        parser.add_argument("--config", action="config", help="a YAML file of these options")
        parser.add_class_arguments(kind, skip={"overwrite", "resume", "quiet"})
        parser.add_argument("--overwrite", action="store_true", help="replace the run in --out")
        parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
        parser.add_argument("--quiet", action="store_true", help="print nothing")
        _json_option(parser)

    return options


def _report_options(parser: _Parser) -> None:
    parser.add_argument("folder", type=str, help="a run")
    _json_option(parser)


def _evaluate_options(parser: _Parser) -> None:
    _folder_option(parser)
    for name, text in {
        "path": "a file; else the run's own: its held-out text, its test file or its dev file",
        "encoding": "of that file; utf-8 if the run had no other",
        "separator": "between documents, for a language model",
        "field": "of a .jsonl's lines, for a language model",
        "column": "of the tags, for a tagger",
        "unknown": "what stands for a tag that is not known, for a tagger",
        "words": "their column, for a tagger",
        "text": "the column of the texts, for a classifier",
        "label": "that of the classes, for a classifier",
        "conversation": "what tells conversations apart, for a classifier of their texts",
    }.items():
        parser.add_argument(f"--data.{name}", type=str | None, default=None, help=text)
    parser.add_argument(
        "--cache.size", type=int, default=0, help="tokens of a neural cache beside a language model"
    )
    parser.add_argument("--cache.weight", type=float, default=0.1, help="of the cache, 0 to 1")
    parser.add_argument(
        "--cache.sharpness", type=float, default=0.05, help="how much likeness counts in it"
    )
    parser.add_argument(
        "--ngrams", type=int, default=0, help="order of n-grams to compare a language model with"
    )
    parser.add_argument(
        "--html", type=str | None, default=None, help="a page to write, for what labels"
    )
    _beside_option(parser)
    _json_option(parser)


def _predict_options(parser: _Parser) -> None:
    _folder_option(parser)
    _beside_option(parser)
    parser.add_argument(
        "file",
        type=str,
        nargs="?",
        default="-",
        help="sentences or texts; - is standard input, one a line",
    )
    parser.add_argument("--data.encoding", type=str | None, default=None, help="of that file")
    parser.add_argument("--data.words", type=str | None, default=None, help="of a tagger's file")
    parser.add_argument("--data.text", type=str | None, default=None, help="of a classifier's file")
    parser.add_argument(
        "--data.conversation", type=str | None, default=None, help="of a file of conversations"
    )
    parser.add_argument("--confidence", action="store_true", help="show how sure each label is")
    parser.add_argument(
        "--stream", action="store_true", help="tag standard input word by word, as it arrives"
    )
    parser.add_argument("--lag", type=int, default=1, help="words a CRF waits for in a stream")
    _json_option(parser)


def _generate_options(parser: _Parser) -> None:
    _folder_option(parser)
    parser.add_argument("--prompt", type=str, default="", help="what the text begins with")
    parser.add_argument("--max_tokens", type=int, default=1000, help="tokens at most")
    parser.add_argument("--temperature", type=float, default=0.8, help="0 takes the likeliest")
    parser.add_argument("--top_k", type=int, default=0, help="of the k likeliest; 0: of all")
    parser.add_argument("--top_p", type=float, default=1.0, help="of the likeliest this share")
    parser.add_argument("--repetition_penalty", type=float, default=1.0, help="1 is none")
    parser.add_argument("--penalty_window", type=int, default=64, help="tokens it looks back")
    parser.add_argument("--stop", action="append", default=[], help="a string that ends the text")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same text")
    parser.add_argument("--load_state", type=str | None, default=None, help="go on from this file")
    parser.add_argument("--save_state", type=str | None, default=None, help="keep the end here")
    parser.add_argument(
        "--prompts", type=str | None, default=None, help="a folder that remembers prompts read"
    )
    parser.add_argument(
        "--int8", action="store_true", help="round weights to eight bits: faster, nearly the same"
    )


def _card_options(parser: _Parser) -> None:
    parser.add_argument(
        "name", type=str, help='a mixer, or one with options: "{name: gla, heads: 2}"'
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="of training on each task")
    parser.add_argument("--steps", type=int | None, default=None, help="in place of seconds")
    parser.add_argument("--dim", type=int, default=64, help="features the mixer reads")
    parser.add_argument("--depth", type=int, default=2, help="layers that learn the tasks")
    parser.add_argument("--learning_rate", type=float, default=3e-3, help="the highest")
    parser.add_argument("--seed", type=int, default=0, help="of weights and examples")
    _json_option(parser)


def _reproduce_options(parser: _Parser) -> None:
    parser.add_argument("name", type=str, help="a paper file, as `statewise literature` lists it")
    parser.add_argument("--seed", type=int, default=0, help="the first")
    parser.add_argument("--seeds", type=int, default=3, help="how many, one after another")
    parser.add_argument(
        "--budget",
        type=Literal["smoke", "claim", "full"],
        default="claim",
        help="seconds without a verdict, what the claim is about, or four times that",
    )
    parser.add_argument("--record", action="store_true", help="keep the verdict with the project")
    parser.add_argument("--out", type=str, default="runs/literature", help="for JSON and picture")
    _json_option(parser)


def _literature_options(parser: _Parser) -> None:
    parser.add_argument("--family", type=str | None, default=None, help="only this one's papers")
    _json_option(parser)


def _folder_option(parser: _Parser) -> None:
    parser.add_argument("folder", type=str, help="a run, or a folder a model was saved to")


def _beside_option(parser: _Parser) -> None:
    parser.add_argument(
        "--beside", action="append", default=[], help="another model that labels, asked with it"
    )


def _json_option(parser: _Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for a program")


def _demo(chosen: Namespace) -> None:
    from statewise import demo

    trained = demo.run(seconds=chosen.seconds, out=chosen.out)
    if trained.outcome.signal is not None:
        _say_stopped(trained, "lm")
        sys.exit(128 + trained.outcome.signal)


def _train_lm(chosen: Namespace) -> None:
    from statewise.training.language import train_language_model

    options = chosen.as_dict()
    as_json = options.pop("json")
    options.pop("config")
    config = LanguageRun(**options)
    trained = train_language_model(config)
    outcome = trained.outcome
    if outcome.signal is not None:
        if trained.main:
            _say_stopped(trained, "lm")
        sys.exit(128 + outcome.signal)
    if not trained.main:
        return
    if as_json:
        result = {"bits_per_byte": trained.bits_per_byte, "folder": config.out}
        print(json.dumps({**result, "steps": outcome.steps, "seconds": outcome.seconds}))
        return
    if config.quiet:
        return
    rate = outcome.tokens / outcome.seconds
    print(f"{trained.bits_per_byte:.4f} bits per byte on the held-out text")
    print(f"trained for {outcome.steps} steps, {outcome.seconds:.0f} s, {rate:,.0f} tokens/s")
    if trained.report is not None:
        print(f"curves and all figures: {trained.report}")
    print(f'saved in {config.out}; next: statewise generate {config.out} --prompt "..."')


def _report(chosen: Namespace) -> None:
    from statewise.training.report import write_report

    loss, report = write_report(chosen.folder)
    if chosen.json:
        print(json.dumps({"loss": str(loss), "report": str(report)}))
        return
    print(f"{report}   all of it, for a browser; the one file can be sent")
    print(f"{loss}   the curve alone")


def _say_stopped(trained: "Trained | labels.Trained[Any]", what: str) -> None:
    print(
        f"statewise: stopped after {trained.outcome.steps} steps, all of them saved; to go on: "
        f"statewise train {what} --config {trained.folder}/config.yaml --resume",
        file=sys.stderr,
    )


def _train_tagger(chosen: Namespace) -> None:
    from statewise.training.tagger import train_tagger

    _train_labels("tagger", chosen, TaggerRun, train_tagger)


def _train_classifier(chosen: Namespace) -> None:
    from statewise.training.classifier import train_classifier

    _train_labels("classifier", chosen, ClassifierRun, train_classifier)


def _train_labels(
    what: str,
    chosen: Namespace,
    kind: type[LabelRun],
    train: Callable[[Any], "labels.Trained[Any]"],
) -> None:
    options = chosen.as_dict()
    as_json = options.pop("json")
    options.pop("config")
    config = kind(**options)
    trained = train(config)
    outcome = trained.outcome
    if outcome.signal is not None:
        _say_stopped(trained, what)
        sys.exit(128 + outcome.signal)
    if as_json:
        result = {"folder": config.out, "steps": outcome.steps, "seconds": outcome.seconds}
        scores = {name: value for name, (_, value) in trained.scores.items()}
        print(json.dumps({**scores, **result}))
        return
    if config.quiet:
        return
    for name, (report, value) in trained.scores.items():
        print(f"{report}\n{name.replace('_', ' ')} {100 * value:.2f}\n")
    rate = outcome.tokens / outcome.seconds
    print(f"trained for {outcome.steps} steps, {outcome.seconds:.0f} s, {rate:,.0f} words/s")
    print(f"saved in {config.out}; next: statewise predict {config.out}")


def _predict(chosen: Namespace) -> None:
    from statewise.training import labelled

    model = labelled.load_together([chosen.folder, *chosen.beside])
    if chosen.stream:
        others = {"confidence": chosen.confidence, "json": chosen.json, "file": chosen.file != "-"}
        for name in (name for name, given in others.items() if given):
            raise ValueError(f"--stream reads standard input and prints words and tags: no {name}")
        for line in labelled.lines_as_they_arrive(model, _arriving(), lag=chosen.lag):
            print(line, flush=True)
        return
    lines = labelled.lines_of(
        model,
        chosen.file,
        labelled.Asked(**chosen.data.as_dict()),
        confidence=chosen.confidence,
        as_json=chosen.json,
    )
    for line in lines:
        print(line, flush=sys.stdin.isatty())


def _arriving() -> Iterator[str]:
    """Yield standard input in pieces, each as soon as it is there."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    while piece := os.read(sys.stdin.fileno(), 65536):
        try:
            text = decoder.decode(piece)
        except UnicodeDecodeError as error:
            raise ValueError(f"standard input is no UTF-8: {error.reason}") from None
        yield text


def _evaluate(chosen: Namespace) -> None:
    from statewise.models.language_model import KIND
    from statewise.models.pretrained import kind_of
    from statewise.training.labelled import Asked
    from statewise.training.runs import checkpoint

    kind = kind_of(checkpoint(chosen.folder))
    given = {name: value for name, value in chosen.data.as_dict().items() if value is not None}
    known = Data.model_fields if kind == KIND else ("path", *Asked._fields)
    others = [f"data.{name}" for name in given if name not in known]
    beside = {"cache.size": chosen.cache.size, "ngrams": chosen.ngrams}
    if kind == KIND:
        beside = {"html": chosen.html, "beside": chosen.beside}
    others += [name for name, value in beside.items() if value]
    if others:
        raise ValueError(f"--{others[0]} is not for a {kind.replace('_', ' ')}")
    if kind == KIND:
        _evaluate_language(chosen, given)
    else:
        _evaluate_labels(chosen, given)


def _evaluate_labels(chosen: Namespace, given: dict[str, str]) -> None:
    from statewise.training import labelled
    from statewise.training.label_report import write_label_report

    path = given.pop("path", None)
    found = labelled.evaluate(chosen.folder, path, labelled.Asked(**given), chosen.beside)
    for note in dict.fromkeys(note for head in found for note in head.notes):
        print(f"statewise: {note}", file=sys.stderr)
    if chosen.html is not None:
        print(f"statewise: wrote {write_label_report(found, chosen.html)}", file=sys.stderr)
    print(json.dumps(labelled.as_data(found)) if chosen.json else "\n\n".join(map(str, found)))


def _evaluate_language(chosen: Namespace, given: dict[str, str]) -> None:
    from statewise.models.language_model import LanguageModel
    from statewise.models.neural_cache import NeuralCache
    from statewise.tasks.documents import split
    from statewise.training.language import evaluate_language_model, ngram_bits, read
    from statewise.training.runs import checkpoint, stored_configuration

    model = LanguageModel.from_pretrained(checkpoint(chosen.folder))
    cached = NeuralCache(model, **chosen.cache.as_dict()) if chosen.cache.size else model
    kept = None
    if "path" not in given or chosen.ngrams:
        kept = stored_configuration(chosen.folder, LanguageRun)
        if kept is None:
            why = "--ngrams needs its text" if "path" in given else "name a text with --data.path"
            raise ValueError(f"{chosen.folder} is no run: {why}")
    seen, texts = split(read(kept.data), kept.data.held_out) if kept else ([], [])
    if "path" in given:
        texts = read(Data.model_validate(given))
    bits = evaluate_language_model(cached, texts)
    size = sum(len(text.encode()) for text in texts)
    found: dict[str, float] = {"bits_per_byte": bits, "bytes": size}
    if chosen.ngrams:
        found["ngram_bits_per_byte"] = ngram_bits(model, seen, texts, order=chosen.ngrams)
    if chosen.json:
        print(json.dumps(found))
        return
    print(f"{bits:.4f} bits per byte over {size:,} bytes")
    if chosen.ngrams:
        what = f"n-grams up to {chosen.ngrams}, of the text it was trained on"
        print(f"{found['ngram_bits_per_byte']:.4f} by {what}")


def _generate(chosen: Namespace) -> None:
    from statewise import state
    from statewise.models.language_model import LanguageModel
    from statewise.models.prefix_cache import PrefixCache
    from statewise.training.memory import keep_memory
    from statewise.training.runs import checkpoint

    options = chosen.as_dict()
    folder, before, after = (options.pop(k) for k in ("folder", "load_state", "save_state"))
    prompt, prompts = options.pop("prompt"), options.pop("prompts")
    keep_memory()
    weights = "int8" if options.pop("int8") else "saved"
    model = LanguageModel.from_pretrained(checkpoint(folder), weights=weights)
    if prompts is not None:
        options["prefixes"] = PrefixCache(model, prompts)
    if before is not None:
        # Without a penalty window its axis is empty, which leaves the file's own length free.
        example = model.generate(penalty_window=0).state
        options["state"] = state.load(before, model=model, like=example)
    # The command line hands over bytes that are no text as surrogates: give the bytes back.
    generation = model.generate(os.fsencode(prompt), **options)
    if before is None:
        print(prompt, end="", flush=True)
    for piece in generation:
        print(piece, end="", flush=True)
    print()
    if after is not None:
        state.save(after, generation.state, model=model)


def _list(chosen: Namespace) -> None:
    heads = statewise.mixers.heads()
    if chosen.json:
        print(json.dumps([head._asdict() for head in heads], indent=2))
        return
    for head in heads:
        print(f"{head.name:20} {head.sentence}")
        rest = (
            head.paper,
            f"{head.family.capitalize()}, computed by: {head.forms}",
            f"State: {head.state}",
            f"Cost: {head.cost}",
        )
        print("\n".join(f"{'':20} {line}" for line in rest), end="\n\n")


def _card(chosen: Namespace) -> None:
    from statewise import analysis

    options = chosen.as_dict()
    as_json, name = options.pop("json"), options.pop("name")
    card = analysis.card(_mixer(name), **options)
    if as_json:
        print(json.dumps(analysis.as_data(card), indent=2))
        return
    print(analysis.describe(card))


def _reproduce(chosen: Namespace) -> None:
    from statewise import literature
    from statewise.literature import drawing
    from statewise.literature.paper import Budget
    from statewise.literature.reproduce import describe

    if chosen.seeds < 1:
        raise ValueError(f"--seeds {chosen.seeds}: one at least")
    run = literature.reproduce(
        chosen.name,
        seeds=range(chosen.seed, chosen.seed + chosen.seeds),
        budget=Budget(chosen.budget),
        record=chosen.record,
        quiet=chosen.json,
    )
    data = json.dumps(run.as_data(), indent=2)
    print(data if chosen.json else describe(run))
    title = f"{run.name}: {run.verdict or 'no verdict'}"
    folder = Path(chosen.out)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{run.name}.json").write_text(data + "\n", encoding="utf-8")
    try:
        (folder / f"{run.name}.png").write_bytes(drawing.picture(run.tables, title))
    except ImportError as why:
        print(f"statewise: no picture: {why}", file=sys.stderr)
    else:
        print(f"\n{folder / run.name}.json and .png", file=sys.stderr)


def _literature(chosen: Namespace) -> None:
    from statewise import literature

    entries = literature.entries()
    families = sorted({entry.family for entry in entries})
    if chosen.family is not None:
        if chosen.family not in families:
            raise ValueError(f"--family {chosen.family}: {_suggest(chosen.family, families)[2:]}")
        entries = [entry for entry in entries if entry.family == chosen.family]
    if chosen.json:
        print(json.dumps([asdict(entry) for entry in entries], indent=2, ensure_ascii=False))
        return
    for entry in entries:
        stands = entry.verdict or ("not run" if entry.file else "")
        print(
            f"{entry.number:4} {entry.name:60.60} {entry.family:24} {entry.file or '':22} {stands}"
        )
    here = [entry for entry in entries if entry.file]
    ran = sum(entry.verdict is not None for entry in here)
    print(f"\n{len(entries)} papers, {len(here)} with a file, {ran} with a verdict")


def _mixer(text: str) -> str | dict[str, Any]:
    """Return the mixer that a word, or YAML in braces, names."""
    if not text.startswith("{"):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{text}: this is not YAML ({' '.join(str(error).split())})") from None


def _doctor(chosen: Namespace) -> None:
    from statewise import doctor

    report = doctor.examine()
    print(json.dumps(report, indent=2) if chosen.json else doctor.describe(report))


COMMANDS = {
    "demo": Command("two minutes from nothing to streamed text", _demo_options, _demo),
    "train lm": Command(
        "train a language model on a text file", _train_options(LanguageRun), _train_lm
    ),
    "train tagger": Command(
        "train a tagger on sentences with tags", _train_options(TaggerRun), _train_tagger
    ),
    "train classifier": Command(
        "train a classifier on texts", _train_options(ClassifierRun), _train_classifier
    ),
    "predict": Command("label sentences or texts", _predict_options, _predict),
    "report": Command("draw a training's curves, and a page about it", _report_options, _report),
    "evaluate": Command("how well a model does on a file", _evaluate_options, _evaluate),
    "generate": Command("stream text from a model", _generate_options, _generate),
    "list": Command("the mixers there are", _json_option, _list),
    "card": Command("what a mixer costs, and which small tasks it solves", _card_options, _card),
    "reproduce": Command("run a paper's claim", _reproduce_options, _reproduce),
    "literature": Command("all papers, and where each stands", _literature_options, _literature),
    "doctor": Command("what this machine has, and what runs where", _json_option, _doctor),
}


def _suggest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"


def _fail(text: str) -> NoReturn:
    print(f"statewise: {text}", file=sys.stderr)
    sys.exit(2)
