"""The linear map whose weights are stored in eight bits:  y = scale * (x weight') + bias.

It is for answering, not for learning: decoding a token reads every weight once and does little
else, so that a quarter of the bytes takes a quarter of the time.
"""

# Inside this package `torch` is the file torch.py, so the library is imported by its parts.
from jaxtyping import Float, Int8
from torch import Tensor, float32, is_autocast_enabled, is_grad_enabled

from statewise import backends
from statewise.ops.int8_linear import native, reference
from statewise.ops.int8_linear.torch import int8_linear as by_widening

__all__ = ["TABLE", "int8_linear"]


def _without_few(x: Tensor, weight: Tensor | None = None) -> str | None:
    """Object to the core where it does not multiply rows of its type by what is stored."""
    if x.dtype != float32:
        return "it multiplies float32"
    if why_not := backends.without_native(x):
        return why_not
    if x.numel() > native.FEW * x.shape[-1]:
        return f"beyond {native.FEW} rows it pays to widen the weights"
    if is_grad_enabled() and x.requires_grad:
        return "it has no gradient"
    if not backends.plain((x, weight)) or is_autocast_enabled("cpu"):
        return "somebody watches what is computed"
    return None


TABLE = (
    backends.Row("native", _without_few),
    backends.Row("torch", backends.always),
    backends.Row("reference", backends.always),
)

_FORMS = {
    "native": native.int8_linear,
    "torch": by_widening,
    "reference": reference.int8_linear,
}


def int8_linear(
    x: Float[Tensor, "*batch inputs"],
    weight: Int8[Tensor, "outputs inputs"],
    scale: Float[Tensor, " outputs"],
    bias: Float[Tensor, " outputs"] | None = None,
) -> Float[Tensor, "*batch outputs"]:
    """Return scale * (x weight') + bias, in the dtype of x or that of the scale if it is wider.

    The core rounds each row of x to 32,767 steps of its largest number on either side. That adds to
    an output an error of about 4e-5 of its size, a hundredth of what rounded weights do. A row that
    is not finite is answered with NaN.

    Args:
        x: of any number of axes, the last of them the inputs of the map. It may be differentiated.
        weight: a row for each output, in steps of its scale, from -127 to 127.
        scale: what a step is worth, for each output; float32 or wider.
        bias: added to every output.

    Raises:
        ValueError: if shapes do not fit together.
    """
    outputs = len(weight)
    if x.shape[-1] != weight.shape[1] or scale.shape != (outputs,):
        raise ValueError(
            f"int8_linear: x {tuple(x.shape)} should end in the inputs of weight "
            f"{tuple(weight.shape)}, which is (outputs, inputs), and scale {tuple(scale.shape)} be "
            "(outputs,)"
        )
    if not backends.chosen_by_hand() and _without_few(x, weight) is None:
        return native.int8_linear(x, weight, scale, bias)
    backend = backends.choose("int8_linear", TABLE, x, weight).backend
    return _FORMS[backend](x, weight, scale, bias)
