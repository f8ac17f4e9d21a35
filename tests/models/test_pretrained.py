import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models

from statewise.mixers import MinGRU
from statewise.models import FileTokenizer, LanguageModel, LanguageModelConfig

SMALL = LanguageModelConfig(dim=8, depth=2, mixer="min_gru", convolution=0, expansion=0)


class Mine(MinGRU):
    pass


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    LanguageModel(SMALL).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def edit(path, **changes):
    described = json.loads(path.read_text())
    for key, value in changes.items():
        described["config" if isinstance(value, dict) else key] = value
    path.write_text(json.dumps(described))


def test_what_is_loaded_answers_the_same(folder):
    torch.manual_seed(0)
    model, loaded = LanguageModel(SMALL), LanguageModel.from_pretrained(folder)
    assert loaded.config == SMALL
    assert not loaded.training
    tokens = torch.randint(256, (2, 5))
    assert torch.equal(model(tokens)[0], loaded(tokens)[0])
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_the_precision_is_kept(tmp_path):
    LanguageModel(SMALL).bfloat16().save_pretrained(tmp_path)
    assert LanguageModel.from_pretrained(tmp_path).embedding.weight.dtype == torch.bfloat16


def test_a_model_may_be_saved_over_itself(folder):
    loaded = LanguageModel.from_pretrained(folder)
    loaded.save_pretrained(folder)
    again = LanguageModel.from_pretrained(folder)
    assert torch.equal(loaded.embedding.weight, again.embedding.weight)


def private_bytes():
    """Memory of this process that no file backs, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says what memory is")
def test_weights_are_windows_on_the_file(tmp_path):
    """A model of 130 MB starts in less than a tenth of that, and a page is read when needed."""
    config = LanguageModelConfig(vocab=32_000, dim=1024, depth=1, mixer="min_gru")
    LanguageModel(config).save_pretrained(tmp_path)
    LanguageModel.from_pretrained(tmp_path)  # what is imported or allocated once
    before = private_bytes()
    model = LanguageModel.from_pretrained(tmp_path)
    assert private_bytes() - before < 0.1 * (tmp_path / "model.safetensors").stat().st_size
    with torch.no_grad():
        logits, _ = model(torch.tensor([[3]]))
        assert private_bytes() - before < 0.1 * (tmp_path / "model.safetensors").stat().st_size
        # What is written stays in this process, and the file may be replaced or deleted.
        kept = model.embedding.weight[3].clone()
        model.embedding.weight[5] = 7
        again = LanguageModel.from_pretrained(tmp_path)
        assert not (again.embedding.weight[5] == 7).all()
        again.embedding.weight[3] = 0
        again.save_pretrained(tmp_path)
        assert torch.equal(model.embedding.weight[3], kept)
        (tmp_path / "model.safetensors").unlink()
        assert torch.equal(model(torch.tensor([[3]]))[0][0, 0, :5], logits[0, 0, :5])


def test_the_tokenizer_comes_along(tmp_path):
    theirs = Tokenizer(models.BPE({"a": 0, "b": 1}, []))
    theirs.decoder = decoders.Fuse()
    theirs.save(str(tmp_path / "theirs.json"))
    config = SMALL.model_copy(update={"vocab": 2})
    model = LanguageModel(config, tokenizer=FileTokenizer(tmp_path / "theirs.json"))
    model.save_pretrained(tmp_path / "model")
    loaded = LanguageModel.from_pretrained(tmp_path / "model")
    assert loaded.tokenizer.encode("ab") == [0, 1]
    (tmp_path / "model" / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"is not complete: it has no tokenizer\.json"):
        LanguageModel.from_pretrained(tmp_path / "model")


def test_a_tokenizer_of_ones_own_is_not_saved(tmp_path):
    class Own:
        vocab = 256

        def encode(self, text):
            return []

        def bytes_of(self, token):
            return b""

        def decode_bytes(self, tokens):
            return b""

    with pytest.raises(TypeError, match="a Own is not saved"):
        LanguageModel(SMALL, tokenizer=Own()).save_pretrained(tmp_path)


def test_mixers_of_ones_own_are_passed_again(tmp_path):
    config = SMALL.model_copy(update={"mixer": "mine"})
    LanguageModel(config, mixers={"mine": Mine}).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"config\.json: there is no mixer 'mine'"):
        LanguageModel.from_pretrained(tmp_path)
    loaded = LanguageModel.from_pretrained(tmp_path, mixers={"mine": Mine})
    assert isinstance(loaded.stack.parts[0].parts[0], Mine)


def test_a_shared_branch_is_saved_once_and_stays_shared(tmp_path):
    def build():
        shared = MinGRU(8)
        return LanguageModel(
            SMALL.model_copy(update={"mixer": "shared"}), mixers={"shared": lambda dim: shared}
        )

    model = build()
    model.save_pretrained(tmp_path)
    shared = MinGRU(8)
    loaded = LanguageModel.from_pretrained(tmp_path, mixers={"shared": lambda dim: shared})
    assert loaded.stack.parts[0].parts[0] is loaded.stack.parts[1].parts[0]
    tokens = torch.randint(256, (2, 5))
    assert torch.equal(model(tokens)[0], loaded(tokens)[0])


def test_a_missing_folder_or_file_is_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*absent"):
        LanguageModel.from_pretrained(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"holds no model: it has no config\.json"):
        LanguageModel.from_pretrained(tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"not complete: it has no model\.safetensors"):
        LanguageModel.from_pretrained(folder)


@pytest.mark.parametrize("size", [0, 4, 100, -10])
def test_weights_cut_short_are_refused(folder, size):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"model\.safetensors is cut short or damaged"):
        LanguageModel.from_pretrained(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim": 16}, r"another model: embedding\.weight is \(256, 8\), not \(256, 16\)"),
        ({"depth": 3}, r"another model: it has no stack\.parts\.2\."),
        ({"depth": 1}, r"another model: nothing here is called stack\.parts\.1\."),
        ({"dpeth": 1}, r"config\.json: .*no field 'dpeth'; did you mean 'depth'"),
        ({"dim": "8"}, r"config\.json: dim: "),
    ],
)
def test_weights_or_fields_of_another_model_are_refused(folder, changes, message):
    edit(folder / "config.json", config={**SMALL.model_dump(), **changes})
    with pytest.raises(ValueError, match=message):
        LanguageModel.from_pretrained(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"config\.json is damaged"),
        ("[]", r"config\.json was not written by statewise"),
        ('{"format": 1}', r"config\.json was not written by statewise"),
    ],
)
def test_a_damaged_configuration_is_refused(folder, text, message):
    (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        LanguageModel.from_pretrained(folder)


def test_another_format_or_kind_is_refused(folder):
    edit(folder / "config.json", format=99)
    with pytest.raises(ValueError, match="has format 99, written by statewise 0"):
        LanguageModel.from_pretrained(folder)
    edit(folder / "config.json", format=1, model="tagger")
    with pytest.raises(ValueError, match="describes a tagger, not a language_model"):
        LanguageModel.from_pretrained(folder)


def test_a_write_that_fails_leaves_the_old_model(folder, monkeypatch):
    before = (folder / "model.safetensors").read_bytes()

    def fail(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr("statewise.models.pretrained.save_file", fail)
    with pytest.raises(OSError, match="full"):
        LanguageModel(SMALL).save_pretrained(folder)
    assert (folder / "model.safetensors").read_bytes() == before
    assert len(list(folder.iterdir())) == 2
