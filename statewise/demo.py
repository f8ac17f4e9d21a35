"""Two minutes from nothing to streamed text, on the text that every Python carries."""

import time
from pathlib import Path

from statewise import state as states
from statewise.tasks import baselines
from statewise.tasks.documents import manual, split
from statewise.training.configuration import Data, Evaluation, LanguageRun
from statewise.training.language import Trained, train_language_model

OUT = "runs/demo"
MIXER = "min_gru"
"""The best here: in 50 s on two cores it reached 1.80 bits per byte, min_lstm 1.82, every third
layer attention over 128 bytes 1.90, lstm 1.95, gru 2.18."""

PROMPT = "The "
SAMPLE = 600
"""Tokens of the sample."""


def run(*, seconds: float, out: str) -> Trained:
    """Train, compare, stream, and say where everything is.

    Args:
        seconds: of training.
        out: folder of the run, beside which the text is put; `OUT` is replaced when it is there.

    Returns:
        what was trained; nothing is compared if it was interrupted.
    """
    text, file = manual(), Path(out).with_suffix(".txt")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    config = LanguageRun(
        data=Data(path=str(file)),
        mixer=MIXER,
        max_seconds=seconds,
        evaluation=Evaluation(seconds=max(seconds / 4, 1.0)),
        out=out,
        overwrite=out == OUT,
    )
    seen, held_out = (part.encode() for [part] in split([text], config.data.held_out))
    print(f"{file}: Python's own manual, {len(text.encode()):,} bytes; the last tenth is held out.")
    trained = train_language_model(config)
    if trained.bits_per_byte is None:
        return trained
    print("\nbits per byte on the held-out text (all saw the rest first)")
    for name, bits in (
        ("gzip -9", baselines.gzip_bits(seen, held_out)),
        ("n-gram of 5 bytes", baselines.ngram_bits(seen, held_out, order=5)),
        ("xz -9e", baselines.xz_bits(seen, held_out)),
        (f"{MIXER}, {seconds:.0f} s", trained.bits_per_byte),
    ):
        print(f"    {name:20} {bits:.3f}")
    print(f"\nIt writes, one byte after another:\n\n{PROMPT}", end="", flush=True)
    generation = trained.model.generate(PROMPT, max_tokens=SAMPLE, temperature=0.7)
    first = states.nbytes(generation.state.model)
    began = time.perf_counter()
    for piece in generation:
        print(piece, end="", flush=True)
    rate = SAMPLE / (time.perf_counter() - began)
    last = states.nbytes(generation.state.model)
    print(
        f"\n\n{rate:,.0f} bytes a second. The state: {first:,} bytes at the first, {last:,} at the"
    )
    print("last, and as many after a million: it is a value you can save, fork and load.")
    print(f"\nThe run is in {out}. Next:")
    print(f'    statewise generate {out} --prompt "A class" --temperature 0.7')
    print(
        f"    statewise train lm --data.path {file} --mixer lstm --max_seconds 120 --out runs/lstm"
    )
    print("    statewise list")
    return trained
