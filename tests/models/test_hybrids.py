"""Every published hybrid is built in small; layers as data. tests/laws tries their stacks."""

import pytest
import torch

from statewise import mixers
from statewise.models import LanguageModel, LanguageModelConfig, Stack, layers
from statewise.models.hybrids import HYBRIDS
from tests.models.small_hybrids import small


@pytest.mark.parametrize("name", HYBRIDS)
def test_a_language_model_of_every_hybrid_reads_and_writes_its_configruuation(name, tmp_path):
    spec = small(name)
    config = LanguageModelConfig(dim=8, depth=max(2, len(HYBRIDS[name].layers)), mixer=spec)
    model = LanguageModel(config).eval()
    tokens = torch.randint(0, 256, (1, 5), generator=torch.Generator().manual_seed(0))
    model.save_pretrained(tmp_path / "model")
    again = LanguageModel.from_pretrained(tmp_path / "model")
    torch.testing.assert_close(again(tokens)[0], model(tokens)[0])


def test_what_is_shared_has_its_weights_once_and_a_state_for_each_use():
    spec = ["min_gru", {"branches": [{"shared": "memory", "branch": "min_gru"}, "min_gru"]}]
    made = layers.blocks(spec, 4, 4, convolution=0, expansion=0.0)
    assert made[1].parts[0] is made[3].parts[0]
    assert made[1].parts[1] is not made[3].parts[1]
    _, state = Stack(made)(torch.randn(1, 5, 4))
    assert not torch.equal(state[1][0].h, state[3][0].h)


def test_options_are_added_to_every_place_of_a_mixer():
    spec = {"hybrid": "griffin", "attention": {"window": 7, "heads": 2}}
    *rest, last = layers.pattern(spec)
    assert last["branches"][0] == {"name": "attention", "window": 7, "heads": 2}
    assert rest == list(HYBRIDS["griffin"].layers[:2])
    assert HYBRIDS["griffin"].layers[2]["branches"][0]["window"] == 1024


def test_a_hybrid_in_a_list_stands_for_its_layers():
    found = layers.pattern(["lstm", {"hybrid": "griffin"}, "lstm"])
    assert found == ["lstm", *HYBRIDS["griffin"].layers, "lstm"]


def test_a_mixer_is_told_its_place_unless_it_was():
    made = layers.blocks("slstm", 4, 3, convolution=0, expansion=0.0)
    for layer, block in enumerate(made):
        expected = mixers.build({"name": "slstm", "layer": layer, "layers": 3}, 4)
        assert torch.equal(block.parts[0].bias, expected.bias)
    fixed = {"name": "slstm", "layer": 1, "layers": 2}
    made = layers.blocks(fixed, 4, 2, convolution=0, expansion=0.0)
    assert torch.equal(made[0].parts[0].bias, made[1].parts[0].bias)
    # An LSTM's `layers` are its own.
    assert layers.blocks("lstm", 4, 3)[0].parts[1].layers == 1


def test_parts_side_by_side_are_multiplied_and_normed():
    spec = {"branches": [{"side_by_side": ["min_gru", "gru"], "multipliers": [2.0, -1.0]}]}
    torch.manual_seed(0)
    both = layers.blocks(spec, 4, 1)[0].parts[0]
    a, b = both.parts
    x = torch.randn(2, 5, 4)
    torch.testing.assert_close(both(x)[0], 2 * a(x)[0] - b(x)[0])
    spec["branches"][0] |= {"learned": True, "norm": True}
    both = layers.blocks(spec, 4, 1)[0].parts[0]
    assert both.learned.shape == (2, 4)
    y = both(x)[0].detach()
    louder = torch.nn.Parameter(100 * both.parts[0].candidate.weight.detach())
    both.parts[0].candidate.weight = louder
    assert (both(x)[0] - y).norm() < 10 * y.norm()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"hybrid": "grifin"}, "no hybrid 'grifin'; did you mean 'griffin'"),
        ({"hybrid": "griffin", "mamba": {}}, "'griffin' has no mixer 'mamba'"),
        ({"hybrid": "xlstm_1_1", "mlstm_block": {"hedas": 2}}, "did you mean 'heads'"),
        ({"branches": []}, "a layer is {branches: "),
        ({"branches": ["gru"], "width": 3}, "and no more"),
        ({"branches": [{"side_by_side": ["gru"], "norms": True}]}, "did you mean 'norm'"),
        ({"branches": [{"side_by_side": ["gru"], "multipliers": [1.0, 2.0]}]}, "2 multipliers"),
        ({"branches": [{"shared": "gru"}]}, "a shared branch is {shared: name, branch: "),
        ({"branches": ["gruu"]}, "no mixer 'gruu'; did you mean 'gru'"),
        ({"width": 3}, "has no name"),
    ],
)
def test_what_is_no_layer_is_refused_in_words(spec, message):
    with pytest.raises(ValueError, match=message):
        layers.blocks(spec, 8, 3)


def test_sizes_that_no_layer_reads_are_refused():
    with pytest.raises(ValueError, match="convolution = 4 would be read by no layer"):
        LanguageModelConfig(dim=8, depth=3, mixer={"hybrid": "griffin"}, convolution=4)
    mixed = [{"branches": ["gru"]}, "gru"]
    assert len(layers.blocks(mixed, 8, 2, convolution=0)[1].parts) == 2
