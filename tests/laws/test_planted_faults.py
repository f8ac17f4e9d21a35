"""Every law is able to fail: each catches the faults planted for it, and nothing else is wrong."""

import faults
import pytest

from statewise import testing
from statewise.mixers.base import Mixer

DTYPES = pytest.mark.parametrize("dtype", testing.DTYPES, ids=["float64", "float32"])
TIMES = (0, 1, 2, 3, 9)
COMPLETE = (*testing.LAWS, *testing.COMPILER_LAWS)


@DTYPES
@pytest.mark.parametrize("law", testing.LAWS, ids=lambda law: law.__name__)
def test_the_mixer_that_faults_are_planted_in_is_right(law, dtype):
    testing.hold(law, faults.Average, dtype, times=TIMES)


@DTYPES
@pytest.mark.parametrize("law", testing.WHOLE_SEQUENCE_LAWS, ids=lambda law: law.__name__)
def test_the_whole_sequence_that_faults_are_planted_in_is_right(law, dtype):
    testing.hold(law, faults.Spread, dtype, times=TIMES)


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
        for law in testing.LAWS
        for fault in faults.FAULTS[law]
    ],
)
def test_law_catches_its_fault(law, fault, dtype):
    with pytest.raises(testing.LawBroken) as caught:
        testing.hold(law, fault, dtype, times=TIMES)
    said = str(caught.value)
    assert said.startswith(f"{fault.__name__} in {dtype} breaks the law {law.__name__}: ")
    assert testing.sentence(law) in said


@pytest.mark.parametrize("law", testing.COMPILER_LAWS, ids=lambda law: law.__name__)
def test_compiler_law_catches_its_fault(law, compiled):
    number = testing.COMPILER_LAWS.index(law)
    for fault in faults.FAULTS[law]:
        said = compiled[fault.__name__][number]
        assert said is not None
        assert said.startswith(f"{fault.__name__} in torch.float32 breaks the law {law.__name__}: ")


def test_check_mixer_takes_classes_instances_and_callables():
    instance = faults.Average()
    laws = (testing.no_state_means_the_initial_state, testing.state_dict_round_trips)
    for source in (faults.Average, instance, lambda: faults.Average(2)):
        testing.check_mixer(source, laws=laws, times=TIMES)
        testing.check_mixer(source, laws=laws, times=TIMES, seed=7)
    assert {p.dtype.itemsize for p in instance.parameters()} == {4}  # it was copied, not changed
    testing.check_whole_sequence(faults.Spread, laws=laws[1:])


def test_check_mixer_raises_at_a_broken_law():
    with pytest.raises(testing.LawBroken, match="breaks the law is_causal: No output depends"):
        testing.check_mixer(faults.Peeks, laws=(testing.is_causal,))
    with pytest.raises(testing.LawBroken, match="a_reset_is_a_fresh_start"):
        testing.check_whole_sequence(
            faults.SpreadsOverResets, laws=(testing.a_reset_is_a_fresh_start,)
        )


def test_check_refuses_the_other_kind():
    with pytest.raises(TypeError, match="Spread is no Mixer"):
        testing.check_mixer(faults.Spread)
    with pytest.raises(TypeError, match="Average is no WholeSequence"):
        testing.check_whole_sequence(faults.Average)


def test_a_mixer_may_say_that_it_expands_perturbations():
    class Expanding(faults.Average):
        longest_agreement = 3

    assert testing.prepare(Expanding, testing.DTYPES[0]).times == [0, 1, 2, 3]
    assert testing.prepare(faults.Average, testing.DTYPES[0]).times == list(testing.TIMES)


def test_the_laws_read_an_example_input():
    class Frames(faults.Average):
        """An average over the features of frames, (batch, time, height, width)."""

        def example_input(self, batch, time, generator, dtype):
            return faults.torch.randn(batch, time, 1, self.dim, generator=generator, dtype=dtype)

        def forward(self, x, state=None, *, reset=None, lengths=None):
            return super().forward(x[:, :, 0], state, reset=reset, lengths=lengths)

        def step(self, x, state):
            y, state = self(x[:, None], state)
            return y[:, 0].clone(), state

    for law in (
        testing.steps_equal_forward,
        testing.is_causal,
        testing.rows_are_kept_apart,
        testing.a_reset_is_a_fresh_start,
        testing.padding_changes_nothing,
    ):
        testing.hold(law, Frames, testing.DTYPES[0], times=TIMES[:4])


def test_the_table_has_a_sentence_for_every_law():
    assert [name for name, _, _ in testing.table()] == [law.__name__ for law in COMPLETE]
    assert all(said.endswith(".") and "\n" not in said for _, said, _ in testing.table())
    assert all(issubclass(f[0], Mixer) for f in faults.FAULTS.values())
