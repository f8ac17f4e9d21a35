"""Chorales: generated music of four voices, and how likely each key is to one who knows the rules.

    frame     0 1 2  3 4 5  6 7 8 ...
    chord     I . .  V . .  I . .         a phrase of four chords, three frames each
    soprano   c . d  b . .  c . -         passing notes; voices breathe at a phrase's end
    form      A A B A                     phrases come back as they were

A chorale is in one of twelve keys, which its first frame tells, and has a pace, the frames of a
chord, which its first change tells. A phrase begins with the first degree and goes on to one of its
degree's successors, all as likely. The soprano sings one of the two notes of the chord nearest to
its last one (to the tonic, where a phrase begins), and in a chord's last frame it stays, or moves
one note up or down the scale: stays as often as not. Alto and tenor have the notes of the chord
next below it, the bass the root. In a phrase's last frame the bass is alone.

Frames are those of `statewise.tasks.music`, whose functions read them:

    pieces = Chorales().draw(100, generator)
    frames = music.pad([piece.frames() for piece in pieces])
    least(pieces)                         the mean cost of a frame that no model is below, in nats
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from statewise.tasks.examples import chooser
from statewise.tasks.music import KEYS

SCALE = (0, 2, 4, 5, 7, 9, 11)
SUCCESSORS = ((1, 2, 3, 4, 5), (4,), (3, 5), (0, 1, 4), (0, 5), (1, 3))
"""Which degrees may follow each, from 0, the tonic's: the usual ones of harmony in major."""

LOWEST = 21
"""The MIDI note of key 0."""

BASS, SOPRANO, AIM = range(36, 48), range(60, 82), range(67, 79)
"""Notes of roots, of sopranos in chords, and of the tonics that these begin near."""


class Chord(NamedTuple):
    """A chord of a phrase."""

    degree: int
    soprano: int
    """A MIDI note, as all notes are."""
    step: int
    """Where the soprano goes in the last frame: -1, 0 or 1 notes of the scale."""


@dataclass(frozen=True)
class Chorale:
    """One piece.

    Args:
        tonic: semitones above C.
        pace: frames of a chord.
        form: the names of its phrases, in their order.
        phrases: by name.
        paces: those it might have had.
    """

    tonic: int
    pace: int
    form: str
    phrases: Mapping[str, tuple[Chord, ...]] = field(repr=False)
    paces: tuple[int, ...]

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.form) * len(self.phrases[self.form[0]]) * self.pace

    def frames(self) -> Bool[Tensor, "time 88"]:
        """Return which keys are down."""
        down = torch.zeros(len(self), KEYS, dtype=torch.bool)
        heard = [(time, key) for time in range(len(self)) for key in self._notes(time, self.pace)]
        times, keys = torch.tensor(heard).T
        down[times, keys] = True
        return down

    def chances(self) -> Float[Tensor, "time 88"]:
        """Return how likely each key was to be down, after all frames before; 1 / 2 in the first.

        Whoever knows the rules knows which decisions come next, but not the pace before the first
        change: for each pace that may be, as likely as what was heard makes it.
        """
        found = torch.full((len(self), KEYS), 0.5, dtype=torch.float64)
        weights = dict.fromkeys(self.paces, 1 / len(self.paces))
        for time in range(1, len(self)):
            found[time] = 0
            heard = self._notes(time, self.pace)
            after = {}
            for pace, weight in weights.items():
                options = self._options(time, pace)
                for notes in options:
                    found[time, list(notes)] += weight / len(options)
                after[pace] = weight * options.count(heard) / len(options)
            total = sum(after.values())
            weights = {pace: weight / total for pace, weight in after.items() if weight}
        return found

    def _notes(self, time: int, pace: int) -> frozenset[int]:
        """Return the keys of a frame, were this the pace."""
        name, place, offset = self._place(time, pace)
        chord = self.phrases[name][place]
        if offset < pace - 1:
            return _keys(self.tonic, chord.degree, chord.soprano)
        if place == len(self.phrases[name]) - 1:
            return _keys(self.tonic, chord.degree, None)
        return _keys(self.tonic, *chord)

    def _options(self, time: int, pace: int) -> list[frozenset[int]]:
        """Return what the keys of a frame may be, each as likely, were this the pace."""
        name, place, offset = self._place(time, pace)
        phrase = self.phrases[name]
        length = len(phrase) * pace
        if name in self.form[: time // length]:
            return [self._notes(time, pace)]
        if offset == 0:
            begun = begins(self.tonic, phrase[place - 1] if place else None)
            return [_keys(self.tonic, *chord) for chord in begun]
        if offset == pace - 1 and place < len(phrase) - 1:
            return [_keys(self.tonic, *phrase[place][:2], step) for step in STEPS]
        return [self._notes(time, pace)]

    def _place(self, time: int, pace: int) -> tuple[str, int, int]:
        """Return the phrase's name, the chord's place in it and the frame's in that."""
        chord, offset = divmod(time, pace)
        number, place = divmod(chord, len(self.phrases[self.form[0]]))
        return self.form[number], place, offset


STEPS = (-1, 0, 0, 1)
"""What the soprano's step is drawn from."""


def begins(tonic: int, before: Chord | None) -> list[tuple[int, int]]:
    """Return the degrees and sopranos that a chord may begin with, each as likely.

    Args:
        tonic: semitones above C.
        before: the chord before it in the phrase; None for the first.
    """
    degrees = (0,) if before is None else SUCCESSORS[before.degree]
    last = AIM[(tonic - AIM[0]) % 12] if before is None else before.soprano
    found = []
    for degree in degrees:
        sung = [note for note in SOPRANO if note % 12 in _triad(tonic, degree)]
        found += [(degree, note) for note in sorted(sung, key=lambda n: abs(n - last))[:2]]
    return found


@cache
def _keys(tonic: int, degree: int, soprano: int | None, step: int = 0) -> frozenset[int]:
    """Return the keys of a chord whose soprano is so many notes of the scale away from its own.

    Those of its bass alone, if there is no soprano.
    """
    triad = _triad(tonic, degree)
    notes = [next(note for note in BASS if note % 12 == triad[0])]
    if soprano is not None:
        scale = _scale(tonic)
        notes += [note for note in range(soprano - 1, 0, -1) if note % 12 in triad][:2]
        notes.append(scale[scale.index(soprano) + step])
    return frozenset(note - LOWEST for note in notes)


@cache
def _triad(tonic: int, degree: int) -> tuple[int, ...]:
    """Return the notes of a chord within the octave, its root first."""
    return tuple((tonic + SCALE[(degree + third) % 7]) % 12 for third in (0, 2, 4))


@cache
def _scale(tonic: int) -> tuple[int, ...]:
    """Return the notes of a key on the piano."""
    within = {(tonic + note) % 12 for note in SCALE}
    return tuple(note for note in range(LOWEST, LOWEST + KEYS) if note % 12 in within)


@dataclass(frozen=True)
class Chorales:
    """Pieces by the rules above.

    Args:
        form: the names of phrases in their order; those of the same name are the same.
        chords: of a phrase, at least one.
        paces: frames of a chord that there may be, each at least two.
        tonics: semitones above C that there may be.
    """

    form: str = "AABA"
    chords: int = 4
    paces: tuple[int, ...] = (2, 3, 4)
    tonics: tuple[int, ...] = tuple(range(12))

    def __post_init__(self) -> None:
        if not self.form or self.chords < 1 or min(self.paces, default=0) < 2:
            raise ValueError(
                f"form = {self.form!r} should have a phrase, chords = {self.chords} be at least 1 "
                f"and paces = {self.paces} at least 2 each"
            )
        if not self.tonics or not set(self.tonics) <= set(range(12)):
            raise ValueError(f"tonics = {self.tonics} should be some of 0 to 11")

    def draw(self, pieces: int, generator: torch.Generator) -> list[Chorale]:
        """Return so many pieces."""
        choose = chooser(generator)
        return [self._draw(choose) for _ in range(pieces)]

    def _draw(self, choose: Callable[[int], int]) -> Chorale:
        tonic, pace = (some[choose(len(some))] for some in (self.tonics, self.paces))
        phrases = {}
        for name in dict.fromkeys(self.form):
            phrase: list[Chord] = []
            for _ in range(self.chords):
                options = begins(tonic, phrase[-1] if phrase else None)
                degree, soprano = options[choose(len(options))]
                phrase.append(Chord(degree, soprano, STEPS[choose(len(STEPS))]))
            phrases[name] = tuple(phrase)
        return Chorale(tonic, pace, self.form, phrases, self.paces)


def least(pieces: Sequence[Chorale]) -> float:
    """Return the mean cost of a frame, in nats, to one who knows the rules and all frames before.

    Keys are judged one by one, as `statewise.tasks.music.loss` does: of the answers that a model
    can give, these are the best.
    """
    costs = [
        binary_cross_entropy(
            piece.chances()[1:], piece.frames()[1:].double(), reduction="sum"
        ).item()
        for piece in pieces
    ]
    return sum(costs) / sum(len(piece) - 1 for piece in pieces)
