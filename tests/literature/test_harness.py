"""Claims, verdicts and records, on papers made up for the purpose."""

import json
import math
import subprocess
from types import ModuleType

import pytest

from statewise import literature
from statewise.cli import main
from statewise.literature import catalogue, drawing, records
from statewise.literature.paper import Budget, Check, Claim
from statewise.literature.reproduce import describe, inequality

HIGHER = Check("a is above b", ("a", "at 8"), ">=", ("b", "at 8"))
LEAST = Check("a is right", ("a", "at 8"), ">=", 0.95)
SMALL = Check("b costs at most half", ("b", "cost"), "<=", ("a", "cost"), times=0.5)


def tables(a, b, cost=(2.0, 1.0)):
    return [
        {"a": {"at 8": x, "cost": cost[0]}, "b": {"at 8": y, "cost": cost[1]}}
        for x, y in zip(a, b, strict=True)
    ]


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ([0.9, 0.8], [0.7, 0.6], "reproduced"),
        ([0.9, 0.7], [0.7, 0.6], "reproduced"),  # equal is no less
        ([0.9, 0.65], [0.7, 0.6], "undecided"),
        ([0.5, 0.55], [0.7, 0.6], "not reproduced"),
    ],
)
def test_an_inequality_is_decided_by_ranges(a, b, verdict):
    assert HIGHER.decide(tables(a, b)).verdict == verdict
    mirrored = Check("b is below a", ("b", "at 8"), "<=", ("a", "at 8"))
    assert mirrored.decide(tables(a, b)).verdict == verdict


def test_numbers_and_factors():
    assert LEAST.decide(tables([0.95, 1.0], [0, 0])).verdict == "reproduced"
    assert LEAST.decide(tables([0.94, 1.0], [0, 0])).verdict == "undecided"
    assert LEAST.decide(tables([0.5, 0.9], [0, 0])).verdict == "not reproduced"
    assert SMALL.decide(tables([1.0], [1.0])).verdict == "reproduced"
    assert SMALL.decide(tables([1.0], [1.0], cost=(2.0, 1.5))).verdict == "not reproduced"


def test_what_is_added():
    more = Check("a is 0.2 above b", ("a", "at 8"), ">=", ("b", "at 8"), plus=0.2)
    assert more.decide(tables([0.9], [0.7])).right == [0.7 + 0.2]
    assert more.decide(tables([0.8], [0.7])).verdict == "not reproduced"
    less = Check("a is 0.2 above b", ("a", "at 8"), ">=", ("b", "at 8"), plus=0.1)
    assert Claim("", (more,)).digest != Claim("", (less,)).digest


def test_seed_by_seed():
    paired = Check("a is right more often", ("a", "at 8"), ">=", ("b", "at 8"), paired=True)
    assert HIGHER.decide(tables([0.5, 0.9], [0.4, 0.8])).verdict == "undecided"
    found = paired.decide(tables([0.5, 0.9], [0.4, 0.8]))
    assert found.verdict == "reproduced"
    assert inequality(found).endswith(">= 0.4 to 0.8, seed by seed")
    assert paired.decide(tables([0.5, 0.7], [0.4, 0.8])).verdict == "undecided"
    assert paired.decide(tables([0.3, 0.7], [0.4, 0.8])).verdict == "not reproduced"
    assert paired.decide(tables([math.nan, 0.9], [0.4, 0.8])).verdict == "undecided"
    assert Claim("", (paired,)).digest != Claim("", (HIGHER,)).digest


def test_the_worst_inequality_decides():
    claim = Claim("all", (HIGHER, LEAST, SMALL))
    assert claim.decide(tables([1.0, 1.0], [0.1, 0.2]))[0] == "reproduced"
    assert claim.decide(tables([1.0, 0.9], [0.1, 0.2]))[0] == "undecided"
    assert claim.decide(tables([1.0, 0.9], [0.1, 0.2], cost=(1.0, 1.0)))[0] == "not reproduced"
    with pytest.raises(KeyError, match="reads 'at 9' of 'a'"):
        Claim("", (Check("", ("a", "at 9"), ">=", 0.0),)).decide(tables([1.0], [1.0]))


def test_any_change_of_a_claim_is_another_claim():
    claim = Claim("text", (HIGHER, LEAST))
    others = [
        Claim("text.", (HIGHER, LEAST)),
        Claim("text", (HIGHER,)),
        Claim("text", (HIGHER, Check("a is right", ("a", "at 8"), ">=", 0.94))),
    ]
    assert claim.digest == Claim("text", (HIGHER, LEAST)).digest
    assert len({claim.digest, *(other.digest for other in others)}) == 4


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """A paper of a repository of its own, whose claim is committed."""
    path = tmp_path / "made_up.py"
    path.write_text("# a claim\n")

    def git(*words):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, capture_output=True)

    git("init")
    git("add", ".")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "claim")
    module = ModuleType("made_up", "Made up: seeds are what they are.\n\nWeak  all of it.")
    module.PAPER, module.__file__ = 2, str(path)
    module.CLAIM = Claim("A row is the seed plus its recipe.", (HIGHER,))
    module.RECIPES = {"a": 1.0, "b": 0.0}
    module.measure = lambda recipe, budget, seed: {"at 8": recipe + seed / 10, "at 16": 0.5}
    monkeypatch.setattr(
        catalogue, "papers", lambda: {"made_up": catalogue.Paper("made_up", module)}
    )
    monkeypatch.setattr(records, "FOLDER", tmp_path / "records")
    return module


def test_a_run_is_kept_with_the_commit_of_its_claim(made_up, tmp_path):
    run = literature.reproduce("made_up", seeds=(0, 3), record=True, workers=1, quiet=True)
    assert run.tables[1] == {"a": {"at 8": 1.3, "at 16": 0.5}, "b": {"at 8": 0.3, "at 16": 0.5}}
    assert run.verdict == "reproduced"
    (kept,) = records.read("made_up")
    head = ["git", "-C", str(tmp_path), "rev-parse", "HEAD"]
    assert kept.commit == subprocess.run(head, capture_output=True, text=True).stdout.strip()
    assert kept.tables == run.tables
    (entry,) = [entry for entry in literature.entries() if entry.file]
    assert (entry.number, entry.verdict, entry.record, entry.void) == (2, "reproduced", kept, 0)


def test_a_changed_claim_voids_its_record_and_both_stay(made_up):
    options = {"seeds": (0,), "record": True, "workers": 1, "quiet": True}
    literature.reproduce("made_up", **options)
    made_up.CLAIM = Claim("Another.", (LEAST,))
    (entry,) = [entry for entry in literature.entries() if entry.file]
    assert (entry.verdict, entry.void) == (None, 1)
    literature.reproduce("made_up", **options)
    (entry,) = [entry for entry in literature.entries() if entry.file]
    assert (entry.verdict, entry.void, len(records.read("made_up"))) == ("reproduced", 1, 2)


def test_what_is_not_committed_is_not_recorded(made_up, tmp_path):
    (tmp_path / "made_up.py").write_text("# another claim\n")
    with pytest.raises(ValueError, match="commit the claim before it is run"):
        literature.reproduce("made_up", record=True, workers=1, quiet=True)
    literature.reproduce("made_up", workers=1, quiet=True)
    assert records.read("made_up") == []


def test_the_smoke_budget_gives_no_verdict(made_up):
    run = literature.reproduce(
        "made_up", seeds=(0,), budget=Budget.smoke, record=True, workers=1, quiet=True
    )
    assert run.verdict is None
    assert records.read("made_up") == []
    assert "no verdict" in describe(run)


def test_what_a_person_reads(made_up):
    run = literature.reproduce("made_up", seeds=(0, 1), workers=1, quiet=True)
    text = describe(run)
    assert "a" in text.splitlines()[3]
    assert "1.05 (1 to 1.1)" in text
    assert text.endswith("verdict: reproduced")
    assert drawing.picture(run.tables, "made up").startswith(b"\x89PNG")


@pytest.mark.parametrize("seeds", [(), (1, 1)])
def test_seeds_that_make_no_sense(made_up, seeds):
    with pytest.raises(ValueError, match="each another"):
        literature.reproduce("made_up", seeds=seeds, workers=1, quiet=True)


def test_from_the_command_line(made_up, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # other processes do not know what is made up
    main(["reproduce", "made_up", "--seeds", "1", "--json", "--out", str(tmp_path / "out")])
    assert json.loads(capsys.readouterr().out)["verdict"] == "reproduced"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"made_up.json", "made_up.png"}
    main(["literature", "--json"])
    listed = json.loads(capsys.readouterr().out)
    assert [entry["number"] for entry in listed] == list(range(1, 211))
    with pytest.raises(SystemExit):
        main(["literature", "--family", "delta rul"])
    assert "did you mean delta rule?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["reproduce", "made_down"])
    assert "did you mean 'made_up'?" in capsys.readouterr().err
