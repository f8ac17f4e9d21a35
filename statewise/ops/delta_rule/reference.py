"""The delta rules written as their definitions: loops over time. Every backend must agree."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def delta_rule(
    query: Float[Tensor, "batch time heads key"],
    key: Float[Tensor, "batch time heads key"],
    value: Float[Tensor, "batch time heads value"],
    beta: Float[Tensor, "batch time heads"],
    *,
    log_decay: Float[Tensor, "batch time heads *key"] | None,
    scale: float,
    initial: Float[Tensor, "batch heads key value"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time heads value"], Float[Tensor, "batch heads key value"]]:
    """Return every output and the last state; see `statewise.ops.delta_rule`."""
    return delta_product(
        query,
        key[:, :, None],
        value[:, :, None],
        beta[:, :, None],
        log_decay=log_decay,
        scale=scale,
        initial=initial,
        reset=reset,
        lengths=lengths,
    )


def delta_product(
    query: Float[Tensor, "batch time heads key"],
    key: Float[Tensor, "batch time steps heads key"],
    value: Float[Tensor, "batch time steps heads value"],
    beta: Float[Tensor, "batch time steps heads"],
    *,
    log_decay: Float[Tensor, "batch time heads *key"] | None,
    scale: float,
    initial: Float[Tensor, "batch heads key value"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time heads value"], Float[Tensor, "batch heads key value"]]:
    """Return every output and the last state; see `statewise.ops.delta_product`."""

    def update(S: Tensor, at: Callable[[Tensor], Tensor]) -> Tensor:
        k, v, b = (at(x).to(S.dtype) for x in (key, value, beta))
        if log_decay is not None:
            decay = at(log_decay).exp()
            S = S * (decay[..., None] if decay.ndim == 3 else decay[..., None, None])
        for j in range(key.shape[2]):
            error = v[:, j] - _read(S, k[:, j])
            S = S + _outer(b[:, j, :, None] * k[:, j], error)
        return S

    return _loop(update, scale, query, value[:, :, 0], initial, reset, lengths)


def low_rank_delta_rule(
    query: Float[Tensor, "batch time heads key"],
    key: Float[Tensor, "batch time heads key"],
    value: Float[Tensor, "batch time heads value"],
    read: Float[Tensor, "batch time heads key"],
    write: Float[Tensor, "batch time heads key"],
    *,
    log_decay: Float[Tensor, "batch time heads key"] | None,
    scale: float,
    initial: Float[Tensor, "batch heads key value"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time heads value"], Float[Tensor, "batch heads key value"]]:
    """Return every output and the last state; see `statewise.ops.low_rank_delta_rule`."""

    def update(S: Tensor, at: Callable[[Tensor], Tensor]) -> Tensor:
        k, v, a, b = (at(x).to(S.dtype) for x in (key, value, read, write))
        kept = S if log_decay is None else S * at(log_decay).exp()[..., None]
        return kept + _outer(b, _read(S, a)) + _outer(k, v)

    return _loop(update, scale, query, value, initial, reset, lengths)


def _loop(
    update: Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor],
    scale: float,
    query: Tensor,
    value: Tensor,
    initial: Tensor,
    reset: Tensor | None,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return every scale * S_t^T query_t, in the dtype of the value, and the last S.

    `update(S, at)` is the next S, where `at(x)` is x now.
    """
    S, outputs = initial, []
    for t in range(query.shape[1]):
        # Padding is replaced before it is used: a NaN there would reach gradients as 0 * NaN.
        real = _real(t, lengths)

        def at(x: Tensor, t: int = t, real: Tensor | None = real) -> Tensor:
            return x[:, t] if real is None else torch.where(_like(real, x[:, t]), x[:, t], 0)

        now = update(_before(S, t, reset), at)
        S = now if real is None else torch.where(_like(real, now), now, S)
        outputs.append(scale * _read(now, at(query).to(now.dtype)))
    return _stack(outputs, query, value, lengths), S.clone()


def _read(S: Tensor, key: Tensor) -> Tensor:
    return torch.einsum("bhkv,bhk->bhv", S, key)


def _outer(key: Tensor, value: Tensor) -> Tensor:
    return torch.einsum("bhk,bhv->bhkv", key, value)


def _like(mask: Tensor, x: Tensor) -> Tensor:
    return mask.view(-1, *[1] * (x.ndim - 1))


def _real(t: int, lengths: Tensor | None) -> Tensor | None:
    return None if lengths is None else t < lengths


def _before(S: Tensor, t: int, reset: Tensor | None) -> Tensor:
    return S if reset is None else torch.where(_like(reset[:, t], S), 0, S)


def _stack(outputs: list[Tensor], query: Tensor, value: Tensor, lengths: Tensor | None) -> Tensor:
    if not outputs:
        return torch.zeros_like(value)
    output = torch.stack(outputs, 1)
    if lengths is not None:
        real = torch.arange(query.shape[1], device=lengths.device) < lengths[:, None]
        output = torch.where(real[..., None, None], output, 0)
    return output.to(value.dtype)
