"""Weights widened a few outputs at a time, and multiplied as any others.

None of torch's own paths serves. `_weight_int8pack_mm` read the weights of a token's matrices at
1.2 GB/s in float32 and 7 in bfloat16, on one core of an EPYC of family 25 (torch 2.13). Dynamic
quantization by x86, fbgemm and onednn reads 16 to 24, as fast as the core does, but rounds x to
eight bits where the core keeps sixteen, and needs a kind of tensors that torch has announced to
remove.
"""

from jaxtyping import Float, Int8
from torch import Tensor, cat, promote_types

from statewise.ops.linear import linear

AT_ONCE = 1 << 22
"""Weights widened at a time: 16 MB in float32."""


def int8_linear(
    x: Float[Tensor, "*batch inputs"],
    weight: Int8[Tensor, "outputs inputs"],
    scale: Float[Tensor, " outputs"],
    bias: Float[Tensor, " outputs"] | None = None,
) -> Float[Tensor, "*batch outputs"]:
    """Return scale * (x weight') + bias."""
    wide = promote_types(x.dtype, scale.dtype)
    x, scale = x.to(wide), scale.to(wide)
    stretch = max(AT_ONCE // max(weight.shape[1], 1), 1)
    parts = [linear(x, some.to(wide)) for some in weight.split(stretch)]
    y = (parts[0] if len(parts) == 1 else cat(parts, -1)) * scale
    return y if bias is None else y + bias
