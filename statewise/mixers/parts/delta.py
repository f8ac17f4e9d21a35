"""What mixers share whose memory is corrected by the delta rule: no mixer itself."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.clock import Clock
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.norms import HeadNorm, unit
from statewise.mixers.parts.recurrent import Recurrent, Run, divided
from statewise.ops.convolution import short_convolution
from statewise.ops.delta_rule import delta_product, delta_rule


class DeltaState(NamedTuple):
    """What a memory corrected by the delta rule is, and the inputs of its convolutions."""

    S: Float[Tensor, "batch heads key value"]
    past: Float[Tensor, "batch past channels"]


class Delta(Recurrent[DeltaState]):
    """A matrix for each head that is corrected at one key after another.

        [q_t, k_t, v_t] = silu(short_convolution(W x_t))            each feature by itself
        S_t = delta rule of S_{t-1}, unit(k_t), v_t, beta_t = reach sigmoid(W_b x_t), log_decay_t
        y_t = W_out [gate_t * norm(S_t^T unit(q_t) / sqrt(key))]

    With several steps a token, k, v and beta are as many times wider.

    Args:
        mixer: its name, for what is refused.
        dim: features read and answered.
        heads: parts of the features that remember apart.
        key: features of all keys of one step together; `dim` if absent.
        value: features of all values of one step together; `dim` if absent.
        width: inputs that the short convolution reads.
        negative_eigenvalues: whether beta stays below 2, for eigenvalues down to -1, or below 1.
        steps: corrections at each token; None for one, without an axis of its own.
        log_decay: maps the input to the logarithm of what each head or key keeps; all if absent.
        gate: maps the input to what the answers are multiplied by; one if absent.
        key_heads: heads of queries and keys, each of which serves as many heads in a row; `heads`
            if absent.
        epsilon: what the norm adds to the mean square.
    """

    remembers = DeltaState

    def __init__(
        self,
        mixer: str,
        dim: int,
        heads: int,
        key: int | None,
        value: int | None,
        width: int,
        negative_eigenvalues: bool,
        *,
        steps: int | None = None,
        log_decay: nn.Module | None = None,
        gate: nn.Module | None = None,
        key_heads: int | None = None,
        epsilon: float = 1e-5,
    ):
        super().__init__()
        self.dim = self.out = dim
        key, value = dim if key is None else key, dim if value is None else value
        key_heads = heads if key_heads is None else key_heads
        if key_heads < 1 or heads % key_heads:
            raise ValueError(f"{mixer}: key_heads = {key_heads} should divide heads = {heads}")
        divided(mixer, key_heads, key=key)
        divided(mixer, heads, value=value)
        self.key_heads = key_heads
        for name, number in (("steps", steps), ("width", width)):
            if number is not None and number < 1:
                raise ValueError(f"{mixer}: {name} = {number} should be at least 1")
        self.reach = 2.0 if negative_eigenvalues else 1.0
        self.matrix = (heads, key // key_heads, value // heads)
        self.shares = (heads,) if steps is None else (steps, heads)
        many = steps or 1
        self.widths = [key, many * key, many * value]
        self.query_key_value = Linear(dim, sum(self.widths), bias=False)
        bound = width**-0.5
        self.taps = nn.Parameter(torch.empty(sum(self.widths), width).uniform_(-bound, bound))
        self.beta = Linear(dim, many * heads, bias=False)
        self.log_decay, self.gate = log_decay, gate
        self.norm = HeadNorm(heads, value // heads, shared=True, eps=epsilon)
        self.output = Linear(value, dim, bias=False)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of S, and of the inputs of the convolutions."""
        channels, width = self.taps.shape
        return {"S": self.matrix, "past": (width - 1, channels)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: DeltaState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], DeltaState]:
        """Map inputs."""
        read, past = run(short_convolution, self.query_key_value(x), self.taps, initial=state.past)
        query, key, value = silu(read).split(self.widths, -1)
        beta = self.reach * self.beta(x).to(state_dtype(x.dtype)).sigmoid()
        y, S = run(
            delta_rule if len(self.shares) == 1 else delta_product,
            self._served(unit(query.unflatten(-1, (self.key_heads, -1)))),
            self._served(unit(key.unflatten(-1, (*self.shares[:-1], self.key_heads, -1)))),
            value.unflatten(-1, (*self.shares, -1)),
            beta.unflatten(-1, self.shares),
            log_decay=None if self.log_decay is None else self.log_decay(x),
            scale=self.matrix[1] ** -0.5,
            initial=state.S,
        )
        y = self.norm(y).flatten(-2)
        return self.output(y if self.gate is None else self.gate(x) * y), DeltaState(S, past)

    def _served(self, x: Float[Tensor, "*axes groups key"]) -> Float[Tensor, "*axes heads key"]:
        """Return queries or keys, each as often as there are heads that it serves."""
        times = self.matrix[0] // self.key_heads
        return x if times == 1 else x.repeat_interleave(times, -2)


class GatedDelta(Delta):
    """The same with a decay and a gate for each head, in the sizes of Gated DeltaNet.

        log_decay_t = -rate softplus(W_a x_t + b),  gate_t = silu(W_g x_t)

    Rates start uniform from 0.01 to 16.

    Args:
        mixer: its name, for what is refused.
        dim: features read and answered.
        heads: parts of the features that remember apart.
        key: features of all keys of one step together; three quarters of `dim` if absent.
        value: features of all values of one step together; twice `key` if absent.
        width: inputs that the short convolution reads.
        negative_eigenvalues: whether beta stays below 2, or below 1.
        steps: corrections at each token; None for one, without an axis of its own.
        key_heads: heads of queries and keys; `heads` if absent.
        epsilon: what the norm adds to the mean square.
    """

    def __init__(
        self,
        mixer: str,
        dim: int,
        heads: int,
        key: int | None,
        value: int | None,
        width: int,
        negative_eigenvalues: bool,
        steps: int | None = None,
        key_heads: int | None = None,
        epsilon: float = 1e-5,
    ):
        key = 3 * dim // 4 if key is None else key
        value = 2 * key if value is None else value
        super().__init__(
            mixer,
            dim,
            heads,
            key,
            value,
            width,
            negative_eigenvalues,
            steps=steps,
            log_decay=Clock(heads, Linear(dim, heads, bias=False), least=0.01, most=16.0),
            gate=nn.Sequential(Linear(dim, value, bias=False), nn.SiLU()),
            key_heads=key_heads,
            epsilon=epsilon,
        )
