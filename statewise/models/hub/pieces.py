"""Parts that several families of the hub's models have: attention and feed-forward layers."""

from collections.abc import Mapping
from typing import Any

from statewise.models.hub.family import Fields, Places, rows, whole


def rotary(given: Fields, *, share: float) -> dict[str, float]:
    """Return the options of our attention that say how queries and keys turn.

    Args:
        given: a configuration, as the library writes it now or did before.
        share: of the features that turn, where nothing is said.

    Raises:
        ValueError: for angles that are scaled.
    """
    said = given.get("rope_parameters") or given.get("rope_scaling") or {}
    kind = said.get("rope_type", said.get("type", "default"))
    if kind != "default":
        raise ValueError(f"rope_type = {kind!r}: our angles are not scaled")
    words = {**given, **said}
    return {
        "rotary_share": float(words.get("partial_rotary_factor", share)),
        "rotary_base": float(words.get("rope_theta", 10000.0)),
    }


def rotary_said(options: Fields) -> dict[str, Any]:
    """Return what a configuration says of it."""
    return {
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": options["rotary_base"],
            "partial_rotary_factor": options["rotary_share"],
        }
    }


def attention(theirs: str, ours: str, options: Mapping[str, Any], dim: int) -> Places:
    """Yield the weights of attention.

    Args:
        theirs: the name of the module.
        ours: the name of ours.
        options: of ours, every one.
        dim: features that it reads.
    """
    heads, head = options["heads"], options["head"] or dim // options["heads"]
    keys = (options["key_heads"] or heads) * head
    queries = heads * head
    gates = queries + 2 * keys
    asked = [(0, queries)]
    if options["gate"]:
        # Of each head, its queries and then its gates.
        starts = range(0, queries, head)
        asked = [(at + i, at + i + head) for i in starts for at in (0, gates)]
    for end in ("weight", "bias") if options["bias"] else ("weight",):
        name = f"{ours}.query_key_value.{end}"
        yield f"{theirs}.q_proj.{end}", rows(name, *asked)
        yield f"{theirs}.k_proj.{end}", rows(name, (queries, queries + keys))
        yield f"{theirs}.v_proj.{end}", rows(name, (queries + keys, gates))
    for end in ("weight", "bias") if options["output_bias"] else ("weight",):
        yield f"{theirs}.o_proj.{end}", whole(f"{ours}.output.{end}")
    if options["epsilon"] is not None:
        yield f"{theirs}.q_norm.weight", whole(f"{ours}.query_norm.weight")
        yield f"{theirs}.k_norm.weight", whole(f"{ours}.key_norm.weight")


def feed_forward(
    theirs: str,
    ours: str,
    hidden: int,
    *,
    bias: bool = False,
    names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj"),
) -> Places:
    """Yield the weights of a gated feed-forward layer.

    Args:
        theirs: the name of the module.
        ours: the name of ours.
        hidden: its inner width.
        bias: whether its maps add one.
        names: of the maps to the gate, to what it gates, and back.
    """
    gate, up, down = names
    for end in ("weight", "bias") if bias else ("weight",):
        yield f"{theirs}.{gate}.{end}", rows(f"{ours}.widen.{end}", (0, hidden))
        yield f"{theirs}.{up}.{end}", rows(f"{ours}.widen.{end}", (hidden, 2 * hidden))
        yield f"{theirs}.{down}.{end}", whole(f"{ours}.narrow.{end}")
