import pytest
import torch
from pydantic import ValidationError
from torch.utils._pytree import tree_leaves

import statewise
from statewise import mixers
from statewise.mixers import MinGRU
from statewise.models import ByteTokenizer, LanguageModel, LanguageModelConfig
from statewise.models.language_model import PRESETS

SMALL = LanguageModelConfig(dim=8, depth=2, mixer="min_gru", convolution=0, expansion=0)


class Slow(MinGRU):
    """A mixer from outside the catalogue, with an option."""

    def __init__(self, dim, bias: float = 0.0):
        super().__init__(dim)
        torch.nn.init.constant_(self.gate.bias, bias)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return LanguageModel(SMALL).double()


@pytest.fixture
def tokens():
    return torch.randint(256, (3, 6), generator=torch.Generator().manual_seed(0))


def close(left, right):
    torch.testing.assert_close(tree_leaves(left), tree_leaves(right), rtol=1e-10, atol=1e-12)


def test_is_found_from_the_package():
    assert statewise.models.LanguageModel is LanguageModel


def test_answers_in_float32_and_starts_near_the_uniform_loss(tokens):
    torch.manual_seed(0)
    logits, _ = LanguageModel(SMALL)(tokens)
    assert logits.dtype == torch.float32
    assert logits.shape == (3, 6, 256)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten())
    assert abs(loss.item() - 5.545) < 0.1


def test_keeps_logits_and_state_in_float32_at_lower_precision(tokens):
    logits, state = LanguageModel(SMALL).bfloat16()(tokens)
    assert logits.dtype == torch.float32
    assert {leaf.dtype for leaf in tree_leaves(state)} == {torch.float32}


def test_steps_equal_forward(model, tokens):
    state, logits = model.initial_state(3), []
    for token in tokens.unbind(1):
        y, state = model.step(token, state)
        logits.append(y)
    close((torch.stack(logits, 1), state), model(tokens))
    assert sum(leaf[0].numel() for leaf in tree_leaves(state)) == model.state_size(6)


def test_a_reset_begins_a_document(model, tokens):
    reset = torch.zeros(3, 6, dtype=torch.bool)
    reset[:, 2] = True
    logits, state = model(tokens, reset=reset)
    close((logits[:, 2:], state), model(tokens[:, 2:]))


def test_padding_may_be_anything(model, tokens):
    padded = tokens.clone()
    padded[1, 4:], padded[2] = -100, 999
    logits, state = model(padded, lengths=torch.tensor([6, 4, 0]))
    close(logits[1, :4], model(tokens)[0][1, :4])
    assert not logits[1, 4:].any()
    assert not logits[2].any()
    close(
        [leaf[2] for leaf in tree_leaves(state)],
        [leaf[2] for leaf in tree_leaves(model.initial_state(3))],
    )


def test_every_parameter_gets_a_gradient(tokens):
    for tie in (True, False):
        model = LanguageModel(SMALL.model_copy(update={"tie": tie}))
        model(tokens)[0].logsumexp(-1).sum().backward()
        assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    names = {name for name, _ in model.named_parameters()}
    assert "head.weight" in names


def test_tokens_out_of_range_are_named(model):
    for token in (256, -1):
        message = rf"tokens \(1, 1\) should be in \[0, 256\), but they range from {token} to"
        with pytest.raises(ValueError, match=message):
            model(torch.tensor([[token]]))
        with pytest.raises(ValueError, match=r"should be in \[0, 256\)"):
            model.step(torch.tensor([token]), model.initial_state(1))


def test_a_list_of_mixers_is_repeated_over_the_depth():
    config = SMALL.model_copy(
        update={"depth": 5, "mixer": ["min_gru", {"name": "slow", "bias": -2.0}]}
    )
    model = LanguageModel(config, mixers={"slow": Slow})
    kinds = [type(block.parts[0]) for block in model.stack.parts]
    assert kinds == [MinGRU, Slow, MinGRU, Slow, MinGRU]
    assert model.stack.parts[1].parts[0].gate.bias[0] == -2.0


def test_presets_are_explicit_numbers():
    for name, fields in PRESETS.items():
        config = LanguageModelConfig.from_preset(name, mixer="min_gru")
        assert config.dim == fields["dim"]
    assert LanguageModelConfig.from_preset("small", dim=32).dim == 32
    with pytest.raises(ValueError, match="no preset 'smal'; did you mean 'small'"):
        LanguageModelConfig.from_preset("smal")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dpeth": 3}, "no field 'dpeth'; did you mean 'depth'"),
        ({"dim": "64"}, "dim"),
        ({"dim": 0}, "greater than or equal to 1"),
        ({"mixer": []}, "mixer is an empty list"),
        ({"mixer": ["min_gru"] * 4, "depth": 3}, "mixer lists 4 mixers for a depth of 3"),
        ({"mixer": {"width": 3}}, "has no name"),
    ],
)
def test_a_wrong_configuration_says_so(fields, message):
    with pytest.raises(ValidationError, match=message):
        LanguageModelConfig(**fields)


def test_an_unknown_mixer_or_option_says_so():
    for mixer, message in [
        ("min_gur", "no mixer 'min_gur'; did you mean 'min_gru'"),
        ({"name": "slow", "bais": 1.0}, "no option 'bais'; did you mean 'bias'"),
    ]:
        with pytest.raises(ValueError, match=message):
            LanguageModel(SMALL.model_copy(update={"mixer": mixer}), mixers={"slow": Slow})


def test_a_tokenizer_that_is_too_large_is_refused():
    class Words:
        vocab = 300

        def encode(self, text):
            return []

        def bytes_of(self, token):
            return b""

        def decode_bytes(self, tokens):
            return b""

    with pytest.raises(ValueError, match=r"tokenizer has 300 tokens, .* vocab of 256"):
        LanguageModel(SMALL, tokenizer=Words())


def test_what_the_tokenizer_cannot_say_is_never_drawn():
    model = LanguageModel(SMALL.model_copy(update={"vocab": 260}), tokenizer=ByteTokenizer())
    with torch.no_grad():
        # The head's too: one of the two is far the likeliest, whatever it reads.
        model.embedding.weight[256] = 9 * torch.randn(8)
        model.embedding.weight[257] = -model.embedding.weight[256]
        logits, _ = model(torch.tensor([[97]]))
    assert logits.argmax() >= 256
    assert "".join(model.generate("a", max_tokens=20, temperature=0))


@pytest.mark.parametrize(
    "name", [n for n, c in mixers.catalogue().items() if issubclass(c, mixers.Mixer)]
)
def test_every_mixer_stands_in_two_layers(name):
    """Some are told their place, which their other defaults have to bear."""
    model = LanguageModel(LanguageModelConfig(vocab=3, dim=64, depth=2, mixer=name))
    assert len(model.initial_state(1)) == 2
