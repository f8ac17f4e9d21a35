"""Our tagger beside Flair's, in turn, on the same data for as many epochs:

    python -m benchmarks.beside_flair FOLDER --python FLAIRS_PYTHON [--only wnut17] [--epochs 5]

Flair's pins clash with ours, so it lives in an environment of its own (`pip install flair`), whose
Python is named. Both train without pretrained vectors, each as its makers have it by default, with
as many threads; runs of theirs and of ours alternate. The time includes what each does after an
epoch. Last, the CRF of each alone.
"""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from benchmarks.labels import SETS, train
from benchmarks.timing import machine, paired
from statewise.models.crf import CRF
from statewise.training.labels import Gold, Golds

SIDE = Path(__file__).with_name("side.py")

CRF_SIZES = {"batch": 32, "time": 50, "tags": 20}


def theirs(python: str, *arguments: object) -> dict[str, float]:
    """Return what Flair's side says.

    Raises:
        SystemExit: if it fails; with the end of what it said.
    """
    line = [python, str(SIDE), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run(line, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(line)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def write(golds: Golds, folder: Path) -> None:
    """Write the parts as columns, which Flair reads."""
    for part, gold in zip(("train", "dev", "test"), golds, strict=True):
        assert isinstance(gold, Gold)
        (folder / f"{part}.txt").write_text(
            "".join(
                "".join(f"{word}\t{tag}\n" for word, tag in zip(words, tags, strict=True)) + "\n"
                for words, tags in zip(gold.sentences, gold.labels, strict=True)
            ),
            encoding="utf-8",
        )


def ours(name: str, golds: Golds, epochs: int, seed: int) -> dict[str, float]:
    """Return our score, and how fast we trained."""
    with tempfile.TemporaryDirectory() as out:
        trained = train(SETS[name], golds, f"{out}/run", seed, {"max_epochs": epochs})
    score = next(value for key, (_, value) in trained.scores.items() if key.startswith("test_"))
    seconds = trained.outcome.seconds
    rate = epochs * len(golds.train.sentences) / seconds
    return {"score": 100 * score, "seconds": seconds, "sentences_per_second": rate}


def crf_alone(python: str) -> str:
    """Return how many times as fast our CRF is, forward with gradients and for the best path."""
    batch, time, tags = CRF_SIZES.values()
    torch.manual_seed(0)
    crf = CRF(tags)
    emissions = torch.randn(batch, time, tags, requires_grad=True)
    wanted = torch.randint(tags, (batch, time))

    def learn() -> None:
        emissions.grad = None
        crf(emissions, wanted).sum().backward()

    def decode() -> None:
        with torch.no_grad():
            crf.viterbi(emissions)

    taken = paired({"loss": learn, "best path": decode})
    other = theirs(python, "crf", batch, time, tags)
    said = []
    for name, times in taken.items():
        mine = 1e3 * times.median
        said.append(f"{name} {mine:.2f} ms, theirs {other[name]:.1f} ms: {other[name] / mine:.0f}x")
    return f"CRF alone, {', '.join(f'{k} {v}' for k, v in CRF_SIZES.items())}: {'; '.join(said)}"


def main() -> None:
    """Print both sides."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.beside_flair", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", required=True, help="of an environment that has Flair")
    parser.add_argument("--only", nargs="+", choices=list(SETS), default=["wnut17", "bc5cdr"])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print(", ".join(f"{k} {v}" for k, v in machine().items()), flush=True)
    print(crf_alone(options.python), flush=True)
    for name in options.only:
        golds = SETS[name].read(options.folder)
        sides: dict[str, list[dict[str, Any]]] = {"Flair": [], "statewise": []}
        with tempfile.TemporaryDirectory() as folder:
            write(golds, Path(folder))
            for seed in range(options.seeds):
                sides["Flair"].append(theirs(options.python, "train", folder, options.epochs, seed))
                sides["statewise"].append(ours(name, golds, options.epochs, seed))
        print(f"{SETS[name].title}, {options.epochs} epochs", flush=True)
        for side, found in sides.items():
            scores = [run["score"] for run in found]
            rates = [run["sentences_per_second"] for run in found]
            print(
                f"  {side:10} {mean(scores):6.2f} ({min(scores):.2f} to {max(scores):.2f})  "
                f"{mean(rates):7.1f} sentences/s ({min(rates):.1f} to {max(rates):.1f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
