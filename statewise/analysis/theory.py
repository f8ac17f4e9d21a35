"""What is proved of a recurrence on the tasks of a capability card, by family and option.

It is about finite precision and all lengths at once: what is excluded may still be right at short
lengths, and what is allowed may still not be learned. True is allowed, False is excluded, None is
not settled by what is cited. The words of S3 contain parity and counting modulo three: the even
permutations are a cycle of three.
"""

import inspect
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from statewise import mixers


class Verdict(NamedTuple):
    """What theory says of one mixer on one task."""

    allowed: bool | None
    why: str
    source: str


class Kind(NamedTuple):
    """A kind of transition, and what it allows."""

    parity: bool | None
    counting: bool | None
    words: bool | None
    why: str
    source: str
    deep: bool = False
    """Whether counting and words, where allowed, need a stack of two layers."""


GRAZZI = "Grazzi et al., 2024, arXiv:2411.12537"
DERIVED = "derived here from its equations, by the argument of " + GRAZZI
UNSTATED = "no theorem known to us"

KINDS = {
    "decays": Kind(
        False,
        False,
        False,
        "diagonal transitions with eigenvalues in [0, 1]: on equal inputs the state settles",
        "Sarrof et al., 2024, arXiv:2405.17394; " + GRAZZI,
    ),
    "constant": Kind(
        False,
        None,
        False,
        "transitions that do not read the input, however deep the stack",
        "Khavari et al., 2025, arXiv:2508.07395",
    ),
    "constant phases": Kind(
        None,
        None,
        None,
        "decays read the input, phases do not",
        UNSTATED,
    ),
    "phases": Kind(
        True,
        True,
        True,
        "complex diagonal transitions that the input turns commute: S3 takes two layers",
        "Shakerinava et al., 2026, arXiv:2603.01959",
        deep=True,
    ),
    "corrections": Kind(
        False,
        False,
        False,
        "I - beta k k^T with beta up to 1: eigenvalues in [0, 1], and what a product turns fades",
        GRAZZI,
    ),
    "reflections": Kind(
        True,
        True,
        True,
        "one reflection a token (beta up to 2) has real eigenvalues: rotations take two layers",
        "Siems et al., 2025, arXiv:2502.10297; " + GRAZZI,
        deep=True,
    ),
    "products": Kind(
        True,
        True,
        True,
        "two reflections or more a token: they rotate, and permute three places",
        "Siems et al., 2025, arXiv:2502.10297; " + GRAZZI,
    ),
    "matrices": Kind(
        True,
        True,
        True,
        "any matrix for each input: any finite automaton",
        "Ebrahimi and Memisevic, 2025, arXiv:2505.21749",
    ),
    "nonlinear": Kind(
        True,
        True,
        True,
        "a nonlinear recurrence: any finite automaton",
        "Merrill, 2019, arXiv:1906.01615; Korsky and Berwick, 2019, arXiv:1906.06349",
    ),
    "attention": Kind(
        False,
        False,
        False,
        "at constant precision within AC0, which holds neither parity nor counting",
        "Li et al., 2024, arXiv:2402.12875",
    ),
    "window": Kind(
        False,
        False,
        False,
        "what is answered depends on the last inputs only, as many as the layers reach",
        DERIVED,
    ),
    "small blocks": Kind(
        True,
        False,
        False,
        "columns that sum to zero leave a block of two one sign: it is turned over, not rotated",
        DERIVED,
    ),
    "blocks": Kind(
        True,
        None,
        None,
        "a block can turn its sign; what the norm of its columns leaves of rotations is open",
        DERIVED,
    ),
    "settling": Kind(
        False,
        False,
        False,
        "each number moves towards its candidate and never past it: on equal inputs it settles",
        DERIVED,
    ),
    "positive": Kind(
        False,
        False,
        False,
        "dense transitions, but with positive eigenvalues: (I - (I - L) P)^-1 L with 0 <= P < I",
        DERIVED,
    ),
    "contraction": Kind(
        None,
        None,
        None,
        "the paper's form is nonlinear and can; here the bound that makes it converge makes it "
        "forget",
        "Schöne et al., 2025, arXiv:2502.07827, of the unbounded form",
    ),
    "small negative": Kind(
        None,
        None,
        None,
        "eigenvalues down to -0.46: what alternates fades; the paper's proof takes a wider range",
        "Peng et al., 2025, arXiv:2503.14456",
    ),
    "unsettled": Kind(None, None, None, "nothing is cited for it", UNSTATED),
}
"""Every kind of transition there is here."""

FAMILIES = {
    "linear diagonal": "unsettled",
    "matrix state": "decays",
    "delta rule": "corrections",
    "gated cell": "nonlinear",
    "oscillator": "unsettled",
    "reservoir": "unsettled",
    "attention": "attention",
    "part": "window",
}
"""The kind of a family's mixers that `MIXERS` does not name. Linear diagonal ones differ most."""

MIXERS = {
    **dict.fromkeys(
        (
            *("damped_ema", "hawk", "longhorn", "mamba", "min_gru", "min_lstm", "qrnn"),
            *("rg_lru", "rwkv4", "s6", "aaren", "quasi_lstm"),
        ),
        "decays",
    ),
    **dict.fromkeys(("dss", "lmu", "lru", "lssl", "s4", "s4d", "s5", "retention"), "constant"),
    **dict.fromkeys(("gateloop", "rotation"), "phases"),
    **dict.fromkeys(("single_head_attention", "swax", "tcnca"), "window"),
    "bilinear": "matrices",
    "fixed_point": "positive",
    "implicit": "contraction",
    "m2rnn": "nonlinear",
    "mega": "unsettled",
    # Nonlinear, but not as the simple networks are that the theorems speak of: units that read
    # themselves alone, gates alone that read the state, transitions that keep lengths, wrappers.
    **dict.fromkeys(
        (
            *("indrnn", "brc", "elstm", "para_gru", "para_lstm"),
            *("ran", "atr", "minimal_rnn", "cfn"),
            *("antisymmetric_rnn", "gated_antisymmetric_rnn", "exp_rnn", "scornn", "urn"),
            *("dilated_rnn", "zoneout", "variational_dropout", "recoding"),
        ),
        "unsettled",
    ),
    "rwkv7": "small negative",
}
"""The kind of mixers by name, where options change nothing."""

WRAPPERS = ("recurrent_dropout", "stacked", "stacked_bidirectional")
"""Mixers that are of the kind of the one that they are built of, however often it is repeated."""


def kind(spec: str | Mapping[str, Any]) -> Kind:
    """Return the kind of transition of a mixer of the catalogue, options counted.

    Raises:
        ValueError: for a mixer that does not exist.
    """
    given = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = given.pop("name", None)
    heads = {head.name: head for head in mixers.heads()}
    if name not in heads:
        raise ValueError(f"there is no mixer {name!r}{mixers.nearest(str(name), heads)}")
    parameters = inspect.signature(mixers.catalogue()[name]).parameters
    options = {option: given.get(option, p.default) for option, p in parameters.items()}
    if name in WRAPPERS and isinstance(options["mixer"], str | Mapping):
        return kind(options["mixer"])
    return KINDS[_by_option(name, options) or MIXERS.get(name) or FAMILIES[heads[name].family]]


def _by_option(name: str, options: Mapping[str, Any]) -> str | None:
    """Return the kind of a mixer for which its options decide."""
    if options.get("negative_eigenvalues"):
        return "products" if options.get("steps", 1) > 1 else "reflections"
    if name == "attention" and options["window"] is not None:
        return "window"
    if name == "block_diagonal":
        return "small blocks" if options["block"] == 2 else "blocks"
    if name == "fixed_point" and options["reads_state"]:
        return "unsettled"
    if name == "hgrn":
        return "constant phases" if options["complex"] else "decays"
    if name == "sru":
        return "settling" if options["peepholes"] else "decays"
    return None


def verdict(spec: str | Mapping[str, Any], task: str, *, depth: int) -> Verdict:
    """Return what theory says of a stack of this mixer on "parity", "counting" or "words".

    Args:
        spec: a mixer's name, or `{"name": ..., option: value}`.
        task: which of the three.
        depth: layers.
    """
    found = kind(spec)
    allowed = getattr(found, task)
    # Turns alone commute and count in one layer; a reflection alone has real eigenvalues.
    shallow = found.deep and depth < 2
    if shallow and (task == "words" or (task == "counting" and found is KINDS["reflections"])):
        allowed = False
    return Verdict(allowed, found.why, found.source)


def recall(spec: str | Mapping[str, Any], *, size: int, pairs: int, answers: int) -> Verdict:
    """Return what theory says of recalling `pairs` values from a state: whether they have room.

    Args:
        spec: a mixer's name, or `{"name": ..., option: value}`.
        size: numbers in the states of all layers, 32 bits each.
        pairs: of a key and a value.
        answers: different values.
    """
    source = "Arora et al., 2024, arXiv:2402.18668"
    if kind(spec) is KINDS["window"] and _is_part(spec):
        return Verdict(False, "a part remembers the last few inputs at most", DERIVED)
    bits = pairs * math.log2(answers)
    needs = f"{pairs} pairs of {answers} values are {bits:.0f} bits"
    if 32 * size < bits:
        return Verdict(False, f"{needs}, the state has {32 * size}", source)
    if size < pairs:
        return Verdict(None, f"{needs}, and the state has {size} numbers for them", source)
    return Verdict(True, f"{needs}, and {size:,} numbers have room", source)


def _is_part(spec: str | Mapping[str, Any]) -> bool:
    name = spec if isinstance(spec, str) else spec["name"]
    return next(head.family for head in mixers.heads() if head.name == name) == "part"
