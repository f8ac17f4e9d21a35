"""Every law on every mixer: a file dropped into statewise/mixers is tried without a new test."""

import pytest
import torch
from tried import SUBJECTS, Trial
from variants import STACKS, VARIANTS

from statewise import mixers, testing


def laws(name):
    return testing.laws_of(testing.prepare(SUBJECTS[name], torch.float32).mixer)


def trials(laws, dtypes, times=None, names=SUBJECTS):
    """Return parameters for the laws that `laws` gives for each name."""
    # Variants are tried at fewer lengths, to spare minutes.
    made = [
        Trial(name, law.__name__, str(dtype).removeprefix("torch."), tuple(lengths))
        for name in names
        for lengths in [times or ((0, 1, 2, 3, 17) if name in VARIANTS else testing.TIMES)]
        for law in laws(name)
        for dtype in dtypes
    ]
    ids = [f"{trial.subject}: {trial.law}, {trial.dtype}" for trial in made]
    return pytest.mark.parametrize("trial", made, ids=ids)


@trials(laws, testing.DTYPES)
def test_law(trial, seen):
    assert seen is None


@trials(lambda name: testing.COMPILER_LAWS if name in mixers.catalogue() else (), [torch.float32])
def test_law_of_the_compiler(trial, seen):
    assert seen is None


OF_STACKS = (
    testing.steps_equal_forward,
    testing.splits_anywhere,
    testing.a_reset_is_a_fresh_start,
    testing.padding_changes_nothing,
    testing.the_state_has_its_declared_size,
    testing.every_parameter_learns,
)


@trials(lambda _: OF_STACKS, [torch.float64], times=(0, 1, 7), names=STACKS)
def test_law_of_a_hybrid(trial, seen):
    assert seen is None


LONG = (
    testing.steps_equal_forward,
    testing.splits_anywhere,
    testing.is_causal,
    testing.a_reset_is_a_fresh_start,
    testing.padding_changes_nothing,
)


@pytest.mark.long
@trials(lambda name: [law for law in LONG if law in laws(name)], testing.DTYPES, times=(1000,))
def test_law_at_length_1000(trial, seen):
    assert seen is None


@pytest.mark.parametrize("name", SUBJECTS)
def test_shapes_in_signatures(name):
    # Here the hook checks them, at every call.
    testing.hold(testing.nothing_is_legal, SUBJECTS[name], torch.float32)
