"""The closed-form continuous-time cell of ncps, by the authors of the paper."""

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.witness.agreement import Agreement, agree, draw
from statewise.mixers import CfC


def agreements() -> Iterator[Agreement]:
    """Yield one with a gate and one without, on irregular times."""
    from ncps.torch import CfCCell  # pyright: ignore[reportMissingImports]

    for form in ("default", "no_gate"):
        torch.manual_seed(0)
        peer = CfCCell(12, 16, mode=form, backbone_units=24, backbone_layers=2)
        mixer = CfC(12, 16, units=24, layers=2, gate=form == "default")
        heads = (peer.ff1, peer.ff2, peer.time_a, peer.time_b)
        with torch.no_grad():
            for name in ("weight", "bias"):
                for layer, other in zip(mixer.backbone, peer.backbone[::2], strict=True):
                    layer.get_parameter(name).copy_(getattr(other, name))
                stacked = torch.cat([getattr(head, name) for head in heads])
                mixer.heads.get_parameter(name).copy_(stacked)

        def ours(x: Tensor, elapsed: Tensor, mixer: CfC = mixer) -> Tensor:
            return mixer(x, elapsed=elapsed)[0]

        def theirs(x: Tensor, elapsed: Tensor, peer: torch.nn.Module = peer) -> Tensor:
            h, hs = x.new_zeros(len(x), 16), []
            for t in range(x.shape[1]):
                h, _ = peer(x[:, t], h, elapsed[:, t, None])
                hs.append(h)
            return torch.stack(hs, 1)

        given = [draw(3, 100, 12), draw(3, 100, seed=1).abs()]
        yield agree(f"CfCCell, {form}", "ncps", ours, theirs, given)
