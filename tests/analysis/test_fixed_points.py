import pytest
import torch

from statewise import analysis, mixers, state
from statewise.analysis.fixed_points import fixed_points, plot_fixed_points, speed
from tests.analysis.recurrences import Linear


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def starts(mixer, rows, scale=2.0):
    """States of random numbers."""
    made = mixer.initial_state(rows)
    return type(made)(*(scale * torch.randn_like(leaf) for leaf in made))


def bistable(gain=3.0):
    """An Elman cell of one unit: h = tanh(gain h) has 0 and two more, of which those attract."""
    mixer = mixers.Elman(1, 1).double().eval()
    with torch.no_grad():
        for name, parameter in mixer.named_parameters():
            parameter.fill_(gain if "hh" in name and parameter.ndim > 1 else 0.0)
    return mixer


def test_a_linear_map_has_the_one_of_its_equation():
    A, B = 0.3 * torch.randn(5, 5, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    mixer, x = Linear(A, B), torch.randn(3, dtype=torch.float64)
    found = fixed_points(mixer, x, starts(mixer, 20), tolerance=1e-20)
    expected = torch.linalg.solve(torch.eye(5, dtype=torch.float64) - A, B @ x)
    torch.testing.assert_close(found.points, expected[None])
    torch.testing.assert_close(found.jacobians, A[None])
    assert found.speeds[0] < 1e-20
    ordered = found.eigenvalues[0].abs().sort().values
    torch.testing.assert_close(ordered, torch.linalg.eigvals(A).abs().sort().values)


def test_two_that_attract_and_one_between():
    mixer = bistable()
    found = fixed_points(mixer, torch.zeros(1, dtype=torch.float64), starts(mixer, 60))
    h = torch.tensor(0.9, dtype=torch.float64)
    for _ in range(100):
        h = torch.tanh(3 * h)
    order = found.points[:, 0].argsort()
    assert found.points[order, 0].tolist() == pytest.approx([-float(h), 0.0, float(h)], abs=1e-6)
    assert found.unstable[order].tolist() == [0, 1, 0]
    slope = 3 * (1 - h**2)
    assert found.eigenvalues[order, 0].real.tolist() == pytest.approx(
        [float(slope), 3.0, float(slope)], abs=1e-5
    )
    # a step leaves each where it is
    x = torch.zeros(3, 1, dtype=torch.float64)
    _, after = mixer.step(x, found.states)
    torch.testing.assert_close(after.h, found.states.h, atol=1e-5, rtol=0)


def test_the_speed_by_its_formula_and_a_slow_point():
    """h = tanh(h) + 0.02: near 0 it moves by 0.02 and is slowest, without a fixed point there."""
    mixer = bistable(1.0)
    x = torch.zeros(2, 1, dtype=torch.float64)
    h = torch.tensor([0.3, -1.0], dtype=torch.float64)
    at = mixer.initial_state(2)._replace(h=h[:, None, None])
    torch.testing.assert_close(speed(mixer, x, at), 0.5 * (torch.tanh(h) - h) ** 2)
    with torch.no_grad():
        next(p for n, p in mixer.named_parameters() if p.ndim == 1).fill_(0.02)
    begin = mixer.initial_state(1)._replace(h=torch.full((1, 1, 1), -0.5, dtype=torch.float64))
    none = fixed_points(mixer, x[0], begin, tolerance=1e-10)
    slow = fixed_points(mixer, x[0], begin, tolerance=1e-2)
    assert len(slow.points) >= len(none.points)
    assert (slow.speeds <= 1e-2).all()


@pytest.mark.parametrize("name", ["gru", "lstm", "lru", "min_gru"])
def test_what_is_found_stays_where_it_is(name):
    mixer = mixers.build(name, 4).double().eval()
    x = torch.randn(4, dtype=torch.float64)
    begin = mixer(torch.randn(12, 6, 4, dtype=torch.float64))[1]
    found = fixed_points(mixer, x, begin, tolerance=1e-16)
    assert len(found.points) >= 1
    _, after = mixer.step(x.expand(len(found.points), 4), found.states)
    for a, b in zip(state.leaves(after).values(), state.leaves(found.states).values(), strict=True):
        if a.is_floating_point() or a.is_complex():
            torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)
    assert found.jacobians.shape[1:] == (found.points.shape[1],) * 2
    assert (found.speeds[1:] >= found.speeds[:-1]).all()


def test_a_state_that_grows_or_is_empty_is_refused():
    x, attention = torch.zeros(4), mixers.build({"name": "attention", "heads": 2}, 4).eval()
    grown = attention(torch.randn(2, 3, 4))[1]
    with pytest.raises(ValueError, match="grows"):
        fixed_points(attention, x, grown)
    channel = mixers.build("feed_forward", 4).eval()
    empty = channel.initial_state(2)
    with pytest.raises(ValueError, match="this one has none"):
        fixed_points(channel, x, empty)


def test_the_plot_is_a_picture_of_all_points():
    mixer = bistable()
    found = fixed_points(mixer, torch.zeros(1, dtype=torch.float64), starts(mixer, 20))
    visited = analysis.visited(mixer, torch.randn(3, 10, 1, dtype=torch.float64), leaf="h")
    for given in (None, visited.flatten(2)):
        assert plot_fixed_points({"zero": found}, given)[:4] == b"\x89PNG"
    with pytest.raises(ValueError, match="no point to draw"):
        plot_fixed_points({})
