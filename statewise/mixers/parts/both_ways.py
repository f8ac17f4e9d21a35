"""Sequences read from the right as well as from the left: no mixer itself."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from statewise.mixers.base import within
from statewise.ops.linear_attention import linear_attention


class Mirror(NamedTuple):
    """How the rows of a batch look from the right: from each one's last real input to its first."""

    places: Int[Tensor, "batch time"]
    """Where each place is found in the other order, padding where it is."""

    reset: Bool[Tensor, "batch time"] | None
    """The resets in the other order."""

    def __call__(self, x: Float[Tensor, "batch time *axes"]) -> Float[Tensor, "batch time *axes"]:
        """Return a sequence in the other order; twice, and it is as before."""
        return x.gather(
            1, self.places.reshape(*self.places.shape, *[1] * (x.ndim - 2)).expand_as(x)
        )


def mirror(
    x: Float[Tensor, "batch time *axes"],
    *,
    lengths: Int[Tensor, " batch"] | None,
    reset: Bool[Tensor, "batch time"] | None,
) -> Mirror:
    """Return how the rows of x look from the right."""
    batch, time = x.shape[:2]
    place = torch.arange(time, device=x.device).expand(batch, -1)
    ends = torch.full((batch,), time, device=x.device) if lengths is None else lengths
    real, ends = within(ends, time), ends[:, None]
    parted = None
    if reset is not None:
        # The mark before t parts t from t - 1. Read from the right, t - 1 is the later one.
        before = torch.where(real, ends - place, 0) % max(time, 1)
        parted = real & (place > 0) & reset.gather(1, before)
    return Mirror(torch.where(real, ends - 1 - place, place), parted)


def attend_both_ways(
    query: Float[Tensor, "batch time heads key"],
    key: Float[Tensor, "batch time heads key"],
    value: Float[Tensor, "batch time heads value"],
    *,
    log_decay: Float[Tensor, "batch time heads"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
) -> Float[Tensor, "batch time heads value"]:
    """Return  y_i = sum_j M_ij (q_i . k_j) v_j  over all j, from the left and from the right.

    M_ij is the product of the decays of j, ..., i - 1 if j is before i, of i + 1, ..., j if it is
    after, and 1 if it is i. So from either side the state decays by what the input before it, as
    read from that side, says; each side counts j = i by half. Nothing crosses a reset.
    """
    seen = mirror(value, lengths=lengths, reset=reset)

    def half(
        query: Tensor, key: Tensor, value: Tensor, log_decay: Tensor | None, marks: Tensor | None
    ) -> Tensor:
        if log_decay is not None:
            log_decay = pad(log_decay, (0, 0, 1, 0))[:, : log_decay.shape[1]]
            if marks is not None:
                # What stood before a reset is not to be read, be it NaN.
                log_decay = torch.where(marks[..., None], 0, log_decay)
        y, _ = linear_attention(
            query, key, value, log_decay=log_decay, reset=marks, lengths=lengths
        )
        return y - (query * key).sum(-1, keepdim=True) * value / 2

    left = half(query, key, value, log_decay, reset)
    turned = None if log_decay is None else seen(log_decay)
    return left + seen(half(seen(query), seen(key), seen(value), turned, seen.reset))
