"""torch.nn's recurrent modules on our ops, and any mixer behind the same signature.

    from statewise.compat import torch_nn as nn

    lstm = nn.LSTM(10, 20, num_layers=2, bidirectional=True)
    lstm.load_state_dict(theirs.state_dict())
    output, (h, c) = lstm(packed)

`LSTM`, `GRU` and `RNN` are subclasses of torch.nn's, whose constructor, parameters, state dict and
pickle they keep; they compute the same numbers. `Recurrent` takes any mixer by its name.
"""

from statewise.compat.torch_nn.any_mixer import Recurrent as Recurrent
from statewise.compat.torch_nn.any_mixer import RecurrentState as RecurrentState
from statewise.compat.torch_nn.classical import GRU as GRU
from statewise.compat.torch_nn.classical import LSTM as LSTM
from statewise.compat.torch_nn.classical import RNN as RNN

__all__ = ["GRU", "LSTM", "RNN", "Recurrent", "RecurrentState"]
