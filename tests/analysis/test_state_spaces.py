"""S4D beside S5 with its weights."""

import torch

from statewise.analysis.state_spaces import s4d_and_s5


def test_a_bank_of_blocks_is_one_system_for_each_feature():
    torch.manual_seed(0)
    s4d, s5 = s4d_and_s5(3, 8)
    x = torch.randn(2, 50, 3, dtype=torch.float64)
    goal, state = s4d(x)
    found, other = s5(x)
    torch.testing.assert_close(found, goal)
    assert other.h.numel() == state.h.numel()
    # One oscillator that hears a second feature is enough to tell them apart.
    s5.enter.weight.data[0, 2] += 1.0
    assert not torch.allclose(s5(x)[0], goal, rtol=1e-3, atol=1e-3)
