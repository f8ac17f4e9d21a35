"""Tries the laws of the compiler, in a process without the hook that checks shapes.

Prints JSON: for each mixer and fault what was seen, or null where the law holds.
"""

import json
import sys

import torch
from faults import FAULTS

from statewise import mixers
from statewise.testing import COMPILER_LAWS, LawBroken, hold


def tried(law, mixer):
    try:
        hold(law, mixer, torch.float32)
    except LawBroken as error:
        return str(error)


def main():
    subjects = dict(mixers.catalogue())
    for law in COMPILER_LAWS:
        subjects |= {fault.__name__: fault for fault in FAULTS[law]}
    found = {name: [tried(law, mixer) for law in COMPILER_LAWS] for name, mixer in subjects.items()}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
