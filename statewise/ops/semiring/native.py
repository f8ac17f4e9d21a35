"""The scans of this op in C++, which read each input once and keep the state near.

A constant transition becomes factors, so that a step is a small matrix product; sums that lost
terms to underflow are computed again, term by term.
"""

from torch import Tensor, empty, int32

from statewise import backends
from statewise.ops.custom import core, fresh, fresh_like, native_op, rows
from statewise.ops.semiring import reference
from statewise.ops.semiring.torch import log_scan as parallel_log_scan
from statewise.ops.semiring.torch import softmax_scan as parallel_softmax_scan


def log_scan(log_decay, log_drive, *, initial, reset=None, lengths=None):
    """Return every h_t of  h_t = logaddexp(log_decay_t + h_{t-1}, log_drive_t),  and the last."""
    output, final = _log_scan(log_decay, log_drive, initial, reset, lengths)
    return output, final


def log_matrix_scan(log_transition, score, *, initial, reset=None, lengths=None):
    """Return every  h_t[j] = logsumexp_i(h_{t-1}[i] + log_transition_t[i, j]) + score_t[j]."""
    output, final = _log_chain(log_transition, score, initial, reset, lengths)
    return output, final


def max_matrix_scan(log_transition, score, *, initial, reset=None, lengths=None):
    """Return the same with a maximum for a sum, and which i each maximum chose."""
    output, final, pointers = _max_chain(log_transition, score, initial, reset, lengths)
    return output, final, pointers


def softmax_scan(score, value, maximum, total, weighted, *, reset=None, lengths=None):
    """Return the mean of the values so far, each weighted by exp(score), and the last state."""
    return _softmax_scan(score, value, maximum, total, weighted, reset, lengths)


# Steps, for plain tensors of one dtype: one call of the kernel each.


def log_scan_step(log_decay: Tensor, log_drive: Tensor, h: Tensor) -> Tensor:
    """Return the next h."""
    after = fresh_like(h)
    backends.run(
        core().log_scan_step, log_decay.contiguous(), log_drive.contiguous(), h.contiguous(), after
    )
    return after


def log_matrix_scan_step(transition: Tensor, score: Tensor, h: Tensor) -> Tensor:
    """Return the next h; transition is (states, states) or (batch, states, states)."""
    after = fresh_like(h)
    backends.run(
        core().log_chain_step, rows(transition), score.contiguous(), h.contiguous(), after, None
    )
    return after


def max_matrix_scan_step(transition: Tensor, score: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Return the next h and where it came from."""
    after, pointers = fresh_like(h), empty(h.shape, dtype=int32)
    backends.run(
        core().max_chain_step, rows(transition), score.contiguous(), h.contiguous(), after, pointers
    )
    return after, pointers


def softmax_scan_step(
    score: Tensor, value: Tensor, maximum: Tensor, total: Tensor, weighted: Tensor
) -> tuple[Tensor, ...]:
    """Return the mean after one more value, and the next state; what does not fit is a ValueError.

    The state is as it was made, contiguous.
    """
    after = [fresh_like(x) for x in (value, maximum, total, weighted)]
    given = (score.contiguous(), value.contiguous(), maximum, total, weighted)
    backends.run(core().softmax_scan_step, *given, *after)
    return tuple(after)


def _log_allocate(inputs, keep):
    _, log_drive, initial, _, _ = inputs
    return fresh(log_drive.shape, log_drive), fresh(initial.shape, initial)


def _log_forward(inputs, outputs):
    log_decay, log_drive, initial, *marks = inputs
    given = rows(log_decay), rows(log_drive), initial.contiguous()
    backends.run(core().log_scan, *given, *marks, *outputs)


def _log_backward(inputs, outputs, grads, gradients):
    log_decay, log_drive, initial, *marks = inputs
    given = rows(log_decay), rows(log_drive), outputs[0], initial.contiguous()
    came = rows(grads[0]), grads[1].contiguous()
    backends.run(core().log_scan_backward, *given, *marks, *came, *gradients)


def _log_definition(log_decay, log_drive, initial, reset, lengths):
    return parallel_log_scan(log_decay, log_drive, initial=initial, reset=reset, lengths=lengths)


_log_scan = native_op(
    "log_scan(Tensor log_decay, Tensor log_drive, Tensor initial, Tensor? reset, Tensor? lengths)",
    results=2,
    allocate=_log_allocate,
    forward=_log_forward,
    backward=_log_backward,
    definition=_log_definition,
)


def _chain_inputs(inputs):
    transition, score, initial, *marks = inputs
    return rows(transition), rows(score), initial.contiguous(), *marks


def _log_chain_forward(inputs, outputs):
    backends.run(core().log_chain, *_chain_inputs(inputs), *outputs, None)


def _log_chain_backward(inputs, outputs, grads, gradients):
    came = rows(grads[0]), grads[1].contiguous()
    kernel = core().log_chain_backward
    backends.run(kernel, *_chain_inputs(inputs), outputs[0], None, *came, *gradients)


def _log_chain_definition(transition, score, initial, reset, lengths):
    return reference.log_matrix_scan(
        transition, score, initial=initial, reset=reset, lengths=lengths
    )


_CHAIN = "Tensor transition, Tensor score, Tensor initial, Tensor? reset, Tensor? lengths"
_log_chain = native_op(
    f"log_matrix_scan({_CHAIN})",
    results=2,
    allocate=_log_allocate,
    forward=_log_chain_forward,
    backward=_log_chain_backward,
    definition=_log_chain_definition,
)


def _max_allocate(inputs, keep):
    _, score, initial, _, _ = inputs
    pointers = empty(score.shape, dtype=int32)
    return fresh(score.shape, score), fresh(initial.shape, initial), pointers


def _max_chain_forward(inputs, outputs):
    backends.run(core().max_chain, *_chain_inputs(inputs), *outputs)


def _max_chain_backward(inputs, outputs, grads, gradients):
    came = rows(grads[0]), grads[1].contiguous()
    kernel = core().max_chain_backward
    given = _chain_inputs(inputs)
    backends.run(kernel, *given, outputs[0], outputs[2], *came, *gradients)


def _max_chain_definition(transition, score, initial, reset, lengths):
    return reference.max_matrix_scan(
        transition, score, initial=initial, reset=reset, lengths=lengths
    )


_max_chain = native_op(
    f"max_matrix_scan({_CHAIN})",
    results=3,
    allocate=_max_allocate,
    forward=_max_chain_forward,
    backward=_max_chain_backward,
    definition=_max_chain_definition,
)


def _softmax_allocate(inputs, keep):
    score, value, *state, _, _ = inputs
    return (
        fresh(value.shape, value),
        *(fresh(x.shape, x) for x in state),
        # How each time's mean is made of the last and of the value: the kernel's own memory, which
        # the backward pass reads.
        fresh(score.shape, score),
        fresh(score.shape, score),
    )


def _softmax_inputs(inputs) -> tuple[Tensor | None, ...]:
    score, value, *state, reset, lengths = inputs
    return rows(score), rows(value), *(x.contiguous() for x in state), reset, lengths


def _softmax_forward(inputs, outputs):
    backends.run(core().softmax_scan, *_softmax_inputs(inputs), *outputs)


def _softmax_backward(inputs, outputs, grads, gradients):
    came = rows(grads[0]), *(x.contiguous() for x in grads[1:])
    kernel = core().softmax_scan_backward
    backends.run(kernel, *_softmax_inputs(inputs), *outputs, *came, *gradients)


def _softmax_definition(score, value, maximum, total, weighted, reset, lengths):
    return parallel_softmax_scan(
        score, value, maximum, total, weighted, reset=reset, lengths=lengths
    )


_softmax_scan = native_op(
    "softmax_scan(Tensor score, Tensor value, Tensor maximum, Tensor total, Tensor weighted, "
    "Tensor? reset, Tensor? lengths)",
    results=4,
    kept=2,
    allocate=_softmax_allocate,
    forward=_softmax_forward,
    backward=_softmax_backward,
    definition=_softmax_definition,
)
