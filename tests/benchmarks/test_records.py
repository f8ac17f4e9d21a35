"""Records go on where they were, and their pages say what is missing."""

import json
import re

import pytest

from benchmarks import cards, end_to_end, text
from benchmarks.records import Records


@pytest.fixture
def records(tmp_path):
    made = Records("numbers")
    made.path = tmp_path / "numbers.json"
    return made


def test_what_has_a_record_is_not_measured_again(records):
    measured = []

    def measure(name):
        measured.append(name)
        if name == "bad":
            raise RuntimeError("stopped")
        return {"length": len(name)}

    with pytest.raises(RuntimeError):
        records.complete(["one", "bad", "three"], measure, again=False)
    assert records.read() == {"one": {"length": 3}}
    records.complete(["one", "three"], measure, again=False)
    assert measured == ["one", "bad", "three"]
    records.complete(["one"], measure, again=True)
    assert measured[-1] == "one"
    assert list(records.read()) == ["one", "three"]


def test_the_page_of_the_text_ranks_and_names_what_is_missing():
    common = {"tokens_per_second": 10_000.0, "parameters": 1000, "date": "2000-01-01"}
    common |= {"processor": "any", "state_bytes": 1024}
    page = text.page(
        {
            "gla": common | {"bits_per_byte": 2.5, "grows": False},
            "attention": common | {"bits_per_byte": 2.25, "grows": True},
            "lstm": {"failed": "out of memory"},
        },
        "any.txt",
    )
    assert page.index("| attention | 2.250 | 10,000 | 1,024+ |") < page.index("| gla | 2.500")
    assert "lstm (out of memory)" in page
    assert re.search(r"mamba, mamba2, [^(]* \(was not run yet\)", page)


def test_the_page_of_the_cards_marks_what_theory_says():
    def result(accuracy, allowed):
        return {
            "accuracy_longer": accuracy,
            "accuracy": 0.75,
            "solved": accuracy >= 0.99,
            "theory": {"allowed": allowed},
        }

    cost = {"state_bytes": 64, "state_grows": False, "step_microseconds": 9.6}
    cost["training_tokens_per_second"] = 1e5
    tasks = dict(
        zip(
            cards.TASKS,
            [result(1.0, True), result(0.5, True), result(0.25, False), result(1.0, False)],
            strict=True,
        )
    )
    spec = json.dumps({"name": "delta_net", "negative_eigenvalues": True})
    page = cards.page({spec: {"cost": cost, "tasks": tasks}, "lion": {"failed": "reads ahead"}})
    row = "| delta_net, eigenvalues -1 to 1 | 64 | 10 | 100,000 |"
    assert f"{row} **1.00** | 0.50* | ~~0.25~~ | ~~**1.00**~~ |" in page
    assert "yet solved: delta_net, eigenvalues -1 to 1 (associative recall)." in page
    assert "lion (reads ahead)" in page
    assert "- modular counting: delta_net, eigenvalues -1 to 1 (0.75 at 32)\n" in page
    assert "- parity: \n" in page


def test_both_choices_of_eigenvalues_are_carded():
    assert {"delta_net", '{"name": "delta_net", "negative_eigenvalues": true}'} <= set(
        cards.names()
    )
    assert "bidirectional" not in cards.names()


def test_models_of_one_line_are_of_equal_size():
    """Ours are about as large as the llama: what is compared is speed at one size."""
    for family in end_to_end.FAMILIES.values():
        millions = sum(p.numel() for p in end_to_end.ours(family).parameters()) / 1e6
        assert 13.5 < millions < 18


def test_the_floor_multiplies_every_matrix_three_times(monkeypatch):
    made = []
    multiply = end_to_end.torch.mm

    def watched(a, b):
        made.append((a.shape[0], a.shape[1], b.shape[1]))
        return multiply(a, b)

    monkeypatch.setattr(end_to_end.torch, "mm", watched)
    model = end_to_end.nn.Sequential(*(end_to_end.nn.Linear(16, 32) for _ in range(2)))
    end_to_end.products(model, 8)()
    assert made == 2 * [(8, 16, 32), (8, 32, 16), (32, 8, 16)]
