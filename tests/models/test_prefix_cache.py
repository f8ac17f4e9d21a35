"""Prompts read before: the same answers, and what may not be taken."""

import time

import pytest
import torch

from statewise import cli
from statewise.models import LanguageModel, LanguageModelConfig, PrefixCache


def model(seed=0, mixer="min_gru"):
    torch.manual_seed(seed)
    return LanguageModel(LanguageModelConfig(dim=16, depth=2, mixer=mixer)).eval()


def tokens(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count,), generator=generator).tolist()


@pytest.mark.parametrize("mixer", ["min_gru", "attention", {"hybrid": "jamba"}])
def test_what_follows_is_the_same(mixer, tmp_path):
    depth = 8 if isinstance(mixer, dict) else 2
    torch.manual_seed(1)
    made = LanguageModel(LanguageModelConfig(dim=16, depth=depth, mixer=mixer)).eval()
    prompt = tokens(100)
    with torch.no_grad():
        wanted, _ = made(torch.tensor([[*prompt, 7]]))
    for known in (0, 100, 100):
        cache = PrefixCache(made, tmp_path, every=32)
        logits, now = cache.read(prompt)
        assert (cache.found, cache.read_anew) == (known, 100 - known)
        torch.testing.assert_close(logits, wanted[:, 99], rtol=1e-4, atol=1e-5)
        after, _ = made.step(torch.tensor([7]), now)
        torch.testing.assert_close(after, wanted[:, 100], rtol=1e-4, atol=1e-5)
    twice = [PrefixCache(made, tmp_path).read(prompt)[0] for _ in range(2)]
    assert torch.equal(*twice)


def test_a_prompt_that_begins_alike_is_read_from_there(tmp_path):
    made = model()
    cache = PrefixCache(made, tmp_path, every=32)
    cache.read(tokens(100))
    other = [*tokens(70), *tokens(30, seed=5)]
    logits, _ = cache.read(other)
    assert cache.found == 64
    assert cache.read_anew == 136
    with torch.no_grad():
        torch.testing.assert_close(logits, made(torch.tensor([other]))[0][:, -1])


def test_entries_have_one_size_and_the_oldest_give_way(tmp_path):
    made = model()
    cache = PrefixCache(made, tmp_path)
    for length in (1, 10, 1000):
        cache.read(tokens(length))
    sizes = {path.stat().st_size for path in tmp_path.iterdir()}
    assert len(sizes) == 1
    small = PrefixCache(made, tmp_path, most=2 * sizes.pop())
    time.sleep(0.01)
    small.read(tokens(1))  # used last
    small.read(tokens(20, seed=3))
    kept = sorted(int(path.name.split("-")[1]) for path in tmp_path.iterdir())
    assert kept == [1, 20]


def test_another_model_finds_nothing_and_a_file_of_one_is_refused(tmp_path):
    one, two = model(0), model(1)
    PrefixCache(one, tmp_path).read(tokens(10))
    (file,) = tmp_path.iterdir()
    other = PrefixCache(two, tmp_path)
    other.read(tokens(10))
    assert other.found == 0
    mine = next(path for path in tmp_path.iterdir() if path != file)
    mine.write_bytes(file.read_bytes())
    with pytest.raises(ValueError, match="made by other weights"):
        other.read(tokens(10))
    mine.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match="cut short"):
        other.read(tokens(10))


def test_another_version_finds_nothing(tmp_path, monkeypatch):
    PrefixCache(model(), tmp_path).read(tokens(10))
    monkeypatch.setattr("statewise.models.prefix_cache.__version__", "0.0.0")
    cache = PrefixCache(model(), tmp_path)
    cache.read(tokens(10))
    assert cache.found == 0


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the prompt has no tokens"):
        PrefixCache(model(), tmp_path).read([])
    with pytest.raises(ValueError, match="every = 0 should be at least 1"):
        PrefixCache(model(), tmp_path, every=0)


def test_generation_goes_on_as_without(tmp_path):
    made = model()
    wanted = "".join(made.generate("Once upon a time", max_tokens=20))
    for found in (0, len("Once upon a time")):
        cache = PrefixCache(made, tmp_path)
        assert "".join(made.generate("Once upon a time", max_tokens=20, prefixes=cache)) == wanted
        assert cache.found == found


def test_the_command_line_remembers_prompts(tmp_path, capsys):
    model().save_pretrained(tmp_path / "model")
    line = ["generate", str(tmp_path / "model"), "--prompt", "Once", "--max_tokens", "9"]
    cli.main(line)
    wanted = capsys.readouterr().out
    for _ in range(2):
        cli.main([*line, "--prompts", str(tmp_path / "prompts")])
        assert capsys.readouterr().out == wanted
    assert len(list((tmp_path / "prompts").iterdir())) == 1
