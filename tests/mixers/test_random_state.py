"""Zoneout and variational dropout, which draw while they train and never from the global source."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from statewise import mixers
from statewise.ops import programs

pytestmark = pytest.mark.filterwarnings("ignore:.*the native core is missing")
CELLS = ("lstm", "layer_norm_gru", "peephole_lstm")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def made(name, inner, **options):
    mixer = mixers.build({"name": name, "mixer": inner, **options}, 4).double()
    return mixer, torch.randn(3, 15, 4, dtype=torch.float64)


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("inner", CELLS)
def test_zoneout_mixes_old_and_new_outside_training(inner):
    mixer, x = made("zoneout", inner, rate=0.3)
    mixer.eval()
    state, ys = mixer.initial_state(3), []
    for x_t in x.unbind(1):
        _, after = mixer.mixer.step(x_t, state)
        pairs = zip(state, after, strict=True)
        state = type(state)(*(0.3 * old + 0.7 * new for old, new in pairs))
        ys.append(state.h.reshape(3, -1)[:, -4:])
    close(mixer(x), (torch.stack(ys, 1), state))


@pytest.mark.parametrize("inner", CELLS)
def test_a_unit_stays_or_is_new_while_training(inner):
    mixer, x = made("zoneout", inner, rate={"h": 0.25})
    state, stayed = mixer.initial_state(3), []
    for x_t in x.unbind(1):
        _, expected = mixer.mixer.step(x_t, state)
        y, after = mixer.step(x_t, state)
        close(y, after.h.reshape(3, -1)[:, -4:])
        for name in after._fields:
            if name != "h":  # leaves that are not named change whole
                close(getattr(after, name), getattr(expected, name))
        stays = after.h == state.h
        close(after.h, torch.where(stays, state.h, expected.h))
        stayed.append(stays.double().mean())
        state = after
    assert 0.15 < sum(stayed) / len(stayed) < 0.35


def test_zoneout_trains_as_a_program_and_as_steps_alike():
    mixer, x = made("zoneout", "lstm", rate=0.4)
    drawn = mixer._beside_draws(x)
    leaves = list(mixer.initial_state(3))
    assert isinstance(mixer.reading(drawn, leaves), programs.Reading)
    y, after = super(mixers.Zoneout, mixer).forward(drawn)
    state, ys = mixer.initial_state(3), []
    for x_t in drawn.unbind(1):
        y_t, state = super(mixers.Zoneout, mixer).step(x_t, state)
        ys.append(y_t)
    close((y, after), (torch.stack(ys, 1), state))


def test_zoneout_of_everything_and_of_nothing():
    for training in (True, False):
        mixer, x = made("zoneout", "lstm", rate=1.0)
        assert not mixer.train(training)(x)[0].any()
        mixer, x = made("zoneout", "lstm", rate=0.0)
        close(mixer.train(training)(x), mixer.mixer(x))


def test_variational_dropout_is_its_mixer_outside_training():
    mixer, x = made("variational_dropout", "gru")
    y, (inner, _) = mixer.eval()(x)
    close((y, inner), mixer.mixer(x))


def absent(mixer, x, state=None, **masks):
    """Return which features of each input a mixer that is the identity did not show."""
    y, state = mixer(x, state, **masks)
    kept = y != 0
    close(y[kept], x[kept] / (1 - mixer.rate))
    return ~kept, state


class SameState(NamedTuple):
    """Nothing of use."""

    s: Tensor


class Same(mixers.Cell):
    """Answers what it reads."""

    remembers = SameState

    def __init__(self, dim):
        super().__init__()
        self.dim = self.out = dim

    def shapes(self):
        return {"s": (1,)}

    def cell(self, x, state):
        return 1 * x, state

    @classmethod
    def example(cls):
        return cls(3)


def test_features_are_absent_from_a_sequence_for_good():
    mixer = mixers.VariationalDropout(300, Same, rate=0.3).double()
    x = torch.randn(2, 6, 300).double()
    missing, state = absent(mixer, x)
    assert (missing == missing[:, :1]).all()
    assert 0.25 < missing.double().mean() < 0.35
    assert (missing[0] != missing[1]).any()
    # It goes on, in pieces and in steps.
    again, after = absent(mixer, x, state)
    assert torch.equal(again, missing)
    y, _ = mixer.step(x[:, 0], after)
    assert torch.equal(y == 0, missing[:, 0])
    # A new sequence lacks others.
    assert (absent(mixer, x)[0] != missing).any()


def test_a_reset_begins_a_sequence_of_its_own():
    mixer = mixers.VariationalDropout(300, Same, rate=0.3).double()
    x, reset = torch.randn(2, 6, 300).double(), torch.zeros(2, 6, dtype=torch.bool)
    reset[0, 2], reset[1, 5] = True, True
    missing, state = absent(mixer, x, reset=reset, lengths=torch.tensor([6, 5]))
    assert torch.equal(missing[0, 0], missing[0, 1])
    assert (missing[0, 1] != missing[0, 2]).any()
    assert torch.equal(missing[0, 2], missing[0, 5])
    # Past its end a row is not reset.
    after, _ = absent(mixer, x, state)
    assert torch.equal(after[0, 0], missing[0, 5])
    assert torch.equal(after[1, 0], missing[1, 0])


def test_other_rates_of_zoneout_are_read_anew():
    mixer, x = made("zoneout", "lstm", rate={"h": 0.3})
    mixer.eval()(x)
    mixer.rates["h"] = 1.0
    assert not mixer(x)[0].any()


@pytest.mark.parametrize("inner", ["lstm", "peephole_lstm"])
def test_gates_miss_the_same_units_at_all_times(inner):
    mixer, x = made("recurrent_dropout", inner, rate=0.4)
    state = mixer.initial_state(3)
    mask, inner_state, ys = state.mask, state.mixer, []
    assert set(mask.unique().tolist()) <= {0.0, 1 / 0.6}
    for x_t in x.unbind(1):
        h = inner_state.h * mask.view_as(inner_state.h)
        y, inner_state = mixer.mixer.step(x_t, inner_state._replace(h=h))
        ys.append(y)
    found, after = mixer(x, state)
    close((found, after), (torch.stack(ys, 1), (inner_state, mask)))
    assert isinstance(mixer.reading(x, torch.utils._pytree.tree_leaves(state)), programs.Reading)


def test_recurrent_dropout_is_its_mixer_outside_training():
    mixer, x = made("recurrent_dropout", "lstm")
    y, (inner, mask) = mixer.eval()(x)
    close((y, inner), mixer.mixer(x))
    assert torch.equal(mask, torch.ones_like(mask))


def test_a_reset_draws_another_mask():
    mixer, x = made("recurrent_dropout", {"name": "lstm", "hidden": 50}, rate=0.5)
    reset = torch.zeros(3, 15, dtype=torch.bool)
    reset[1, 7] = True
    before = mixer.initial_state(3)
    _, after = mixer(x, before, reset=reset)
    same = (before.mask == after.mask).all(1)
    assert same.tolist() == [True, False, True]


@pytest.mark.parametrize("name", ["zoneout", "variational_dropout", "recurrent_dropout"])
def test_draws_resume_and_leave_the_global_generator_alone(name):
    mixer, x = made(name, "lstm", rate=0.5)
    before, saved = torch.get_rng_state(), {k: v.clone() for k, v in mixer.state_dict().items()}
    first, second = mixer(x)[0], mixer(x)[0]
    assert not torch.equal(first, second)
    mixer.load_state_dict(saved)
    assert torch.equal(mixer(x)[0], first)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"name": "zoneout", "rate": 2.0}, "zoneout: rate = 2.0 of h"),
        ({"name": "zoneout", "rate": {"g": 0.1}}, "zoneout: no leaf 'g'; there are 'h', 'c'"),
        ({"name": "zoneout", "mixer": "bidirectional"}, "zoneout: mixer 'bidirectional'"),
        ({"name": "recurrent_dropout", "rate": 1.0}, "recurrent_dropout: rate = 1.0"),
        ({"name": "recurrent_dropout", "mixer": "gru"}, "should have an h that gates read"),
        ({"name": "variational_dropout", "rate": 1.0}, "variational_dropout: rate = 1.0"),
        ({"name": "variational_dropout", "mixer": "lion"}, "variational_dropout: mixer 'lion'"),
    ],
)
def test_what_makes_no_sense_is_refused(spec, complaint):
    with pytest.raises(ValueError, match=complaint):
        mixers.build(spec, 4)
