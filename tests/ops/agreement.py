"""What the tests of every op share: errors by relative norm, and what is asserted of all ops."""

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from statewise import backends

needs_core = pytest.mark.skipif(backends.core is None, reason=f"no core: {backends.core_missing}")
BOTH = ("reset", "lengths")
MASKS = [(), ("reset",), ("lengths",), BOTH]
DTYPES = [torch.float64, torch.float32, torch.bfloat16]
TIMES = [0, 1, 2, 3, 63, 100, pytest.param(1000, marks=pytest.mark.long)]
LEVELS = backends.core.about()["levels"].split(", ") if backends.core else []
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}


def forms(native, parallel):
    """Return the two forms that every op has beside its definition, as parameters."""
    return [
        pytest.param(native, id="native", marks=needs_core),
        pytest.param(parallel, id="torch"),
    ]


def marks(g, batch, time, names=BOTH):
    """Return those asked for of a random reset and lengths, the whole and none among them."""
    named = {
        "reset": torch.rand(batch, time, generator=g) < 0.2,
        "lengths": torch.tensor([time, 0, time // 2, 1])[:batch].clamp(max=time),
    }
    return {name: named[name] for name in names}


def beyond(lengths, time):
    """Return which times are padding, (batch, time)."""
    return torch.arange(time) >= lengths[:, None]


def leaf(x):
    """Return x as a leaf of its own that wants a gradient; None remains None."""
    return None if x is None else x.detach().requires_grad_()


def spoiled(x, times):
    """Return x with NaN at some times, (batch, time), as a leaf that wants a gradient."""
    if x is None:
        return None
    return leaf(torch.where(times.view(*times.shape, *[1] * (x.ndim - 2)), torch.nan, x.detach()))


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
    wide = [torch.promote_types(y.dtype, torch.float64) for y in made]
    weights = [
        torch.randn(y.shape, generator=g, dtype=dtype) for y, dtype in zip(made, wide, strict=True)
    ]
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
    a, b = a.detach(), b.detach()
    if a.is_complex() or b.is_complex():
        a, b = (torch.view_as_real(x.to(torch.complex128).resolve_conj()) for x in (a, b))
    a, b = a.double(), b.double()
    if not b.count_nonzero():
        return float(a.norm())
    # In units of the largest: the squares of denormal numbers are zeros.
    unit = b.abs().max()
    return float(((a - b) / unit).norm() / (b / unit).norm())


def assert_agree(lefts, rights, tolerance, names=None):
    """Assert that tensors agree one by one, by relative norm, in shape and in dtype."""
    for place, (a, b) in enumerate(zip(lefts, rights, strict=True)):
        name = names[place] if names else f"tensor {place}"
        assert a.shape == b.shape, f"{name}: {tuple(a.shape)} beside {tuple(b.shape)}"
        assert a.dtype == b.dtype, f"{name}: {a.dtype} beside {b.dtype}"
        assert error(a, b) <= tolerance, f"{name}: {error(a, b):.1e}"


def assert_equal(lefts, rights):
    """Assert that tensors are the same to the bit."""
    for place, (a, b) in enumerate(zip(lefts, rights, strict=True)):
        assert torch.equal(a, b), f"tensor {place}"


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


def assert_agrees_with_definition(results, form, definition, example, wide=False, **options):
    """Assert that a form agrees with the definition on an example, every gradient included.

    Args:
        results: `results(form, tensors, masks, rounded)` is `with_gradients` of that form.
        form: what is tested.
        definition: what it is compared with. Its answers are remembered, for forms and levels are
            many.
        example: `example(**options)` returns tensors and masks, for a `dtype` among the options.
        wide: compare float32 with the definition in float64, where in float32 it errs as much.
    """
    dtype = options.setdefault("dtype", torch.float64)
    ours = results(form, *example(**options))
    defined = functools.partial(_defined, results, definition, example, **options)
    if dtype == torch.bfloat16:
        exact = _defined(results, definition, example, **options | {"dtype": torch.float64})
        assert_as_exact_as_rounding(ours, exact, defined(wide=True, rounded=dtype))
    elif wide and dtype != torch.float64:
        assert all(x.dtype == dtype for x in ours)
        expected = [x.to(dtype) for x in defined(wide=True)]
        assert_agree(ours, expected, TOLERANCE[dtype])
    else:
        assert_agree(ours, defined(), TOLERANCE[dtype])


@functools.cache
def _defined(results, definition, example, wide=False, rounded=None, **options):
    tensors, masks = example(**options)
    if wide:
        tensors = [None if x is None else leaf(x.double()) for x in tensors]
    return results(definition, tensors, masks, rounded)


def assert_padding_may_hold_nan(run, tensors, timed, masks, same=assert_equal):
    """Assert that NaN and resets in the padding change nothing.

    Args:
        run: `run(tensors, masks)` returns results and gradients.
        tensors: arguments of it.
        timed: the places of those that have times, axis 1.
        masks: reset and lengths.
        same: what compares two lists of tensors.
    """
    padding = beyond(masks["lengths"], masks["reset"].shape[1])
    given = [spoiled(x, padding) if place in timed else x for place, x in enumerate(tensors)]
    noisy = masks | {"reset": masks["reset"] | padding}
    same(run(given, noisy), run(tensors, masks))


def assert_a_reset_heals(run, tensors, states, reset, same=assert_equal):
    """Assert that a reset at the first time forgets a state of NaN, in every gradient too.

    Args:
        run: `run(tensors, masks)` returns results and gradients.
        tensors: arguments of it.
        states: the places of the initial states among them.
        reset: (batch, time), of any values.
        same: what compares two lists of tensors.
    """
    first = torch.zeros_like(reset)
    first[:, 0] = True
    ill = [
        leaf(torch.full_like(x, torch.nan)) if place in states else x
        for place, x in enumerate(tensors)
    ]
    same(run(ill, {"reset": first}), run(tensors, {"reset": first}))


def assert_gradients_of_one_result_agree(form, definition, tensors, which):
    """Assert right gradients where only one result is used, and its gradient comes expanded."""
    wanted = [x for x in tensors if x is not None]
    grads = [
        torch.autograd.grad(
            flat(f(*tensors))[which].sum(), wanted, materialize_grads=True, allow_unused=True
        )
        for f in (form, definition)
    ]
    assert_agree(*grads, 1e-9)


def assert_checkpoints(form, tensors):
    """Assert the same gradients where the backward pass computes the forward pass again."""

    def recomputed(*tensors):
        return checkpoint(form, *tensors, use_reentrant=False)

    assert_equal(with_gradients(recomputed, tensors), with_gradients(form, tensors))


def assert_denormals_agree(form, definition, tensors, tiny):
    """Assert that the arguments at places `tiny` may be denormal: nothing is flushed to zero.

    Such numbers have fewer digits: 36 bits in float64, 17 in float32.
    """
    for dtype, size, tolerance in (
        (torch.float64, 2.0**-1038, 1e-9),
        (torch.float32, 2.0**-132, 1e-4),
    ):
        given = [
            None if x is None else leaf(x.detach() * (size if place in tiny else 1))
            for place, x in enumerate(tensors)
        ]
        given = [
            None if x is None else leaf(x.to(dtype.to_complex() if x.is_complex() else dtype))
            for x in given
        ]
        ours, theirs = (with_gradients(f, given) for f in (form, definition))
        results = len(flat(definition(*given)))
        smallest = torch.finfo(dtype).tiny
        assert any(0 < x.abs().max() < smallest for x in theirs[:results]), "results are denormal"
        assert_agree(ours, theirs, tolerance)


@contextmanager
def poisoned_memory() -> Iterator[list[torch.Tensor]]:
    """Hand kernels fresh memory full of NaN, or of odd whole numbers; give a list of what was."""
    taken = []

    def poisoning(make):
        def poisoned(*given, **options):
            x = make(*given, **options)
            taken.append(x)
            return x.fill_(torch.nan if x.is_floating_point() or x.is_complex() else 77)

        return poisoned

    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            for make in (torch.empty, torch.empty_like):
                if name.startswith("statewise.ops.") and hasattr(module, make.__name__):
                    patch.setattr(module, make.__name__, poisoning(make))
        yield taken


def assert_writes_every_number(run):
    """Assert that `run()`, a list of tensors, is the same where fresh memory comes as NaN."""
    clean = run()
    with poisoned_memory() as taken:
        found = run()
    assert any(x.numel() for x in taken), "the kernels took their memory elsewhere"
    assert_equal(found, clean)


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
        assert_equal(other, runs[0])


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


def assert_registered_rightly(op, inputs, results):
    """Assert what torch asks of a native op and of its derivative.

    Args:
        op: a NativeOp.
        inputs: its arguments, by position.
        results: how many of its outputs are results.
    """
    torch.library.opcheck(op.operator, tuple(inputs))
    plain = tuple(x.detach() if isinstance(x, torch.Tensor) else x for x in inputs)
    outputs = op.operator(*plain)
    outputs = (outputs,) if isinstance(outputs, torch.Tensor) else outputs
    torch.library.opcheck(op.derivative, (*outputs, *outputs[:results], *plain))


def assert_refused(kernel, good, bad):
    """Assert that a kernel refuses each change of its arguments, by name, in words."""
    for change, message in bad:
        with pytest.raises(ValueError, match=message):
            backends.run(kernel, *(good | change).values())
