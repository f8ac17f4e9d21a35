"""mLSTM's memory in transformers (xLSTM): chunkwise, and one step after another."""

from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

from torch import Tensor
from torch.nn.functional import logsigmoid

from benchmarks.witness.agreement import Agreement, agree, draw
from statewise.ops.stabilized_attention import stabilized_linear_attention


def agreements() -> Iterator[Agreement]:
    """Yield one for each form, at a length that chunks of 64 divide."""
    hub = transformers()
    shape = (2, 128, 3)
    given = [
        draw(*shape, 16),
        draw(*shape, 16, seed=1),
        draw(*shape, 24, seed=2),
        draw(*shape, seed=3),
        draw(*shape, seed=4) + 4.5,
    ]

    def ours(q: Tensor, k: Tensor, v: Tensor, log_input: Tensor, forget: Tensor):
        return stabilized_linear_attention(
            q, k, v, log_input=log_input, log_forget=logsigmoid(forget)
        )

    def theirs(form: Callable[..., Any]) -> Callable[..., Any]:
        def call(*x: Tensor):
            heads_first = [v.transpose(1, 2).contiguous() for v in x]
            # A stabilizer of zero would do, but by itself the chunkwise form returns no last state.
            y, (C, n, m) = form(*heads_first, return_last_states=True, eps=0.0)
            return y.transpose(1, 2), C, n, m[..., 0]

        return call

    note = "adds eps in stabilized units, so that its answer depends on m; here eps = 0"
    for form in (hub.mlstm_chunkwise_native_autograd, hub.mlstm_recurrent_sequence_native):
        yield agree(form.__name__, "transformers", ours, theirs(form), given, defects=note)


def transformers() -> Any:
    """Return its own code of xLSTM: with the package xlstm installed it would take that one's."""
    with patch("transformers.utils.is_xlstm_available", lambda: False):
        from transformers.models.xlstm import (  # pyright: ignore[reportMissingImports]
            modeling_xlstm,
        )
    return modeling_xlstm
