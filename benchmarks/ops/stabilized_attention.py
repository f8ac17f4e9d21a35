"""mLSTM's memory beside the chunkwise form of the transformers library."""

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from benchmarks.ops.figures import (
    Figure,
    Work,
    against,
    long_sequences,
    quietly,
    sizes,
    step,
    two_threads,
    with_gradients,
    worst,
)
from statewise.ops.stabilized_attention import (
    reference,
    stabilized_linear_attention,
    stabilized_linear_attention_step,
)

OP = "stabilized_attention"
NAMES = ("batch", "time", "heads", "key", "value")
SHAPES = [(4, 1024, 8, 64, 64), (1, 4096, 4, 128, 256)]
LIBRARY = "transformers, mlstm_chunkwise_native_autograd"


def inputs(shape: tuple[int, ...]) -> list[Tensor]:
    """Return query, key, value and both gates' pre-activations, the forget gates as they start."""
    batch, time, heads, key, value = shape
    g = torch.Generator().manual_seed(0)
    q, k = (torch.randn(batch, time, heads, key, generator=g) for _ in range(2))
    v = torch.randn(batch, time, heads, value, generator=g)
    log_input = torch.randn(batch, time, heads, generator=g)
    return [q, k, v, log_input, torch.randn(batch, time, heads, generator=g) + 4.5]


def ours(q: Tensor, k: Tensor, v: Tensor, log_input: Tensor, pre: Tensor) -> Any:
    """Return the op's results; the log sigmoid is part of both sides."""
    return stabilized_linear_attention(q, k, v, log_input=log_input, log_forget=logsigmoid(pre))


def definition(q: Tensor, k: Tensor, v: Tensor, log_input: Tensor, pre: Tensor) -> Any:
    """Return the results of the loop."""
    batch, _, heads, key = q.shape
    zeros = q.new_zeros(batch, heads, key, v.shape[-1])
    return reference.stabilized_linear_attention(
        q,
        k,
        v,
        log_input=log_input,
        log_forget=logsigmoid(pre),
        scale=key**-0.5,
        eps=0.0,
        initial=(zeros, zeros[..., 0], zeros[..., 0, 0]),
    )


def library() -> Callable[..., Any] | None:
    """Return the other library's chunkwise form, which takes heads before time, if installed."""
    try:
        return importlib.import_module(
            "transformers.models.xlstm.modeling_xlstm"
        ).mlstm_chunkwise_native_autograd
    except ImportError:
        return None


def operations(shape: tuple[int, ...], backward: bool) -> float:
    """Return those of the recurrence, which no form can do with fewer of."""
    batch, time, heads, key, value = shape
    return batch * time * heads * key * value * (12.0 if backward else 4.0)


def figures(rounds: int) -> Iterator[Figure]:
    """Yield the op's figures."""
    theirs = library()
    for shape in SHAPES:
        given = inputs(shape)
        heads_first = [x.transpose(1, 2).contiguous() for x in given]
        grad = torch.randn(given[2].shape, generator=torch.Generator().manual_seed(1))
        few = [x[:, :256] for x in given]
        both = with_gradients(ours, few, [grad[:, :256]])(), quietly(ours, few)()
        wide = [x.double() for x in few]
        exact = with_gradients(definition, wide, [grad[:, :256].double()])()
        error = worst(list(both[0]), list(exact))  # pyright: ignore[reportArgumentType]
        label = sizes(dict(zip(NAMES, shape, strict=True)))
        for what, wanted, gradients in (
            ("forward", None, False),
            ("forward + backward", 4.0, True),
        ):

            def side(
                form: Callable[..., Any], x: list[Tensor], grad: Tensor, gradients: bool = gradients
            ) -> Callable[[], object]:
                return with_gradients(form, x, [grad]) if gradients else quietly(form, x)

            yield against(
                OP,
                what,
                label,
                side(ours, given, grad),
                LIBRARY,
                None if theirs is None else side(theirs, heads_first, grad.transpose(1, 2)),
                work=Work(operations=operations(shape, gradients)),
                wanted=wanted,
                error=error if gradients else None,
                rounds=rounds,
            )
    given = inputs(SHAPES[0])
    label = sizes(dict(zip(NAMES, SHAPES[0], strict=True)))
    yield two_threads(OP, label, with_gradients(ours, given), rounds=rounds)

    given = inputs((1, 100_000, 8, 64, 64))
    yield long_sequences(OP, "batch 1, heads 8, key 64, value 64", ours, given)
    for heads, key, value in ((8, 64, 64), (4, 128, 256)):
        q, k, v, log_input, pre = (x[:, 0] for x in inputs((1, 1, heads, key, value)))
        log_forget = logsigmoid(pre)
        state = (
            torch.zeros(1, heads, key, value),
            torch.zeros(1, heads, key),
            torch.zeros(1, heads),
        )

        def once(
            q: Tensor = q,
            k: Tensor = k,
            v: Tensor = v,
            state: Any = state,
            gates: Any = (log_input, log_forget),
        ) -> object:
            return stabilized_linear_attention_step(
                q, k, v, state, log_input=gates[0], log_forget=gates[1]
            )

        label = sizes({"batch": 1, "heads": heads, "key": key, "value": value})
        yield step(OP, label, once, 8.0 * heads * key * value)
