"""A state is a value: carry it over a cut, save it, fork it, reset it.

A mixer reads the first half of a sequence. Its state is saved, loaded, and carried into the second
half, which gives what the whole sequence gives. Then it is forked: three futures of one past.
"""

import tempfile
from pathlib import Path

import torch

from statewise import mixers, state


def main() -> None:
    """Show it, and check each claim."""
    torch.manual_seed(0)
    mixer = mixers.MinGRU(dim=16).eval()
    x = torch.randn(2, 1000, 16)

    with torch.no_grad():
        whole, end = mixer(x)
        first, half = mixer(x[:, :500])

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "half.safetensors"
            state.save(path, half, model=mixer)
            half = state.load(path, model=mixer)
        print(f"The state after 500 inputs of 2 rows: {state.nbytes(half)} bytes.")

        second, carried = mixer(x[:, 500:], half)
        torch.testing.assert_close(torch.cat([first, second], 1), whole)
        torch.testing.assert_close(carried, end)
        print("Two halves with the state carried over give what the whole sequence gives.")

        futures = torch.randn(3, 20, 16)
        past = state.fork(state.select(half, [0]), 3)
        together, _ = mixer(futures, past)
        for row in range(3):
            alone, _ = mixer(futures[row : row + 1], state.select(half, [0]))
            torch.testing.assert_close(together[row : row + 1], alone)
        print("Three futures of one past, in one batch, are what each gives alone.")

        reset = torch.zeros(2, 500, dtype=torch.bool)
        reset[1, 0] = True
        mixed, _ = mixer(x[:, 500:], half, reset=reset)
        fresh, _ = mixer(x[:, 500:])
        torch.testing.assert_close(mixed, torch.stack([second[0], fresh[1]]))
        print("A reset sends one row back to its start and leaves the other alone.")


if __name__ == "__main__":
    main()
