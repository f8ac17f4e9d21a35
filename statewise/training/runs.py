"""A run folder: what was asked for, what happened, and the checkpoints.

    config.yaml       the whole configuration
    metrics.jsonl     one line per measurement
    train.log         what was said
    checkpoints/      a fresh folder each, and pointer.json, which says which is last and which best

A run that exists is never overwritten unasked. The pointer is replaced atomically and a checkpoint
is synced before it is named, so that whatever happens the one named is whole.
"""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

POINTER = "pointer.json"


class Run:
    """A new run folder.

    Args:
        folder: made if absent.
        configuration: written as config.yaml.
        overwrite: whether a run that is there is removed first.

    Raises:
        FileExistsError: if a run is there and `overwrite` is false, or something else is there.
    """

    def __init__(self, folder: str | Path, configuration: dict[str, Any], *, overwrite: bool):
        self.folder = Path(folder)
        if self.folder.exists():
            if not self.folder.is_dir():
                raise FileExistsError(f"{folder}: this is a file, so no run can be put there")
            if not (self.folder / "config.yaml").exists() and any(self.folder.iterdir()):
                raise FileExistsError(f"{folder}: this folder holds other files than a run")
            if any(self.folder.iterdir()) and not overwrite:
                raise FileExistsError(
                    f"{folder}: a run is there already; choose another --out, or --overwrite"
                )
            shutil.rmtree(self.folder)
        self.checkpoints = self.folder / "checkpoints"
        self.checkpoints.mkdir(parents=True)
        (self.folder / "config.yaml").write_text(yaml.safe_dump(configuration, sort_keys=False))
        self._began = time.time()

    def measure(self, **values: Any) -> None:
        """Append one line to metrics.jsonl."""
        with (self.folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(values) + "\n")

    def say(self, text: str) -> None:
        """Append a line to train.log, with the seconds since the run began."""
        with (self.folder / "train.log").open("a") as file:
            file.write(f"{time.time() - self._began:9.1f}  {text}\n")

    def keep(self, name: str, write: Callable[[Path], object], *, best: bool) -> None:
        """Write a checkpoint with `write(folder)`, and name it last, and best if it is.

        Checkpoints that are neither are removed, after the pointer has moved on.
        """
        folder = self.checkpoints / name
        write(folder)
        for path in (*folder.iterdir(), folder):
            _sync(path)
        pointer = self.checkpoints / POINTER
        named = json.loads(pointer.read_text()) if pointer.exists() else {}
        named["last"] = name
        if best:
            named["best"] = name
        temporary = pointer.with_suffix(".tmp")
        temporary.write_text(json.dumps(named))
        _sync(temporary)
        os.replace(temporary, pointer)
        _sync(self.checkpoints)
        for old in self.checkpoints.iterdir():
            if old.is_dir() and old.name not in named.values():
                shutil.rmtree(old)


def checkpoint(folder: str | Path, which: str = "best") -> Path:
    """Return the folder of a run's checkpoint, or `folder` itself if it holds a model.

    Args:
        folder: a run folder, or a folder that a model was saved to.
        which: "best" or "last".

    Raises:
        FileNotFoundError: if there is neither.
        ValueError: if the pointer is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    if (folder / "config.json").exists():
        return folder
    pointer = folder / "checkpoints" / POINTER
    if not pointer.exists():
        raise FileNotFoundError(f"{folder}: this is neither a run with a checkpoint nor a model")
    try:
        name = json.loads(pointer.read_text())[which]
    except (json.JSONDecodeError, KeyError):
        raise ValueError(f"{pointer}: the file is damaged") from None
    return pointer.parent / name


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
