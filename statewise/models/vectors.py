"""Word vectors from text files, as word2vec, GloVe and fastText write them.

3 4                          word2vec and fastText: how many, and how many numbers; GloVe: none
the 0.1 -0.2 0.3 0.04        a word, and its numbers, divided by single spaces
New York 0.5 0.1 0.0 0.2     the numbers are the last ones: a word may hold spaces
...
"""

import gzip
import math
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from statewise.models.spelling import key


def read_vectors(
    path: str | Path, wanted: Collection[str], *, first: int = 0
) -> tuple[dict[str, Float[Tensor, " dim"]], int]:
    """Return the vectors of the wanted words that a file has, and how many numbers each has.

    Words of the file are compared by their keys (`statewise.models.spelling.key`); of several with
    the same key the first counts, which in these files is the most frequent.

    Args:
        path: of the file, gzip or not.
        wanted: keys.
        first: of so many words at the beginning of the file, the vector is wanted in any case.

    Raises:
        ValueError: names the line where there are not as many numbers as in others.
        FileNotFoundError: if there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file of word vectors")
    found: dict[str, Tensor] = {}
    dim = 0
    for number, line in _lines(path):
        fields = line.split(" ")
        if number == 1 and len(fields) == 2 and all(map(str.isdigit, fields)):
            dim = int(fields[1])
            continue
        dim = dim or len(fields) - 1
        if dim < 1 or len(fields) < dim + 1:
            raise ValueError(
                f"{path}:{number}: expected a word and {max(dim, 1)} numbers, found "
                f"{len(fields) - 1}"
            )
        word = key(" ".join(fields[:-dim]))
        if word not in found and (word in wanted or number <= first):
            found[word] = _numbers(path, number, fields[-dim:])
    if not dim:
        raise ValueError(f"{path}: there are no word vectors in it")
    return found, dim


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines of a file that may be gzip, and too long to be read at once."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    number = 0
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield number, line.decode("utf-8").rstrip("\r\n ")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}:{number}: byte 0x{error.object[error.start]:02x} is not UTF-8; is this the "
            "binary format? Save the vectors as text"
        ) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: the gzip file is damaged ({error})") from None


def _numbers(path: Path, number: int, fields: list[str]) -> Tensor:
    try:
        values = np.array(fields, dtype=np.float32)
    except ValueError as error:
        raise ValueError(f"{path}:{number}: this is no vector ({error})") from None
    if not math.isfinite(float(np.abs(values).sum())):
        raise ValueError(f"{path}:{number}: the vector is not finite")
    return torch.from_numpy(values)
