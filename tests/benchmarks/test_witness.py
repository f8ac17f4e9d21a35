"""The frame of the outside witnesses: what differs is said, and so is a peer that is absent."""

import subprocess
import sys

import pytest
import torch

from benchmarks.witness import __main__ as program
from benchmarks.witness.agreement import agree, draw
from benchmarks.witness.transplant import transplant
from statewise.mixers import MinGRU
from statewise.mixers.parts import scanned
from statewise.ops.scan import scan


def double(x):
    return 2 * x, x.sum()


def test_the_same_function_agrees():
    assert agree("double", "torch", double, double, [draw(3, 4)]).difference == 0


@pytest.mark.parametrize(
    "other",
    [
        lambda x: (2 * x + 0.1, x.sum()),
        lambda x: (2 * x, x.sum() * torch.nan),
        lambda x: (x + x.detach(), x.sum()),  # the same value, and half the gradient
    ],
    ids=["value", "NaN", "gradient"],
)
def test_another_function_does_not(other):
    found = agree("double", "torch", double, other, [draw(3, 4)])
    assert not found.holds
    assert "DISAGREES" in program.line("double", found)


def test_other_shapes_and_other_numbers_of_tensors_are_refused():
    with pytest.raises(ValueError, match=r"ours is \(3, 4\), the peer's \(4, 3\)"):
        agree("double", "torch", double, lambda x: (x.T, x.sum()), [draw(3, 4)])
    with pytest.raises(ValueError, match="we return 3 tensors and the peer 2"):
        agree("double", "torch", double, lambda x: x, [draw(3, 4)])


def test_complex_numbers_are_compared_in_both_parts():
    z = torch.complex(draw(3), draw(3, seed=1))
    assert agree("conjugate", "torch", torch.conj, torch.conj, [z]).difference == 0
    assert not agree("conjugate", "torch", torch.conj, torch.clone, [z]).holds


def test_a_mixer_on_a_peers_function_agrees_where_the_function_does():
    def twice(decay, drive, **given):
        return scan(decay, 2 * drive, **given)

    def once(decay, drive, *, initial, **_):
        return scan(decay, drive, initial=initial)

    good, bad = (
        transplant("scan", "torch", MinGRU(4), {"scan": peer}, at=scanned, time=9)
        for peer in (once, twice)
    )
    assert good.difference == 0
    assert good.what == "MinGRU on scan"
    assert not bad.holds
    assert scanned.scan is scan


def test_a_peer_that_a_mixer_does_not_call_is_refused():
    with pytest.raises(ValueError, match="scan: the mixer does not call Mapping"):
        transplant("scan", "torch", MinGRU(4), {"Mapping": scan}, at=scanned, time=9)


def test_the_program_ends_with_one_where_a_peer_disagrees(monkeypatch, capsys):
    def absent():
        raise ModuleNotFoundError("no peer", name="peer")

    found = {
        "absent": absent,
        "good": lambda: [agree("double", "torch", double, double, [draw(2)])],
        "bad": lambda: [agree("double", "torch", double, lambda x: (3 * x, x.sum()), [draw(2)])],
    }
    monkeypatch.setattr(program, "names", lambda: list(found))
    monkeypatch.setattr(program, "agreements", lambda name: found[name]())
    monkeypatch.setattr(sys, "argv", ["witness", "absent", "good"])
    assert program.main() == 0
    said = capsys.readouterr().err
    assert "peer is not installed: pip install 'statewise[witness]'" in said
    monkeypatch.setattr(sys, "argv", ["witness"])
    assert program.main() == 1


@pytest.mark.long
def test_every_witness_agrees():
    pytest.importorskip("transformers")
    # By itself: peers warn, and here a warning is an error.
    command = [sys.executable, "-m", "benchmarks.witness"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
