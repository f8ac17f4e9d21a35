"""The card of every mixer: `python -m benchmarks.cards [MIXER ...]`.

A mixer with a choice of eigenvalues is carded both ways. Records are kept in
`benchmarks/records/cards.json`, one mixer after another: a run that is stopped goes on where it
was. `--markdown` prints the documentation's page from the records.
"""

import argparse
import json
from inspect import signature
from typing import Any

import torch

from benchmarks import markdown
from benchmarks.records import Records, by_reason, parted
from statewise import analysis, mixers
from statewise.analysis.capability import LENGTH, LONGER, SOLVED, TASKS
from statewise.mixers.base import Mixer

RECORDS = Records("cards")
SECONDS = 30.0
NEGATIVE = "negative_eigenvalues"

PAGE = """# Cards, measured

What a stack of two layers of each mixer learned in {seconds:g} seconds of training for each task,
by one thread: the accuracy at {longer} symbols after training on up to {length}. One seed and one
learning rate each, so that a number says what was learned, not what could be; `statewise card NAME
--seconds 300` gives a mixer more. The tasks and the theory are explained on
[the page before](cards.md). **Bold** is solved ({solved:.0%} right), ~~struck~~ what theory
excludes for two layers, and an asterisk is on what theory allows and was not solved here.

Excluded by theory and yet solved: {contradictions}.

## What is recalled, against what is kept

![A mark for each mixer: the share of pairs recalled, against the bytes of its state; a grey line
through the most that any recalled with so much state](recall-by-state.png)

Associative recall at {longer} symbols. A hollow mark has a state that grows with what is read;
chance is one in eight. What lies below the line had room and did not learn to use it in {seconds:g}
seconds; what lies on it shows how much room is needed at least. A mixer with a choice of
eigenvalues is shown with its default.

## What is tracked, by length, and what theory says

![A row for each mixer: for parity, counting modulo 3 and words over S3 what theory allows, and
the percent right at {length} and at {longer} symbols](tracking-by-length.png)

Percent right at the training length, {length}, and at {longer}; darker is further above chance.
*theory*: whether two such layers may solve it at all lengths, by the kind of their transitions;
"open" where nothing is proved. What counts up in its state is right at {length} and lost at
{longer}; what theory allows need not be learned.

## All of it

| mixer | state, bytes | step, us | tokens per second | {titles} |
| --- | ---: | ---: | ---: | {rules} |
{rows}

## What theory allows and was not solved here

Tried for each: the stack above, {seconds:g} seconds, examples that grow from 4 symbols to
{length}, one learning rate of 3e-3 and one seed. Which of them learn with more is for
[the literature](literature.md).

{unsolved}

Made by `python -m benchmarks.cards --markdown`. Not carded: {others}.
"""


def names() -> list[str]:
    """Return every mixer that keeps a state, and the choices of eigenvalues as specifications."""
    found = []
    for name, mixer in mixers.catalogue().items():
        if not issubclass(mixer, Mixer):
            continue
        found.append(name)
        if NEGATIVE in signature(mixer).parameters:
            chosen = not signature(mixer).parameters[NEGATIVE].default
            found.append(json.dumps({"name": name, NEGATIVE: chosen}))
    return found


def measure(name: str) -> dict[str, Any]:
    """Return a card as plain data, or why there is none."""
    spec = json.loads(name) if name.startswith("{") else name
    try:
        return analysis.as_data(analysis.card(spec, seconds=SECONDS, quiet=True))
    except ValueError as error:
        return {"failed": str(error)}


def title(name: str) -> str:
    """Return a name as a table shows it."""
    if not name.startswith("{"):
        return name
    spec = json.loads(name)
    return f"{spec['name']}, eigenvalues {'-1 to 1' if spec[NEGATIVE] else '0 to 1'}"


def cell(result: dict[str, Any]) -> str:
    """Return an accuracy, marked by what theory says of it."""
    text = f"{result['accuracy_longer']:.2f}"
    allowed = result["theory"]["allowed"]
    if result["solved"]:
        text = f"**{text}**"
    if allowed is False:
        return f"~~{text}~~"
    return f"{text}*" if allowed and not result["solved"] else text


def page(records: dict[str, dict[str, Any]]) -> str:
    """Return the documentation's page."""
    good, missing = parted(records, names())
    rows, contradictions = [], []
    named = sorted(good.items(), key=lambda pair: title(pair[0]))
    for name, found in named:
        cost, tasks = found["cost"], found["tasks"]
        rows.append(
            f"| {title(name)} | {cost['state_bytes']:,}{'+' if cost['state_grows'] else ''} "
            f"| {cost['step_microseconds']:.0f} | {cost['training_tokens_per_second']:,.0f} | "
            + " | ".join(cell(tasks[task]) for task in TASKS)
            + " |"
        )
        contradictions += [
            f"{title(name)} ({task})"
            for task in TASKS
            if tasks[task]["solved"] and tasks[task]["theory"]["allowed"] is False
        ]
    unsolved = {
        task: [
            f"{title(name)} ({result['accuracy']:.2f} at {LENGTH})"
            for name, found in named
            if (result := found["tasks"][task])["theory"]["allowed"] and not result["solved"]
        ]
        for task in TASKS
    }
    return PAGE.format(
        unsolved=markdown.bullets({task: ", ".join(names) for task, names in unsolved.items()}),
        seconds=SECONDS,
        length=LENGTH,
        longer=LENGTH * LONGER,
        solved=SOLVED,
        contradictions=", ".join(contradictions) or "nothing",
        titles=" | ".join(TASKS),
        rules=" | ".join("---:" for _ in TASKS),
        rows="\n".join(rows),
        others=by_reason({title(name): why for name, why in missing.items()}),
    )


def main() -> None:
    """Card what has no record yet, or print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mixers", nargs="*", metavar="MIXER", help="all of them if absent")
    parser.add_argument("--again", action="store_true", help="replace the records there are")
    parser.add_argument("--markdown", action="store_true", help="print the documentation's page")
    chosen = parser.parse_args()
    if chosen.markdown:
        print(page(RECORDS.read()), end="")
        return
    torch.set_num_threads(1)
    RECORDS.complete(chosen.mixers or names(), measure, again=chosen.again)


if __name__ == "__main__":
    main()
