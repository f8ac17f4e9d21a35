"""How well taggers and classifiers do on real data, with no option but the files:

    python -m benchmarks.labels FOLDER [--only ewt snips] [--seeds 3]

FOLDER holds the sets that it is asked about, each in the files that `SETS` names. Every figure is
the mean over seeds, with its range, of a default run; time is that of training, evaluation
included. The last column is what we set out to reach.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.timing import machine
from statewise.training.classifier import train_classifier
from statewise.training.configuration import (
    Classified,
    ClassifierRun,
    Tagged,
    TaggerRun,
)
from statewise.training.labels import Trained
from statewise.training.tagger import train_tagger


@dataclass(frozen=True)
class Set:
    """Files of labelled sentences or texts, and how they are read."""

    title: str
    files: dict[str, str]
    """Of `train`, `dev` and `test`, below the folder."""
    aim: float | None
    """The score to reach, in percent."""
    tags: bool = True
    read: dict[str, Any] = field(default_factory=dict)
    """Further options of the data."""


def _parts(pattern: str, *parts: str) -> dict[str, str]:
    return {part: pattern.format(part) for part in parts}


ALL = ("train", "dev", "test")

SETS = {
    "ewt": Set(
        "UD English EWT, parts of speech",
        _parts("tagging/ud_en_ewt/en_ewt-ud-{}.conllu.gz", *ALL),
        93.0,
    ),
    "snips": Set(
        "SNIPS, slots",
        _parts("tagging/snips_nlu/{}.jsonl.gz", "train", "test"),
        92.0,
        read={"words": "tokens", "column": "tags"},
    ),
    "bc5cdr": Set(
        "BC5CDR, chemicals and diseases",
        _parts("tagging/ner_bc5cdr/{}.tsv.gz", *ALL),
        78.0,
    ),
    "wnut17": Set(
        "WNUT-17, emerging entities",
        _parts("tagging/ner_wnut17/{}.conll.gz", *ALL),
        None,
    ),
    "banking77": Set(
        "Banking77, intents",
        _parts("classification/banking77/{}.csv.gz", "train", "test"),
        82.0,
        tags=False,
        read={"label": "category"},
    ),
    "polarity": Set(
        "Sentence polarity",
        _parts("classification/sentence_polarity/{}.tsv.gz", *ALL),
        75.0,
        tags=False,
        read={"text": 2, "label": 1},
    ),
}


def train(chosen: Set, folder: Path, out: str, seed: int, options: dict[str, Any]) -> Trained[Any]:
    """Return a default training on a set."""
    files = {part: str(folder / name) for part, name in chosen.files.items()}
    rest = {"out": out, "seed": seed, "quiet": True, **options}
    if chosen.tags:
        return train_tagger(TaggerRun(data=Tagged(**files, **chosen.read), **rest))
    return train_classifier(ClassifierRun(data=Classified(**files, **chosen.read), **rest))


def row(chosen: Set, folder: Path, seeds: int, options: dict[str, Any]) -> str:
    """Train over seeds; return a line of the table."""
    values, seconds, words = [], [], []
    name = ""
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as out:
            trained = train(chosen, folder, f"{out}/run", seed, options)
        if trained.outcome.signal is not None:
            raise SystemExit(128 + trained.outcome.signal)
        name = next(score for score in trained.scores if score.startswith("test_"))
        values.append(100 * trained.scores[name][1])
        seconds.append(trained.outcome.seconds)
        words.append(trained.outcome.tokens / trained.outcome.seconds)
    aim = "" if chosen.aim is None else f"{chosen.aim:g}"
    return (
        f"{chosen.title:34} {name.removeprefix('test_'):9} {mean(values):6.2f} "
        f"{min(values):6.2f} to {max(values):5.2f} {mean(seconds):6.0f} s {mean(words):8,.0f} "
        f"{aim:>6}"
    )


def rows(folder: Path, names: list[str], seeds: int, options: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the table as they come."""
    head = f"{'':34} {'score':9} {'mean':>6} {'range':>15} {'time':>8} {'words/s':>8} {'aim':>6}"
    yield head
    for name in names:
        yield row(SETS[name], folder, seeds, options)


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
    for line in rows(options.folder, options.only, options.seeds, given):
        print(line, flush=True)


if __name__ == "__main__":
    main()
