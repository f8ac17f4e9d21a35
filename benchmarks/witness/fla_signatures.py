"""`statewise.compat.fla` beside flash-linear-attention's references, and its signatures.

Every function is compared from an initial state, once on a batch and once on sequences end to end;
there the reference is called for each of them.
"""

import ast
import inspect
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils._pytree import tree_leaves

from benchmarks.witness.agreement import Agreement, agree, draw
from benchmarks.witness.fla import CASTS, LAST, PACKAGE, folder, naive, swapped
from statewise.compat import fla

BOUNDS = (0, 3, 3, 64, 65, 100)
"""Of sequences end to end, one of them empty."""

TIME, HEADS, KEY, VALUE = BOUNDS[-1], 3, 8, 12

Call = Callable[..., Any]


def agreements() -> Iterator[Agreement]:
    """Yield two for each function, and one for all their signatures."""
    calls = _calls()
    for name, (theirs, letters, starts) in calls.items():
        yield _agreement(name, theirs, letters, starts, packed=False)
        if "cu_seqlens" in inspect.signature(getattr(fla, name)).parameters:
            yield _agreement(name, theirs, letters, starts, packed=True)
    unlike = [name for name in fla.__all__ if name not in calls or not _begins_as_theirs(name)]
    what = ", ".join(["signatures", *unlike])
    yield Agreement(what, f"{PACKAGE} {version(PACKAGE)}", len(unlike), 0, "")


def _agreement(name: str, theirs: Call, letters: str, starts: str, *, packed: bool) -> Agreement:
    """Compare one function, on a batch or on sequences end to end."""
    sequences = len(BOUNDS) - 1 if packed else 2
    given = [_drawn(letter, 1 if packed else 2) for letter in letters]
    states = [_drawn(letter, sequences) for letter in starts]
    cuts = {"cu_seqlens": torch.tensor(BOUNDS)} if packed else {}

    def ours(*x: Tensor) -> Any:
        read, start = x[: len(given)], x[len(given) :]
        positional = [y for y, letter in zip(read, letters, strict=True) if letter != "b"]
        # Betas have another place in one function, and the same name in all.
        betas = {"beta": read[letters.index("b")]} if "b" in letters else {}
        state: Any = start if len(starts) > 1 else start[0]
        return getattr(fla, name)(*positional, **betas, initial_state=state, **LAST, **cuts)

    def each(*x: Tensor) -> Any:
        read, start = x[: len(given)], x[len(given) :]
        if not packed:
            return theirs(*read, *start)
        outputs, finals = [], []
        for n, (begin, end) in enumerate(pairwise(BOUNDS)):
            state = [leaf[n : n + 1] for leaf in start]
            if begin < end:
                part = [y[:, begin:end] if y.shape[:2] == (1, TIME) else y for y in read]
                output, final = theirs(*part, *state)
                outputs.append(output)
                state = tree_leaves(final)
            finals.append(state)
        return torch.cat(outputs, 1), [torch.cat(leaf) for leaf in zip(*finals, strict=True)]

    form = "end to end" if packed else "a batch"
    return agree(f"{name}, {form}", PACKAGE, ours, each, [*given, *states], defects=CASTS)


def _drawn(letter: str, rows: int) -> Tensor:
    """Return what a letter of `_calls` stands for; rows are those of the batch, or sequences."""
    by_key, by_value = (rows, TIME, HEADS, KEY), (rows, TIME, HEADS, VALUE)
    seed = ord(letter)
    if letter in "SnH":
        shape = {"S": (HEADS, KEY, VALUE), "n": (1, HEADS, KEY), "H": (VALUE,)}[letter]
        return draw(rows, *shape, seed=seed).abs()
    if letter == "u":
        return draw(HEADS, KEY, seed=seed)
    if letter == "v":
        return draw(*by_value, seed=seed)
    if letter in "gb":
        x = draw(*by_key[:3], seed=seed)
        return x.sigmoid() if letter == "b" else -x.abs()
    if letter in "xh":
        x = draw(rows, TIME, VALUE, seed=seed)
        return x if letter == "x" else -x.abs()
    x = draw(*by_key, seed=seed)
    if letter in "kae":
        # What is read and written in turn: of norm one, with eigenvalues within [-1, 1].
        x = normalize(draw(*by_key, seed=ord("k")), dim=-1) * (-1 if letter == "a" else 1)
    return {"d": -x.abs(), "p": x.abs() + 0.1, "r": x.abs() + 0.1}.get(letter, x)


def _begins_as_theirs(name: str) -> bool:
    """Whether their arguments, in their order, are the first of ours, with the same defaults."""
    ours = inspect.signature(getattr(fla, name)).parameters.values()
    theirs = _signatures()[name]
    return [(p.name, _default(p)) for p in ours][: len(theirs)] == theirs


def _default(parameter: inspect.Parameter) -> str | None:
    """Return how a default is written; None where an argument has to be given."""
    return None if parameter.default is parameter.empty else repr(parameter.default)


@cache
def _signatures() -> dict[str, list[tuple[str, str | None]]]:
    """Return the arguments of every function in fla/ops, read and not run, and their defaults."""
    found = {}
    for path in sorted(folder().rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name in fla.__all__:
                defaults = [ast.unparse(default) for default in node.args.defaults]
                missing: list[str | None] = [None] * (len(node.args.args) - len(defaults))
                names = [argument.arg for argument in node.args.args]
                found[node.name] = list(zip(names, [*missing, *defaults], strict=True))
    return found


def _calls() -> dict[str, tuple[Call, str, str]]:
    """Return of each function the reference, and letters for what it reads and starts from."""
    gla, simple, linear, plain, gated, kda, rwkv6, dplr, hgrn = (
        naive(name)
        for name in (
            "gla/naive",
            "simple_gla/naive",
            "linear_attn/naive",
            "delta_rule/naive",
            "gated_delta_rule/naive",
            "kda/naive",
            "rwkv6/recurrent_naive",
            "generalized_delta_rule/dplr/naive",
            "hgrn/naive",
        )
    )

    def started(form: Call) -> Call:
        return lambda *x: form(*x[:-1], initial_state=x[-1], **LAST)

    def heads_first(form: Call, timed: int) -> Call:
        def call(*x: Tensor):
            *more, start = x[timed:]
            o, S = form(*swapped(*x[:timed]), *more, initial_state=start, **LAST)
            return o.transpose(1, 2), S

        return call

    def retained(q: Tensor, k: Tensor, v: Tensor, start: Tensor):
        decays = (1 - 2.0 ** (-5 - torch.arange(HEADS))).log().expand(q.shape[:3])
        return headed(q, k, v, decays, start)

    def averaged(q: Tensor, k: Tensor, v: Tensor, S: Tensor, n: Tensor):
        form = linear.naive_recurrent_linear_attn
        return form(q, k, v, initial_state=(S, n), **LAST, normalize=True)

    def betas_first(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, start: Tensor):
        return started(gated.naive_recurrent_gated_delta_rule)(q, k, v, beta, g, start)

    def rwkv7(r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, start: Tensor):
        return low_rank(r, k, v, a, b, w, start)

    def unscaled(r: Tensor, *rest: Tensor):
        return rwkv7(r * KEY**0.5, *rest)

    by_key = started(gla.naive_recurrent_gla)
    headed = started(simple.naive_recurrent_simple_gla)
    summed = started(linear.naive_recurrent_linear_attn)
    bonus = heads_first(rwkv6.naive_recurrent_rwkv6, 4)
    delta = heads_first(plain.delta_rule_recurrence, 4)
    keyed = started(kda.naive_recurrent_kda)
    low_rank = heads_first(dplr.dplr_recurrence, 6)
    diagonal = started(hgrn.naive_recurrent_hgrn)
    return {
        "chunk_gla": (by_key, "qkvd", "S"),
        "fused_recurrent_gla": (by_key, "qkvd", "S"),
        "chunk_simple_gla": (headed, "qkvg", "S"),
        "fused_chunk_simple_gla": (headed, "qkvg", "S"),
        "fused_recurrent_simple_gla": (headed, "qkvg", "S"),
        "chunk_retention": (retained, "qkv", "S"),
        "fused_chunk_retention": (retained, "qkv", "S"),
        "fused_recurrent_retention": (retained, "qkv", "S"),
        "chunk_linear_attn": (averaged, "prv", "Sn"),
        "fused_chunk_linear_attn": (averaged, "prv", "Sn"),
        "fused_recurrent_linear_attn": (summed, "qkv", "S"),
        "chunk_rwkv6": (bonus, "qkvdu", "S"),
        "fused_recurrent_rwkv6": (bonus, "qkvdu", "S"),
        "chunk_delta_rule": (delta, "qkvb", "S"),
        "fused_recurrent_delta_rule": (delta, "qkvb", "S"),
        "chunk_gated_delta_rule": (betas_first, "qkvgb", "S"),
        "fused_recurrent_gated_delta_rule": (betas_first, "qkvgb", "S"),
        "chunk_kda": (keyed, "qkvdb", "S"),
        "fused_recurrent_kda": (keyed, "qkvdb", "S"),
        "chunk_dplr_delta_rule": (low_rank, "qkvaed", "S"),
        "fused_recurrent_dplr_delta_rule": (low_rank, "qkvaed", "S"),
        "chunk_rwkv7": (unscaled, "qdkvae", "S"),
        "fused_recurrent_rwkv7": (rwkv7, "qdkvae", "S"),
        "chunk_hgrn": (diagonal, "xh", "H"),
        "fused_recurrent_hgrn": (diagonal, "xh", "H"),
    }
