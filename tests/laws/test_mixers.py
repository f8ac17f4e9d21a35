"""Every law on every mixer: a file dropped into statewise/mixers is tried without a new test."""

import pytest
import torch
from variants import VARIANTS

from statewise import mixers, testing

SUBJECTS = {**mixers.catalogue(), **VARIANTS}


def laws(name):
    whole = isinstance(testing.prepare(SUBJECTS[name], torch.float32).mixer, mixers.WholeSequence)
    return testing.WHOLE_SEQUENCE_LAWS if whole else testing.LAWS


def readable(value):
    return value if isinstance(value, str) else value.__name__


@pytest.mark.parametrize("dtype", testing.DTYPES, ids=["float64", "float32"])
@pytest.mark.parametrize(
    ("name", "law"),
    [
        pytest.param(name, law, id=f"{name}-{law.__name__}")
        for name in SUBJECTS
        for law in laws(name)
    ],
)
def test_law(name, law, dtype):
    # Variants are tried at fewer lengths, to spare minutes.
    times = (0, 1, 2, 3, 17) if name in VARIANTS else testing.TIMES
    testing.hold(law, SUBJECTS[name], dtype, times=times)


@pytest.mark.parametrize("name", mixers.catalogue())
def test_compiler_laws(name, compiled):
    assert compiled[name] == [None] * len(testing.COMPILER_LAWS)


@pytest.mark.long
@pytest.mark.parametrize("dtype", testing.DTYPES, ids=["float64", "float32"])
@pytest.mark.parametrize("name", SUBJECTS)
@pytest.mark.parametrize(
    "law",
    [
        testing.steps_equal_forward,
        testing.splits_anywhere,
        testing.is_causal,
        testing.a_reset_is_a_fresh_start,
        testing.padding_changes_nothing,
    ],
    ids=readable,
)
def test_law_at_length_1000(name, law, dtype):
    if law in laws(name):
        testing.hold(law, SUBJECTS[name], dtype, times=[1000])
