"""The diagonal scan in C++."""

from jaxtyping import Bool, Float, Int
from torch import Tensor


def scan(
    decay: Float[Tensor, "batch time dim"],
    drive: Float[Tensor, "batch time dim"],
    *,
    initial: Float[Tensor, "batch dim"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch dim"]]:
    """Return every h_t of  h_t = decay_t * h_{t-1} + drive_t,  and the last."""
    raise RuntimeError("the native core is missing")
