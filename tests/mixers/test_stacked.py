"""Layers one above the other: what each of them reads."""

import pytest
import torch

from statewise import mixers
from statewise.mixers.parts.wiring import layers

X = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))


def built(wiring, depth=3):
    torch.manual_seed(0)
    return mixers.build({"name": "stacked", "mixer": "gru", "depth": depth, "wiring": wiring}, 4)


@pytest.mark.parametrize(
    ("wiring", "reads"), [("plain", [4, 4, 4]), ("residual", [4, 4, 4]), ("dense", [4, 8, 16])]
)
def test_the_equations(wiring, reads):
    mixer = built(wiring)
    assert [layer.dim for layer in mixer.layers] == reads
    read = X
    for layer in mixer.layers:
        y, _ = layer(read)
        above = {"plain": y, "residual": read + y, "dense": torch.cat([read, y], -1)}[wiring]
        last, read = read, above
    torch.testing.assert_close(mixer(X)[0], last + y if wiring == "residual" else y)


def test_a_dense_layer_reads_all_below_in_both_directions():
    torch.manual_seed(0)
    mixer = mixers.StackedBidirectional(4, {"name": "lstm", "hidden": 3}, depth=20)
    assert [layer.dim for layer in mixer.layers] == [4 + 6 * below for below in range(20)]
    assert mixer.out == 6
    y = X
    for place, layer in enumerate(mixer.layers):
        read = torch.cat([read, y], -1) if place else X
        y = layer(read)
    torch.testing.assert_close(mixer(X), y)


def test_a_deep_dense_stack_hands_gradients_to_its_first_layer():
    """Where a plain one of twenty layers does not: what the paper is about."""
    reached = {}
    for wiring in ("plain", "dense"):
        torch.manual_seed(0)
        mixer = mixers.StackedBidirectional(
            4, {"name": "lstm", "hidden": 3}, depth=20, wiring=wiring
        )
        mixer(X).square().mean().backward()
        norms = [p.grad.norm() for p in mixer.layers[0].parameters()]
        reached[wiring] = float(torch.stack(norms).norm())
    assert reached["dense"] > 1e3 * reached["plain"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"depth": 0}, "depth = 0"),
        ({"mixer": {"name": "gru", "hidden": 3}}, "adds what a layer answers, 3 features"),
        ({"mixer": "bidirectional", "wiring": "plain"}, "has no state"),
    ],
)
def test_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        mixers.build({"name": "stacked", **spec}, 4)


def test_a_wiring_that_does_not_exist():
    with pytest.raises(ValueError, match="'sparse' should be 'plain', 'residual' or 'dense'"):
        layers("stacked", "gru", 4, depth=2, wiring="sparse")


def test_recoding_lowers_the_error_that_it_saw():
    """A small step against the gradient makes the same prediction better, at every step."""
    torch.manual_seed(0)
    mixer = mixers.Recoding(4, "gru", rate=0.05).double()
    x = X.double()
    state = mixer.initial_state(2)
    for x_t in x.unbind(1):
        h = state.h.clone().requires_grad_()

        def error(h, x_t=x_t):
            return (mixer.predict(h.flatten(1)) - x_t).square().sum() / 2

        (slope,) = torch.autograd.grad(error(h), h)
        moved = (h - 0.05 * slope).detach()
        y, state = mixer.step(x_t, state)
        expected, _ = mixer.mixer.step(x_t, state._replace(h=moved))
        torch.testing.assert_close(y, expected)
        assert error(moved) < error(h)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"rate": 0.0}, "rate = 0.0"),
        ({"mixer": "delta_net"}, "no h"),
        ({"mixer": "lion"}, "no state"),
    ],
)
def test_recoding_refuses(spec, message):
    with pytest.raises(ValueError, match=message):
        mixers.build({"name": "recoding", **spec}, 4)
