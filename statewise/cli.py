"""The command line: demo, train, evaluate, generate, list, doctor."""

import difflib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace
from pydantic import ValidationError

import statewise
from statewise.training.configuration import LanguageRun


class _Parser(ArgumentParser):
    """A parser whose errors are one sentence, and which guesses what a misspelt word meant."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        lines = [line.strip() for line in str(message).splitlines() if line.strip()]
        text = " ".join(lines)
        if text.startswith("unrecognized arguments:"):
            word = text.removeprefix("unrecognized arguments:").split()[0].split("=")[0]
            text = f"there is no option {word}" + _suggest(word, self._options())
        _fail(text)

    def _options(self) -> list[str]:
        found: list[str] = []
        parsers: list[Any] = [self]
        while parsers:
            for action in parsers.pop()._actions:
                found += action.option_strings
                if isinstance(action.choices, dict):
                    parsers += [action.choices[name] for name in action.choices if name in sys.argv]
        return [option for option in found if option.startswith("--")]


def main(arguments: list[str] | None = None) -> None:
    """Run `statewise` with these arguments, by default the command line's."""
    given = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    if not given:
        parser.print_help()
        return
    try:
        config = parser.parse_args(given)
        name = config.command
        chosen = config[name]
        if name == "train":
            name, chosen = f"train_{chosen.task}", chosen[chosen.task]
        _COMMANDS[name](chosen)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        _fail(f"{where}: {first['msg']}" if where else first["msg"].removeprefix("Value error, "))
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


def _parser() -> _Parser:
    parser = _Parser(prog="statewise", description=statewise.__doc__)
    parser.add_argument("--version", action="version", version=statewise.__version__)
    commands = parser.add_subcommands(required=True, dest="command")

    demo = _Parser(description="Train a small language model in two minutes and stream from it.")
    demo.add_argument("--seconds", type=float, default=120.0, help="of training")
    demo.add_argument("--out", type=str, default="runs/demo", help="folder of the run")
    commands.add_subcommand("demo", demo, help="two minutes from nothing to streamed text")

    train = _Parser(description="Train a model.")
    commands.add_subcommand("train", train, help="train a model")
    tasks = train.add_subcommands(required=True, dest="task")
    language = _Parser(description="Train a language model on a text file.")
    language.add_argument("--config", action="config", help="a YAML file of these options")
    language.add_class_arguments(LanguageRun, skip={"overwrite", "quiet"})
    language.add_argument("--overwrite", action="store_true", help="replace the run in --out")
    language.add_argument("--quiet", action="store_true", help="say nothing but the result")
    _add_json(language)
    tasks.add_subcommand("lm", language, help="a language model on a text file")

    evaluate = _Parser(description="Print the bits per byte of a text under a trained model.")
    evaluate.add_argument("folder", type=str, help="a run, or a folder a model was saved to")
    evaluate.add_argument(
        "--data.path", type=str | None, default=None, help="a text; default: the run's held-out part"
    )
    evaluate.add_argument("--data.encoding", type=str, default="utf-8", help="of that text")
    _add_json(evaluate)
    commands.add_subcommand("evaluate", evaluate, help="bits per byte of a text")

    generate = _Parser(description="Stream text from a trained model.")
    generate.add_argument("folder", type=str, help="a run, or a folder a model was saved to")
    generate.add_argument("--prompt", type=str, default="", help="what the text begins with")
    generate.add_argument("--max_tokens", type=int, default=1000, help="tokens at most")
    generate.add_argument("--temperature", type=float, default=0.8, help="0 takes the likeliest")
    generate.add_argument("--top_k", type=int, default=0, help="of the k likeliest; 0: of all")
    generate.add_argument("--top_p", type=float, default=1.0, help="of the likeliest this share")
    generate.add_argument("--repetition_penalty", type=float, default=1.0, help="1 is none")
    generate.add_argument("--penalty_window", type=int, default=64, help="tokens it looks back")
    generate.add_argument("--stop", type=list[str], default=[], help="strings that end the text")
    generate.add_argument("--seed", type=int, default=0, help="same seed, same text")
    generate.add_argument("--load_state", type=str | None, default=None, help="go on from this file")
    generate.add_argument("--save_state", type=str | None, default=None, help="keep the end here")
    commands.add_subcommand("generate", generate, help="stream text from a model")

    catalogue = _Parser(description="Print the mixers there are.")
    _add_json(catalogue)
    commands.add_subcommand("list", catalogue, help="the mixers there are")

    doctor = _Parser(description="Print what this machine has and which backend each op uses.")
    _add_json(doctor)
    commands.add_subcommand("doctor", doctor, help="what runs where, and why")
    return parser


def _add_json(parser: _Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for a program")


def _demo(chosen: Namespace) -> None:
    from statewise import demo

    demo.run(seconds=chosen.seconds, out=chosen.out)


def _train_lm(chosen: Namespace) -> None:
    from statewise.training.language import train_language_model

    options = chosen.as_dict()
    as_json = options.pop("json")
    options.pop("config")
    config = LanguageRun(**options)
    trained = train_language_model(config)
    outcome = trained.outcome
    if as_json:
        result = {"bits_per_byte": trained.bits_per_byte, "folder": config.out}
        print(json.dumps({**result, "steps": outcome.steps, "seconds": outcome.seconds}))
        return
    rate = outcome.tokens / outcome.seconds
    print(f"{trained.bits_per_byte:.4f} bits per byte on the held-out text")
    if not config.quiet:
        how = "stopped" if outcome.interrupted else "trained"
        print(f"{how} after {outcome.steps} steps, {outcome.seconds:.0f} s, {rate:,.0f} tokens/s")
        print(f'saved in {config.out}; next: statewise generate {config.out} --prompt "..."')


def _evaluate(chosen: Namespace) -> None:
    import yaml

    from statewise.models.language_model import LanguageModel
    from statewise.tasks.language import read_text, split
    from statewise.training.language import evaluate_language_model
    from statewise.training.runs import checkpoint

    model = LanguageModel.from_pretrained(checkpoint(chosen.folder))
    if chosen.data.path is not None:
        text = read_text(chosen.data.path, chosen.data.encoding)
    else:
        kept = Path(chosen.folder) / "config.yaml"
        if not kept.exists():
            raise ValueError(f"{chosen.folder} is no run: name a text with --data.path")
        data = LanguageRun(**yaml.safe_load(kept.read_text())).data
        text = split(read_text(data.path, data.encoding), data.held_out)[1]
    bits = evaluate_language_model(model, text)
    size = len(text.encode())
    if chosen.json:
        print(json.dumps({"bits_per_byte": bits, "bytes": size}))
    else:
        print(f"{bits:.4f} bits per byte over {size:,} bytes")


def _generate(chosen: Namespace) -> None:
    from statewise import state
    from statewise.models.language_model import LanguageModel
    from statewise.training.runs import checkpoint

    options = chosen.as_dict()
    folder, before, after = (options.pop(k) for k in ("folder", "load_state", "save_state"))
    prompt = options.pop("prompt")
    model = LanguageModel.from_pretrained(checkpoint(folder))
    if before is not None:
        options["state"] = state.load(before, model=model)
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
        print(f"{'':20} {head.paper}")
        print(f"{'':20} State: {head.state}\n")


def _doctor(chosen: Namespace) -> None:
    from statewise import doctor

    report = doctor.examine()
    print(json.dumps(report, indent=2) if chosen.json else doctor.describe(report))


_COMMANDS: dict[str, Callable[[Namespace], None]] = {
    "demo": _demo,
    "train_lm": _train_lm,
    "evaluate": _evaluate,
    "generate": _generate,
    "list": _list,
    "doctor": _doctor,
}


def _suggest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {close[0]}?" if close else "; --help shows those there are"


def _fail(text: str) -> NoReturn:
    print(f"statewise: {text}", file=sys.stderr)
    sys.exit(2)
