"""Every backend of the matrix scan against its definition, and what the kernels promise besides."""

import inspect
from functools import partial

import pytest
import torch

from statewise import backends
from statewise.ops import matrix_scan as package
from statewise.ops.matrix_scan import by_halving, matrix_scan, matrix_scan_step, native, reference
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
    assert_transforms_agree,
    assert_writes_every_number,
    error,
    marks,
    needs_core,
    with_gradients,
)
from tests.ops.compiling import HOW, assert_compiles

FORMS = agreement.forms(native.matrix_scan, by_halving)
KINDS = {"each": (3, 7), "shared": (1, 1), "by row": (3, 1), "by time": (1, 7)}
NAMES = ("output", "final", "grad_transition", "grad_drive", "grad_initial")


def example(time=7, blocks=3, n=2, kind="each", dtype=torch.float64, batch=3, masks=()):
    """Return (transition, drive, initial) and masks; transitions are orthogonal but for a scale.

    Scales of -1, 0 and 1 are among them: the state neither grows nor vanishes.
    """
    g = torch.Generator().manual_seed(0)
    rows, times = KINDS[kind]
    shape = (batch if rows == 3 else 1, time if times == 7 else 1, blocks)
    square = torch.randn(*shape, n, n, generator=g, dtype=torch.float64)
    scale = torch.rand(*shape, 1, 1, generator=g, dtype=torch.float64) * 2 - 1
    edges = torch.randint(0, 12, scale.shape, generator=g)
    for edge, value in enumerate((-1.0, 0.0, 1.0)):
        scale = torch.where(edges == edge, value, scale)
    transition = (torch.linalg.qr(square)[0] * scale).contiguous()
    drive = torch.randn(batch, time, blocks, n, generator=g, dtype=torch.float64)
    initial = torch.randn(batch, blocks, n, generator=g, dtype=torch.float64)
    wide = torch.promote_types(dtype, torch.float32)
    tensors = [transition.to(dtype), drive.to(dtype), initial.to(wide)]
    named = marks(g, batch, time, masks)
    if "lengths" in named:
        named["lengths"] = named["lengths"].repeat(3)[:batch]
    return [x.requires_grad_() for x in tensors], named


def positional(form, **masks):
    """Return the form as a function of (transition, drive, initial), and maybe of masks behind."""

    def f(transition, drive, initial, *rest):
        named = dict(zip(BOTH, rest, strict=False))
        return form(transition, drive, initial=initial, **named, **masks)

    return f


def results(form, tensors, masks, rounded=None):
    return with_gradients(positional(form, **masks), tensors, rounded)


assert_agrees = partial(
    assert_agrees_with_definition, results, definition=reference.matrix_scan, example=example
)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("masks", MASKS, ids="+".join)
@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("form", FORMS)
def test_agrees_at_every_length(form, time, masks, dtype):
    assert_agrees(form, time=time, masks=masks, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 17, 40])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_agrees_for_every_size_and_way_to_share(form, kind, n, dtype):
    # The error of rounding is a figure of many numbers; of a few it may be small by luck.
    blocks = 11 if dtype == torch.bfloat16 else 3
    for masks in MASKS[::3]:
        assert_agrees(form, n=n, kind=kind, masks=masks, dtype=dtype, blocks=blocks)


@pytest.mark.parametrize("kind", ["each", "shared"])
@pytest.mark.parametrize(("n", "blocks"), [(2, 37), (3, 300), (4, 21), (8, 5), (6, 3)])
def test_agrees_for_many_blocks(n, blocks, kind):
    form = FORMS[backends.core is None].values[0]
    for dtype in DTYPES:
        options = {"blocks": blocks, "kind": kind, "masks": BOTH, "dtype": dtype}
        assert_agrees(form, n=n, time=5, **options)


@needs_core
@pytest.mark.parametrize("n", [4, 20])
def test_shared_transition_over_many_rows(n):
    """Rows go in groups, and the sums over time in chunks."""
    for batch in (4, 9):
        options = {"kind": "shared", "masks": BOTH, "dtype": torch.float32}
        assert_agrees(native.matrix_scan, n=n, batch=batch, time=70, **options)


@pytest.mark.parametrize("kind", ["each", "shared"])
@pytest.mark.parametrize("form", FORMS)
def test_agrees_without_rows(form, kind):
    tensors, masks = example(batch=0, kind=kind, masks=BOTH)
    assert_agree(results(form, tensors, masks), results(reference.matrix_scan, tensors, masks), 0)


@needs_core
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("level", LEVELS)
def test_every_level(core, level, dtype):
    core.set_level(level)
    for n in (2, 3, 4, 8, 20):
        for kind in KINDS:
            options = {"kind": kind, "masks": BOTH, "dtype": dtype, "blocks": 11}
            assert_agrees(native.matrix_scan, n=n, time=5, **options)


@needs_core
@pytest.mark.parametrize("kind", ["each", "shared"])
@pytest.mark.parametrize(("n", "blocks"), [(2, 500), (3, 200), (4, 150), (8, 40), (30, 2)])
def test_bit_equal_at_any_number_of_threads(n, blocks, kind):
    options = {"kind": kind, "masks": BOTH, "dtype": torch.float32}
    tensors, masks = example(time=70, n=n, blocks=blocks, batch=9, **options)
    assert_bit_equal_at_any_number_of_threads(lambda: results(native.matrix_scan, tensors, masks))


@needs_core
@pytest.mark.parametrize("n", [2, 3, 4, 8, 11])
@pytest.mark.parametrize("kind", ["each", "shared"])
def test_writes_every_number(n, kind):
    """Memory that came as NaN leaves without one."""
    tensors, masks = example(time=9, n=n, kind=kind, masks=BOTH, blocks=21)
    assert_writes_every_number(lambda: results(native.matrix_scan, tensors, masks))
    transition, drive, h = (x.detach() for x in tensors)
    transition = transition[0, 0] if kind == "shared" else transition[:, 0]
    assert_writes_every_number(lambda: [matrix_scan_step(transition, drive[:, 0], h)])


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("form", FORMS)
def test_padding_may_hold_nan(form, n):
    tensors, masks = example(n=n, masks=BOTH)
    assert_padding_may_hold_nan(partial(results, form), tensors, (0, 1), masks)


@pytest.mark.parametrize("kind", ["each", "shared"])
@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("form", FORMS)
def test_reset_heals_a_nan_state(form, n, kind):
    tensors, _ = example(n=n, kind=kind)
    reset = torch.zeros(3, 7, dtype=torch.bool)
    assert_a_reset_heals(partial(results, form), tensors, (2,), reset)
    # In the middle too, where the NaN came from an input.
    drive = tensors[1].detach().clone()
    drive[:, 2] = torch.nan
    reset[:, 4] = True
    output, final = form(tensors[0], drive, initial=tensors[2], reset=reset)
    assert output[:, 4:].isfinite().all()
    assert final.isfinite().all()


@needs_core
@pytest.mark.parametrize("n", [2, 3, 4, 8, 5])
def test_a_nan_stays_in_its_row_and_block(n):
    (transition, drive, initial), _ = example(n=n, blocks=9)
    drive = drive.detach().clone()
    drive[1, 2, 4] = torch.nan
    output, _ = native.matrix_scan(transition.detach(), drive, initial=initial.detach())
    ill = torch.zeros(3, 7, 9, n, dtype=torch.bool)
    ill[1, 2:, 4] = True
    assert torch.equal(output.isnan(), ill)


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("form", FORMS)
def test_reads_strided_and_expanded_inputs(form, n):
    """Slices of a projection, one transition expanded to all times, transposed ones, time first."""
    g = torch.Generator().manual_seed(0)
    base = torch.rand(4, 6, 3, n, 3 * n, generator=g, dtype=torch.float64) - 0.5
    transitions = [
        base[..., :n],
        base[..., n : 2 * n].mT,
        base[:1, :1, ..., :n].expand(4, 6, -1, -1, -1),
        base[:, :1, ..., :n].expand(-1, 6, -1, -1, -1),
        base[:1, :, ..., :n].transpose(0, 1)[:4].expand(4, 6, -1, -1, -1),
        base[:1, :1, ..., ::3],
    ]
    drives = [base[..., 0], base[..., 0, :n], base[:1, ..., 1].expand(4, -1, -1, -1)]
    masks = {"reset": (base[:, :, 0, 0, 0] < -0.3).T.contiguous().T}
    masks["lengths"] = torch.tensor([6, 1, 0, 3], dtype=torch.int32)
    for transition in transitions:
        for drive in drives:
            given = [x.detach().requires_grad_() for x in (transition, drive, base[:, 0, ..., 2])]
            dense = [x.detach().clone().requires_grad_() for x in given]
            expected = results(reference.matrix_scan, dense, masks)
            assert_agree(results(form, given, masks), expected, 1e-9, NAMES)


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_shared_or_changed(form):
    for time in (0, 1, 7):
        tensors, masks = example(time=time, masks=BOTH)
        arguments = [x.detach() for x in tensors] + list(masks.values())
        assert_fresh(positional(form), arguments)


@pytest.mark.parametrize("masks", MASKS[::3], ids="+".join)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_gradcheck(form, kind, masks):
    tensors, masks = example(time=7 if kind == "by time" else 3, blocks=2, kind=kind, masks=masks)
    f = positional(form, **masks)
    assert torch.autograd.gradcheck(f, tensors, fast_mode=True)
    assert torch.autograd.gradgradcheck(f, tensors, fast_mode=True)


@pytest.mark.parametrize("which", [0, 1], ids=["output", "final"])
@pytest.mark.parametrize("form", FORMS)
def test_gradients_of_one_result_alone(form, which):
    """Also: the expanded gradient that a sum sends back."""
    tensors, masks = example(masks=BOTH)
    ours, definition = (positional(f, **masks) for f in (form, reference.matrix_scan))
    assert_gradients_of_one_result_agree(ours, definition, tensors, which)


@pytest.mark.parametrize("n", [2, 3, 4, 8, 11])
@pytest.mark.parametrize("kind", ["each", "shared"])
@pytest.mark.parametrize("form", FORMS)
def test_denormals_agree(form, kind, n):
    tensors, masks = example(n=n, kind=kind, masks=BOTH)
    ours, definition = (positional(f, **masks) for f in (form, reference.matrix_scan))
    assert_denormals_agree(ours, definition, tensors, (1, 2))


def test_transforms_are_right_through_the_table():
    tensors, masks = example(masks=BOTH)
    through = (positional(f) for f in (matrix_scan, reference.matrix_scan))
    assert_transforms_agree(*through, tensors, list(masks.values()))


@needs_core
@pytest.mark.parametrize("masks", MASKS[::3], ids="+".join)
@pytest.mark.parametrize("kind", ["each", "shared"])
def test_custom_ops_are_registered_rightly(kind, masks):
    tensors, masks = example(kind=kind, masks=masks)
    assert_registered_rightly(native._scan, (*tensors, masks.get("reset"), masks.get("lengths")), 2)


@pytest.mark.parametrize("how", HOW)
def test_compiles(how):
    assert_compiles("matrix_scan", how)


def test_equals_torch_linear_algebra():
    """One dense block, and the same constant matrix: h_t = sum_s A^(t-s) b_s."""
    (transition, drive, initial), _ = example(n=6, blocks=1, kind="shared")
    a = transition[0, 0]
    output, final = matrix_scan(a, drive, initial=initial)
    powers = torch.stack([torch.linalg.matrix_power(a[0], t) for t in range(8)])
    for t in range(7):
        expected = initial[:, 0] @ powers[t + 1].T
        expected = expected + sum(drive[:, s, 0] @ powers[t - s].T for s in range(t + 1))
        assert error(output[:, t, 0], expected) < 1e-12
    dense, _ = matrix_scan(a.expand(3, 7, 6, 6), drive, initial=initial)
    assert error(dense, output) < 1e-12
    assert error(final, output[:, -1]) < 1e-12


def test_rotations_equal_complex_products():
    g = torch.Generator().manual_seed(0)
    angle = torch.randn(2, 40, 5, generator=g, dtype=torch.float64)
    drive = torch.randn(2, 40, 5, 2, generator=g, dtype=torch.float64)
    cos, sin = angle.cos(), angle.sin()
    rotation = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    output, _ = matrix_scan(rotation, drive)
    h = torch.zeros(2, 5, dtype=torch.complex128)
    for t in range(40):
        h = torch.polar(torch.ones_like(angle[:, t]), angle[:, t]) * h
        h = h + torch.view_as_complex(drive[:, t])
        assert error(torch.view_as_complex(output[:, t]), h) < 1e-12


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("n", [2, 3, 4, 8, 12])
@pytest.mark.parametrize("kind", ["each", "shared"])
def test_step_is_one_time_of_the_scan(kind, n, grad):
    tensors, _ = example(kind=kind, n=n)
    transition, drive, h = (x.detach() for x in tensors)
    drive.requires_grad_(grad)
    output, final = matrix_scan(transition, drive, initial=h)
    for t in range(7):
        a = transition[0, 0] if kind == "shared" else transition[:, t]
        h = matrix_scan_step(a, drive[:, t], h)
        assert h.requires_grad == grad
        assert error(h, output[:, t]) < 1e-12
    assert error(h, final) < 1e-12


def test_step_keeps_the_dtype_of_its_state():
    (transition, drive, h), _ = example(dtype=torch.bfloat16)
    after = matrix_scan_step(transition[:, 0].detach(), drive[:, 0].detach(), h.detach())
    assert after.dtype == torch.float32
    wide = (transition[:, 0].double() @ h.double()[..., None])[..., 0] + drive[:, 0]
    assert error(after, wide) < 1e-6


def test_wider_state_widens_the_work():
    (transition, drive, initial), _ = example(time=63, dtype=torch.float32)
    output, final = matrix_scan(transition, drive, initial=initial.double())
    wide = [x.double() for x in (transition, drive, initial)]
    expected, end = reference.matrix_scan(*wide[:2], initial=wide[2])
    assert (output.dtype, final.dtype) == (torch.float32, torch.float64)
    assert error(final, end) < 1e-12
    assert error(output, expected) < 1e-6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transition": torch.ones(3, 7, 5, 2, 3)}, r"transition \(3, 7, 5, 2, 3\) should be"),
        ({"transition": torch.ones(2, 7, 5, 2, 2)}, r"transition \(2, 7, 5, 2, 2\) should be"),
        ({"transition": torch.ones(3, 7, 2, 2)}, r"to fit drive \(3, 7, 5, 2\)"),
        ({"drive": torch.ones(3, 7, 10)}, r"drive \(3, 7, 10\) should be"),
        ({"initial": torch.ones(3, 10)}, r"initial \(3, 10\) should be .* \(3, 5, 2\)"),
        ({"reset": torch.ones(3, 7)}, r"reset \(3, 7\) of torch.float32 should be boolean"),
        ({"lengths": torch.ones(2).long()}, r"lengths \(2,\)"),
    ],
)
def test_errors_name_the_argument_and_its_shape(change, message):
    good = {"transition": torch.ones(3, 7, 5, 2, 2), "drive": torch.ones(3, 7, 5, 2)}
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(matrix_scan)(**good | change)  # past the hook that checks shapes in tests


def test_step_errors_name_the_shapes():
    unchecked = inspect.unwrap(matrix_scan_step)
    with pytest.raises(ValueError, match=r"transition \(3, 5, 2\)"):
        unchecked(torch.ones(3, 5, 2), torch.ones(3, 5, 2), torch.ones(3, 5, 2))


@needs_core
def test_kernels_refuse_what_they_cannot_address(core):
    a, x, h = torch.ones(2, 3, 4, 5, 5), torch.ones(2, 3, 4, 5), torch.ones(2, 4, 5)
    good = {"transition": a, "drive": x, "initial": h, "reset": None, "lengths": None}
    good |= {"output": x.clone(), "final": h.clone()}
    bad = [
        ({"drive": x[0]}, r"drive of shape \(3, 4, 5\) should be \(batch, time, blocks, n\)"),
        ({"drive": x.half()}, "drive .* should be float32, float64 or bfloat16"),
        ({"drive": x.transpose(2, 3).contiguous().transpose(2, 3)}, "drive .* contiguous"),
        ({"transition": a.double()}, "transition .* of the same type"),
        ({"transition": a[:, :2]}, r"transition of shape \(2, 2, 4, 5, 5\)"),
        ({"transition": a.mT.contiguous().mT}, "transition .* contiguous"),
        ({"initial": h.double()}, "initial .* float32"),
        ({"final": torch.ones(2, 5, 4).mT}, "final .* contiguous"),
        ({"output": x[:1].expand(2, 3, 4, 5)}, "output .* contiguous"),
        ({"reset": torch.ones(2, 3)}, "reset .* boolean"),
        ({"lengths": torch.ones(2, dtype=torch.int32)}, "lengths .* int64"),
    ]
    assert_refused(core.matrix_scan, good, bad)
    given = (a[:1], x, h, None, None, x, h, a[:1].clone(), x.clone(), h.clone())
    with pytest.raises(ValueError, match="every row or of one time"):
        backends.run(core.matrix_scan_backward, *given)
    with pytest.raises(ValueError, match=r"transition .* contiguous"):
        backends.run(core.matrix_scan_step, a[:, 0].mT, x[:, 0].contiguous(), h, h.clone())


def test_table_names_every_form():
    assert [row.backend for row in package.TABLE] == ["native", "torch", "reference"]


def test_a_step_of_a_narrow_state_is_computed_in_torch():
    """No kernel reads a state in bfloat16; a step answers in the dtype of its h."""
    transition, drive = torch.eye(4).expand(2, 4, 4), torch.ones(1, 2, 4)
    after = matrix_scan_step(transition, drive, torch.ones(1, 2, 4, dtype=torch.bfloat16))
    assert after.dtype == torch.bfloat16
    assert torch.equal(after, torch.full_like(after, 2))
