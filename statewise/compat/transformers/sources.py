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
    "BambaMixer.forward": {"4c1413f8c1a7": "5.18", "691f3ca98636": "5.23"},
    "FalconH1Mixer.forward": {"5fe2152b3bb1": "5.18", "8274bd4cb696": "5.23"},
    "FalconMambaMixer.forward": {"6d1e2e7590c9": "5.18", "c8071258c802": "5.23"},
    "GraniteMoeHybridMambaLayer.forward": {"4c1413f8c1a7": "5.18", "691f3ca98636": "5.23"},
    "JambaMambaMixer.forward": {"a344465f5be9": "5.18", "d633c6bef2ab": "5.23"},
    "KimiLinearDeltaAttention.forward": {"abef7c9baf57": "5.18", "e696ac62c104": "5.23"},
    "Mamba2Mixer.forward": {"4c1413f8c1a7": "5.18", "691f3ca98636": "5.23"},
    "MambaMixer.forward": {"6593767b2600": "5.18", "c5a2ea37a939": "5.23"},
    "MiniMaxLightningAttention.forward": {"69bc3f622840": "5.18, 5.23"},
    "MiniMaxLightningAttention.get_slope_rate": {"c7263d11caad": "5.18, 5.23"},
    "MiniMaxModel.forward": {"382237ec7b26": "5.18", "de57c1185d07": "5.23"},
    "NemotronHMamba2Mixer.forward": {"4c1413f8c1a7": "5.18", "691f3ca98636": "5.23"},
    "OlmoHybridGatedDeltaNet.forward": {"2cf524e0f1f4": "5.18", "167004f14399": "5.23"},
    "Qwen3NextGatedDeltaNet.forward": {"fc80496fd00b": "5.18", "177c5d3df989": "5.23"},
    "Qwen3_5GatedDeltaNet.forward": {"bd25761e1031": "5.18", "8f31ae7d35da": "5.23"},
    "RecurrentGemmaModel.forward": {"60be8c47ed6f": "5.18", "99209d8851a9": "5.23"},
    "RecurrentGemmaRecurrentBlock.forward": {"cce3570274ab": "5.18, 5.23"},
    "RecurrentGemmaRglru._rnn_scan": {"edcf0cbffabc": "5.18, 5.23"},
    "RecurrentGemmaRglru.forward": {"b4ad72fdf0d8": "5.18, 5.23"},
    "RwkvFeedForward.forward": {"e725c9e25e36": "5.18, 5.23"},
    "RwkvForCausalLM.forward": {"1f3298afc93f": "5.18", "d2f10fc78052": "5.23"},
    "RwkvModel.forward": {"8261a53bce02": "5.18", "4838da384f87": "5.23"},
    "RwkvSelfAttention.extract_key_value": {"4e5b0240abf8": "5.18, 5.23"},
    "RwkvSelfAttention.forward": {"5ce307d43a2e": "5.18, 5.23"},
    "Zamba2MambaMixer.forward": {"4c1413f8c1a7": "5.18", "691f3ca98636": "5.23"},
    "ZambaMambaMixer.forward": {"6bbdeabe28d1": "5.18", "1fb6cba06fbe": "5.23"},
    "causal_conv1d_fn": {"f932149bdf42": "5.18, 5.23"},
    "causal_conv1d_update": {"bac68342342b": "5.18, 5.23"},
    "chunk_kimi_delta_attention": {"1a4cae129dee": "5.18, 5.23"},
    "create_recurrent_attention_mask": {"525d991696ae": "5.18, 5.23"},
    "mamba2_chunk_scan": {"8f4198702b90": "5.18, 5.23"},
    "mamba2_selective_state_update": {"084055312cd5": "5.18, 5.23"},
    "mamba_selective_scan": {"8d894aa71cbb": "5.18, 5.23", "b43a3221205e": "5.18, 5.23"},
    "mamba_selective_state_update": {"1c7cf7fce076": "5.18, 5.23", "f309bd71c46a": "5.18, 5.23"},
    "mlstm_recurrent_step_native": {"9541361d91a8": "5.18, 5.23"},
    "recurrent_kimi_delta_attention": {"a7d81011bd15": "5.18, 5.23"},
    "rwkv_linear_attention_cpu": {"e0f49db07d33": "5.18, 5.23"},
    "torch_chunk_gated_delta_rule": {"e4116a769851": "5.18", "a1bbf783aa65": "5.23"},
    "torch_recurrent_gated_delta_rule": {"60d1b140670a": "5.18", "4bd6ffbdddc0": "5.23"},
    "xLSTMBackend.forward": {"ada65c0d031a": "5.18, 5.23"},
    "xLSTMCache.__init__": {"6e55279c0adc": "5.18, 5.23"},
    "xLSTMLayer.forward": {"82f9df0b6a37": "5.18, 5.23"},
    "xLSTMModel.forward": {"a632cbfa46b5": "5.18, 5.23"},
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
