"""Decoding by llama.cpp from a checkpoint of a Mamba, as a program for an environment of its own.

    PYTHON benchmarks/hub/llama.py FOLDER --type q8_0 --threads 2 --tokens 64 --prompt 512

PYTHON is that of an environment with llama-cpp-python and gguf; nothing of ours is imported. The
checkpoint is of the hub's library, with random weights and no vocabulary. It is written beside
itself as a GGUF, in float32 or in q8_0 (eight bits, a scale for every 32 weights), and one line of
JSON says how fast it is read and what the logits after the prompt are.
"""

import argparse
import ctypes
import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import gguf  # pyright: ignore[reportMissingImports]
import numpy as np

NAMES = {
    "norm.weight": "attn_norm.weight",
    "mixer.in_proj.weight": "ssm_in.weight",
    "mixer.conv1d.weight": "ssm_conv1d.weight",
    "mixer.conv1d.bias": "ssm_conv1d.bias",
    "mixer.x_proj.weight": "ssm_x.weight",
    "mixer.dt_proj.weight": "ssm_dt.weight",
    "mixer.dt_proj.bias": "ssm_dt.bias",
    "mixer.A_log": "ssm_a",
    "mixer.D": "ssm_d",
    "mixer.out_proj.weight": "ssm_out.weight",
}
"""The library's names of a layer's weights, and llama.cpp's."""

ROUNDED = ("ssm_in.weight", "ssm_x.weight", "ssm_out.weight", "token_embd.weight")
"""Weights that q8_0 has: the others are small, or no multiple of 32 long."""


def tensors(path: Path) -> dict[str, np.ndarray]:
    """Return what a safetensors file of float32 holds."""
    raw = np.memmap(path, dtype=np.uint8, mode="r")
    size = int(raw[:8].view(np.uint64)[0])
    head = json.loads(bytes(raw[8 : 8 + size]))
    head.pop("__metadata__", None)
    data = raw[8 + size :]
    return {
        name: data[slice(*what["data_offsets"])].view(np.float32).reshape(what["shape"])
        for name, what in head.items()
    }


def convert(folder: Path, kind: str) -> Path:
    """Write a checkpoint as a GGUF; return the file."""
    said = json.loads((folder / "config.json").read_text())
    path = folder / f"{kind}.gguf"
    to = gguf.GGUFWriter(path, "mamba")
    to.add_context_length(1 << 20)
    to.add_embedding_length(said["hidden_size"])
    to.add_feed_forward_length(0)
    to.add_head_count(0)
    to.add_block_count(said["num_hidden_layers"])
    to.add_ssm_conv_kernel(said["conv_kernel"])
    to.add_ssm_inner_size(said["expand"] * said["hidden_size"])
    to.add_ssm_state_size(said["state_size"])
    to.add_ssm_time_step_rank(said["time_step_rank"])
    to.add_layer_norm_rms_eps(said["layer_norm_epsilon"])
    to.add_vocab_size(said["vocab_size"])
    to.add_tokenizer_model("no_vocab")
    q8 = gguf.GGMLQuantizationType.Q8_0
    to.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0 if kind == "q8_0" else 0)
    for theirs, tensor in tensors(folder / "model.safetensors").items():
        _, _, rest = theirs.partition("layers.")
        place, _, within = rest.partition(".")
        name = {
            "backbone.embeddings.weight": "token_embd.weight",
            "backbone.norm_f.weight": "output_norm.weight",
        }.get(theirs) or f"blk.{place}.{NAMES[within]}"
        kept = -np.exp(tensor) if name.endswith("ssm_a") else np.array(tensor)
        if "conv1d.weight" in name:
            kept = kept.reshape(len(kept), -1)
        if kind == "q8_0" and name.endswith(ROUNDED):
            to.add_tensor(name, gguf.quants.quantize(kept, q8), raw_dtype=q8)
        else:
            to.add_tensor(name, kept)
    to.write_header_to_file()
    to.write_kv_data_to_file()
    to.write_tensors_to_file()
    to.close()
    return path


class Llama:
    """A model of llama.cpp, with one stream.

    Args:
        path: a GGUF.
        threads: for one token and for many.
        at_once: tokens of a prompt.
    """

    def __init__(self, path: Path, threads: int, at_once: int):
        import llama_cpp  # pyright: ignore[reportMissingImports]

        self.api: Any = llama_cpp
        self.quiet = llama_cpp.llama_log_callback(lambda *_: None)
        self.api.llama_log_set(self.quiet, None)
        self.api.llama_backend_init()
        self.model = self.api.llama_model_load_from_file(
            str(path).encode(), self.api.llama_model_default_params()
        )
        given = self.api.llama_context_default_params()
        given.n_ctx, given.n_batch, given.n_ubatch = 4 * at_once, at_once, at_once
        given.n_threads = given.n_threads_batch = threads
        self.context = self.api.llama_init_from_model(self.model, given)
        if not self.context:
            raise SystemExit(f"llama.cpp does not take {path}")

    def read(self, tokens: list[int]) -> None:
        """Read tokens at once; the logits after the last are computed."""
        given = (self.api.llama_token * len(tokens))(*tokens)
        if self.api.llama_decode(self.context, self.api.llama_batch_get_one(given, len(tokens))):
            raise SystemExit("llama.cpp could not read the tokens")
        # What is asked for has to be there.
        self.api.llama_get_logits_ith(self.context, -1)

    def logits(self, vocabulary: int) -> list[float]:
        """Return the last logits."""
        found = self.api.llama_get_logits_ith(self.context, -1)
        return list(ctypes.cast(found, ctypes.POINTER(ctypes.c_float))[:vocabulary])

    def forget(self) -> None:
        """Return to the start."""
        self.api.llama_memory_clear(self.api.llama_get_memory(self.context), True)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--type", choices=("float32", "q8_0"), default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--prompt", type=int, default=512)
    given = parser.parse_args()
    vocabulary = json.loads((given.folder / "config.json").read_text())["vocab_size"]
    llama = Llama(convert(given.folder, given.type), given.threads, given.prompt)
    prompt = [97 * t % vocabulary for t in range(given.prompt)]
    read = []
    for _ in range(4):
        llama.forget()
        read.append(_seconds(lambda: llama.read(prompt)))
    logits = llama.logits(vocabulary)
    took = [_seconds(lambda: llama.read([5])) for _ in range(given.tokens + 4)]
    print(
        json.dumps(
            {
                "decoded": 1 / median(took[4:]),
                "prompt": given.prompt / median(read[1:]),
                "logits": logits,
            }
        )
    )


def _seconds(call: Any) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
