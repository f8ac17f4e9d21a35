"""How well taggers and classifiers do on real data, with no option but the files:

    python -m benchmarks.labels FOLDER [--only ewt snips] [--seeds 3]

FOLDER holds the sets that it is asked about, each in the files that `SETS` names. Every figure is
the mean over seeds, with its range, of a default run; time is that of training, evaluation
included. The last column is what we set out to reach. Below each row: the expected calibration
error on the test data, and for some sets what else they are judged by.
"""

import argparse
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.timing import machine
from statewise.tasks.scores import ClassReport
from statewise.tasks.tagging import segmentation_report, span_report, spans
from statewise.training.classifier import read_classified, train_classifier
from statewise.training.configuration import Classified, ClassifierRun, Tagged, TaggerRun
from statewise.training.labelled import calibrated, judged
from statewise.training.labels import GIVEN, Gold, Golds, Trained
from statewise.training.tagger import BOUNDARIES, read_tagged, train_tagger

Figures = dict[str, float]


@dataclass(frozen=True)
class Set:
    """Labelled sentences or texts, and what is said of a model of them."""

    title: str
    read: Callable[[Path], Golds]
    """The files below a folder."""
    aim: float | None = None
    """The score to reach, in percent."""
    tags: bool = True
    further: Callable[[Trained[Any], Golds, list[Any]], Figures] = field(default=lambda *_: {})
    """What a trained model, and the labels it found, are judged by besides, in percent."""
    beside: Callable[[Golds], Figures] = field(default=lambda golds: {})
    """What other programs reach."""


PARTS = ("train", "dev", "test")


def tagged(pattern: str, *parts: str, **read: Any) -> Callable[[Path], Golds]:
    """Return how files of tagged sentences are read."""
    return _files(pattern, parts, lambda path: read_tagged(path, Tagged(train=GIVEN, **read)))


def classified(pattern: str, *parts: str, **read: Any) -> Callable[[Path], Golds]:
    """Return how files of classified texts are read."""

    def one(path: Path) -> Gold:
        return read_classified(path, Classified(train=GIVEN, **read))

    return _files(pattern, parts, one)


def _files(
    pattern: str, parts: Sequence[str], read: Callable[[Path], Gold]
) -> Callable[[Path], Golds]:
    def golds(folder: Path) -> Golds:
        found = {part: read(folder / pattern.format(part)) for part in parts}
        return Golds(found["train"], found.get("dev"), found.get("test"))

    return golds


def segmented(folder: Path) -> Golds:
    """Return characters of Chinese: two treebanks to train on, since GSD's own part is not free."""
    data = Tagged(train=GIVEN, column=BOUNDARIES)
    pud, dev, test = (
        read_tagged(folder / f"tagging/{name}.conllu.gz", data)
        for name in (
            "ud_zh_pud/zh_pud-ud-test",
            "ud_zh_gsd/zh_gsd-ud-dev",
            "ud_zh_gsd/zh_gsd-ud-test",
        )
    )
    train = pud._replace(
        name="PUD and the dev part of GSD",
        sentences=pud.sentences + dev.sentences,
        labels=pud.labels + dev.labels,
        place=lambda at, word: (
            pud.place(at, word)
            if at < len(pud.sentences)
            else dev.place(at - len(pud.sentences), word)
        ),
    )
    return Golds(train, None, test)


def surnames(folder: Path) -> Golds:
    """Return names and their languages; which are tested with is decided by a hash of the name."""
    data = Classified(train=GIVEN, text=2, label=1)
    every = read_classified(folder / "classification/names_by_language.tsv.gz", data)
    tenth = [zlib.crc32(" ".join(words).encode()) % 10 for words in every.sentences]

    def part(*wanted: int) -> Gold:
        return every.part([at for at, which in enumerate(tenth) if which in wanted])

    return Golds(part(*range(7)), part(7), part(8, 9))


def by_vocabulary(trained: Trained[Any], golds: Golds, found: list[Any]) -> Figures:
    """Return the recall of words that the training showed, and of those that it did not."""
    assert golds.test is not None
    known = {
        "".join(pieces[span.start : span.end])
        for pieces, tags in zip(golds.train.sentences, golds.train.labels, strict=True)
        for span in spans(tags)
    }
    report = segmentation_report(golds.test.sentences, golds.test.labels, found, known)
    return {
        "recall of known words": 100 * report.known.recall,
        "of unknown words": 100 * report.unknown.recall,
    }


def macro_f1(trained: Trained[Any], golds: Golds, found: list[Any]) -> Figures:
    """Return the mean F1 of the classes."""
    report, _ = trained.scores["test_accuracy"]
    assert isinstance(report, ClassReport)
    return {"macro F1": 100 * report.macro_f1}


def linear_crf(golds: Golds) -> Figures:
    """Return what a linear CRF over features of words reaches, trained by CRFsuite.

    With the features of its tutorial for names: the word, its ends and shape, and those of its
    neighbours; L-BFGS with both penalties at 0.1.
    """
    import pycrfsuite  # pyright: ignore[reportMissingImports]

    assert golds.test is not None
    trainer = pycrfsuite.Trainer(verbose=False)
    for words, tags in zip(golds.train.sentences, golds.train.labels, strict=True):
        trainer.append(_features(words), tags)
    trainer.set_params(
        {"c1": 0.1, "c2": 0.1, "max_iterations": 100, "feature.possible_transitions": True}
    )
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        trainer.train(f"{folder}/model")
        seconds = time.perf_counter() - begin
        tagger = pycrfsuite.Tagger()
        tagger.open(f"{folder}/model")
        found = [tagger.tag(_features(words)) for words in golds.test.sentences]
    f1 = span_report(golds.test.labels, found).total.f1
    return {"linear CRF: f1": 100 * f1, "its seconds": seconds}


def _features(words: Sequence[str]) -> list[list[str]]:
    """Return the features of every word, by name."""
    own = [
        [
            f"word={word.lower()}",
            *(f"end{n}={word[-n:].lower()}" for n in (2, 3)),
            *(f"begin{n}={word[:n].lower()}" for n in (2, 3)),
            f"upper={word.isupper()}",
            f"title={word.istitle()}",
            f"digit={any(c.isdigit() for c in word)}",
            f"mark={not any(c.isalnum() for c in word)}",
        ]
        for word in words
    ]
    found = []
    for at, features in enumerate(own):
        row = ["bias", *features]
        for step in (-2, -1, 1, 2):
            there = 0 <= at + step < len(words)
            row += [f"{step}:{f}" for f in own[at + step]] if there else [f"{step}:none"]
        found.append(row)
    return found


SETS = {
    "ewt": Set(
        "UD English EWT, parts of speech",
        tagged("tagging/ud_en_ewt/en_ewt-ud-{}.conllu.gz", *PARTS, column="upos"),
        93.0,
    ),
    "snips": Set(
        "SNIPS, slots",
        tagged("tagging/snips_nlu/{}.jsonl.gz", "train", "test", words="tokens", column="tags"),
        92.0,
    ),
    "bc5cdr": Set(
        "BC5CDR, chemicals and diseases", tagged("tagging/ner_bc5cdr/{}.tsv.gz", *PARTS), 78.0
    ),
    "wnut17": Set(
        "WNUT-17, emerging entities",
        tagged("tagging/ner_wnut17/{}.conll.gz", *PARTS),
        beside=linear_crf,
    ),
    "chinese": Set("Chinese, words of UD GSD", segmented, further=by_vocabulary),
    "banking77": Set(
        "Banking77, intents",
        classified("classification/banking77/{}.csv.gz", "train", "test", label="category"),
        82.0,
        tags=False,
        further=macro_f1,
    ),
    "polarity": Set(
        "Sentence polarity",
        classified("classification/sentence_polarity/{}.tsv.gz", *PARTS, text=2, label=1),
        75.0,
        tags=False,
    ),
    "surnames": Set("Surnames, languages", surnames, tags=False, further=macro_f1),
}


def train(chosen: Set, golds: Golds, out: str, seed: int, options: dict[str, Any]) -> Trained[Any]:
    """Return a default training on a set."""
    rest = {"out": out, "seed": seed, "quiet": True, **options}
    if chosen.tags:
        return train_tagger(TaggerRun(data=Tagged(train=GIVEN), **rest), golds)
    return train_classifier(ClassifierRun(data=Classified(train=GIVEN), **rest), golds)


def rows(chosen: Set, folder: Path, seeds: int, options: dict[str, Any]) -> Iterator[str]:
    """Train over seeds; yield a line of the table, and one of what else there is to say."""
    golds = chosen.read(folder)
    assert golds.test is not None
    values, seconds, words = [], [], []
    further: dict[str, list[float]] = {}
    name = ""
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as out:
            trained = train(chosen, golds, f"{out}/run", seed, options)
        if trained.outcome.signal is not None:
            raise SystemExit(128 + trained.outcome.signal)
        name = next(score for score in trained.scores if score.startswith("test_"))
        values.append(100 * trained.scores[name][1])
        seconds.append(trained.outcome.seconds)
        words.append(trained.outcome.tokens / trained.outcome.seconds)
        found = trained.model.predict(golds.test.sentences)
        error = calibrated(judged(trained.model, golds.test, found)).error
        more = {"calibration error": 100 * error, **chosen.further(trained, golds, found)}
        for what, value in more.items():
            further.setdefault(what, []).append(value)
    aim = "" if chosen.aim is None else f"{chosen.aim:g}"
    yield (
        f"{chosen.title:34} {name.removeprefix('test_'):9} {mean(values):6.2f} "
        f"{min(values):6.2f} to {max(values):5.2f} {mean(seconds):6.0f} s {mean(words):8,.0f} "
        f"{aim:>6}"
    )
    spread = [f"{what} {mean(x):.2f} ({min(x):.2f} to {max(x):.2f})" for what, x in further.items()]
    spread += [f"{what} {value:.2f}" for what, value in chosen.beside(golds).items()]
    yield f"    {', '.join(spread)}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.labels", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=None, help="in place of the default")
    options = parser.parse_args()
    print(", ".join(f"{k} {v}" for k, v in machine().items()), flush=True)
    given = {} if options.epochs is None else {"max_epochs": options.epochs}
    print(f"{'':34} {'score':9} {'mean':>6} {'range':>15} {'time':>8} {'words/s':>8} {'aim':>6}")
    for name in options.only:
        for line in rows(SETS[name], options.folder, options.seeds, given):
            print(line, flush=True)


if __name__ == "__main__":
    main()
