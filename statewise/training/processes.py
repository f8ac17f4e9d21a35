"""The processes that train together, by way of Accelerate; one alone is the usual case.

    torchrun --nproc_per_node 2 -m statewise train lm ...

Rows are divided in order: process 0 reads the first, and within a process so does its first part.
Two processes with one part each therefore read what one process reads in two parts.
"""

import copy
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from statewise.training.configuration import Running
from statewise.training.memory import recompute


class Processes:
    """This process among those that train together.

    Args:
        config: the device, the precision, the trackers, and how the model is spread.

    Raises:
        ValueError: for a tracker that is not installed, or processes that do not meet.
    """

    def __init__(self, config: Running):
        # A second or more, and only training needs it.
        from accelerate import Accelerator
        from accelerate.tracking import get_available_trackers

        available = [str(name) for name in get_available_trackers()]
        for name in config.trackers:
            if name not in available:
                raise ValueError(
                    f"trackers: {name!r} is not installed here, or Accelerate does not know it; "
                    f"there are {', '.join(available) or 'none'}"
                )
        self.config = config
        self.accelerator = Accelerator(
            # Accelerate joins processes without an accelerator only where it is told to.
            cpu=config.device == "cpu" or not torch.accelerator.is_available(),
            log_with=list(config.trackers) or None,
            project_dir=config.out,
        )
        self.rank, self.count = self.accelerator.process_index, self.accelerator.num_processes
        if self.count != int(os.environ.get("WORLD_SIZE", 1)):
            raise ValueError(
                f"{os.environ['WORLD_SIZE']} processes were launched, but each would train alone: "
                "set device to cpu"
            )
        self.main = self.rank == 0
        self.device = self.accelerator.device
        self.sharded = self.count > 1 and config.spread.sharded
        if config.trackers:
            plain = {k: json.dumps(v) for k, v in config.model_dump(mode="json").items()}
            self.accelerator.init_trackers("statewise", config=plain)

    def rows(self, streams: int, parts: int) -> list[slice]:
        """Return the rows of each part that this process reads.

        Raises:
            ValueError: if the streams cannot be divided.
        """
        size, left = divmod(streams, parts * self.count)
        if left:
            raise ValueError(
                f"{streams} streams cannot be divided among {self.count} processes of {parts} "
                "parts: change streams or accumulate"
            )
        first = self.rank * parts
        return [slice(size * part, size * (part + 1)) for part in range(first, first + parts)]

    def distribute(self, model: Any) -> tuple[Any, Any]:
        """Return the model on this device, and the callable that trains it."""
        model = model.to(self.device)
        if self.config.spread.recompute:
            recompute(model)
        wrapped = model
        if self.sharded:
            from torch.distributed.fsdp import fully_shard

            # Without weights: what a gathered model is written through.
            self.hollow = copy.deepcopy(model).to("meta")
            # By hand: on a CPU Accelerate's own plugin silently copies instead (1.15).
            for block in model.stack.parts:
                fully_shard(block)
            fully_shard(model)
        elif self.count > 1:
            wrapped = nn.parallel.DistributedDataParallel(model)
        return model, torch.compile(wrapped) if self.config.spread.compile else wrapped

    @contextmanager
    def sync(self, wrapped: Any, last: bool) -> Iterator[None]:
        """Add up gradients between processes after the last backward pass of a step alone."""
        if self.count == 1:
            yield
        elif self.sharded:
            wrapped.set_requires_gradient_sync(last)
            yield
        else:
            with nullcontext() if last else wrapped.no_sync():
                yield

    def precision(self) -> AbstractContextManager[object]:
        """Return the context in which the arithmetic has the precision that was asked for."""
        # Not Accelerate's: its precision is one for the whole life of a Python process.
        half = self.config.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16) if half else nullcontext()

    def norm(self, norm: Tensor) -> float:
        """Return a norm that may be sharded as a number."""
        full = getattr(norm, "full_tensor", None)
        return float(norm if full is None else full())

    def agree(self, *values: int) -> list[int]:
        """Return the largest of each value over all processes, so that all do the same."""
        return [int(x) for x in self._reduce(values, torch.distributed.ReduceOp.MAX)]

    def total(self, *values: float | int) -> list[float]:
        """Return the sum of each value over all processes."""
        return self._reduce(values, torch.distributed.ReduceOp.SUM)

    def _reduce(self, values: tuple[float | int, ...], how: Any) -> list[float]:
        if self.count == 1:
            return [float(x) for x in values]
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(tensor, how)
        return tensor.tolist()

    def wait(self) -> None:
        """Wait for the other processes."""
        self.accelerator.wait_for_everyone()

    def main_first(self) -> AbstractContextManager[None]:
        """Return a context that process 0 leaves before the others enter."""
        return self.accelerator.main_process_first()

    def save_model(self, model: Any, folder: Path) -> None:
        """Write the whole model, however it is distributed; all processes must call it."""
        if not self.sharded:
            if self.main:
                model.save_pretrained(folder)
            return
        # Tensor by tensor, so that only process 0 ever holds the whole.
        whole = {}
        for name, tensor in model.state_dict().items():
            # Buffers, such as the seeds of dropout, are whole in every process.
            full = (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).cpu()
            if self.main:
                whole[name] = full
        if self.main:
            self.hollow.load_state_dict(whole, assign=True)
            self.hollow.save_pretrained(folder)
            self.hollow.to("meta")

    def scored(self, model: Any) -> None:
        """Let go of the weights that reading held-out text has gathered."""
        if self.sharded:
            model.reshard()

    def track(self, values: dict[str, Any], step: int) -> None:
        """Hand measurements to the trackers."""
        if self.config.trackers:
            self.accelerator.log(values, step=step)

    def close(self) -> None:
        """Part from the other processes, and end the trackers."""
        self.wait()
        self.accelerator.end_training()
