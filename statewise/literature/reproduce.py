"""Running a paper file: all its recipes and seeds, the table, the verdict, the plot, the record."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from statistics import mean
from typing import Any

import torch
from tqdm import tqdm

from statewise.literature import catalogue, records
from statewise.literature.paper import Budget, Decision, Table, Verdict
from statewise.literature.records import Record


@dataclass(frozen=True)
class Run:
    """What one run of a paper found."""

    name: str
    finding: str
    claim: str
    budget: str
    seeds: list[int]
    tables: list[dict[str, dict[str, float]]]
    """One for each seed: by recipe, by measure."""
    verdict: Verdict | None
    """None with the smoke budget."""
    checks: list[Decision]
    seconds: float

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self) | {"checks": [check._asdict() for check in self.checks]}


def reproduce(
    name: str,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    budget: Budget = Budget.claim,
    record: bool = False,
    workers: int | None = None,
    quiet: bool = False,
) -> Run:
    """Run a paper file.

    Args:
        name: of the file.
        seeds: each is one run of every recipe.
        budget: how much is computed.
        record: whether to keep the verdict with the project. The claim has to be committed.
        workers: processes side by side, of one thread each; as many as processors if absent.
            Recipes that measure time run one after another, by all threads, when these are done.
        quiet: whether to show no bar.

    Raises:
        ValueError: for a name or seeds that do not exist, or a claim that is not committed.
    """
    paper = catalogue.paper(name)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds are {list(seeds)}; there should be some, each another")
    commit = records.committed(paper.path) if record else ""
    begin = time.perf_counter()
    tables: dict[int, dict[str, dict[str, float]]] = {seed: {} for seed in seeds}
    jobs = [(recipe, seed) for seed in seeds for recipe in paper.recipes]
    timed = [job for job in jobs if job[0] in paper.alone]
    beside = [job for job in jobs if job[0] not in paper.alone]
    with tqdm(total=len(jobs), desc=name, disable=quiet) as bar:
        for some, side_by_side in ((beside, workers), (timed, 1)):
            with _done(paper.name, some, budget, side_by_side) as done:
                for recipe, seed, found in done:
                    tables[seed][recipe] = found
                    bar.update()
    ordered = [{row: tables[seed][row] for row in paper.recipes} for seed in seeds]
    verdict, checks = paper.claim.decide(ordered)
    run = Run(
        name,
        paper.finding,
        paper.claim.text,
        budget.value,
        list(seeds),
        ordered,
        None if budget is Budget.smoke else verdict,
        checks if budget is not Budget.smoke else [],
        round(time.perf_counter() - begin, 1),
    )
    if record and run.verdict is not None:
        records.add(
            Record(
                paper.number,
                name,
                paper.claim.digest,
                paper.claim.text,
                commit,
                run.budget,
                run.seeds,
                run.tables,
                [check._asdict() for check in checks],
                run.verdict,
                run.seconds,
                datetime.now(UTC).date().isoformat(),
                _machine(),
            )
        )
    return run


Job = tuple[str, int]


@contextmanager
def _done(
    name: str, jobs: Sequence[Job], budget: Budget, workers: int | None
) -> Iterator[Iterator[tuple[str, int, dict[str, float]]]]:
    """Give what each recipe and seed comes to, as they are done."""
    count = min(len(jobs), os.cpu_count() or 1 if workers is None else workers)
    if count <= 1:
        yield ((recipe, seed, measured(name, recipe, budget, seed)) for recipe, seed in jobs)
        return
    pool = ProcessPoolExecutor(
        count, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    )
    try:
        asked: dict[Future[dict[str, float]], Job] = {
            pool.submit(measured, name, recipe, budget, seed): (recipe, seed)
            for recipe, seed in jobs
        }
        yield ((*asked[one], one.result()) for one in as_completed(asked))
    finally:
        pool.shutdown(cancel_futures=True)


def measured(name: str, recipe: str, budget: Budget, seed: int) -> dict[str, float]:
    """Return what one recipe and seed of a paper comes to."""
    paper = catalogue.paper(name)
    torch.manual_seed(seed)
    found = paper.measure(paper.recipes[recipe], budget, seed)
    return {measure: float(number) for measure, number in found.items()}


def _machine() -> dict[str, str]:
    return {
        "processors": str(os.cpu_count()),
        "torch": torch.__version__,
        "python": sys.version.split()[0],
    }


def describe(run: Run) -> str:
    """Return a run as a person reads it: a table with the spread over seeds, and the verdict."""
    head, *rows = cells(run.tables)
    wide = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [run.finding, ""]
    for name, *others in (head, *rows):
        numbers = (f"{cell:>{width}}" for cell, width in zip(others, wide[1:], strict=True))
        lines.append("  ".join([f"{name:{wide[0]}}", *numbers]).rstrip())
    seeds = f"seeds {', '.join(map(str, run.seeds))}" if len(run.seeds) > 1 else "one seed"
    lines += ["", f"mean and range over {seeds}; {run.seconds:.0f} s, budget {run.budget}"]
    if run.verdict is None:
        return "\n".join([*lines, "no verdict: this budget only shows that it runs"])
    lines += ["", f"claim: {run.claim}"]
    lines += [f"  {check.verdict:15} {inequality(check)}" for check in run.checks]
    return "\n".join([*lines, f"verdict: {run.verdict}"])


def cells(tables: Sequence[Table]) -> list[list[str]]:
    """Return the texts of a table, its head first: means, and ranges over seeds."""
    columns = list(dict.fromkeys(c for row in tables[0].values() for c in row))
    rows = [[row, *(_spread(tables, row, column) for column in columns)] for row in tables[0]]
    return [["", *columns], *rows]


def inequality(check: Decision) -> str:
    """Return an inequality with the numbers on both of its sides."""
    left, right = (_range(side) for side in (check.left, check.right))
    how = ", seed by seed" if check.paired else ""
    return f"{check.sentence}: {left} {check.relation} {right}{how}"


def _spread(tables: Sequence[Table], row: str, column: str) -> str:
    values = [table[row][column] for table in tables if column in table[row]]
    if not values:
        return ""
    return f"{mean(values):.4g}" + (f" ({_range(values)})" if len(values) > 1 else "")


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.4g}", f"{max(values):.4g}"
    return low if low == high else f"{low} to {high}"
