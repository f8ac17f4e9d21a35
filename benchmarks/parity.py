"""Parity at ten times the training length: `python -m benchmarks.parity [MIXER ...]`.

A stack of two layers learns parity on up to 32 bits (as `statewise card` does, for longer) and is
asked at up to 320. The state has to be a nonlinear function of the state before: sLSTM and M2RNN
have one; mLSTM and Mamba, whose states are linear in what was before and whose gates are positive,
stand beside them.
"""

import argparse
from collections.abc import Mapping
from typing import Any

import torch

from statewise.analysis.capability import LENGTH
from statewise.analysis.learning import learned_by_length
from statewise.tasks.parity import Parity

MIXERS: Mapping[str, dict[str, Any]] = {
    "slstm": {"name": "slstm"},
    # As many numbers in its state as the sLSTM, not the default's 8,192.
    "m2rnn": {"name": "m2rnn", "heads": 2, "key": 8, "value": 16},
    "mlstm": {"name": "mlstm"},
    "mamba": {"name": "mamba"},
}
LONGER = (1, 2, 4, 10)
DIM, DEPTH = 64, 2


def main() -> None:
    """Print a line for each mixer and seed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parity", description=__doc__)
    parser.add_argument("mixers", nargs="*", help=f"of {', '.join(MIXERS)}", default=MIXERS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    options = parser.parse_args()
    print(f"parity, {DEPTH} layers of {DIM}, {options.steps} steps on up to {LENGTH} bits")
    print(f"{'right at':16}{'seed':>6}" + "".join(f"{LENGTH * times:>8}" for times in LONGER))
    for name in options.mixers:
        for seed in range(options.seeds):
            torch.manual_seed(seed)
            right = learned_by_length(
                MIXERS[name],
                Parity(),
                [LENGTH * times for times in LONGER],
                length=LENGTH,
                steps=options.steps,
                learning_rate=options.learning_rate,
                dim=DIM,
                depth=DEPTH,
                seed=seed,
            )
            shares = "".join(f"{share:8.1%}" for share in right.values())
            print(f"{name:16}{seed:6}{shares}", flush=True)


if __name__ == "__main__":
    main()
