import torch

from statewise.analysis.readers import learned_digits
from statewise.analysis.trajectories import steps_apart
from statewise.mixers import GRU, LRU
from statewise.tasks import digits
from statewise.tasks.digits import Digits


def test_two_kinds_of_digits_are_told_apart():
    zeros, ones = torch.zeros(8, 5, 1), torch.ones(8, 5, 1)
    both = Digits(torch.cat([zeros, ones]), torch.arange(16) // 8)
    assert learned_digits(lambda: GRU(8), both, both, depth=1, batch=8, steps=60) == 1


def test_the_digits_there_are_can_be_read():
    seen, held_out = (part._replace(inputs=part.inputs[:, :8]) for part in digits.read())
    assert 0 <= learned_digits(lambda: LRU(4), seen, held_out, steps=1) <= 1


def test_steps_are_apart_where_they_forget():
    torch.manual_seed(0)
    mixer, x = LRU(4).double(), torch.randn(2, 20, 4).double()
    assert steps_apart(mixer, x) < 1e-12
    step = mixer.step
    mixer.step = lambda x, state: (step(x, state)[0], state)
    assert steps_apart(mixer, x) > 0.1
