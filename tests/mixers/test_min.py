"""minGRU and minLSTM beside the log-space form of their paper."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from statewise.mixers import MinGRU, MinLSTM

pytestmark = pytest.mark.filterwarnings("ignore:.*the native core is missing")


def in_log_space(log_decay: Tensor, log_drive: Tensor, initial: Tensor) -> Tensor:
    """Return h for positive drives and states (Heinsen, 2023, arXiv:2311.06281)."""
    total = log_decay.cumsum(1)
    return (
        total + torch.cat([initial.log()[:, None], log_drive - total], 1).logcumsumexp(1)[:, 1:]
    ).exp()


class Positive(torch.nn.Module):
    """The paper's g, on the outputs of a candidate."""

    def __init__(self, candidate):
        super().__init__()
        self.candidate = candidate

    def forward(self, x):
        c = self.candidate(x)
        return torch.where(c >= 0, c + 0.5, c.sigmoid())


def of(mixer, state):
    return type(mixer.initial_state(1))(state)


@pytest.mark.parametrize("mixer", [MinGRU, MinLSTM])
def test_equals_the_log_space_form(mixer):
    torch.manual_seed(0)
    module = mixer(4).double()
    module.candidate = Positive(module.candidate)
    x, h = torch.randn(3, 40, 4).double(), torch.rand(3, 4).double()
    if mixer is MinGRU:
        k = module.gate(x)
        log_decay, log_gate = -softplus(k), -softplus(-k)
    else:
        d = softplus(-module.forget_gate(x)) - softplus(-module.input_gate(x))
        log_decay, log_gate = -softplus(d), -softplus(-d)
    expected = in_log_space(log_decay, log_gate + module.candidate(x).log(), h)
    torch.testing.assert_close(module(x, of(module, h))[0], expected, rtol=1e-12, atol=1e-12)


def test_gates_are_the_quotients_and_stay_finite_where_both_close():
    module = MinLSTM(3).double()
    for layer in (module.forget_gate, module.input_gate):
        layer.weight.data.copy_(torch.eye(3))
    module.forget_gate.bias.data.copy_(torch.tensor([0.3, -2000.0, 50.0]))
    module.input_gate.bias.data.copy_(torch.tensor([-0.4, -2001.0, -50.0]))
    module.candidate.weight.data.zero_()
    module.candidate.bias.data.fill_(1)
    decay, drive = module.gates(torch.zeros(1, 1, 3).double())
    f, i = logsigmoid(torch.tensor([0.3, -0.4]).double()).exp()
    expected = torch.stack(
        [f / (f + i), torch.tensor(1.0).double().sigmoid(), torch.tensor(1.0).double()]
    )
    torch.testing.assert_close(decay[0, 0], expected)
    torch.testing.assert_close(drive, 1 - decay)
