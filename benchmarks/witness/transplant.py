"""A mixer of ours whose recurrence is a peer's, beside the same mixer as it is.

For peers that publish the recurrence alone: the projections, gates and norms around it are ours on
both sides, and what the mixer hands to its op goes to the peer's function instead.
"""

import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import ModuleType
from typing import Any
from unittest.mock import Mock, patch

import torch
from torch import Tensor
from torch.func import functional_call

from benchmarks.witness.agreement import Agreement, agree, draw
from statewise.mixers.base import Mixer


def transplant(
    what: str,
    package: str,
    mixer: Mixer[Any],
    peers: Mapping[str, Callable[..., Any]],
    *,
    at: ModuleType | None = None,
    time: int = 100,
    state: bool = True,
    defects: str = "",
) -> Agreement:
    """Compare a mixer with itself on a peer's functions, and the gradients of x and all weights.

    Args:
        what: the peer's function; the mixer's name comes before it.
        package: the peer's.
        mixer: one with weights, which are shaken for none to stay at zero.
        peers: what stands in for functions that the mixer calls, by the names that it calls.
        at: the file of those calls; the mixer's own if absent.
        time: length of x.
        state: whether the peer returns the last state too.
        defects: as in `agree`.
    """
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    names = [name for name, _ in mixer.named_parameters()]

    def ours(x: Tensor, *weights: Tensor) -> Any:
        answers = functional_call(mixer, dict(zip(names, weights, strict=True)), (x,))
        return answers if state else answers[0]

    def theirs(*given: Tensor) -> Any:
        file = sys.modules[type(mixer).__module__] if at is None else at
        calls = {name: Mock(side_effect=function) for name, function in peers.items()}
        with ExitStack() as stack:
            for name, call in calls.items():
                stack.enter_context(patch.object(file, name, call))
            answers = ours(*given)
        # Where nothing was replaced a mixer would agree with itself.
        if missed := [name for name, call in calls.items() if not call.called]:
            raise ValueError(f"{what}: the mixer does not call {', '.join(missed)}")
        return answers

    what = f"{type(mixer).__name__} on {what}"
    given = [draw(2, time, mixer.dim), *mixer.parameters()]
    return agree(what, package, ours, theirs, given, defects=defects)
