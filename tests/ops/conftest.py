"""Fixtures of the tests of ops."""

import pytest
import torch

from statewise import backends


@pytest.fixture
def core():
    """Lend the core and put back what a test sets."""
    before, threads = backends.core.about(), torch.get_num_threads()
    yield backends.core
    backends.core.set_level(before["level"])
    backends.core.set_cache(before["cache"])
    torch.set_num_threads(threads)
