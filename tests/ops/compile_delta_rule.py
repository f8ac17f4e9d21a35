"""The delta rules under torch.compile or torch.export, as a program for test_delta_rule.py."""

import torch

from statewise.ops.delta_rule import delta_product, delta_rule, low_rank_delta_rule
from tests.ops.compiling import Program, in_reference, main


def arguments(time):
    g = torch.Generator().manual_seed(0)
    query, key, value, read, write = torch.randn(5, 2, time, 3, 4, generator=g).unbind(0)
    beta, log_decay = torch.rand(2, time, 3, generator=g), -torch.rand(2, time, 3, 4, generator=g)
    initial = torch.randn(2, 3, 4, 4, generator=g)
    tensors = (query, key / 4, value, read / 4, write / 4, beta, log_decay, initial)
    tensors = tuple(x.clone().requires_grad_() for x in tensors)
    return *tensors, torch.rand(2, time, generator=g) < 0.3, torch.tensor([time, 2])


def all_three(query, key, value, read, write, beta, log_decay, initial, reset, lengths):
    rest = {"initial": initial, "reset": reset, "lengths": lengths}
    y, S = delta_rule(query * 2, key, value, beta, log_decay=log_decay[..., 0], **rest)
    z, T = low_rank_delta_rule(y, key, value, read, write, log_decay=log_decay, **rest)
    keys, values = torch.stack([key, read], 2), torch.stack([value, y], 2)
    x, U = delta_product(z, keys, values, torch.stack([beta, beta], 2), log_decay=log_decay, **rest)
    return x.sin(), S, T, U


PROGRAM = Program(all_three, in_reference(all_three), arguments)

if __name__ == "__main__":
    main(PROGRAM)
