"""Every backend of the scans in other arithmetics against their definitions, and what they promise."""

import inspect
import itertools
import math
import pathlib
import subprocess
import sys

import pytest
import torch

from statewise import backends
from statewise.ops import semiring
from statewise.ops.semiring import native, reference
from statewise.ops.semiring import torch as parallel
from tests.ops.agreement import (
    DTYPES,
    LEVELS,
    MASKS,
    TIMES,
    TOLERANCE,
    assert_agree,
    assert_as_exact_as_rounding,
    assert_bit_equal_at_any_number_of_threads,
    assert_fresh,
    assert_transforms_agree,
    beyond,
    core,  # noqa: F401 (a fixture)
    error,
    flat,
    marks,
    needs_core,
    with_gradients,
)

BOTH = ("reset", "lengths")
SCANS = ["log", "log matrix", "log matrices", "max matrix", "max matrices", "softmax"]
DENSE = SCANS[1:5]


def example(kind, time=7, size=5, dtype=torch.float64, batch=4, seed=0, wide=False):
    """Return the tensors of one scan; some inputs are -inf, and some weights are far apart."""
    g = torch.Generator().manual_seed(seed)
    work = torch.promote_types(dtype, torch.float32)

    def draw(*shape, scale=1.0, zeros=0.1):
        x = torch.randn(shape, generator=g, dtype=torch.float64) * scale
        return torch.where(torch.rand(shape, generator=g) < zeros, -math.inf, x)

    if kind == "log":
        tensors = [draw(batch, time, size), draw(batch, time, size, scale=5), draw(batch, size)]
    elif kind == "softmax":
        heads, dim = 2, size
        m, s = draw(batch, heads, zeros=0), draw(batch, time, heads, scale=3)
        w = draw(batch, heads, dim, zeros=0)
        tensors = [s, draw(batch, time, heads, dim, zeros=0), m, draw(batch, heads).exp() + 0.1, w]
    else:
        shape = (batch, time, size, size) if kind.endswith("matrices") else (size, size)
        tensors = [draw(*shape, scale=2), draw(batch, time, size), draw(batch, size)]
        tensors[0] = tensors[0] * (40 if wide else 1)
        if batch > 1:
            tensors[2][1] = math.inf
    kept = 3 if kind == "softmax" else 1
    tensors = [x.to(dtype) for x in tensors[:-kept]] + [x.to(work) for x in tensors[-kept:]]
    return [x.requires_grad_() for x in tensors]


def form(kind, module, named=None):
    """Return one scan of a module as a function of tensors, reset and lengths, by position."""
    scan = {"log": "log_scan", "softmax": "softmax_scan"}.get(kind, f"{kind[:3]}_matrix_scan")
    f = getattr(module, scan)
    named = named or {}

    def call(*arguments):
        count = 5 if kind == "softmax" else 3
        rest = dict(zip(BOTH, arguments[count:], strict=False)) | named
        if module is semiring and kind == "softmax":
            state = semiring.SoftmaxState(*arguments[2:5])
            return f(*arguments[:2], initial=state, **rest)
        if kind == "softmax":
            return f(*arguments[:5], **rest)
        made = f(*arguments[:2], initial=arguments[2], **rest)
        if kind.startswith("max") and module is semiring:
            made = made[0].score, made[1], made[0].pointer
        return made

    return call


def forms(kinds=SCANS):
    return [
        pytest.param(kind, module, id=f"{name}-{kind}", marks=needs_core if name == "native" else ())
        for kind in kinds
        for name, module in (("native", native), ("torch", parallel))
        if name == "native" or kind not in DENSE
    ]


def drawn(kind, time, names, batch=4):
    return marks(torch.Generator().manual_seed(3), batch, time, names)


def compare(kind, module, masks=(), tolerance=None, **options):
    tensors = example(kind, **options)
    named = drawn(kind, tensors[1].shape[1], masks)
    ours = with_gradients(form(kind, module, named), tensors)
    theirs = with_gradients(form(kind, reference, named), tensors)
    assert_agree(ours, theirs, tolerance or TOLERANCE[options.get("dtype", torch.float64)])
    assert all(x.isfinite().all() for x in ours[-len(tensors) :]), "gradients are finite"


def assert_agree_with_infinities(ours, theirs, tolerance):
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a.isinf(), b.isinf())
        finite = [torch.where(x.isinf(), 0, x) for x in (a, b)]
        assert_agree(finite[:1], finite[1:], tolerance)


_plain_agree = assert_agree


def assert_agree(ours, theirs, tolerance):  # noqa: F811
    """Agree, infinities at the same places."""
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a == math.inf, b == math.inf)
        assert torch.equal(a == -math.inf, b == -math.inf)
    cleaned = [[torch.where(x.isinf(), 0, x) for x in xs] for xs in (ours, theirs)]
    _plain_agree(*cleaned, tolerance)


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
@pytest.mark.parametrize("masks", MASKS, ids="+".join)
@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize(("kind", "module"), forms())
def test_agrees_at_every_length(kind, module, time, masks, dtype):
    compare(kind, module, masks, time=time, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
@pytest.mark.parametrize("size", [1, 3, 17, 64, 70])
@pytest.mark.parametrize(("kind", "module"), forms())
def test_agrees_at_every_size(kind, module, size, dtype):
    for batch in (1, 9):
        compare(kind, module, ("reset",), size=size, dtype=dtype, batch=batch)
