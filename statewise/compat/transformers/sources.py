"""Which sources of the hub's library our functions were tested against.

A function is known by the hash of its source, so that a version that changed it is seen whatever
its number, and one that did not change it is taken. `python -m benchmarks.hub --sources` prints the
table for the version that is installed.
"""

import hashlib
import inspect
from importlib.metadata import PackageNotFoundError, version
from operator import attrgetter
from types import ModuleType

TESTED: dict[str, dict[str, str]] = {
    "BambaMixer.forward": {"4c1413f8c1a7": "5.18"},
    "FalconH1Mixer.forward": {"5fe2152b3bb1": "5.18"},
    "FalconMambaMixer.forward": {"6d1e2e7590c9": "5.18"},
    "GraniteMoeHybridMambaLayer.forward": {"4c1413f8c1a7": "5.18"},
    "JambaMambaMixer.forward": {"a344465f5be9": "5.18"},
    "KimiLinearDeltaAttention.forward": {"abef7c9baf57": "5.18"},
    "Mamba2Mixer.forward": {"4c1413f8c1a7": "5.18"},
    "MambaMixer.forward": {"6593767b2600": "5.18"},
    "MiniMaxLightningAttention.forward": {"69bc3f622840": "5.18"},
    "MiniMaxLightningAttention.get_slope_rate": {"c7263d11caad": "5.18"},
    "MiniMaxModel.forward": {"382237ec7b26": "5.18"},
    "NemotronHMamba2Mixer.forward": {"4c1413f8c1a7": "5.18"},
    "OlmoHybridGatedDeltaNet.forward": {"2cf524e0f1f4": "5.18"},
    "Qwen3NextGatedDeltaNet.forward": {"fc80496fd00b": "5.18"},
    "Qwen3_5GatedDeltaNet.forward": {"bd25761e1031": "5.18"},
    "RecurrentGemmaModel.forward": {"60be8c47ed6f": "5.18"},
    "RecurrentGemmaRecurrentBlock.forward": {"cce3570274ab": "5.18"},
    "RecurrentGemmaRglru._rnn_scan": {"edcf0cbffabc": "5.18"},
    "RecurrentGemmaRglru.forward": {"b4ad72fdf0d8": "5.18"},
    "RwkvFeedForward.forward": {"e725c9e25e36": "5.18"},
    "RwkvForCausalLM.forward": {"1f3298afc93f": "5.18"},
    "RwkvModel.forward": {"8261a53bce02": "5.18"},
    "RwkvSelfAttention.extract_key_value": {"4e5b0240abf8": "5.18"},
    "RwkvSelfAttention.forward": {"5ce307d43a2e": "5.18"},
    "Zamba2MambaMixer.forward": {"4c1413f8c1a7": "5.18"},
    "ZambaMambaMixer.forward": {"6bbdeabe28d1": "5.18"},
    "causal_conv1d_fn": {"f932149bdf42": "5.18"},
    "causal_conv1d_update": {"bac68342342b": "5.18"},
    "chunk_kimi_delta_attention": {"1a4cae129dee": "5.18"},
    "create_recurrent_attention_mask": {"525d991696ae": "5.18"},
    "mamba2_chunk_scan": {"8f4198702b90": "5.18"},
    "mamba2_selective_state_update": {"084055312cd5": "5.18"},
    "mamba_selective_scan": {"8d894aa71cbb": "5.18", "b43a3221205e": "5.18"},
    "mamba_selective_state_update": {"1c7cf7fce076": "5.18", "f309bd71c46a": "5.18"},
    "mlstm_recurrent_step_native": {"9541361d91a8": "5.18"},
    "recurrent_kimi_delta_attention": {"a7d81011bd15": "5.18"},
    "rwkv_linear_attention_cpu": {"e0f49db07d33": "5.18"},
    "torch_chunk_gated_delta_rule": {"e4116a769851": "5.18"},
    "torch_recurrent_gated_delta_rule": {"60d1b140670a": "5.18"},
    "xLSTMBackend.forward": {"ada65c0d031a": "5.18"},
    "xLSTMCache.__init__": {"6e55279c0adc": "5.18"},
    "xLSTMLayer.forward": {"82f9df0b6a37": "5.18"},
    "xLSTMModel.forward": {"a632cbfa46b5": "5.18"},
}
"""Of each function or method, the hashes of its source and the versions it was tested in."""


def fingerprint(home: ModuleType, name: str) -> str | None:
    """Return the hash of the source of a function or method of a module; None if it has none."""
    try:
        source = inspect.getsource(inspect.unwrap(attrgetter(name)(home)))
    except (AttributeError, OSError, TypeError):
        return None
    return hashlib.sha256(source.encode()).hexdigest()[:12]


def tested(home: ModuleType, name: str) -> bool:
    """Return whether a function or method of a module is one that our own were tested against."""
    return fingerprint(home, name) in TESTED.get(name, {})


def installed() -> str:
    """Return the version of the library."""
    try:
        return version("transformers")
    except PackageNotFoundError:
        return "of an unknown version"
