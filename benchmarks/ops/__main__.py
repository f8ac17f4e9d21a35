"""How fast every op is, beside the strongest thing a user would pick and the machine's limit.

    python -m benchmarks.ops [OP ...] [--json] [--markdown] [--threads N] [--rounds N]

Both sides of a ratio are timed in turn, warmed up, and the median taken; the process keeps its
memory, for the baselines too. `pip install 'statewise[bench]'` brings those of other libraries.
"""

import argparse
import importlib
import json
import math
import pkgutil
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence

import torch

import benchmarks.ops
from benchmarks import markdown
from benchmarks.ops.figures import Figure, matrix_rate, stream_rate
from benchmarks.timing import machine
from statewise.training.memory import keep_memory

PARTS = {"figures", "__main__"}


def names() -> list[str]:
    """Return the ops that have a benchmark: the files of this folder."""
    return [m.name for m in pkgutil.iter_modules(benchmarks.ops.__path__) if m.name not in PARTS]


def line(figure: Figure) -> list[str]:
    """Return the cells of a figure's row."""
    return [
        figure.what,
        figure.shape,
        _number(figure.ours),
        figure.baseline,
        "not installed" if math.isnan(figure.theirs) else _number(figure.theirs),
        "" if math.isnan(figure.ratio) else f"{figure.ratio:.2f}",
        "" if figure.wanted is None else f"{figure.wanted:.2f}{_mark(figure)}",
        figure.rate,
        "" if figure.of_limit is None else f"{figure.of_limit:.2f}",
        "" if figure.error is None else f"{figure.error:.0e}",
    ]


HEAD = ["what", "shape", "ours", "beside", "theirs", "ratio", "aim", "rate", "of limit", "error"]


def _number(x: float) -> str:
    return f"{x:.3g}" if x < 1000 else f"{x:.0f}"


def _mark(figure: Figure) -> str:
    missed = figure.wanted is not None and figure.ratio < figure.wanted
    return " missed" if missed else ""


def table(figures: Iterable[Figure]) -> str:
    """Return figures as a Markdown table."""
    return markdown.table(HEAD, map(line, figures))


PAGE = """# How fast the ops are

Made by `python -m benchmarks.ops --markdown`; run it on your machine. Both sides of a ratio are
timed in turn, in one process that keeps its memory.

{machine}

*ours* and *theirs* are milliseconds, of a step microseconds, medians; *ratio* is how many times as
fast ours is, *aim* what was set before it was measured. *rate* counts every tensor once, or the
operations of the cheapest form; *of limit* is that rate over the one of `torch.add(a, b, out=h)` on
as many bytes, or of a matrix product in torch. It exceeds 1 where our kernels multiply faster than
that product, or write around the caches. For two threads it is the gain over what `torch.mm` gains
in the same rounds, and for a step the machine's moment stands beside it as the time of `torch.add`
on eight numbers. *error* is relative to the definition in float64.

The processors of a shared machine are threads of cores that others use too: the same arithmetic in
registers took 1.0 ms on one of two and 1.6 on the other, alone as well as together, and they change
places within seconds. One thread on the faster core is then more than half of both.

Products decide many ratios, and what they can reach differs by processor. On makes other than
Intel's, the library of products in torch uses vectors of 256 bits. AMD's family 25 runs 512 bits as
two halves: multiplying and adding in registers makes 117 GFLOP/s a core with either width, so that
a form made of products can only be passed by what it does besides. An earlier machine under the
same name, whose figures this page had before, gave the kernels of linear attention 252 GFLOP/s on
two threads, which is more than the 234 that exist on this one, and ratios of 5 to 23.

## Where we lose

{losses}

Where the time goes: LSTM variant FGR has 17 matrices where the LSTM has 8, and multiplies at the
rate that its line says; of the LSTM with 256 units half of the time is products of stretches at
twice the rate of `torch.mm`, and the rest steps whose products are small; two threads gain less in
small passes forward and backward, of which Python and autograd take 0.1 to 0.2 ms on one thread.
Linear maps as small as those that lose are left to torch by the table. Linear attention and the
delta rule are bound by arithmetic: forward and backward at 64 keys and values with a decay per
head, samples of the instruction pointer on one thread found about 60% in four products, which
multiply and add at 60 to 95% of what the registers can, 5% in the copying of rows, 4% waiting for
memory that was asked for ahead, and the rest in the triangle within chunks. Passes of the semiring
that gain less than their aim move 50 to 100 MB between their exponentials, of a memory whose rate
two threads raise by a third.
"""


def page(about: Mapping[str, object], figures: Sequence[Figure]) -> str:
    """Return the documentation's page: the machine, what is missed, and a table for each op."""
    losses = "\n".join(
        f"- {x.op}, {x.what}, {x.shape}: {x.ratio:.2f} of {x.baseline}"
        + ("" if x.wanted is None else f", where the aim is {x.wanted:.2f}")
        for x in figures
        if x.ratio < (1.0 if x.wanted is None else x.wanted)
    )
    parts = [
        PAGE.format(machine=markdown.bullets(about), losses=losses or "Nowhere in these figures.")
    ]
    for op in dict.fromkeys(x.op for x in figures):
        parts.append(f"## {op}\n\n{table(x for x in figures if x.op == op)}\n")
    return "\n".join(parts)


def main() -> None:
    """Print the figures as they are found, or all at once as JSON or Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ops", description=__doc__)
    parser.add_argument("ops", nargs="*", metavar="OP", help=f"some of: {', '.join(names())}")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--markdown", action="store_true", help="print the documentation's page")
    parser.add_argument("--threads", type=int, help="threads of torch; its own choice if absent")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of timing, at least five")
    options = parser.parse_args()
    if unknown := set(options.ops) - set(names()):
        parser.error(f"no benchmark of {', '.join(sorted(unknown))}; there are {names()}")
    if options.threads:
        torch.set_num_threads(options.threads)
    keep_memory()
    warnings.filterwarnings("ignore")  # the baselines' own
    about = machine() | {
        "matrix product, GFLOP/s": round(matrix_rate() / 1e9),
        "add over 50 MB, GB/s": round(stream_rate(50_000_000) / 1e9, 1),
        "add over 400 MB, GB/s": round(stream_rate(400_000_000) / 1e9, 1),
    }
    later = options.json or options.markdown
    if not later:
        print("\n".join(f"{name}: {value}" for name, value in about.items()), flush=True)
    found: list[Figure] = []
    for name in options.ops or names():
        if not later:
            print(f"\n{name}\n", flush=True)
        for figure in importlib.import_module(f"benchmarks.ops.{name}").figures(options.rounds):
            found.append(figure)
            if later:
                print(f"{name}: {figure.what}, {figure.shape}", file=sys.stderr, flush=True)
            else:
                print("  ".join(cell for cell in line(figure) if cell), flush=True)
    if options.markdown:
        print(page(about, found))
    if options.json:
        rows = [figure._asdict() for figure in found]
        for row in rows:
            row["met"] = None if row["wanted"] is None else row["ratio"] >= row["wanted"]
            row.update({name: None for name, x in row.items() if x != x})  # JSON has no NaN
        print(json.dumps({"machine": about, "figures": rows}, indent=1))


if __name__ == "__main__":
    main()
