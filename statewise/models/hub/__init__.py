"""Checkpoints of the hub's library (transformers), read and written without that library.

    config.json          says by `model_type` which family it is of
    model.safetensors    weights by that library's names, or pieces of them with an index
    tokenizer.json       as ours

A family is a file here: how its configuration is one of ours, and which of its weights is which.
Weights are carried over bit by bit; an axis of length one may come or go.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
from torch import Tensor, nn

from statewise.models.hub.family import Family
from statewise.models.hub.mamba import FalconMamba, Mamba
from statewise.models.hub.mamba2 import Mamba2
from statewise.models.pretrained import CONFIG, WEIGHTS, write_files

INDEX = "model.safetensors.index.json"
"""Says in which piece each weight is."""


FAMILIES: dict[str, Family] = {family.kind: family for family in (Mamba(), FalconMamba(), Mamba2())}
"""By `model_type`."""


def read_fields(folder: str | Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a `LanguageModelConfig` for a checkpoint.

    Raises:
        ValueError: for a family, or an option of it, that our stack does not have.
    """
    kind, path = given["model_type"], Path(folder) / CONFIG
    if kind not in FAMILIES:
        raise ValueError(
            f"{path}: a {kind} is not read into our stack, which has {', '.join(FAMILIES)}; "
            "statewise.compat.transformers.use_native makes that library's own model fast"
        )
    try:
        return FAMILIES[kind].fields(given)
    except KeyError as error:
        raise ValueError(f"{path} is not complete: it has no {error.args[0]}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def read_weights(folder: str | Path, given: Mapping[str, Any], model: nn.Module) -> None:
    """Put the weights of a checkpoint into a model, in the precision they were saved in.

    Raises:
        ValueError: if a file is damaged or of another model; it names the first weight that is
            missing, left over or of another shape. The model is then as it was.
        FileNotFoundError: if a file is missing.
    """
    targets = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    found: dict[str, Tensor] = {}
    names = dict(_names(given, model))
    files = _files(Path(folder))
    for path in files:
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - the file is no mapping
                    if name not in names:
                        raise ValueError(
                            f"{path}: the weight {name} has no place in a {given['model_type']}"
                        )
                    target = targets[names[name]]
                    shape = file.get_slice(name).get_shape()
                    if not _fits(shape, target.shape):
                        raise ValueError(
                            f"{path}: {name} is {tuple(shape)}, which does not fit "
                            f"{tuple(target.shape)}"
                        )
                    # A window on the file, of which a page is read when it is needed.
                    found[name] = file.get_tensor(name).reshape(target.shape).to(target.device)
        except safetensors.SafetensorError as error:
            raise ValueError(f"{path} is cut short or damaged: {error}") from None
    for name, ours in names.items():
        if name not in found:
            raise ValueError(f"{files[0]} is of another model: it has no {name}")
        targets[ours].data = found[name]


def _names(given: Mapping[str, Any], model: nn.Module) -> Iterator[tuple[str, str]]:
    config: Any = model.config
    return FAMILIES[given["model_type"]].names(config.depth, config.tie)


def _fits(theirs: Sequence[int], ours: Sequence[int]) -> bool:
    """Return whether two shapes hold the same numbers: axes of one apart, or one in a row."""
    if len(theirs) == 1:
        return theirs[0] == math.prod(ours)
    return [n for n in theirs if n != 1] == [n for n in ours if n != 1]


def _files(folder: Path) -> list[Path]:
    """Return the files of the weights."""
    index = folder / INDEX
    if index.is_file():
        try:
            pieces = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, AttributeError):
            raise ValueError(f"{index} is damaged") from None
        files = [folder / name for name in sorted(set(pieces))]
    else:
        files = [folder / WEIGHTS]
    for path in files:
        if not path.is_file():
            pickled = sorted(folder.glob("*.bin"))
            why = f": {pickled[0].name} is a pickle, which runs what it holds" if pickled else ""
            raise FileNotFoundError(f"{folder} has no {path.name}{why}")
    return files


def write(
    folder: str | Path,
    fields: Mapping[str, Any],
    model: nn.Module,
    further: Mapping[str, Callable[[Path], None]],
) -> None:
    """Write a model as the hub's library does.

    Args:
        folder: made if absent.
        fields: of the model's configuration.
        model: its weights.
        further: what writes each further file, by its name.

    Raises:
        ValueError: if no family is built like it; it says of each why not.
    """
    reasons = []
    for kind, family in FAMILIES.items():
        try:
            said, shapes = family.describe(fields)
        except ValueError as error:
            reasons.append(f"{kind}: {error}")
            continue
        weights = dict(model.named_parameters())
        tensors = {}
        for theirs, ours in family.names(fields["depth"], fields["tie"]):
            tensor = weights[ours].detach()
            shape = next((s for end, s in shapes.items() if theirs.endswith(end)), tensor.shape)
            tensors[theirs] = tensor.reshape(shape).contiguous()
        write_files(folder, said, tensors, further)
        return
    raise ValueError(f"no family of the hub's library is built like this: {'; '.join(reasons)}")
