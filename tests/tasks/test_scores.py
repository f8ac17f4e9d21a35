import random

import pytest
from sklearn import metrics

from statewise.tasks.scores import Score, class_report, phi

WANTED, FOUND = ["cat", "dog", "dog", "cow"], ["cat", "cat", "dog", "cat"]


def test_the_picture():
    report = class_report(WANTED, FOUND)
    assert report.classes == {"cat": Score(1, 3, 1), "cow": Score(0, 0, 1), "dog": Score(1, 1, 2)}
    assert report.accuracy == report.micro_f1 == 0.5
    assert report.classes["cat"].f1 == pytest.approx(0.5)
    assert report.macro_f1 == pytest.approx((0.5 + 0 + 2 / 3) / 3)
    assert report.confusion == {
        ("cat", "cat"): 1,
        ("cow", "cat"): 1,
        ("dog", "cat"): 1,
        ("dog", "dog"): 1,
    }
    lines = str(report).splitlines()
    assert lines[0].split() == ["precision", "recall", "F1", "found", "wanted"]
    assert lines[3].split() == ["dog", "100.00", "50.00", "66.67", "1", "2"]
    assert lines[4].split() == ["all", "50.00", "50.00", "50.00", "4", "4"]
    assert lines[5] == "accuracy 50.00, macro F1 38.89, micro F1 50.00"


@pytest.mark.parametrize("seed", range(5))
def test_another_library_counts_the_same(seed):
    draw = random.Random(seed)
    wanted = draw.choices("abcde", (8, 4, 2, 1, 1), k=60)
    found = draw.choices("abcdf", (8, 4, 2, 1, 1), k=60)
    report = class_report(wanted, found)
    theirs = metrics.precision_recall_fscore_support(
        wanted, found, labels=list(report.classes), zero_division=0
    )
    for place, score in enumerate(report.classes.values()):
        ours = (score.precision, score.recall, score.f1, score.wanted)
        assert ours == pytest.approx([column[place] for column in theirs])
    average = {"y_true": wanted, "y_pred": found, "zero_division": 0}
    assert report.macro_f1 == pytest.approx(metrics.f1_score(**average, average="macro"))
    assert report.weighted_f1 == pytest.approx(metrics.f1_score(**average, average="weighted"))
    assert report.micro_f1 == pytest.approx(metrics.f1_score(**average, average="micro"))
    assert report.accuracy == pytest.approx(metrics.accuracy_score(wanted, found))


@pytest.mark.parametrize("seed", range(5))
def test_phi_is_the_correlation_that_another_library_has(seed):
    draw = random.Random(seed)
    one = [draw.random() < 0.7 for _ in range(60)]
    other = [draw.random() < 0.6 if it else draw.random() < 0.2 for it in one]
    assert phi(one, other) == pytest.approx(metrics.matthews_corrcoef(one, other))
    assert phi(one, one) == pytest.approx(1) == -phi(one, [not it for it in one])


def test_phi_is_of_the_same_things():
    with pytest.raises(ValueError, match="3 things, the other of 2"):
        phi([True] * 3, [False] * 2)


@pytest.mark.parametrize(
    ("counts", "percent"),
    [
        # The example on the page of the shared task of CoNLL-2000.
        ((371, 539, 459), (68.83, 80.83, 74.35)),
        ((5, 11, 8), (45.45, 62.5, 52.63)),
        ((0, 0, 5), (0, 0, 0)),
        ((0, 5, 0), (0, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        # 100 * (57 / 4000) is 1.4249999999999998, and 100 * 57 / 4000 is 1.425.
        ((57, 4000, 57), (round(1.425, 2), 100, 2.81)),
    ],
)
def test_percent_is_rounded_as_scripts_do(counts, percent):
    assert Score(*counts).percent() == percent


def test_nothing_to_count_is_no_error():
    report = class_report([], [])
    assert (report.accuracy, report.macro_f1, report.weighted_f1) == (0, 0, 0)
    assert phi([True, True], [True, False]) == 0
    assert "accuracy 0.00" in str(report)


def test_one_class_for_each_example():
    with pytest.raises(ValueError, match="3 classes found for 4 wanted"):
        class_report(WANTED, FOUND[:3])
