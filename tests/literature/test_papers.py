"""Every paper file runs, and measures what its claim is about."""

import pytest

from statewise import literature
from statewise.literature.paper import Budget
from statewise.literature.reproduce import measured

PAPERS = literature.papers()


def test_numbers_are_those_of_the_list():
    entries = {entry.number: entry for entry in literature.entries()}
    assert sorted(entries) == list(range(1, 211))
    numbers = [paper.number for paper in PAPERS.values()]
    assert len(set(numbers)) == len(numbers)
    assert set(numbers) <= set(entries)


@pytest.mark.parametrize("name", PAPERS)
def test_the_head_says_what_was_found_and_where_it_is_weak(name):
    paper = PAPERS[name]
    assert paper.finding.endswith(".")
    head = paper.module.__doc__
    assert "\nWeak " in head
    assert "arXiv:" in head or "19" in head or "20" in head
    lines = len(paper.path.read_text(encoding="utf-8").splitlines())
    assert lines < 200


@pytest.mark.parametrize("name", PAPERS)
def test_it_runs_in_seconds_and_measures_what_the_claim_reads(name):
    run = literature.reproduce(name, seeds=(0,), budget=Budget.smoke, workers=1, quiet=True)
    assert run.verdict is None
    _, decisions = PAPERS[name].claim.decide(run.tables)
    assert len(decisions) == len(PAPERS[name].claim.checks)
    # The same seed, the same numbers.
    recipe = next((one for one in PAPERS[name].recipes if one not in PAPERS[name].alone), None)
    if recipe is not None:
        again = measured(name, recipe, Budget.smoke, 0)
        assert again == run.tables[0][recipe]


@pytest.mark.parametrize("name", PAPERS)
def test_what_is_timed_alone_is_a_recipe(name):
    assert set(PAPERS[name].alone) <= set(PAPERS[name].recipes)
