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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from statewise.training.configuration import FREE_TO_CHANGE, Running
from statewise.training.processes import Processes

Kind = TypeVar("Kind", bound=Running)

POINTER = "pointer.json"

AT_THE_END = ("held_out_", "test_")
"""How figures in metrics.jsonl begin that are of the whole run, and not of a step."""

MIXERS = ("mixer", "characters")
"""Options that may be mixers, and are compared whole."""

CONFIGURATION, METRICS, LOG, CHECKPOINTS = (
    "config.yaml",
    "metrics.jsonl",
    "train.log",
    "checkpoints",
)


class Run:
    """A run folder to write to.

    Args:
        folder: made if absent.
        configuration: written as config.yaml.
        overwrite: whether a run that is there is removed first.
        resume: whether a run that is there goes on, with the configuration given.
        writes: false for all processes but one, whose other methods then do nothing.

    Raises:
        FileExistsError: if a run is there and it should neither be replaced nor go on, or something
            else is there.
    """

    def __init__(
        self,
        folder: str | Path,
        configuration: dict[str, Any],
        *,
        overwrite: bool = False,
        resume: bool = False,
        writes: bool = True,
    ):
        self.folder, self.writes = Path(folder), writes
        self.checkpoints = self.folder / CHECKPOINTS
        self.configuration = configuration
        self._began = time.time()
        if not writes:
            return
        if self.folder.exists() and not self.folder.is_dir():
            raise FileExistsError(f"{folder}: this is a file, so no run can be put there")
        holds = {path.name for path in self.folder.iterdir()} if self.folder.exists() else set()
        if CONFIGURATION not in holds and not self._hardly_begun(holds):
            raise FileExistsError(f"{folder}: this folder holds other files than a run")
        if holds and not (overwrite or resume):
            raise FileExistsError(
                f"{folder}: a run is there already; choose another --out, or --overwrite it, or "
                "--resume it"
            )
        if holds and overwrite:
            shutil.rmtree(self.folder)
        self._make()

    def _hardly_begun(self, holds: set[str]) -> bool:
        """Return whether this is what a run leaves that was killed as it began, or nothing."""
        empty = CHECKPOINTS not in holds or not any(self.checkpoints.iterdir())
        return empty and holds <= {CHECKPOINTS, _draft(self.folder / CONFIGURATION).name}

    def _make(self) -> None:
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(self.configuration, sort_keys=False)
        _replace(self.folder / CONFIGURATION, text)

    def forget_after(self, step: int) -> None:
        """Drop the measurements of steps that the run is about to do again."""
        path = self.folder / METRICS
        if not self.writes or not path.exists():
            return
        kept = []
        for line in path.read_text().splitlines():
            try:
                values = json.loads(line)
            except json.JSONDecodeError:
                continue  # cut short when the run was
            if values.get("step", 0) <= step and not any(
                name.startswith(AT_THE_END) for name in values
            ):
                kept.append(line + "\n")
        _replace(path, "".join(kept))

    def measure(self, **values: Any) -> None:
        """Append one line to metrics.jsonl."""
        if self.writes:
            with (self.folder / METRICS).open("a") as file:
                file.write(json.dumps(values) + "\n")

    def say(self, text: str) -> None:
        """Append a line to train.log, with the seconds since the run began or went on."""
        if self.writes:
            with (self.folder / LOG).open("a") as file:
                file.write(f"{time.time() - self._began:9.1f}  {text}\n")

    @contextmanager
    def begin(self, name: str) -> Iterator[Path]:
        """Give an empty folder for a checkpoint; one that is left unfinished is removed.

        A run folder that somebody has deleted is made again: what was learned is not lost with it.
        """
        folder = self.checkpoints / name
        if not self.writes:
            yield folder
            return
        if not self.folder.exists():
            self._make()
        shutil.rmtree(folder, ignore_errors=True)  # as a run that was killed may have left it
        folder.mkdir()
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def point(self, name: str, *, best: bool) -> None:
        """Name a checkpoint that is written as the last, and as the best if it is.

        Checkpoints that are neither are removed, after the pointer has moved on.
        """
        if not self.writes:
            return
        folder = self.checkpoints / name
        for path in (*folder.iterdir(), folder):
            _sync(path)
        named = self._named() | {"last": name} | ({"best": name} if best else {})
        _replace(self.checkpoints / POINTER, json.dumps(named))
        for old in self.checkpoints.iterdir():
            if old.is_dir() and old.name not in named.values():
                shutil.rmtree(old)

    def last(self) -> Path | None:
        """Return the last checkpoint, if there is one."""
        named = self._named()
        return self.checkpoints / named["last"] if named else None

    def _named(self) -> dict[str, str]:
        pointer = self.checkpoints / POINTER
        return _read(pointer) if pointer.exists() else {}


def begin(config: Running, processes: Processes) -> Run:
    """Return the folder of a run to write to, when all processes may look into it.

    Raises:
        ValueError: if the run there cannot go on so, or its configuration is damaged.
        FileExistsError: as `Run` does.
    """
    # What is kept begins and replaces nothing when it is given again, with --resume or without.
    chosen = {**config.model_dump(mode="json"), "overwrite": False, "resume": False}
    stored = stored_configuration(config.out, type(config)) if config.resume else None
    if stored is not None:
        before = dict(_flat(stored.model_dump(mode="json")))
        for name, value in _flat(chosen):
            if name not in FREE_TO_CHANGE and before[name] != value:
                raise ValueError(
                    f"{config.out}: the run there cannot go on with another {name}: it has "
                    f"{before[name]}, not {value}"
                )
    with processes.main_first():
        return Run(
            config.out,
            chosen,
            overwrite=config.overwrite,
            resume=config.resume,
            writes=processes.main,
        )


def _flat(fields: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the options with their dotted names; those free to change are not looked into."""
    for name, value in fields.items():
        whole = above + name in FREE_TO_CHANGE or name in MIXERS
        if isinstance(value, dict) and not whole:
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, value


def stored_configuration(folder: str | Path, kind: type[Kind]) -> Kind | None:
    """Return the configuration of the run in `folder`, or None if there is no run.

    Args:
        folder: of the run.
        kind: what it is read as.

    Raises:
        ValueError: if the file is damaged, or says what no run can be.
    """
    path = Path(folder) / CONFIGURATION
    if not path.exists():
        return None
    try:
        stored = yaml.safe_load(path.read_text())
    except yaml.YAMLError:
        stored = None
    if not isinstance(stored, dict):
        raise ValueError(f"{path}: the file is damaged")
    try:
        return kind(**stored)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path}: {name}: {first['msg']}") from None


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
    named = _read(pointer)
    # A run that was stopped before it ever read the held-out text has a last one alone.
    return pointer.parent / named.get(which, named["last"])


def _read(pointer: Path) -> dict[str, str]:
    try:
        named = json.loads(pointer.read_text())
    except json.JSONDecodeError:
        named = None
    if not isinstance(named, dict) or "last" not in named:
        raise ValueError(f"{pointer}: the file is damaged")
    return named


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp")


def _replace(path: Path, text: str) -> None:
    draft = _draft(path)
    draft.write_text(text)
    _sync(draft)
    os.replace(draft, path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
