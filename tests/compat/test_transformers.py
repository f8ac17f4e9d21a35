"""The hub's models answer the same by our ops, in every form, and right where they were wrong.

What is right is the library's own answer to each row alone, whole, without padding and without a
cache: the sequence, read from its start to its end.
"""

import copy
import functools
import pickle

import pytest
import torch
from torch.utils._pytree import tree_map

from statewise import state as states

transformers = pytest.importorskip("transformers")

from benchmarks.hub.families import FAMILIES, build  # noqa: E402
from statewise.compat.transformers import (  # noqa: E402
    products,
    read_state,
    use_native,
    write_state,
)
from statewise.compat.transformers import sources as module  # noqa: E402

TIME = 11
LENGTHS = (11, 6, 3)
PURE = ("mamba", "falcon_mamba", "mamba2", "rwkv", "xlstm")
HOLDERS = {
    "rwkv": "state",
    **dict.fromkeys(("mamba", "falcon_mamba", "mamba2", "xlstm"), "cache_params"),
}
every_family = pytest.mark.parametrize("family", FAMILIES)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(autouse=True)
def quiet():
    """The library tells every caller of its fall-backs that they are slow."""
    transformers.logging.set_verbosity_error()


def fresh(family):
    """Return a small model whose recurrence can be seen in its logits, always the same one."""
    torch.manual_seed(0)
    model = build(family, dim=32, depth=3, vocabulary=40).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim >= 2 and "A_log" not in name and "time_mix" not in name:
                weight.mul_(4)
    return model


made = functools.cache(fresh)


def drawn(*shape, seed=0):
    return torch.randint(3, 40, shape, generator=torch.Generator().manual_seed(seed))


def alone(model, row):
    """Return the logits of one row, whole, without padding and without a cache."""
    with torch.no_grad():
        return model(row[None], use_cache=False).logits[0]


def padded(rows, side):
    """Return rows of any lengths as one tensor, and which inputs are real."""
    time = max(map(len, rows))
    tokens, mask = (
        torch.zeros(len(rows), time, dtype=torch.long),
        torch.zeros(len(rows), time).long(),
    )
    for number, row in enumerate(rows):
        at = slice(0, len(row)) if side == "right" else slice(time - len(row), time)
        tokens[number, at], mask[number, at] = row, 1
    return tokens, mask


def positions(mask):
    return (mask.cumsum(1) - 1).clamp(0)


class Stream:
    """A prompt read in pieces, as a user would, with the cache that the library makes or takes."""

    def __init__(self, model, family):
        self.model, self.holder = model, HOLDERS.get(family, "past_key_values")
        self.cache = None
        self.mask = None
        if family == "recurrent_gemma":  # whose output brings no cache
            self.cache = transformers.DynamicCache(config=model.config)

    def read(self, tokens, mask=None):
        mask = torch.ones_like(tokens) if mask is None else mask
        self.mask = mask if self.mask is None else torch.cat([self.mask, mask], 1)
        given = {} if self.mask.all() else {"attention_mask": self.mask}
        if self.holder == "past_key_values":
            given["position_ids"] = positions(self.mask)[:, -tokens.shape[1] :]
        if self.cache is not None:
            given[self.holder] = self.cache
        with torch.no_grad():
            output = self.model(tokens, use_cache=True, **given)
        self.cache = getattr(output, self.holder, self.cache)
        return output.logits


def near(found, expected, tolerance=1e-4):
    assert found.shape == expected.shape
    off = (found - expected).abs().max().item()
    assert off <= tolerance * expected.abs().max().clamp(1).item(), off


@every_family
def test_the_whole_is_known(family):
    """Every recurrent part is replaced, from sources that the table has."""
    model = made(family)
    native = use_native(model)
    assert native.replaced, "nothing was replaced"
    assert not native.left
    assert "replaced: " in str(native)
    native.undo()
    assert not any("forward" in vars(part) for part in model.modules())


@every_family
def test_logits_stay_whatever_the_padding(family):
    model = made(family)
    rows = [drawn(length, seed=length) for length in LENGTHS]
    expected = [alone(model, row) for row in rows]
    with use_native(model), torch.no_grad():
        near(model(rows[0][None], use_cache=False).logits[0], expected[0])
        for side in ("left", "right"):
            tokens, mask = padded(rows, side)
            given = {} if family in PURE else {"position_ids": positions(mask)}
            found = model(tokens, attention_mask=mask, use_cache=False, **given).logits
            for logits, real, right in zip(found, mask.bool(), expected, strict=True):
                near(logits[real], right)


@every_family
@pytest.mark.parametrize("side", ["none", "left", "right"])
@pytest.mark.parametrize("cuts", [(11,), (5, 6), (3, 4, 1, 1, 2)], ids=["one", "two", "many"])
def test_pieces_and_steps_go_on_from_the_cache(family, side, cuts):
    model = made(family)
    rows = [drawn(TIME if side == "none" else length, seed=length) for length in LENGTHS]
    more = drawn(3, 3, seed=9)
    expected = [alone(model, torch.cat(pair)) for pair in zip(rows, more, strict=True)]
    tokens, mask = padded(rows, side)
    with use_native(model):
        stream = Stream(model, family)
        parts = zip(tokens.split(cuts, 1), mask.split(cuts, 1), strict=True)
        logits = torch.cat([stream.read(*part) for part in parts], 1)
        steps = torch.cat([stream.read(more[:, i : i + 1]) for i in range(3)], 1)
    for at, right in enumerate(expected):
        near(torch.cat([logits[at][mask[at].bool()], steps[at]]), right)


@every_family
def test_two_streams_do_not_meet(family):
    model = made(family)
    pair = [drawn(1, TIME, seed=seed) for seed in (1, 2)]
    expected = [alone(model, tokens[0]) for tokens in pair]
    with use_native(model):
        streams = [Stream(model, family) for _ in pair]
        found = [[], []]
        for start, end in ((0, 6), (6, 7), (7, 8), (8, 11)):
            for logits, stream, tokens in zip(found, streams, pair, strict=True):
                logits.append(stream.read(tokens[:, start:end])[0])
    for logits, right in zip(found, expected, strict=True):
        near(torch.cat(logits), right)


@every_family
def test_gradients_stay(family):
    model = made(family).train()
    tokens = drawn(2, TIME)

    def gradients():
        model.zero_grad()
        logits = model(tokens, use_cache=False).logits
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    try:
        expected = gradients()
        with use_native(model):
            found = gradients()
    finally:
        model.eval()
    assert found.keys() == expected.keys()
    for name, right in expected.items():
        assert (found[name] - right).norm() <= 1e-3 * right.norm().clamp(1e-4), name


@every_family
def test_gradients_of_padded_rows_are_those_of_each_alone(family):
    """With the activations computed again in the backward pass, where the library can do that."""
    model = fresh(family).train()
    rows = [drawn(length, seed=length) for length in LENGTHS]
    tokens, mask = padded(rows, "left")
    given = {} if family in PURE else {"position_ids": positions(mask)}

    def gradients(*losses):
        model.zero_grad()
        sum(losses).backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    weights = [torch.randn(length, 40) for length in LENGTHS]
    expected = gradients(
        *(
            (model(row[None], use_cache=False).logits[0] * weight).sum()
            for row, weight in zip(rows, weights, strict=True)
        )
    )
    if model.supports_gradient_checkpointing:
        model.gradient_checkpointing_enable()
    with use_native(model):
        logits = model(tokens, attention_mask=mask, use_cache=False, **given).logits
        found = gradients((logits[mask.bool()] * torch.cat(weights)).sum())
    for name, right in expected.items():
        assert (found[name] - right).norm() <= 1e-3 * right.norm().clamp(1e-4), name


@pytest.mark.parametrize("family", ["mamba", "mamba2", "recurrent_gemma", "qwen3_next"])
def test_generate(family):
    model = made(family)
    rows = [drawn(length, seed=length) for length in LENGTHS]
    tokens, mask = padded(rows, "left")
    options = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None}
    with use_native(model):
        found = model.generate(tokens, attention_mask=mask, **options)[:, TIME:]
        single = [model.generate(row[None], **options)[0, len(row) :] for row in rows]
    for row, tokens, itself in zip(rows, found, single, strict=True):
        assert tokens.tolist() == itself.tolist()
        for _ in range(4):  # as the library says one whole sequence after another
            row = torch.cat([row, alone(model, row)[-1].argmax()[None]])
        assert tokens.tolist() == row[-4:].tolist()


def test_undoing_gives_everything_back_and_other_models_stay():
    model, other = made("mamba"), copy.deepcopy(made("mamba"))
    tokens = drawn(2, TIME)
    with torch.no_grad():
        before = model(tokens).logits
        native = use_native(model)
        twin = copy.deepcopy(model)
        changed = model(tokens).logits
        assert torch.equal(other(tokens).logits, before)
        assert torch.equal(twin(tokens).logits, changed)
        assert not torch.equal(changed, before), "nothing was computed by other functions"
        native.undo()
        native.undo()
        assert torch.equal(model(tokens).logits, before)
        assert torch.equal(twin(tokens).logits, changed)


@pytest.mark.parametrize("family", ["mamba", "rwkv", "recurrent_gemma", "xlstm", "minimax"])
def test_a_pickle_has_the_functions_of_the_library(family):
    """Its forward is the class's, and it can be replaced again."""
    model = copy.deepcopy(made(family))
    tokens = drawn(2, TIME)
    with torch.no_grad():
        before = model(tokens, use_cache=False).logits
        with use_native(model):
            again = pickle.loads(pickle.dumps(model))
        assert torch.equal(again(tokens, use_cache=False).logits, before)
        with use_native(again) as native:
            assert native.replaced
            assert not native.left
            near(again(tokens, use_cache=False).logits, before)


def test_a_second_call_leaves_what_is_replaced():
    model = made("mamba")
    with use_native(model), pytest.warns(UserWarning, match="MambaMixer is replaced already"):
        again = use_native(model)
    assert not again.replaced
    assert len(again.left) == 3


def test_a_source_that_was_not_tested_is_left(monkeypatch):
    model = made("qwen3_next")
    name = "torch_chunk_gated_delta_rule"
    monkeypatch.setitem(module.TESTED, name, {})
    with pytest.warns(
        UserWarning, match=f"left as it was: .*{name} is not a source we have tested"
    ):
        native = use_native(model)
    kinds = {type(part).__name__ for part in native.replaced}
    assert "Qwen3NextGatedDeltaNet" not in kinds
    native.undo()


def test_a_model_without_a_recurrence():
    config = transformers.LlamaConfig(
        vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    assert str(use_native(transformers.LlamaForCausalLM(config))) == "nothing recurrent was found"


@every_family
def test_a_state_is_taken_out_forked_kept_and_put_back(family, tmp_path):
    model = made(family)
    tokens, more = drawn(2, 6), drawn(4, 3, seed=9)
    expected = [alone(model, torch.cat([tokens[n // 2], more[n]]))[6:] for n in range(4)]
    with use_native(model):
        stream = Stream(model, family)
        stream.read(tokens)
        state = read_state(stream.cache)
        kept = tree_map(torch.clone, state)
        forked = states.fork(state, 2)
        path = tmp_path / "state.safetensors"
        states.save(path, forked)
        other = Stream(model, family)
        other.read(drawn(4, 2, seed=3))  # a cache that holds something else
        write_state(other.cache, states.load(path, like=forked))
        other.mask = torch.ones(4, 6).long()
        found = other.read(more)
        # What was taken out is a value: neither stream changes it.
        stream.read(more[:2])
        for name, leaf in states.leaves(kept).items():
            assert torch.equal(states.leaves(state)[name], leaf), name
    for logits, right in zip(found, expected, strict=True):
        near(logits, right)


def test_a_state_of_other_layers_is_refused():
    model = made("mamba")
    with use_native(model), torch.no_grad():
        cache = model(drawn(1, 3), use_cache=True).cache_params
    with pytest.raises(ValueError, match="the state has 1 layers, and the cache 3"):
        write_state(cache, read_state(cache)[:1])
    with pytest.raises(TypeError, match="a dict is no cache"):
        read_state({})
    with pytest.raises(TypeError, match="a dict is no cache"):
        write_state({}, ())


def test_a_state_carries_gradients_over_a_cut():
    """Back-propagation through pieces, which the library's in-place caches do not survive."""
    model = made("mamba2")
    tokens = drawn(2, 8)
    weight = model.backbone.layers[0].mixer.in_proj.weight

    def gradient(*cuts):
        cache, logits = None, []
        for part in tokens.split(cuts, 1):
            output = model(part, cache_params=cache, use_cache=True)
            cache = output.cache_params
            logits.append(output.logits)
        return torch.autograd.grad(torch.cat(logits, 1).square().sum(), weight)[0]

    with use_native(model):
        near(gradient(4, 4), gradient(8), 1e-3)


# What the library does wrong. Each test first shows the fault, so that it fails where a later
# version mends it: the page that tells of it is then to be changed.


def far(found, expected):
    return (found - expected).abs().max().item() > 1e-3


def test_fault_the_selective_scan_forgets_between_pieces():
    """A prompt in two pieces: the scan starts from zeros at each."""
    model, tokens = made("mamba"), drawn(TIME)
    right = alone(model, tokens)
    stream = Stream(model, "mamba")
    stream.read(tokens[None, :5])
    assert far(stream.read(tokens[None, 5:])[0], right[5:])


def test_fault_right_padding_enters_the_state():
    """A shorter row of a batch decays with every input of its padding."""
    model = made("mamba2")
    rows = [drawn(length, seed=length) for length in LENGTHS]
    tokens, mask = padded(rows, "right")
    more = drawn(3, 1, seed=9)
    stream = Stream(model, "mamba2")
    stream.read(tokens, mask)
    found = stream.read(more)[2, 0]
    assert far(found, alone(model, torch.cat([rows[2], more[2]]))[-1])


def test_fault_rwkv_takes_rows_for_inputs():
    """One input of each of two rows is answered by (2, 2, vocabulary)."""
    model = made("rwkv")
    stream = Stream(model, "rwkv")
    stream.read(drawn(2, 5))
    assert stream.read(drawn(2, 1)).shape == (2, 2, 40)


def test_fault_recurrent_gemma_keeps_its_state_on_the_module():
    """A second stream overwrites the first one's state."""
    model = made("recurrent_gemma")
    first, second = Stream(model, "recurrent_gemma"), Stream(model, "recurrent_gemma")
    tokens = drawn(1, TIME)
    right = alone(model, tokens[0])
    first.read(tokens[:, :-1])
    second.read(drawn(1, 7, seed=5))
    assert far(first.read(tokens[:, -1:])[0], right[-1:])


def test_fault_xlstm_refuses_its_own_cache():
    """Keys of a size that 64 does not divide do not fit the cache that is made for them."""
    with pytest.raises((RuntimeError, ValueError)):
        Stream(made("xlstm"), "xlstm").read(drawn(1, 5))


def test_fault_minimax_counts_no_inputs_where_its_first_layer_recurs():
    """So that it takes the second piece of a prompt for the first."""
    model, tokens = made("minimax"), drawn(1, TIME)
    right = alone(model, tokens[0])

    def pieces():
        with torch.no_grad():
            cache = model(tokens[:, :6], use_cache=True).past_key_values
            return model(tokens[:, 6:], past_key_values=cache, use_cache=True).logits[0]

    assert far(pieces(), right[6:])
    with use_native(model):
        near(pieces(), right[6:])


def test_fault_limits_of_steps_are_forgotten_in_single_steps():
    """A model that limits its step sizes does so in a prompt alone."""
    torch.manual_seed(0)
    options = {"time_step_limit": (0.0, 0.05)}
    model = build("mamba2", dim=32, depth=2, vocabulary=40, **options).eval()
    with torch.no_grad():
        for block in model.backbone.layers:
            block.mixer.in_proj.weight.mul_(20)
    tokens = drawn(1, TIME)
    right = alone(model, tokens[0])[-1]

    def last():
        stream = Stream(model, "mamba2")
        stream.read(tokens[:, :-1])
        return stream.read(tokens[:, -1:])[0, 0]

    assert far(last(), right)
    with use_native(model):
        near(last(), right)


@pytest.mark.parametrize("family", ["mamba", "mamba2", "qwen3_next", "rwkv"])
def test_half_precision_is_as_near_as_the_library(family):
    """In bfloat16 our answer is no further from that in float32 than theirs, twice over."""
    model = copy.deepcopy(made(family))
    tokens = drawn(2, TIME)
    with torch.no_grad():
        right = model(tokens, use_cache=False).logits
        model.bfloat16()
        theirs = model(tokens, use_cache=False).logits.float()
        with use_native(model):
            mine = model(tokens, use_cache=False).logits.float()
    assert (mine - right).norm() <= 2 * (theirs - right).norm()


def test_beams_take_their_states_along():
    model = made("mamba")
    tokens = drawn(2, 5)
    options = {"max_new_tokens": 4, "num_beams": 3, "do_sample": False, "eos_token_id": None}
    expected = model.generate(tokens, **options)
    with use_native(model):
        assert torch.equal(model.generate(tokens, **options), expected)


@pytest.mark.parametrize("faster", [True, False])
def test_linear_maps_are_ours_where_our_products_are_faster(monkeypatch, faster):
    monkeypatch.setattr(products, "outpaced", lambda: faster)
    monkeypatch.setattr(products, "outpaced_by_few", lambda: False)
    model = fresh("mamba")
    head = model.get_output_embeddings()
    native = use_native(model)
    assert (native.replaced.get(head) == "linear") is faster
    assert ("forward" in vars(head)) is faster
    native.undo()
    assert "forward" not in vars(head)


def test_a_linear_map_that_somebody_replaced_is_left_alone(monkeypatch):
    monkeypatch.setattr(products, "outpaced", lambda: True)
    model = fresh("mamba")
    head = model.get_output_embeddings()
    head.forward = own = lambda x: x
    assert head not in use_native(model).replaced
    assert head.forward is own
