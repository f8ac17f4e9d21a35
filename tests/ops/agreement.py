"""What the tests of every op share: errors by relative norm, and the core as they want it."""

from collections.abc import Callable, Sequence

import pytest
import torch

from statewise import backends

needs_core = pytest.mark.skipif(backends.core is None, reason=f"no core: {backends.core_missing}")
MASKS = [(), ("reset",), ("lengths",), ("reset", "lengths")]
DTYPES = [torch.float64, torch.float32, torch.bfloat16]
TIMES = [0, 1, 2, 3, 63, 100, pytest.param(1000, marks=pytest.mark.long)]
LEVELS = backends.core.about()["levels"].split(", ") if backends.core else []
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}


@pytest.fixture
def core():
    """Lend the core and put back what a test sets."""
    before, threads = backends.core.about(), torch.get_num_threads()
    yield backends.core
    backends.core.set_level(before["level"])
    backends.core.set_cache(before["cache"])
    torch.set_num_threads(threads)


def marks(g, batch, time, names=MASKS[-1]):
    """Return those asked for of a random reset and lengths, the whole and none among them."""
    named = {
        "reset": torch.rand(batch, time, generator=g) < 0.2,
        "lengths": torch.tensor([time, 0, time // 2, 1])[:batch].clamp(max=time),
    }
    return {name: named[name] for name in names}


def beyond(lengths, time):
    """Return which times are padding, (batch, time)."""
    return torch.arange(time) >= lengths[:, None]


def flat(results):
    """Return the tensors of a result, those of its states with them."""
    if isinstance(results, torch.Tensor):
        return [results]
    return [tensor for part in results for tensor in flat(part)]


def with_gradients(form: Callable, tensors: Sequence[torch.Tensor], rounded=None):
    """Return the results of `form(*tensors)` and the gradients of a weighted sum of them.

    The weights of the first result are rounded to the dtype `rounded`, or as that result is.
    """
    made = flat(form(*tensors))
    g = torch.Generator().manual_seed(1)
    weights = [torch.randn(y.shape, generator=g, dtype=torch.float64) for y in made]
    if not made[0].is_complex():
        weights[0] = weights[0].to(rounded or made[0].dtype)
    weights = [w.to(y.dtype) for w, y in zip(weights, made, strict=True)]
    # At time 0 the output depends on nothing.
    pairs = [p for p in zip(made, weights, strict=True) if p[0].requires_grad]
    wanted = [x for x in tensors if x is not None and x.requires_grad]
    grads = torch.autograd.grad(
        [y for y, _ in pairs], wanted, [w for _, w in pairs], materialize_grads=True
    )
    return [*(y.detach() for y in made), *grads]


def error(a, b):
    """Return ||a - b|| / ||b||, or ||a|| where b is zero."""
    wide = torch.complex128 if a.is_complex() else torch.float64
    a, b = a.detach().to(wide), b.detach().to(wide)
    return float((a - b).norm() / b.norm()) if b.norm() > 0 else float(a.norm())


def assert_agree(lefts, rights, tolerance, names=None):
    """Assert that tensors agree one by one, by relative norm, in shape and in dtype."""
    for place, (a, b) in enumerate(zip(lefts, rights, strict=True)):
        name = names[place] if names else f"tensor {place}"
        assert a.shape == b.shape, f"{name}: {tuple(a.shape)} beside {tuple(b.shape)}"
        assert a.dtype == b.dtype, f"{name}: {a.dtype} beside {b.dtype}"
        assert error(a, b) <= tolerance, f"{name}: {error(a, b):.1e}"


def assert_as_exact_as_rounding(ours, exact, best):
    """Assert bfloat16 results within twice the error that rounding inputs and outputs makes.

    Args:
        ours: what was computed from rounded inputs.
        exact: the same from inputs that were not rounded, in float64.
        best: the same from the rounded inputs, in float64: what remains when the inputs and the
            result are rounded, and nothing else.
    """
    for place, (x, y, z) in enumerate(zip(ours, exact, best, strict=True)):
        assert error(x, y) <= 2 * error(z.to(x.dtype), y) + 1e-6, f"tensor {place}"


def assert_fresh(form, arguments):
    """Assert that a form changes no argument, and that its results share no memory."""
    given = [x for x in arguments if x is not None]
    before = [x.clone() for x in given]
    made = flat(form(*arguments))
    assert all(torch.equal(a, b) for a, b in zip(given, before, strict=True))
    owners = {x.untyped_storage().data_ptr() for x in given if x.numel()}
    for y in made:
        assert not y.numel() or y.untyped_storage().data_ptr() not in owners
        assert y.untyped_storage().nbytes() == y.numel() * y.element_size()


def assert_bit_equal_at_any_number_of_threads(run):
    """Assert that `run()`, a list of tensors, is the same to the bit at 1, 2 and 3 threads."""
    before = torch.get_num_threads()
    try:
        runs = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            runs.append(run())
    finally:
        torch.set_num_threads(before)
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, runs[0], strict=True))


def assert_transforms_agree(form, reference, tensors, marks=()):
    """Assert that jvp, vmap, grad and dual numbers through the table are those of the definition.

    Forms take the tensors and then the marks, by position; axis 0 of all is the batch.
    """
    tensors = tuple(x.detach() for x in tensors)
    tangents = tuple(torch.randn_like(x) for x in tensors)

    def through(form):
        def f(*tensors):
            return tuple(flat(form(*tensors, *marks)))

        def row(*everything):
            return tuple(flat(form(*(x[None] for x in everything))))

        def total(*tensors):
            return sum(y.abs().square().sum() for y in f(*tensors))

        pushed = torch.func.jvp(f, tensors, tangents)[1]
        mapped = torch.func.vmap(row)(*tensors, *marks)
        pulled = torch.func.grad(total, argnums=tuple(range(len(tensors))))(*tensors)
        with torch.autograd.forward_ad.dual_level():
            pairs = zip(tensors, tangents, strict=True)
            duals = [torch.autograd.forward_ad.make_dual(*pair) for pair in pairs]
            dual = [torch.autograd.forward_ad.unpack_dual(y).tangent for y in f(*duals)]
        return *pushed, *mapped, *pulled, *dual

    for a, b in zip(through(form), through(reference), strict=True):
        assert error(a, b) < 1e-9
