import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import statewise


@pytest.fixture(scope="session")
def compiled() -> dict[str, list[str | None]]:
    """What tests/laws/compiled.py found, in one process for all mixers: a start takes seconds."""
    script = Path(__file__).with_name("compiled.py")
    root = str(Path(statewise.__file__).parent.parent)
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
