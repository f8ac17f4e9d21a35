"""Every backend of the scan against its definition, and what the native kernels promise besides."""

import functools
import inspect
import itertools

import pytest
import torch

from statewise import backends
from statewise.ops import scan as package
from statewise.ops.scan import native, reference, scan, scan_step
from statewise.ops.scan.torch import scan as parallel_scan
from tests.ops import agreement
from tests.ops.agreement import (
    BOTH,
    DTYPES,
    LEVELS,
    MASKS,
    TIMES,
    assert_a_reset_heals,
    assert_agree,
    assert_agrees_with_definition,
    assert_bit_equal_at_any_number_of_threads,
    assert_denormals_agree,
    assert_fresh,
    assert_gradients_of_one_result_agree,
    assert_padding_may_hold_nan,
    assert_refused,
    assert_registered_rightly,
    assert_writes_every_number,
    error,
    marks,
    needs_core,
    with_gradients,
)
from tests.ops.compiling import HOW, assert_compiles

FORMS = agreement.forms(native.scan, parallel_scan)
KINDS = ["real", "complex", "constant", "constant complex"]


def example(time=7, dim=5, masks=(), dtype=torch.float64, batch=3, seed=0, kind="real"):
    """Return (decay, drive, initial) and the masks asked for; decays at -1, 0 and 1 among them.

    The complex kinds are of the precision asked for; of a constant decay there is one row.
    """
    g = torch.Generator().manual_seed(seed)
    shape = (dim,) if "constant" in kind else (batch, time, dim)
    decay = torch.rand(shape, generator=g, dtype=torch.float64) * 2 - 1
    edges = torch.randint(0, 12, decay.shape, generator=g)
    for edge, value in enumerate((-1.0, 0.0, 1.0)):
        decay = torch.where(edges == edge, value, decay)
    drive = torch.randn(batch, time, dim, generator=g, dtype=torch.float64)
    initial = torch.randn(batch, dim, generator=g, dtype=torch.float64)
    wide = torch.promote_types(dtype, torch.float32)
    tensors = [decay.to(wide if "constant" in kind else dtype), drive.to(dtype), initial.to(wide)]
    if "complex" in kind:
        turned = torch.polar(torch.ones_like(decay), torch.rand(shape, generator=g).double() * 6)
        others = [torch.randn(x.shape, generator=g, dtype=torch.float64) for x in (drive, initial)]
        pairs = [decay * turned, torch.complex(drive, others[0]), torch.complex(initial, others[1])]
        tensors = [x.to(wide.to_complex()) for x in pairs]
    return [x.requires_grad_() for x in tensors], marks(g, batch, time, masks)


def positional(form, **masks):
    """Return the form as a function of (decay, drive, initial)."""
    return lambda decay, drive, initial: form(decay, drive, initial=initial, **masks)


def results(form, tensors, masks, rounded=None):
    return with_gradients(positional(form, **masks), tensors, rounded)


assert_agrees_with_reference = functools.partial(
    assert_agrees_with_definition, results, definition=reference.scan, example=example
)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("masks", MASKS, ids="+".join)
@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("form", FORMS)
def test_agrees_at_every_length(form, time, masks, dtype):
    assert_agrees_with_reference(form, time=time, masks=masks, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("masks", MASKS, ids="+".join)
@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("form", FORMS)
def test_complex_and_constant_decays_agree(form, kind, time, masks, dtype):
    assert_agrees_with_reference(form, time=time, masks=masks, dtype=dtype, kind=kind)


@pytest.mark.parametrize("form", FORMS)
def test_a_constant_decay_stays_wide_beside_bfloat16(form):
    tensors, _ = example(63, masks=("reset",), dtype=torch.bfloat16, kind="constant")
    assert tensors[0].dtype == torch.float32
    assert_agrees_with_reference(
        form, time=63, masks=("reset",), dtype=torch.bfloat16, kind="constant"
    )


@pytest.mark.parametrize("kind", KINDS[2:])
def test_a_constant_decay_equals_one_repeated(kind):
    """Gradient included, through many rows and times."""
    (decay, drive, initial), masks = example(100, 17, BOTH, batch=4, kind=kind)
    found = []
    for a in (decay, decay.expand(drive.shape)):
        output, final = scan(a, drive, initial=initial, **masks)
        loss = output.abs().square().sum() + final.abs().sum()
        found.append([output, final, *torch.autograd.grad(loss, (decay, drive, initial))])
    assert_agree(*found, 1e-12)


@pytest.mark.parametrize(
    ("decay", "drive", "initial", "output", "final"),
    [
        ("float32", "float32", "complex64", "complex64", "complex64"),
        ("complex64", "float32", None, "complex64", "complex64"),
        ("complex64", "bfloat16", "float32", "complex64", "complex64"),
        ("float64", "complex64", None, "complex64", "complex128"),
        ("complex128", "float32", "complex64", "complex64", "complex128"),
        ("float32", "bfloat16", None, "bfloat16", "float32"),
        ("float64", "bfloat16", None, "bfloat16", "float64"),
    ],
)
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("name", ["native", "torch"] if backends.core else ["torch"])
def test_mixed_dtypes(name, constant, decay, drive, initial, output, final):
    kind = "constant complex" if constant else "complex"
    (a, b, h), _ = example(dtype=torch.float64, kind=kind)

    def given(x, dtype):
        if dtype is None:
            return None
        dtype = getattr(torch, dtype)
        return (x if dtype.is_complex else x.real).detach().to(dtype).requires_grad_()

    tensors = given(a, decay), given(b, drive), given(h, initial)
    wide = [None if x is None else x.detach().to(torch.complex128) for x in tensors]
    start = torch.zeros_like(h) if initial is None else wide[2]
    exact = reference.scan(wide[0], wide[1], initial=start)
    with backends.use(name):
        y, end = scan(tensors[0], tensors[1], initial=tensors[2])
    assert (y.dtype, end.dtype) == (getattr(torch, output), getattr(torch, final))
    assert error(y, exact[0]) < (1e-2 if output == "bfloat16" else 1e-6)
    assert error(end, exact[1]) < (1e-12 if final in ("float64", "complex128") else 1e-6)
    (y.abs().square().sum() + end.abs().square().sum()).backward()
    for x in tensors:
        assert x is None or x.grad.dtype == x.dtype


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("dim", [1, 3, 17, 64, 1030])
@pytest.mark.parametrize("form", FORMS)
def test_agrees_at_every_dim(form, dim, dtype):
    assert_agrees_with_reference(form, dim=dim, masks=BOTH, dtype=dtype)


@pytest.mark.parametrize("form", FORMS)
def test_agrees_without_rows(form):
    tensors, masks = example(batch=0, masks=BOTH)
    assert_agree(results(form, tensors, masks), results(reference.scan, tensors, masks), 0)


@needs_core
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("cache", [0, 2**40], ids=["around the cache", "into the cache"])
@pytest.mark.parametrize("level", LEVELS)
def test_every_level_and_way_to_write(core, level, cache, dtype):
    core.set_level(level)
    core.set_cache(cache)
    kinds = KINDS[::2] if dtype == torch.bfloat16 else KINDS  # there is no complex bfloat16
    for dim, kind in itertools.product((17, 1100), kinds):
        assert_agrees_with_reference(
            native.scan, time=5, dim=dim, masks=BOTH, dtype=dtype, kind=kind
        )


@needs_core
def test_unknown_level_is_refused(core):
    with pytest.raises(ValueError, match=r"no level of instructions avx3; there are portable"):
        core.set_level("avx3")


@needs_core
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [1, 3])
def test_bit_equal_at_any_number_of_threads(core, batch, kind):
    tensors, masks = example(70, 1001, BOTH, torch.float32, batch, kind=kind)
    assert_bit_equal_at_any_number_of_threads(lambda: results(native.scan, tensors, masks))


@needs_core
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cache", [0, 2**40])
@pytest.mark.parametrize("dim", [5, 64, 1030])
def test_writes_every_number(core, dim, cache, kind):
    """Memory that came as NaN leaves without one."""
    core.set_cache(cache)
    tensors, masks = example(time=9, dim=dim, masks=BOTH, kind=kind)
    assert_writes_every_number(lambda: results(native.scan, tensors, masks))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_padding_may_hold_nan(form, kind):
    tensors, masks = example(masks=BOTH, kind=kind)
    timed = (0, 1) if tensors[0].ndim == 3 else (1,)
    assert_padding_may_hold_nan(functools.partial(results, form), tensors, timed, masks)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_reset_heals_a_nan_state(form, kind):
    tensors, _ = example(kind=kind)
    reset = torch.zeros(3, 7, dtype=torch.bool)
    assert_a_reset_heals(functools.partial(results, form), tensors, (2,), reset)
    # In the middle too, where the NaN came from an input.
    drive = tensors[1].detach().clone()
    drive[:, 2] = torch.nan
    reset[:, 4] = True
    output, final = form(tensors[0], drive, initial=tensors[2], reset=reset)
    assert output[:, 2:4].isnan().all()
    assert output[:, 4:].isfinite().all()
    assert final.isfinite().all()


@pytest.mark.parametrize("form", FORMS)
def test_reads_strided_and_expanded_inputs(form):
    """Slices of a projection, a decay shared by all times, time first, a strided last axis."""
    g = torch.Generator().manual_seed(0)
    base = torch.rand(4, 6, 12, generator=g, dtype=torch.float64)
    views = [
        base[..., :5],
        base[..., 5:10],
        base[0, 0, :5].expand(4, 6, 5),
        base[1, :, None, :5].expand(6, 4, 5).transpose(0, 1),
        base.permute(1, 0, 2)[:4, :, :5].transpose(1, 2)[:, :4].transpose(1, 2).new_ones(4, 6, 5),
        base[..., 1:11:2],
        base.transpose(1, 2)[:, :6, :5],
    ]
    initial = base[:, 0, 2:12:2]
    reset = (base[..., 0] < 0.3).T.contiguous().T
    for decay, drive in itertools.product(views, repeat=2):
        given = [x.detach().requires_grad_() for x in (decay, drive, initial)]
        dense = [x.detach().clone().requires_grad_() for x in (decay, drive, initial)]
        masks = {"reset": reset, "lengths": torch.tensor([6, 1, 0, 3, 9])[:4]}
        assert_agree(results(form, given, masks), results(reference.scan, dense, masks), 1e-9)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("which", ["output", "final"])
def test_gradients_of_one_result_alone(form, which):
    """Also: the expanded gradient that a sum sends back."""
    tensors, masks = example(masks=BOTH)
    ours, definition = (positional(f, **masks) for f in (form, reference.scan))
    assert_gradients_of_one_result_agree(
        ours, definition, tensors, ("output", "final").index(which)
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_shared_or_changed(form, kind):
    for time in (0, 1, 7):
        tensors, masks = example(time=time, masks=BOTH, kind=kind)
        with torch.no_grad():
            assert_fresh(
                lambda a, b, h, *rest: form(a, b, initial=h, **dict(zip(BOTH, rest, strict=True))),
                [*(x.detach() for x in tensors), *masks.values()],
            )


@pytest.mark.parametrize("masks", [(), BOTH], ids="+".join)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_gradcheck(form, kind, masks):
    tensors, masks = example(time=4, dim=2, masks=masks, batch=2, kind=kind)
    f = positional(form, **masks)
    assert torch.autograd.gradcheck(f, tensors)
    assert torch.autograd.gradgradcheck(f, tensors)


@pytest.mark.parametrize("masks", [(), BOTH], ids="+".join)
def test_third_derivative_and_batched_gradients(masks):
    tensors, masks = example(time=3, dim=2, masks=masks, batch=2)
    thirds, batched = [], []
    for name in ("native", "reference") if backends.core else ("torch", "reference"):
        with backends.use(name):
            output, final = scan(*tensors[:2], initial=tensors[2], **masks)
        eyes = torch.eye(final.numel(), dtype=final.dtype).view(-1, *final.shape)
        batched.append(torch.autograd.grad(final, tensors, eyes, True, is_grads_batched=True))
        x = (output**3).sum() + (final**2).sum()
        for _ in range(3):
            grads = torch.autograd.grad(x, tensors, create_graph=True)
            x = sum((g**2).sum() for g in grads)
        thirds.append(grads)
    for a, b in zip(thirds[0] + batched[0], thirds[1] + batched[1], strict=True):
        assert error(a, b) < 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_transforms_are_right_through_the_table(kind):
    """Through jvp and vmap a custom op would answer zero or fail; the table must see to it."""
    tensors, masks = example(masks=BOTH, kind=kind)
    tensors = tuple(x.detach() for x in tensors)
    tangents = tuple(torch.randn_like(x) for x in tensors)

    def through(form):
        def f(decay, drive, initial):
            return form(decay, drive, initial=initial, **masks)

        def row(decay, drive, initial, reset, length):
            return form(
                decay if decay.ndim == 1 else decay[None],
                drive[None],
                initial=initial[None],
                reset=reset[None],
                lengths=length[None],
            )

        pushed = torch.func.jvp(f, tensors, tangents)[1]
        axes = (None if tensors[0].ndim == 1 else 0, 0, 0, 0, 0)
        mapped = torch.func.vmap(row, axes)(*tensors, *masks.values())
        loss = torch.func.grad(lambda *x: f(*x)[0].abs().square().sum(), argnums=(0, 1, 2))
        pulled = loss(*tensors)
        with torch.autograd.forward_ad.dual_level():
            duals = [
                torch.autograd.forward_ad.make_dual(*p) for p in zip(tensors, tangents, strict=True)
            ]
            dual = [torch.autograd.forward_ad.unpack_dual(y).tangent for y in f(*duals)]
        return *pushed, *mapped, *pulled, *dual

    for a, b in zip(through(scan), through(reference.scan), strict=True):
        assert error(a, b) < 1e-9


@needs_core
@pytest.mark.parametrize("masks", [(), BOTH], ids="+".join)
@pytest.mark.parametrize("kind", ["real", "constant complex"])
def test_custom_ops_are_registered_rightly(kind, masks):
    tensors, masks = example(masks=masks, kind=kind)
    inputs = (*tensors, masks.get("reset"), masks.get("lengths"))
    assert_registered_rightly(native._scan, inputs, 2)


@pytest.mark.parametrize("how", [*HOW, pytest.param("inductor", marks=pytest.mark.long)])
def test_compiles(how):
    assert_compiles("scan", how)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_denormals_agree(form, kind):
    tensors, masks = example(20, masks=BOTH, kind=kind)
    ours, definition = (positional(f, **masks) for f in (form, reference.scan))
    assert_denormals_agree(ours, definition, tensors, (1, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_step_is_one_time_of_the_scan(kind):
    tensors, _ = example(kind=kind)
    decay, drive, h = (x.detach() for x in tensors)
    output, final = scan(decay, drive, initial=h)
    for t in range(7):
        h = scan_step(decay if decay.ndim == 1 else decay[:, t], drive[:, t], h)
        assert error(h, output[:, t]) < 1e-12
    assert error(h, final) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_sum_over_all_that_was_read(kind):
    """h_t is the sum over s <= t of drive_s times all decays after s; the first drive is h_0."""
    (decay, drive, initial), _ = example(12, kind=kind)
    a, b = decay.expand(drive.shape), torch.cat([initial[:, None], drive], 1)
    weights = [[a[:, s:t].prod(1) for s in range(t + 1)] for t in range(1, 13)]
    expected = [sum(w * b[:, s] for s, w in enumerate(row)) for row in weights]
    output, final = scan(decay, drive, initial=initial)
    assert error(output, torch.stack(expected, 1)) < 1e-12
    assert error(final, expected[-1]) < 1e-12


def test_agrees_with_a_published_parallel_scan():
    """The scan of the package mambapy, which always starts from zeros, and its gradients."""
    pscan = pytest.importorskip("mambapy.pscan").pscan
    (decay, drive, _), _ = example(50, 12)

    def theirs(decay, drive):
        h = pscan(decay[..., None], drive[..., None])[..., 0]
        return h, h[:, -1]

    assert_agree(*(with_gradients(f, (decay, drive)) for f in (scan, theirs)), 1e-9)


def test_wider_state_widens_the_work():
    (decay, drive, initial), _ = example(time=63, dtype=torch.float32)
    output, final = scan(decay, drive, initial=initial.double())
    expected, end = reference.scan(decay.double(), drive.double(), initial=initial.double())
    assert (output.dtype, final.dtype) == (torch.float32, torch.float64)
    assert error(final, end) < 1e-12
    assert error(output, expected) < 1e-6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decay": torch.ones(3, 7, 4)}, r"decay \(3, 7, 4\) and drive \(3, 7, 5\)"),
        ({"decay": torch.ones(7)}, r"decay \(7,\) and drive \(3, 7, 5\)"),
        ({"initial": torch.ones(3, 4)}, r"initial \(3, 4\) should be .* \(3, 5\)"),
        ({"reset": torch.ones(3, 7)}, r"reset \(3, 7\) of torch.float32 should be boolean"),
        ({"reset": torch.ones(3, 6).bool()}, r"reset \(3, 6\)"),
        ({"lengths": torch.ones(3)}, r"lengths \(3,\) of torch.float32 should be integers"),
        ({"lengths": torch.ones(2).long()}, r"lengths \(2,\)"),
    ],
)
def test_errors_name_the_argument_and_its_shape(change, message):
    arguments = {"decay": torch.ones(3, 7, 5), "drive": torch.ones(3, 7, 5)} | change
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(scan)(**arguments)  # past the hook that checks shapes in tests


def test_step_names_the_argument_and_its_shape():
    x = torch.ones(3, 5)
    for wrong in ((x[:2], x, x), (x[0, :4], x, x), (x, x[:, :4], x), (x, x, x[None])):
        with pytest.raises(ValueError, match=r"scan_step: drive \(3, .*\(dim,\)"):
            inspect.unwrap(scan_step)(*wrong)


@needs_core
def test_kernels_refuse_what_they_cannot_address(core):
    x, h = torch.ones(2, 3, 4), torch.ones(2, 4)
    good = {
        "decay": x,
        "drive": x,
        "initial": h,
        "reset": None,
        "lengths": None,
        "output": x.clone(),
        "final": h.clone(),
    }
    bad = [
        ({"drive": x[0]}, r"drive of shape \(3, 4\) should be \(batch, time, dim\)"),
        ({"drive": x.half()}, "drive .* should be float32, float64 or bfloat16"),
        ({"decay": x.double()}, "decay .* of the same type"),
        ({"decay": x[:, :2]}, r"decay of shape \(2, 2, 4\)"),
        ({"decay": x.transpose(1, 2).contiguous().transpose(1, 2)}, "decay .* contiguous"),
        ({"initial": h.double()}, "initial .* precision of the state"),
        ({"final": torch.ones(4, 2).T}, "final .* contiguous"),
        ({"output": x[:1].expand(2, 3, 4)}, "output .* not expanded"),
        ({"reset": torch.ones(2, 3)}, "reset .* boolean"),
        ({"lengths": torch.ones(2, dtype=torch.int32)}, "lengths .* int64"),
        ({"lengths": torch.ones(3, dtype=torch.int64)}, r"lengths of shape \(3,\)"),
    ]
    bad += [
        ({"decay": torch.ones(3)}, r"decay of shape \(3,\) should be a contiguous \(dim,\)"),
        ({"decay": torch.ones(4).double()}, "decay .* precision of the state"),
        ({"decay": torch.ones(8)[::2]}, "decay .* contiguous"),
    ]
    assert_refused(core.scan, good, bad)
    odd = {name: y if y is None else y[..., :3] for name, y in good.items()}
    with pytest.raises(ValueError, match=r"drive .* pairs of float32 or float64"):
        backends.run(core.scan_complex, *odd.values())


def test_table_names_every_form():
    assert [row.backend for row in package.TABLE] == ["native", "torch", "reference"]
