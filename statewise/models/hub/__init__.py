"""Checkpoints of the hub's library (transformers), read and written without that library.

    config.json          says by `model_type` which family it is of
    model.safetensors    weights by that library's names, or pieces of them with an index
    tokenizer.json       as ours

A family is a file here: how its configuration is one of ours, and which of its weights is which.
Weights are carried over bit by bit, and what the configuration says beyond what a model is built
from is kept with ours, in `LanguageModelConfig.hub`.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor, nn

from statewise.models.hub.family import Family, Place, agree, layers_of
from statewise.models.hub.mamba import FalconMamba, Mamba
from statewise.models.hub.mamba2 import Mamba2
from statewise.models.hub.qwen3_next import Qwen3Next
from statewise.models.hub.recurrent_gemma import RecurrentGemma
from statewise.models.hub.rwkv import Rwkv
from statewise.models.hub.xlstm import XLSTM
from statewise.models.pretrained import CONFIG, WEIGHTS, write_files

INDEX = "model.safetensors.index.json"
"""Says in which piece each weight is."""


FAMILIES: dict[str, Family] = {
    family.kind: family
    for family in (
        Mamba(),
        FalconMamba(),
        Mamba2(),
        Rwkv(),
        XLSTM(),
        RecurrentGemma(),
        Qwen3Next(),
    )
}
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
        return {**FAMILIES[kind].fields(given), "hub": dict(given)}
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
    family, config = FAMILIES[given["model_type"]], _config(model)
    targets = dict(model.named_parameters())
    places = dict(family.places(config, given))
    found: dict[str, dict[int, Tensor]] = {}
    files = _files(Path(folder))
    for path in files:
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - the file is no mapping
                    if name.startswith(family.unread):
                        continue
                    if name not in places:
                        raise ValueError(
                            f"{path}: the weight {name} has no place in a {family.kind}"
                        )
                    place = places.pop(name)
                    shape, wanted = tuple(file.get_slice(name).get_shape()), _shape(place, targets)
                    if shape != wanted:
                        raise ValueError(f"{path}: {name} is {shape}, which does not fit {wanted}")
                    _part(file.get_tensor(name), place, targets, found)
        except safetensors.SafetensorError as error:
            raise ValueError(f"{path} is cut short or damaged: {error}") from None
    if places:
        raise ValueError(f"{files[0]} is of another model: it has no {next(iter(places))}")
    for name, runs in found.items():
        # A copy, be it of one run: each is a window on the file, which may be replaced.
        whole = torch.cat([runs[start] for start in sorted(runs)]).view(targets[name].shape)
        targets[name].data = whole.to(targets[name].device)


def _config(model: nn.Module) -> dict[str, Any]:
    """Return the fields of a model's configuration."""
    config: Any = model.config
    return config.model_dump()


def _rows(x: Tensor) -> Tensor:
    """Return a tensor as rows: those of a vector are its numbers."""
    return x[:, None] if x.ndim == 1 else x.flatten(0, -2)


def _shape(place: Place, ours: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Return the shape of one of their weights."""
    if place.shape is not None:
        return place.shape
    count = sum(len(range(*run.indices(len(_rows(ours[name]))))) for name, run in place.runs)
    first = ours[place.runs[0][0]]
    return tuple(first.shape) if count == len(_rows(first)) else (count, *first.shape[1:])


def _part(
    theirs: Tensor,
    place: Place,
    ours: Mapping[str, Tensor],
    found: dict[str, dict[int, Tensor]],
) -> None:
    """Put the rows of one of their weights into `found`, by our names and where each run starts."""
    start = 0
    for name, run in place.runs:
        target = _rows(ours[name])
        first, end, _ = run.indices(len(target))
        part = theirs.reshape(-1, target.shape[1])[start : start + end - first]
        found.setdefault(name, {})[first] = -part if place.negative else part
        start += end - first


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
    layers_of(fields)  # which every family would refuse in the same words
    reasons = []
    for kind, family in FAMILIES.items():
        try:
            said = _kept(family, family.description(fields), fields)
        except ValueError as error:
            reasons.append(f"{kind}: {error}")
            continue
        weights = {name: weight.detach() for name, weight in model.named_parameters()}
        if "dtype" in said:
            said["dtype"] = str(next(iter(weights.values())).dtype).removeprefix("torch.")
        tensors = {}
        for name, place in family.places(fields, said):
            whole = torch.cat([_rows(weights[ours])[run] for ours, run in place.runs])
            whole = (-whole if place.negative else whole).reshape(_shape(place, weights))
            tensors[name] = whole.contiguous()
        write_files(folder, said, tensors, further)
        return
    raise ValueError(f"no family of the hub's library is built like this: {'; '.join(reasons)}")


def _kept(family: Family, said: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a description with what the checkpoint said that the model was read from.

    Args:
        family: what the model is written as.
        said: the description of its own.
        fields: of the model's configuration.
    """
    kept = fields["hub"]
    if kept.get("model_type") != family.kind:
        return said
    for candidate in (dict(kept), {**kept, **said}):
        try:
            agree(family.fields(candidate), fields, layers_of(fields))
        except ValueError:
            continue
        return candidate
    return said
