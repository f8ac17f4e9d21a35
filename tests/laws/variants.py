"""Further mixers that the laws are tried on, beside each one's `example()`."""

from collections.abc import Callable
from functools import partial

from statewise.mixers import LiquidS4, build
from statewise.models.hybrids import HYBRIDS
from statewise.models.stack import SideBySide, Stack
from statewise.testing.subject import AnyMixer
from tests.models.small_hybrids import stack


class LiquidS4InPieces(LiquidS4):
    """One that reads two inputs at a time."""

    piece = 2


VARIANTS: dict[str, Callable[[], AnyMixer]] = {
    name: partial(build, spec, dim)
    for name, spec, dim in (
        ("min_gru of one feature", "min_gru", 1),
        ("elman with relu", {"name": "elman", "nonlinearity": "relu"}, 3),
        ("elman of another size", {"name": "elman", "hidden": 5}, 3),
        ("lstm of two layers", {"name": "lstm", "layers": 2, "hidden": 3}, 4),
        ("gru of two layers", {"name": "gru", "layers": 2, "hidden": 3}, 4),
        ("attention over a window", {"name": "attention", "heads": 1, "window": 3}, 4),
        ("attention over itself", {"name": "attention", "heads": 1, "window": 1}, 4),
        (
            "attention that is gated, normed and grouped",
            {
                **{"name": "attention", "heads": 4, "key_heads": 2, "head": 4, "gate": True},
                **{"rotary_share": 0.5, "rotary_base": 100.0, "epsilon": 1e-6, "bias": True},
                **{"output_bias": True, "window": 3},
            },
            6,
        ),
        (
            "gated_delta_net of shared keys",
            {"name": "gated_delta_net", "heads": 4, "key_heads": 2, "key": 4, "value": 8},
            6,
        ),
        (
            "mlstm with a cap",
            {"name": "mlstm", "heads": 2, "key": 4, "value": 6, "soft_cap": 2.0},
            4,
        ),
        (
            "mixture with a shared expert",
            {"name": "mixture", "experts": 3, "expansion": 1.0, "shared_expansion": 0.5},
            4,
        ),
        (
            "gated_feed_forward with biases",
            {"name": "gated_feed_forward", "activation": "gelu_tanh", "bias": True},
            4,
        ),
        ("short_convolution of one tap", {"name": "short_convolution", "width": 1}, 3),
        ("dss over a reach", {"name": "dss", "state": 3, "reach": 20}, 3),
        ("kda that reflects", {"name": "kda", "heads": 2, "negative_eigenvalues": True}, 8),
        ("hgrn that does not turn", {"name": "hgrn", "bound": 0.5, "complex": False}, 4),
        ("qrnn of three taps", {"name": "qrnn", "width": 3, "pooling": "ifo"}, 3),
        ("sru without peepholes", {"name": "sru", "hidden": 3, "peepholes": False}, 4),
        ("peephole_lstm FGR", {"name": "peephole_lstm", "hidden": 3, "variant": "FGR"}, 4),
        ("tcn of one tap", {"name": "tcn", "blocks": 2, "width": 1}, 3),
        ("tcn as wide as its inputs", {"name": "tcn", "blocks": 2, "width": 2}, 3),
        ("time_delay that squashes", {"name": "time_delay", "activation": "tanh"}, 3),
        ("rhn of one step", {"name": "rhn", "hidden": 3, "depth": 1}, 4),
        ("zoneout of a tau_gru", {"name": "zoneout", "mixer": {"name": "tau_gru", "delay": 2}}, 3),
        ("stacked plainly", {"name": "stacked", "mixer": "elman", "wiring": "plain"}, 3),
        ("stacked with residuals", {"name": "stacked", "mixer": "min_gru", "depth": 3}, 3),
        (
            "stacked_bidirectional with residuals",
            {
                "name": "stacked_bidirectional",
                "mixer": {"name": "gru", "hidden": 2},
                "wiring": "residual",
            },
            4,
        ),
        ("recoding of a star", {"name": "recoding", "mixer": "star"}, 3),
        ("bidirectional min_gru", {"name": "bidirectional", "mixer": "min_gru"}, 3),
    )
} | {
    "stack of min_gru": Stack.example,
    "min_gru side by side": SideBySide.example,
    "liquid_s4 in pieces": LiquidS4InPieces.example,
}

STACKS: dict[str, Callable[[], AnyMixer]] = {
    f"hybrid {name}": partial(stack, name) for name in HYBRIDS
}
"""Published hybrids in small, whose mixers are tried by themselves: a few laws will do."""
