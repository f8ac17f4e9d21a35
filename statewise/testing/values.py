"""The laws of the state as a value: its size, precision and memory, and what may touch it."""

import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from statewise import state as states
from statewise.mixers.base import Mixer
from statewise.testing.agreement import require
from statewise.testing.subject import Subject


class Reading(NamedTuple):
    """One call of a mixer, and what it gave."""

    what: str
    batch: int
    before: int
    """Inputs read before the call."""

    time: int
    given: list[Tensor]
    """Input, state and masks."""

    outputs: Tensor
    state: Any


def readings(subject: Subject) -> Iterator[Reading]:
    """Return calls of every kind: long and short, masked, in steps."""
    for batch, time in ((2, 0), (2, 1), (3, 1), (1, 7), (5, 7)):
        reset, lengths = subject.reset(batch, time), subject.lengths(batch, time)
        nothing = torch.zeros_like(lengths)
        for masks in ({}, {"reset": reset}, {"lengths": lengths}, {"lengths": nothing}):
            x, state = subject.input(batch, time), subject.state(batch)
            y, final = subject(x, state, **masks)
            what = f"batch {batch}, time {time}" + "".join(f", {mask} given" for mask in masks)
            given = [x, *tree_leaves(state), *masks.values()]
            yield Reading(what, batch, 5, time, given, y, final)
    if isinstance(subject.mixer, Mixer):
        for batch in (1, 3):
            x, state = subject.input(batch, 1)[:, 0].clone(), subject.state(batch)
            y, final = subject.mixer.step(x, state)
            given = [x, *tree_leaves(state)]
            yield Reading(f"a step, batch {batch}", batch, 5, 1, given, y, final)


def arguments_are_left_alone(subject: Subject) -> None:
    """A call changes neither inputs, state, masks nor weights; repeated, it repeats its answer."""
    weights = copy.deepcopy(subject.mixer.state_dict())
    x, state = subject.input(3, 7), subject.state(3)
    reset, lengths = subject.reset(3, 7), subject.lengths(3, 7)
    first = x[:, 0].clone()
    arguments = [x, first, reset, lengths, *tree_leaves(state)]
    kept = [(leaf.clone(), leaf.shape, leaf._version) for leaf in arguments]

    def answers() -> list[Tensor]:
        found = [subject(x, state), subject(x, state, reset=reset, lengths=lengths)]
        if isinstance(subject.mixer, Mixer):
            found.append(subject.mixer.step(first, state))
        return tree_leaves(found)

    once = answers()
    subject(subject.input(2, 4), subject.state(2))
    twice = answers()
    for leaf, (value, shape, version) in zip(arguments, kept, strict=True):
        unchanged = leaf.shape == shape and torch.equal(leaf, value) and leaf._version == version
        require(unchanged, f"an argument of shape {tuple(shape)} was changed in place")
    same = all(torch.equal(a, b) for a, b in zip(once, twice, strict=True))
    require(same, "the same call gave another answer the second time")
    for name, weight in subject.mixer.state_dict().items():
        require(torch.equal(weight, weights[name]), f"the weight {name} was changed by a call")


def outputs_alias_nothing(subject: Subject) -> None:
    """Outputs and state share no memory with one another, the arguments or the weights."""
    weights = [*subject.mixer.parameters(), *subject.mixer.buffers()]

    def check(what: str, fresh: dict[str, Tensor], given: list[Tensor]) -> None:
        taken = {_address(leaf): "the arguments or the weights" for leaf in [*given, *weights]}
        for name, leaf in fresh.items():
            if leaf.numel():
                other = taken.setdefault(_address(leaf), name)
                require(other is name, f"{what}: {name} shares memory with {other}")

    for reading in readings(subject):
        fresh = {"the output": reading.outputs, **states.leaves(reading.state)}
        check(reading.what, fresh, reading.given)
    if isinstance(subject.mixer, Mixer):
        first = subject.mixer.initial_state(2)
        fresh = states.leaves(subject.mixer.initial_state(2))
        check("the initial state", fresh, tree_leaves(first))


def the_state_has_its_declared_size(subject: Subject) -> None:
    """Batch first, a row's state holds as many numbers as `state_size` says, whatever was read."""
    mixer = subject.mixer
    assert isinstance(mixer, Mixer)

    def check(what: str, state: Any, batch: int, time: int) -> None:
        size = mixer.state_size(time)
        for name, leaf in states.leaves(state).items():
            shape = tuple(leaf.shape)
            require(shape[:1] == (batch,), f"{what}: leaf {name} {shape} has not the batch first")
        numbers = sum(leaf.numel() for leaf in tree_leaves(state))
        require(
            numbers == batch * size,
            f"{what}: {numbers} numbers in {batch} rows, and state_size({time}) is {size}",
        )

    for batch in (0, 1, 5):
        check(f"the initial state of {batch}", mixer.initial_state(batch), batch, 0)
    for reading in readings(subject):
        check(reading.what, reading.state, reading.batch, reading.before + reading.time)
    for time in subject.times:
        with torch.no_grad():
            _, state = mixer(subject.input(2, time))
        check(f"{time} inputs", state, 2, time)


def the_state_keeps_its_precision(subject: Subject) -> None:
    """A state is float32 or wider, its counters int64, and reading does not change that."""
    mixer = subject.mixer
    assert isinstance(mixer, Mixer)
    for asked in (None, torch.float64, torch.float32, torch.bfloat16):
        wanted = torch.promote_types(asked or subject.dtype, torch.float32)
        start = states.leaves(mixer.initial_state(2, dtype=asked))
        for name, leaf in start.items():
            right = (
                leaf.dtype == torch.int64
                if not (leaf.is_floating_point() or leaf.is_complex())
                else leaf.real.dtype == wanted
            )
            require(right, f"leaf {name} of initial_state(dtype={asked}) is {leaf.dtype}")
    for name, leaf in states.leaves(mixer.initial_state(2, device="meta")).items():
        require(leaf.device.type == "meta", f"initial_state(device='meta') has {name} elsewhere")
    kept = {name: leaf.dtype for name, leaf in states.leaves(mixer.initial_state(2)).items()}
    for reading in readings(subject):
        found = {name: leaf.dtype for name, leaf in states.leaves(reading.state).items()}
        require(found == kept, f"{reading.what}: the state is {found} and should be {kept}")


def the_state_owns_its_memory(subject: Subject) -> None:
    """No leaf is a view: its storage is as large as itself, so that it keeps no sequence alive."""
    mixer = subject.mixer
    assert isinstance(mixer, Mixer)
    seen = [("the initial state", mixer.initial_state(3))]
    seen += [(reading.what, reading.state) for reading in readings(subject)]
    for what, state in seen:
        for name, leaf in states.leaves(state).items():
            stored, own = leaf.untyped_storage().nbytes(), leaf.numel() * leaf.element_size()
            require(stored == own, f"{what}: leaf {name} has {own} bytes in a storage of {stored}")


def the_state_survives_a_file(subject: Subject) -> None:
    """Saved and loaded in the middle of a stream, a state goes on as if nothing had been."""
    mixer = subject.mixer
    assert isinstance(mixer, Mixer)
    rest, state = subject.input(2, 6), subject.state(2)
    with tempfile.TemporaryDirectory() as folder:
        states.save(Path(folder) / "state.safetensors", state, model=mixer)
        loaded = states.load(Path(folder) / "state.safetensors", model=mixer)
    require(type(loaded) is type(state), f"it came back as a {type(loaded).__name__}")
    found, expected = (tree_leaves(mixer(rest, which)) for which in (loaded, state))
    same = all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    require(same, "the loaded state answers differently")


def state_dict_round_trips(subject: Subject) -> None:
    """Another instance that loads the `state_dict` gives the same answers, bit by bit."""
    subject.other.load_state_dict(subject.mixer.state_dict())
    x, reset = subject.input(2, 7), subject.reset(2, 7)
    found, expected = (
        tree_leaves(mixer(x, reset=reset)) for mixer in (subject.other, subject.mixer)
    )
    same = all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    require(same, "it answers differently: something that matters is not in the state_dict")


def _address(leaf: Tensor) -> int:
    return leaf.untyped_storage().data_ptr()
