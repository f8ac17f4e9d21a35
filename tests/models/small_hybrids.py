"""Every published hybrid in small, for the laws and for the tests of models."""

from statewise.models import Stack, layers
from statewise.models.hybrids import HYBRIDS

SMALL = {
    "attention": {"heads": 2},
    "based": {"heads": 2, "key": 2},
    "gated_delta_net": {"heads": 2, "key": 4},
    "hawk": {"heads": 2},
    "kda": {"heads": 2},
    "mamba2": {"state": 4, "head": 4},
    "mixture": {"experts": 3, "chosen": 2},
    "mlstm": {"heads": 2},
    "mlstm_block": {"heads": 2},
    "single_head_attention": {"window": 3},
    "slstm_block": {"heads": 2},
    "swax": {"heads": 2, "window": 5, "short": 2},
}


def used(name):
    return {mixer for layer in HYBRIDS[name].layers for mixer in layers.names(layer)}


def small(name):
    """Return a hybrid's specification for eight features, with windows that are soon full."""
    options = {mixer: dict(SMALL.get(mixer, {})) for mixer in used(name) if mixer in SMALL}
    if any("window" in str(layer) for layer in HYBRIDS[name].layers) and "attention" in options:
        options["attention"]["window"] = 3
    return {"hybrid": name, **options}


def stack(name):
    return Stack(layers.blocks(small(name), 8, max(2, len(HYBRIDS[name].layers))))
