"""The feed-forward layer beside torch's modules."""

import pytest
import torch

from statewise.mixers import FeedForward


def test_equals_torchs_modules_and_remembers_nothing():
    torch.manual_seed(0)
    mixer = FeedForward(4, expansion=1.5)
    x = torch.randn(2, 3, 4)
    witness = torch.nn.Sequential(mixer.widen, torch.nn.GELU(), mixer.narrow)
    y, state = mixer(x)
    torch.testing.assert_close(y, witness(x))
    assert mixer.widen.out_features == 6
    assert tuple(state) == ()


def test_no_inner_features_are_refused():
    with pytest.raises(ValueError, match=r"expansion = 0\.1 leaves no"):
        FeedForward(4, expansion=0.1)
