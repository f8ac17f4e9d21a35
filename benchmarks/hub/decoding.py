"""One stream from a Mamba of 130 million parameters, token by token: theirs, ours and llama.cpp's.

24 layers of 768, a vocabulary of 50,280, random weights, in a checkpoint of the hub's library that
every side reads for itself: the library before and after `use_native`, our stack in float32 and
with weights of eight bits, and llama.cpp, where an environment that has it is given.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor

from statewise.compat.transformers import use_native
from statewise.models import LanguageModel, LanguageModelConfig

DIM, DEPTH, VOCABULARY, PROMPT = 768, 24, 50_280, 512
STRIDE, FIRST = 97, 5
"""Between the tokens of the prompt, and the token that decoding begins with."""
PROGRAM = Path(__file__).with_name("llama.py")


class Decoding(NamedTuple):
    """One side: tokens a second."""

    side: str
    decoded: float
    prompt: float
    limit: float
    """What the memory allows: the bytes of the weights over its rate."""
    difference: float
    """Of the logits after the prompt from ours in float32, relative."""


class Numbers:
    """A tokenizer of numbers: as many tokens as the vocabulary has, each of one byte of text."""

    vocab = VOCABULARY

    def encode(self, text: str | bytes) -> list[int]:
        """Return the numbers that a text lists."""
        return [int(number) for number in text.split()]

    def bytes_of(self, token: int) -> bytes:
        """Return a letter for any token."""
        return b"x"

    def decode_bytes(self, tokens: Iterable[int]) -> bytes:
        """Return a letter for each token."""
        return b"x" * len(list(tokens))


def measure(tokens: int, llama: str | None) -> Iterator[Decoding]:
    """Measure one side after another.

    Args:
        tokens: decoded by each.
        llama: the Python of an environment with llama-cpp-python and gguf.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fields = {"vocab": VOCABULARY, "dim": DIM, "depth": DEPTH, "norm": "rms"}
        torch.manual_seed(0)
        made = LanguageModel(LanguageModelConfig(**fields, mixer={"branches": ["mamba"]}))
        made.save_pretrained(folder, format="transformers")
        size = sum(p.numel() for p in made.parameters())
        del made
        rate = memory_rate()
        wide, narrow = rate / (4 * size), rate / size
        ours = _ours(folder, "saved", tokens)

        def line(side: str, found: tuple[float, float, Tensor], limit: float) -> Decoding:
            decoded, prompt, logits = found
            difference = ((logits - ours[2]).norm() / ours[2].norm()).item()
            return Decoding(side, decoded, prompt, limit, difference)

        yield line("ours, float32", ours, wide)
        yield line("ours, int8", _ours(folder, "int8", tokens), narrow)
        if llama is not None:
            yield line("llama.cpp, float32", _llama(llama, folder, "float32", tokens), wide)
            # A scale of two bytes for every 32 weights.
            limit = narrow / (1 + 2 / 32)
            yield line("llama.cpp, q8_0", _llama(llama, folder, "q8_0", tokens), limit)
        yield line("the library", _theirs(folder, tokens, native=False), wide)
        yield line("the library, use_native", _theirs(folder, tokens, native=True), wide)


def memory_rate() -> float:
    """Return the bytes a second of `torch.add` on tensors far larger than the caches."""
    a, b, out = (torch.zeros(1 << 25) for _ in range(3))
    return 3 * a.nbytes / median(_times(lambda: torch.add(a, b, out=out), 7))


def _prompt() -> Tensor:
    return torch.arange(PROMPT)[None] * STRIDE % VOCABULARY


def _ours(folder: Path, weights: Any, tokens: int) -> tuple[float, float, Tensor]:
    model = LanguageModel.from_pretrained(folder, weights=weights)
    model.tokenizer = Numbers()
    going = model.generate(str(FIRST), max_tokens=None, temperature=0)
    with torch.no_grad():
        took = _times(lambda: next(going), tokens)
        found: list[Tensor] = []

        def read() -> None:
            features, _ = model.features(_prompt())
            found[:] = [model.logits(features[:, -1])[0]]

        read_in = _times(read, 3)
    return 1 / median(took), PROMPT / median(read_in), found[0]


def _theirs(folder: Path, tokens: int, *, native: bool) -> tuple[float, float, Tensor]:
    import transformers  # pyright: ignore[reportMissingImports]

    transformers.utils.logging.disable_progress_bar()
    model: Any = transformers.MambaForCausalLM.from_pretrained(folder).eval()
    model.generation_config.eos_token_id = None
    if native:
        use_native(model)
    start = torch.tensor([[FIRST]])

    def decode(count: int) -> Callable[[], object]:
        return lambda: model.generate(start, max_new_tokens=count, do_sample=False, pad_token_id=0)

    with torch.no_grad():
        # The difference of a long and a short text: what `generate` does once is not counted.
        few = max(tokens // 8, 2)
        short, long = (median(_times(decode(n), 3)) for n in (few, tokens))
        found: list[Tensor] = []

        def read() -> None:
            found[:] = [model(_prompt(), logits_to_keep=1).logits[0, -1]]

        read_in = _times(read, 2)
    return (tokens - few) / (long - short), PROMPT / median(read_in), found[0]


def _llama(python: str, folder: Path, kind: str, tokens: int) -> tuple[float, float, Tensor]:
    threads = str(torch.get_num_threads())
    command = [python, str(PROGRAM), str(folder), "--type", kind, "--threads", threads]
    said = subprocess.run(
        [*command, "--tokens", str(tokens), "--prompt", str(PROMPT)],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    found = json.loads(said.stdout.strip().splitlines()[-1])
    return found["decoded"], found["prompt"], torch.tensor(found["logits"])


def _times(call: Callable[[], object], count: int) -> list[float]:
    """Return seconds of calls after one that is not counted."""
    took = []
    for _ in range(count + 1):
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return took[1:]
