"""The report of a run, for someone who never saw it: report.html, which needs nothing else."""

import json
import math
import re
import shlex
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from statewise.training import curves
from statewise.training.curves import Points
from statewise.training.page import Markup, document, facts, figure, replace, table, tag


class Task(NamedTuple):
    """What the runs of a task call their figures, and what a stranger is told of these.

    Args:
        sentence: what was trained on what, with the names of facts in braces.
        loss: the field of metrics.jsonl with the loss of a step, and its unit.
        score: the field with the score on held-out data while training, and its unit.
        end: the field with the score on all held-out data, at the end.
        best: `min` or `max`, of scores.
        one_scale: whether loss and score are the same quantity under this configuration.
        meaning: of the score, in a sentence.
        facts: a name, the option it is read from, and what that is.
        then: what to type next, and what it does.
    """

    sentence: str
    loss: tuple[str, str]
    score: tuple[str, str]
    end: str
    best: Callable[..., Any]
    one_scale: Callable[[dict[str, Any]], bool]
    meaning: str
    facts: tuple[tuple[str, str, str], ...]
    then: tuple[tuple[str, str], ...]


def _labels(
    what: str,
    target: str,
    score: tuple[str, str],
    meaning: str,
    facts: tuple[tuple[str, str, str], ...],
) -> Task:
    """Return what is told of a model that labels."""
    return Task(
        sentence=f"A {what} that reads with {{mixer}} layers, trained on {{examples}}",
        loss=(f"bits_per_{target}", f"bits per {target}"),
        score=score,
        end=f"held_out_{score[0]}",
        best=max,
        one_scale=lambda config: False,
        meaning=meaning,
        facts=(
            ("mixer", "model.mixer", "the kind of layer that reads the sentence"),
            ("examples", "data.train", "the file that it learned from"),
            ("held out", "data.dev", "the file that says which checkpoint is best"),
            *facts,
            ("batch", "batch", "sentences read in a step"),
        ),
        then=(
            ("statewise predict {run} FILE", "label sentences of yours"),
            ("statewise evaluate {run} --data.path FILE", "score it on a file of yours"),
        ),
    )


TASKS = (
    Task(
        sentence="A {size} language model with {mixer} layers, trained to continue {text}",
        loss=("loss_bits", "bits per token"),
        score=("bits_per_byte", "bits per byte"),
        end="held_out_bits_per_byte",
        best=min,
        one_scale=lambda config: _at(config, "data.tokenizer") is None,  # tokens are bytes
        meaning="Bits per byte: how much room a byte of text that it never saw would take if the "
        "model compressed it. A model that knows nothing needs 8; lower is better.",
        facts=(
            ("mixer", "mixer", "the kind of layer that carries the memory along the sequence"),
            ("size", "preset", "a preset, which `model` in the configuration below may change"),
            ("text", "data.path", "what it learned to continue; its end is held out"),
            ("held out", "data.held_out", "the share of the text that was never trained on"),
            ("tokens", "data.tokenizer", "the tokenizer that cuts the text into them"),
            ("streams", "streams", "places of the text read side by side in a step"),
            ("context", "context", "tokens that each stream reads in a step"),
        ),
        then=(
            ('statewise generate {run} --prompt "Once"', "let the model write on from a prompt"),
            ("statewise evaluate {run} --data.path FILE", "score it on a text of yours"),
        ),
    ),
    _labels(
        "tagger",
        "word",
        ("accuracy", "accuracy"),
        "Accuracy: the share of words whose tag is right; higher is better.",
        (("tags", "data.column", "the column of the tags"),),
    ),
    _labels(
        "tagger",
        "word",
        ("f1", "F1"),
        "F1: the mean of the share of spans that it found and the share of those it named that are "
        "right, start, end and type; higher is better.",
        (("tags", "data.column", "the column of the tags"),),
    ),
    _labels(
        "tagger with several heads",
        "label",
        ("score", "score"),
        "Score: the mean of those of the heads, each an F1 or an accuracy; higher is better.",
        (("tags", "data.column", "the columns of the tags"),),
    ),
    _labels(
        "classifier",
        "text",
        ("accuracy", "accuracy"),
        "Accuracy: the share of texts whose class is right; higher is better.",
        (("classes", "data.label", "the column of the classes"),),
    ),
)
"""Every task whose runs can be reported; a run's is the one whose loss and score it recorded."""

NUMBERS = ("step", "seconds", "tokens", "learning_rate", "gradient_norm", "tokens_per_second")

STEPS = "step (one update of the weights)"

LOG_LINES, EVENT_LINES = 20, 50
"""How many of the last are shown."""


class History(NamedTuple):
    """What metrics.jsonl says that was not undone by a later resumption."""

    task: Task
    lines: list[dict[str, Any]]
    events: list[dict[str, Any]]

    def points(self, x: str, y: str) -> Points:
        """Return the measurements of `y`, where `x` was recorded too."""
        return Points.of(
            (n[x], n[y]) for n in self.lines if n.get(x) is not None and n.get(y) is not None
        )

    def last(self, name: str) -> float | None:
        """Return the last finite value under a name."""
        found = (n[name] for n in reversed(self.lines) if n.get(name) is not None)
        return next((value for value in found if math.isfinite(value)), None)


def write_report(folder: str | Path) -> tuple[Path, Path]:
    """Write loss.png and report.html into the folder of a run; return where they are.

    Raises:
        FileNotFoundError: if there is no run.
        ValueError: if a file of the run is damaged, or nothing was measured yet.
        ImportError: if matplotlib is missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    if not (folder / "config.yaml").exists():
        raise FileNotFoundError(f"{folder}: this is no run, for it has no config.yaml")
    config_text, config = _read_config(folder / "config.yaml")
    history = _read_history(folder)
    log = folder / "train.log"
    log_text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""

    loss, caption = _loss(history, config, _title(folder, config, history.task))
    figures = [
        figure("Loss and score", loss, caption),
        *_learning_rate(history),
        *_gradient(history, config),
        *_throughput(history),
    ]
    page = _page(folder, config, config_text, log_text, history, figures)
    # All is made before anything is written, so that a failure leaves the report before whole.
    replace(folder / "loss.png", loss)
    replace(folder / "report.html", page.encode("utf-8", "replace"))
    return folder / "loss.png", folder / "report.html"


def _read_config(path: Path) -> tuple[str, dict[str, Any]]:
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError:
        config = None
    if not isinstance(config, dict):
        raise ValueError(f"{path}: this is not the YAML of a configuration")
    return text, config


def _read_history(folder: Path) -> History:
    path = folder / "metrics.jsonl"
    *whole, rest = path.read_bytes().split(b"\n") if path.exists() else [b""]
    found = [_read_line(line, f"{path}:{number}") for number, line in enumerate(whole, 1)]
    with suppress(ValueError):  # a line without its end: what wrote it was cut off, or is writing
        found += [_read_line(rest, "")] if rest else []
    lines: list[dict[str, Any]] = []
    for line in found:
        if line.get("event") == "resumed":
            # It went on from a checkpoint: what was measured after that one is measured again.
            ends = {task.end for task in TASKS}
            step = line.get("step") or 0
            lines = [n for n in lines if (n.get("step") or 0) <= step and not ends & set(n)]
        elif "event" not in line:
            lines.append(line)
    measured = {name for line in lines for name in line if line[name] is not None}
    task = max(TASKS, key=lambda task: len(measured & {task.loss[0], task.score[0]}))
    if measured & {task.loss[0], task.score[0]}:
        return History(task, lines, [line for line in found if "event" in line])
    raise ValueError(f"{folder}: nothing was measured in this run yet; come back in some steps")


def _read_line(line: bytes, where: str) -> dict[str, Any]:
    numbers = {*NUMBERS, *(n for t in TASKS for n in (t.loss[0], t.score[0], t.end))}
    try:
        values = json.loads(line)
        if not isinstance(values, dict):
            raise TypeError
        for name in numbers & set(values):
            if values[name] is not None:  # null: not measured
                values[name] += 0.0  # what is no number cannot, nor what is too long for a float
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"{where}: the line is damaged") from None
    return values


# The pictures, each with what one sees and what would be alarming.


def _loss(history: History, config: dict[str, Any], title: str) -> tuple[bytes, str]:
    task, one_scale = history.task, history.task.one_scale(config)
    loss = history.points("step", task.loss[0])
    scores = history.points("step", task.score[0])
    drawings, says, top = [], [], None
    if len(loss.x):
        mean, window = curves.smooth(loss)
        top = max(curves.settled(loss), *(scores.y.tolist() if one_scale else []), -math.inf)
        drawings.append(curves.noisy(loss, "training loss, smoothed", task.loss[1]))
        says.append(
            f"Each pale dot is the loss of one training step, in {task.loss[1]}; the line is the "
            f"mean of {window} neighbouring dots and ends at {mean.y[-1]:.3f}."
        )
        if above := int((loss.y > top).sum()):
            says.append(f"The picture leaves out {above} early ones, up to {loss.y.max():.2f}.")
    if len(scores.x):
        best = scores.y.tolist().index(task.best(scores.y.tolist()))
        drawings.append(curves.marked(scores, best, "score on held-out data", task.score[1]))
        says.append(
            f"Each diamond is the score on data that it never trains on, in {task.score[1]}"
            + (", on the same scale." if one_scale and len(loss.x) else ".")
        )
    if one_scale or not drawings:
        drawings = [curves.together(*drawings)]
    if top is not None:
        drawings[0] = curves.together(drawings[0], curves.below(top))
    drawings[0] = curves.together(drawings[0], curves.moments(_moments(history)))
    if lost := sum(not math.isfinite(n.get(task.loss[0]) or 0) for n in history.lines):
        says.append(f"Losses that were not finite, and so are not drawn: {lost:,}.")
    says.append(
        "Alarming: diamonds that get worse while the line gets better (the model learns its data "
        "by heart), a line that jumps and does not come back, or one as high at its end as early."
    )
    return curves.picture(drawings, STEPS, title), " ".join(says)


def _gradient(history: History, config: dict[str, Any]) -> "Iterable[Markup]":
    points, clip = history.points("step", "gradient_norm"), _at(config, "optimizer.clip")
    if not len(points.x):
        return
    drawings = [curves.plain(points, "norm of the gradient", from_zero=False)]
    says = "How strongly each step's data pulled at the weights. "
    if isinstance(clip, int | float):
        drawings.append(curves.level(clip, f"clipped to {clip:g}"))
        share = (points.y > clip).mean()
        says += (
            f"Gradients above the dashed line are shortened to it: {share:.0%} of those measured. "
        )
    says += (
        "Alarming: a climb that does not end, spikes ten times as high as their surroundings, or "
        "a fall to almost nothing while the loss is still high."
    )
    drawings.append(curves.moments(_moments(history)))
    png = curves.picture([curves.together(*drawings)], STEPS)
    yield figure("Gradient norm", png, says)


def _learning_rate(history: History) -> "Iterable[Markup]":
    points = history.points("step", "learning_rate")
    if len(points.x):
        png = curves.picture([curves.plain(points, "learning rate")], STEPS)
        says = (
            "How far a step moves the weights, as planned: it warms up, then falls to the end. A "
            "run of limited time follows the clock, so that slow stretches bend the curve. "
            "Alarming: a rise after the warm-up, unless the run was resumed there."
        )
        yield figure("Learning rate", png, says)


def _throughput(history: History) -> "Iterable[Markup]":
    points = history.points("seconds", "tokens_per_second")
    if len(points.x):
        unit, length = next(
            (name, n)
            for name, n in (("hours", 3600), ("minutes", 60), ("seconds", 1))
            if points.x[-1] > 3 * n or n == 1
        )
        points = Points(points.x / length, points.y)
        png = curves.picture([curves.plain(points, "tokens per second")], f"time ({unit})")
        says = (
            f"How fast the data was read; half of the time faster than {np.median(points.y):,.0f} "
            "tokens a second. Dips are evaluations, or other work on the machine. Alarming: a "
            "steady fall (memory that fills, a processor that heats up), or a drop that stays."
        )
        yield figure("Throughput", png, says)


def _moments(history: History) -> list[tuple[str, float]]:
    return [(str(n["event"]), n["step"]) for n in history.events if n.get("step") is not None]


# The page.


def _page(
    folder: Path,
    config: dict[str, Any],
    config_text: str,
    log_text: str,
    history: History,
    figures: list[Markup],
) -> str:
    task = history.task
    known = [
        (name, _say(_at(config, option)), gloss)
        for name, option, gloss in task.facts
        if _at(config, option) is not None
    ]
    if counted := re.search(r"\b(\d{1,15}) parameters", log_text):
        known.append(("parameters", f"{int(counted[1]):,}", "numbers that training adjusts"))
    run = shlex.quote(str(folder))
    then = [f"{command.format(run=run)}   # {what}" for command, what in task.then]
    body = [
        tag("h1", f"A training run: {folder.resolve().name}"),
        tag("p", _lead(history, config), " ", task.meaning),
        tag("h2", "What was trained"),
        facts(known),
        tag("h2", "How it went"),
        facts(_ending(history, config)),
        tag("h2", "Curves"),
        *figures,
        tag("h2", "Events"),
        *_events(history.events),
        tag("h2", "What to type next"),
        tag("pre", "\n".join(then)),
        tag("h2", "The last lines of train.log"),
        tag("pre", "\n".join(log_text.splitlines()[-LOG_LINES:]) or "There are none."),
        tag("h2", "The configuration, config.yaml"),
        tag("pre", config_text),
    ]
    return document(f"Training run {folder.resolve().name}", *body)


def _lead(history: History, config: dict[str, Any]) -> str:
    task, score = history.task, history.last(history.task.end)
    known = {name: _say(_at(config, option)) or "unknown" for name, option, _ in task.facts}
    what = task.sentence.format_map(known) + "."
    if score is not None:
        return f"{what} On all of the held-out data it reached {score:.4f} {task.score[1]}."
    scores = history.points("step", task.score[0]).y.tolist()
    if scores:
        return f"{what} Its best score so far is {task.best(scores):.4f} {task.score[1]}."
    return f"{what} It has not been scored on held-out data yet."


def _ending(history: History, config: dict[str, Any]) -> list[tuple[str, str, str]]:
    task = history.task
    scores = history.points("step", task.score[0])
    steps, seconds, tokens, end = map(history.last, ("step", "seconds", "tokens", task.end))
    rows = [("state", _how_it_ended(history), "")]
    rows += [("steps", f"{steps:,.0f}", "updates of the weights")] if steps is not None else []
    if seconds is not None:
        hours = f" ({seconds / 3600:,.1f} hours)" if seconds > 3600 else ""
        rows.append(("time", f"{seconds:,.1f} s{hours}", "evaluations included"))
    if tokens is not None:
        rows.append(("tokens", f"{tokens:,.0f}", "read while training, repetitions counted"))
        if seconds:
            rows.append(("speed", f"{tokens / seconds:,.0f} tokens a second", "over the whole run"))
    if len(scores.y):
        best = task.best(scores.y.tolist())
        at = scores.x[scores.y.tolist().index(best)]
        part = _at(config, "evaluation.tokens")
        gloss = f"on the first {part:,} tokens held out" if isinstance(part, int) else ""
        rows.append(("best score", f"{best:.4f} {task.score[1]}, at step {at:,.0f}", gloss))
        rows.append(("last score", f"{scores.y[-1]:.4f} {task.score[1]}", gloss))
    if end is not None:
        gloss = "the best checkpoint, on all that was held out: the figure to quote"
        rows.append(("final score", f"{end:.4f} {task.score[1]}", gloss))
    return rows


def _how_it_ended(history: History) -> str:
    for event in reversed(history.events):
        if event["event"] == "resumed":
            break
        if event["event"] in ("interrupted", "stopped early"):
            return f"{event['event']}: {event.get('why') or 'no reason was recorded'}"
    if history.last(history.task.end) is not None:
        return "ran to its end"
    return "no end is recorded: it is still running, or was cut off"


def _events(events: list[dict[str, Any]]) -> list[str]:
    if not events:
        quiet = "None: no step was skipped, and nothing interrupted the run."
        return [tag("p.quiet", quiet)]
    kinds = [str(event["event"]) for event in events]
    counts = ", ".join(f"{kind} {kinds.count(kind):,}" for kind in dict.fromkeys(kinds))
    shown = events[-EVENT_LINES:]
    if len(shown) < len(events):
        counts += f", of which these are the last {len(shown)}"
    names = ("step", "seconds", "event", "why")
    rows = [[_say(event.get(name)) for name in names] for event in shown]
    counts += "."
    if "skipped" in kinds:
        counts += (
            " A skipped step changed nothing, because its gradient was not finite: a few are "
            "harmless, many ask for a lower learning rate."
        )
    return [tag("p", counts), table(("step", "seconds", "what", "why"), rows)]


def _title(folder: Path, config: dict[str, Any], task: Task) -> str:
    chosen = [_say(_at(config, option)) for _, option, _ in task.facts[:2]]
    return ": ".join([folder.resolve().name, ", ".join(chosen)])


def _at(config: Any, option: str) -> Any:
    """Return what stands under a dotted name; None if nothing does."""
    for name in option.split("."):
        config = config.get(name) if isinstance(config, dict) else None
    return config


def _say(value: Any) -> str:
    """Return a value of a file as a person would write it."""
    if value is None:
        return ""
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:,.0f}" if value.is_integer() else f"{value:,}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(map(_say, value))
    if isinstance(value, dict):
        options = [f"{name} {_say(given)}" for name, given in value.items() if name != "name"]
        return f"{_say(value.get('name'))} ({', '.join(options)})"
    return str(value)
