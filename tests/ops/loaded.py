"""Which libgomp a process has that loads torch and the core, as a program for test_native.py.

In a process of its own: scikit-learn, which other tests load, brings another one along.
"""

from pathlib import Path

from statewise import backends

if __name__ == "__main__":
    assert backends.core is not None
    lines = Path("/proc/self/maps").read_text().splitlines()
    print("\n".join({line.split()[-1] for line in lines if "libgomp" in line}))
