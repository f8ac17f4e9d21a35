"""The processes that train together, by way of Accelerate; one alone is the usual case.

    torchrun --nproc_per_node 2 -m statewise train lm ...        or  accelerate launch ...

Rows are divided in order: process 0 reads the first, and within a process so does its first part.
Two processes with one part each therefore read what one process reads in two parts.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from statewise.training.configuration import LanguageRun
from statewise.training.memory import recompute


class Processes:
    """This process among those that train together.

    Args:
        config: the device, the precision, the distribution and the trackers.

    Raises:
        ValueError: for a tracker that is not installed.
    """

    def __init__(self, config: LanguageRun):
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
            cpu=config.device == "cpu",
            mixed_precision="bf16" if config.precision == "bfloat16" else "no",
            log_with=list(config.trackers) or None,
            project_dir=config.out,
        )
        self.rank, self.count = self.accelerator.process_index, self.accelerator.num_processes
        self.main = self.rank == 0
        self.device = self.accelerator.device
        self.replicated = self.count == 1 or config.distribution == "ddp"

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
        if self.config.recompute:
            recompute(model)
        wrapped = model
        if self.count > 1 and self.config.distribution == "fsdp":
            from torch.distributed.fsdp import fully_shard

            for block in model.stack.parts:
                fully_shard(block)
            fully_shard(model)
        elif self.count > 1:
            wrapped = nn.parallel.DistributedDataParallel(model)
        return model, torch.compile(wrapped) if self.config.compile else wrapped

    @contextmanager
    def sync(self, wrapped: Any, last: bool) -> Iterator[None]:
        """Add up gradients between processes after the last backward pass of a step alone."""
        if self.count == 1:
            yield
        elif self.config.distribution == "fsdp":
            wrapped.set_requires_gradient_sync(last)
            yield
        else:
            with nullcontext() if last else wrapped.no_sync():
                yield

    def precision(self) -> AbstractContextManager[None]:
        """Return the context in which the arithmetic has the precision that was asked for."""
        return self.accelerator.autocast()

    def norm(self, norm: Tensor) -> float:
        """Return a norm that may be sharded as a number."""
        full = getattr(norm, "full_tensor", None)
        return float(norm if full is None else full())

    def agree(self, *values: float) -> list[int]:
        """Return the largest of each value over all processes, so that all do the same."""
        return [int(x) for x in self._reduce(values, torch.distributed.ReduceOp.MAX)]

    def total(self, *values: float) -> list[float]:
        """Return the sum of each value over all processes."""
        return self._reduce(values, torch.distributed.ReduceOp.SUM)

    def _reduce(self, values: tuple[float, ...], how: Any) -> list[float]:
        if self.count == 1:
            return list(values)
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
        """Write the whole model, however it is distributed."""
        if self.main:
            model.save_pretrained(folder)

    def track(self, values: dict[str, Any], step: int) -> None:
        """Hand measurements to the trackers."""
        if self.config.trackers:
            self.accelerator.log(values, step=step)

    def close(self) -> None:
        """End the trackers."""
        if self.config.trackers:
            self.accelerator.end_training()
