"""Programs in torch operations: a loop over what has to be one, for any device and transform."""

from collections.abc import Mapping, Sequence

# Inside this package `torch` is this file, so the library is imported by its parts.
from jaxtyping import Bool, Float, Int
from torch import Tensor, arange, cat, stack, where
from torch.nn.functional import linear

from statewise.ops.programs.graph import POINTWISE, SOURCES, Node, Number, Program


def recur(
    program: Program,
    drive: Float[Tensor, "batch time drive"],
    matrices: Float[Tensor, " numbers"],
    vectors: Float[Tensor, " vectors"],
    *,
    initial: Float[Tensor, "batch state"],
    start: Float[Tensor, "batch state"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time output"], Float[Tensor, "batch state"]]:
    """Return what is handed out at every time, and the last state."""
    batch, time, _ = drive.shape
    listed = unpacked(program, matrices)
    state, outputs = initial, []
    real = None
    if lengths is not None:
        real = arange(time, device=drive.device) < lengths[:, None]
        drive = where(real[..., None], drive, 0)
    for t in range(time):
        before = state if reset is None else where(reset[:, t, None], start, state)
        now = None if real is None else real[:, t, None]
        if now is not None:
            # A row that has ended computes on its start: its state may be NaN, and 0 * NaN would
            # reach the gradients of the parameters.
            before = where(now, before, start)
        sources = {"drive": drive[:, t], "state": before, "vector": vectors.expand(batch, -1)}
        values = compute(program.nodes, sources, listed)
        after = beside(values, program.state, drive)
        output = beside(values, program.output, drive)
        state = after if now is None else where(now, after, state)
        outputs.append(output if now is None else where(now, output, 0))
    if outputs:
        return stack(outputs, 1), state.clone()
    return drive.new_zeros(batch, 0, program.output_width), state.clone()


def compute(
    nodes: Sequence[Node], sources: Mapping[str, Tensor], matrices: Sequence[Tensor]
) -> list[Tensor]:
    """Return the value of every operation."""
    values: list[Tensor] = []
    for op, of, width, at, by in nodes:
        given = [values[place] for place in of]
        if op in SOURCES:
            found = sources[op][:, int(at) : int(at) + width]
        elif op in POINTWISE:
            found = POINTWISE[op](*given)
        else:
            found = _others(op, given, width, at, by, sources["state"], matrices)
        values.append(found)
    return values


def _others(
    op: str,
    given: Sequence[Tensor],
    width: int,
    at: Number,
    by: Number,
    like: Tensor,
    matrices: Sequence[Tensor],
) -> Tensor:
    match op:
        case "literal":
            return like.new_full((len(like), width), at)
        case "affine":
            return given[0] * at + by
        case "expand":
            return given[0].expand(-1, width)
        case "slice":
            return given[0][:, int(at) : int(at) + width]
        case "concat":
            return cat(list(given), 1)
        case "sum":
            return given[0].sum(1, keepdim=True)
        case "product":
            return linear(given[0], matrices[int(at)])
        case _:
            raise ValueError(f"there is no operation {op}")


def unpacked(program: Program, matrices: Tensor) -> list[Tensor]:
    """Return the matrices, (rows, columns) each."""
    sizes = [rows * columns for rows, columns in program.matrices]
    parts = matrices.split(sizes) if sizes else ()
    return [part.view(shape) for part, shape in zip(parts, program.matrices, strict=True)]


def beside(values: Sequence[Tensor], places: Sequence[int], like: Tensor) -> Tensor:
    """Return some values side by side, as many rows as there are in another tensor."""
    parts = [values[place] for place in places]
    return cat(parts, 1) if parts else like.new_zeros(len(like), 0)
