"""Calibration against a count by hand, and against what it must be by its definition."""

import random

import pytest

from statewise.tasks.calibration import calibration


def test_it_is_counted_as_by_hand():
    found = calibration([0.95, 0.92, 0.91, 0.55, 0.52], [True, False, True, True, False], bins=10)
    assert [bin.size for bin in found.bins] == [2, 3]
    assert found.bins[0].accuracy == 0.5
    assert found.bins[1].accuracy == pytest.approx(2 / 3)
    off = (2 * abs(0.535 - 0.5) + 3 * abs(2.78 / 3 - 2 / 3)) / 5
    assert found.error == pytest.approx(off)
    assert found.confidence == pytest.approx(0.77)
    assert found.accuracy == pytest.approx(0.6)


def test_borders_belong_to_the_bin_below_and_zero_to_the_first():
    found = calibration([0.0, 0.5, 0.5 + 1e-9, 1.0], [False] * 4, bins=2)
    assert [bin.size for bin in found.bins] == [2, 2]


@pytest.mark.parametrize(("bend", "error"), [(1.0, 0.0), (0.5, 0.25)])
def test_deserved_confidence_has_no_error_and_halved_truth_half_of_it(bend, error):
    draw = random.Random(0)
    sure = [draw.random() for _ in range(100_000)]
    right = [draw.random() < bend * p for p in sure]
    # A mean of 6,667 in each bin is off by 0.006 or less.
    assert calibration(sure, right).error == pytest.approx(error, abs=0.01)


def test_nothing_is_no_error():
    assert calibration([], []).error == 0
    assert calibration([], []).bins == ()


@pytest.mark.parametrize(
    ("sure", "right", "why"),
    [
        ([0.5], [], "1 confidences for 0"),
        ([1.5], [True], "no number from 0 to 1: 1.5"),
        ([float("nan")], [True], "no number from 0 to 1: nan"),
    ],
)
def test_what_is_no_confidence_is_refused(sure, right, why):
    with pytest.raises(ValueError, match=why):
        calibration(sure, right)
