"""Training a tagger, and a tagger to use from Python.

tagger = Tagger(max_epochs=10).fit([["They", "run"], ...], [["PRON", "VERB"], ...])
tagger.predict([["We", "ran"]])        [("PRON", "VERB")]

tagger.fit(sentences, [{"upos": ["PRON", "VERB"], "mood": "a statement"}, ...])     several heads
tagger.predict([["We", "ran"]])        [{"upos": ("PRON", "VERB"), "mood": "a statement"}]

Tagger(data={"spelled": ["lemma"]}).fit(sentences, [{"upos": [...], "lemma": ["they", "run"]}, ...])
tagger.predict([["We", "ran"]])        [{"upos": ("PRON", "VERB"), "lemma": ("we", "run")}]
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from statewise.models.joint_tagger import JointTaggingModel
from statewise.models.spelling import check_sentences, cut
from statewise.models.tagger import TaggingModel
from statewise.tasks.tagging import boundaries, read_sentences
from statewise.training.classifier import ClassWork
from statewise.training.configuration import Tagged, TaggerRun
from statewise.training.estimator import Estimator
from statewise.training.joint import HeadWork, JointWork
from statewise.training.labels import Gold, Golds, Trained, Work, train
from statewise.training.spell_work import SpellWork
from statewise.training.tag_work import TagWork
from statewise.training.text_reading import TextReading

COLUMNS = {".conllu": "upos", ".jsonl": "tags"}
"""The column of the tags where none is named, by how the file's name ends; else the last one."""

BOUNDARIES = "boundaries"
"""In place of a column: characters are tagged with where words begin and end."""


def read_tagged(path: str | Path, data: Tagged) -> Gold:
    """Return the sentences of a file and their tags.

    Raises:
        ValueError, FileNotFoundError: as `statewise.tasks.tagging.read_sentences` does.
    """
    columns = data.column
    if columns is None:
        name = str(path).removesuffix(".gz")
        columns = next((c for end, c in COLUMNS.items() if name.endswith(end)), "-1")
    columns = [columns] if isinstance(columns, str) else columns
    keys = [] if data.label is None else [data.label]
    if BOUNDARIES in columns:
        if columns != [BOUNDARIES] or keys or data.features or data.unknown or data.spelled:
            raise ValueError(f"--data.column {BOUNDARIES} cuts words into characters: no others")
        return _read_boundaries(path, data)
    if both := set(columns) & set(data.spelled):
        raise ValueError(
            f"--data.spelled: {both.pop()} is tagged already; name another --data.column"
        )
    columns = [*columns, *data.spelled]
    asked = [*columns, *data.features]
    corpus = read_sentences(path, asked, words=data.words, labels=keys, encoding=data.encoding)
    heads = [*columns, *keys]
    said = [
        {
            **{column: _known(tags, data.unknown) for column, tags in sentence.tags.items()},
            **sentence.labels,
        }
        for sentence in corpus.sentences
    ]
    labels: list[Any] = [{head: each[head] for head in heads} for each in said]
    if len(heads) == 1:
        labels = [each[heads[0]] for each in said]
    sentences = [sentence.with_features(data.features) for sentence in corpus.sentences]
    features = tuple(data.features)
    return Gold(str(path), sentences, labels, corpus.place, corpus.notes, features)


def _known(tags: Sequence[str], unknown: str | None) -> tuple[str | None, ...]:
    """Return tags with None for those that are not known."""
    return tuple(None if unknown is not None and tag == unknown else tag for tag in tags)


def _read_boundaries(path: str | Path, data: Tagged) -> Gold:
    """Return the sentences of a file in characters, as a text is cut, and how they make words."""
    corpus = read_sentences(path, [], words=data.words, encoding=data.encoding)
    cuts = [[cut(word) or (word,) for word in sentence.words] for sentence in corpus.sentences]
    words = [[at for at, pieces in enumerate(each) for _ in pieces] for each in cuts]
    return Gold(
        str(path),
        [tuple(piece for pieces in each for piece in pieces) for each in cuts],
        [tuple(boundaries(map(len, each))) for each in cuts],
        lambda sentence, piece: corpus.place(sentence, words[sentence][piece]),
        corpus.notes,
    )


def train_tagger(config: TaggerRun, golds: Golds | None = None) -> Trained[Any]:
    """Train a tagger as `config` says; return the best of its checkpoints.

    It is a `TaggingModel` or, of several heads, a `JointTaggingModel`.

    Args:
        config: what to train on, what, and how.
        golds: what to train on, if it is at hand.

    Raises:
        ValueError, OSError: for data, a mixer, a size or a folder that will not do, before anything
            is written.
    """
    golds = golds or Golds.read(config.data, read_tagged)
    return train(config, _work(config, golds.train), golds)


def _work(config: TaggerRun, gold: Gold) -> Work[Any]:
    """Return what is to be learned: one kind of tags, or several, and a class beside them."""
    example = next(iter(gold.labels), ())
    heads = example if isinstance(example, Mapping) else {"": example}
    spelled = dict.fromkeys(config.data.spelled)
    tags = [n for n, said in heads.items() if not isinstance(said, str) and n not in spelled]
    outputs = config.output if isinstance(config.output, list) else [config.output] * len(tags)
    if len(outputs) != len(tags):
        raise ValueError(f"output names {len(outputs)}, and there are tags of {len(tags)} kinds")
    missing = [name for name in spelled if name not in heads]
    if missing:
        raise ValueError(
            f"data.spelled names {missing[0]!r}, and the labels are of {_listed(heads)}"
        )
    works: dict[str, HeadWork] = {
        name: TagWork(output, config.data.scheme, config.look_ahead)
        for name, output in zip(tags, outputs, strict=True)
    }
    if not isinstance(example, Mapping):
        return TagWork(outputs[0], config.data.scheme, config.look_ahead)
    if len(tags) > 1 and config.data.scheme not in ("auto", "none"):
        raise ValueError(
            f"scheme {config.data.scheme} is of one column, and there are {', '.join(tags)}: leave "
            "it at auto, or none"
        )
    works |= {name: SpellWork(config.writing) for name in spelled}
    works |= {name: ClassWork(TextReading()) for name in heads if name not in works}
    return JointWork({name: works[name] for name in heads})


class Tagger(Estimator[Any, TaggerRun]):
    """Tags the words of sentences, which are lists of words.

    A tag may be None where it is not known.

    A word with features, such as its part of speech, is a tuple: the word, then its features, as
    many for each word. `data={"features": [...]}` names them, as files do.

    The labels of a sentence are as many tags; or, for several heads, a mapping from the name of
    each to as many tags, or to a string, which is said of the whole sentence. `predict` answers
    alike. `predict_proba` answers with (words, tags) for each sentence: of a CRF the marginals, so
    that the probability of the tag that is chosen is the confidence in it. `score` is F1 of spans
    where the tags are spans, and else the accuracy; of several heads the mean.

    Args:
        options: of `statewise.training.configuration.TaggerRun`, such as `max_epochs=10`,
            `output="softmax"` or `model={"mixer": "gru", "depth": 2}`.

    Raises:
        ValueError: for an option that does not exist, or a value out of its range.
    """

    run, kinds = TaggerRun, (TaggingModel, JointTaggingModel)

    def stream(self, words: Iterable[Any], *, lag: int = 1) -> Iterator[tuple[Any, str]]:
        """Yield each word of one sentence with its tag, as soon as it can be told.

        Of a model that reads from the left alone; see `TaggingModel.stream`, which gives the state.

        Raises:
            ValueError: if it reads from the right too or has several heads, or for a lag below 1.
        """
        model = self._model()
        if not isinstance(model, TaggingModel):
            raise ValueError(f"one head tags a stream: take one of model_.heads, {model.names}")
        return model.tell(words, lag=lag)

    def _train(self, config: TaggerRun, golds: Golds) -> Trained[Any]:
        return train_tagger(config, golds)

    def _work(self, model: Any) -> Work[Any]:
        return TagWork.of(model) if isinstance(model, TaggingModel) else JointWork.of(model)

    def _gold(self, name: str, sentences: Sequence[Any], labels: Sequence[Any]) -> Gold:
        features = _named(sentences, self._checked().data.features)
        check_sentences(sentences, features)
        if len(sentences) != len(labels):
            raise ValueError(f"{name}: {len(sentences)} sentences, and tags of {len(labels)}")
        for at, (words, said) in enumerate(zip(sentences, labels, strict=True), 1):
            _check_labels(f"{name}: sentence {at}", len(words), said, labels[0])
        kept = [at for at, words in enumerate(sentences) if len(words)]
        return Gold(
            name,
            [tuple(_frozen(word) for word in sentences[at]) for at in kept],
            [_frozen(labels[at]) for at in kept],
            lambda sentence, word: f"{name}: sentence {kept[sentence] + 1}, word {word + 1}",
            features=features,
        )


def _named(sentences: Sequence[Any], names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of features: of those that nobody named, numbers."""
    first = next((words[0] for words in sentences if len(words)), "")
    if names or isinstance(first, str):
        return tuple(names)
    return tuple(f"feature {number}" for number in range(1, len(first)))


def _check_labels(place: str, words: int, said: Any, example: Any) -> None:
    """Refuse labels of a sentence that are not as many as its words, or not as in an example."""
    if isinstance(said, Mapping) != isinstance(example, Mapping):
        raise ValueError(f"{place} has labels of another kind than the first: {said!r}")
    heads = said if isinstance(said, Mapping) else {"": said}
    first = example if isinstance(example, Mapping) else {"": example}
    if set(heads) != set(first):
        raise ValueError(f"{place} has labels of {_listed(heads)}; the first, of {_listed(first)}")
    for head, tags in heads.items():
        of = f" of {head!r}" if head else ""
        if isinstance(said, Mapping) and isinstance(tags, str) and isinstance(first[head], str):
            continue
        if isinstance(tags, str) or len(tags) != words:
            raise ValueError(f"{place} has {words} words, and not as many tags{of}: {tags!r}")


def _listed(heads: Mapping[str, Any]) -> str:
    return ", ".join(map(str, heads)) or "nothing"


def _frozen(said: Any) -> Any:
    """Return labels of a sentence, or a word, as values."""
    if isinstance(said, Mapping):
        return {head: _frozen(tags) for head, tags in said.items()}
    return said if isinstance(said, str) else tuple(said)
