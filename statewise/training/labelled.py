"""What a model that labels says, for a reader: files and lines in, labels out, and reports.

They    PRON    0.998          a tagger: words, tags and, if asked for, the confidence in each;
run     VERB    0.971          a blank line after each sentence

card_arrival    0.962    where is my card          a classifier: one line a text
                                                   of conversations, a blank line after each

# intent = music    0.991                          several heads: what is said of the sentence, and
Play    VERB    0.987    O          0.998          for each word the tags of all
jazz    NOUN    0.971    B-genre    0.969    what a head writes stands there as a tag does
"""

import json
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from statewise.models.classifier import ClassifyingModel
from statewise.models.conversation import ConversationModel
from statewise.models.ensemble import Ensemble, Member
from statewise.models.joint_tagger import JointTaggingModel
from statewise.models.labelling import Labelling
from statewise.models.speller import SpellingModel
from statewise.models.spelling import cut, normalize, surface
from statewise.models.tagger import TaggingModel
from statewise.tasks.calibration import Calibration, calibration
from statewise.tasks.classification import conversations, read_texts
from statewise.tasks.documents import read_lines
from statewise.tasks.scores import ClassReport, Score, class_report, confusions
from statewise.tasks.tagging import SpanReport, read_sentences
from statewise.tasks.tagging.schemes import convert, spans
from statewise.training.classifier import ClassWork, read_classified
from statewise.training.configuration import (
    Classified,
    ClassifierRun,
    Labelled,
    LabelRun,
    Tagged,
    TaggerRun,
)
from statewise.training.conversation import ConversationWork
from statewise.training.joint import JointWork
from statewise.training.labels import Gold, Work, load
from statewise.training.runs import stored_configuration
from statewise.training.spell_work import SpellWork
from statewise.training.tag_work import TagWork
from statewise.training.tagger import read_tagged

TOGETHER = 512
"""Lines of a pipe that are labelled together."""

Judged = Member | SpellingModel | Ensemble
"""What labels words or texts by one head."""

UNITS = {
    TaggingModel.kind: "words",
    SpellingModel.kind: "words",
    ClassifyingModel.kind: "texts",
    ConversationModel.kind: "texts",
}
"""What is labelled."""


def load_together(folders: Sequence[str | Path]) -> Labelling[Any] | Ensemble:
    """Return the model in a folder, or of several folders all their models together.

    Raises:
        FileNotFoundError: if there is none in one of them.
        ValueError: as `load` does, or if they do not label alike.
    """
    models = [load(folder) for folder in folders]
    if len(models) == 1:
        return models[0]
    members = [model for model in models if isinstance(model, Member)]
    if len(members) < len(models):
        raise ValueError("models with several heads are not asked together: save one head of each")
    try:
        return Ensemble(members)
    except ValueError as error:
        raise ValueError(f"{', '.join(map(str, folders))}: {error}") from None


def _first(model: Labelling[Any] | Ensemble) -> Labelling[Any]:
    """Return the model that says how files are read and labels are scored."""
    return model.first if isinstance(model, Ensemble) else model


class Asked(NamedTuple):
    """How a file is read, where not as usual."""

    column: str | list[str] | None = None
    words: str | None = None
    text: str | int | None = None
    label: str | int | None = None
    conversation: str | int | None = None
    unknown: str | None = None
    encoding: str | None = None

    def over(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return fields of a configuration with what is asked for in place of its own.

        Raises:
            ValueError: names what has no place there.
        """
        asked = {name: value for name, value in self._asdict().items() if value is not None}
        for name in asked:
            if name not in fields:
                raise ValueError(f"--data.{name} is not for this kind of model")
        return {**fields, **asked}


def lines_of(
    model: Labelling[Any] | Ensemble,
    path: str,
    asked: Asked,
    *,
    confidence: bool = False,
    as_json: bool = False,
) -> Iterator[str]:
    """Yield what a model says about a file, without line ends.

    Args:
        model: a tagger or a classifier, or several together.
        path: of sentences or texts; "-" reads one a line from standard input, as a `.txt` does.
        asked: how the file is read.
        confidence: whether the probability of each label stands beside it.
        as_json: whether each line is an object.

    Raises:
        ValueError, FileNotFoundError: for what cannot be read.
    """
    for together in _inputs(_first(model), path, asked):
        words = [model.read(item) for item in together]
        labels = model.predict(words)
        talks = isinstance(_first(model), ConversationModel)
        sure = [_sure(p) for p in model.predict_proba(words)] if confidence else None
        for at, (item, found) in enumerate(zip(together, labels, strict=True)):
            confidences = None if sure is None else sure[at]
            if as_json:
                yield _object(item, found, confidences, talks=talks)
            elif talks:
                for place, (text, label) in enumerate(zip(item, found, strict=True)):
                    yield _text_line(text, label, confidences and confidences[place])
                yield ""
            elif isinstance(found, str):
                yield _text_line(item, found, confidences)
            elif isinstance(found, dict):
                yield from _heads(item, found, confidences or dict.fromkeys(found))
            else:
                yield from _heads(item, {"": found}, {"": confidences})


def lines_as_they_arrive(
    model: Labelling[Any] | Ensemble, pieces: Iterable[str], *, lag: int = 1
) -> Iterator[str]:
    """Yield each word of a text and its tag as soon as it can be told, without line ends.

    A line of the text is a sentence, after which an empty line comes. A word is whole when space
    follows it. Of a classifier of conversations each line is a text, and an empty one ends a
    conversation.

    Args:
        model: a tagger that reads from the left alone, or a classifier of conversations that does.
        pieces: of the text, cut anywhere.
        lag: words that a CRF waits for, see `TaggingModel.stream`.

    Raises:
        ValueError: for another model, or a lag below 1.
    """
    if isinstance(model, Ensemble):
        raise ValueError("one model tags words as they arrive, and not several together")
    if isinstance(model, JointTaggingModel):
        raise ValueError(f"one head tags words as they arrive, and this tagger has {model.names}")
    if isinstance(model, ConversationModel):
        yield from _texts_as_they_arrive(model, pieces, lag)
        return
    if not isinstance(model, TaggingModel):
        raise ValueError(f"a {model.kind} labels whole texts, not words as they arrive")
    state, waiting, rest = model.initial_state(), deque[str](), ""

    def go_on(text: str, ended: bool) -> Iterator[str]:
        nonlocal state
        words = cut(text)
        waiting.extend(words)
        if not waiting:
            return
        tags, state = model.stream(words, state, ended=ended, lag=lag)
        for tag in tags:
            yield f"{waiting.popleft()}\t{tag}"
        if ended:
            yield ""

    for piece in pieces:
        *lines, rest = (rest + piece).split("\n")
        for line in lines:
            yield from go_on(line, ended=True)
        whole = len(rest) - len(rest.split()[-1]) if rest and not rest[-1].isspace() else len(rest)
        yield from go_on(rest[:whole], ended=False)
        rest = rest[whole:]
    yield from go_on(rest, ended=True)


def _texts_as_they_arrive(
    model: ConversationModel, pieces: Iterable[str], lag: int
) -> Iterator[str]:
    """Yield each text, a line, with its class; an empty line ends a conversation."""
    state, waiting, rest = model.initial_state(), deque[str](), ""

    def go_on(line: str) -> Iterator[str]:
        nonlocal state
        more = [line] if line.strip() else []
        waiting.extend(more)
        if not waiting:
            return
        labels, state = model.stream(more, state, ended=not more, lag=lag)
        for label in labels:
            yield _text_line(waiting.popleft(), label, None)
        if not more:
            yield ""

    for piece in pieces:
        *lines, rest = (rest + piece).split("\n")
        for line in lines:
            yield from go_on(line)
    for line in (rest, ""):
        yield from go_on(line)


def _inputs(model: Labelling[Any], path: str, asked: Asked) -> Iterator[list[Any]]:
    """Yield sentences or texts, some at a time."""
    tags = not isinstance(model, ClassifyingModel | ConversationModel)
    features = list(model.vocabulary.features)
    if features and (path == "-" or path.removesuffix(".gz").endswith(".txt")):
        raise ValueError(
            f"{path}: this tagger reads {', '.join(features)} beside the words; give it a file of "
            "both"
        )
    talks = isinstance(model, ConversationModel)
    fields: dict[str, Any] = {"words": None} if tags else {"text": "text"}
    if talks:
        fields["conversation"] = "conversation"
    fields = asked.over({**fields, "encoding": "utf-8"})
    name = path.removesuffix(".gz")
    if path == "-" and talks:
        yield from ([each] for each in _paragraphs(sys.stdin))
    elif path == "-":
        yield from _lines(sys.stdin, cut if tags else str)
    elif name.endswith(".txt") and talks:
        yield list(_paragraphs(read_lines(path, fields["encoding"]).lines))
    elif name.endswith(".txt"):
        lines, _ = read_lines(path, fields["encoding"])
        yield [cut(line) if tags else line for line in lines]
    elif tags:
        corpus = read_sentences(path, features, words=fields["words"], encoding=fields["encoding"])
        yield [sentence.with_features(features) for sentence in corpus.sentences]
    else:
        column, talk = fields["text"], fields.get("conversation")
        texts = read_texts(path, column, None, talk, encoding=fields["encoding"])
        if talks:
            yield [[example.text for example in each] for each in conversations(texts)]
        else:
            yield [example.text for example in texts.examples]


def _lines(stream: Iterable[str], read: Any) -> Iterator[list[Any]]:
    """Yield what stands on the lines of a stream: at once for a person, else many together."""
    lines = (read(line.rstrip("\n")) for line in stream)
    together = 1 if sys.stdin.isatty() else TOGETHER
    while some := list(islice(lines, together)):
        yield some


def _paragraphs(lines: Iterable[str]) -> Iterator[list[str]]:
    """Yield the lines between blank ones: a conversation, a text on each."""
    found: list[str] = []
    for line in (line.rstrip("\n") for line in lines):
        if line.strip():
            found.append(line)
        elif found:
            yield found
            found = []
    if found:
        yield found


def _text_line(text: Any, label: str, confidence: float | None) -> str:
    return "\t".join([label, *_figures(confidence), " ".join(str(text).split())])


def _heads(
    words: Sequence[Any], found: Mapping[str, Any], confidences: Mapping[str, Any]
) -> Iterator[str]:
    """Yield what heads say of a sentence: one line for each class, and for each word."""
    tags = {name: said for name, said in found.items() if not isinstance(said, str)}
    for name, said in found.items():
        if isinstance(said, str):
            yield "\t".join([f"# {name} = {said}", *_figures(confidences[name])])
    for at, word in enumerate(words):
        line = [surface(word)]
        for name, said in tags.items():
            sure = confidences[name]
            line += [said[at], *_figures(sure and sure[at])]
        yield "\t".join(line)
    yield ""


def _sure(probabilities: Any) -> Any:
    """Return the largest probability of each word, or of the text; by heads, if there are some."""
    if isinstance(probabilities, dict):
        return {name: _sure(p) for name, p in probabilities.items()}
    return probabilities.amax(-1).tolist()


def _figures(confidence: float | None) -> list[str]:
    return [] if confidence is None else [f"{confidence:.4f}"]


def _object(item: Any, found: Any, confidences: Any, *, talks: bool) -> str:
    if talks:
        said = {"texts": list(item), "labels": list(found)}
    elif isinstance(found, str):
        said = {"text": item, "label": found}
    elif isinstance(found, dict):
        said = {"words": [surface(word) for word in item], **found}
    else:
        said = {"words": [surface(word) for word in item], "tags": list(found)}
    if confidences is not None:
        said["confidence"] = confidences
    return json.dumps(said, ensure_ascii=False)


class Said(NamedTuple):
    """A label that a model gave, and the one that was wanted."""

    sentence: int
    word: int | None
    """None: of all the text."""
    wanted: str
    found: str
    confidence: float

    @property
    def right(self) -> bool:
        """Whether it is the one that was wanted."""
        return self.wanted == self.found


class Evaluated(NamedTuple):
    """How well a model labels a file."""

    path: str
    head: str | None
    """Of several, the name of the one that labels so."""
    report: SpanReport | ClassReport
    confusion: ClassReport
    """Of words or texts, one by one; of words in spans, by the types of these."""
    calibration: Calibration
    """Of the label of each word, or each text."""
    score: str
    value: float
    notes: tuple[str, ...]
    model: Judged
    gold: Gold
    said: list[Said]

    @property
    def scores(self) -> Mapping[str, Score]:
        """Of each class, or of each type of span."""
        return self.report.types if isinstance(self.report, SpanReport) else self.report.classes

    def __str__(self) -> str:
        name = self.path if self.head is None else f"{self.path}: {self.head}"
        return (
            f"{name}\n\n{self.report}\n\n{confusions(self.confusion)}\n\n"
            f"{self.calibration} {UNITS[self.model.kind]}"
        )

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "path": self.path,
            self.score: self.value,
            "calibration_error": self.calibration.error,
            "labels": {
                name: {**score._asdict(), "precision": score.precision, "recall": score.recall}
                | {"f1": score.f1}
                for name, score in self.scores.items()
            },
            "confusion": [[*pair, count] for pair, count in self.confusion.confusion.items()],
        }


def evaluate(
    folder: str | Path, path: str | None, asked: Asked, beside: Sequence[str | Path] = ()
) -> list[Evaluated]:
    """Return how well the model in a folder labels a file: of several heads, how well each does.

    Args:
        folder: of a run, or of a model.
        path: of the file; the run's own, the test file before the held-out one, if absent.
        asked: how the file is read, where not as the run read its own.
        beside: folders of models that are asked together with it.

    Raises:
        ValueError, FileNotFoundError: for what cannot be read, or has none of the model's labels.
    """
    together = load_together([folder, *beside])
    model = _first(together)
    work, kind, data, read = _means(model)
    kept = stored_configuration(folder, kind)
    own = dict.fromkeys(data.model_fields) if kept is None else kept.data.model_dump()
    path = path or own["test"] or own["dev"]
    if path is None:
        raise ValueError(f"{folder} has no test file of its own: name one with --data.path")
    # Patterns make labels to learn from; what is scored has labels of its own.
    fields = asked.over({**own, "train": path} | ({"patterns": None} if "patterns" in own else {}))
    if isinstance(model, JointTaggingModel):
        if asked.column is not None or asked.label is not None:
            raise ValueError(f"--data.column: the heads of this tagger say it: {model.names}")
        fields["column"] = [name for name, head in model.heads.items() if head.kind == "tagger"]
        fields["spelled"] = [name for name, head in model.heads.items() if head.kind == "speller"]
        classes = [name for name, head in model.heads.items() if head.kind == "classifier"]
        fields["label"] = next(iter(classes), None)
    if isinstance(model, ConversationModel) and fields["conversation"] is None:
        raise ValueError(
            f"{folder} classifies texts in conversations: name the column that tells these apart "
            "with --data.conversation"
        )
    if model.vocabulary.features:
        fields["features"] = list(model.vocabulary.features)
    gold = read(path, data(**{name: value for name, value in fields.items() if value is not None}))
    if isinstance(model, JointTaggingModel) and isinstance(work, JointWork):
        parts = work.parts(gold)
        return [
            _evaluated(path, name, head, work.works[name], parts[name], gold.notes)
            for name, head in model.heads.items()
        ]
    assert isinstance(together, Judged)
    return [_evaluated(path, None, together, work, gold, gold.notes)]


def _evaluated(
    path: str,
    name: str | None,
    model: Judged,
    work: Work[Any],
    gold: Gold,
    notes: tuple[str, ...],
) -> Evaluated:
    """Return how well one head labels."""
    odd = work.check(gold)
    gold = work.scored(gold)
    found = model.predict(gold.sentences)
    report, said = work.report(gold, found), judged(model, gold, found)
    if isinstance(report, SpanReport):
        confusion = class_report(_types(gold.labels), _types(found))
    elif isinstance(model, SpellingModel):
        confusion = class_report([each.wanted for each in said], [each.found for each in said])
    else:
        confusion = report
    return Evaluated(
        path,
        name,
        report,
        confusion,
        calibrated(said),
        work.score,
        work.value(report),
        (*notes, *odd),
        model,
        gold,
        said,
    )


def as_data(found: Sequence[Evaluated]) -> dict[str, Any]:
    """Return it as JSON has it: of several heads, each by its name."""
    if found[0].head is None:
        return found[0].as_data()
    return {"path": found[0].path, "heads": {each.head: each.as_data() for each in found}}


def judged(model: Judged, gold: Gold, found: list[Any]) -> list[Said]:
    """Return the labels of all words, or of all texts, and how sure a model is of each."""
    return list(_said(model, gold, found))


def calibrated(said: Iterable[Said]) -> Calibration:
    """Return how well the confidence in labels fits what is right."""
    pairs = [(each.confidence, each.right) for each in said]
    return calibration([sure for sure, _ in pairs], [right for _, right in pairs])


def _said(model: Judged, gold: Gold, found: list[Any]) -> Iterator[Said]:
    probabilities = model.predict_proba(gold.sentences)
    if isinstance(model, SpellingModel):
        rows = enumerate(zip(gold.labels, found, probabilities, strict=True))
        for sentence, each in rows:
            for word, (wanted, written, p) in enumerate(zip(*each, strict=True)):
                if wanted is not None:
                    yield Said(sentence, word, normalize(wanted), written, p.item())
        return
    numbers = {label: number for number, label in enumerate(model.labels)}
    first = _first(model)
    scheme = first.config.scheme if isinstance(first, TaggingModel) else None
    for sentence, (wanted, labels, p) in enumerate(
        zip(gold.labels, found, probabilities, strict=True)
    ):
        if isinstance(labels, str):
            yield Said(sentence, None, wanted, labels, p[numbers[labels]].item())
            continue
        tags = wanted if scheme is None else convert(wanted, scheme)
        for word, (tag, label, row) in enumerate(zip(tags, labels, p.tolist(), strict=True)):
            if tag is None:
                continue
            yield Said(sentence, word, tag, label, row[numbers[label]])


def _means(
    model: Labelling[Any],
) -> tuple[Work[Any], type[LabelRun], type[Labelled], Callable[[str, Any], Gold]]:
    """Return how a model is scored, what its run is, and how its data is named and read."""
    if isinstance(model, TaggingModel):
        return TagWork.of(model), TaggerRun, Tagged, read_tagged
    if isinstance(model, SpellingModel):
        return SpellWork.of(model), TaggerRun, Tagged, read_tagged
    if isinstance(model, JointTaggingModel):
        return JointWork.of(model), TaggerRun, Tagged, read_tagged
    if isinstance(model, ConversationModel):
        return ConversationWork.of(model), ClassifierRun, Classified, read_classified
    assert isinstance(model, ClassifyingModel)
    return ClassWork.of(model), ClassifierRun, Classified, read_classified


def _types(tagged: Iterable[Sequence[str]]) -> list[str]:
    """Return of each word the type of its span, or O."""
    found = []
    for tags in tagged:
        types = ["O"] * len(tags)
        for span in spans(tags):
            types[span.start : span.end] = [span.type or "(no type)"] * (span.end - span.start)
        found += types
    return found
