"""A tagger that reads from the left, word by word, against the same tagger on whole sentences."""

import io
import subprocess
import sys
from itertools import pairwise

import pytest
import torch

from statewise import cli, state
from statewise.models.sentence_encoder import EncoderConfig
from statewise.models.spelling import Vocabulary
from statewise.models.tagger import TaggerConfig, TaggingModel
from statewise.tasks.tagging import legal
from statewise.tasks.tagging.schemes import follows
from statewise.training.labelled import lines_as_they_arrive, load
from statewise.training.tagger import Tagger
from tests.training.small_labels import SMALL, columns, sentences

LABELS = ["O", *(f"{letter}-{kind}" for kind in ("PER", "LOC") for letter in "BIES")]
WORDS = [tuple(words) for words, *_ in sentences(12)]


def tagger(seed, *, output="crf", look_ahead=0, mixer="gru", wiring="plain", depth=1, **encoder):
    """A tagger that has learned nothing, with weights large enough to disagree with itself."""
    torch.manual_seed(seed)
    config = EncoderConfig.model_validate(
        {
            "words": {"dim": 8, "grams": 0, "character_features": 8, "minimum": 1},
            **{"mixer": mixer, "hidden": 26, "depth": depth, "wiring": wiring},
            **{"both_ways": False, "dropout": 0.0, **encoder},
        }
    )
    fields = {"encoder": config, "labels": LABELS, "output": output, "look_ahead": look_ahead}
    scheme = {"scheme": "BIOES"} if output == "crf" else {}
    model = TaggingModel(
        TaggerConfig.model_validate({**fields, **scheme}),
        Vocabulary.of(WORDS, minimum=1),
        legal=legal(LABELS, "BIOES") if output == "crf" else None,
    )
    with torch.no_grad():
        for parameter in (model.head.weight, *(model.crf.parameters() if model.crf else ())):
            parameter.copy_(3 * torch.randn_like(parameter))
    return model.eval()


def streamed(model, words, cuts, *, lag):
    """Return the tags of a sentence that arrives in pieces."""
    now, tags = model.initial_state(), []
    for begin, end in zip([0, *cuts], [*cuts, len(words)], strict=True):
        more, now = model.stream(words[begin:end], now, lag=lag)
        tags += more
    more, _ = model.stream([], now, ended=True, lag=lag)
    return tuple(tags + more)


@pytest.mark.parametrize("output", ["crf", "softmax"])
@pytest.mark.parametrize("look_ahead", [0, 2, 30])
@pytest.mark.parametrize(
    ("mixer", "wiring", "depth"),
    [("gru", "plain", 1), ("min_gru", "dense", 2), ("mamba", "residual", 2)],
)
def test_with_a_lag_as_long_as_the_sentence_it_is_the_tagger(
    output, look_ahead, mixer, wiring, depth
):
    model = tagger(1, output=output, look_ahead=look_ahead, mixer=mixer, wiring=wiring, depth=depth)
    wanted = model.predict(WORDS)
    assert [streamed(model, words, [], lag=20) for words in WORDS] == wanted
    assert [streamed(model, words, [1, 2], lag=20) for words in WORDS] == wanted


@pytest.mark.parametrize("lag", [1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_how_words_are_cut_into_pieces_makes_no_difference_and_rules_hold(seed, lag):
    model = tagger(seed, look_ahead=seed % 2)
    for words in WORDS:
        tags = streamed(model, words, list(range(1, len(words))), lag=lag)
        assert tags == streamed(model, words, [], lag=lag)
        assert tags == streamed(model, words, [0, 2, 2], lag=lag)
        path = [None, *tags, None]
        assert all(follows("BIOES", a, b) for a, b in pairwise(path)), tags


def test_a_tag_comes_after_as_many_words_as_it_waits_for():
    model = tagger(0, look_ahead=2)
    now, said = model.initial_state(), []
    for word in WORDS[0] * 2:
        tags, now = model.stream([word], now, lag=3)
        said.append(len(tags))
    assert said == [0] * 5 + [1] * (len(said) - 5)


def test_a_state_is_a_value_that_can_be_kept(tmp_path):
    model = tagger(3, look_ahead=1)
    words = list(WORDS[0] * 2)
    first, now = model.stream(words[:5], model.initial_state())
    state.save(tmp_path / "stream.safetensors", now, model=model)
    one, _ = model.stream(words[5:], now, ended=True)
    again, _ = model.stream(words[5:], now, ended=True)
    kept = state.load(tmp_path / "stream.safetensors", like=now, model=model)
    loaded, _ = model.stream(words[5:], kept, ended=True)
    assert one == again == loaded
    assert tuple(first + one) == streamed(model, words, [], lag=1)


def test_an_empty_sentence_has_no_tags():
    model = tagger(0, look_ahead=2)
    tags, now = model.stream([], model.initial_state(), ended=True)
    assert tags == []
    assert streamed(model, WORDS[0], [], lag=1) == tuple(model.stream(WORDS[0], now, ended=True)[0])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"both_ways": True}, "--model.both_ways false"),
        ({"mixer": "stacked_bidirectional"}, "--model.both_ways false"),
    ],
)
def test_what_reads_from_the_right_is_refused(options, why):
    with pytest.raises(ValueError, match=why):
        tagger(0, **options).initial_state()


def test_what_cannot_be_is_refused():
    with pytest.raises(
        ValueError, match="look_ahead = 1 is of an encoder that reads from the left"
    ):
        tagger(0, look_ahead=1, both_ways=True)
    model = tagger(0)
    with pytest.raises(ValueError, match="lag = 0 should be at least 1"):
        model.stream(["a"], model.initial_state(), lag=0)
    with pytest.raises(ValueError, match="batch = 2 should be 1"):
        model.initial_state(2)
    with pytest.raises(ValueError, match="sentence 1 is a string"):
        model.stream("word", model.initial_state())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The run of a tagger that looks one word ahead."""
    folder = tmp_path_factory.mktemp("stream")
    (folder / "train.conll").write_text(columns(sentences(300)))
    cli.main(
        f"train tagger --data.train {folder / 'train.conll'} --out {folder / 'run'} --max_epochs 3 "
        f"--model.both_ways false --look_ahead 1 {SMALL}".split()
    )
    return folder / "run"


def test_it_learns_what_stands_after_a_word(trained):
    # Whether "Bo" or "Ann" goes on is known from the word after it alone.
    model = load(trained)
    assert list(lines_as_they_arrive(model, ["Uma le", "ft Le Hav", "re.\nBo Li saw Ulm."])) == [
        *("Uma\tB-PER", "left\tO", "Le\tB-LOC", "Havre\tI-LOC", ".\tO", ""),
        *("Bo\tB-PER", "Li\tI-PER", "saw\tO", "Ulm\tB-LOC", ".\tO", ""),
    ]
    assert list(lines_as_they_arrive(model, ["\n \n"])) == []
    words = ["Uma", "left", "Le", "Havre", "."]
    found = list(Tagger.load(trained).stream(iter(words)))
    assert [word for word, _ in found] == words
    assert [tag for _, tag in found] == ["B-PER", "O", "B-LOC", "I-LOC", "O"]


def test_from_the_command_line_tags_come_while_the_text_does(trained):
    command = [sys.executable, "-m", "statewise", "predict", str(trained), "--stream"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"Uma left Le ")
        process.stdin.flush()
        # One word of look-ahead and one of the CRF: the first word is decided, the text goes on.
        assert process.stdout.readline() == b"Uma\tB-PER\n"
        rest, _ = process.communicate(b"Havre .\n")
    assert process.returncode == 0
    assert rest == b"left\tO\nLe\tB-LOC\nHavre\tI-LOC\n.\tO\n\n"


def test_what_a_stream_cannot_be_asked(trained, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    for option, why in (("--confidence", "no confidence"), ("--json", "no json")):
        with pytest.raises(SystemExit):
            cli.main(["predict", str(trained), "--stream", option])
        assert why in capsys.readouterr().err
