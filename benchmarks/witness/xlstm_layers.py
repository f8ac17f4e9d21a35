"""sLSTM's cell, and the layers of xLSTM's two blocks, of the package xlstm, with our weights."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from benchmarks.witness.agreement import Agreement, agree, draw
from statewise.mixers import SLSTM, MLSTMBlock, SLSTMBlock


def agreements() -> Iterator[Agreement]:
    """Yield one for the cell and one for each layer."""
    from xlstm.blocks.mlstm import backends  # pyright: ignore[reportMissingImports]
    from xlstm.blocks.mlstm import layer as mlstm  # pyright: ignore[reportMissingImports]
    from xlstm.blocks.slstm import cell  # pyright: ignore[reportMissingImports]
    from xlstm.blocks.slstm import layer as slstm  # pyright: ignore[reportMissingImports]

    yield _cell(cell)
    yield _slstm(slstm)
    yield _mlstm(mlstm, backends)


def _cell(hub: Any) -> Agreement:
    ours = SLSTM(16)
    torch.nn.init.normal_(ours.recurrent, std=0.3)
    peer = hub.sLSTMCell(hub.sLSTMCellConfig(hidden_size=16, backend="vanilla", dtype="float32"))
    peer.load_state_dict(
        {"_recurrent_kernel_": ours.recurrent.detach(), "_bias_": ours.bias.detach()}
    )

    # The stabilizer m is free: what it cancels in is compared.
    def mixed(x: Tensor):
        y, (h, c, n, m) = ours(x)
        return y, h, c / n, n.log() + m

    def theirs(x: Tensor):
        y, (h, c, n, m) = peer(linear(x, ours.weight))
        return y.transpose(1, 2).flatten(2), h, c / n, n.log() + m

    note = "asks whether a whole batch is at its start, not a row"
    return agree("sLSTMCell", "xlstm", mixed, theirs, [draw(2, 100, 16)], defects=note)


def _slstm(hub: Any) -> Agreement:
    ours = SLSTMBlock(16)
    torch.nn.init.normal_(ours.recurrent, std=0.3)
    config = hub.sLSTMLayerConfig(embedding_dim=16, backend="vanilla", dtype="float32")
    peer = hub.sLSTMLayer(config)
    weights = ours.state_dict()
    i, f, z, o = weights["weight"]
    peer.load_state_dict(
        {
            "conv1d.conv.weight": weights["convolution.weight"][:, None],
            "conv1d.conv.bias": weights["convolution.bias"],
            "igate.weight": f,
            "fgate.weight": i,
            "zgate.weight": z,
            "ogate.weight": o,
            "slstm_cell._recurrent_kernel_": weights["recurrent"],
            "slstm_cell._bias_": weights["bias"],
            "group_norm.weight": weights["norm.weight"].flatten() - 1,
        }
    )
    note = "its igate's weight goes to the forget gate, and its fgate's to the input gate"
    return agree(
        "sLSTMLayer", "xlstm", lambda x: ours(x)[0], peer, [draw(2, 100, 16)], defects=note
    )


def _mlstm(hub: Any, backends: Any) -> Agreement:
    ours = MLSTMBlock(32)
    torch.nn.init.normal_(ours.gates.weight, std=0.1)
    peer = hub.mLSTMLayer(hub.mLSTMLayerConfig(embedding_dim=32, context_length=100))
    peer.mlstm_cell.backend_fn = partial(backends.parallel_stabilized_simple, eps=0.0)
    weights = ours.state_dict()
    (input_weight, forget_weight), (input_bias, forget_bias) = (
        weights[f"gates.{name}"].chunk(2) for name in ("weight", "bias")
    )
    peer.load_state_dict(
        {
            "proj_up.weight": weights["up.weight"],
            "q_proj.weight": weights["query.weight"],
            "k_proj.weight": weights["key.weight"],
            "v_proj.weight": weights["value.weight"],
            "conv1d.conv.weight": weights["convolution.weight"][:, None],
            "conv1d.conv.bias": weights["convolution.bias"],
            "mlstm_cell.igate.weight": input_weight,
            "mlstm_cell.igate.bias": input_bias,
            "mlstm_cell.fgate.weight": forget_weight,
            "mlstm_cell.fgate.bias": forget_bias,
            "mlstm_cell.outnorm.weight": weights["norm.weight"].flatten() - 1,
            "learnable_skip": weights["skip"],
            "proj_down.weight": weights["down.weight"],
        }
    )
    note = "adds eps in stabilized units: here eps = 0"
    return agree(
        "mLSTMLayer", "xlstm", lambda x: ours(x)[0], peer, [draw(2, 100, 32)], defects=note
    )
