"""Proteins with planted signals: where a protein goes, a short motif tells by what and where it is.

    VSLRAWQY..LDEK..WHFPY..NGQTC..KVKRP      begin     VSLRA at the beginning
    TPQY..SLRAV..VRKKP..WHFPY..NGQTC..KDEL   end       KDEL at the end
    GAQY..VSLRA..PKRKV..WHFPY..NGQTC..KDELY  inside    PKRKV anywhere
    GAQY..ASRVL..RKPVK..NGQTC..WHFPY..DLEKY  pair      NGQTC before WHFPY, in this order
    GAQY..ASRVL..RKPVK..WHFPY..NGQTC..KDELY  none

All are of about one composition: what a protein lacks stands in it too, its letters in another
order, or whole where it tells nothing.
"""

import random
from typing import NamedTuple

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
BEGIN, END, INSIDE, PAIR = "VSLRA", "KDEL", "PKRKV", ("NGQTC", "WHFPY")
MOTIFS = (BEGIN, END, INSIDE, *PAIR)
PLACES = ("begin", "end", "inside", "pair", "none")
BORDER = 5
"""Residues at either end that hold nothing but what belongs there."""


class Protein(NamedTuple):
    """One protein."""

    residues: str
    place: str
    """One of `PLACES`."""
    signals: tuple[range, ...]
    """Where the motifs stand that tell it, from 0."""


def proteins(count: int, *, seed: int, shortest: int = 60, longest: int = 200) -> list[Protein]:
    """Return proteins; the same seed, the same ones.

    Args:
        count: how many.
        seed: of all of them.
        shortest: residues of each, at least; 35 or more.
        longest: at most.

    Raises:
        ValueError: if a protein may be too short for what it holds.
    """
    if not 2 * BORDER + 5 * len(MOTIFS) <= shortest <= longest:
        raise ValueError(f"proteins: expected 35 <= shortest <= longest: {shortest}, {longest}")
    draw = random.Random(seed)
    return [_protein(draw, draw.randint(shortest, longest)) for _ in range(count)]


def _protein(draw: random.Random, length: int) -> Protein:
    place = draw.choice(PLACES)
    ends = ((BEGIN, "begin"), (END, "end"))
    inside = [draw.choice((it, _scrambled(it, draw))) for it, where in ends if where != place]
    inside.append(INSIDE if place == "inside" else _scrambled(INSIDE, draw))
    draw.shuffle(inside)
    first, second = sorted(draw.choices(range(len(inside) + 1), k=2))
    one, other = PAIR if place == "pair" else PAIR[::-1]
    inside[second:second] = [other]
    inside[first:first] = [one]
    residues = draw.choices(RESIDUES, k=length)
    found: dict[str, range] = {}

    def put(motif: str, at: int) -> None:
        residues[at : at + len(motif)] = motif
        found[motif] = range(at, at + len(motif))

    room = (length - 2 * BORDER) // len(inside)
    for number, motif in enumerate(inside):
        put(motif, BORDER + number * room + draw.randrange(room - len(motif) + 1))
    if place == "begin":
        put(BEGIN, 0)
    if place == "end":
        put(END, length - len(END))
    telling = {"begin": (BEGIN,), "end": (END,), "inside": (INSIDE,), "pair": PAIR, "none": ()}
    return Protein("".join(residues), place, tuple(found[motif] for motif in telling[place]))


def _scrambled(motif: str, draw: random.Random) -> str:
    """Return the letters of a motif in another order."""
    while (other := "".join(draw.sample(motif, len(motif)))) == motif:
        pass
    return other
