"""Sequences that lie end to end, and back to front: what all functions share, and none of them."""

from collections.abc import Callable, Mapping
from itertools import accumulate, pairwise
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

Keys = Float[Tensor, "batch time heads key"]
Values = Float[Tensor, "batch time heads value"]
Heads = Float[Tensor, "batch time heads"]
State = Float[Tensor, "sequences heads rows columns"]
"""Keys and values, or values and keys where a function is told `state_v_first`."""

Bounds = Int[Tensor, " bounds"]
Answer = tuple[Values, State | None]

Op = Callable[..., tuple[Tensor, Tensor]]
"""op(**timed, initial=..., **marks) -> (output, final): one of ours, with `reset` or `lengths`."""

Timed = Mapping[str, Tensor | None]
"""Tensors (batch, time, ...) by the name that an op has for them."""


def over_sequences(
    op: Op,
    timed: Timed,
    *,
    initial_state: Tensor | None,
    output_final_state: bool,
    cu_seqlens: Bounds | None,
    reverse: bool = False,
    state_v_first: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Return what an op answers to each of the sequences, and their final states if asked for.

    Raises:
        ValueError: if the bounds, or the initial states, are not those of the sequences.
    """
    initial = initial_state
    if initial is not None and state_v_first:
        initial = initial.transpose(-1, -2)
    lengths = None if cu_seqlens is None else _lengths(cu_seqlens, timed)
    sequences = len(lengths or next(x for x in timed.values() if x is not None))
    if initial is not None and len(initial) != sequences:
        raise ValueError(
            f"initial_state has {len(initial)} rows and should have {sequences}, one a sequence"
        )
    if reverse:
        timed = {name: None if x is None else x.flip(1) for name, x in timed.items()}
    if lengths is None:
        output, final = op(**timed, initial=initial)
    else:
        # Back to front as a whole, the last sequence comes first.
        lengths = lengths[::-1] if reverse else lengths
        if initial is None and not output_final_state:
            output, final = _as_one(op, timed, lengths), None
        else:
            initial = initial.flip(0) if reverse and initial is not None else initial
            output, final = _in_groups(op, timed, initial, lengths)
            final = final.flip(0) if reverse else final
    output = output.flip(1) if reverse else output
    if final is None or not output_final_state:
        return output, None
    return output, final.transpose(-1, -2).contiguous() if state_v_first else final


def refuse(function: str, **options: Any) -> None:
    """Refuse options that are asked for and have no meaning here."""
    for name, value in options.items():
        if value:
            raise ValueError(f"{function}: {name} is not supported, and should not be given")


def _lengths(cu_seqlens: Bounds, timed: Timed) -> list[int]:
    """Return those of the sequences."""
    bounds = cu_seqlens.tolist()
    lengths = [stop - start for start, stop in pairwise(bounds)]
    if not lengths or bounds[0] != 0 or min(lengths) < 0:
        raise ValueError(f"cu_seqlens {bounds} should rise from 0, by the length of each sequence")
    for name, x in timed.items():
        if x is not None and x.shape[:2] != (1, bounds[-1]):
            raise ValueError(
                f"{name} {tuple(x.shape)} should have a batch of 1 and, as cu_seqlens ends, a time "
                f"of {bounds[-1]}"
            )
    return lengths


def _as_one(op: Op, timed: Timed, lengths: list[int]) -> Tensor:
    """Return the outputs end to end, of one row that is reset where a sequence begins.

    So nothing is copied; but a row has one state before it, and one after.
    """
    time, device = sum(lengths), _device(timed)
    begins = torch.tensor([0, *accumulate(lengths)], device=device)
    reset = torch.zeros(1, time + 1, dtype=torch.bool, device=device)
    reset[0, begins] = True
    return op(**timed, initial=None, reset=reset[:, :time])[0]


def _in_groups(
    op: Op, timed: Timed, initial: Tensor | None, lengths: list[int]
) -> tuple[Tensor, Tensor]:
    """Return the outputs end to end, and the final state of each sequence.

    Sequences whose lengths have as many binary digits are padded and computed together: at most
    half of what is computed is padding, in as many calls as the longest length has digits.
    """
    device = _device(timed)
    groups: dict[int, list[int]] = {}
    for sequence, length in enumerate(lengths):
        groups.setdefault(length.bit_length(), []).append(sequence)
    begins, sizes = torch.tensor([0, *accumulate(lengths)]), torch.tensor(lengths)
    ends = [sizes[group] for group in groups.values()]
    steps = [torch.arange(int(end.max())) for end in ends]
    real = [step < end[:, None] for step, end in zip(steps, ends, strict=True)]
    places = [
        begins[group][:, None] + step for group, step in zip(groups.values(), steps, strict=True)
    ]
    # All groups are read at once, and what is padding reads what it may.
    last = max(sum(lengths) - 1, 0)
    read = torch.cat([place.flatten() for place in places]).clamp(max=last).to(device)
    padded = {
        name: x if x is None else x[0].index_select(0, read).split([m.numel() for m in real])
        for name, x in timed.items()
    }
    outputs, finals = [], []
    for n, (group, end, mask) in enumerate(zip(groups.values(), ends, real, strict=True)):
        part = {
            name: x if x is None else x[n].unflatten(0, mask.shape) for name, x in padded.items()
        }
        start = None if initial is None else initial[group]
        output, final = op(**part, initial=start, lengths=end.to(device))
        outputs.append(output.flatten(0, 1))
        finals.append(final)
    found = torch.cat([mask.flatten() for mask in real]).nonzero()[:, 0]
    order = torch.cat([place[mask] for place, mask in zip(places, real, strict=True)]).argsort()
    output = torch.cat(outputs).index_select(0, found[order].to(device))
    rows = torch.tensor([sequence for group in groups.values() for sequence in group]).argsort()
    return output[None], torch.cat(finals)[rows.to(device)]


def _device(timed: Timed) -> torch.device:
    return next(x.device for x in timed.values() if x is not None)
