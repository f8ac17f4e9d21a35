"""Language models of ours in the hub's library: loaded, generating, piped and adapted."""

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from statewise.models import FileTokenizer, LanguageModel, LanguageModelConfig

transformers = pytest.importorskip("transformers")

from statewise.compat.transformers import byte_tokenizer, register  # noqa: E402

register()

PATTERN = ["mamba2", "gated_delta_net", {"name": "attention", "window": 4}]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(autouse=True)
def quiet():
    transformers.logging.set_verbosity_error()


def made(mixer=PATTERN, **options):
    """Return a model with no weight at its start."""
    torch.manual_seed(0)
    depth = len(mixer) if isinstance(mixer, list) else 2
    config = LanguageModelConfig(dim=16, depth=depth, mixer=mixer, **options)
    model = LanguageModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    made().save_pretrained(folder)
    return folder


@pytest.fixture
def model(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder)


def drawn(*shape):
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(0))


def greedy(model, tokens, count=6):
    """Return what our own loop goes on with: the likeliest token each time."""
    logits, state = model(tokens)
    logits, found = logits[:, -1], []
    for _ in range(count):
        found.append(logits.argmax(-1))
        logits, state = model.step(found[-1], state)
    return torch.stack(found, 1)


# What holds buffers that no file has, or starts by numbers that need memory, is among these.
@pytest.mark.parametrize("mixer", ["lmu", "s4d", "echo_state", "rwkv7", "hippo_rnn", "xlstm_1_1"])
def test_a_folder_of_any_mixer_is_loaded(tmp_path, mixer):
    ours = made([{"hybrid": mixer}, mixer][mixer != "xlstm_1_1"])
    ours.save_pretrained(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert not theirs.training
    tokens = drawn(2, 9)
    with torch.no_grad():
        torch.testing.assert_close(theirs(tokens).logits, ours(tokens)[0])


def test_what_is_made_anew_starts_as_ours_does():
    config = LanguageModelConfig(dim=16, depth=1, mixer="rwkv4").model_dump()
    auto = transformers.AutoConfig.for_model("statewise", config=config)
    torch.manual_seed(0)
    theirs = transformers.AutoModelForCausalLM.from_config(auto)
    torch.manual_seed(0)
    ours = LanguageModel(LanguageModelConfig(**config))
    for one, two in zip(theirs.model.parameters(), ours.parameters(), strict=True):
        assert torch.equal(one, two)


def test_it_generates_as_our_own_loop_does(folder, model):
    tokens = drawn(3, 9)
    with torch.no_grad():
        wanted = greedy(LanguageModel.from_pretrained(folder), tokens)
    for cached in (True, False):
        found = model.generate(tokens, max_new_tokens=6, do_sample=False, use_cache=cached)
        assert torch.equal(found[:, 9:], wanted)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_is_not_read(model, side):
    tokens, mask = drawn(3, 9), torch.ones(3, 9, dtype=torch.long)
    for row, length in enumerate((9, 5, 2)):
        mask[row, slice(0, 9 - length) if side == "left" else slice(length, 9)] = 0
    with torch.no_grad():
        logits = model(tokens, attention_mask=mask).logits
        for row in range(3):
            alone = tokens[row, mask[row].bool()][None]
            torch.testing.assert_close(logits[row, mask[row].bool()], model(alone).logits[0])
            if side == "left":
                found = model.generate(
                    tokens, attention_mask=mask, max_new_tokens=5, do_sample=False, pad_token_id=0
                )
                wanted = model.generate(alone, max_new_tokens=5, do_sample=False)
                assert torch.equal(found[row, 9:], wanted[0, alone.shape[1] :])


def test_a_prompt_may_come_in_pieces(model):
    tokens, mask = drawn(2, 9), torch.ones(2, 9, dtype=torch.long)
    mask[1, :5] = 0
    with torch.no_grad():
        whole = model(tokens, attention_mask=mask)
        cache = model(tokens[:, :4], attention_mask=mask[:, :4], use_cache=True).past_key_values
        rest = model(tokens[:, 4:], attention_mask=mask, past_key_values=cache, use_cache=True)
    assert rest.past_key_values.get_seq_length() == 9
    read = mask[:, 4:].bool()
    torch.testing.assert_close(rest.logits[read], whole.logits[:, 4:][read])


def test_beams_and_samples_carry_their_own_states(model):
    tokens = drawn(2, 7)
    for options in ({"num_beams": 3}, {"do_sample": True, "num_return_sequences": 2, "top_k": 9}):
        found = []
        for cached in (True, False):
            torch.manual_seed(1)
            found.append(model.generate(tokens, max_new_tokens=6, use_cache=cached, **options))
        assert torch.equal(*found)


def test_only_the_logits_asked_for_are_computed(model):
    tokens = drawn(2, 7)
    with torch.no_grad():
        every = model(tokens).logits
        torch.testing.assert_close(model(tokens, logits_to_keep=2).logits, every[:, -2:])
        some = model(tokens, logits_to_keep=torch.tensor([0, 5])).logits
    torch.testing.assert_close(some, every[:, [0, 5]])


def test_the_loss_is_of_the_next_token_and_trains_every_weight(model):
    tokens = drawn(2, 7)
    read = model.train()(tokens, labels=tokens)
    wanted = torch.nn.functional.cross_entropy(
        read.logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()
    )
    torch.testing.assert_close(read.loss, wanted)
    assert read.past_key_values is None
    read.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_it_is_saved_as_ours(model, folder, tmp_path):
    model.save_pretrained(tmp_path)
    one, two = (LanguageModel.from_pretrained(f) for f in (folder, tmp_path))
    assert one.config == two.config
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_pipeline_runs_on_bytes(model):
    tokenizer = byte_tokenizer()
    text = "héllo,\n wörld \x00"
    assert bytes(tokenizer(text)["input_ids"]) == text.encode()
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    pipeline = transformers.pipeline("text-generation", model=model, tokenizer=tokenizer)
    (found,) = pipeline("hello", max_new_tokens=5, do_sample=False)
    prompt = torch.tensor([list(b"hello")])
    wanted = model.generate(prompt, max_new_tokens=5, do_sample=False)[0]
    assert found["generated_text"] == tokenizer.decode(wanted)


def test_a_folder_alone_is_a_pipeline_where_a_tokenizer_lies_in_it(tmp_path):
    words = Tokenizer(models.WordLevel({"one": 0, "two": 1, "?": 2}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "words.json"))
    config = LanguageModelConfig(vocab=3, dim=16, depth=1, mixer="min_gru")
    ours = LanguageModel(config, tokenizer=FileTokenizer(tmp_path / "words.json"))
    ours.save_pretrained(tmp_path / "model")
    pipeline = transformers.pipeline("text-generation", model=str(tmp_path / "model"))
    assert pipeline.tokenizer("two one")["input_ids"] == [1, 0]
    (found,) = pipeline("two one", max_new_tokens=4, do_sample=False, return_tensors=True)
    wanted = greedy(ours.eval(), torch.tensor([[1, 0]]), 4)[0]
    assert found["generated_token_ids"][2:] == wanted.tolist()


def test_an_adapter_trains_and_is_all_that_changes(model):
    targets = ["input", "query_key_value"]
    for name, module in model.named_modules():
        if name.split(".")[-1] in targets:
            assert isinstance(module, torch.nn.Linear)
    peft = pytest.importorskip("peft")
    tokens = drawn(2, 7)
    with torch.no_grad():
        before = model(tokens).logits
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=targets))
    torch.testing.assert_close(adapted(tokens).logits, before)
    optimizer = torch.optim.Adam([p for p in adapted.parameters() if p.requires_grad], lr=0.1)
    losses = []
    for _ in range(5):
        loss = adapted(tokens, labels=tokens).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all("lora" in name for name, p in adapted.named_parameters() if p.grad is not None)
    with adapted.disable_adapter(), torch.no_grad():
        torch.testing.assert_close(adapted(tokens).logits, before)
    merged = adapted.merge_and_unload()
    assert not torch.allclose(merged(tokens).logits, before)
    assert merged.generate(tokens, max_new_tokens=3).shape == (2, 10)


def test_what_the_library_cannot_run_is_refused_in_words(model):
    with pytest.raises(ValueError, match="a tagger of statewise is no causal language model"):
        transformers.AutoConfig.for_model("statewise", model="tagger")
    with pytest.raises(ValueError, match="reads input_ids, not inputs_embeds"):
        model(drawn(1, 2), inputs_embeds=torch.zeros(1, 2, 16))
    with pytest.raises(ValueError, match="assisted generation is not supported with stateful"):
        model.generate(drawn(1, 2), assistant_model=model)
