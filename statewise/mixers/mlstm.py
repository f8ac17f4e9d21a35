r"""mLSTM: an LSTM whose cell is a matrix, with exponential gates and a normalizer.

Beck et al., "xLSTM: Extended Long Short-Term Memory", 2024, arXiv:2405.04517, section 2.3 and
appendix A; the output as in Beck et al., "xLSTM 7B", 2025, arXiv:2503.13427.

    q_t, k_t, v_t = W_q x_t, W_k x_t, W_v x_t        of each head
    i_t, f_t = exp(w_i . x_t + b_i), sigmoid(w_f . x_t + b_f)        one of each a head
    C_t = f_t C_{t-1} + i_t k_t v_t^T
    n_t = f_t n_{t-1} + i_t k_t
    h_t = C_t^T q_t / max(|n_t . q_t|, sqrt(key))
    y_t = W_out [sigmoid(W_o x_t) * norm(h_t)]       heads side by side

C and n are kept divided by exp(m_t), m_t = max(log f_t + m_{t-1}, log i_t), so that no gate
overflows; h_t does not depend on m. The norm standardizes each head. At first w_i and w_f are zero,
b_i is normal with deviation 0.1, and b_f goes from 3 in the first head to 6 in the last. With a
`soft_cap` the pre-activations of i and f are first squeezed to cap * tanh(. / cap): 15 in xLSTM 7B.

Family   matrix state
Forms    chunkwise; step
State    C, (batch, heads, key, value), value * key / heads numbers with features of all heads;
         n, (batch, heads, key); m, (batch, heads)
Cost     O(time dim (dim + key / heads)) work in `forward`; O(dim (dim + key / heads)) in `step`
Differs  Query and key are divided by sqrt(key) together, and no biases stand beside W_q, W_k, W_v
         and W_o. The cell alone: the up-projection around it is a block.
See also linear_attention.py, retention.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.heads import GatedOutput, Projections
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.norms import HeadNorm
from statewise.mixers.parts.recurrent import Recurrent, Run, divided
from statewise.ops.stabilized_attention import stabilized_linear_attention


class MLSTMState(NamedTuple):
    """What mLSTM remembers."""

    C: Float[Tensor, "batch heads key value"]
    n: Float[Tensor, "batch heads key"]
    m: Float[Tensor, "batch heads"]


class MLSTM(Recurrent[MLSTMState]):
    """Long short-term memory with a matrix for each head.

    Args:
        dim: features read and answered.
        heads: parts of the features that remember apart.
        key: features of all keys together; `dim` if absent (xLSTM 7B has half of it).
        value: features of all values together; `dim` if absent.
        soft_cap: of the gates' pre-activations; none if absent.
        epsilon: what the norm adds to the variance.
    """

    remembers = MLSTMState

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        key: int | None = None,
        value: int | None = None,
        soft_cap: float | None = None,
        epsilon: float = 1e-5,
    ):
        super().__init__()
        if soft_cap is not None and soft_cap <= 0:
            raise ValueError(f"mlstm: soft_cap = {soft_cap} should be above 0")
        self.dim = self.out = dim
        self.heads, self.soft_cap = heads, soft_cap
        self.key, self.value = dim if key is None else key, dim if value is None else value
        divided("mlstm", heads, key=self.key, value=self.value)
        self.query_key_value = Projections(dim, heads, self.key, self.key, self.value)
        self.gates = Linear(dim, 2 * heads)
        nn.init.zeros_(self.gates.weight)
        with torch.no_grad():
            self.gates.bias[:heads].normal_(0, 0.1)
            self.gates.bias[heads:].copy_(torch.linspace(3, 6, heads))
        norm = HeadNorm(heads, self.value // heads, center=True, eps=epsilon)
        self.output = GatedOutput(dim, norm, self.value, gate=torch.sigmoid)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of C, n and m."""
        n = (self.heads, self.key // self.heads)
        return {"C": (*n, self.value // self.heads), "n": n, "m": (self.heads,)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: MLSTMState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], MLSTMState]:
        """Map inputs."""
        query, key, value = self.query_key_value(x)
        gates = self.gates(x).to(state_dtype(x.dtype))
        if self.soft_cap is not None:
            gates = self.soft_cap * (gates / self.soft_cap).tanh()
        log_input, forget = gates.chunk(2, -1)
        read, after = run(
            stabilized_linear_attention,
            query,
            key,
            value,
            log_input=log_input,
            log_forget=logsigmoid(forget),
            initial=tuple(state),
        )
        return self.output(read, x), MLSTMState(*after)

    @classmethod
    def example(cls) -> "MLSTM":
        """Return a small instance."""
        return cls(dim=8, heads=2)
