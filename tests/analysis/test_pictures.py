import io
import subprocess
import sys

import numpy as np
import pytest

from statewise.analysis import pictures
from statewise.analysis.pictures import _apart


def test_names_keep_their_distance_and_their_order():
    levels = [0.5, 0.0, 0.51, 0.49, 1.0, 0.02]
    places = _apart(levels, 0.1)
    assert np.diff(sorted(places)).min() >= 0.1 - 1e-9
    assert np.argsort(places).tolist() == np.argsort(levels).tolist()
    assert min(places) >= 0
    assert max(places) <= 1
    assert places[4] == 1.0  # what has room stays where it is
    assert (places[3] + places[0] + places[2]) / 3 == pytest.approx(0.5)


def test_more_names_than_room_stand_from_the_bottom():
    places = _apart([1.0] * 30, 0.1)
    assert np.diff(sorted(places)).min() == pytest.approx(0.1)


def test_every_line_has_its_own_look():
    looks = {(pictures.colour(i), pictures.style(i)) for i in range(28)}
    assert len(looks) == 28


def drawn(named):
    from matplotlib.image import imread

    def draw(axes):
        pictures.lines(axes, named)
        pictures.name_ends(axes, named)

    return imread(io.BytesIO(pictures.picture(draw)))


def test_names_are_drawn_beyond_the_edge_in_the_colour_of_the_line():
    image = drawn({"first": ([0, 1], [0, 1]), "second": ([0, 1], [1, 0])})
    right = image[:, -100:, :3].reshape(-1, 3)
    for number in range(2):
        colour = [int(pictures.colour(number)[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        assert (np.abs(right - colour).max(1) < 0.02).any()


def test_a_line_without_an_end_or_with_strange_letters_is_drawn_too():
    drawn({"nan": ([0, 1], [0.0, float("nan")]), "$\\alpha$ é": ([0], [1]), "none": ([], [])})


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'statewise\[plot\]'"):
        pictures.picture(lambda axes: None)


def test_matplotlib_is_neither_imported_nor_changed_before_its_time():
    """In an interpreter of its own, where nobody else has imported it."""
    program = """
import sys
import statewise.analysis
from statewise.analysis import gates, jacobians, lengths, memory, needles, pictures, positions
from statewise.analysis import ranks, throughput
assert "matplotlib" not in sys.modules
import matplotlib
before = dict(dict.items(matplotlib.rcParams))
pictures.picture(lambda axes: axes.plot([1, 2]))
assert dict(dict.items(matplotlib.rcParams)) == before
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
