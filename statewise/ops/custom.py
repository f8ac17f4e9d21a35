"""Kernels of the core as operators of torch: gradients of every order, fake tensors, direct calls.

A native op is four plain functions; `native_op` makes of them one that autograd, `torch.compile`
and `torch.export` understand, and that costs no more than the call itself where none of them is
there.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import (
    Tensor,
    autograd,
    contiguous_format,
    empty,
    empty_like,
    enable_grad,
    int64,
    is_grad_enabled,
    library,
)

from statewise import backends

Results = tuple[Tensor, ...]
MARKS = ("reset", "lengths")
"""Inputs that say where rows begin and end; nothing is differentiated by them."""


def native_op(
    schema: str,
    *,
    results: int,
    kept: int = 0,
    allocate: Callable[..., Results],
    forward: Callable[..., None],
    backward: Callable[..., None],
    definition: Callable[..., Results],
    skips: bool = False,
) -> "NativeOp":
    """Return an operator that computes by kernels of the core; it takes its inputs by position.

    Args:
        schema: name and inputs in torch's notation: `scan(Tensor decay, Tensor? reset, int size)`.
            Every tensor is floating or complex but `reset` and `lengths`, the latter of which
            reaches the kernels as contiguous int64.
        results: how many of the outputs are the answer.
        kept: how many more the backward pass wants kept, such as states at the borders of chunks.
        allocate: `allocate(inputs, keep)` returns the outputs as fresh memory, not yet written.
            Without `keep`, nothing will be differentiated and those beyond the results may be
            empty, of no numbers. It also runs on fake tensors: it looks at shapes and dtypes alone.
        forward: `forward(inputs, outputs)` fills the outputs; one without numbers is not wanted.
        backward: `backward(inputs, outputs, grads, gradients)` fills the gradients: one for each
            tensor of the schema but the marks, contiguous, in the shape and dtype of the input, and
            None where the input was None. `grads` are those of the results; where none came, zeros
            expanded from one number.
        definition: `definition(*inputs)` returns the results in torch operations. Derivatives
            beyond the first, and those under transforms, are its own.
        skips: whether `backward` may also be given None for a gradient that nobody wants, such as
            that of a frozen weight, and spares itself the work.
    """
    name, arguments = schema.rstrip(")").split("(", 1)
    words = [argument.split() for argument in arguments.split(",")]
    tensors = [place for place, (kind, *_) in enumerate(words) if kind.startswith("Tensor")]
    by = [place for place in tensors if words[place][1] not in MARKS]
    lengths = next((place for place in tensors if words[place][1] == "lengths"), None)
    many, everyone = results + kept, [True] * len(words)

    def compute(*inputs: Any) -> Results:
        outputs = allocate(inputs, True)
        forward(inputs, outputs)
        return outputs

    def differentiate(*everything: Any) -> Results:
        return fill(everything, everyone)

    def fill(everything: Sequence[Any], needed: Sequence[bool]) -> Results:
        outputs, grads = everything[:many], everything[many : many + results]
        inputs = everything[many + results :]
        gradients = new_gradients(*everything)
        wanted = [
            gradient if needed[place] and inputs[place] is not None else None
            for place, gradient in zip(by, gradients, strict=True)
        ]
        backward(inputs, outputs, grads, wanted)
        return gradients

    def new_gradients(*everything: Any) -> Results:
        inputs = everything[many + results :]
        # An operator returns as many tensors as its schema says: for an input that is not there,
        # one without numbers.
        return tuple(
            empty(0) if inputs[place] is None else fresh(inputs[place].shape, inputs[place])
            for place in by
        )

    def several(prefix: str, count: int) -> str:
        return ", ".join(f"Tensor {prefix}_{i}" for i in range(count))

    def returns(count: int) -> str:
        return f"({', '.join(['Tensor'] * count)})"

    operator = library.custom_op(
        f"statewise::{name}",
        lambda *inputs: _alone(compute(*inputs)),
        mutates_args=(),
        device_types="cpu",
        schema=f"({arguments}) -> {returns(many)}",
    )
    derivative = library.custom_op(
        f"statewise::{name}_backward",
        lambda *everything: _alone(differentiate(*everything)),
        mutates_args=(),
        device_types="cpu",
        schema=f"({several('output', many)}, {several('grad', results)}, {arguments}) -> "
        f"{returns(len(by))}",
    )
    operator.register_fake(lambda *inputs: _alone(allocate(inputs, True)))
    derivative.register_fake(lambda *everything: _alone(new_gradients(*everything)))

    def save(ctx: Any, inputs: Sequence[Any], output: Tensor | Results) -> None:
        ctx.others = [None if place in tensors else x for place, x in enumerate(inputs)]
        ctx.save_for_backward(*(inputs[place] for place in tensors), *_several(output))
        ctx.set_materialize_grads(False)

    def propagate(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs = list(ctx.others)
        saved = ctx.saved_tensors  # Asked for once: a checkpoint hands every tensor out only once.
        for place, x in zip(tensors, saved, strict=False):
            inputs[place] = x
        outputs = saved[len(tensors) :]
        came = tuple(
            y.new_zeros(()).expand_as(y) if grad is None else grad
            for y, grad in zip(outputs[:results], grads, strict=False)
        )
        everything = (*outputs, *came, *inputs)
        needed = ctx.needs_input_grad if skips else everyone
        if is_grad_enabled() or backends.transformed():
            found = _differentiable(definition, inputs, by, came)
        elif backends.plain(x for x in everything if isinstance(x, Tensor)):
            found = fill(everything, needed)
        else:
            found = _several(derivative(*everything))
        answer: list[Tensor | None] = [None] * len(inputs)
        for place, gradient in zip(by, found, strict=True):
            answer[place] = gradient if needed[place] and inputs[place] is not None else None
        return tuple(answer)

    operator.register_autograd(propagate, setup_context=save)

    class recorded(autograd.Function):
        """The same without the operator, where nobody asks for one."""

        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Results:
            outputs = compute(*inputs)
            ctx.mark_non_differentiable(*outputs[results:])
            save(ctx, inputs, outputs)
            return outputs

        backward = staticmethod(propagate)

    def call(*inputs: Any) -> Results:
        if lengths is not None and inputs[lengths] is not None:
            whole = inputs[lengths].to(int64).contiguous()
            inputs = (*inputs[:lengths], whole, *inputs[lengths + 1 :])
        given = [inputs[place] for place in tensors]
        differentiated = is_grad_enabled() and any(x is not None and x.requires_grad for x in given)
        # A custom op costs twenty times what the call itself does, a function of autograd's three.
        if not backends.plain(given):
            outputs = _several(operator(*inputs))
        elif differentiated:
            outputs = recorded.apply(*inputs)
        else:
            outputs = allocate(inputs, False)
            forward(inputs, outputs)
        return outputs[:results]

    return NativeOp(call, operator, derivative)


class NativeOp(NamedTuple):
    """A native op, and what it registered with torch, for `torch.library.opcheck` to look at."""

    call: Callable[..., Results]
    operator: Any
    derivative: Any

    def __call__(self, *inputs: Any) -> Results:
        """Return the results; inputs are positional, as in the schema."""
        return self.call(*inputs)


def _alone(outputs: Results) -> Tensor | Results:
    """Return outputs as an operator does: one of them is no tuple."""
    return outputs[0] if len(outputs) == 1 else outputs


def _several(outputs: Tensor | Results) -> Results:
    return (outputs,) if isinstance(outputs, Tensor) else outputs


def fresh(shape: Sequence[Any], like: Tensor) -> Tensor:
    """Return contiguous memory in the dtype of another tensor, not yet written.

    The shape may hold the symbols of a trace. `like.new_empty` takes twice as long.
    """
    return empty(shape, dtype=like.dtype)


def fresh_like(x: Tensor) -> Tensor:
    """Return `fresh(x.shape, x)` in half the time."""
    return empty_like(x, memory_format=contiguous_format)


def in_large_pages(*tensors: Tensor | None) -> None:
    """Ask for large pages of memory for fresh tensors, before they are touched.

    Only what is large is worth the call: a page is 2 MB, and the first two may lie across borders.
    """
    for x in tensors:
        if x is not None and x.nbytes >= 1 << 22:
            core().use_large_pages(backends.readable(x))


def rows(x: Tensor) -> Tensor:
    """Return x with its last axis contiguous, which is all that most kernels ask for."""
    return x if x.stride(-1) == 1 else x.contiguous()


def core() -> Any:
    """Return the C++ core, or say why it is missing, by a RuntimeError."""
    if backends.core is None:
        raise RuntimeError(f"the native core is missing, because {backends.core_missing}")
    return backends.core


def _differentiable(
    definition: Callable[..., Results], inputs: Sequence[Any], by: Sequence[int], grads: Results
) -> Results:
    """Return the gradients of the definition, in a graph."""
    with enable_grad():
        # Each behind a view: where one input was computed from another, the gradient would
        # otherwise flow on from the one into the other, and be counted twice.
        seen = list(inputs)
        for place in by:
            if seen[place] is not None:
                seen[place] = seen[place].view_as(seen[place])
                if not seen[place].requires_grad:
                    seen[place] = seen[place].detach().requires_grad_()
        results = definition(*seen)
        there = [place for place in by if seen[place] is not None]
        pairs = [p for p in zip(results, grads, strict=True) if p[0].requires_grad]
        found = autograd.grad(
            [result for result, _ in pairs],
            [seen[place] for place in there],
            [grad for _, grad in pairs],
            create_graph=is_grad_enabled(),
            allow_unused=True,
            materialize_grads=True,
        )
    each = dict(zip(there, found, strict=True))
    return tuple(each.get(place, grads[0]) for place in by)
