import pytest
import torch
from torch import nn

from statewise import cli
from statewise.mixers import build
from statewise.models import LanguageModel, LanguageModelConfig
from statewise.models.dropout import Drop, Dropout, DropWords, drop
from statewise.models.stack import Block
from statewise.training.memory import recompute

TOKENS = torch.randint(256, (3, 6), generator=torch.Generator().manual_seed(0))


def model(**rates):
    torch.manual_seed(0)
    plain = {"dim": 8, "depth": 2, "mixer": "lstm", "convolution": 0, "expansion": 0}
    return LanguageModel(LanguageModelConfig(**plain, dropout=Dropout(**rates)))


def read_by(module, call):
    """Return what a module was given first and what it answered while something was called."""
    seen = []
    hook = module.register_forward_hook(lambda _, given, answer: seen.append((given[0], answer)))
    call()
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("locked", [False, True])
def test_features_are_absent_at_their_rate_and_the_others_make_up_for_it(locked):
    torch.manual_seed(0)
    y = drop(0.3, locked=locked)(torch.ones(40, 50, 60))
    assert sorted(y.unique().tolist()) == pytest.approx([0, 1 / 0.7])
    masks = y[:, 0] if locked else y
    assert (masks == 0).double().mean().item() == pytest.approx(0.3, abs=0.02)
    same = (y == y[:, :1]).all().item()  # all times of a row share a mask, or none does
    assert same == locked
    assert not torch.equal(y[0], y[1])


def test_each_call_draws_again_and_evaluation_draws_nothing():
    layer, x = drop(0.5, locked=True), torch.ones(2, 3, 40)
    assert not torch.equal(layer(x), layer(x))
    assert layer(x[:, 0]).shape == (2, 40)
    layer.eval()
    seeds = layer.state_dict()["draws.seed"].clone()
    assert layer(x) is x
    assert torch.equal(layer.state_dict()["draws.seed"], seeds)


def test_a_word_is_absent_wherever_it_stands():
    torch.manual_seed(0)
    tokens = torch.arange(1000).repeat(2, 3)
    y = DropWords(1000, 0.2)(torch.ones(2, 3000, 5), tokens)
    for part in y.view(6, 1000, 5):
        assert torch.equal(part, y[0, :1000])
    there = y[0, :1000, 0]
    assert torch.equal(y[0, :1000], there[:, None].expand(1000, 5))  # whole embeddings
    assert (there == 0).double().mean().item() == pytest.approx(0.2, abs=0.03)
    assert there.max().item() == pytest.approx(1 / 0.8)


@pytest.mark.parametrize("where", ["input", "layers", "output"])
def test_a_rate_drops_there_and_nowhere_else(where):
    one = model(**{where: 0.4})
    blocks = [block for block in one.stack.parts if isinstance(block, Block)]
    placed = {
        "input": [one.drop_input],
        "layers": [d for block in blocks for d in block.drops],
        "output": [one.drop_output],
    }
    for name, modules in placed.items():
        for module in modules:
            given, answer = read_by(module, lambda: one(TOKENS))
            assert ((answer == 0).any() and not (given == 0).any()) == (name == where)


def test_what_a_layer_keeps_is_never_dropped():
    """Zaremba's placement by hand: each cell reads masked features and its own whole past."""
    one = model(layers=0.5)
    block = one.stack.parts[0]
    layer, x = block.parts[0], torch.randn(3, 6, 8)
    read, _ = read_by(layer, lambda: block(x))
    ratio = read / block.norms[0](x)
    assert set(ratio.detach().round(decimals=3).unique().tolist()) == {0.0, 2.0}
    reference = nn.LSTM(8, 8, batch_first=True)
    reference.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(read)[0], reference(read)[0])


def test_without_training_it_is_the_model_without():
    rates = {"words": 0.2, "input": 0.3, "layers": 0.4, "output": 0.5, "locked": True}
    dropped, plain = model(**rates), model()
    assert not torch.equal(dropped(TOKENS)[0], plain(TOKENS)[0])
    assert torch.equal(dropped.eval()(TOKENS)[0], plain.eval()(TOKENS)[0])


def test_what_is_saved_keeps_its_rates_and_draws_on(tmp_path):
    dropped = model(words=0.2, layers=0.4, locked=True)
    dropped(TOKENS)
    dropped.save_pretrained(tmp_path)
    loaded = LanguageModel.from_pretrained(tmp_path)
    assert loaded.config.dropout == Dropout(words=0.2, layers=0.4, locked=True)
    assert torch.equal(loaded.train()(TOKENS)[0], dropped(TOKENS)[0])


def test_a_mask_goes_on_from_its_state_dict():
    one, other = Drop(0.5, locked=True), Drop(0.5, locked=True)
    one(torch.ones(3, 1, 4))
    other.load_state_dict(one.state_dict())
    x = torch.ones(3, 2, 4)
    assert torch.equal(one(x), other(x))


@pytest.mark.parametrize("mixer", ["lstm", "weight_dropped_lstm"])
def test_recomputing_draws_the_same_again(mixer):
    gradients, seeds = [], []
    for again in (False, True):
        torch.manual_seed(0)
        block = Block([build(mixer, 8), build("feed_forward", 8)])
        block.drops = nn.ModuleList(drop(0.5, locked=False) for _ in block.drops)
        if again:
            recompute(block)
        x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1))
        for _ in range(2):
            block(x)[0].square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in block.parameters()]))
        seeds.append([v for k, v in block.state_dict().items() if k.endswith("seed")])
    torch.testing.assert_close(*gradients)
    assert all(map(torch.equal, *seeds))


@pytest.mark.parametrize("rate", ["1.0", "-0.1"])
def test_a_rate_that_is_none_is_refused(rate, tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(f"train lm --data.path x --max_steps 1 --model.dropout.words {rate}".split())
    assert f"--model.dropout.words {rate}: input should be" in capsys.readouterr().err


def test_a_rate_that_is_none_is_refused_in_python():
    with pytest.raises(ValueError, match=r"dropout 1\.0 should be from 0 and below 1"):
        Drop(1.0, locked=True)


def test_a_rate_of_nothing_drops_and_draws_nothing():
    layer, x = Drop(0.0, locked=True), torch.ones(2, 3, 4)
    before = layer.state_dict()["draws.seed"].clone()
    assert layer.train()(x) is x
    assert torch.equal(layer.state_dict()["draws.seed"], before)
