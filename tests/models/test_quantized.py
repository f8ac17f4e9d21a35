"""Weights of eight bits: how far the answers are off, what is kept, and what is refused."""

import copy
import json

import pytest
import torch
from torch import nn

from statewise import mixers
from statewise.mixers.parts.linear import Int8Embedding, Int8Linear, Linear
from statewise.models import LanguageModel, LanguageModelConfig, quantize
from statewise.models.quantized import is_quantized

SMALL = LanguageModelConfig(dim=32, depth=2, mixer={"branches": ["mamba"]}, norm="rms")


def made(**changes):
    torch.manual_seed(0)
    return LanguageModel(LanguageModelConfig(**{**SMALL.model_dump(), **changes})).eval()


def rounded(model):
    """The same in float32, with the numbers that eight bits stand for: what an error is beside."""
    twin = copy.deepcopy(model)
    quantize(model)
    found = dict(model.named_modules())
    with torch.no_grad():
        for name, module in twin.named_modules():
            if isinstance(found.get(name), Int8Linear | Int8Embedding):
                module.weight.copy_(found[name].weight)
    return twin


def relative(a, b):
    return ((a - b).norm() / b.norm()).item()


def test_a_number_is_off_by_half_a_step_at_most():
    torch.manual_seed(0)
    of = Linear(300, 50)
    with torch.no_grad():
        of.weight[3] = 0
        of.weight[4] *= 1e-30
        of.weight[5] *= 1e30
    eight = Int8Linear(of)
    assert eight.numbers.dtype == torch.int8
    assert eight.numbers.abs().amax(1).tolist() == [127] * 3 + [0] + [127] * 46
    off = (eight.weight - of.weight).abs() / eight.scale[:, None]
    assert off.max() <= 0.5001
    assert not eight.weight[3].any()


@pytest.mark.parametrize("tie", [True, False])
def test_logits_are_near(tie):
    """Rows as a normal distribution has them are off by 0.7 percent, and so is what they answer."""
    model = made(tie=tie, dim=128)
    exact = copy.deepcopy(model)
    twin = rounded(model)
    tokens = torch.randint(256, (2, 40))
    with torch.no_grad():
        ours, theirs, wanted = (m(tokens)[0] for m in (model, twin, exact))
    assert relative(ours, theirs) < 1e-4  # whatever backend multiplies
    assert 1e-3 < relative(ours, wanted) < 0.03


def test_steps_equal_forward_and_streams_do_not_depend_on_each_other():
    model = made(dim=64)
    quantize(model)
    tokens = torch.randint(256, (3, 12))
    with torch.no_grad():
        wanted, _ = model(tokens)
        state = model.initial_state(3)
        for at in range(12):
            logits, state = model.step(tokens[:, at], state)
            torch.testing.assert_close(logits, wanted[:, at], rtol=1e-3, atol=1e-4)
        lengths = torch.tensor([12, 5, 9])
        _, ends = model(tokens, lengths=lengths)
        _, end = model(tokens[1:2, :5])
    for part, alone in zip(ends, end, strict=True):
        torch.testing.assert_close(part[0].h[1:2], alone[0].h, rtol=1e-3, atol=1e-4)
    texts = [model.generate(p, max_tokens=6, seed=s) for s, p in enumerate(("a", "bcd"))]
    together = model.generate_batch(["a", "bcd"], max_tokens=6, seed=0)
    rows = ["".join(row) for row in zip(*together, strict=True)]
    assert rows == ["".join(text) for text in texts]


OTHERS = ["min_gru", "gla", "rwkv7", "mlstm_block", "lstm", "gated_delta_net", "rotation", "s5"]


@pytest.mark.parametrize("name", OTHERS)
def test_any_mixer(name):
    """What a mixer does with the weights of its maps is up to it: it reads what they stand for."""
    assert name in mixers.catalogue()
    model = made(mixer=name, norm="layer")
    twin = rounded(model)
    tokens = torch.randint(256, (2, 9))
    with torch.no_grad():
        assert relative(model(tokens)[0], twin(tokens)[0]) < 1e-3


def test_a_saved_model_answers_bit_by_bit_and_takes_a_quarter(tmp_path):
    model = made(dim=128)
    model.save_pretrained(tmp_path / "float")
    quantize(model)
    model.save_pretrained(tmp_path / "int8")
    at_once = LanguageModel.from_pretrained(tmp_path / "float", weights="int8")
    again = LanguageModel.from_pretrained(tmp_path / "int8")
    tokens = torch.randint(256, (2, 9))
    with torch.no_grad():
        wanted = model(tokens)[0]
        assert torch.equal(at_once(tokens)[0], wanted)
        assert torch.equal(again(tokens)[0], wanted)
    assert is_quantized(again)
    assert not again.training
    sizes = [(tmp_path / f / "model.safetensors").stat().st_size for f in ("float", "int8")]
    assert sizes[1] < 0.4 * sizes[0]
    assert json.loads((tmp_path / "int8" / "config.json").read_text())["weights"] == "int8"
    with pytest.raises(ValueError, match="the hub's library has no such weights"):
        again.save_pretrained(tmp_path / "theirs", format="transformers")


def test_weights_in_half_precision_are_widened():
    model = made().bfloat16()
    said = quantize(model)
    assert said.matrices == 1 + 3 * 2
    assert said.after < said.before
    assert {t.dtype for t in model.parameters()} == {torch.float32}
    assert quantize(model) == (0, said.after, said.after)


def test_what_is_shared_stays_shared():
    model = nn.Module()
    model.one = nn.Module()
    model.one.map = model.map = Linear(4, 4)
    quantize(model)
    assert model.one.map is model.map
    assert isinstance(model.map, Int8Linear)


def test_cells_keep_what_their_recurrence_is_compiled_from():
    model = made(mixer="leaky_rnn", norm="layer")
    quantize(model)
    cell = next(m for m in model.modules() if type(m).__name__ == "LeakyRNN")
    assert not any(isinstance(m, Int8Linear) for m in cell.modules())
    assert isinstance(model.embedding, Int8Embedding)


def test_training_is_refused():
    model = made()
    quantize(model)
    with pytest.raises(RuntimeError, match="eight bits are not trained: train the model"):
        model.train()
    assert not any(p.requires_grad for p in model.parameters())
    x = torch.randn(2, 5, 32, requires_grad=True)
    model.stack(x)[0].sum().backward()  # inputs may be differentiated
    assert x.grad is not None


def test_what_is_not_finite_is_named():
    model = made()
    with torch.no_grad():
        model.stack.parts[1].parts[0].output.weight[2, 3] = torch.inf
    with pytest.raises(ValueError, match=r"stack\.parts\.1\.parts\.0\.output is not rounded: a we"):
        quantize(model)


def test_tokens_out_of_range_are_refused():
    model = made()
    quantize(model)
    for token in (-1, 256):
        with pytest.raises(ValueError, match=r"should be in \[0, 256\)"):
            model(torch.tensor([[token]]))
