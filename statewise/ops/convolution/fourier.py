"""Convolutions with kernels as long as the sequence, by the fast Fourier transform.

A circular convolution of `past + time` inputs is wrong in its first `past` outputs alone, where it
wraps around, and those are not asked for: the inputs before the sequence come first, and nothing
needs padding to twice its length (overlap-save). O(time log time) for every channel.

Plain tensor operations: any device, any derivative. A transform mixes all times of a row, so that
an input that is NaN or infinite spoils the whole row and not what follows it alone.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Inexact, Int
from torch import Tensor

from statewise.ops.convolution.torch import last_inputs
from statewise.ops.matrix_scan import matrix_scan
from statewise.ops.scan.torch import scan


def long_convolution(
    x: Float[Tensor, "batch time dim"],
    kernel: Float[Tensor, "dim length"],
    *,
    initial: Float[Tensor, "batch past dim"],
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch past dim"]]:
    """Return the output at every time, and the last length - 1 inputs."""
    time, past = x.shape[1], initial.shape[1]
    real = _real(time, lengths)
    if real is not None:
        x = torch.where(real, x, 0)
    inputs = torch.cat([initial, x], 1)
    output = _convolve(inputs, kernel, past)
    if real is not None:
        output = torch.where(real, output, 0)
    return output, last_inputs(inputs, past, lengths)


def diagonal_convolution(
    x: Inexact[Tensor, "batch time dim"],
    decay: Inexact[Tensor, "dim state"],
    write: Inexact[Tensor, "dim state"],
    read: Inexact[Tensor, "dim state"],
    *,
    initial: Inexact[Tensor, "batch dim state"],
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Inexact[Tensor, "batch time dim"], Inexact[Tensor, "batch dim state"]]:
    """Return the sum of read * h at every time, and the last h.

    With l = fast + size * slow, every power decay^l is a product of one of about sqrt(time) fast
    powers and one of as many slow ones, and sums over l are two small matrix products: the powers
    of all times are never in memory at once.
    """
    time = x.shape[1]
    if time == 0:
        return x.clone(), initial.clone()
    real = _real(time, lengths)
    if real is not None:
        x = torch.where(real, x, 0)
    size = int(time**0.5) + 1
    count = -(-time // size)
    fast = _powers(decay, size)  # (dim, state, size)
    slow = _powers(fast[..., -1] * decay, count).mT  # (dim, count, state)

    # The output's own kernel, and what is left of the state at the start.
    kernel = (slow * (read * write)[:, None]) @ fast
    kernel = kernel.flatten(1)[:, :time]
    left = (slow * (initial * (read * decay))[:, :, None]) @ fast
    left = left.flatten(2)[..., :time].mT
    if not x.is_complex():
        kernel, left = (y.real if y.is_complex() else y for y in (kernel, left))
    output = _convolve(torch.cat([torch.zeros_like(x[:, 1:]), x], 1), kernel, time - 1) + left
    if real is not None:
        output = torch.where(real, output, 0)

    # The last state: an input n times before the end counts decay^n.
    late, ends = _late(x, lengths, count, size)
    late = late.permute(0, 3, 1, 2)  # (batch, dim, count, size)
    each = late.to(initial.dtype) @ fast.flip(-1).mT.to(initial.dtype)  # (batch, dim, count, state)
    final = write * (each * slow.flip(1)).sum(2)
    return output, final + _power(decay, ends[:, None, None], time) * initial


def diagonal_recurrence(
    x: Inexact[Tensor, "batch time dim"],
    decay: Inexact[Tensor, "dim state"],
    write: Inexact[Tensor, "dim state"],
    read: Inexact[Tensor, "dim state"],
    *,
    initial: Inexact[Tensor, "batch dim state"],
    reset: Bool[Tensor, "batch time"],
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Inexact[Tensor, "batch time dim"], Inexact[Tensor, "batch dim state"]]:
    """Return the same by the diagonal scan, which can reset, of the whole state at every time."""
    shape = decay.shape
    real = _real(x.shape[1], lengths)
    if real is not None:
        x = torch.where(real, x, 0)
    drive = (write * x[..., None]).to(initial.dtype).flatten(2)
    h, final = scan(
        decay.to(initial.dtype).flatten().expand_as(drive),
        drive,
        initial=initial.flatten(1),
        reset=reset,
        lengths=lengths,
    )
    output = (read * h.unflatten(2, shape)).sum(-1)
    if output.is_complex() and not x.is_complex():
        output = output.real
    return output, final.unflatten(1, shape)


def dense_convolution(
    x: Float[Tensor, "batch time dim"],
    transition: Float[Tensor, "dim n n"],
    write: Float[Tensor, "dim n"],
    read: Float[Tensor, "dim n"],
    kernel: Float[Tensor, "dim _"] | None = None,
    *,
    initial: Float[Tensor, "batch dim n"],
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch dim n"]]:
    """Return the product of read and h at every time, and the last h.

    Like the diagonal one, with powers of a matrix: transition^(2^k) by squaring, and from these
    every Krylov space by doubling, so that all of it is a logarithm of large products.
    """
    batch, time, _ = x.shape
    if time == 0:
        return x.clone(), initial.clone()
    real = _real(time, lengths)
    if real is not None:
        x = torch.where(real, x, 0)
    squares = [transition]
    while len(squares) <= (time - 1).bit_length():
        squares.append(squares[-1] @ squares[-1])
    half = (len(squares) - 1) // 2
    fast, slow = squares[:half], squares[half:-1]
    size, count = 2**half, 2 ** len(slow)

    # The output's own kernel, and what is left of the state at the start.
    writes = _krylov(fast, write[..., None])  # (dim, n, size)
    if kernel is None:
        reads = _krylov([square.mT for square in slow], read[..., None])  # (dim, n, count)
        kernel = (reads.mT @ writes).flatten(1)
    reads = _krylov([square.mT for square in fast], read[..., None])
    starts = _krylov(slow, transition @ initial.permute(1, 2, 0))  # (dim, n, count batch)
    left = (reads.mT @ starts).unflatten(2, (count, batch)).permute(3, 2, 1, 0)
    output = _convolve(torch.cat([torch.zeros_like(x[:, 1:]), x], 1), kernel[:, :time], time - 1)
    output = output + left.flatten(1, 2)[:, :time]
    if real is not None:
        output = torch.where(real, output, 0)

    # The last state: first within pieces of `size`, then two pieces at a time.
    late, ends = _late(x, lengths, count, size)
    pieces = writes.flip(-1) @ late.permute(3, 2, 1, 0).flatten(2)  # (dim, n, count batch)
    for square in slow:
        count //= 2
        early, later = pieces.unflatten(2, (count, 2, batch)).unbind(3)
        pieces = square @ early.flatten(2) + later.flatten(2)
    kept = initial.permute(1, 2, 0)
    for bit, square in enumerate(squares):
        kept = torch.where((ends >> bit) & 1 == 1, square @ kept, kept)
    return output, (pieces + kept).permute(2, 0, 1).contiguous()


def dense_recurrence(
    x: Float[Tensor, "batch time dim"],
    transition: Float[Tensor, "dim n n"],
    write: Float[Tensor, "dim n"],
    read: Float[Tensor, "dim n"],
    *,
    initial: Float[Tensor, "batch dim n"],
    reset: Bool[Tensor, "batch time"],
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch dim n"]]:
    """Return the same by the scan of matrices, of the whole state at every time."""
    real = _real(x.shape[1], lengths)
    if real is not None:
        x = torch.where(real, x, 0)
    h, final = matrix_scan(
        transition, write * x[..., None], initial=initial, reset=reset, lengths=lengths
    )
    return (read * h).sum(-1), final


def _krylov(squares: Sequence[Tensor], vectors: Tensor) -> Tensor:
    """Return A^0 v, A^1 v, ... side by side, given A, A^2, A^4, ... and columns v."""
    for square in squares:
        vectors = torch.cat([vectors, square @ vectors], -1)
    return vectors


def _real(time: int, lengths: Tensor | None) -> Tensor | None:
    if lengths is None:
        return None
    return (torch.arange(time, device=lengths.device) < lengths[:, None])[..., None]


def _late(
    x: Tensor, lengths: Tensor | None, count: int, size: int
) -> tuple[Inexact[Tensor, "batch count size dim"], Int[Tensor, " batch"]]:
    """Return the last count * size inputs of all rows, their ends side by side, and their lengths.

    Zeros stand before a row's first input.
    """
    batch, time, dim = x.shape
    ends = torch.full((batch,), time, device=x.device) if lengths is None else lengths
    place = torch.arange(-size * count, 0, device=x.device) + ends[:, None]
    late = x.gather(1, place.clamp(min=0)[..., None].expand(-1, -1, dim))
    late = torch.where((place >= 0)[..., None], late, 0)
    return late.unflatten(1, (count, size)), ends


def _convolve(inputs: Tensor, kernel: Tensor, past: int) -> Tensor:
    """Return the causal convolution of inputs, (batch, all, dim), but for the first `past`."""
    columns = inputs.shape[1]
    if columns == past or not inputs.numel():
        return inputs[:, past:].clone()
    size = _good_size(columns)
    # Along the last axis, where numbers are neighbours.
    inputs = inputs.mT
    if inputs.is_complex() or kernel.is_complex():
        product = torch.fft.fft(inputs, size) * torch.fft.fft(kernel, size)
        return torch.fft.ifft(product, size)[..., past:columns].mT.contiguous()
    product = torch.fft.rfft(inputs, size) * torch.fft.rfft(kernel, size)
    return torch.fft.irfft(product, size)[..., past:columns].mT.contiguous()


def _good_size(least: int) -> int:
    """Return the smallest of 2^k, 3 * 2^k and 5 * 2^k that is large enough: fast to transform."""
    return min(odd << max(0, -(-least // odd) - 1).bit_length() for odd in (1, 3, 5))


def _powers(base: Tensor, count: int) -> Tensor:
    """Return base^0, base^1, ... along a new last axis, by doubling: right for a base of zero."""
    powers, step = torch.ones_like(base)[..., None], base
    while powers.shape[-1] < count:
        powers = torch.cat([powers, powers * step[..., None]], -1)
        step = step * step
    return powers[..., :count]


def _power(base: Tensor, exponent: Tensor, most: int) -> Tensor:
    """Return base to whole numbers from 0 to `most`, by squaring."""
    power, step = torch.ones_like(base), base
    for bit in range(most.bit_length()):
        power = torch.where((exponent >> bit) & 1 == 1, power * step, power)
        step = step * step
    return power
