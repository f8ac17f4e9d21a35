"""One stream from a Mamba of 130 million parameters, token by token: theirs, ours and llama.cpp's.

24 layers of 768, a vocabulary of 50,280, random weights, in a checkpoint of the hub's library that
every side reads for itself: the library before and after `use_native`, our stack in float32 and
with weights of eight bits, and llama.cpp, where an environment that has it is given.
"""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
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
Side = tuple[float, float, Tensor]
"""Tokens a second, decoded and of the prompt, and the logits after it."""
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


def measure(tokens: int, rounds: int, llama: str | None) -> Iterator[Decoding]:
    """Measure all sides in turn, round after round, and take the middle of each.

    Args:
        tokens: decoded by each in a round.
        rounds: how often each has its turn.
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
        os.sync()  # or the file would still be on its way out while the first side is measured
        # A scale of two bytes for every 32 weights.
        bytes_of = {"float32": 4.0, "int8": 1.0, "q8_0": 1 + 2 / 32, "use_native": 4.0}
        sides: dict[str, Callable[[], Side]] = {
            "ours, float32": lambda: _ours(folder, "saved", tokens),
            "ours, int8": lambda: _ours(folder, "int8", tokens),
        }
        if llama is not None:
            for kind in ("float32", "q8_0"):
                sides[f"llama.cpp, {kind}"] = partial(_llama, llama, folder, kind, tokens)
        sides["the library, float32"] = lambda: _theirs(folder, tokens, native=False)
        sides["the library, use_native"] = lambda: _theirs(folder, tokens, native=True)
        found: dict[str, list[Side]] = {side: [] for side in sides}
        rates = []
        for _ in range(rounds):
            rates.append(memory_rate())
            for side, turn in sides.items():
                found[side].append(turn())
        exact = found["ours, float32"][0][2]
        for side, turns in found.items():
            weights = size * bytes_of[side.split(", ")[1]]
            yield Decoding(
                side,
                median(turn[0] for turn in turns),
                median(turn[1] for turn in turns),
                median(rates) / weights,
                ((turns[0][2] - exact).norm() / exact.norm()).item(),
            )


def memory_rate() -> float:
    """Return the bytes a second of `torch.add` on tensors far larger than the caches."""
    a, b, out = (torch.zeros(1 << 25) for _ in range(3))
    return 3 * a.nbytes / median(_times(lambda: torch.add(a, b, out=out), 7))


def _prompt() -> Tensor:
    return torch.arange(PROMPT)[None] * STRIDE % VOCABULARY


def _ours(folder: Path, weights: Any, tokens: int) -> Side:
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


def _theirs(folder: Path, tokens: int, *, native: bool) -> Side:
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


def _llama(python: str, folder: Path, kind: str, tokens: int) -> Side:
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
