"""Every backend of the linear map of eight bits beside the definition, and the choice."""

import inspect

import pytest
import torch

from statewise import backends
from statewise.ops.int8_linear import TABLE, int8_linear, native
from statewise.ops.int8_linear import torch as widening
from statewise.ops.linear import few
from tests.ops.agreement import LEVELS, error, needs_core

SIZES = [
    ((), 1, 1),
    ((1,), 768, 50),
    ((3,), 31, 7),
    ((2, 4), 130, 65),
    ((0,), 5, 3),
    ((5,), 4200, 9),
]


def example(rows=(2,), inputs=40, outputs=9, dtype=torch.float32, bias=True):
    g = torch.Generator().manual_seed(0)
    weight = torch.randint(-127, 128, (outputs, inputs), generator=g, dtype=torch.int8)
    scale = 0.001 + 0.01 * torch.rand(outputs, generator=g)
    x = torch.randn(*rows, inputs, generator=g).to(dtype)
    return x, weight, scale, torch.randn(outputs, generator=g) if bias else None


def by(backend, *tensors):
    with backends.use(backend):
        return int8_linear(*tensors)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_agrees_at_every_size(size, bias):
    rows, inputs, outputs = size
    x, *others = example(rows, inputs, outputs, torch.float64, bias)
    wanted = by("reference", x, *others)
    assert error(by("torch", x, *others), wanted) < 1e-12
    if backends.core is not None:
        ours = by("native", x.float(), *others)
        assert ours.dtype == torch.float32
        assert error(ours.double(), wanted) < 2e-4  # x has sixteen bits
        assert ours.shape == wanted.shape


@needs_core
@pytest.mark.parametrize("level", LEVELS)
def test_every_level(core, level):
    core.set_level(level)
    for rows, inputs, outputs in SIZES:
        x, *others = example(rows, inputs, outputs)
        assert error(by("native", x, *others), by("reference", x, *others)) < 2e-4


@needs_core
def test_sums_do_not_overflow():
    for sign in (-1, 1):
        x, weight = torch.full((1, 9000), 3.0), torch.full((2, 9000), 127 * sign, dtype=torch.int8)
        y = by("native", x, weight, torch.ones(2))
        torch.testing.assert_close(y, torch.full((1, 2), 3.0 * 127 * 9000 * sign))


@needs_core
def test_a_row_is_the_same_beside_any_others_and_at_any_number_of_threads():
    x, *others = example((8,), 300, 200)
    whole = by("native", x, *others)
    for row in range(8):
        assert torch.equal(by("native", x[row : row + 1], *others), whole[row : row + 1])
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert torch.equal(by("native", x, *others), whole)
    finally:
        torch.set_num_threads(before)


@needs_core
def test_what_is_not_finite_is_nan_in_its_row_alone():
    x, *others = example((4,))
    x[1, 3], x[2, 0], x[3] = torch.nan, torch.inf, 0
    y = by("native", x, *others)
    assert y[1:3].isnan().all()
    assert torch.equal(y[0], by("native", x[:1], *others)[0])
    torch.testing.assert_close(y[3], others[2])


@needs_core
def test_any_layout():
    x, weight, scale, bias = example((6,), 40, 12)
    given = (x.t().contiguous().t()[::2], weight[::3], scale[::3], bias[::3])
    ours, theirs = (by(b, *given) for b in ("native", "reference"))
    assert error(ours, theirs) < 2e-4
    turned = (x, weight.t().contiguous().t(), scale, bias)
    assert error(by("native", *turned), by("reference", x, weight, scale, bias)) < 2e-4


def test_weights_are_widened_a_few_outputs_at_a_time(monkeypatch):
    given = example((3,), 40, 30)
    whole = by("torch", *given)
    monkeypatch.setattr(widening, "AT_ONCE", 200)
    assert error(by("torch", *given), whole) < 1e-6


def test_x_is_differentiated():
    x, weight, scale, bias = example((2,))
    x.requires_grad_()
    (grad,) = torch.autograd.grad(int8_linear(x, weight, scale, bias).sum(), x)
    assert error(grad, ((scale[:, None] * weight).sum(0)).expand(2, -1)) < 1e-5


def test_the_choice():
    x, weight, *_ = example()

    def chosen(x, weight=weight):
        return backends.choose("int8_linear", TABLE, x, weight).backend

    few_rows = "torch" if backends.core is None else "native"
    assert chosen(x) == few_rows
    assert chosen(torch.randn(9, 40)) == "torch"
    assert chosen(x.double()) == "torch"
    assert chosen(x.clone().requires_grad_()) == "torch"
    assert native.FEW == few.FEW


@needs_core
def test_the_core_has_as_many_rows(core):
    assert core.few_rows == few.FEW
    with pytest.raises(ValueError, match="at most 8 rows"):
        few.multiply(torch.randn(9, 4), torch.randn(3, 4), None, None)


def test_what_does_not_fit_is_named():
    x, weight, scale, _ = example()
    with pytest.raises(ValueError, match=r"int8_linear: x \(2, 39\) should end in the inputs"):
        inspect.unwrap(int8_linear)(x[:, 1:], weight, scale)
    with pytest.raises(ValueError, match=r"and scale \(8,\) be \(outputs,\)"):
        inspect.unwrap(int8_linear)(x, weight, scale[1:])
