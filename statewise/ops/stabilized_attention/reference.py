"""Stabilized linear attention written as its definition: one loop.

Every other backend must agree with it, the state leaf by leaf: m is the running maximum of this
recurrence and not just any number that keeps the sums finite.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

State = tuple[
    Float[Tensor, "batch heads key value"],
    Float[Tensor, "batch heads key"],
    Float[Tensor, "batch heads"],
]


def stabilized_linear_attention(
    query: Float[Tensor, "batch time heads key"],
    key: Float[Tensor, "batch time heads key"],
    value: Float[Tensor, "batch time heads value"],
    *,
    log_input: Float[Tensor, "batch time heads"],
    log_forget: Float[Tensor, "batch time heads"],
    scale: float,
    eps: float,
    initial: State,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time heads value"], State]:
    """Return every output and the last (C, n, m)."""
    dtype, work = value.dtype, initial[0].dtype
    state, outputs = initial, []
    for t in range(query.shape[1]):
        inputs = [x[:, t].to(work) for x in (query, key, value, log_input, log_forget)]
        before = state
        if reset is not None:
            before = _where(~reset[:, t], before, _zeros(before))
        if lengths is None:
            output, state = _step(inputs, before, scale, eps)
        else:
            # The inputs are replaced, not only the result: a NaN in the padding would otherwise
            # reach the gradient as 0 * NaN.
            real = t < lengths
            inputs = _where(real, inputs, _zeros(inputs))
            output, after = _step(inputs, _where(real, before, _zeros(before)), scale, eps)
            output, *state = _where(real, (output, *after), (torch.zeros_like(output), *state))
        outputs.append(output)
    stacked = torch.stack(outputs, 1) if outputs else torch.zeros_like(value)
    C, n, m = (x.clone() for x in state)
    return stacked.to(dtype), (C, n, m)


def _step(inputs, before, scale, eps):
    """One time: (batch, heads, ...) everywhere."""
    q, k, v, log_input, log_forget = inputs
    C, n, m_before = before
    m = torch.maximum(log_forget + m_before, log_input)
    forget, admit = (log_forget + m_before - m).exp(), (log_input - m).exp()
    C = forget[..., None, None] * C + admit[..., None, None] * k[..., None] * v[..., None, :]
    n = forget[..., None] * n + admit[..., None] * k
    numerator = scale * torch.einsum("bhk,bhkv->bhv", q, C)
    normalizer = scale * torch.einsum("bhk,bhk->bh", q, n)
    low, floor = guard(m)
    denominator = torch.maximum((normalizer * low).abs(), floor) + eps * floor
    return numerator * (low / denominator)[..., None], (C, n, m)


def guard(m: Tensor) -> tuple[Tensor, Tensor]:
    """Return the factor of numerator and normalizer, and the least that the latter may become.

    Together they say max(|n.q|, exp(-m)), but exp(-m) alone overflows where m is very low, and
    where m is very high it is zero, as n.q may be too.
    """
    shift = m.detach().clamp(max=0)
    return shift.exp(), (shift - m).exp().clamp(min=torch.finfo(m.dtype).tiny)


def _zeros(tensors):
    return [torch.zeros_like(x) for x in tensors]


def _where(rows, these, those):
    """Choose by rows of the batch, tensor by tensor."""
    return [
        torch.where(rows.view(-1, *[1] * (a.ndim - 1)), a, b)
        for a, b in zip(these, those, strict=True)
    ]
