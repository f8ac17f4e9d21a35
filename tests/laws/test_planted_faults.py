"""Every law is able to fail: each catches the faults planted for it, and nothing else is wrong."""

import faults
import pytest
from tried import Trial

from statewise import testing

DTYPES = pytest.mark.parametrize("dtype", testing.DTYPES, ids=["float64", "float32"])
TIMES = (0, 1, 2, 3, 9)
OF_STATES = (*testing.LAWS, *testing.CELL_LAWS)
COMPLETE = (*OF_STATES, *testing.COMPILER_LAWS)


@DTYPES
@pytest.mark.parametrize("law", testing.LAWS, ids=lambda law: law.__name__)
def test_the_mixer_that_faults_are_planted_in_is_right(law, dtype):
    testing.hold(law, faults.Average, dtype, times=TIMES)


@DTYPES
@pytest.mark.parametrize("law", testing.WHOLE_SEQUENCE_LAWS, ids=lambda law: law.__name__)
def test_the_whole_sequence_that_faults_are_planted_in_is_right(law, dtype):
    testing.hold(law, faults.Spread, dtype, times=TIMES)


@DTYPES
@pytest.mark.parametrize("law", OF_STATES, ids=lambda law: law.__name__)
def test_the_cell_that_faults_are_planted_in_is_right(law, dtype):
    testing.hold(law, faults.Leak, dtype, times=TIMES)


def test_every_law_has_a_planted_fault():
    assert set(faults.FAULTS) == set(COMPLETE)
    assert all(faults.FAULTS.values())


def test_every_fault_says_what_it_is():
    for planted in faults.FAULTS.values():
        for fault in planted:
            assert "no fault" not in fault.__doc__
            assert fault.__doc__.endswith(".")


@DTYPES
@pytest.mark.parametrize(
    ("law", "fault"),
    [
        pytest.param(law, fault, id=f"{law.__name__}-{fault.__name__}")
        for law in OF_STATES
        for fault in faults.FAULTS[law]
    ],
)
def test_law_catches_its_fault(law, fault, dtype):
    with pytest.raises(testing.LawBroken) as caught:
        testing.hold(law, fault, dtype, times=TIMES)
    said = str(caught.value)
    assert said.startswith(f"{fault.__name__} in {dtype} breaks the law {law.__name__}: ")
    assert testing.sentence(law) in said


@pytest.mark.parametrize(
    "trial",
    [
        Trial(fault.__name__, law.__name__, "float32", testing.TIMES)
        for law in testing.COMPILER_LAWS
        for fault in faults.FAULTS[law]
    ],
    ids=lambda trial: trial.subject,
)
def test_compiler_law_catches_its_fault(trial, seen):
    assert seen is not None
    assert trial.law in seen
