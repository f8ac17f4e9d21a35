import json
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from statewise import state as states
from statewise.mixers import MinGRU


class Ring(NamedTuple):
    keys: Tensor
    count: Tensor


class Keeper(nn.Module):
    """A model whose state is a tree: one part grows, one is complex, one empty."""

    def __init__(self, width=3):
        super().__init__()
        self.weight = nn.Parameter(torch.arange(float(width)))
        self.width = width

    def initial_state(self, batch):
        ring = Ring(torch.zeros(batch, 0, self.width), torch.zeros(batch, dtype=torch.int64))
        return ring, (), (torch.zeros(batch, 2, dtype=torch.complex128),)

    def read(self, batch, time):
        generator = torch.Generator().manual_seed(time)
        keys = torch.randn(batch, time, self.width, generator=generator)
        turns = torch.randn(batch, 2, generator=generator, dtype=torch.complex128)
        return Ring(keys, torch.full((batch,), time)), (), (turns,)


def same(a, b):
    a, b = states.leaves(a), states.leaves(b)
    return a.keys() == b.keys() and all(
        a[n].dtype == b[n].dtype and torch.equal(a[n], b[n]) for n in a
    )


def shares_memory(a, b):
    def storages(state):
        return {leaf.untyped_storage().data_ptr() for leaf in states.leaves(state).values()}

    return bool(storages(a) & storages(b) - {0})


def test_leaves_are_named():
    assert list(states.leaves(Keeper().read(2, 4))) == ["[0].keys", "[0].count", "[2][0]"]
    assert list(states.leaves(Ring(torch.ones(1), torch.ones(1)))) == ["keys", "count"]
    assert list(states.leaves(torch.ones(1))) == ["state"]
    with pytest.raises(TypeError, match="leaf count is a int, not a tensor"):
        states.leaves(Ring(torch.ones(1), 3))
    with pytest.raises(TypeError, match="leaf keys is a scalar: its axis 0 should be the batch"):
        states.leaves(Ring(torch.ones(()), torch.ones(1)))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([2, 0], [2, 0]),
        ([1, 1, -1], [1, 1, 2]),
        (torch.tensor([True, False, True]), [0, 2]),
        (slice(1, None), [1, 2]),
        ([], []),
        (torch.tensor([0]), [0]),
    ],
)
def test_select(rows, expected):
    state = Keeper().read(3, 4)
    picked = states.select(state, rows)
    for name, leaf in states.leaves(picked).items():
        assert torch.equal(leaf, states.leaves(state)[name][expected])
        assert leaf.untyped_storage().nbytes() == leaf.numel() * leaf.element_size()
    assert isinstance(picked[0], Ring)
    assert not shares_memory(picked, state)


@pytest.mark.parametrize("rows", [[3], [-4], torch.tensor([True])])
def test_select_refuses_rows_that_are_not_there(rows):
    with pytest.raises(IndexError, match=r"3 rows of the state's leaf \[0\].keys \(3, 4, 3\)"):
        states.select(Keeper().read(3, 4), rows)


def test_stack_undoes_select():
    state = Keeper().read(3, 4)
    parts = [states.select(state, [row]) for row in range(3)]
    assert same(states.stack(parts), state)
    assert not shares_memory(states.stack(parts[:1]), parts[0])


def test_stack_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="no state to stack"):
        states.stack([])
    with pytest.raises(
        ValueError,
        match=r"state 1 cannot .* leaf \[0\].keys is \(batch, 5, 3\) and should be \(batch, 4, 3\)",
    ):
        states.stack([Keeper().read(1, 4), Keeper().read(1, 5)])
    with pytest.raises(ValueError, match=r"leaf state is torch.float64 and should be torch.float"):
        states.stack([torch.ones(1), torch.ones(1, dtype=torch.float64)])


def test_fork_repeats_each_row():
    state = Keeper().read(2, 4)
    assert same(states.fork(state, 3), states.select(state, [0, 0, 0, 1, 1, 1]))
    assert not shares_memory(states.fork(state, 1), state)
    assert len(states.fork(state, 0)[0].count) == 0
    with pytest.raises(ValueError, match="copies should be 0 or more, not -1"):
        states.fork(state, -1)


def test_gradients_pass_until_detached():
    h = torch.ones(2, 3, requires_grad=True)
    for f in (lambda s: states.select(s, [0]), lambda s: states.fork(s, 2), states.to):
        assert f((h,))[0].requires_grad
    (cut,) = states.detach((h,))
    assert not cut.requires_grad
    assert not shares_memory(cut, h)


def test_to_never_narrows_below_float32():
    state = (*Keeper().read(2, 4), torch.ones(2, dtype=torch.float64))

    def dtypes(dtype):
        return [leaf.dtype for leaf in states.leaves(states.to(state, dtype=dtype)).values()]

    narrow = [torch.float32, torch.int64, torch.complex64, torch.float32]
    assert dtypes(torch.bfloat16) == dtypes(torch.float32) == narrow
    wide = [torch.float64, torch.int64, torch.complex128, torch.float64]
    assert dtypes(torch.float64) == wide
    assert same(states.to(state), state)
    assert not shares_memory(states.to(state), state)
    assert states.to(state, "meta")[0].keys.device.type == "meta"


def test_nbytes():
    assert states.nbytes(Keeper().read(2, 4)) == 2 * (4 * 3 * 4 + 8 + 2 * 16)
    assert states.nbytes(()) == 0


@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("time", [0, 4])
def test_save_and_load(tmp_path, batch, time):
    model = Keeper()
    state = model.read(batch, time)
    states.save(tmp_path / "s.safetensors", state, model=model)
    loaded = states.load(tmp_path / "s.safetensors", model=model)
    assert same(loaded, state)
    assert isinstance(loaded[0], Ring)
    assert loaded[1] == ()
    example = model.initial_state(1)
    assert same(states.load(tmp_path / "s.safetensors", like=example), state)
    assert [file.name for file in tmp_path.iterdir()] == ["s.safetensors"]


def test_save_takes_what_a_mixer_makes(tmp_path):
    mixer = MinGRU(4)
    _, state = mixer(torch.ones(2, 3, 4))
    states.save(tmp_path / "s", state, model=mixer)  # it needs a gradient, and a file has none
    assert torch.equal(states.load(tmp_path / "s", model=mixer).h, state.h)
    wide = states.to(state, dtype=torch.float64)
    states.save(tmp_path / "s", wide, model=mixer)
    assert states.load(tmp_path / "s", model=mixer).h.dtype == torch.float64


def test_an_empty_state_is_a_state(tmp_path):
    states.save(tmp_path / "s", ((), ()))
    assert states.load(tmp_path / "s", like=((), ())) == ((), ())


def test_a_loaded_state_outlives_its_file(tmp_path):
    path = tmp_path / "s"
    states.save(path, (torch.ones(1, 1000),))
    (loaded,) = states.load(path, like=(torch.ones(1, 1000),))
    path.write_bytes(b"\0" * path.stat().st_size)
    assert torch.equal(loaded, torch.ones(1, 1000))


def test_other_weights_are_refused_unless_told_otherwise(tmp_path):
    model, path = Keeper(), tmp_path / "s"
    states.save(path, model.read(2, 4), model=model)
    with torch.no_grad():
        model.weight[1] += 1e-6
    with pytest.raises(ValueError, match=r"s holds a state made by other weights .*other_weights"):
        states.load(path, model=model)
    assert same(states.load(path, model=model, other_weights=True), model.read(2, 4))
    states.save(path, model.read(2, 4))  # saved without the model: there is nothing to compare
    assert same(states.load(path, model=model), model.read(2, 4))


@pytest.mark.parametrize(
    ("like", "sentence"),
    [
        (Keeper(5).read(1, 0), r"leaf \[0\].keys is \(batch, 4, 3\) and should be \(batch, 0, 5\)"),
        (Keeper().read(1, 0)[:1], r"has a leaf \[2\]\[0\], which should not be there"),
        ((Ring(torch.zeros(1, 0, 3), torch.zeros(1)), (), ()), r"\[0\].count is torch.int64"),
        (torch.zeros(1, 2), r"it has no leaf state, which should be \(batch, 2\)"),
        (
            (Ring(torch.zeros(1, 9, 3), torch.zeros(1, dtype=torch.int64)), (), ()),
            r"keys is \(batch, 4, 3\) and should be \(batch, 9, 3\)",
        ),
    ],
)
def test_another_structure_is_refused_in_words(tmp_path, like, sentence):
    states.save(tmp_path / "s", Keeper().read(2, 4))
    with pytest.raises(ValueError, match=f"s holds a state of another structure: .*{sentence}"):
        states.load(tmp_path / "s", like=like)


def test_load_needs_a_structure(tmp_path):
    with pytest.raises(ValueError, match="model= or like="):
        states.load(tmp_path / "s")


def test_an_example_gives_the_structure_and_the_model_is_still_checked(tmp_path):
    model, other = Keeper(), Keeper()
    kept = {"inner": model.read(2, 4)}
    states.save(tmp_path / "s", kept, model=model)
    assert states.load(tmp_path / "s", model=model, like=kept).keys() == kept.keys()
    with torch.no_grad():
        next(other.parameters()).add_(1)
    with pytest.raises(ValueError, match="other weights"):
        states.load(tmp_path / "s", model=other, like=kept)


def test_bad_files_get_one_sentence(tmp_path):
    path = tmp_path / "s"
    with pytest.raises(FileNotFoundError, match=r"there is no file .*s$"):
        states.load(path, like=())
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere$"):
        states.save(tmp_path / "nowhere" / "s", ())
    states.save(path, (torch.ones(2, 100),))
    whole = path.read_bytes()
    for content in (whole[:-1], whole[:30], b"", b"once upon a time there was a file"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"s holds no state: it was cut short, or is no"):
            states.load(path, like=(torch.ones(1, 100),))
    save_file({"h": torch.ones(2)}, path)
    with pytest.raises(ValueError, match="s holds no state: it is a safetensors file of something"):
        states.load(path, like=(torch.ones(1),))
    about = json.dumps({"version": 2, "leaves": {}, "weights": None})
    save_file({}, path, {"statewise state": about})
    with pytest.raises(ValueError, match="s was written by a newer statewise: its format is 2"):
        states.load(path, like=())


def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "s"
    states.save(path, (torch.ones(1, 2),))

    def full_disk(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="no space left"):
        states.save(path, (torch.zeros(1, 2),))
    assert [file.name for file in tmp_path.iterdir()] == ["s"]
    assert torch.equal(states.load(path, like=(torch.ones(1, 2),))[0], torch.ones(1, 2))
