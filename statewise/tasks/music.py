"""Polyphonic music: frames of 88 keys, each down or not, and which are down in the next frame.

    key         39 43 46 58        39 is the C in the middle of a piano, 0 its lowest A
    frame 0      1  1  1  0
    frame 1      1  1  1  0        wanted after frame 0
    frame 2      1  1  1  1        wanted after frame 1; the last frame is read by nobody

The score is the cost of a frame, the costs of its 88 keys together, in nats; a first frame is not
predicted and does not count. Boulanger-Lewandowski et al., "Modeling temporal dependencies in
high-dimensional sequences", 2012, arXiv:1206.6392, with its chorales and its folk tunes.

A file is `.npz`, with `train`, `dev` and `test`, each the frames of all its pieces, one piece after
another, as (frames, 88) booleans or (frames, 11) bytes of eight keys, the first the highest bit;
and with `train_length`, `dev_length` and `test_length`, the frames of each piece.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

KEYS = 88
"""Of a piano: MIDI notes 21 to 108."""


class Frames(NamedTuple):
    """Pieces side by side, padded on the right with silence."""

    inputs: Float[Tensor, "batch time 88"]
    """1 for a key that is down, else 0."""
    targets: Float[Tensor, "batch time 88"]
    """The frame after each."""
    lengths: Int[Tensor, " batch"]
    """How many of each row are real, and count."""


def read(path: str | Path, part: str = "train") -> list[Bool[Tensor, "_ 88"]]:
    """Return the pieces of one part of a file.

    Args:
        path: of a file as the head of this one describes.
        part: "train", "dev" or "test".

    Raises:
        ValueError: for a file of another kind, without that part, or whose lengths do not add up.
        FileNotFoundError: if there is no such file.
    """
    try:
        # Opened here, because numpy leaves a damaged file open.
        with open(path, "rb") as stream:
            file = np.load(stream)
            if isinstance(file, np.ndarray):
                raise ValueError("a single array")
            frames, lengths = file[part], file[f"{part}_length"]
    except KeyError as error:
        raise ValueError(f"{path}: part is {part!r}, and {error.args[0]}") from None
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path}: this is no .npz file of numbers ({error})") from None
    if frames.dtype == np.uint8 and frames.shape[1:] == (KEYS // 8,):
        frames = np.unpackbits(frames, axis=1)
    elif frames.dtype != np.bool_ or frames.shape[1:] != (KEYS,):
        raise ValueError(
            f"{path}: {part} is {frames.dtype} of shape {frames.shape}; it should be (frames, 88) "
            "booleans or (frames, 11) bytes"
        )
    if lengths.min(initial=1) < 1 or lengths.sum() != len(frames):
        raise ValueError(
            f"{path}: {part} has {len(frames)} frames, which its {len(lengths)} pieces should share"
        )
    return list(torch.from_numpy(frames.astype(bool)).split(lengths.tolist()))


def pad(pieces: Sequence[Bool[Tensor, "_ 88"]]) -> Frames:
    """Return pieces of two frames or more as one batch."""
    short = min(map(len, pieces))
    if short < 2:
        raise ValueError(f"a piece has {short} frames; it takes 2 to predict one from another")
    both = pad_sequence([piece.float() for piece in pieces], batch_first=True)
    return Frames(both[:, :-1], both[:, 1:], torch.tensor([len(piece) - 1 for piece in pieces]))


def draw(
    pieces: Sequence[Bool[Tensor, "_ 88"]],
    batch: int,
    length: int,
    generator: torch.Generator,
) -> Frames:
    """Return `batch` stretches of up to `length` predicted frames, of pieces drawn at random."""
    if length < 1:
        raise ValueError(f"length is {length}; there should be at least 1 frame to predict")
    chosen = []
    for at in torch.randint(len(pieces), (batch,), generator=generator).tolist():
        spare = max(len(pieces[at]) - length - 1, 0)
        start = int(torch.randint(spare + 1, (), generator=generator))
        chosen.append(pieces[at][start : start + length + 1])
    return pad(chosen)


def loss_sum(logits: Float[Tensor, "batch time 88"], frames: Frames) -> Float[Tensor, ""]:
    """Return the cost of all frames that count, in nats."""
    real = torch.arange(logits.shape[1], device=logits.device) < frames.lengths[:, None]
    # Chosen before anything is computed: what is said of padding may be anything, NaN included.
    return functional.binary_cross_entropy_with_logits(
        logits[real], frames.targets[real], reduction="sum"
    )


def loss(logits: Float[Tensor, "batch time 88"], frames: Frames) -> Float[Tensor, ""]:
    """Return the mean cost of a frame that counts, in nats: the usual score, a negative one."""
    return loss_sum(logits, frames) / frames.lengths.sum()
