"""Models whose matrices are stored in eight bits: decoding waits for memory more than for all else.

    model = LanguageModel.from_pretrained(folder, weights="int8")

Every linear map of the stack, the embedding and the head are rounded, each row (each output) to 127
steps of its largest number on either side. What is left is float32 and as it was: norms,
convolutions, rates, and what the recurrences of cells read. So are the state and all that is
computed. A number is off by at most half a step, and an output of a map, for weights as a normal
distribution has them, by about 0.7 percent.
"""

from typing import NamedTuple

import torch
from torch import nn

from statewise.mixers.base import Cell
from statewise.mixers.parts.linear import Embedding, Int8Embedding, Int8Linear, Linear


class Quantized(NamedTuple):
    """What was rounded."""

    matrices: int
    before: int
    """Bytes of the model's weights."""
    after: int


def quantize(model: nn.Module) -> Quantized:
    """Round the matrices of a model to eight bits, in place; it is in eval mode and not trained.

    Calling it again changes nothing.

    Raises:
        ValueError: if a weight is not finite; it names it.
    """
    before, matrices = _bytes(model), 0
    made: dict[nn.Module, nn.Module] = {}
    for path, module in list(model.named_modules()):
        # A cell is compiled from its weights, which the compiled program reads as they are.
        children = [] if isinstance(module, Cell) else module._modules.items()
        for name, child in children:
            kind = {Linear: Int8Linear, Embedding: Int8Embedding}.get(type(child))
            if child is None or kind is None:
                continue
            if child not in made:
                try:
                    made[child] = kind(child)
                except ValueError as error:
                    raise ValueError(f"{path}.{name} is not rounded: {error}".lstrip(".")) from None
                matrices += 1
            setattr(module, name, made[child])
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            # A copy: of a file whose matrices are no longer needed, no window should stay open.
            wide = torch.promote_types(tensor.dtype, torch.float32)
            tensor.data = tensor.data.to(wide, copy=matrices > 0)
    model.eval().requires_grad_(False)
    return Quantized(matrices, before, _bytes(model))


def is_quantized(model: nn.Module) -> bool:
    """Return whether matrices of a model are of eight bits."""
    return any(isinstance(module, Int8Linear | Int8Embedding) for module in model.modules())


def _bytes(model: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
