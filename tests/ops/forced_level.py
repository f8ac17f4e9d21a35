"""Every op at a level that the environment forces, as a program for test_native.py to run.

The variable STATEWISE_LEVEL is read once, where the core is loaded.
"""

import os

from statewise import backends
from tests.ops.compiling import OPS, assert_programs_agree, program

if __name__ == "__main__":
    assert backends.core.about()["level"] == os.environ["STATEWISE_LEVEL"]
    for op in OPS:
        ours, definition, arguments, _ = program(op)
        with backends.noted() as chosen:
            assert_programs_agree(ours, definition, arguments(70))
        # These programs call their kernels by name, past the tables.
        by_name = op in ("linear", "programs")
        native = [choice.backend == "native" for each in chosen.values() for choice in each]
        assert by_name or any(native), op
        print(op)
