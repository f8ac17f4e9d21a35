"""How much memory a call takes: the bytes of the tensors that it holds at once, at the most.

peak_bytes(lambda: mixer(x))
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_bytes(call: Callable[[], object]) -> int:
    """Return the largest sum of bytes that the tensors made in a call hold together.

    What an operation takes for itself and gives back before it answers is not seen. Without
    gradients: for training, call what trains.
    """
    with torch.no_grad(), _Held() as held:
        call()
    return held.peak


class _Held(TorchDispatchMode):
    """Adds up, after every operation, what its answers and those before still hold."""

    def __init__(self):
        super().__init__()
        self.peak = 0
        self._held: dict[Any, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        given = {StorageWeakRef(x.untyped_storage()) for x in _tensors((args, kwargs))}
        for x in _tensors(answer):
            storage = x.untyped_storage()
            if (reference := StorageWeakRef(storage)) not in given:
                self._held[reference] = storage.nbytes()
        self._held = {ref: size for ref, size in self._held.items() if not ref.expired()}
        self.peak = max(self.peak, sum(self._held.values()))
        return answer


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
