"""Linear attention beside the chunked scan in the Mamba-2 of transformers, and chunks in torch.

A decay per key is set beside the factorized form that most torch code has,
(q exp(G)) (k exp(-G))^T within a chunk, which is the fastest and overflows where a chunk forgets
more than exp(-88); ours is exact for any decay. The operations counted are those of the
recurrence, an update and a reading of every number of the state: 5 for each token forward,
and 16 more backward.
"""

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
from statewise.ops.linear_attention import (
    linear_attention,
    linear_attention_step,
    normalized_linear_attention_step,
    reference,
)

try:
    from transformers.models.mamba2.modeling_mamba2 import (  # pyright: ignore[reportMissingImports]
        mamba2_chunk_scan,
    )
except ImportError:
    mamba2_chunk_scan = None

OP = "linear_attention"
Shape = tuple[int, int, int, int, int]
Form = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
SHAPES: list[Shape] = [(4, 1024, 8, 64, 64), (1, 4096, 8, 128, 128)]


def named(shape: Shape) -> str:
    """Return a shape in words."""
    return sizes(dict(zip(("batch", "time", "heads", "key", "value"), shape, strict=True)))


def inputs(shape: Shape, decay: str) -> list[Tensor]:
    """Return queries, keys, values and log decays (per "head" or "key") as trained models have."""
    batch, time, heads, key, value = shape
    g = torch.Generator().manual_seed(0)
    q, k = (torch.randn(batch, time, heads, key, generator=g) * key**-0.5 for _ in range(2))
    v = torch.randn(batch, time, heads, value, generator=g)
    of_decay = (batch, time, heads) if decay == "head" else (batch, time, heads, key)
    return [q, k, v, -0.1 * torch.rand(of_decay, generator=g)]


def ours(q: Tensor, k: Tensor, v: Tensor, g: Tensor) -> Tensor:
    """Compute our op as it is called."""
    return linear_attention(q, k, v, log_decay=g)[0]


def ours_as_mamba2(q: Tensor, k: Tensor, v: Tensor, g: Tensor) -> Tensor:
    """Compute Mamba-2's recurrence, whose step sizes -g multiply the values too."""
    return linear_attention(q, k, v * -g[..., None], log_decay=g)[0]


def mamba2(chunk: int) -> Form:
    """Return the chunked scan of transformers, with rates of one."""

    def form(q: Tensor, k: Tensor, v: Tensor, g: Tensor) -> Tensor:
        assert mamba2_chunk_scan is not None
        return mamba2_chunk_scan(v, -g, -torch.ones(g.shape[2]), k, q, chunk_size=chunk)

    return form


def factorized(chunk: int) -> Form:
    """Return the chunkwise form with a decay per key whose exponents are not kept in bounds."""

    def form(q: Tensor, k: Tensor, v: Tensor, g: Tensor) -> Tensor:
        time = q.shape[1]
        q, k, v, g = (
            x.unflatten(1, (time // chunk, chunk)).movedim(3, 1).contiguous() for x in (q, k, v, g)
        )
        total = g.cumsum(3)
        grown, shrunk = q * total.exp(), k * (-total).exp()
        pushed = k * (total[..., -1:, :] - total).exp()
        written, kept = pushed.mT @ v, total[..., -1, :, None].exp()
        states, state = [], torch.zeros_like(written[:, :, 0])
        for n in range(time // chunk):
            states.append(state)
            state = kept[:, :, n] * state + written[:, :, n]
        inner = (grown @ shrunk.mT).tril() @ v
        return (inner + grown @ torch.stack(states, 2)).flatten(2, 3).movedim(1, 2)

    return form


def exactness(given: list[Tensor]) -> float:
    """Return our largest error, gradients included, over a short piece in float64."""
    piece = [x[:1, :256].contiguous() for x in given]
    found = []
    for form, dtype in ((ours, torch.float32), (defined, torch.float64)):
        leaves = [x.detach().to(dtype).requires_grad_() for x in piece]
        y = form(*leaves)
        found.append([y.detach(), *torch.autograd.grad(y.square().sum(), leaves)])
    return worst(*found)


def defined(q: Tensor, k: Tensor, v: Tensor, g: Tensor) -> Tensor:
    """Compute the definition."""
    batch, _, heads, width = v.shape
    initial = v.new_zeros(batch, heads, q.shape[-1], width)
    return reference.linear_attention(q, k, v, log_decay=g, initial=initial)[0]


def figures(rounds: int) -> Iterator[Figure]:
    """Yield the ratios, and what threads, long sequences and steps cost."""
    for shape in SHAPES:
        batch, time, heads, key, value = shape
        numbers = batch * time * heads * key * value
        for decay, mine, sides in (
            (
                "head",
                ours_as_mamba2,
                {f"transformers' Mamba-2, chunk {n}": mamba2(n) for n in (64, 256)},
            ),
            ("key", ours, {f"factorized chunks of {n}": factorized(n) for n in (32, 64)}),
        ):
            given = inputs(shape, decay)
            there = decay == "key" or mamba2_chunk_scan is not None
            error = exactness(given)
            for name, form in sides.items():
                for what, run, times in (
                    ("forward", quietly, 5),
                    ("forward + backward", with_gradients, 21),
                ):
                    yield against(
                        OP,
                        f"{what}, decay per {decay}",
                        named(shape),
                        run(mine, given),
                        name,
                        run(form, given) if there else None,
                        work=Work(operations=times * numbers),
                        wanted=4.0 if what != "forward" else None,
                        error=error,
                        rounds=rounds,
                    )

    for decay in ("head", "key"):
        given = inputs(SHAPES[0], decay)
        yield two_threads(
            OP, f"{named(SHAPES[0])}, decay per {decay}", with_gradients(ours, given), rounds=rounds
        )

        shape = f"batch 1, heads 8, key 64, value 64, decay per {decay}"
        yield long_sequences(OP, shape, ours, inputs((1, 100_000, 8, 64, 64), decay))

        for heads, size in ((8, 64), (4, 128)):
            q, k, v, g = (x[:, 0] for x in inputs((1, 1, heads, size, size), decay))
            state = torch.zeros(1, heads, size, size)

            def once(q=q, k=k, v=v, g=g, state=state) -> object:
                return linear_attention_step(q, k, v, state, log_decay=g)

            shape = f"heads {heads}, key {size}, value {size}, decay per {decay}"
            yield step(OP, shape, once, 8.0 * state.numel())
    yield from _normalized_steps()


def _normalized_steps() -> Iterator[Figure]:
    """One step with the sum of its weights, which is a second, narrow state."""
    for heads, size in ((8, 64), (8, 128)):
        q, k, v, g = (x[:, 0] for x in inputs((1, 1, heads, size, size), "head"))
        q, k = q.exp(), k.exp()
        state = (torch.zeros(1, heads, size, size), torch.zeros(1, heads, size))
        shape = f"normalized, heads {heads}, key {size}, value {size}, decay per head"

        def once(q=q, k=k, v=v, g=g, state=state) -> object:
            return normalized_linear_attention_step(q, k, v, state, log_decay=g)

        yield step(OP, shape, once, 8.0 * state[0].numel())
