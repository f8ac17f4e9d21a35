"""What a mixer of the hub's library reads in one call, beyond the arguments of its inner functions.

Its functions are not told which inputs are padding, and that of Mamba not even the state before.
So a mixer's forward is wrapped: each row's real inputs are rolled to its front, in order, and the
functions of ours that stand in for theirs look up how many those are, and where the state is kept.
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass
class Piece:
    """One call of one mixer."""

    time: int
    """How many inputs, padding included."""
    lengths: Int[Tensor, " batch"] | None = None
    """How many of each row are real, the first ones; all if absent."""
    layer: Any = None
    """Where the library's cache keeps this mixer's states, if there is a cache."""
    step_limits: Sequence[float] | None = None
    """Between what the step sizes of a state-space model are clamped."""
    state: Tensor | None = None
    """The recurrent state before, if anything was read."""
    scans: int = 0
    """How many scans this call has made: Zamba makes one for each of its heads."""
    places: dict[int, int] = field(default_factory=dict)
    """How much of a long piece each part has read, where the library reads it in parts."""

    def kept(self, after: Tensor, before: Tensor) -> Tensor:
        """Return, for one input, the state after it in rows that read it, and that before it."""
        if self.lengths is None:
            return after
        return torch.where((self.lengths > 0).view(-1, *[1] * (after.ndim - 1)), after, before)


_piece: ContextVar[Piece] = ContextVar("piece")
_mask: ContextVar[Tensor | None] = ContextVar("mask", default=None)


def current() -> Piece:
    """Return the piece that is being read; one without padding where nothing says otherwise."""
    return _piece.get(None) or Piece(0)


@contextmanager
def reading(piece: Piece) -> Iterator[None]:
    """Make a piece the current one."""
    token = _piece.set(piece)
    try:
        yield
    finally:
        _piece.reset(token)


def by_pieces(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Wrap the forward of a mixer of the library, so that its inner functions know their piece."""

    @functools.wraps(forward)
    def read(
        self: Any,
        hidden_states: Tensor,
        cache_params: Any = None,
        attention_mask: Tensor | None = None,
        **options: Any,
    ) -> Tensor:
        layer = None
        if cache_params is not None and self.layer_idx < len(cache_params.layers):
            layer = cache_params.layers[self.layer_idx]
        piece = Piece(
            hidden_states.shape[1],
            layer=layer,
            step_limits=getattr(self, "time_step_limit", None),
        )
        if layer is not None and layer.has_previous_state[0]:
            # The library writes what comes after into the same tensor, whose past a graph needs.
            state = layer.recurrent_states[0]
            piece.state = state.clone() if torch.is_grad_enabled() else state
        order, mask = None, None
        if attention_mask is not None:
            piece.lengths, order = front(attention_mask[:, -piece.time :])
        if piece.lengths is not None:
            place = torch.arange(piece.time, device=hidden_states.device)
            mask = (place < piece.lengths[:, None]).to(hidden_states.dtype)
        with reading(piece):
            y = forward(self, rolled(hidden_states, order), cache_params, mask, **options)
        return unrolled(y, order)

    return read


def recurrent_mask(
    config: Any,
    inputs_embeds: Tensor,
    attention_mask: Tensor | None,
    past_key_values: Any = None,
    **_options: Any,
) -> Tensor | None:
    """Return which inputs of this piece are real, None if all are, a piece of one included.

    The library's own takes a piece of one input for real whatever its mask says.
    """
    if attention_mask is None or attention_mask.ndim != 2:
        return None
    mask = attention_mask[:, -inputs_embeds.shape[1] :]
    return None if bool(mask.bool().all()) else mask


def front(
    mask: Bool[Tensor, "batch time"] | Int[Tensor, "batch time"] | Float[Tensor, "batch time"],
) -> tuple[Int[Tensor, " batch"] | None, Int[Tensor, "batch time"] | None]:
    """Return how many inputs of each row are real, and in which order they come to its front.

    Args:
        mask: true, or not zero, where an input is real: on the right, on the left, anywhere.

    Returns:
        lengths: None if all inputs are real.
        order: None if they are at the front already.
    """
    real = mask.bool()
    if bool(real.all()):
        return None, None
    lengths = real.sum(1)
    if bool((real[:, :-1] >= real[:, 1:]).all()):
        return lengths, None
    return lengths, real.to(torch.uint8).argsort(dim=1, descending=True, stable=True)


def rolled(x: Tensor, order: Int[Tensor, "batch time"] | None) -> Tensor:
    """Return x, (batch, time) with any axes, with its inputs in the order given."""
    if order is None:
        return x
    return x.gather(1, order.view(*order.shape, *[1] * (x.ndim - 2)).expand_as(x))


def unrolled(y: Tensor, order: Int[Tensor, "batch time"] | None) -> Tensor:
    """Return y with its outputs where their inputs were before `rolled`."""
    return y if order is None else rolled(y, order.argsort(1))


def calling(op: Callable[..., Any], *given: Any, initial: Any, **options: Any) -> Any:
    """Call an op over all times, as the mixers of `statewise.mixers` do: `run` with its marks."""
    return op(*given, initial=initial, **options)


Given = dict[str, Any]
"""The arguments of a call by their names, `self` among them."""


def in_place_of(
    forward: Callable[..., Any],
) -> Callable[[Callable[[Any, Given], Any]], Callable[..., Any]]:
    """Return a decorator of `read(self, given)`, which is then called as `forward` is."""
    signature = inspect.signature(forward)

    def decorate(read: Callable[[Any, Given], Any]) -> Callable[..., Any]:
        @functools.wraps(forward)
        def called(self: Any, *args: Any, **options: Any) -> Any:
            given = signature.bind(self, *args, **options).arguments
            for parameter in signature.parameters.values():
                if parameter.kind is parameter.VAR_KEYWORD:
                    given.update(given.pop(parameter.name, {}))
            return read(self, given)

        return called

    return decorate


def rolled_at_once(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the forward of a model without any attention: its whole input is rolled, and put back.

    A mask that the model above it was given, but does not pass on, is that of `masked`.
    """

    @in_place_of(forward)
    def read(self: Any, given: Given) -> Any:
        mask = given.pop("attention_mask", None)
        mask = _mask.get() if mask is None else mask
        name = "input_ids" if given.get("inputs_embeds") is None else "inputs_embeds"
        if given.get(name) is None:
            return forward(**given)  # which says what is missing
        piece, order = Piece(given[name].shape[1]), None
        if mask is not None:
            lengths, order = front(mask[:, -piece.time :])
            # Lengths matter to the last state alone, which nobody asks for where activations are
            # computed again: that is done outside of this call, and must not differ.
            if not (self.training and self.gradient_checkpointing):
                piece.lengths = lengths
            given[name] = rolled(given[name], order)
        with reading(piece):
            output = forward(**given)
        if order is None:
            return output
        if isinstance(output, tuple):
            return (unrolled(output[0], order), *output[1:])
        output.last_hidden_state = unrolled(output.last_hidden_state, order)
        if output.hidden_states is not None:
            output.hidden_states = tuple(unrolled(x, order) for x in output.hidden_states)
        return output

    return read


def masked(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the forward of a model that is given a mask and drops it."""

    @in_place_of(forward)
    def read(self: Any, given: Given) -> Any:
        token = _mask.set(given.get("attention_mask"))
        try:
            return forward(**given)
        finally:
            _mask.reset(token)

    return read
