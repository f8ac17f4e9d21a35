"""Every mixer on the same text for the same time: `python -m benchmarks.text TEXT [MIXER ...]`.

Each one is trained from the command line, at equal width and depth, by one thread for three
minutes. What was found is kept in `benchmarks/records/text.json`, one mixer after another: a run
that is stopped goes on where it was. `--markdown` prints the documentation's page from the records.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.records import Records, by_reason, parted
from benchmarks.timing import machine
from statewise import mixers
from statewise import state as states
from statewise.models.language_model import LanguageModel
from statewise.training.runs import checkpoint

RECORDS, CURVES = Records("text"), Records("curves")
READING = 15
"""Seconds between two readings of the beginning of the held-out text, which cost a second or so."""
HELD_OUT = "bits_per_byte"
SECONDS, DIM, DEPTH, CONTEXT, RATE = 180, 128, 4, 256, 0.004
OPTIONS = [
    *("--max_seconds", str(SECONDS), "--model.dim", str(DIM), "--model.depth", str(DEPTH)),
    *("--context", str(CONTEXT), "--optimizer.learning_rate", str(RATE), "--json"),
]
READS_AHEAD = "reads the future, which it would have to predict"
NO_MEMORY = "sees one position at a time"
NOT_ALONE = {
    **dict.fromkeys(("bidirectional", "jrt", "lion", "stacked_bidirectional"), READS_AHEAD),
    **dict.fromkeys(("boom", "feed_forward", "gated_feed_forward", "mixture"), NO_MEMORY),
}

PAGE = """# Mixers on the same text

{count} mixers, each trained by `statewise train lm --mixer NAME` for the same {minutes:g} minutes
on the same text ({text}), by one thread, and scored on the last tenth of it, which none has seen.
All have width {dim}, depth {depth}, {parameters} parameters, contexts of {context} bytes in eight
streams whose state is carried, and one learning rate, {rate:g}, which was tuned for none of them.
One seed each: differences of a hundredth say nothing. A mixer that reads less text in its minutes
is charged for its slowness, and one whose best rate is another is charged for that.

*bits per byte*: held-out, lower is better. *tokens per second* (bytes here): in training, over all
the minutes. *state*: bytes of the state of one stream, all layers, after {context} tokens; it grows
with the sequence where a plus follows. Made by `python -m benchmarks.text TEXT --markdown` from the
records of {dates}, on: {processor}.

![Bits per byte of held-out text against seconds of training, a line for each of some
mixers](text-by-seconds.png)

The lines are of trainings of their own, side by side on one day, and of the beginning of the
held-out text, which is read every {reading} seconds and so costs some of them. The table is of all
of that text.

| mixer | bits per byte | tokens per second | state |
| --- | ---: | ---: | ---: |
{rows}

Not in the table: {others}.
"""


def measure(name: str, text: Path, reading: int | None) -> dict[str, Any]:
    """Train one mixer, and return what there is to say of it, or why it failed."""
    often = [] if reading is None else ["--evaluation.seconds", str(reading)]
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "run")
        command = [sys.executable, "-m", "statewise", "train", "lm", "--data.path", str(text)]
        before = _processor_seconds()
        done = subprocess.run(
            [*command, "--mixer", name, *OPTIONS, *often, "--out", out],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            return {"failed": done.stderr.strip().splitlines()[-1]}
        spent = _processor_seconds() - before
        found = json.loads(done.stdout.strip().splitlines()[-1])
        lines = [json.loads(line) for line in (Path(out) / "metrics.jsonl").open()]
        model = LanguageModel.from_pretrained(checkpoint(out))
    sizes = [_state_bytes(model, length) for length in (CONTEXT, 2 * CONTEXT)]
    return {
        "bits_per_byte": found["bits_per_byte"],
        "curve": [(line["seconds"], line[HELD_OUT]) for line in lines if HELD_OUT in line],
        "tokens_per_second": max(line.get("tokens", 0) for line in lines) / found["seconds"],
        "steps": found["steps"],
        "processor_seconds": round(spent, 1),
        "state_bytes": sizes[0],
        "grows": sizes[1] > sizes[0],
        "parameters": sum(p.numel() for p in model.parameters()),
        "date": datetime.now(UTC).date().isoformat(),
        "processor": machine()["processor"],
    }


def _processor_seconds() -> float:
    """Return the time that ended children had a processor: less than a run's, if it had to wait."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@torch.no_grad()
def _state_bytes(model: LanguageModel, length: int) -> int:
    _, state = model(torch.zeros(1, length, dtype=torch.int64))
    return states.nbytes(state)


def page(records: dict[str, dict[str, Any]], text: str) -> str:
    """Return the documentation's page."""
    good, missing = parted(records, names())
    rows = [
        f"| {name} | {found['bits_per_byte']:.3f} | {found['tokens_per_second']:,.0f} "
        f"| {found['state_bytes']:,}{'+' if found['grows'] else ''} |"
        for name, found in sorted(good.items(), key=lambda pair: pair[1]["bits_per_byte"])
    ]
    sizes = [found["parameters"] for found in good.values()]
    days = sorted({found["date"] for found in good.values()})
    return PAGE.format(
        count=len(good),
        minutes=SECONDS / 60,
        text=text,
        dim=DIM,
        depth=DEPTH,
        context=CONTEXT,
        rate=RATE,
        reading=READING,
        parameters=f"{min(sizes):,} to {max(sizes):,}",
        dates=days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}",
        processor=", ".join(sorted({found["processor"] for found in good.values()})),
        rows="\n".join(rows),
        others=by_reason(NOT_ALONE | missing),
    )


def names() -> list[str]:
    """Return the mixers that can be a language model by themselves."""
    return [name for name in mixers.catalogue() if name not in NOT_ALONE]


def main() -> None:
    """Run what has no record yet, or print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path, help="a text file, plain or gzip")
    parser.add_argument("mixers", nargs="*", metavar="MIXER", help="all of them if absent")
    parser.add_argument("--curve", action="store_true", help="read held-out text all along")
    parser.add_argument("--again", action="store_true", help="replace the records there are")
    parser.add_argument("--markdown", action="store_true", help="print the documentation's page")
    chosen = parser.parse_args()
    if chosen.markdown:
        print(page(RECORDS.read(), chosen.text.name), end="")
        return
    records, reading = (CURVES, READING) if chosen.curve else (RECORDS, None)
    wanted = chosen.mixers or names()
    records.complete(wanted, lambda name: measure(name, chosen.text, reading), again=chosen.again)


if __name__ == "__main__":
    main()
