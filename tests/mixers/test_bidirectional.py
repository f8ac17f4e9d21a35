"""The bidirectional wrapper beside torch.nn.LSTM's, and resets in both directions."""

from itertools import pairwise

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from statewise.mixers import Bidirectional


def test_equals_torchs_lstm_on_a_padded_batch():
    torch.manual_seed(0)
    witness = torch.nn.LSTM(3, 3, bidirectional=True, batch_first=True).double()
    mixer = Bidirectional(3, "lstm").double()
    weights = witness.state_dict()
    mixer.left.load_state_dict({n: w for n, w in weights.items() if "reverse" not in n})
    mixer.right.load_state_dict(
        {n.removesuffix("_reverse"): w for n, w in weights.items() if "reverse" in n}
    )
    x, lengths = torch.randn(3, 7, 3).double(), torch.tensor([4, 7, 1])
    packed, _ = witness(pack_padded_sequence(x, lengths, True, enforce_sorted=False))
    expected, _ = pad_packed_sequence(packed, batch_first=True)
    x = x.where(torch.arange(7)[:, None] < lengths[:, None, None], torch.nan)
    torch.testing.assert_close(mixer(x, lengths=lengths), expected, rtol=1e-12, atol=1e-12)
    assert mixer.out == 6


def test_nothing_crosses_a_reset():
    """A reset parts a row into sequences of their own, in padded rows too."""
    torch.manual_seed(0)
    mixer = Bidirectional(3).double()
    x, lengths = torch.randn(2, 8, 3).double(), torch.tensor([8, 6])
    reset = torch.zeros(2, 8, dtype=torch.bool)
    reset[0, [0, 3, 7]] = reset[1, [1, 5, 6]] = True
    y = mixer(x, reset=reset, lengths=lengths)
    for row, cuts in enumerate([[0, 3, 7, 8], [0, 1, 5, 6]]):
        for start, stop in pairwise(cuts):
            piece = mixer(x[row : row + 1, start:stop])[0]
            torch.testing.assert_close(y[row, start:stop], piece, rtol=1e-12, atol=1e-12)
    assert not y[1, 6:].any()


def test_a_mixer_that_reads_whole_sequences_is_refused():
    with pytest.raises(ValueError, match="reads whole sequences already"):
        Bidirectional(4, "bidirectional")
