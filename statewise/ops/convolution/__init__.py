"""Convolutions over time that are the same at all times, each feature by itself.

The short one:  y_t = bias + sum_j weight_j x_{t - width + 1 + j},  in one pass.
The long one:   y_t = sum_l kernel_l x_{t - l},  by the fast Fourier transform.
The diagonal:   h_t = decay h_{t-1} + write x_t,  y_t = sum over the state of read h_t:  a linear
recurrence that is the same at all times, by the transform of its kernel.
The dense:      the same with a matrix for a decay, as HiPPO's memories have it.

Each returns the state from which its `*_step` goes on: a model can read its prompt in parallel and
then answer step by step.
"""

from collections.abc import Callable
from itertools import pairwise

# Inside this package `torch` is the file torch.py, so the library is imported by its parts.
from jaxtyping import Bool, Float, Inexact, Int
from torch import (
    Tensor,
    arange,
    cat,
    compiler,
    complex128,
    float32,
    float64,
    promote_types,
    where,
    zeros,
)

from statewise import backends
from statewise.ops.arguments import check_marks
from statewise.ops.convolution import fourier, native, reference
from statewise.ops.convolution.torch import short_convolution as by_shifts

__all__ = [
    "FOURIER_TABLE",
    "TABLE",
    "dense_convolution",
    "dense_convolution_step",
    "diagonal_convolution",
    "diagonal_convolution_step",
    "long_convolution",
    "long_convolution_step",
    "short_convolution",
    "short_convolution_step",
]

TABLE = (
    backends.Row("native", backends.without_native),
    backends.Row("torch", backends.always),
    backends.Row("reference", backends.always),
)

FOURIER_TABLE = (
    backends.Row("torch", backends.always),
    backends.Row("reference", backends.always),
)
"""For the long, the diagonal and the dense one."""

_FORMS = {
    "native": native.short_convolution,
    "torch": by_shifts,
    "reference": reference.short_convolution,
}


def short_convolution(
    x: Float[Tensor, "batch time dim"],
    weight: Float[Tensor, "dim width"],
    bias: Float[Tensor, " dim"] | None = None,
    *,
    initial: Float[Tensor, "batch past dim"] | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch past dim"]]:
    """Return a causal convolution of each feature, and the last width - 1 inputs, a fresh tensor.

    Args:
        x: the inputs; their dtype is the output's. Arithmetic is in float32 or wider.
        weight: the taps; the last is for the present input, as in torch.nn.Conv1d.
        bias: added to every output.
        initial: the width - 1 inputs before the first, oldest first; zeros if absent.
        reset: where true, the inputs before that time count as zero from there on.
        lengths: from 0 to time. Beyond a row's length the output is zero, nothing is read, and the
            inputs returned end with its last real one; with length 0, `initial`.

    Raises:
        ValueError: if shapes or dtypes do not fit together.
    """
    batch, time, dim = x.shape
    if weight.ndim != 2 or weight.shape[0] != dim or weight.shape[1] == 0:
        raise ValueError(
            f"short_convolution: weight {tuple(weight.shape)} should be (dim, width) with "
            f"dim = {dim} and width at least 1"
        )
    if bias is not None and bias.shape != (dim,):
        raise ValueError(f"short_convolution: bias {tuple(bias.shape)} should be (dim,) = {(dim,)}")
    past = (batch, weight.shape[1] - 1, dim)
    work = promote_types(promote_types(x.dtype, weight.dtype), float32)
    if initial is None:
        initial = x.new_zeros(past, dtype=work)
    elif initial.shape != past:
        raise ValueError(
            f"short_convolution: initial {tuple(initial.shape)} should be (batch, width - 1, dim) "
            f"= {past}"
        )
    work = promote_types(work, initial.dtype)
    check_marks("short_convolution", batch, time, reset, lengths)
    backend = backends.choose("convolution", TABLE, x).backend
    # The kernels widen what they read as they read it.
    read = x.dtype if backend == "native" and promote_types(x.dtype, float32) == work else work
    output, final = _FORMS[backend](
        x.to(read),
        weight.to(work),
        None if bias is None else bias.to(work),
        initial=initial.to(work),
        reset=reset,
        lengths=lengths,
    )
    return output.to(x.dtype), final


def short_convolution_step(
    x: Float[Tensor, "batch dim"],
    weight: Float[Tensor, "dim width"],
    bias: Float[Tensor, " dim"] | None,
    past: Float[Tensor, "batch past dim"],
) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch past dim"]]:
    """Return one output of `short_convolution`, and the last width - 1 inputs.

    Raises:
        ValueError: if shapes do not fit together.
    """
    batch, dim = x.shape
    if weight.shape != (dim, past.shape[1] + 1) or past.shape[::2] != (batch, dim):
        raise ValueError(
            f"short_convolution_step: x {tuple(x.shape)} should be (batch, dim), weight "
            f"{tuple(weight.shape)} (dim, width) and past {tuple(past.shape)} "
            "(batch, width - 1, dim)"
        )
    dtype = past.dtype
    given = (x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype), past)
    direct = backends.direct("convolution", TABLE, given)
    output, after = (native.step if direct else reference.step)(*given)
    return output.to(x.dtype), after


def long_convolution(
    x: Float[Tensor, "batch time dim"],
    kernel: Float[Tensor, "dim length"],
    *,
    initial: Float[Tensor, "batch past dim"] | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch past dim"]]:
    """Return a causal convolution of each feature, and the last length - 1 inputs, a fresh tensor.

    Args:
        x: the inputs; their dtype is the output's. Arithmetic is in float32 or wider.
        kernel: what an input still counts 0, 1, ... times later; longer than the sequence if need
            be. `short_convolution` has the same the other way around.
        initial: the length - 1 inputs before the first, oldest first; zeros if absent.
        reset: where true, the inputs before that time count as zero from there on. The sequence is
            cut there, or where cuts are many computed directly, at O(length) an output.
        lengths: from 0 to time. Beyond a row's length the output is zero, nothing is read, and the
            inputs returned end with its last real one; with length 0, `initial`.

    A transform mixes all times of a row: an input that is NaN or infinite spoils all outputs from
    the last reset to the next, those before it too.

    Raises:
        ValueError: if shapes or dtypes do not fit together.
    """
    batch, time, dim = x.shape
    if kernel.ndim != 2 or kernel.shape[0] != dim or kernel.shape[1] == 0:
        raise ValueError(
            f"long_convolution: kernel {tuple(kernel.shape)} should be (dim, length) with "
            f"dim = {dim} and length at least 1"
        )
    length = kernel.shape[1]
    past = (batch, length - 1, dim)
    work = promote_types(promote_types(x.dtype, kernel.dtype), float32)
    if initial is None:
        initial = zeros(past, dtype=work, device=x.device)
    elif initial.shape != past:
        raise ValueError(
            f"long_convolution: initial {tuple(initial.shape)} should be (batch, length - 1, dim) "
            f"= {past}"
        )
    work = promote_types(work, initial.dtype)
    check_marks("long_convolution", batch, time, reset, lengths)
    backend = backends.choose("long_convolution", FOURIER_TABLE, x).backend
    given, kernel, initial = x.to(work), kernel.to(work), initial.to(work)
    if backend == "reference":
        form = reference.long_convolution
        output, final = form(given, kernel, initial=initial, reset=reset, lengths=lengths)
        return output.to(x.dtype), final
    output, final = _between_resets(
        lambda piece, **rest: fourier.long_convolution(piece, kernel, **rest),
        lambda all_, **rest: short_convolution(all_, kernel.flip(1), **rest),
        given,
        initial,
        reset,
        lengths,
        # A piece costs two transforms of all it looks back to, about forty products each.
        most=length // 40,
    )
    return output.to(x.dtype), final


def long_convolution_step(
    x: Float[Tensor, "batch dim"],
    kernel: Float[Tensor, "dim length"],
    past: Float[Tensor, "batch past dim"],
) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch past dim"]]:
    """Return one output of `long_convolution`, and the last length - 1 inputs.

    A kernel kept as (length, dim), and given as its transpose, is read as it lies; any other is
    turned around at every step, which takes longer than the step itself.

    Raises:
        ValueError: if shapes do not fit together.
    """
    batch, dim = x.shape
    if kernel.shape != (dim, past.shape[1] + 1) or past.shape[::2] != (batch, dim):
        raise ValueError(
            f"long_convolution_step: x {tuple(x.shape)} should be (batch, dim), kernel "
            f"{tuple(kernel.shape)} (dim, length) and past {tuple(past.shape)} "
            "(batch, length - 1, dim)"
        )
    given = (x.to(past.dtype), kernel.to(past.dtype), past)
    if backends.direct("convolution", TABLE, given):
        output, after = native.long_step(*given)
    else:
        output, after = reference.step(given[0], given[1].flip(1), None, past)
    return output.to(x.dtype), after


def diagonal_convolution(
    x: Inexact[Tensor, "batch time dim"],
    decay: Inexact[Tensor, "dim state"],
    write: Inexact[Tensor, "dim state"],
    read: Inexact[Tensor, "dim state"],
    *,
    initial: Inexact[Tensor, "batch dim state"] | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Inexact[Tensor, "batch time dim"], Inexact[Tensor, "batch dim state"]]:
    """Return  y_t = sum over the state of read h_t  with  h_t = decay h_{t-1} + write x_t,  and h.

    The same as a scan with a decay that never changes, at the cost of a few transforms, without the
    state of every time: the parallel form of S4D (Gu, Goel, Gupta and Re, "On the Parameterization
    and Initialization of Diagonal State Space Models", 2022, arXiv:2206.11893, section 3) and, with
    a state of one number for each of its complex features, of the LRU (Orvieto et al.,
    "Resurrecting Recurrent Neural Networks for Long Sequences", 2023, arXiv:2303.06349).

    Args:
        x: the inputs. Real ones have the real part of the sum for an output, complex ones the sum;
            models that keep one of each pair of conjugates double `read`.
        decay: real or complex, of modulus at most 1.
        write: how an input enters each number of the state.
        read: how each counts in the output.
        initial: h before the first input; zeros if absent.
        reset: where true, h_{t-1} counts as zero. The sequence is cut there, or, where cuts are
            many, scanned with the state of every time in memory.
        lengths: from 0 to time. Beyond a row's length the output is zero, nothing is read, and the
            final state is the one after its last real input; with length 0, `initial`.

    Raises:
        ValueError: if shapes or dtypes do not fit together.
    """
    batch, time, dim = x.shape
    if decay.ndim != 2 or decay.shape[0] != dim or not decay.shape == write.shape == read.shape:
        raise ValueError(
            f"diagonal_convolution: decay {tuple(decay.shape)}, write {tuple(write.shape)} and "
            f"read {tuple(read.shape)} should all be (dim, state) with dim = {dim}"
        )
    shape = (batch, *decay.shape)
    if initial is not None and initial.shape != shape:
        raise ValueError(
            f"diagonal_convolution: initial {tuple(initial.shape)} should be (batch, dim, state) = "
            f"{shape}"
        )
    check_marks("diagonal_convolution", batch, time, reset, lengths)
    read_as, work = _diagonal_types(x, decay, write, read, initial)
    if initial is None:
        initial = zeros(shape, dtype=work, device=x.device)
    given, initial = x.to(read_as), initial.to(work)
    parameters = [y.to(work) for y in (decay, write, read)]
    backend = backends.choose("diagonal_convolution", FOURIER_TABLE, x.real).backend
    if backend == "reference":
        form = reference.diagonal_convolution
        output, final = form(given, *parameters, initial=initial, reset=reset, lengths=lengths)
        return output.to(x.dtype), final
    output, final = _between_resets(
        lambda piece, **rest: fourier.diagonal_convolution(piece, *parameters, **rest),
        lambda all_, **rest: fourier.diagonal_recurrence(all_, *parameters, **rest),
        given,
        initial,
        reset,
        lengths,
        most=8,
    )
    return output.to(x.dtype), final


def diagonal_convolution_step(
    x: Inexact[Tensor, "batch dim"],
    decay: Inexact[Tensor, "dim state"],
    write: Inexact[Tensor, "dim state"],
    read: Inexact[Tensor, "dim state"],
    h: Inexact[Tensor, "batch dim state"],
) -> tuple[Inexact[Tensor, "batch dim"], Inexact[Tensor, "batch dim state"]]:
    """Return one output of `diagonal_convolution`, and the next h, in the dtype of the h given.

    Raises:
        ValueError: if shapes do not fit together.
    """
    if not x.is_complex():
        wide = x.to(h.dtype.to_real())
        if backends.direct("convolution", TABLE, (wide, decay, write, read, h)):
            # The kernel looks at shapes and dtypes itself.
            try:
                output, after = native.diagonal_step(wide, decay, write, read, h)
                return output.to(x.dtype), after
            except ValueError:
                pass  # what does not fit is said better below
    shape = decay.shape
    if (
        h.shape != (*x.shape, *shape[1:])
        or h.shape[1:] != shape
        or not shape == write.shape == read.shape
    ):
        raise ValueError(
            f"diagonal_convolution_step: decay {tuple(shape)}, write {tuple(write.shape)} and read "
            f"{tuple(read.shape)} should be (dim, state), x {tuple(x.shape)} (batch, dim) and h "
            f"{tuple(h.shape)} (batch, dim, state)"
        )
    output, after = reference.diagonal_step(x, decay, write, read, h)
    return output.to(x.dtype), after.to(h.dtype)


def dense_convolution(
    x: Float[Tensor, "batch time dim"],
    transition: Float[Tensor, "dim n n"],
    write: Float[Tensor, "dim n"],
    read: Float[Tensor, "dim n"],
    kernel: Float[Tensor, "dim _"] | None = None,
    *,
    initial: Float[Tensor, "batch dim n"] | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch dim n"]]:
    """Return  y_t = read . h_t  with  h_t = transition h_{t-1} + write x_t,  and the last h.

    Each feature has a system of its own, the same at all times: the convolution of LSSL (Gu et al.,
    "Combining Recurrent, Convolutional, and Continuous-time Models with Linear State-Space Layers",
    2021, arXiv:2110.13985, section 3) and S4. O(log(time) n^3 + sqrt(time) n^2 + time n) for each
    feature, and transforms, without the state of every time.

    Args:
        x: the inputs; their dtype is the output's. Arithmetic is in float32 or wider.
        transition: with powers that do not grow.
        write: how an input enters each number of the state.
        read: how each counts in the output.
        kernel: read . transition^l write for every l below time, where a better way to it is known
            than by powers of the transition.
        initial: h before the first input; zeros if absent.
        reset: where true, h_{t-1} counts as zero. The sequence is cut there, or, where cuts are
            many, scanned with the state of every time in memory.
        lengths: from 0 to time. Beyond a row's length the output is zero, nothing is read, and the
            final state is the one after its last real input; with length 0, `initial`.

    Raises:
        ValueError: if shapes or dtypes do not fit together.
    """
    batch, time, dim = x.shape
    shape = (dim, *write.shape[1:])
    if (
        len(shape) != 2
        or transition.shape != (*shape, shape[1])
        or not write.shape == read.shape == shape
    ):
        raise ValueError(
            f"dense_convolution: transition {tuple(transition.shape)} should be (dim, n, n), write "
            f"{tuple(write.shape)} and read {tuple(read.shape)} (dim, n), with dim = {dim}"
        )
    if kernel is not None and (kernel.shape[0] != dim or kernel.shape[1] < time):
        raise ValueError(
            f"dense_convolution: kernel {tuple(kernel.shape)} should be (dim, time) = {(dim, time)}"
        )
    if initial is not None and initial.shape != (batch, *shape):
        raise ValueError(
            f"dense_convolution: initial {tuple(initial.shape)} should be (batch, dim, n) = "
            f"{(batch, *shape)}"
        )
    check_marks("dense_convolution", batch, time, reset, lengths)
    parameters = [y for y in (transition, write, read, kernel) if y is not None]
    _, work = _diagonal_types(x, *parameters, initial)
    if initial is None:
        initial = zeros((batch, *shape), dtype=work, device=x.device)
    given, initial = x.to(work), initial.to(work)
    parameters = [y.to(work) for y in parameters]
    if backends.choose("dense_convolution", FOURIER_TABLE, x).backend == "reference":
        form = reference.dense_convolution
        output, final = form(given, *parameters[:3], initial=initial, reset=reset, lengths=lengths)
        return output.to(x.dtype), final
    output, final = _between_resets(
        lambda piece, **rest: fourier.dense_convolution(piece, *parameters, **rest),
        lambda all_, **rest: fourier.dense_recurrence(all_, *parameters[:3], **rest),
        given,
        initial,
        reset,
        lengths,
        most=8,
    )
    return output.to(x.dtype), final


def dense_convolution_step(
    x: Float[Tensor, "batch dim"],
    transition: Float[Tensor, "dim n n"],
    write: Float[Tensor, "dim n"],
    read: Float[Tensor, "dim n"],
    h: Float[Tensor, "batch dim n"],
) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch dim n"]]:
    """Return one output of `dense_convolution`, and the next h, in the dtype of the h given.

    Raises:
        ValueError: if shapes do not fit together.
    """
    shape = write.shape
    if (
        h.shape != (*x.shape, *shape[1:])
        or h.shape[1:] != shape
        or transition.shape != (*shape, shape[-1])
        or read.shape != shape
    ):
        raise ValueError(
            f"dense_convolution_step: transition {tuple(transition.shape)} should be (dim, n, n), "
            f"write {tuple(shape)} and read {tuple(read.shape)} (dim, n), x {tuple(x.shape)} "
            f"(batch, dim) and h {tuple(h.shape)} (batch, dim, n)"
        )
    dtype = h.dtype
    output, after = reference.dense_step(
        x.to(dtype), transition.to(dtype), write.to(dtype), read.to(dtype), h
    )
    return output.to(x.dtype), after


def _diagonal_types(x: Tensor, *others: Tensor | None):
    """Return the dtypes of the inputs and of the state in the arithmetic."""
    read_as = promote_types(x.dtype, float32)
    work = read_as
    for other in others:
        work = work if other is None else promote_types(work, other.dtype)
    return promote_types(read_as, float64 if work in (float64, complex128) else float32), work


def _cuts(reset: Tensor, most: int) -> list[int] | None:
    """Return the times at which any row is reset; None if they are too many, or not to be seen."""
    if compiler.is_compiling() or backends.transformed():
        return None
    times = reset.any(0).nonzero().flatten().tolist()
    return times if len(times) <= most else None


def _between_resets(
    form: Callable[..., tuple[Tensor, Tensor]],
    other: Callable[..., tuple[Tensor, Tensor]],
    x: Tensor,
    state: Tensor,
    reset: Tensor | None,
    lengths: Tensor | None,
    *,
    most: int,
) -> tuple[Tensor, Tensor]:
    """Return what `form` gives, which knows no resets, piece by piece with the state handed over.

    Where cuts are more than `most`, or not to be seen, `other` computes all, resets included.
    """
    if reset is None:
        return form(x, initial=state, lengths=lengths)
    cuts = _cuts(reset, most)
    if cuts is None:
        return other(x, initial=state, reset=reset, lengths=lengths)
    if not cuts:
        return form(x, initial=state, lengths=lengths)
    time, outputs = x.shape[1], []
    if lengths is not None:
        reset = reset & (arange(time, device=x.device) < lengths[:, None])
    for begin, end in pairwise(sorted({0, *cuts, time})):
        state = where(reset[:, begin, None, None], 0, state)
        left = None if lengths is None else (lengths - begin).clamp(0, end - begin)
        output, state = form(x[:, begin:end], initial=state, lengths=left)
        outputs.append(output)
    return cat(outputs, 1), state
