"""Drop-in modules answer what torch.nn's do, in every form; any mixer keeps their conventions."""

import doctest
import pickle
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence
from torch.utils._pytree import tree_leaves, tree_map

from statewise import mixers
from statewise import state as states
from statewise.compat import torch_nn as ours

KINDS = ["LSTM", "GRU", "RNN"]

# torch says once that its own LSTM with projections is a slow one.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections")


def far(found, expected):
    """Return the largest relative difference of two trees of tensors."""
    pairs = list(zip(tree_leaves(found), tree_leaves(expected), strict=True))
    assert all(a.shape == b.shape and a.dtype == b.dtype for a, b in pairs)
    pairs = [(a.to(torch.complex128), b.to(torch.complex128)) for a, b in pairs]
    return max(((a - b).norm() / b.norm().clamp_min(1e-30)).item() for a, b in pairs)


def of_packed(tree):
    """Return a tree of tensors in which packed sequences are tensors, order and all."""

    def tensors(leaf):
        return [x for x in leaf if x is not None] if isinstance(leaf, PackedSequence) else leaf

    return tree_map(tensors, tree, is_leaf=lambda leaf: isinstance(leaf, PackedSequence))


def twins(kind, *sizes, **options):
    """Return torch's module and ours with its weights."""
    torch.manual_seed(0)
    theirs = getattr(nn, kind)(*sizes, **options)
    mine = getattr(ours, kind)(*sizes, **options)
    mine.load_state_dict(theirs.state_dict())
    return theirs, mine


@pytest.mark.parametrize("kind", KINDS)
def test_torchs_documented_example_runs_unchanged(kind):
    examples = doctest.DocTestParser().get_examples(getattr(nn, kind).__doc__)
    program = "".join(example.source for example in examples)
    assert f"nn.{kind}(" in program
    results = []
    for module in (nn, ours):
        torch.manual_seed(0)
        names = {"torch": torch, "nn": module}
        exec(program, names)
        results.append([names["output"], [names[n] for n in ("hn", "cn") if n in names]])
    assert far(*reversed(results)) < 1e-5


def test_the_example_of_packing_runs_unchanged():
    theirs, mine = twins("LSTM", 4, 3, batch_first=True)
    torch.manual_seed(1)
    packed = pack_sequence([torch.randn(time, 4) for time in (2, 1, 3)], enforce_sorted=False)
    found, expected = (pad_packed_sequence(m(packed)[0], batch_first=True) for m in (mine, theirs))
    assert torch.equal(found[1], torch.tensor([2, 1, 3]))
    assert far(found[0], expected[0]) < 1e-5


@st.composite
def cases(draw):
    """Draw a module's arguments and the form of what it reads."""
    kind = draw(st.sampled_from(KINDS))
    hidden = draw(st.integers(1, 6))
    options = {
        "num_layers": draw(st.integers(1, 3)),
        "bias": draw(st.booleans()),
        "batch_first": draw(st.booleans()),
        "bidirectional": draw(st.booleans()),
    }
    if kind == "LSTM" and hidden > 1 and draw(st.booleans()):
        options["proj_size"] = draw(st.integers(1, hidden - 1))
    if kind == "RNN":
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    if options["num_layers"] > 1:
        options["dropout"] = draw(st.sampled_from([0.0, 0.5]))
    form = draw(st.sampled_from(["batch", "one", "sorted", "unsorted"]))
    times = draw(st.lists(st.integers(1, 7), min_size=1, max_size=4))
    if form == "sorted":
        times.sort(reverse=True)
    return SimpleNamespace(
        kind=kind,
        sizes=(draw(st.integers(1, 5)), hidden),
        options=options,
        form=form,
        times=times,
        starts=draw(st.booleans()),
        training=draw(st.booleans()),
    )


def sequences_of(case, x):
    """Return random features (batch, time, features) in the form of a case."""
    if case.form == "one":
        return x[0]
    if case.form == "batch":
        return x if case.options["batch_first"] else x.transpose(0, 1)
    rows = [row[:time] for row, time in zip(x, case.times, strict=True)]
    return pack_sequence(rows, enforce_sorted=case.form == "sorted")


@settings(deadline=None, max_examples=150)
@given(cases())
def test_it_answers_what_torch_does(case):
    """Outputs, last states, and the gradients of inputs, states and weights."""
    theirs, mine = twins(case.kind, *case.sizes, **case.options, dtype=torch.float64)
    batch, time = len(case.times), max(case.times)
    rows = case.options["num_layers"] * (1 + case.options["bidirectional"])
    widths = [case.options.get("proj_size", case.sizes[1]), case.sizes[1]]
    shapes = [(rows, batch, width) for width in widths[: 1 + (case.kind == "LSTM")]]
    if case.form == "one":
        shapes = [(rows, width) for rows, _, width in shapes]
    results = []
    for module in (mine, theirs):
        module.train(case.training)
        torch.manual_seed(1)
        x = torch.randn(batch, time, case.sizes[0], dtype=torch.float64, requires_grad=True)
        start = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
        hx = (tuple(start) if case.kind == "LSTM" else start[0]) if case.starts else None
        answer = module(sequences_of(case, x), hx)
        tensors = of_packed(answer)
        floating = [leaf for leaf in tree_leaves(tensors) if leaf.is_floating_point()]
        loss = sum((torch.randn(leaf.shape, dtype=leaf.dtype) * leaf).sum() for leaf in floating)
        read = [x, *(start if case.starts else []), *module.parameters()]
        # What a padded row does not read has no gradient in either.
        grads = torch.autograd.grad(loss, read, allow_unused=True, materialize_grads=True)
        results.append([tensors, grads])
    assert far(*results) < 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_a_module_is_torchs_but_for_its_computation(kind):
    theirs, mine = twins(kind, 3, 4, num_layers=2, bidirectional=True)
    assert isinstance(mine, getattr(nn, kind))
    assert repr(mine) == repr(theirs)
    theirs.load_state_dict(mine.state_dict(), strict=True)
    again = pickle.loads(pickle.dumps(mine))
    x = torch.randn(5, 2, 3)
    assert far(again(x), mine(x)) == 0
    assert mine(x)[0].stride() == theirs(x)[0].stride()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_one_input_after_another_is_the_whole_sequence(kind, dtype):
    theirs, mine = twins(kind, 3, 4, num_layers=2, dtype=dtype)
    x, hx, outputs = torch.randn(5, 2, 3).to(dtype), None, []
    with torch.no_grad():
        for now in x:
            output, hx = mine(now[None], hx)
            outputs.append(output)
        expected = theirs(x)
    assert output.untyped_storage().data_ptr() not in [
        leaf.untyped_storage().data_ptr() for leaf in tree_leaves(hx)
    ]
    tolerance = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 0.02}[dtype]
    assert far([torch.cat(outputs), hx], list(expected)) < tolerance


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_goes_in_and_comes_out(kind):
    theirs, mine = twins(kind, 3, 4, num_layers=2)
    x = torch.randn(5, 2, 3)
    found = mine.bfloat16()(x.bfloat16())
    assert all(leaf.dtype == torch.bfloat16 for leaf in tree_leaves(found))
    widened = tree_map(lambda leaf: leaf.float(), found)
    assert far(widened, theirs(x)) < 0.02


@pytest.mark.parametrize(
    ("x", "hx"),
    [
        (torch.zeros(5, 2, 4), None),
        (torch.zeros(5, 2, 3), torch.zeros(2, 2, 4)),
        (torch.zeros(5, 2, 3).double(), None),
        (torch.zeros(5, 3), torch.zeros(1, 5)),
        (torch.zeros(1, 5, 2, 3), None),
    ],
    ids=["features", "layers", "dtype", "units", "axes"],
)
def test_what_does_not_fit_is_refused_as_torch_refuses_it(x, hx):
    errors = []
    for module in twins("GRU", 3, 4):
        with pytest.raises((ValueError, RuntimeError)) as refused:
            module(x, hx)
        errors.append(refused.type)
    assert errors[0] == errors[1]


@pytest.mark.parametrize("options", [{}, {"proj_size": 2}], ids=["plain", "projected"])
def test_transforms_and_other_weights_are_seen(options):
    _, mine = twins("LSTM", 3, 4, **options, dtype=torch.float64)
    x, tangent = torch.randn(2, 4, 2, 3, dtype=torch.float64)
    doubled = {name: 2 * weight for name, weight in mine.named_parameters()}
    found = torch.func.functional_call(mine, doubled, (x,))
    _, slope = torch.func.jvp(lambda x: mine(x)[0], (x,), (tangent,))
    step = 1e-6 * tangent
    assert far(slope, (mine(x + step)[0] - mine(x - step)[0]) / 2e-6) < 1e-6
    mine.load_state_dict(doubled)
    assert far(found, mine(x)) == 0


# Any mixer.


@pytest.mark.parametrize("bidirectional", [False, True])
def test_an_lstm_as_any_mixer_is_torchs(bidirectional):
    theirs = nn.LSTM(6, 6, bidirectional=bidirectional)
    mine = ours.Recurrent("lstm", 6, 6, bidirectional=bidirectional)
    for mixer, suffix in zip(mine.mixers, ("", "_reverse"), strict=False):
        mixer.load_state_dict(
            {name: theirs.get_parameter(name + suffix) for name in mixer.state_dict()}
        )
    x = pack_sequence([torch.randn(n, 6) for n in (3, 5, 1)], enforce_sorted=False)
    (found, after), (expected, (h, c)) = mine(x), theirs(x)
    assert far(of_packed(found)[0], expected.data) < 1e-5
    assert (
        far(
            [leaf.squeeze(1) for s in after.layers for leaf in s],
            [leaf for pair in zip(h, c, strict=True) for leaf in pair],
        )
        < 1e-5
    )


MIXERS = ["min_gru", {"name": "gla", "heads": 2}, "s4d", "gru", mixers.RWKV7, "attention"]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("mixer", MIXERS, ids=str)
def test_every_row_is_read_as_if_alone(mixer, bidirectional):
    torch.manual_seed(0)
    mine = ours.Recurrent(mixer, 5, 8, 2, bidirectional=bidirectional, dtype=torch.float64)
    rows = [torch.randn(time, 5, dtype=torch.float64) for time in (3, 6, 1)]
    packed, after = mine(pack_sequence(rows, enforce_sorted=False))
    padded, _ = pad_packed_sequence(packed, batch_first=True)
    assert padded.shape == (3, 6, 8 * (1 + bidirectional))
    for place, row in enumerate(rows):
        alone, state = mine(row)
        assert far(padded[place, : len(row)], alone) < 1e-9
        if mixer != "attention":  # its state is as wide as the longest row
            assert far(states.select(after, [place]), state) < 1e-9
    time_first, _ = mine(torch.stack([rows[1]] * 2, 1))
    mine.batch_first = True
    batch_first, _ = mine(torch.stack([rows[1]] * 2))
    assert far(time_first.transpose(0, 1), batch_first) < 1e-9
    assert far(batch_first[0], padded[1]) < 1e-9


def test_a_state_goes_on_and_is_kept_in_a_file(tmp_path):
    torch.manual_seed(0)
    mine = ours.Recurrent("min_gru", 5, 8, 2, dtype=torch.float64)
    x = torch.randn(7, 3, 5, dtype=torch.float64)
    whole, last = mine(x)
    head, state = mine(x[:4])
    states.save(tmp_path / "state.safetensors", state, model=mine)
    tail, after = mine(x[4:], states.load(tmp_path / "state.safetensors", model=mine))
    assert isinstance(after.layers[0], mixers.MinGRU.remembers)
    assert far([torch.cat([head, tail]), after], [whole, last]) < 1e-9
    assert far(mine(x, mine.initial_state(3)), (whole, last)) == 0


def test_dropout_is_for_training_and_between_layers():
    torch.manual_seed(0)
    mine = ours.Recurrent("min_gru", 8, 8, 2, dropout=1.0)
    x = torch.randn(7, 3, 8)
    dropped, _ = mine(x)
    nothing, _ = mine.mixers[1](torch.zeros(3, 7, 8))
    assert far(dropped.transpose(0, 1), nothing) < 1e-6
    kept, _ = mine.eval()(x)
    assert far(kept, dropped) > 0.1


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("reads whole sequences", lambda: ours.Recurrent("bidirectional", 4, 4)),
        (
            "answers 3 features where hidden_size = 4",
            lambda: ours.Recurrent({"name": "gru", "hidden": 3}, 4, 4),
        ),
        ("num_layers = 0", lambda: ours.Recurrent("gru", 4, 4, 0)),
        ("dropout = 2.0", lambda: ours.Recurrent("gru", 4, 4, 2, dropout=2.0)),
        (
            "input has 3 features and should have input_size = 4",
            lambda: ours.Recurrent("gru", 4, 4)(torch.zeros(1, 3)),
        ),
        (
            "hx has 2 states and should have 1",
            lambda: ours.Recurrent("gru", 4, 4)(
                torch.zeros(1, 4), ours.Recurrent("gru", 4, 4, 2).initial_state(1)
            ),
        ),
        (r"input \(4,\) should be", lambda: ours.Recurrent("gru", 4, 4)(torch.zeros(4))),
    ],
)
def test_what_does_not_fit_is_refused(message, call):
    with pytest.raises(ValueError, match=message):
        call()
