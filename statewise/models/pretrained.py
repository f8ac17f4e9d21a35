"""A model in a folder: `config.json`, `model.safetensors` and what its kind adds to them."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import save_file
from torch import Tensor, nn

from statewise import __version__

FORMAT = 1
"""Raised when an older reader would misunderstand the files."""

CONFIG, WEIGHTS = "config.json", "model.safetensors"
INT8 = "int8"
"""What `config.json` says of weights that `statewise.models.quantize` rounded."""

OURS = "statewise"
"""The `model_type` by which the hub's library knows a language model of ours."""


def write(
    folder: str | Path,
    kind: str,
    config: dict[str, Any],
    model: nn.Module,
    further: Mapping[str, Callable[[Path], None]],
    *,
    quantized: bool = False,
) -> None:
    """Write a model. Each file appears whole or not at all; `config.json` comes last.

    Args:
        folder: made if absent.
        kind: of the model.
        config: what it is built from.
        model: its weights are written.
        further: what writes each further file, by its name.
        quantized: whether its weights are of eight bits, which a reader has to know.
    """
    tensors = {name: t.detach().contiguous() for name, t in tensors_of(model).items()}
    description = {
        "format": FORMAT,
        "statewise": __version__,
        "model": kind,
        "model_type": OURS,
        "files": [WEIGHTS, *further],
        **({"weights": INT8} if quantized else {}),
        "config": config,
    }
    write_files(folder, description, tensors, further)


def write_files(
    folder: str | Path,
    description: Mapping[str, Any],
    tensors: dict[str, Tensor],
    further: Mapping[str, Callable[[Path], None]],
) -> None:
    """Write weights, what describes them and further files, each whole, `config.json` last."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, save in further.items():
        with _whole(folder / name) as path:
            save(path)
    with _whole(folder / WEIGHTS) as path:
        save_tensors(tensors, path, {"format": "pt"})
    with _whole(folder / CONFIG) as path:
        path.write_text(json.dumps(description, indent=2) + "\n")


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write a safetensors file.

    Raises:
        OSError: if it cannot be written, for want of space or of the folder.
    """
    try:
        save_file(tensors, path, metadata)
    except safetensors.SafetensorError as error:
        raise OSError(f"{path} cannot be written: {error}") from None


def of_the_hub(folder: str | Path) -> dict[str, Any] | None:
    """Return what the configuration file says, if the hub's library (transformers) wrote it.

    Raises:
        ValueError: if the file is damaged.
    """
    path = Path(folder) / CONFIG
    found = _json(path) if path.is_file() else None
    theirs = isinstance(found, dict) and found.get("model_type", OURS) != OURS
    return found if theirs else None


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def kind_of(folder: str | Path) -> str:
    """Return what kind of model is in `folder`, such as "language_model".

    What the hub's library wrote is a language model.

    Raises:
        FileNotFoundError: if the folder or a file of it is missing.
        ValueError: if the file is damaged.
    """
    if of_the_hub(folder) is not None:
        return "language_model"
    return str(_description(folder).get("model"))


def read_config(folder: str | Path, kind: str) -> dict[str, Any]:
    """Return the configuration in `folder`.

    Raises:
        FileNotFoundError: if the folder or a file of it is missing.
        ValueError: if the file is damaged, or describes something else.
    """
    description = _description(folder)
    if description.get("model") != kind:
        raise ValueError(
            f"{Path(folder) / CONFIG} describes a {description.get('model')}, not a {kind}"
        )
    return description["config"]


def is_quantized(folder: str | Path) -> bool:
    """Return whether the weights of the model in `folder` are of eight bits."""
    return _description(folder).get("weights") == INT8


def _description(folder: str | Path) -> dict[str, Any]:
    """Return what the configuration file says, of a model that is complete."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no model: it has no {CONFIG}")
    description = _json(path)
    if not isinstance(description, dict) or not isinstance(description.get("config"), dict):
        raise ValueError(f"{path} was not written by statewise")
    if description.get("format") != FORMAT:
        raise ValueError(
            f"{path} has format {description.get('format')}, written by statewise "
            f"{description.get('statewise')}; this is {__version__}, which reads {FORMAT}"
        )
    for name in description["files"]:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} is not complete: it has no {name}")
    return description


def read_weights(folder: str | Path, model: nn.Module, *, mapped: bool = False) -> None:
    """Put the weights in `folder` into `model`, in the precision they were saved in.

    Args:
        folder: what a model was saved to.
        model: of the same kind.
        mapped: whether they are windows on the file, of which a page is read when it is needed, and
            copied when it is written to. The file may be replaced but not written into.

    Raises:
        ValueError: if the file is damaged or of another model; it names the first tensor that is
            missing, left over or of another shape. The model is then as it was.
    """
    path = Path(folder) / WEIGHTS
    targets = tensors_of(model)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            names = set(file.keys())
            for name, target in targets.items():
                if name not in names:
                    raise ValueError(f"{path} is of another model: it has no {name}")
                shape = tuple(file.get_slice(name).get_shape())
                if shape != tuple(target.shape):
                    raise ValueError(
                        f"{path} is of another model: {name} is {shape}, not {tuple(target.shape)}"
                    )
            if left := sorted(names - set(targets)):
                raise ValueError(f"{path} is of another model: nothing here is called {left[0]}")
            for name, target in targets.items():
                if file.get_tensor(name).is_floating_point() != target.is_floating_point():
                    raise ValueError(f"{path} is of another model: {name} is of another type")
            for name, target in targets.items():
                target.data = file.get_tensor(name).to(target.device, copy=not mapped)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is cut short or damaged: {error}") from None


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Return what a state dict holds, each tensor once however often its module is used."""
    kept = model.state_dict().keys()
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor for name, tensor in named if name in kept}


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Give a file to write, which takes its place at once when it is complete."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield draft
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
