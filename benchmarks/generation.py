"""Whether generation is constant in memory and time: `python -m benchmarks.generation [FOLDER]`.

Generates bytes from a model (a saved one, or the untrained preset `small` with min_gru) and prints
the resident memory and the time per byte at 10,000 bytes and along the way to the last.
"""

import argparse
import statistics
import time

import psutil
import torch

from statewise.models.language_model import LanguageModel, LanguageModelConfig
from statewise.training.runs import checkpoint

WINDOW = 10_000


def main() -> None:
    """Generate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", help="a run or a saved model")
    parser.add_argument("--bytes", type=int, default=1_000_000, help="how many")
    chosen = parser.parse_args()
    if chosen.folder:
        model = LanguageModel.from_pretrained(checkpoint(chosen.folder))
    else:
        model = LanguageModel(LanguageModelConfig.from_preset("small", mixer="min_gru"))
    process = psutil.Process()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"{'bytes':>10} {'resident MB':>12} {'us per byte':>12}")
    windows: list[float] = []
    memory: list[float] = []
    generation = model.generate("A", max_tokens=chosen.bytes)
    began, done = time.perf_counter(), 0
    for number, _ in enumerate(generation, 1):
        # A piece of text is a byte or more; the state, which knows how many, is asked rarely.
        if number % WINDOW:
            continue
        now, count = time.perf_counter(), int(generation.state.drawn[0])
        windows.append((now - began) / (count - done) * 1e6)
        memory.append(process.memory_info().rss / 1e6)
        if len(windows) == 1 or len(windows) % 10 == 0:
            print(f"{count:10,} {memory[-1]:12.1f} {windows[-1]:12.1f}", flush=True)
        began, done = time.perf_counter(), count
    tenth = max(1, len(windows) // 10)
    early, late = statistics.median(windows[:tenth]), statistics.median(windows[-tenth:])
    print(f"memory grew by {memory[-1] - memory[0]:.2f} MB from {WINDOW:,} bytes on (limit 5)")
    print(f"time per byte, last tenth over first: {late / early:.3f} (limit 1.1)")


if __name__ == "__main__":
    main()
