"""Checkpoints of the hub's library: theirs to ours to theirs, and what is refused."""

import json
import sys

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
        "rwkv": ("RwkvConfig", "RwkvForCausalLM"),
        "xlstm": ("xLSTMConfig", "xLSTMForCausalLM"),
        "gemma": ("RecurrentGemmaConfig", "RecurrentGemmaForCausalLM"),
        "qwen": ("Qwen3NextConfig", "Qwen3NextForCausalLM"),
    }
    config, model = (getattr(transformers, name) for name in classes[kind])
    sizes = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2}
    made = model(config(**{**sizes, **options})).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


QWEN = {
    **{"num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8},
    **{"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 6},
    **{"linear_value_head_dim": 5, "num_experts": 4, "num_experts_per_tok": 2},
    **{"moe_intermediate_size": 12, "shared_expert_intermediate_size": 20, "intermediate_size": 24},
}

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
    "rwkv": {"num_hidden_layers": 3},
    "rwkv_wide": {"intermediate_size": 40, "rescale_every": 0, "tie_word_embeddings": True},
    "xlstm": {"num_heads": 2, "ffn_proj_factor": 1.3, "gate_soft_cap": 0.5},
    "xlstm_narrow": {
        **{"num_heads": 2, "qk_dim_factor": 1.0, "v_dim_factor": 0.5},
        **{"ffn_round_up_to_multiple_of": 1, "output_logit_soft_cap": 2.0, "norm_eps": 1e-3},
    },
    "gemma": {
        **{"num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 48},
        **{"attention_window_size": 5, "num_key_value_heads": 1, "logits_soft_cap": 2.0},
    },
    "gemma_biased": {
        **{"num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48},
        **{"attention_bias": True, "lru_width": 24, "conv1d_width": 3, "rms_norm_eps": 1e-3},
        **{"block_types": ("attention", "recurrent"), "tie_word_embeddings": False},
    },
    "qwen": QWEN,
    "qwen_dense": {
        **QWEN,
        **{"mlp_only_layers": [0, 3], "attention_bias": True, "tie_word_embeddings": True},
        **{"norm_topk_prob": False, "rms_norm_eps": 1e-3, "linear_conv_kernel_dim": 3},
        **{"layer_types": ["full_attention", "linear_attention"] * 2},
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
    tokens, lengths = torch.randint(40, (3, 20)), torch.tensor([20, 0, 7])
    with torch.no_grad():
        logits, _ = ours(tokens)
        wanted = model(tokens, use_cache=False).logits
        assert wanted.std() > 0.05
        torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-4)
        state = ours.initial_state(3)
        for at in range(20):
            step, state = ours.step(tokens[:, at], state)
            torch.testing.assert_close(step, wanted[:, at], rtol=1e-4, atol=1e-4)
        padded, _ = ours(tokens, lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = wanted[row, :length]
        torch.testing.assert_close(padded[row, :length], alone, rtol=1e-4, atol=1e-4)
        assert not padded[row, length:].any()


def written(folder):
    """Return what a folder's configuration says, and its weights."""
    said = json.loads((folder / "config.json").read_text())
    return said, safetensors.torch.load_file(folder / "model.safetensors")


def same(one, two):
    assert one.keys() == two.keys()
    for name in one:
        assert one[name].dtype == two[name].dtype
        assert torch.equal(one[name], two[name]), name


def test_there_and_back_again_no_bit_is_changed(checkpoint, tmp_path):
    folder, model = checkpoint
    LanguageModel.from_pretrained(folder).save_pretrained(tmp_path, format="transformers")
    back = type(model).from_pretrained(tmp_path)
    same(back.state_dict(), model.state_dict())
    assert written(tmp_path)[0] == written(folder)[0]
    same(written(tmp_path)[1], written(folder)[1])
    tokens = torch.randint(40, (2, 9))
    with torch.no_grad():
        one, two = (m(tokens, use_cache=False).logits for m in (model, back))
        assert torch.equal(one, two)


def test_our_own_format_is_a_stop_on_the_way(checkpoint, tmp_path):
    """What was theirs, saved as ours, is written back as it was."""
    folder, _ = checkpoint
    LanguageModel.from_pretrained(folder).save_pretrained(tmp_path / "ours")
    ours = LanguageModel.from_pretrained(tmp_path / "ours")
    ours.save_pretrained(tmp_path / "back", format="transformers")
    assert written(tmp_path / "back")[0] == written(folder)[0]
    same(written(tmp_path / "back")[1], written(folder)[1])


def test_without_what_they_said_the_model_is_the_same(checkpoint, tmp_path):
    """A model that forgot where it is from is described anew, and answers as before."""
    folder, model = checkpoint
    ours = LanguageModel.from_pretrained(folder)
    ours.config = ours.config.model_copy(update={"hub": {}})
    ours.save_pretrained(tmp_path, format="transformers")
    back = type(model).from_pretrained(tmp_path).eval()
    tokens = torch.randint(40, (2, 9))
    with torch.no_grad():
        one, two = (m(tokens, use_cache=False).logits for m in (model, back))
    torch.testing.assert_close(one, two)


def test_pieces_of_a_checkpoint_are_read_together(checkpoint, tmp_path):
    folder, model = checkpoint
    model.save_pretrained(tmp_path, max_shard_size="5KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    whole, pieces = (LanguageModel.from_pretrained(f) for f in (folder, tmp_path))
    for one, two in zip(whole.parameters(), pieces.parameters(), strict=True):
        assert torch.equal(one, two)


def test_half_precision_stays(tmp_path):
    theirs("mamba").to(torch.bfloat16).save_pretrained(tmp_path)
    ours = LanguageModel.from_pretrained(tmp_path)
    assert ours.embedding.weight.dtype == torch.bfloat16
    ours.save_pretrained(tmp_path / "back", format="transformers")
    same(written(tmp_path / "back")[1], written(tmp_path)[1])
    ours.float().save_pretrained(tmp_path / "wide", format="transformers")
    assert written(tmp_path / "wide")[0]["dtype"] == "float32"


def test_what_is_said_of_training_and_of_tokens_is_kept(tmp_path):
    """Of a model that was changed too, as far as it still holds."""
    said = {"eos_token_id": 7, "pad_token_id": 3, "initializer_range": 0.3, "time_step_min": 0.002}
    theirs("mamba", **said).save_pretrained(tmp_path)
    ours = LanguageModel.from_pretrained(tmp_path)
    for vocab in (40, 50):
        fields = {**ours.config.model_dump(), "vocab": vocab}
        changed = LanguageModel(LanguageModelConfig(**fields))
        changed.save_pretrained(tmp_path / "back", format="transformers")
        back = transformers.AutoConfig.from_pretrained(tmp_path / "back")
        assert back.vocab_size == vocab
        assert {name: getattr(back, name) for name in said} == said


@pytest.mark.parametrize(
    ("case", "fields", "why"),
    [
        ("rwkv", {"attention_hidden_size": 8}, "attention_hidden_size = 8 is not hidden_size = 16"),
        ("rwkv", {"layer_norm_epsilon": 1e-3}, "layer_norm_epsilon = 0.001 is not 1e-05"),
        ("xlstm", {"use_bias": True}, "use_bias = True is not False"),
        ("xlstm", {"weight_mode": "fused"}, "weight_mode = 'fused' is not 'single'"),
        ("gemma", {"hidden_activation": "relu"}, "hidden_activation = 'relu' is not 'gelu_py"),
        ("qwen", {"rope_parameters": {"rope_type": "yarn"}}, "rope_type = 'yarn': our angles"),
        ("qwen", {"num_experts": 3}, "does not fit|has no place"),
    ],
)
def test_options_of_a_family_that_we_have_not_are_refused(tmp_path, case, fields, why):
    theirs(case, **CASES[case]).save_pretrained(tmp_path)
    change(tmp_path, **fields)
    with pytest.raises(ValueError, match=why):
        LanguageModel.from_pretrained(tmp_path)


def test_weights_that_the_library_does_not_read_either_are_left(tmp_path):
    theirs("qwen", **QWEN).save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    safetensors.torch.save_file({**weights, "mtp.fc.weight": torch.ones(2)}, path)
    LanguageModel.from_pretrained(tmp_path)


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
            "a llama is not read into our stack, which has mamba, .+, rwkv, xlstm, recurrent_gemma",
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
        (
            {"mixer": "mamba", "norm": "rms"},
            "layers of the hub's models are {branches: .+} of our mixers, not mamba",
        ),
        ({"mixer": {"branches": ["mamba"]}}, "its norm is rms, not layer"),
        (
            {"mixer": {"branches": [{"name": "mamba", "expansion": 1.5}]}, "norm": "rms"},
            "its expansion is a whole number, not 1.5",
        ),
        (
            {"mixer": {"branches": ["mamba"]}, "norm": "rms", "logit_soft_cap": 3.0},
            "its logit_soft_cap is None, not 3.0",
        ),
        (
            {
                "mixer": {"branches": ["rwkv4", "rwkv_channel_mixing"]},
                "norm_bias": True,
                "embedding_norm": True,
            },
            "its rwkv_channel_mixing has version = 4, not 6",
        ),
        (
            {
                "mixer": {"branches": [{"name": "gated_delta_net", "heads": 2}, "mixture"]},
                "norm": "zero_centered_rms",
                "norm_epsilon": 1e-5,
            },
            "its mixture has shared_expansion = 0.0, not None",
        ),
    ],
)
def test_what_the_hub_has_not_is_not_written(tmp_path, options, why):
    model = LanguageModel(LanguageModelConfig(dim=8, depth=1, **options))
    with pytest.raises(ValueError, match=why):
        model.save_pretrained(tmp_path / "no", format="transformers")
    assert not (tmp_path / "no").exists()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """What was downloaded before, with no network: one model, `someone/small`."""
    constants = pytest.importorskip("huggingface_hub").constants
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    commit = "0" * 40
    model = tmp_path / "models--someone--small"
    theirs("mamba").save_pretrained(model / "snapshots" / commit)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(commit)
    return model / "snapshots" / commit


def test_a_name_of_the_hub_is_found_among_the_downloads(cache):
    for revision in (None, "main", cache.name):
        found = LanguageModel.from_pretrained("someone/small", revision=revision)
        same(found.state_dict(), LanguageModel.from_pretrained(cache).state_dict())


def test_only_what_is_read_is_downloaded(cache, monkeypatch):
    asked = {}

    def download(name, **options):
        asked.update(options, name=name)
        return str(cache)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    LanguageModel.from_pretrained("someone/else", revision="v1")
    assert (asked["name"], asked["revision"]) == ("someone/else", "v1")
    assert not any("bin" in pattern or "py" in pattern for pattern in asked["allow_patterns"])


def test_without_a_network_a_sentence_says_so(cache, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no folder someone/else, and from the hub"):
        LanguageModel.from_pretrained("someone/else")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        LanguageModel.from_pretrained(cache / "nothing" / "here")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(FileNotFoundError, match=r"pip install statewise\[hub\]"):
        LanguageModel.from_pretrained("someone/else")


def test_a_folder_comes_before_a_name(cache, tmp_path, monkeypatch):
    theirs("mamba", state_size=3).save_pretrained(tmp_path / "someone" / "small")
    monkeypatch.chdir(tmp_path)
    found = LanguageModel.from_pretrained("someone/small")
    assert found.config.hub["state_size"] == 3
