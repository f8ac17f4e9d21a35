"""Compares ours with what other people wrote of the same recurrences, in float32.

    python -m benchmarks.witness [NAME ...] [--json]

`pip install 'statewise[witness]'` brings the peers but a few. Ends with status 1 if one disagrees.
"""

import argparse
import importlib
import json
import pkgutil
import sys
import warnings
from collections.abc import Iterator

import torch

import benchmarks.witness
from benchmarks.witness.agreement import Agreement

PARTS = {"agreement", "fla", "transplant", "__main__"}

APART = {"torchscale", "xlstm"}
"""Peers to install without what they ask for: pins of 2023, and kernels of another licence."""


def names() -> list[str]:
    """Return the witnesses there are: the files of this folder."""
    return [
        m.name for m in pkgutil.iter_modules(benchmarks.witness.__path__) if m.name not in PARTS
    ]


def agreements(name: str) -> Iterator[Agreement]:
    """Yield what one file finds, with the same weights each time."""
    torch.manual_seed(0)
    yield from importlib.import_module(f"benchmarks.witness.{name}").agreements()


def line(name: str, found: Agreement) -> str:
    """Return one agreement in words."""
    verdict = "" if found.holds else f"  DISAGREES: the bound is {found.bound:.0e}"
    defects = f"  ({found.defects})" if found.defects else ""
    return f"{name}: {found.what}  {found.peer}  {found.difference:.1e}{verdict}{defects}"


def main() -> int:
    """Print every agreement, and return 1 if one does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.witness", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(names())}")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if unknown := set(options.names) - set(names()):
        parser.error(f"no witness {', '.join(sorted(unknown))}; there are {names()}")
    warnings.filterwarnings("ignore")  # the peers' own
    rows, holds = [], True
    for name in options.names or names():
        try:
            for found in agreements(name):
                holds &= found.holds
                rows.append({"name": name, **found._asdict(), "holds": found.holds})
                if not options.json:
                    print(line(name, found), flush=True)
        except ModuleNotFoundError as absent:
            rows.append({"name": name, "absent": absent.name})
            how = f"--no-deps {absent.name}" if absent.name in APART else "'statewise[witness]'"
            print(f"{name}: {absent.name} is not installed: pip install {how}", file=sys.stderr)
    if options.json:
        print(json.dumps(rows, indent=1))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
