import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from statewise import cli, mixers

PROSE = "It was the best of times, it was the worst of times. " * 60


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a few steps, made by the command itself."""
    folder = tmp_path_factory.mktemp("cli")
    text = folder / "text.txt.gz"
    text.write_bytes(gzip.compress(PROSE.encode()))
    train(text, folder / "run")
    return folder / "run"


def train(text, out, *options):
    cli.main(
        f"train lm --data.path {text} --preset tiny --streams 2 --context 32 --max_steps 8 "
        f"--out {out} --quiet".split()
        + list(options)
    )


def refused(capsys, *arguments):
    """Return the one sentence with which a command was refused."""
    with pytest.raises(SystemExit) as left:
        cli.main(list(arguments))
    assert left.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("statewise: ")
    return lines[0]


def test_training_prints_bits_per_byte_and_leaves_a_run(run, capsys):
    assert sorted(p.name for p in run.iterdir()) == [
        "checkpoints",
        "config.yaml",
        "loss.png",
        "metrics.jsonl",
        "report.html",
        "train.log",
    ]
    train(run.parent / "text.txt.gz", run.parent / "again", "--json")
    result = json.loads(capsys.readouterr().out)
    assert result["steps"] == 8
    assert 0 < result["bits_per_byte"] < 9


def test_a_configuration_file_gives_the_same_run(run, capsys):
    cli.main(f"train lm --config {run / 'config.yaml'} --out {run}2 --quiet".split())
    lines = [
        json.loads(path.read_text().splitlines()[-1])["held_out_bits_per_byte"]
        for path in (run / "metrics.jsonl", run.parent / "run2/metrics.jsonl")
    ]
    assert lines[0] == lines[1]


def test_overrides_win_over_the_file_and_are_printed(run, capsys):
    with pytest.raises(SystemExit):
        cli.main(
            [
                *f"train lm --config {run / 'config.yaml'} --model.dim 96 --print_config".split(),
                "--mixer=[{name: attention, window: 8}, min_gru]",
            ]
        )
    printed = capsys.readouterr().out
    assert "dim: 96" in printed
    assert "- name: attention\n  window: 8\n- min_gru" in printed
    assert "max_steps: 8" in printed


def test_evaluate_repeats_the_figure_of_the_training(run, capsys):
    cli.main(["evaluate", str(run), "--json"])
    found = json.loads(capsys.readouterr().out)
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert found["bits_per_byte"] == pytest.approx(last["held_out_bits_per_byte"])
    cli.main(["evaluate", str(run), "--data.path", str(run.parent / "text.txt.gz")])
    assert "bits per byte over 3,180 bytes" in capsys.readouterr().out


def test_evaluate_with_a_cache_and_beside_ngrams(run, capsys):
    cli.main(["evaluate", str(run), "--json"])
    usual = json.loads(capsys.readouterr().out)
    options = ["--cache.size", "300", "--cache.weight", "0.5", "--cache.sharpness", "0.2"]
    cli.main(["evaluate", str(run), "--json", "--ngrams", "4", *options])
    found = json.loads(capsys.readouterr().out)
    # Eight steps taught little: what the text just said, and what n-grams say, is worth more.
    assert found["bits_per_byte"] < usual["bits_per_byte"] - 0.2
    assert found["ngram_bits_per_byte"] < 1
    cli.main(["evaluate", str(run), "--ngrams", "4"])
    assert "by n-grams up to 4" in capsys.readouterr().out


def test_documents_are_held_out_and_evaluated_whole(tmp_path, capsys):
    folder = tmp_path / "texts"
    folder.mkdir()
    lines = [json.dumps({"body": f"naïve {number}"}) for number in range(10)]
    (folder / "a.jsonl").write_text("\n".join(lines))
    train(folder, tmp_path / "run", "--data.field", "body")
    cli.main(["evaluate", str(tmp_path / "run")])
    assert "over 8 bytes" in capsys.readouterr().out.splitlines()[-1]
    path = str(folder / "a.jsonl")
    cli.main(["evaluate", str(tmp_path / "run"), "--data.path", path, "--data.field", "body"])
    assert "over 80 bytes" in capsys.readouterr().out
    assert f"{path}:1: " in refused(capsys, "evaluate", str(tmp_path / "run"), "--data.path", path)


def test_generate_streams_and_goes_on_from_a_state(run, tmp_path, capsys):
    def say(*options):
        cli.main(["generate", str(run), "--seed", "3", *options])
        return capsys.readouterr().out.removesuffix("\n")

    whole = say("--prompt", "It", "--max_tokens", "60")
    assert whole.startswith("It")
    kept = str(tmp_path / "state.safetensors")
    first = say("--prompt", "It", "--max_tokens", "25", "--save_state", kept)
    assert first + say("--max_tokens", "35", "--load_state", kept) == whole
    eight = say("--prompt", "It", "--max_tokens", "20", "--int8")
    assert eight.startswith("It")
    assert eight == say("--prompt", "It", "--max_tokens", "20", "--int8")


HEAD = ["name", "sentence", "paper", "family", "forms", "state", "cost", "differs", "equations"]


def test_the_list_is_the_folder(capsys):
    """What a program may rely on: these keys in this order, texts, one mixer a file, sorted."""
    cli.main(["list", "--json"])
    listed = json.loads(capsys.readouterr().out)
    files = Path(mixers.__file__).parent.glob("[a-z]*.py")
    assert [head["name"] for head in listed] == sorted({f.stem for f in files} - {"base"})
    for head in listed:
        assert list(head) == HEAD
        for key, text in head.items():
            assert isinstance(text, str)
            assert text or key == "differs", f"{head['name']} says nothing of its {key}"
            assert "\n" not in text or key == "equations"
        assert head["family"] in mixers.FAMILIES


def test_the_list_says_the_same_each_time(capsys):
    said = []
    for _ in range(2):
        cli.main(["list", "--json"])
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert said[0].isascii()


def test_the_doctor_says_what_runs_where_and_why(capsys):
    cli.main(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    backends = {c["dtype"]: c["backend"] for c in report["ops"]["scan"] if c["device"] == "cpu"}
    assert backends["float16"] == "torch"
    assert backends["float32"] == ("native" if report["native"] else "torch")
    cli.main(["doctor"])
    assert "scan" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("trian", "there is no command 'trian'; did you mean train lm?"),
        ("train", "there is no command 'train'; did you mean train lm?"),
        ("lst", "there is no command 'lst'; did you mean list?"),
        ("train lm --max_steps 3", "--data.path must be given"),
        ("train lm --data.pth x", "there is no option --data.pth; did you mean --data.path?"),
        ("train lm --mixr gru", "there is no option --mixr; did you mean --mixer?"),
        ("train lm --data.path TEXT --max_steps 0", "--max_steps 0: input should be greater"),
        ("train lm --data.path TEXT --max_seconds x", "--max_seconds x: input"),
        ("train lm --data.path TEXT", "set max_seconds, max_steps or max_tokens: the run"),
        ("train lm --data.path TEXT --max_steps 1 --mixer gro", "did you mean 'gru'"),
        ("train lm --data.path TEXT --max_steps 1 --preset tny", "no preset 'tny'; did you mean"),
        (
            "train lm --data.path TEXT --max_steps 1 --mixer bidirectional",
            "Bidirectional reads the whole sequence",
        ),
        (
            'train lm --data.path TEXT --max_steps 1 --mixer {"name":"attention","windw":3}',
            "no option 'windw'; did you mean 'window'?",
        ),
        ("train lm --data.path nowhere.txt --max_steps 1", "nowhere.txt: there is no such file"),
        ("train lm --data.path TEXT --max_steps 1 --out RUN", "a run is there already"),
        ("train lm --data.path TEXT --max_steps 1 --context 9999", "a context of 9999 needs more"),
        ("generate", "folder must be given"),
        ("generate nowhere", "nowhere: there is no such folder"),
        ("generate RUN --temperature -1", "temperature"),
        ("generate RUN --load_state TEXT", "TEXT"),
        ("evaluate RUN --data.path nowhere", "nowhere: there is no such file"),
        ("evaluate RUN --cache.size -1", "neural cache: size = -1 should be at least 1"),
        ("evaluate RUN --ngrams -1", "order = -1 should be at least 1"),
        (
            "train lm --data.path TEXT --max_steps 1 --sparsity.method dense",
            "--sparsity.method: Expected",
        ),
        (
            "train lm --data.path TEXT --max_steps 1 --model.dropout.word 0.1",
            "there is no option --model.dropout.word; did you mean --model.dropout.words?",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(run, capsys, arguments, sentence):
    def place(text):
        return text.replace("TEXT", str(run.parent / "text.txt.gz")).replace("RUN", str(run))

    assert place(sentence) in refused(capsys, *place(arguments).split())


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("data:\n  pth: x\n", "--config: there is no option --data.pth; did you mean --data.path?"),
        ("max_step: 3\n", "--config: there is no option --max_step; did you mean --max_steps?"),
        ("data:\n  path: x\nmax_steps: a\n", "--max_steps a: input should be"),
        ("data: [\n", "--config: this is not the YAML of a configuration"),
    ],
)
def test_a_bad_configuration_file_is_said_in_one_sentence(tmp_path, capsys, file, sentence):
    (tmp_path / "run.yaml").write_text(file)
    assert sentence in refused(capsys, "train", "lm", "--config", str(tmp_path / "run.yaml"))


def test_a_damaged_checkpoint_is_said_in_one_sentence(run, tmp_path, capsys):
    folder = tmp_path / "model"
    checkpoint = next(p for p in (run / "checkpoints").iterdir() if p.is_dir())
    folder.mkdir()
    for file in checkpoint.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "model.safetensors" in refused(capsys, "generate", str(folder))


def test_a_reader_that_leaves_is_no_error(run):
    command = f"{sys.executable} -m statewise generate {run} --max_tokens 3000 | head -c 10"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert len(done.stdout) > 0


@pytest.mark.parametrize("what", ["lm", "tagger", "classifier"])
def test_help_says_what_each_option_does(what, capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", what, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "how many times a cosine begins again" in said
