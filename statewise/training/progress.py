"""How far a run is, and all it needs to go on as if it had never stopped.

Beside the model, a checkpoint holds

    training.json               steps, seconds, tokens, the best score, the text's fingerprint
    training-00000.safetensors  one for each process: its moments of the optimizer and what else is
                                kept of parameters, its random state and the recurrent states of its
                                rows

Whatever else a step depends on is a pure function of its number: the batch, the learning rate.
"""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from statewise import state as states
from statewise.models import pretrained

FORMAT = 1
"""Raised when an older reader would misunderstand the files."""

DESCRIPTION = "training.json"

KINDS = ("average", "mask", "multiplier")
"""Of what is kept of parameters: see `Kept`."""


@dataclass
class Progress:
    """What a run has done so far."""

    step: int = 0
    seconds: float = 0.0
    tokens: int = 0
    best: float = math.inf
    worse: int = 0
    """Evaluations since the best."""
    read: int = 0
    """The step of the last evaluation."""
    readings: list[float] = field(default_factory=list)
    """What evaluations said, where something hangs on them."""
    budget: int = 0
    """Tokens that equal compute allows; 0 until that is measured, and where it is not asked for."""
    averaged: int = 0
    """How many weights the mean is of that is saved in their place; 0 for none."""


Kept = dict[str, dict[Tensor, Tensor]]
"""What is kept of parameters beside the optimizer's moments, by a word for each kind."""


class Resumed(NamedTuple):
    """What a run goes on with."""

    progress: Progress
    states: list[Any]
    kept: Kept


def save(
    folder: Path,
    progress: Progress,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    states_of_parts: list[Any],
    kept: Kept,
    about: dict[str, Any],
    rank: int,
    replicated: bool,
) -> None:
    """Write what one process needs to go on.

    Args:
        folder: of the checkpoint.
        progress: how far the run is.
        model: whose parameters the optimizer moves.
        optimizer: its moments are kept.
        states_of_parts: the recurrent state after the last step of each part of the rows, or None.
        kept: what else belongs to parameters, by its kind.
        about: what must be the same when the run goes on; process 0 writes it.
        rank: of this process.
        replicated: whether every process has the same moments, so that process 0's serve all.
    """
    tensors = {f"random/{name}": value for name, value in _random().items()}
    if rank == 0 or not replicated:
        for name, parameter in model.named_parameters():
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer/{name}/{key}"] = torch.as_tensor(_local(value))
            for kind, values in kept.items():
                if parameter in values:
                    tensors[f"{kind}/{name}"] = _local(values[parameter])
    for part, state in enumerate(states_of_parts):
        for name, leaf in states.leaves(state).items() if state is not None else ():
            tensors[f"state/{part}/{name}"] = leaf
    copied = {k: t.detach().cpu().clone() for k, t in tensors.items()}
    pretrained.save_tensors(copied, _file(folder, rank), {})
    if rank == 0:
        text = json.dumps({"format": FORMAT, **about, "progress": asdict(progress)}, indent=2)
        (folder / DESCRIPTION).write_text(text + "\n")


def described(folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Return what `save` wrote of a run in words.

    Args:
        folder: of the checkpoint.
        about: as when it was saved.

    Raises:
        ValueError: if the file is missing or damaged, or the run was another one; it names what
            differs.
    """
    path = folder / DESCRIPTION
    try:
        found = json.loads(path.read_text())
        Progress(**found["progress"])
    except FileNotFoundError:
        raise ValueError(f"{folder}: there is a model, but no run to go on with") from None
    except (json.JSONDecodeError, KeyError, TypeError):
        raise ValueError(f"{path}: the file is damaged") from None
    for key, value in {"format": FORMAT, **about}.items():
        if found.get(key) != value:
            raise ValueError(
                f"{path}: the run cannot go on: its {key} was {found.get(key)} and is {value}"
            )
    return found


def load(
    folder: Path,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    like: list[Any | None],
    about: dict[str, Any],
    rank: int,
    replicated: bool,
) -> Resumed:
    """Put what `save` wrote into the optimizer and the random state; return the rest.

    Args:
        folder: of the checkpoint.
        model: with the checkpoint's weights.
        optimizer: of this model, fresh.
        like: an example of the recurrent state of each part of the rows, None where none is kept.
        about: as when it was saved.
        rank: of this process.
        replicated: as when it was saved.

    Raises:
        ValueError: if a file is missing or damaged, or the run was another one; it names what
            differs.
    """
    progress = Progress(**described(folder, about)["progress"])
    own = _read(_file(folder, rank))
    moments = own if rank == 0 or not replicated else _read(_file(folder, 0))
    kept: Kept = {}
    for name, parameter in model.named_parameters():
        prefix = f"optimizer/{name}/"
        entries = {k.removeprefix(prefix): t for k, t in moments.items() if k.startswith(prefix)}
        if entries:
            optimizer.state[parameter] = {k: _like(t, parameter) for k, t in entries.items()}
        for kind in KINDS:
            if f"{kind}/{name}" in moments:
                kept.setdefault(kind, {})[parameter] = _like(moments[f"{kind}/{name}"], parameter)
    parts = []
    for part, example in enumerate(like):
        names = [f"state/{part}/{name}" for name in states.leaves(example)] if example else []
        if all(name in own for name in names) and example is not None:
            flat, structure = tree_flatten(example)
            found = [own[name].to(x.device) for name, x in zip(names, flat, strict=True)]
            parts.append(tree_unflatten(found, structure))
        else:
            parts.append(None)
    _set_random({k.removeprefix("random/"): t for k, t in own.items() if k.startswith("random/")})
    return Resumed(progress, parts, kept)


def _file(folder: Path, rank: int) -> Path:
    return folder / f"training-{rank:05}.safetensors"


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (FileNotFoundError, safetensors.SafetensorError) as error:
        raise ValueError(f"{path}: the file is missing or damaged ({error})") from None


def _random() -> dict[str, Tensor]:
    found = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.get_rng_state()
    return found


def _set_random(found: dict[str, Tensor]) -> None:
    torch.set_rng_state(found["cpu"])
    if "cuda" in found and torch.cuda.is_available():
        torch.cuda.set_rng_state(found["cuda"])


def _local(value: Any) -> Any:
    return value.to_local() if isinstance(value, DTensor) else value


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """Return a moment as the optimizer holds it: on the parameter's device, sharded as it is."""
    if value.ndim == 0:  # AdamW's count of steps, which it keeps on the CPU
        return value
    value = value.to(parameter.device)
    if not isinstance(parameter, DTensor):
        return value
    return DTensor.from_local(
        value,
        parameter.device_mesh,
        parameter.placements,
        shape=parameter.shape,
        stride=parameter.stride(),
        run_check=False,
    )
