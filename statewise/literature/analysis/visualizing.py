"""Visualizing networks: an LSTM follows brackets far back; one cell alone follows quotes by chance.

Karpathy, Johnson and Li, "Visualizing and Understanding Recurrent Networks", 2015,
arXiv:1506.02078, sections 4.1 to 4.3.

Recipe   an LSTM of 96 units reads generated text of four words, brackets that nest and quotes about
         them, its states carried on; a Kneser-Ney model of nine symbols counts it. The cell that
         best tells of quotes is chosen on one half of held-out text, and asked on the other.
Weak     text of a generator in place of programs and novels; one layer; no table of other errors.

Tried at seeds 100 to 103: AUCs of 0.62, 0.62, 0.78 and 0.62; where quotes nested in brackets too,
0.78 to 0.98 with 16 words, 0.63 to 1.00 with four; less with one kind of bracket, or long quotes.
"""

import math

import torch
from torch.nn.functional import cross_entropy

from statewise.analysis.gates import retention
from statewise.analysis.learning import Bare, read_once
from statewise.analysis.probes import units_of
from statewise.analysis.trajectories import visited
from statewise.literature.paper import Budget, Check, Claim
from statewise.tasks.language import Streams
from statewise.tasks.nested_text import WORDS, closed_after, inside_quotes, nested_text
from statewise.tasks.ngrams import KneserNey
from statewise.tasks.passages import Passages, of

PAPER = 53
UNITS, STREAMS, CONTEXT, PASSES, RATE, ROWS, FAR = 96, 32, 64, 12, 1e-2, 16, 10
CELL, GAIN, NEAR = "AUC of the best cell", "nats won at far brackets", "at those within 8"
OPEN, SHUT, MODEL = "forget gates above 0.9", "forget gates below 0.1", "LSTM beside 9-gram"
RECIPES = {MODEL: 9}

CLAIM = Claim(
    "A single cell tells with an AUC of 0.9 whether a quote is open; closing a bracket over 10 "
    "symbols back costs 0.3 nats less than by a 9-gram, and near ones win half of that at most; "
    "forget gates stand at both ends.",
    (
        Check("a cell follows quotes", (MODEL, CELL), ">=", 0.9),
        Check("far brackets cost less", (MODEL, GAIN), ">=", 0.3),
        Check("near ones less so", (MODEL, NEAR), "<=", (MODEL, GAIN), times=0.5, paired=True),
        *(Check(f"there are {gates}", (MODEL, gates), ">=", 0.05) for gates in (OPEN, SHUT)),
    ),
)


def measure(order: int, budget: Budget, seed: int) -> dict[str, float]:
    """Return what cells tell, what brackets cost, and where gates stand."""
    generator, small = torch.Generator().manual_seed(seed), budget is Budget.smoke
    sizes = (3000, 1 + ROWS * 40) if small else (300_000, 1 + ROWS * 1280)
    seen, text = (nested_text(size, generator, words=WORDS[:4]) for size in sizes)
    source, held_out = Passages(of(seen)), of(text)
    streams = Streams([source.text], streams=STREAMS, context=CONTEXT)
    model = Bare("lstm", source, dim=UNITS)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.0)
    for left in range(passes := budget.steps(PASSES), 0, -1):
        optimizer.param_groups[0]["lr"] = RATE * left / passes
        read_once(model, streams, optimizer)
    tokens = held_out[:-1].view(ROWS, -1)
    with torch.no_grad():
        x, logits = model.embedding(tokens), model.eval()(tokens)[0].flatten(0, 1)
    costs = KneserNey([seen], order=order, vocab=source.vocab).costs(text)[1:]
    won = math.log(2) * torch.tensor(costs) - cross_entropy(logits, held_out[1:], reduction="none")
    rows = [text[at : at + tokens.shape[1]] for at in range(1, len(text), tokens.shape[1])]
    back = torch.cat([closed_after(row) for row in rows])
    cells, quoted = visited(model.mixer, x, leaf="c").flatten(2), inside_quotes(text)[:-1]
    (chosen, asked), (labels, told) = cells.chunk(2), quoted.view(ROWS, -1).chunk(2)
    best = (units_of(chosen, labels).auc - 0.5).abs().argmax()
    found = float(units_of(asked[..., best, None], told).auc)
    gates = retention(model.mixer, x[:8, :CONTEXT], leaf="c")
    return {
        CELL: max(found, 1 - found),
        GAIN: float(won[back > FAR].mean()),
        NEAR: float(won[(back > 0) & (back < order)].mean()),
        OPEN: float((gates > 0.9).double().mean()),
        SHUT: float((gates < 0.1).double().mean()),
    }
