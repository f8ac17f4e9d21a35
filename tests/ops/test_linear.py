"""Every backend of the linear map beside the definition, and the choice between them."""

import inspect
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from statewise import backends
from statewise.mixers.parts.linear import Linear
from statewise.ops import linear as package
from statewise.ops.linear import TABLE, few, linear, native, reference
from tests.ops.agreement import (
    DTYPES,
    LEVELS,
    assert_agree,
    assert_agrees_with_definition,
    assert_bit_equal_at_any_number_of_threads,
    assert_checkpoints,
    assert_denormals_agree,
    assert_fresh,
    assert_gradients_of_one_result_agree,
    assert_registered_rightly,
    assert_transforms_agree,
    assert_writes_every_number,
    forms,
    needs_core,
    with_gradients,
)
from tests.ops.compiling import HOW, assert_compiles

BACKENDS = forms("native", "torch")
SIZES = [(1, 1, 1), (6, 16, 64), (7, 129, 65), (97, 300, 130), (200, 17, 1), (13, 1, 200)]


def example(rows=(3, 5), inputs=7, outputs=4, dtype=torch.float64, bias=True):
    """Return (x, weight, bias), and no masks."""
    g = torch.Generator().manual_seed(0)
    shapes = [(*rows, inputs), (outputs, inputs), (outputs,) if bias else None]
    drawn = [None if s is None else torch.randn(s, generator=g).to(dtype) for s in shapes]
    return [None if x is None else x.requires_grad_() for x in drawn], {}


def through(backend):
    """Return the op by one backend as a function of tensors."""

    def form(*tensors):
        with backends.use(backend):
            return linear(*tensors)

    return form


def results(backend, tensors, masks, rounded=None):
    return with_gradients(through(backend), tensors, rounded)


assert_agrees = partial(
    assert_agrees_with_definition, results, definition="reference", example=example, wide=True
)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_at_every_size(backend, size, bias, dtype):
    rows, inputs, outputs = size
    options = {"inputs": inputs, "outputs": outputs, "dtype": dtype, "bias": bias}
    assert_agrees(backend, rows=(rows,), **options)


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_number_of_axes_and_none_of_anything(backend):
    for rows in ((), (2,), (2, 3, 4), (0,), (2, 0)):
        assert_agrees(backend, rows=rows)
    for sizes in ({"inputs": 0}, {"outputs": 0}):
        assert_agrees(backend, **sizes)


@needs_core
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("level", LEVELS)
def test_every_level(core, level, dtype):
    core.set_level(level)
    for _, inputs, outputs in SIZES:
        assert_agrees("native", rows=(2, 19), inputs=inputs, outputs=outputs, dtype=dtype)


@needs_core
def test_any_layout():
    """Strides of zero, of more than one, and the wrong way around."""
    (x, weight, bias), _ = example((6, 8), 10, 12)

    def laid(form):
        def f(x, weight, bias):
            tall = form(x.transpose(0, 1)[::2], weight.t().contiguous().t()[::3], bias[::3])
            wide = form(x[:1, :1].expand(3, 2, -1)[..., ::2], weight[:, ::2], bias[:1].expand(12))
            return tall, wide

        return f

    ours, theirs = (
        with_gradients(laid(form), (x, weight, bias)) for form in (native.linear, reference.linear)
    )
    assert_agree(ours, theirs, 1e-12)


@needs_core
def test_bit_equal_at_any_number_of_threads():
    tensors, _ = example((400,), 300, 200, torch.float32)
    assert_bit_equal_at_any_number_of_threads(lambda: with_gradients(native.linear, tensors))


@needs_core
def test_a_row_is_the_same_wherever_it_stands():
    (x, weight, bias), _ = example((301,), 300, 200, torch.float32)
    y = native.linear(x, weight, bias)
    for rows in (slice(0, 1), slice(5, 12), slice(100, 301)):
        assert torch.equal(native.linear(x[rows], weight, bias), y[rows])


@needs_core
def test_writes_every_number():
    tensors, _ = example((70,), 40, 33)
    assert_writes_every_number(lambda: with_gradients(native.linear, tensors))


@needs_core
def test_what_nobody_wants_is_not_computed(monkeypatch):
    tensors, _ = example()
    whole = with_gradients(native.linear, tensors)
    seen = []
    multiply = native.Products.multiply
    monkeypatch.setattr(
        native.Products, "multiply", lambda *a, **b: seen.append(1) or multiply(*a, **b)
    )
    for wanted in ((0,), (1,), (2,), (0, 2), (0, 1, 2)):
        given = [x.detach().requires_grad_(place in wanted) for place, x in enumerate(tensors)]
        seen.clear()
        found = with_gradients(native.linear, given)
        assert_agree(found, [whole[0], *(whole[1 + place] for place in wanted)], 1e-12)
        assert len(seen) == 1 + len([place for place in wanted if place < 2])


@needs_core
def test_registered_rightly():
    for bias in (True, False):
        tensors, _ = example(bias=bias)
        assert_registered_rightly(native._linear, tensors, 1)


@needs_core
def test_derivatives_of_every_order():
    (x, weight, bias), _ = example()
    assert torch.autograd.gradcheck(native.linear, (x, weight, bias))
    assert torch.autograd.gradgradcheck(native.linear, (x, weight, bias))
    assert_gradients_of_one_result_agree(native.linear, reference.linear, (x, weight, bias), 0)
    assert_checkpoints(lambda *given: native.linear(*given).sin(), (x, weight, bias))


@pytest.mark.parametrize("backend", BACKENDS)
def test_fresh(backend):
    assert_fresh(through(backend), example()[0])


@needs_core
def test_denormals():
    tensors, _ = example()
    assert_denormals_agree(native.linear, reference.linear, [*tensors[:2], None], {0})


@pytest.mark.parametrize("how", HOW)
def test_compiles(how):
    assert_compiles("linear", how)


def test_transforms():
    (x, weight, bias), _ = example((300,), 128, 128)
    assert_transforms_agree(
        lambda x: linear(x, weight, bias), lambda x: reference.linear(x, weight, bias), (x,)
    )


def large(dtype=torch.float32):
    return torch.randn(2, 256, 128, dtype=dtype), torch.randn(128, 128, dtype=dtype)


def chosen(x, weight, bias=None):
    with backends.noted() as notes:
        y = linear(x, weight, bias)
    assert_agree([y], [nn.functional.linear(x, weight, bias)], 1e-5)
    (choice,) = notes["linear"]
    return choice.backend


@needs_core
def test_large_products_are_the_cores_where_it_is_faster(monkeypatch):
    monkeypatch.setattr(package, "outpaced", lambda: True)
    x, weight = large()
    assert chosen(x, weight) == "native"
    assert chosen(*large(torch.float64)) == "native"
    assert chosen(x, nn.Parameter(weight)) == "native"
    assert chosen(x[:, :1], weight) == "torch"
    assert chosen(x, weight[:1]) == "torch"
    assert chosen(*large(torch.bfloat16)) == "torch"
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x, weight).dtype == torch.bfloat16
        assert chosen(x, weight) == "torch"

    class Spread(torch.Tensor):
        """A subclass, as weights that are spread over machines have."""

    assert chosen(x, weight.as_subclass(Spread)) == "torch"
    monkeypatch.setattr(package, "outpaced", lambda: False)
    assert chosen(x, weight) == "torch"


@needs_core
@pytest.mark.parametrize(
    ("vendor", "level", "answer"),
    [("amd", "avx512", True), ("intel", "avx512", False), ("amd", "avx2", False)],
)
def test_outpaced_where_torchs_library_keeps_its_best_for_others(
    monkeypatch, vendor, level, answer
):
    class Core:
        @staticmethod
        def about():
            return {"vendor": vendor, "level": level}

    monkeypatch.setattr(backends, "core", Core)
    assert package.outpaced() == (answer and torch.backends.mkl.is_available())


def test_what_does_not_fit_is_said():
    with pytest.raises(ValueError, match=r"x \(2, 5\) should end in the inputs of weight \(4, 3\)"):
        inspect.unwrap(linear)(torch.zeros(2, 5), torch.zeros(4, 3))


def test_the_layer_is_torchs():
    torch.manual_seed(0)
    ours = Linear(5, 3)
    torch.manual_seed(0)
    theirs = nn.Linear(5, 3)
    assert isinstance(ours, nn.Linear)
    for (name, a), (other, b) in zip(
        ours.state_dict().items(), theirs.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(a, b)
    x = torch.randn(4, 5)
    torch.testing.assert_close(ours(x), theirs(x))
    parametrize.register_parametrization(ours, "weight", nn.Identity())
    torch.testing.assert_close(ours(x), theirs(x))


def test_the_table_names_all_backends():
    assert {row.backend for row in TABLE} == set(backends.BACKENDS)


@needs_core
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("size", [(1, 1, 1), (3, 31, 7), (8, 130, 65), (5, 768, 3)], ids=str)
def test_few_rows(core, level, size):
    """A matrix that is read once for up to eight rows, of which none depends on the others."""
    core.set_level(level)
    rows, inputs, outputs = size
    (x, weight, bias), _ = example((rows,), inputs, outputs, torch.float32)
    x, weight, bias = x.detach(), weight.detach(), bias.detach()
    y = few.multiply(x, weight, None, bias)
    assert_agree([y], [reference.linear(x, weight, bias)], 1e-6)
    for row in range(rows):
        assert torch.equal(few.multiply(x[row : row + 1], weight, None, bias)[0], y[row])
    assert torch.equal(few.multiply(x[:, None], weight, None, bias)[:, 0], y)


@needs_core
def test_few_rows_are_chosen_where_nothing_is_recorded(monkeypatch):
    monkeypatch.setattr(package, "outpaced", lambda: True)
    used = []
    monkeypatch.setattr(few, "multiply", lambda *given: used.append(1) or torch.zeros(2, 512))
    x, weight = torch.randn(2, 512), torch.randn(512, 512)
    bias = torch.randn(512, requires_grad=True)
    linear(x, weight)
    assert len(used) == 1
    linear(x, weight[:2])
    linear(x.double(), weight.double())
    linear(torch.randn(9, 512), weight)
    linear(x, weight, bias)
    linear(x, weight.clone().requires_grad_())
    assert len(used) == 1
    with torch.no_grad():
        linear(x, weight, bias)
    assert len(used) == 2
