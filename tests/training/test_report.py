import json
import math
import struct
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from statewise import cli
from statewise.training import report
from statewise.training.curves import Points, smooth
from statewise.training.report import write_report

CONFIG = """\
data: {path: some.txt, held_out: 0.1, tokenizer: null}
mixer: [min_gru, {name: attention, window: 16}]
preset: tiny
streams: 3
context: 77
optimizer: {clip: 0.3}
evaluation: {tokens: 4321}
"""


def training(step, **fields):
    values = {
        "step": step,
        "seconds": step / 2,
        "tokens": step * 231,
        "loss_bits": 2 + 8 / step,
        "learning_rate": 0.01 / step,
        "gradient_norm": 5.0 / step,
        "tokens_per_second": 400.0 + step,
    }
    return {**values, **fields}


def evaluation(step, bits):
    return {"step": step, "seconds": step / 2, "tokens": step * 231, "bits_per_byte": bits}


LINES = [
    training(10),
    evaluation(15, 2.3456),
    training(20),
    {"step": 23, "seconds": 11.5, "event": "skipped", "why": "the gradient was inf"},
    evaluation(25, 2.1234),
    training(30),
    evaluation(35, 2.2345),
    {"step": 35, "held_out_bits_per_byte": 2.1987},
]


def write_run(folder, lines=LINES, *, config=CONFIG, log="0.0  1234567 parameters\n", end=""):
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(config)
    (folder / "train.log").write_text(log)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(n) + "\n" for n in lines) + end)
    return folder


class Page(HTMLParser):
    """What a browser would make of a page: its tags, what it would load, and its text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.loaded, self.text = set(), [], ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.loaded += [value for name, value in attrs if name in ("src", "href")]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data):
        self.text += data


def page_of(folder):
    return Page(write_report(folder)[1])


def size(png):
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", png[16:24])


def test_the_figures_are_those_of_the_files(tmp_path):
    text = page_of(write_run(tmp_path / "run")).text
    for figure in (
        "A tiny language model with min_gru, attention (window 16) layers",
        "some.txt",
        "1,234,567",
        "77",
        "ran to its end",
        "17.5 s",
        "8,085",  # tokens
        "462 tokens a second",
        "2.1234 bits per byte, at step 25",
        "2.2345 bits per byte",
        "2.1987 bits per byte",
        "first 4,321 tokens",
        "33% of those measured",  # 0.5, and not 0.25 and 0.17
        "faster than 420 tokens",
        "skipped 1",
        "the gradient was inf",
        "generate",
        CONFIG,
    ):
        assert figure in text, figure


def test_the_mean_is_over_neighbours_and_finite():
    points = Points.of([(float(k), float(k % 2)) for k in range(120)] + [(120.0, math.nan)])
    mean, window = smooth(points)
    assert window == 5
    assert mean.y[60] == pytest.approx(2 / 5)
    assert mean.y[0] == pytest.approx(1 / 3)
    assert len(mean.y) == 120


def test_the_pictures_are_pngs_inside_the_page(tmp_path):
    loss, file = write_report(write_run(tmp_path / "run"))
    width, height = size(loss.read_bytes())
    assert 1000 < width < 2000
    assert 400 < height < 1500
    assert 5_000 < loss.stat().st_size < 500_000
    loaded = Page(file).loaded
    assert len(loaded) == 4  # loss, learning rate, gradient norm, throughput
    assert all(source.startswith("data:image/png;base64,") for source in loaded)


def test_what_was_not_recorded_is_not_drawn(tmp_path):
    page = page_of(write_run(tmp_path / "a", [{"step": 10, "loss_bits": 3.0}], config="{}", log=""))
    assert len(page.loaded) == 1
    assert "has not been scored" in page.text
    assert "no end is recorded" in page.text
    assert len(page_of(write_run(tmp_path / "b", [evaluation(8, 2.5)])).loaded) == 1


def test_hostile_text_is_text(tmp_path):
    evil = "</pre></style><script>alert('1')</script><img src=x onerror=alert(2)>&amp;\"{0}$x_$"
    config = CONFIG.replace("some.txt", json.dumps(evil)).replace("min_gru", json.dumps(evil))
    events = [{"step": 1, "event": kind, "why": evil} for kind in (evil, "interrupted")]
    folder = tmp_path / "<script>alert(3)<b> 日本 $\\frac$"
    page = page_of(write_run(folder, LINES[:-1] + events, config=config, log=evil))
    assert not page.tags & {"script", "b", "a", "link", "iframe"}
    assert all(source.startswith("data:image/png") for source in page.loaded)
    assert page.text.count(evil) >= 6  # lead, fact twice, state, table, log
    assert folder.name in page.text


def test_a_last_line_that_was_cut_is_ignored(tmp_path):
    whole = page_of(write_run(tmp_path / "run")).text
    assert page_of(write_run(tmp_path / "run", end='{"step": 40, "loss_b')).text == whole
    assert page_of(write_run(tmp_path / "run", end='{"bits_per_byte": 1.0, "step": 9}')).text != (
        whole  # it lacks its end alone, and says all
    )


@pytest.mark.parametrize(
    "damaged", ['{"step": 3', "[1]", "3", "", '{"step": "3"}', '{"loss_bits": [1]}', "\0\0\0"]
)
def test_a_damaged_line_is_named(tmp_path, damaged):
    folder = write_run(tmp_path / "run")
    kept = (folder / "metrics.jsonl").read_text().splitlines()
    (folder / "metrics.jsonl").write_text("\n".join([*kept[:2], damaged, *kept[2:], ""]))
    with pytest.raises(ValueError, match=r"metrics\.jsonl:3: the line is damaged"):
        write_report(folder)


def test_what_a_resumption_undid_is_not_reported(tmp_path):
    lines = [
        training(10),
        evaluation(10, 2.5),
        training(20),
        evaluation(20, 1.1111),
        {"step": 20, "held_out_bits_per_byte": 1.2222},
        {"step": 20, "event": "interrupted", "why": "Ctrl-C"},
        {"step": 10, "event": "resumed", "why": "from step-10"},
        training(20),
        evaluation(20, 2.0202),
    ]
    text = page_of(write_run(tmp_path / "run", lines)).text
    assert "2.0202 bits per byte, at step 20" in text
    assert "1.1111" not in text
    assert "1.2222" not in text
    assert "no end is recorded" in text
    assert "from step-10" in text
    # A run that had ended is continued: its scores stand, and its end does not.
    resumed = {"step": 20, "event": "resumed", "why": "for longer"}
    text = page_of(write_run(tmp_path / "run", [*lines[:5], resumed, training(30)])).text
    assert "1.1111 bits per byte, at step 20" in text
    assert "1.2222" not in text
    text = page_of(write_run(tmp_path / "run", lines[:6])).text
    assert "interrupted: Ctrl-C" in text
    assert "1.2222" in text


def test_losses_that_are_not_finite_are_counted(tmp_path):
    lines = [training(10), training(20, loss_bits=math.nan), training(30, loss_bits=math.inf)]
    assert "are not drawn: 2" in page_of(write_run(tmp_path / "run", lines)).text
    lines = [training(10, loss_bits=math.nan, gradient_norm=math.nan)]
    assert "are not drawn: 1" in page_of(write_run(tmp_path / "run", lines)).text


def test_a_tokenizer_gives_loss_and_score_an_axis_each(tmp_path):
    write_run(tmp_path / "run")
    one = size(write_report(tmp_path / "run")[0].read_bytes())
    write_run(tmp_path / "run", config=CONFIG.replace("tokenizer: null", "tokenizer: t.json"))
    two = size(write_report(tmp_path / "run")[0].read_bytes())
    assert one[0] == two[0]
    assert one[1] < two[1]


def test_another_task_has_its_own_names(tmp_path, monkeypatch):
    other = report.TASKS[0]._replace(
        sentence="A tagger of {words}",
        loss=("loss_nats", "nats"),
        score=("accuracy", "share right"),
        end="held_out_accuracy",
        best=max,
        one_scale=lambda config: False,
        facts=(("words", "data.path", "what is tagged"),),
    )
    monkeypatch.setattr(report, "TASKS", (*report.TASKS, other))
    lines = [
        {"step": 10, "loss_nats": 1.0},
        *({"step": s, "accuracy": s / 50} for s in (20, 30, 25)),
    ]
    text = page_of(write_run(tmp_path / "run", lines)).text
    assert "A tagger of some.txt" in text
    assert "0.6000 share right, at step 30" in text


def test_what_cannot_be_reported_is_said_in_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="this is no run"):
        write_report(tmp_path)
    for lines in ([], [{"step": 3, "event": "skipped"}], [{"step": 10, "loss_bits": None}]):
        with pytest.raises(ValueError, match="nothing was measured in this run yet"):
            write_report(write_run(tmp_path / "run", lines))
    (tmp_path / "run/metrics.jsonl").unlink()
    with pytest.raises(ValueError, match="nothing was measured in this run yet"):
        write_report(tmp_path / "run")
    for config in ("{", "[]", "a\0b"):
        with pytest.raises(ValueError, match=r"config\.yaml: this is not the YAML"):
            write_report(write_run(tmp_path / "run", config=config))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'statewise\[plot\]'"):
        write_report(write_run(tmp_path / "run"))
    assert not list(tmp_path.rglob("*.png"))


def test_a_report_that_fails_leaves_the_one_before(tmp_path):
    folder = write_run(tmp_path / "run")
    before = [path.read_bytes() for path in write_report(folder)]
    with pytest.raises(ValueError, match="damaged"):
        write_report(write_run(folder, end="{\n"))
    assert [(folder / name).read_bytes() for name in ("loss.png", "report.html")] == before
    names = {"config.yaml", "train.log", "metrics.jsonl", "loss.png", "report.html"}
    assert {path.name for path in folder.iterdir()} == names


def test_matplotlib_is_left_as_it_was(tmp_path):
    """In an interpreter of its own, where nobody else has imported it."""
    program = """
import sys
import statewise, statewise.cli, statewise.training.report as report
assert "matplotlib" not in sys.modules
import matplotlib
def settings():
    return dict(dict.items(matplotlib.rcParams))  # otherwise reading them all chooses a backend
before = settings()
report.write_report(sys.argv[1])
assert settings() == before
assert "matplotlib.pyplot" not in sys.modules
"""
    folder = write_run(tmp_path / "run")
    command = [sys.executable, "-W", "error", "-c", program, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_run_of_the_command_is_reported_by_the_command(tmp_path, capsys):
    (tmp_path / "text").write_text("It was the best of times, it was the worst of times. " * 60)
    out = str(tmp_path / "a run")
    options = f"--data.path {tmp_path}/text --preset tiny --streams 2 --context 32 --max_steps 20"
    cli.main(["train", "lm", *options.split(), "--out", out, "--quiet", "--json"])
    bits = json.loads(capsys.readouterr().out)["bits_per_byte"]
    cli.main(["report", out, "--json"])
    paths = json.loads(capsys.readouterr().out)
    assert paths == {"loss": f"{out}/loss.png", "report": f"{out}/report.html"}
    page = Page(tmp_path / "a run/report.html")
    assert f"{bits:.4f} bits per byte" in page.text
    assert f"statewise generate '{out}' --prompt" in page.text
    assert len(page.loaded) >= 3
    cli.main(["report", out])
    assert capsys.readouterr().out.count(out) == 2
    with pytest.raises(SystemExit):
        cli.main(["report", str(tmp_path)])
    assert "this is no run" in capsys.readouterr().err
