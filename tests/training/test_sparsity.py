import pytest
import torch
from torch import nn

from statewise.models.language_model import LanguageModel, LanguageModelConfig
from statewise.training import sparsity
from statewise.training.language import train_language_model
from tests.training.test_loop import configuration


@pytest.fixture
def model():
    torch.manual_seed(0)
    return LanguageModel(LanguageModelConfig(dim=12, depth=2, mixer="lstm"))


@pytest.mark.parametrize("method", ["magnitude", "random"])
@pytest.mark.parametrize("share", [0.0, 0.33, 0.9, 1.0])
def test_exactly_the_share_of_each_matrix_goes(model, method, share):
    masks = sparsity.masks_of(model, share, method=method)
    assert len(masks) == len(sparsity.matrices(model)) > 5
    for parameter, mask in masks.items():
        assert mask.shape == parameter.shape
        assert int((~mask).sum()) == round(share * parameter.numel())
    assert all(p is not model.embedding.weight for p in masks)
    sparsity.apply(masks)
    assert all((p == 0).sum() >= (~m).sum() for p, m in masks.items())


def test_the_largest_stay_and_of_equal_ones_the_first():
    weight = torch.tensor([[3.0, -5.0, 1.0], [-2.0, 1.0, 1.0]])
    assert sparsity.largest(weight, 3).tolist() == [[True, True, False], [True, False, False]]
    assert sparsity.largest(weight, 4).tolist() == [[True, True, True], [True, False, False]]


def test_random_places_are_even():
    generator = torch.Generator().manual_seed(0)
    weight = torch.zeros(5, 4)
    times = sum(sparsity.drawn(weight, 5, generator).double() for _ in range(4000))
    assert (times / 4000 - 0.25).abs().max() < 0.03


def test_a_small_world_is_a_ring_with_some_links_elsewhere():
    generator = torch.Generator().manual_seed(0)
    mask = sparsity.small_world(torch.zeros(100, 100), 700, generator)
    assert int(mask.sum()) == 700
    at = torch.arange(100)
    steps = (at - at[:, None]) % 100
    far = torch.minimum(steps, 100 - steps)
    near = (mask & (far <= 3)).sum() / 700
    assert 0.85 < near < 0.97
    assert far[mask].max() > 20
    assert (mask.sum(1) == 7).all()
    with pytest.raises(ValueError, match="should be as high as wide"):
        sparsity.small_world(torch.zeros(3, 4), 5, generator)


@pytest.mark.parametrize("kept", [0, 1, 60, 150, 780])
def test_a_scale_free_graph_has_its_links_and_some_units_gather_them(kept):
    mask = sparsity.scale_free(torch.zeros(40, 40), kept, torch.Generator().manual_seed(0))
    assert int(mask.sum()) == kept
    assert not mask.triu().any()
    if kept == 60:
        read = mask.sum(0)
        even = sparsity.drawn(torch.zeros(40, 40), 60, torch.Generator().manual_seed(0)).sum(0)
        assert read.max() > 1.5 * even.max()
    with pytest.raises(ValueError, match="of 40 units has up to 780 links, not 781"):
        sparsity.scale_free(torch.zeros(40, 40), 781, torch.Generator())


def test_ways_lead_from_earlier_units_to_later_ones():
    mask = torch.tensor([[False, True, False], [False, False, False], [True, True, False]])
    expected = [[True, False, False], [True, True, False], [True, True, True]]
    assert sparsity.acyclic(mask).tolist() == expected


def test_names_choose_matrices(model):
    names = list(sparsity.matrices(model))
    chosen = sparsity.matrices(model, "*weight_hh*")
    assert 0 < len(chosen) < len(names)
    assert all("weight_hh" in name for name in chosen)
    with pytest.raises(ValueError, match="no matrix is named 'nothing'; there are stack"):
        sparsity.matrices(model, "nothing")
    with pytest.raises(ValueError, match="from 0 to 1"):
        sparsity.masks_of(model, 1.5)


def test_what_is_gone_stays_gone_in_training_and_when_loaded(tmp_path, model):
    masks = sparsity.masks_of(model, 0.8)
    sparsity.apply(masks)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(3):
        model(torch.randint(256, (2, 5)))[0].square().sum().backward()
        sparsity.apply_to_gradients(masks)
        optimizer.step()
        sparsity.apply(masks)
    model.save_pretrained(tmp_path)
    loaded = LanguageModel.from_pretrained(tmp_path)
    for mask, again in zip(masks.values(), sparsity.zeros_of(loaded).values(), strict=True):
        assert torch.equal(mask, again)


@pytest.mark.parametrize(("method", "step"), [("magnitude", 4), ("random", 0)])
def test_a_run_prunes_at_its_step_and_trains_the_rest(tmp_path, method, step):
    options = {"share": 0.75, "step": step, "method": method, "only": "*weight_hh*"}
    config = configuration(tmp_path, mixer="lstm", max_steps=8, sparsity=options)
    model = train_language_model(config).model
    found = sparsity.matrices(model, "*weight_hh*")
    assert all(int((p == 0).sum()) == round(0.75 * p.numel()) for p in found.values())
    others = [p for n, p in sparsity.matrices(model).items() if n not in found]
    assert others
    assert all((p != 0).all() for p in others)
    assert f'"step": {step}, "seconds"' in (tmp_path / "run/metrics.jsonl").read_text()
    assert "weights are zero" in (tmp_path / "run/train.log").read_text()


def test_a_run_that_names_no_matrix_is_refused_before_it_begins(tmp_path):
    config = configuration(tmp_path, sparsity={"share": 0.5, "only": "lstm"})
    with pytest.raises(ValueError, match="no matrix is named 'lstm'"):
        train_language_model(config)
    assert not (tmp_path / "run").exists()


def test_an_embedding_is_no_matrix_that_goes():
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 3))
    assert list(sparsity.matrices(model)) == ["1.weight"]
