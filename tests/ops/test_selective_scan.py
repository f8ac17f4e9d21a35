"""Every backend of the selective scan against its definition, and what the kernels promise."""

import functools
import inspect

import pytest
import torch
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

from statewise import backends
from statewise.ops import selective_scan as package
from statewise.ops.selective_scan import native, reference, selective_scan, selective_scan_step
from statewise.ops.selective_scan import torch as chunked
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
    assert_equal,
    assert_fresh,
    assert_gradients_of_one_result_agree,
    assert_padding_may_hold_nan,
    assert_refused,
    assert_registered_rightly,
    assert_writes_every_number,
    error,
    leaf,
    marks,
    needs_core,
    with_gradients,
)
from tests.ops.compiling import HOW, assert_compiles

FORMS = agreement.forms(native.selective_scan, chunked.selective_scan)
EXTRAS = ("skip", "gate", "step_bias")
SEQUENCES = ("x", "step_size", "B", "C", "gate")
ORDER = ("x", "step_size", "A", "B", "C", *EXTRAS, "initial")


def example(
    time=7,
    dim=6,
    state=3,
    groups=1,
    masks=(),
    extras=EXTRAS,
    dtype=torch.float64,
    batch=3,
    seed=0,
):
    """Return the tensors in ORDER, absent ones None, and masks; some rates and steps are zero."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=g, dtype=torch.float64)

    tensors = {
        "x": normal(batch, time, dim),
        "step_size": normal(batch, time, dim),
        "A": -normal(dim, state).exp().where(torch.rand(dim, state, generator=g) > 0.1, 0),
        "B": normal(batch, time, groups, state),
        "C": normal(batch, time, groups, state),
        "skip": normal(dim),
        "gate": normal(batch, time, dim),
        "step_bias": normal(dim),
        "initial": normal(batch, dim, state),
    }
    for name in set(EXTRAS) - set(extras):
        del tensors[name]
    if "step_bias" not in extras:
        tensors["step_size"] = tensors["step_size"].clamp(min=0)
    wide = torch.promote_types(dtype, torch.float32)
    tensors = {n: v.to(dtype if n in SEQUENCES else wide) for n, v in tensors.items()}
    return [leaf(tensors.get(name)) for name in ORDER], marks(g, batch, time, masks)


def named(**options):
    """Return the tensors of an example by name, without those that are absent, and the masks."""
    tensors, masks = example(**options)
    return {n: v for n, v in zip(ORDER, tensors, strict=True) if v is not None}, masks


def positional(form, **masks):
    """Return the form as a function of tensors in ORDER, and maybe of masks behind them."""

    def f(*given):
        return form(**dict(zip((*ORDER, *BOTH), given, strict=False)), **masks)

    return f


def results(form, tensors, masks, rounded=None):
    return with_gradients(positional(form, **masks), tensors, rounded)


assert_agrees_with_reference = functools.partial(
    assert_agrees_with_definition,
    results,
    definition=reference.selective_scan,
    example=example,
)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("masks", MASKS, ids="+".join)
@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("form", FORMS)
def test_agrees_at_every_length(form, time, masks, dtype):
    assert_agrees_with_reference(form, time=time, masks=masks, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("dim", "state", "groups"), [(1, 1, 1), (17, 5, 1), (12, 16, 4), (270, 4, 2), (48, 35, 1)]
)
@pytest.mark.parametrize("form", FORMS)
def test_agrees_at_every_size(form, dim, state, groups, dtype):
    masks = BOTH
    assert_agrees_with_reference(
        form, time=66, dim=dim, state=state, groups=groups, masks=masks, dtype=dtype
    )


@pytest.mark.parametrize("extras", [(), ("skip",), ("gate",), ("step_bias",)], ids="+".join)
@pytest.mark.parametrize("form", FORMS)
def test_agrees_without_what_may_be_absent(form, extras):
    for masks in ((), BOTH):
        assert_agrees_with_reference(form, extras=extras, masks=masks)


@pytest.mark.parametrize("form", FORMS)
def test_agrees_without_rows(form):
    tensors, masks = example(batch=0, masks=BOTH)
    assert_agree(
        results(form, tensors, masks), results(reference.selective_scan, tensors, masks), 0
    )


@needs_core
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("level", LEVELS)
def test_every_level(core, level, dtype):
    core.set_level(level)
    for dim, state in ((5, 3), (150, 16)):
        options = {"time": 67, "dim": dim, "state": state, "masks": BOTH}
        assert_agrees_with_reference(native.selective_scan, **options, dtype=dtype)
    tolerance = {torch.float64: 1e-9, torch.float32: 1e-5}.get(dtype, 8e-3)
    for state in (16, 5):
        x, h = step_example(state=state, dtype=dtype)
        a, b = selective_scan_step(*x, h), step_by_scan(x, h)
        assert all(error(*pair) < tolerance for pair in zip(a, b, strict=True))


@needs_core
@pytest.mark.parametrize(("batch", "groups"), [(1, 1), (3, 2)])
def test_bit_equal_at_any_number_of_threads(core, batch, groups):
    tensors, masks = example(
        time=130,
        dim=402,
        state=5,
        groups=groups,
        batch=batch,
        masks=BOTH,
        dtype=torch.float32,
    )
    assert_bit_equal_at_any_number_of_threads(
        lambda: results(native.selective_scan, tensors, masks)
    )


@needs_core
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("dim", [5, 130])
def test_writes_every_number(dim, dtype):
    """Memory that came as NaN leaves without one."""
    tensors, masks = example(time=140, dim=dim, masks=BOTH, dtype=dtype)
    assert_writes_every_number(lambda: results(native.selective_scan, tensors, masks))
    x, h = step_example(dtype=dtype)
    assert_writes_every_number(lambda: selective_scan_step(*x, h))


@pytest.mark.parametrize("form", FORMS)
def test_padding_may_hold_nan(form):
    tensors, masks = example(time=70, masks=BOTH)
    timed = [place for place, name in enumerate(ORDER) if name in SEQUENCES]
    assert_padding_may_hold_nan(functools.partial(results, form), tensors, timed, masks)


@pytest.mark.parametrize("form", FORMS)
def test_reset_heals_a_nan_state(form):
    tensors, _ = example(time=70)
    reset = torch.zeros(3, 70, dtype=torch.bool)
    state = (ORDER.index("initial"),)
    assert_a_reset_heals(functools.partial(results, form), tensors, state, reset)
    # In the middle too, where the NaN came from an input.
    x = tensors[0].detach().clone()
    x[:, 2] = torch.nan
    reset[:, 4] = True
    output, final = positional(form, reset=reset)(x, *tensors[1:])
    assert output[:, 2:4].isnan().all()
    assert output[:, 4:].isfinite().all()
    assert final.isfinite().all()


@pytest.mark.parametrize("form", FORMS)
def test_a_row_that_ended_in_nan_spoils_no_gradient(form):
    tensors, _ = example()
    ill = tensors[-1].detach().clone()
    ill[1] = torch.nan
    found = results(form, [*tensors[:-1], leaf(ill)], {"lengths": LENGTHS})
    clean = results(form, tensors, {"lengths": LENGTHS})
    assert found[1][1].isnan().all()
    assert_equal(found[:1] + found[2:], clean[:1] + clean[2:])


LENGTHS = torch.tensor([7, 0, 3])


@pytest.mark.parametrize("form", FORMS)
def test_reads_strided_and_expanded_inputs(form):
    """Slices of one projection, time first, a weight for all channels, a strided last axis."""
    g = torch.Generator().manual_seed(0)
    base = torch.rand(4, 9, 40, generator=g, dtype=torch.float64)
    first = base.transpose(0, 1).contiguous().transpose(0, 1)
    given = {
        "x": base[..., :6],
        "step_size": first[..., 6:12],
        "A": -base[0, 0, :3].expand(6, 3),
        "B": base[..., None, 12:15],
        "C": base[..., 15:21:2][:, :, None],
        "skip": base[0, 0, 0:12:2],
        "gate": base[:1, :1, 21:27].expand(4, 9, 6),
        "step_bias": base[0, 0, :1].expand(6),
        "initial": base[:, :6, 27:33:2],
    }
    given = [leaf(given[name]) for name in ORDER]
    dense = [leaf(v.detach().clone()) for v in given]
    masks = {
        "reset": (base[..., 0] < 0.3).T.contiguous().T,
        "lengths": torch.tensor([9, 0, 1, 0, 0, 0, 8, 0])[::2].to(torch.int32),
    }
    assert_agree(results(form, given, masks), results(reference.selective_scan, dense, masks), 1e-9)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("which", [0, 1], ids=["output", "final"])
def test_gradients_of_one_result_alone(form, which):
    """Also: the expanded gradient that a sum sends back."""
    tensors, masks = example(time=70, masks=BOTH)
    ours, definition = (positional(f, **masks) for f in (form, reference.selective_scan))
    assert_gradients_of_one_result_agree(ours, definition, tensors, which)


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_shared_or_changed(form):
    for time in (0, 1, 7):
        tensors, masks = example(time=time, masks=BOTH)
        with torch.no_grad():
            assert_fresh(positional(form), [*(v.detach() for v in tensors), *masks.values()])


@pytest.mark.parametrize("form", [*FORMS, pytest.param(reference.selective_scan, id="reference")])
@pytest.mark.parametrize("step_bias", [-50.0, 50.0])
def test_extreme_steps_and_gates_stay_finite(form, step_bias):
    tensors, _ = named(time=5, dtype=torch.float32)
    tensors |= {
        "step_bias": torch.full_like(tensors["step_bias"], step_bias),
        "gate": tensors["gate"].detach().sign() * 50,
        "A": -torch.ones_like(tensors["A"]),
    }
    given = [leaf(tensors[name]) for name in ORDER]
    found = results(form, given, {})
    assert all(v.isfinite().all() for v in found)
    assert_agree(found, results(reference.selective_scan, given, {}), 1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_denormals_agree(form):
    tensors, masks = example(20, masks=BOTH)
    ours, definition = (positional(f, **masks) for f in (form, reference.selective_scan))
    assert_denormals_agree(ours, definition, tensors, (ORDER.index("x"), ORDER.index("initial")))


@needs_core
def test_two_to_a_power_at_every_level(core):
    """The decay of one step, from 1 down to nothing, beside torch's exponential."""
    exponents = torch.cat([torch.linspace(-120, 80, 4001), torch.tensor([0.0, -200, -1e30])])
    for level in LEVELS:
        core.set_level(level)
        for dtype, tolerance in ((torch.float32, 2e-7), (torch.float64, 2e-15)):
            p = exponents.to(dtype)
            one = torch.ones(1, 1, len(p), dtype=dtype)
            _, h = native.selective_scan(
                0 * one,
                one,
                p[:, None],
                one[..., None, :1],
                one[..., None, :1],
                initial=one.view(1, -1, 1),
            )
            exact = p.double().exp()
            # Rounding the product with log2(e) is felt in proportion to the exponent.
            limit = tolerance * exact * (1 + p.abs().double().clamp(max=200)) + 1e-38
            assert ((h.view(-1).double() - exact).abs() <= limit).all()
            assert h[0, 4001] == 1


@pytest.mark.parametrize("masks", [(), BOTH], ids="+".join)
@pytest.mark.parametrize("form", FORMS)
def test_gradcheck(form, masks, monkeypatch):
    monkeypatch.setattr(chunked, "CHUNK", 2)  # several, though time is short
    tensors, masks = example(time=3, dim=2, state=2, masks=masks, batch=2)

    f = positional(form, **masks)
    assert torch.autograd.gradcheck(f, tensors)
    assert torch.autograd.gradgradcheck(f, tensors)


def test_third_derivative_and_batched_gradients():
    tensors, masks = named(time=3, dim=2, state=2, masks=BOTH, batch=2)
    given = list(tensors.values())
    thirds, batched = [], []
    for name in ("native", "reference") if backends.core else ("torch", "reference"):
        with backends.use(name):
            output, final = selective_scan(**tensors, **masks)
        eyes = torch.eye(final.numel(), dtype=final.dtype).view(-1, *final.shape)
        batched.append(
            torch.autograd.grad(
                final, given, eyes, True, is_grads_batched=True, materialize_grads=True
            )
        )
        y = (output**3).sum() + (final**2).sum()
        for _ in range(3):
            grads = torch.autograd.grad(y, given, create_graph=True)
            y = sum((g**2).sum() for g in grads)
        thirds.append(grads)
    for a, b in zip(thirds[0] + batched[0], thirds[1] + batched[1], strict=True):
        assert error(a, b) < 1e-9


def test_transforms_are_right_through_the_table():
    """Through jvp and vmap a custom op would answer zero or fail; the table must see to it."""
    tensors, masks = named(masks=BOTH)
    given = tuple(v.detach() for v in tensors.values())
    tangents = tuple(torch.randn_like(v) for v in given)
    alone = {"A", "skip", "step_bias"}  # no row of their own
    in_dims = tuple(None if name in alone else 0 for name in tensors)

    def through(form):
        def f(*given):
            return form(**dict(zip(tensors, given, strict=True)), **masks)

        def row(*given):
            named = {
                name: v if name in alone else v[None]
                for name, v in zip([*tensors, *masks], given, strict=True)
            }
            return form(**named)

        pushed = torch.func.jvp(f, given, tangents)[1]
        mapped = torch.func.vmap(row, (*in_dims, 0, 0))(*given, *masks.values())
        each = tuple(range(len(given)))
        pulled = torch.func.grad(lambda *v: f(*v)[0].square().sum(), argnums=each)(*given)
        with forward_ad.dual_level():
            duals = [forward_ad.make_dual(*pair) for pair in zip(given, tangents, strict=True)]
            dual = [forward_ad.unpack_dual(y).tangent for y in f(*duals)]
        return *pushed, *mapped, *pulled, *dual

    for a, b in zip(through(selective_scan), through(reference.selective_scan), strict=True):
        assert error(a, b) < 1e-9


@needs_core
@pytest.mark.parametrize("masks", [(), BOTH], ids="+".join)
def test_custom_ops_are_registered_rightly(masks):
    tensors, masks = example(masks=masks, extras=EXTRAS if masks else ())
    inputs = (*tensors, masks.get("reset"), masks.get("lengths"))
    assert_registered_rightly(native._scan, inputs, 2)


@pytest.mark.parametrize("how", [*HOW, pytest.param("inductor", marks=pytest.mark.long)])
def test_compiles(how):
    assert_compiles("selective_scan", how)


class Largest(TorchDispatchMode):
    """Remembers the most numbers that any tensor made within had."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **kwargs or {})
        for y in made if isinstance(made, (tuple, list)) else [made]:
            if isinstance(y, torch.Tensor):
                self.numbers = max(self.numbers, y.numel())
        return made


@pytest.mark.parametrize("form", FORMS)
def test_no_tensor_holds_all_states(form):
    tensors, _ = example(time=200, dim=8, state=16)
    with Largest() as largest:
        results(form, tensors, {})
    # The parallel scan puts the state before the first time in front.
    assert largest.numbers <= 3 * (chunked.CHUNK + 1) * 8 * 16


def step_example(batch=2, dim=37, state=16, dtype=torch.float64):
    """Return what a step takes by position, all but the state, and the state."""
    tensors, _ = named(time=1, dim=dim, state=state, batch=batch, dtype=dtype)
    tensors = {name: v.detach() for name, v in tensors.items()}
    x = (tensors["x"][:, 0], tensors["step_size"][:, 0], tensors["A"])
    return (*x, tensors["B"][:, 0], tensors["C"][:, 0]), tensors["initial"]


def step_by_scan(x, h):
    """Compute one step by the definition."""
    u, step_size, A, B, C = x
    y, final = reference.selective_scan(
        u[:, None], step_size[:, None], A, B[:, None], C[:, None], initial=h
    )
    return y[:, 0], final


@pytest.mark.parametrize("backend", ["native", "torch", "reference"])
@pytest.mark.parametrize("groups", [None, 1, 3])
def test_steps_equal_the_scan(backend, groups):
    if backend == "native" and backends.core is None:
        pytest.skip("no core")
    tensors, _ = named(dim=9, state=5, groups=groups or 1)
    tensors = {name: v.detach() for name, v in tensors.items()}
    if groups is None:
        tensors |= {name: tensors[name][:, :, 0] for name in "BC"}
    h = tensors.pop("initial")
    with backends.use(backend):
        output, final = selective_scan(**tensors, initial=h)
        for t in range(7):
            now = {n: v[:, t] if n in SEQUENCES else v for n, v in tensors.items()}
            before, kept = h, h.clone()
            y, h = selective_scan_step(**now, h=h)
            assert error(y, output[:, t]) < 1e-12
            assert torch.equal(before, kept)
    assert error(h, final) < 1e-12


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_steps_keep_the_dtypes_and_have_gradients(dtype):
    x, h = step_example(dtype=dtype)
    y, final = selective_scan_step(*x, h)
    assert (y.dtype, final.dtype) == (x[0].dtype, h.dtype)
    x = tuple(v.requires_grad_() for v in x)
    again, _ = selective_scan_step(*x, h)
    assert error(y, again) <= {torch.float64: 1e-12, torch.float32: 1e-5}.get(dtype, 4e-3)
    assert torch.autograd.grad(again.sum(), x[2])[0].abs().sum() > 0


def test_groups_may_be_left_out():
    tensors, masks = named(masks=BOTH)
    expected = selective_scan(**tensors, **masks)
    tensors |= {name: tensors[name][:, :, 0] for name in "BC"}
    found = selective_scan(**tensors, **masks)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_initial_is_zeros_if_absent():
    tensors, masks = named()
    found = selective_scan(**tensors | {"initial": None}, **masks)
    zeros = torch.zeros_like(tensors["initial"])
    expected = selective_scan(**tensors | {"initial": zeros}, **masks)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_wider_state_widens_the_work():
    tensors, _ = named(time=63, dtype=torch.float32)
    output, final = selective_scan(**tensors | {"initial": tensors["initial"].double()})
    exact = {name: v.double() for name, v in tensors.items()}
    expected, end = reference.selective_scan(**exact)
    assert (output.dtype, final.dtype) == (torch.float32, torch.float64)
    assert error(final, end) < 1e-12
    assert error(output, expected) < 1e-6


def test_agrees_with_a_published_parallel_scan():
    """The scan of the package mambapy, in its own program's words around it."""
    pscan = pytest.importorskip("mambapy.pscan").pscan
    tensors, _ = example(time=50, dim=12, state=16, dtype=torch.float32)
    tensors[-1] = torch.zeros_like(tensors[-1]).requires_grad_()

    def theirs(x, step_size, A, B, C, skip, gate, step_bias, initial):
        step = torch.nn.functional.softplus(step_size + step_bias)
        drive = (step * x)[..., None] * B
        states = pscan((step[..., None] * A).exp(), drive)
        y = (states @ C.transpose(2, 3))[..., 0] + skip * x
        return y * torch.nn.functional.silu(gate), states[:, -1]

    ours, witness = (results(f, tensors, {}) for f in (selective_scan, theirs))
    assert_agree(ours[:-1], witness[:-1], 1e-5)  # it always starts from zeros


def good():
    x, h = torch.ones(3, 7, 6), torch.ones(3, 6, 4)
    b = torch.ones(3, 7, 4)
    return {"x": x, "step_size": x, "A": -torch.ones(6, 4), "B": b, "C": b, "initial": h}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.ones(3, 7)}, r"x \(3, 7\) should be \(batch, time, dim\)"),
        ({"step_size": torch.ones(3, 7, 1)}, r"step_size \(3, 7, 1\) should be .* \(3, 7, 6\)"),
        ({"A": torch.ones(4, 6)}, r"A \(4, 6\) should be \(dim, state\) with dim = 6"),
        ({"B": torch.ones(3, 7, 5)}, r"B \(3, 7, 5\) and C \(3, 7, 4\) should be alike"),
        (dict.fromkeys("BC", torch.ones(3, 7, 4, 4)), r"\(3, 7, 4, 4\) .* divides dim = 6"),
        (dict.fromkeys("BC", torch.ones(3, 7, 5)), r"\(3, 7, 5\) should be .* \(3, 7, 4\)"),
        ({"skip": torch.ones(3)}, r"skip \(3,\) should be \(dim,\) = \(6,\)"),
        ({"step_bias": torch.ones(3)}, r"step_bias \(3,\) should be \(dim,\) = \(6,\)"),
        ({"gate": torch.ones(3, 7)}, r"gate \(3, 7\) should be \(batch, time, dim\)"),
        ({"initial": torch.ones(3, 4, 6)}, r"initial \(3, 4, 6\) should be .* \(3, 6, 4\)"),
        ({"reset": torch.ones(3, 7)}, r"reset \(3, 7\) of torch.float32 should be boolean"),
        ({"lengths": torch.ones(2).long()}, r"lengths \(2,\)"),
    ],
)
def test_errors_name_the_argument_and_its_shape(change, message):
    unchecked = inspect.unwrap(selective_scan)  # past the hook that checks shapes in tests
    with pytest.raises(ValueError, match=message):
        unchecked(**good() | change)


def test_errors_of_a_step():
    unchecked = inspect.unwrap(selective_scan_step)
    x, h = step_example()
    with pytest.raises(ValueError, match=r"h \(2, 36, 16\) should be \(batch, dim, state\)"):
        unchecked(*x, h[:, 1:])
    with pytest.raises(ValueError, match=r"step_size \(2, 36\) should be \(batch, dim\)"):
        unchecked(x[0], x[1][:, 1:], *x[2:], h)


@needs_core
def test_kernels_refuse_what_they_cannot_address(core):
    x, h, b = torch.ones(2, 70, 6), torch.ones(2, 6, 4), torch.ones(2, 70, 3, 4)
    good = {
        "x": x,
        "step_size": x,
        "A": torch.ones(6, 4),
        "B": b,
        "C": b,
        "skip": None,
        "gate": None,
        "step_bias": None,
        "initial": h,
        "reset": None,
        "lengths": None,
        "output": x.clone(),
        "final": h.clone(),
        "borders": torch.ones(2, 1, 4, 6),
    }
    bad = [
        ({"x": x.half()}, "x .* should be float32, float64 or bfloat16"),
        ({"step_size": x.double()}, "step_size .* of the same type"),
        ({"A": torch.ones(4, 6)}, r"A of shape \(4, 6\)"),
        ({"A": torch.ones(4, 6).T}, "A .* contiguous"),
        ({"C": b[:, :, :1]}, "C of shape"),
        ({"B": b.transpose(2, 3).contiguous().transpose(2, 3)}, "B .* contiguous"),
        ({"B": torch.ones(2, 70, 4, 4), "C": torch.ones(2, 70, 4, 4)}, "B .* divide dim"),
        ({"skip": torch.ones(4)}, r"skip of shape \(4,\) should be \(6\)"),
        ({"gate": x[:, :3]}, "gate of shape"),
        ({"initial": h.double()}, "initial .* of float32"),
        ({"output": x[:1].expand(2, 70, 6)}, "output .* not expanded"),
        ({"borders": torch.ones(2, 0, 4, 6)}, "borders .* one at least"),
        ({"borders": torch.ones(2, 1, 6, 4)}, r"borders .* \(2, 1, 4, 6\)"),
        ({"lengths": torch.ones(2, dtype=torch.int32)}, "lengths .* int64"),
    ]
    assert_refused(core.selective_scan, good, bad)


def test_table_names_every_form():
    assert [row.backend for row in package.TABLE] == ["native", "torch", "reference"]


@needs_core
def test_chunks_are_those_of_the_core():
    assert backends.core.selective_chunk == native.CHUNK
