"""Stabilized linear attention under torch.compile or torch.export, for its tests to run."""

import torch
from torch.nn.functional import logsigmoid

from statewise.ops.stabilized_attention import reference, stabilized_linear_attention
from tests.ops.compiling import Program, main


def arguments(time):
    g = torch.Generator().manual_seed(0)
    shapes = [(2, time, 2, 4)] * 3 + [(2, time, 2)] * 2 + [(2, 2, 4, 4), (2, 2, 4), (2, 2)]
    tensors = [torch.rand(shape, generator=g).requires_grad_() for shape in shapes]
    return *tensors, torch.rand(2, time, generator=g) < 0.3, torch.tensor([time, 2])


def whole(form):
    def f(query, key, value, log_input, pre, C, n, m, reset, lengths):
        output, state = form(
            query * 0.9,
            key,
            value,
            log_input=log_input,
            log_forget=logsigmoid(pre),
            scale=0.5,
            eps=0.0,
            initial=(C, n, m),
            reset=reset,
            lengths=lengths,
        )
        return output.sin(), *state

    return f


PROGRAM = Program(
    whole(stabilized_linear_attention),
    whole(reference.stabilized_linear_attention),
    arguments,
    lambda time: (*[{1: time}] * 5, None, None, None, {1: time}, None),
)

if __name__ == "__main__":
    main(PROGRAM)
