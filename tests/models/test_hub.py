"""Checkpoints of the hub's library: theirs to ours to theirs, and what is refused."""

import json

import pytest
import safetensors.torch
import torch

from statewise.models import LanguageModel, LanguageModelConfig

transformers = pytest.importorskip("transformers")


def theirs(kind, **options):
    """A small model of the hub's library with random weights, none at its start."""
    torch.manual_seed(0)
    classes = {
        "mamba": ("MambaConfig", "MambaForCausalLM"),
        "falcon": ("FalconMambaConfig", "FalconMambaForCausalLM"),
        "mamba2": ("Mamba2Config", "Mamba2ForCausalLM"),
    }
    config, model = (getattr(transformers, name) for name in classes[kind])
    sizes = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2}
    made = model(config(**sizes, **options)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


CASES = {
    "mamba": {},
    "mamba_untied": {"tie_word_embeddings": False, "state_size": 5, "conv_kernel": 3, "expand": 3},
    "mamba_rank": {"time_step_rank": 3, "layer_norm_epsilon": 1e-3},
    "falcon": {"state_size": 5, "mixer_rms_eps": 1e-3},
    "falcon_untied": {"tie_word_embeddings": False},
    "mamba2": {"num_heads": 8, "head_dim": 4, "n_groups": 2, "state_size": 6, "chunk_size": 8},
    "mamba2_tied": {
        **{"num_heads": 3, "head_dim": 16, "n_groups": 1, "state_size": 4, "expand": 3},
        **{"tie_word_embeddings": True, "layer_norm_epsilon": 1e-3, "chunk_size": 8},
    },
}


@pytest.fixture(params=CASES, scope="module")
def checkpoint(request, tmp_path_factory):
    """A folder that the hub's library wrote, and its model."""
    folder = tmp_path_factory.mktemp(request.param)
    model = theirs(request.param.split("_")[0], **CASES[request.param])
    model.save_pretrained(folder)
    return folder, model


def test_logits_are_theirs(checkpoint):
    folder, model = checkpoint
    ours = LanguageModel.from_pretrained(folder)
    tokens = torch.randint(40, (3, 20))
    with torch.no_grad():
        logits, _ = ours(tokens)
        wanted = model(tokens).logits
        torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-4)
        state = ours.initial_state(3)
        for at in range(20):
            step, state = ours.step(tokens[:, at], state)
            torch.testing.assert_close(step, wanted[:, at], rtol=1e-4, atol=1e-4)


def test_there_and_back_again_no_bit_is_changed(checkpoint, tmp_path):
    folder, model = checkpoint
    LanguageModel.from_pretrained(folder).save_pretrained(tmp_path, format="transformers")
    back = type(model).from_pretrained(tmp_path)
    before, after = (dict(m.state_dict()) for m in (model, back))
    assert before.keys() == after.keys()
    for name in before:
        assert torch.equal(before[name], after[name]), name
    one, two = (safetensors.torch.load_file(f / "model.safetensors") for f in (folder, tmp_path))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    for name in ("hidden_size", "state_size", "conv_kernel", "expand", "layer_norm_epsilon"):
        assert getattr(back.config, name) == getattr(model.config, name)
    tokens = torch.randint(40, (2, 9))
    with torch.no_grad():
        assert torch.equal(model(tokens).logits, back(tokens).logits)


def test_pieces_of_a_checkpoint_are_read_together(checkpoint, tmp_path):
    folder, model = checkpoint
    model.save_pretrained(tmp_path, max_shard_size="5KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    whole, pieces = (LanguageModel.from_pretrained(f) for f in (folder, tmp_path))
    for one, two in zip(whole.parameters(), pieces.parameters(), strict=True):
        assert torch.equal(one, two)


def test_half_precision_stays(tmp_path):
    theirs("mamba").to(torch.bfloat16).save_pretrained(tmp_path)
    assert LanguageModel.from_pretrained(tmp_path).embedding.weight.dtype == torch.bfloat16


def test_a_model_of_ours_is_loaded_by_the_hub(tmp_path):
    config = LanguageModelConfig(
        vocab=30, dim=8, depth=2, mixer={"branches": ["mamba"]}, norm="rms", tie=False
    )
    ours = LanguageModel(config).eval()
    ours.save_pretrained(tmp_path, format="transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    tokens = torch.randint(30, (2, 11))
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens)[0], model(tokens).logits, rtol=1e-4, atol=1e-4)


@pytest.fixture
def folder(tmp_path):
    """A checkpoint that may be damaged."""
    theirs("mamba").save_pretrained(tmp_path)
    return tmp_path


def change(folder, **fields):
    path = folder / "config.json"
    said = {**json.loads(path.read_text()), **fields}
    path.write_text(json.dumps({name: x for name, x in said.items() if x is not None}))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (
            {"model_type": "llama"},
            "a llama is not read into our stack, which has mamba, falcon_mamba, mamba2",
        ),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu' is not 'silu'"),
        ({"use_bias": True}, "use_bias = True is not False"),
        ({"hidden_size": None}, "is not complete: it has no hidden_size"),
        ({"num_hidden_layers": 3}, "is of another model: it has no backbone.layers.2.norm.weight"),
        ({"num_hidden_layers": 1}, "backbone.layers.1.+ has no place in a mamba"),
        ({"state_size": 8}, "which does not fit"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(folder, fields, why):
    change(folder, **fields)
    with pytest.raises(ValueError, match=why):
        LanguageModel.from_pretrained(folder)


def test_damaged_and_missing_files_are_named(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"model[.]safetensors is cut short or damaged"):
        LanguageModel.from_pretrained(folder)
    path.rename(folder / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"pytorch_model[.]bin is a pickle"):
        LanguageModel.from_pretrained(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config[.]json is damaged"):
        LanguageModel.from_pretrained(folder)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"mixer": "mamba", "norm": "rms"}, "its layers are {branches: .mamba.}"),
        ({"mixer": {"branches": ["mamba"]}}, "its norm is rms, not layer"),
        (
            {"mixer": {"branches": [{"name": "mamba", "expansion": 1.5}]}, "norm": "rms"},
            "its expansion is a whole number, not 1.5",
        ),
    ],
)
def test_what_the_hub_has_not_is_not_written(tmp_path, options, why):
    model = LanguageModel(LanguageModelConfig(dim=8, depth=1, **options))
    with pytest.raises(ValueError, match=why):
        model.save_pretrained(tmp_path / "no", format="transformers")
    assert not (tmp_path / "no").exists()
