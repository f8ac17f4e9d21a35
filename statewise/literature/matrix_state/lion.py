"""LION: recurrences from both sides are full linear attention, and read as well as softmax does.

Afzal et al., "Linear Attention for Efficient Bidirectional Sequence Modeling", 2025,
arXiv:2502.16249, sections 3 and 4.

Recipe   without decay (LIT), with constant (D) and with selected decays (S), the mixer from the
         core, by chunks and by loops is compared with the sum over all pairs, whole and by blocks
         of 1, 7 and 64 keys. Memory is what tensors hold at once, of LION-S without gradients. Two
         layers of 64 features learn the bytes that are hidden, 15 of 100, in windows of 128 of
         Python's manual: LION-S, simple GLA, which reads from the left alone, and softmax attention
         from both sides with rotary positions.
Weak     text alone, where the paper has pictures of objects too; 100,000 weights. Simple GLA has an
         output gate that LION has not; none has a short convolution. Tried before, with seed 100:
         1200 steps in place of 800, which found 60, 48 and 60 of 100.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, pad, scaled_dot_product_attention

from statewise import backends, mixers
from statewise.analysis.allocations import peak_bytes
from statewise.analysis.learning import Whole, learn
from statewise.analysis.lengths import extrapolation
from statewise.literature.paper import Budget, Check, Claim, at
from statewise.mixers.attention import Attention
from statewise.mixers.lion import DECAYS, LION
from statewise.mixers.parts.positions import rotary_rates, turned
from statewise.tasks.masked_bytes import MaskedBytes
from statewise.tasks.passages import of_manual
from statewise.testing.agreement import distance

PAPER = 63
DIM, DEPTH, WINDOW, LENGTHS = 64, 2, 128, (512, 1024, 2048)
RIGHT = "percent of hidden bytes right"
APART = "relative difference of forms"
SHORT, LONG = (f"at {length} bytes of memory" for length in (LENGTHS[0], LENGTHS[-1]))

CLAIM = Claim(
    "For all three kinds of decay the recurrence from both sides, its chunks and full attention, "
    "whole and by blocks of any size, agree to 1e-5 in float32 and 1e-10 in float64; four times "
    "the length takes four times the memory in the recurrence and sixteen times in full attention, "
    "give or take a tenth; and of 100 hidden bytes LION-S finds at least 2 more than linear "
    "attention from the left alone, and at most 1 less than softmax attention from both sides.",
    (
        Check("the forms agree in float32", ("forms in float32", APART), "<=", 1e-5),
        Check("the forms agree in float64", ("forms in float64", APART), "<=", 1e-10),
        Check(
            "the recurrence takes linear memory",
            ("recurrence, memory", LONG),
            "<=",
            ("recurrence, memory", SHORT),
            times=4.4,
        ),
        Check(
            "full attention takes quadratic memory",
            ("all pairs, memory", LONG),
            ">=",
            ("all pairs, memory", SHORT),
            times=14.4,
        ),
        Check(
            "both sides tell more than one",
            ("LION-S", RIGHT),
            ">=",
            ("simple GLA", RIGHT),
            plus=2.0,
        ),
        Check("softmax finds little more", ("LION-S", RIGHT), ">=", ("softmax", RIGHT), plus=-1.0),
    ),
)


def hidden(mixer: Callable[[int], nn.Module], budget: Budget, seed: int) -> dict[str, float]:
    """Return how many hidden bytes are found in the part of the text that was held out."""
    seen, held_out = map(MaskedBytes, of_manual())
    model = Whole([mixer, "feed_forward"] * DEPTH, seen, dim=DIM)
    learn(model, seen, steps=budget.steps(800), length=WINDOW, first=WINDOW, batch=16, seed=seed)
    (score,) = extrapolation(model.eval(), held_out, [WINDOW], rows=512)
    return {RIGHT: 100 * score.accuracy}


class BothWays(nn.Module):
    """Softmax attention with the weights and positions of the library's, to the whole sequence."""

    def __init__(self, dim: int):
        super().__init__()
        self.causal = Attention(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map a whole sequence."""
        parts = self.causal.query_key_value(x).unflatten(-1, (3, self.causal.heads, -1))
        place = torch.arange(x.shape[1]).expand(len(x), -1)
        rates = rotary_rates(parts.shape[-1] // 2, x.device)
        query, key, value = parts.unbind(2)
        query, key = (turned(part, place, rates).transpose(1, 2) for part in (query, key))
        read = scaled_dot_product_attention(query, key, value.transpose(1, 2))
        return self.causal.output(read.transpose(1, 2).flatten(2))


def forms(dtype: torch.dtype, budget: Budget, seed: int) -> dict[str, float]:
    """Return how far any form is from the sum over all pairs, relative to its norm."""
    generator, found = torch.Generator().manual_seed(seed), []
    x = torch.randn(2, 200, DIM, generator=generator, dtype=dtype)
    for decay in DECAYS:
        mixer = LION(DIM, decay=decay).to(dtype)
        with torch.no_grad():
            expected = pairs(mixer, x, size=200)
            others = [pairs(mixer, x, size=size) for size in (1, 7, 64)]
            for backend in ("reference", "torch", None):
                with backends.use(backend):
                    others.append(mixer(x))
        found += [distance(other, expected) for other in others]
    return {APART: max(found)}


def memory(form: Callable[..., Tensor], budget: Budget, seed: int) -> dict[str, float]:
    """Return the bytes that are held at once, by length."""
    mixer, held = LION(DIM), {}
    for length in LENGTHS:
        x = torch.randn(1, length, DIM, generator=torch.Generator().manual_seed(seed))
        held[length] = float(peak_bytes(lambda x=x: form(mixer, x)))
    return at(held, "bytes of memory")


def pairs(mixer: LION, x: Tensor, size: int | None = None) -> Tensor:
    """Return the sum over all pairs of inputs, by blocks of so many keys."""
    query, key, value = (part.transpose(1, 2) for part in mixer.query_key_value(x))
    query, key = mixer.features(query), mixer.features(key)
    weights, read, total = between(mixer, x), torch.zeros(()), torch.zeros(())
    for block in torch.arange(x.shape[1]).split(size or x.shape[1]):
        scores = query @ key[:, :, block].mT * weights[..., block]
        read = read + scores @ value[:, :, block]
        total = total + scores.sum(-1, keepdim=True)
    return mixer.output((read / total).transpose(1, 2).flatten(2))


def between(mixer: LION, x: Tensor) -> Tensor:
    """Return M, the product of the decays between each two inputs, (batch, heads, time, time)."""
    decay = torch.zeros(*x.shape[:2], mixer.heads, dtype=x.dtype)
    if mixer.rate is not None:
        decay = decay + logsigmoid(mixer.rate)
    elif mixer.forget is not None:
        decay = logsigmoid(-mixer.forget(x))
    decay, later = decay.mT, torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril(-1)
    # Added up one by one: differences of long sums lose what float32 has left.
    left = torch.where(later, pad(decay, (1, -1))[..., None], 0).cumsum(-2)
    right = torch.where(later.mT, decay[..., None, :], 0).cumsum(-1)
    return (left + right).exp()


RECIPES = {
    "LION-S": (hidden, LION),
    "simple GLA": (hidden, lambda dim: mixers.build({"name": "simple_gla", "width": 1}, dim)),
    "softmax": (hidden, BothWays),
    "recurrence, memory": (memory, LION.__call__),
    "all pairs, memory": (memory, pairs),
    "forms in float32": (forms, torch.float32),
    "forms in float64": (forms, torch.float64),
}


def measure(recipe: tuple[Callable[..., Any], Any], budget: Budget, seed: int) -> dict[str, float]:
    """Return what is measured of a model, or of the forms."""
    found, what = recipe
    return found(what, budget, seed)
