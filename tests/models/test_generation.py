import itertools

import pytest
import torch
from torch.utils._pytree import tree_leaves

from statewise import state as states
from statewise.models import GenerationState, LanguageModel, LanguageModelConfig
from statewise.models.generation import Sampling, draw, penalized, weights

SMALL = LanguageModelConfig(dim=8, depth=2, mixer="min_gru", convolution=0, expansion=0)
OPTIONS = {"temperature": 1.5, "top_k": 200, "top_p": 0.99, "repetition_penalty": 1.3}


class Reciter(LanguageModel):
    """Says a fixed text, whatever it reads: its state is the number of tokens read."""

    def __init__(self, script: bytes):
        super().__init__(SMALL)
        self.script = script

    def features(self, tokens, state=None, *, reset=None, lengths=None):
        read = torch.zeros(len(tokens)) if state is None else state
        positions = read[:, None] + 1 + torch.arange(tokens.shape[1])
        grown = tokens.shape[1] if lengths is None else lengths
        return positions[..., None], read + grown

    def step(self, token, state):
        return self.logits(state[:, None] + 1), state + 1

    def logits(self, features):
        says = torch.tensor(list(self.script))[(features[..., 0].long() - 1) % len(self.script)]
        return 100 * torch.nn.functional.one_hot(says, 256).float()


@pytest.fixture
def model():
    """Answers in random bytes, most of them no UTF-8."""
    torch.manual_seed(0)
    model = LanguageModel(SMALL)
    torch.nn.init.normal_(model.embedding.weight)
    return model


def recite(text, **options):
    script = text if isinstance(text, bytes) else text.encode()
    return Reciter(script).generate("x", max_tokens=len(script), **options)


def same(left, right):
    """Bit by bit."""
    pairs = itertools.zip_longest(tree_leaves(left), tree_leaves(right))
    return all(torch.equal(a, b) for a, b in pairs)


# Text as it comes


def test_a_character_is_never_halved():
    text = "aé日😀b"
    assert list(recite(text)) == list(text)


def test_bytes_that_are_no_character_are_marked_once_that_is_certain():
    script = b"a\xffb\xe6\x97c\xf0\x9f\x98"
    generation = recite(script)
    assert list(generation) == ["a", "\ufffd", "b", "\ufffdc"]
    assert bytes(generation.state.pending[0].tolist()) == b"\xf0\x9f\x98"


@pytest.mark.parametrize(
    "script", [bytes(range(256)), "é\u0800\ud7ff\U0010ffff".encode() + b"\xc3."]
)
def test_pieces_joined_are_the_text_decoded_at_once(script):
    assert "".join(recite(script)) == script.decode("utf-8", "replace")


def test_without_a_prompt_it_begins_after_the_end_of_a_line(model):
    assert list(model.generate(max_tokens=9)) == list(model.generate("\n", max_tokens=9))


# Stop strings


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("one. two", ". ", "one"),
        ("one. two", ["two", "one"], ""),
        ("aaab", "aab", "a"),
        ("ababac", ["abac"], "ab"),
        ("a\n\nb", ("\n\n",), "a"),
        ("日本語", "語", "日本"),
        ("日本語", "本".encode()[1:], "日\ufffd"),
        ("no end", "xyz", "no end"),
        ("xyxyz!", ["xyz"], "xy"),
        ("xab", ["b", "ab"], "x"),
    ],
)
def test_a_stop_string_ends_the_text_and_is_not_part_of_it(text, stop, expected):
    generation = recite(text, stop=stop)
    assert "".join(generation) == expected
    assert bool(generation.state.finished) == (expected != text)


def test_what_may_begin_a_stop_string_is_held_back_until_it_cannot():
    generation = recite("ab12ab123ab", stop="123")
    assert list(generation) == ["a", "b", "12a", "b"]
    generation = recite("ab12", stop="123")
    assert list(generation) == ["a", "b"]
    assert bytes(generation.state.pending[0].tolist()) == b"12"


def test_a_finished_text_goes_on_after_a_further_prompt_only():
    model = Reciter(b"a.?b.")
    generation = model.generate("x", stop=".")
    assert "".join(generation) == "a"
    assert "".join(model.generate(state=generation.state, stop=".")) == ""
    assert "".join(model.generate("x", state=generation.state, stop=".")) == "b"


def test_a_further_prompt_sets_free_what_was_held_back():
    model = Reciter(b"12ab12")
    generation = model.generate("x", max_tokens=2, stop="123")
    assert list(generation) == []
    more = model.generate("x", state=generation.state, max_tokens=1, stop="123")
    assert list(more) == ["12", "b"]


# The state


@pytest.mark.parametrize("stop", [(), "23"])
def test_it_goes_on_at_every_cut_as_if_never_interrupted(stop):
    text = "a12é日23😀123"
    whole = recite(text, stop=stop, seed=3)
    expected = "".join(whole)
    for cut in range(len(text.encode()) + 1):
        model = Reciter(text.encode())
        head = model.generate("x", max_tokens=cut, stop=stop, seed=3)
        said = "".join(head)
        tail = model.generate(state=head.state, max_tokens=len(text.encode()) - cut, stop=stop)
        assert said + "".join(tail) == expected
        assert same(tail.state, whole.state)


@pytest.mark.parametrize("cut", [0, 1, 7, 30])
def test_it_draws_the_same_after_an_interruption(model, cut, tmp_path):
    whole = model.generate("Hello", max_tokens=30, seed=5, **OPTIONS)
    expected = "".join(whole)
    head = model.generate("Hello", max_tokens=cut, seed=5, **OPTIONS)
    said = "".join(head)
    states.save(tmp_path / "state", head.state)
    saved = states.load(tmp_path / "state", like=model.generate().state)
    assert isinstance(saved, GenerationState)
    tail = model.generate(state=saved, max_tokens=30 - cut, **OPTIONS)
    assert said + "".join(tail) == expected
    assert same(tail.state, whole.state)


def test_the_state_of_a_moment_is_a_value(model):
    generation = model.generate("Hello", max_tokens=20, seed=5)
    next(generation)
    then = generation.state
    copied = [leaf.clone() for leaf in tree_leaves(then)]
    rest = "".join(generation)
    assert same(then, copied)
    left = 20 - int(then.drawn)
    assert "".join(model.generate(state=then, max_tokens=left)) == rest
    assert same(then, copied)


def test_the_state_says_what_was_drawn_and_seen(model):
    generation = model.generate(b"ab", max_tokens=3, penalty_window=4, temperature=0)
    list(generation)
    drawn = []
    logits, state = model(torch.tensor([[97, 98]]))
    logits = logits[:, -1]
    for _ in range(3):
        drawn.append(int(logits.argmax()))
        logits, state = model.step(torch.tensor(drawn[-1:]), state)
    final = generation.state
    assert final.window.tolist() == [[98, *drawn]]
    assert final.drawn.tolist() == [3]
    torch.testing.assert_close(final.logits, logits)
    torch.testing.assert_close(final.model, state)
    start = model.generate(b"ab", max_tokens=0, penalty_window=4).state
    assert start.window.tolist() == [[-1, -1, 97, 98]]


def test_a_long_text_keeps_nothing(model):
    generation = model.generate("a", max_tokens=None, temperature=0.5)
    next(generation)
    early = states.nbytes(generation.state)
    for _ in itertools.islice(generation, 300):
        pass
    assert abs(states.nbytes(generation.state) - early) <= 3  # of an unfinished character
    assert all(not leaf.requires_grad for leaf in tree_leaves(generation.state))


def test_a_long_prompt_is_read_in_parts(model, monkeypatch):
    prompts = ["a" * 20, "b" * 7, "c" * 5]
    whole = model.generate_batch(prompts, max_tokens=1).state
    monkeypatch.setattr("statewise.models.generation.PREFILL", 5)
    parts = model.generate_batch(prompts, max_tokens=1).state
    for a, b in zip(tree_leaves(whole), tree_leaves(parts), strict=True):
        torch.testing.assert_close(a, b)


def test_the_model_keeps_its_training_flags(model):
    model.train()
    model.stack.eval()
    list(model.generate("a", max_tokens=2))
    assert model.training
    assert not model.stack.training


def test_it_runs_in_eval_mode(model):
    seen = []
    model.stack.norm.register_forward_hook(lambda module, *_: seen.append(module.training))
    list(model.train().generate("a", max_tokens=2))
    assert seen == [False] * 3


# Batches


def test_a_row_of_a_batch_draws_as_it_would_alone(model):
    prompts = ["a", "Hello, world", "", b"\xff\x00"]
    batch = model.generate_batch(prompts, max_tokens=25, seed=7, **OPTIONS)
    rows = ["".join(pieces) for pieces in zip(*batch, strict=True)]
    for i, prompt in enumerate(prompts):
        alone = model.generate(prompt, max_tokens=25, seed=7 + i, **OPTIONS)
        assert "".join(alone) == rows[i]
        torch.testing.assert_close(alone.state.logits[0], batch.state.logits[i])


def test_the_same_prompt_twice_gives_two_texts_unless_seeded_alike(model):
    def texts(**options):
        batch = model.generate_batch(["a", "a"], max_tokens=20, **options)
        return ["".join(pieces) for pieces in zip(*batch, strict=True)]

    first, second = texts()
    assert first != second
    first, second = texts(seed=[4, 4])
    assert first == second


def test_a_row_that_stopped_keeps_its_state_while_others_go_on():
    model = Reciter(b"a.bcdefg")
    batch = model.generate_batch(["x", "xxx"], max_tokens=5, stop=".")
    assert list(batch) == [["a", "b"], ["", "c"], ["", "d"], ["", "e"], ["", "f"]]
    assert batch.state.finished.tolist() == [True, False]
    assert batch.state.model.tolist() == [3, 8]
    assert batch.state.drawn.tolist() == [2, 5]
    alone = model.generate("x", max_tokens=5, stop=".")
    list(alone)
    assert torch.equal(alone.state.logits[0], batch.state.logits[0])
    assert torch.equal(alone.state.random[0], batch.state.random[0])


def test_a_stopped_row_keeps_its_state_with_a_real_model(model):
    stop = [bytes([i]) for i in range(128)]
    batch = model.generate_batch(["a", "b", "c"], max_tokens=6, seed=1, stop=stop)
    list(batch)
    assert batch.state.finished.any()
    for i, prompt in enumerate("abc"):
        alone = model.generate(prompt, max_tokens=6, seed=1 + i, stop=stop)
        list(alone)
        for left, right in zip(tree_leaves(alone.state), tree_leaves(batch.state), strict=True):
            if left.shape[1:] == right.shape[1:]:
                torch.testing.assert_close(left[0], right[i])


def test_every_kind_of_memory_keeps_its_rows_apart():
    """Attention grows, a window turns, a convolution and a feed-forward layer come with each."""
    torch.manual_seed(0)
    window = {"name": "attention", "heads": 2, "window": 3}
    mixer = ["min_gru", {"name": "attention", "heads": 2}, window]
    model = LanguageModel(LanguageModelConfig(dim=8, depth=3, mixer=mixer))
    torch.nn.init.normal_(model.embedding.weight)
    prompts, stop = ["a", "Hello", "xyz"], [bytes([i]) for i in range(30)]
    batch = model.generate_batch(prompts, max_tokens=15, seed=2, stop=stop)
    rows = ["".join(pieces) for pieces in zip(*batch, strict=True)]
    assert batch.state.finished.tolist() != [True] * 3
    assert batch.state.finished.any()
    for i, prompt in enumerate(prompts):
        alone = model.generate(prompt, max_tokens=15, seed=2 + i, stop=stop)
        assert "".join(alone) == rows[i]
        torch.testing.assert_close(alone.state.logits[0], batch.state.logits[i])


def test_an_empty_batch_is_over_at_once(model):
    assert list(model.generate_batch([])) == []


# How a token is drawn


def plain(logits, temperature, top_k, top_p):
    """The definition, one row, with lists."""
    scaled = [x / temperature for x in logits.tolist()]
    order = sorted(range(len(scaled)), key=lambda i: -scaled[i])[: top_k or None]
    exps = {i: torch.tensor(scaled[i] - max(scaled), dtype=torch.float64).exp() for i in order}
    total, reached, kept = sum(exps.values()), 0.0, {}
    for i in order:
        if reached >= top_p * total:
            break
        kept[i] = exps[i]
        reached += exps[i]
    return torch.stack([kept.get(i, torch.tensor(0.0)) for i in range(len(scaled))]).double()


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
@pytest.mark.parametrize(
    ("top_k", "top_p"), [(0, 1.0), (5, 1.0), (0, 0.7), (9, 0.5), (1, 1.0), (99, 1e-9)]
)
def test_weights_follow_the_definition(temperature, top_k, top_p):
    logits = torch.randn(4, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = weights(3 * logits, Sampling(temperature, top_k, top_p))
    for row, one in zip(found, 3 * logits, strict=True):
        expected = plain(one, temperature, top_k, top_p)
        torch.testing.assert_close(row / row.sum(), expected / expected.sum())


def test_the_penalty_lowers_what_was_seen():
    logits = torch.tensor([[2.0, -2.0, 1.0, 0.0], [2.0, -2.0, 1.0, 3.0]])
    window = torch.tensor([[-1, 0, 1, 0], [-1, -1, -1, 3]])
    expected = torch.tensor([[1.0, -4.0, 1.0, 0.0], [2.0, -2.0, 1.0, 1.5]])
    assert torch.equal(penalized(logits, window, 2.0), expected)


def test_tokens_are_drawn_as_often_as_they_weigh():
    logits = torch.tensor([[0.5, 0.0, 0.3, 0.2]]).log()
    generator = torch.Generator().manual_seed(0)
    drawn = [draw(logits, [generator], Sampling())[0] for _ in range(2000)]
    shares = torch.bincount(torch.tensor(drawn), minlength=4) / 2000
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.0, 0.3, 0.2]), atol=0.04, rtol=0)
    assert shares[1] == 0


@pytest.mark.parametrize(("uniform", "expected"), [(0.0, 1), (1 - 2**-53, 2)])
def test_a_token_of_weight_zero_is_never_drawn(uniform, expected, monkeypatch):
    monkeypatch.setattr("statewise.models.generation._uniform", lambda generator: uniform)
    logits = torch.tensor([[0.0, 0.7, 0.3, 0.0]]).log()
    assert draw(logits, [torch.Generator()], Sampling()) == [expected]


def test_a_seed_decides(model):
    texts = ["".join(model.generate("a", max_tokens=20, seed=seed)) for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]


def test_at_temperature_zero_the_likeliest_is_taken(model):
    likeliest = "".join(model.generate("a", max_tokens=20, top_k=1, seed=1))
    assert "".join(model.generate("a", max_tokens=20, temperature=0)) == likeliest


def test_a_penalty_keeps_a_text_from_repeating():
    generation = Reciter(b"a").generate("x", max_tokens=8, temperature=0, repetition_penalty=1e6)
    assert "".join(generation).count("a") == 8  # still far above zero, the only logit that is
    logits = torch.tensor([[1.0, 0.9]])
    assert draw(
        logits, [torch.Generator()], Sampling(0, repetition_penalty=2.0), torch.tensor([[0]])
    ) == [1]


# Errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature is -1.0, but should be at least 0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_k": -1}, "top_k is -1, but should be at least 1, or 0"),
        ({"top_p": 0.0}, "top_p is 0.0, but should be above 0 and at most 1"),
        ({"top_p": 1.1}, "top_p is 1.1"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0, but should be above 0"),
        ({"penalty_window": -1}, "penalty_window is -1"),
        ({"max_tokens": -1}, "max_tokens is -1"),
        ({"stop": ["a", ""]}, "stop holds an empty string"),
        ({"seed": -1}, "seed is -1, but should be at least 0"),
        ({"seed": 2**32}, "seed is 4294967296"),
        ({"prompt": "a\ud800"}, "the prompt cannot be read: .* at position 1"),
    ],
)
def test_an_option_out_of_range_is_named(model, options, message):
    with pytest.raises(ValueError, match=message):
        model.generate(**options)


def test_rows_prompts_and_seeds_must_match(model):
    with pytest.raises(ValueError, match="1 rows, and there are 2 prompts"):
        model.generate_batch(["a", "b"], state=model.generate("a").state)
    with pytest.raises(ValueError, match="there are 1 seeds for 2 prompts"):
        model.generate_batch(["a", "b"], seed=[1])
    with pytest.raises(ValueError, match="prompt 1 cannot be read"):
        model.generate_batch(["a", "\ud800"])


def test_logits_that_are_no_numbers_are_refused(model):
    torch.nn.init.constant_(model.embedding.weight, torch.nan)
    for temperature in (0.0, 1.0):
        with pytest.raises(ValueError, match="logits for row 0 are NaN or infinite"):
            next(model.generate("a", temperature=temperature))


def test_a_model_without_a_tokenizer_says_so():
    model = LanguageModel(SMALL.model_copy(update={"vocab": 5}))
    with pytest.raises(ValueError, match="no tokenizer"):
        model.generate("a")
