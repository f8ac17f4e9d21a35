"""Training whole language models, beside the hub's library and beside a llama of equal size.

    python -m benchmarks.end_to_end [--json | --markdown] [--curves PICTURE --text TEXT]

About 16 million parameters each, float32, all threads. A step is a forward pass, the cross-entropy,
a backward pass and AdamW, on 2,048 tokens, or on one sequence where that is longer; the sides of a
line take steps in turn. `floor` is what the matrix products of our model's weights would reach
alone, by `torch.mm`: three for every weight, which no recurrence can do without. `--curves` trains
in float32 and in bfloat16 on real text and draws both.
"""

import argparse
import json
import math
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks import markdown
from benchmarks.timing import machine, paired
from statewise.models.language_model import LanguageModel, LanguageModelConfig
from statewise.training.memory import keep_memory

VOCAB, DIM = 1024, 384
TOKENS = 2048
WITHOUT_CACHE = {"use_cache": False}  # in the hub's words; it builds one even for training
Call = Callable[[], object]


class Family(NamedTuple):
    """One architecture, ours and the hub's."""

    mixer: dict[str, Any]
    depth: int
    hub: str
    """The name of its model and of its configuration there, without what follows both."""
    options: Mapping[str, Any]
    wanted: float | None
    """Ours over the hub's, or None."""


FAMILIES = {
    "mamba": Family(
        {"branches": ["mamba"]},
        16,
        "Mamba",
        {"num_hidden_layers": 16, "use_mambapy": True},
        3.0,
    ),
    "rwkv4": Family(
        {"branches": ["rwkv4", {"name": "rwkv_channel_mixing", "version": 4}]},
        9,
        "Rwkv",
        {"num_hidden_layers": 9},
        3.0,
    ),
    "mamba2": Family(
        {"branches": [{"name": "mamba2", "head": 64, "state": 64}]},
        16,
        "Mamba2",
        {
            "num_hidden_layers": 16,
            "num_heads": 12,
            "head_dim": 64,
            "state_size": 64,
            "n_groups": 1,
            "chunk_size": 64,
        },
        1.8,
    ),
    "gated_delta_net": Family(
        {
            "branches": [
                {"name": "gated_delta_net", "heads": 6, "key": DIM, "value": DIM},
                {"name": "gated_feed_forward", "expansion": 1024 / DIM},
            ]
        },
        8,
        "Qwen3Next",
        {
            "num_hidden_layers": 8,
            "intermediate_size": 1024,
            "num_attention_heads": 6,
            "num_key_value_heads": 6,
            "head_dim": 64,
            "linear_num_value_heads": 6,
            "linear_num_key_heads": 6,
            "linear_key_head_dim": 64,
            "linear_value_head_dim": 64,
            "layer_types": ["linear_attention"] * 8,
            "mlp_only_layers": list(range(8)),
        },
        1.8,
    ),
    "mlstm": Family(
        {
            "branches": [
                {"name": "mlstm", "heads": 4, "key": DIM // 2},
                {"name": "gated_feed_forward", "expansion": 8 / 3},
            ]
        },
        9,
        "xLSTM",
        {"num_hidden_layers": 9, "num_blocks": 9, "embedding_dim": DIM, "num_heads": 4},
        1.8,
    ),
    "rg_lru": Family(
        {"hybrid": "hawk"},
        8,
        "RecurrentGemma",
        {
            "num_hidden_layers": 8,
            "intermediate_size": 6 * DIM,
            "num_attention_heads": 4,
            "lru_width": DIM,
            "block_types": ["recurrent"],
        },
        1.8,
    ),
}
LLAMA = {"num_hidden_layers": 9, "intermediate_size": 1024, "num_attention_heads": 6}


class Line(NamedTuple):
    """One line of the table: tokens a second, and ratios."""

    model: str
    context: int
    ours: float
    parameters: float
    """Millions, of ours."""
    floor: float
    hub: float | None
    hub_parameters: float | None
    ratio: float | None
    """Ours over the hub's."""
    wanted: float | None
    llama: float
    over_llama: float


def hub(family: str, **options: Any) -> nn.Module:
    """Return a model of the hub's library with random weights; only logits are asked of it."""
    import transformers  # pyright: ignore[reportMissingImports]

    config = getattr(transformers, f"{family}Config")(
        vocab_size=VOCAB, hidden_size=DIM, tie_word_embeddings=True, **WITHOUT_CACHE, **options
    )
    return getattr(transformers, f"{family}ForCausalLM")(config)


def ours(family: Family) -> LanguageModel:
    """Return our model of the same."""
    config = LanguageModelConfig(vocab=VOCAB, dim=DIM, depth=family.depth, mixer=family.mixer)
    return LanguageModel(config)


def step(model: nn.Module, context: int, *, bfloat16: bool = False, batch: int = 0) -> Call:
    """Return a call that takes one step of training."""
    size = batch or max(TOKENS // context, 1)
    tokens = torch.randint(VOCAB, (size, context + 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def run() -> None:
        there_and_back(model, tokens, bfloat16)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return run


def there_and_back(model: nn.Module, tokens: Tensor, bfloat16: bool) -> Tensor:
    """Return the cross-entropy of each token after those before it, with all gradients made."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        logits = _logits(model, tokens[:, :-1])
    loss = cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())
    loss.backward()
    return loss


def _logits(model: nn.Module, tokens: Tensor) -> Tensor:
    if isinstance(model, LanguageModel):
        return model(tokens)[0]
    return model(tokens, **WITHOUT_CACHE).logits


def products(model: nn.Module, tokens: int) -> Call:
    """Return a call of every matrix product that the weights of a model need, and no other."""
    shapes = Counter(p.shape for p in model.parameters() if p.ndim == 2 and min(p.shape) >= 16)
    work: list[tuple[int, Tensor, Tensor, Tensor]] = []
    for (out, features), count in shapes.items():
        x, dy = torch.ones(tokens, features), torch.ones(tokens, out)
        work.append((count, x, dy, torch.ones(out, features)))

    def run() -> None:
        for count, x, dy, weight in work:
            for _ in range(count):
                torch.mm(x, weight.T)
                torch.mm(dy, weight)
                torch.mm(dy.T, x)

    return run


def lines(rounds: int, contexts: list[int], families: list[str]) -> Iterator[Line]:
    """Measure, one family and context after another."""
    llama = hub("Llama", **LLAMA)
    for context in contexts:
        tokens = max(TOKENS, context)
        for name in families:
            family = FAMILIES[name]
            mine = ours(family)
            sides = {"ours": step(mine, context), "llama": step(llama, context)}
            sides["floor"] = products(mine, tokens)
            theirs = None
            if context in (256, 2048):
                theirs = hub(family.hub, **family.options)
                sides["hub"] = step(theirs, context)
            taken = paired(sides, rounds=rounds, slow=1.0, glacial=20.0)
            rate = {side: tokens / times.median for side, times in taken.items()}
            yield Line(
                name,
                context,
                rate["ours"],
                _millions(mine),
                rate["floor"],
                rate.get("hub"),
                None if theirs is None else _millions(theirs),
                rate["ours"] / rate["hub"] if theirs else None,
                family.wanted if theirs else None,
                rate["llama"],
                rate["ours"] / rate["llama"],
            )


def plain_mamba(context: int = 256) -> tuple[float, float]:
    """Return tokens a second of the hub's Mamba without its optional package, and of ours."""
    options = dict(FAMILIES["mamba"].options) | {"use_mambapy": False}
    sides = {
        "hub": step(hub("Mamba", **options), context, batch=1),
        "ours": step(ours(FAMILIES["mamba"]), context, batch=1),
    }
    taken = paired(sides, rounds=5, glacial=5.0)
    return context / taken["hub"].median, context / taken["ours"].median


def in_bfloat16(context: int, families: list[str], rounds: int) -> dict[str, float]:
    """Return how many times as fast a step is where products are in bfloat16."""
    found = {}
    for name in families:
        model = ours(FAMILIES[name])
        sides = {"wide": step(model, context), "narrow": step(model, context, bfloat16=True)}
        taken = paired(sides, rounds=rounds, slow=1.0)
        found[name] = taken["wide"].median / taken["narrow"].median
    return found


def _millions(model: nn.Module) -> float:
    return sum(p.numel() for p in model.parameters()) / 1e6


HEAD = (
    "model", "context", "ours", "floor", "of floor", "hub", "ratio", "aim",
    "llama", "over llama", "million",
)  # fmt: skip
PAGE = """# Training, end to end

Made by `python -m benchmarks.end_to_end --markdown`: tokens a second of whole steps of training, of
models of about 16 million parameters on 2,048 tokens a step. *floor* is what the matrix products of
our model's weights reach alone in `torch.mm`, forward and backward. Where our own products are
faster than those, on processors of other makers than Intel, a model may pass it: *of floor* is ours
over it. *hub* is the same architecture in transformers (Mamba with mambapy), *ratio* ours over the
hub's, *aim* what was set before. *llama* is one of 16.3 million parameters in transformers, which
multiplies with torch, as the hub's models do. All sides of a line take steps in turn.

{machine}

{table}

The hub's Mamba without its optional package: {plain:.0f} tokens a second on one sequence of 256
tokens, ours {beside:.0f} in the same minute.

Steps with products in bfloat16 over steps in float32, at a context of 256: {narrow}.

Trained on real text in both precisions, from the same weights and on the same batches, the losses
lie on each other (`--curves`):

![Losses of Mamba-2 and Gated DeltaNet in float32 and with bfloat16 products](bfloat16.png)
"""


def row(line: Line) -> list[str]:
    """Return the cells of a line of the table."""
    return [
        line.model,
        f"{line.context:,}",
        f"{line.ours:,.0f}",
        f"{line.floor:,.0f}",
        f"{line.ours / line.floor:.2f}",
        "" if line.hub is None else f"{line.hub:,.0f}",
        "" if line.ratio is None else f"{line.ratio:.2f}",
        "" if line.wanted is None else f"{line.wanted:.1f}",
        f"{line.llama:,.0f}",
        f"{line.over_llama:.2f}",
        f"{line.parameters:.1f}"
        + ("" if line.hub_parameters is None else f" / {line.hub_parameters:.1f}"),
    ]


def draw(picture: str, text: str, steps: int = 150, context: int = 256) -> None:
    """Train two of the models in float32 and in bfloat16, and draw their losses."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    from statewise.tasks.documents import read_text

    data = torch.tensor(list(read_text(text).encode()))
    _, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for axis, name in zip(axes, ("mamba2", "gated_delta_net"), strict=True):
        for bfloat16 in (False, True):
            torch.manual_seed(0)
            model = ours(FAMILIES[name])
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
            found = []
            for _ in range(steps):
                starts = torch.randint(len(data) - context - 1, (8,))
                batch = torch.stack([data[i : i + context + 1] for i in starts.tolist()])
                loss = there_and_back(model, batch, bfloat16)
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                found.append(loss.item() / math.log(2))
            label = "bfloat16 products" if bfloat16 else "float32"
            axis.plot(found, label=label, linewidth=1, alpha=0.8)
        axis.set(title=name, xlabel="step of 2,048 bytes", ylim=(1.5, 6))
        axis.legend()
    axes[0].set_ylabel("bits per byte, training")
    plt.savefig(picture, dpi=120)


def main() -> None:
    """Print the lines as they are found, or all at once as JSON or Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.end_to_end", description=__doc__)
    parser.add_argument("families", nargs="*", help=f"some of: {', '.join(FAMILIES)}")
    parser.add_argument("--contexts", type=int, nargs="+", default=[256, 512, 2048, 4096])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--markdown", action="store_true", help="print the documentation's page")
    parser.add_argument("--curves", metavar="PICTURE", help="draw losses in both precisions there")
    parser.add_argument("--text", help="a text file for --curves")
    options = parser.parse_args()
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    warnings.filterwarnings("ignore")  # the baselines' own
    keep_memory()
    if options.curves:
        draw(options.curves, options.text)
        return
    families = options.families or list(FAMILIES)
    about = machine()
    quiet = options.json or options.markdown
    if not quiet:
        print("\n".join(f"{name}: {value}" for name, value in about.items()), flush=True)
        print("  ".join(HEAD), flush=True)
    found = []
    for line in lines(options.rounds, options.contexts, families):
        found.append(line)
        # Half an hour is long: whoever waits for JSON sees the lines too.
        where = sys.stderr if quiet else sys.stdout
        print("  ".join(cell or "-" for cell in row(line)), file=where, flush=True)
    narrow = in_bfloat16(256, families, options.rounds)
    plain, beside = plain_mamba()
    if options.json:
        print(
            json.dumps(
                {
                    "machine": about,
                    "lines": [line._asdict() for line in found],
                    "bfloat16": narrow,
                    "plain": {"hub": plain, "ours": beside},
                },
                indent=1,
            )
        )
    elif options.markdown:
        print(
            PAGE.format(
                machine=markdown.bullets(about),
                table=markdown.table(HEAD, map(row, found)),
                plain=plain,
                beside=beside,
                narrow=", ".join(f"{name} {gain:.2f}" for name, gain in narrow.items()),
            ),
            end="",
        )
    else:
        print(f"bfloat16 over float32: {narrow}")
        print(f"plain loop of the hub's Mamba: {plain:.0f} tokens/s, ours {beside:.0f}")


if __name__ == "__main__":
    main()
