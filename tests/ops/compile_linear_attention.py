"""Linear attention under torch.compile or torch.export, for test_linear_attention.py to run."""

import torch

from statewise.ops.linear_attention import linear_attention, reference
from tests.ops.compiling import Program, main


def arguments(time):
    g = torch.Generator().manual_seed(0)
    shapes = [(2, time, 2, 4), (2, time, 2, 4), (2, time, 2, 3), (2, time, 2, 4), (2, 4)]
    tensors = [torch.randn(*shape, generator=g) for shape in (*shapes, (2, 2, 4, 3))]
    tensors[3] = -tensors[3].abs()
    reset = torch.rand(2, time, generator=g) < 0.3
    return *(x.requires_grad_() for x in tensors), reset, torch.tensor([time, 2])


def whole(form):
    """Return a bonus and a decay per key, and then a decay per head on what came of them."""

    def f(query, key, value, log_decay, bonus, initial, reset, lengths):
        marks = {"initial": initial, "reset": reset, "lengths": lengths}
        y, s = form(query * 0.9, key, value, log_decay=log_decay, bonus=bonus, scale=0.5, **marks)
        marks["initial"] = s
        return form(query, key, y.sin(), log_decay=log_decay[..., 0], **marks)

    return f


PROGRAM = Program(
    whole(linear_attention),
    whole(reference.linear_attention),
    arguments,
    lambda time: (*[{1: time}] * 4, None, None, {1: time}, None),
)

if __name__ == "__main__":
    main(PROGRAM)
