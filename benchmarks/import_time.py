"""What `import statewise` costs beyond `import torch`:  python -m benchmarks.import_time

Fresh interpreters, the two imports in turn, the median of five of each. Exits with 1 beyond the
limit.
"""

import statistics
import subprocess
import sys
import time

LIMIT = 0.3
"""Seconds that `import statewise` may add."""

REPEATS = 5


def seconds(program: str) -> float:
    """Return how long a fresh interpreter takes to run a program."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.perf_counter() - start


def main() -> int:
    """Measure, print, and return the exit status."""
    programs = ("import torch", "import torch, statewise")
    for program in programs:
        seconds(program)  # the first run fills the file cache and writes the bytecode
    rounds = [[seconds(program) for program in programs] for _ in range(REPEATS)]
    medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
    for program, median in zip(programs, medians, strict=True):
        print(f"{program:24} {median:6.3f} s")
    added = medians[1] - medians[0]
    print(f"{'statewise adds':24} {added:6.3f} s  (limit {LIMIT} s)")
    return int(added > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
