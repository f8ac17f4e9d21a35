import json

import pytest
import torch
from safetensors.torch import load_file

from statewise.training.averaging import Average, NonMonotonic, triggered
from statewise.training.runs import checkpoint
from tests.training.test_loop import Recorder, configuration, run_loop

CURVE = [5.0, 4.0, 3.0, 3.5, 3.2, 2.9, 3.1, 3.05]


@pytest.mark.parametrize(("patience", "at"), [(0, 3), (1, 4), (2, 6), (3, 6), (4, 7)])
def test_the_trigger_on_a_scripted_curve(patience, at):
    """By the algorithm: t > n and v > min over logs[0], ..., logs[t - n - 1]."""
    expected = [t > patience and v > min(CURVE[: t - patience]) for t, v in enumerate(CURVE)]
    found = [triggered(CURVE[:t], v, patience) for t, v in enumerate(CURVE)]
    assert found == expected
    assert found.index(True) == at


def test_a_curve_that_falls_never_triggers():
    assert not any(triggered([9.0 - t for t in range(t)], 9.0 - t, 0) for t in range(9))


def test_a_mean_begins_by_itself_and_not_before():
    """The fifth reading of the curve is worse than all but the last before it: logs[0..2]."""
    model = torch.nn.Linear(1, 1, bias=False)
    averaging = NonMonotonic(model, patience=1)
    for step, reading in enumerate(CURVE):
        torch.nn.init.constant_(model.weight, float(step))
        averaging.add()
        with averaging.in_place():
            expected = float(step) if step < 5 else sum(range(4, step + 1)) / (step - 3)
            assert model.weight.item() == pytest.approx(expected)
        averaging.note(reading)
    assert averaging.readings == CURVE


def test_the_mean_is_of_all_weights_since_it_began():
    model = torch.nn.Linear(2, 1)
    seen, average = [], None
    for number in (1.0, 4.0, 10.0, 2.0):
        torch.nn.init.constant_(model.weight, number)
        seen.append(number)
        if average is None:
            average = Average(model)
        else:
            average.add()
        assert average.means[model.weight].tolist() == [pytest.approx([sum(seen) / len(seen)] * 2)]
    with average.in_place():
        assert model.weight.tolist() == [pytest.approx([17 / 4] * 2)]
    assert model.weight.tolist() == [[2.0, 2.0]]


class Weighed(Recorder):
    """It notes its weights when it is saved."""

    def save_pretrained(self, folder):
        (folder / "config.json").write_text(json.dumps(self.bias.tolist()[:3]))


def test_the_loop_begins_when_the_curve_says_and_saves_the_mean(tmp_path, monkeypatch):
    weights = []
    model = Weighed()

    def note(self, *rest, whole=torch.optim.SGD.step, **options):
        whole(self, *rest, **options)
        weights.append(model.bias.detach().clone())

    monkeypatch.setattr(torch.optim.SGD, "step", note)
    options = {
        "optimizer": {"method": "sgd", "schedule": "constant", "average_after": 1},
        "evaluation": {"seconds": None, "steps": 2},
        "max_steps": 13,
    }
    _, run = run_loop(tmp_path, model, CURVE, **options)
    events = [json.loads(x) for x in (run.folder / "metrics.jsonl").read_text().splitlines()]
    (event,) = [x for x in events if x.get("event") == "averaging"]
    assert event["step"] == 10  # the fifth reading, after steps 2, 4, 6, 8 and 10
    mean = torch.stack(weights[9:]).mean(0)
    saved = json.loads((checkpoint(run.folder, "last") / "config.json").read_text())
    assert saved == pytest.approx(mean[:3].tolist())
    assert not torch.allclose(mean, weights[-1])
    assert torch.equal(model.bias, weights[-1])  # training goes on from its own
    kept = load_file(checkpoint(run.folder, "last") / "training-00000.safetensors")
    assert torch.equal(kept["average/bias"], weights[-1])


def test_readings_by_the_clock_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"set evaluation.steps, and evaluation.seconds to null"):
        configuration(tmp_path, optimizer={"average_after": 5})
