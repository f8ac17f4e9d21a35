"""The delta rule beside the chunked form of transformers, and beside our own in torch."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

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
from statewise.ops.delta_rule import (
    delta_product_step,
    delta_rule,
    delta_rule_step,
    low_rank_delta_rule_step,
    reference,
)
from statewise.ops.delta_rule.torch import delta_rule as torch_form

try:
    from transformers.models.qwen3_next import (  # pyright: ignore[reportMissingImports]
        modeling_qwen3_next as hub,
    )
except ImportError:
    hub = None

Side = tuple[str, Callable[..., tuple[Tensor, Tensor]] | None, float | None, float | None]
"""A baseline, and the ratios that were set as aims, forward and with the backward pass."""

SHAPES = [(4, 1024, 8, 64, 64), (1, 4096, 8, 128, 128)]


def inputs(batch: int, time: int, heads: int, key: int, value: int, per_key: bool) -> list[Tensor]:
    """Return query, key, value, beta, log_decay, with keys of norm one."""
    g = torch.Generator().manual_seed(0)
    shape = (batch, time, heads)
    query, keys = torch.randn(2, *shape, key, generator=g).unbind(0)
    return [
        query,
        torch.nn.functional.normalize(keys, dim=-1),
        torch.randn(*shape, value, generator=g),
        torch.rand(shape, generator=g),
        -0.2 * torch.rand(*shape, *((key,) if per_key else ()), generator=g),
    ]


def ours(query: Tensor, key: Tensor, value: Tensor, beta: Tensor, log_decay: Tensor):
    """Return what transformers does, which scales by the key's size."""
    return delta_rule(query, key, value, beta, log_decay=log_decay, scale=key.shape[-1] ** -0.5)


def in_torch(query: Tensor, key: Tensor, value: Tensor, beta: Tensor, log_decay: Tensor):
    """Return the same from our chunkwise form in torch."""
    batch, _, heads, width = key.shape
    initial = key.new_zeros(batch, heads, width, value.shape[-1])
    scale = width**-0.5
    return torch_form(query, key, value, beta, log_decay=log_decay, scale=scale, initial=initial)


def theirs(query: Tensor, key: Tensor, value: Tensor, beta: Tensor, log_decay: Tensor):
    """Return what transformers does, in chunks of 64, as it does by itself, and the last state."""
    assert hub is not None
    return hub.torch_chunk_gated_delta_rule(query, key, value, log_decay, beta, 64, None, True)


def figures(rounds: int) -> Iterator[Figure]:
    """Yield the figures, one by one."""
    op = "delta_rule"
    for per_key in (False, True):
        for shape in SHAPES:
            batch, time, heads, key, value = shape
            tokens = batch * time * heads
            # Of the recurrence: S^T k, the correction and S^T q are two operations a number each.
            forward = Work(operations=6.0 * tokens * key * value)
            both = Work(operations=3 * forward.operations)
            given = inputs(*shape, per_key)
            wide = [x[:, :128].double() for x in given]
            start = torch.zeros(batch, heads, key, value, dtype=torch.float64)
            exact = reference.delta_rule(
                *wide[:4], log_decay=wide[4], scale=key**-0.5, initial=start
            )
            error = worst(ours(*(x[:, :128] for x in given)), exact)
            named = zip(("batch", "time", "heads", "key", "value"), shape, strict=True)
            name = sizes(dict(named)) + (", decay per key" if per_key else "")
            sides: list[Side] = [("our torch backend", in_torch, None, None)]
            if not per_key:
                there = None if hub is None else theirs
                sides.insert(0, ("transformers' torch_chunk_gated_delta_rule", there, 6, 4))
            for label, form, aim, aim_both in sides:
                other = None if form is None else quietly(form, given)
                yield against(
                    op, "forward", name, quietly(ours, given), label, other,
                    work=forward, wanted=aim, error=error, rounds=rounds,
                )  # fmt: skip
                other = None if form is None else with_gradients(form, given)
                yield against(
                    op, "forward + backward", name, with_gradients(ours, given), label, other,
                    work=both, wanted=aim_both, rounds=rounds,
                )  # fmt: skip
            yield two_threads(op, name, quietly(ours, given), rounds=rounds)
    yield long_sequences(
        op,
        "batch 1, heads 8, key 64, value 64",
        ours,
        inputs(1, 100_000, 8, 64, 64, False),
    )
    for heads, width in ((8, 64), (8, 128)):
        yield from _steps(heads, width)


def _steps(heads: int, width: int) -> Iterator[Figure]:
    query, key, value, beta, log_decay = (x[:, 0] for x in inputs(1, 1, heads, width, width, False))
    state = torch.randn(1, heads, width, width, generator=torch.Generator().manual_seed(0))
    keys, values, betas = (x[:, None].repeat_interleave(2, 1) for x in (key, value, beta))
    read, write, decays = (
        -key,
        key * beta[..., None],
        log_decay[..., None].expand_as(key).contiguous(),
    )
    calls = {
        "": lambda: delta_rule_step(query, key, value, beta, state, log_decay=log_decay),
        ", product of 2": lambda: delta_product_step(
            query, keys, values, betas, state, log_decay=log_decay
        ),
        ", low rank": lambda: low_rank_delta_rule_step(
            query, key, value, read, write, state, log_decay=decays
        ),
    }
    for kind, call in calls.items():
        # Of a product too, the state is counted once each way, though every correction passes over
        # it twice. With keys of 128 a product of 2 took 51 microseconds, the low-rank form 37 and
        # one correction 25, of 30 allowed. Python and the call are at most 9 of them: that is all
        # a step of keys of 64 takes.
        name = f"batch 1, heads {heads}, key {width}, value {width}{kind}"
        yield step("delta_rule", name, call, 2 * state.numel() * 4)
