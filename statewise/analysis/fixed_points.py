"""States that a step leaves where they are, or nearly so, while the input stays the same.

    q(s) = 1/2 |F(s, x) - s|^2        the speed at state s: 0 at a fixed point, small at a slow one

    found = fixed_points(gru, x, starts)
    found.speeds, found.eigenvalues

q is lowered from many starts at once, each by damped Gauss-Newton steps: with J the Jacobian of F
and r = F(s) - s, its gradient is (J - 1)^T r, and a step solves ((J - 1)^T (J - 1) + damping) d =
-gradient, the damping falling where q does and rising where it would not. Sussillo and Barak,
"Opening the Black Box: Low-Dimensional Dynamics in High-Dimensional Recurrent Neural Networks",
Neural Computation 25(3), 2013, sections 2 and 3.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from statewise import state as states
from statewise.analysis import pictures
from statewise.analysis.jacobians import ROWS, jacobian
from statewise.analysis.trajectories import Recurrence, named, of_parts, parts

DAMPING = 1e-3
"""Of the first step, by the mean of what it is added to."""

CALMER, BOLDER, MOST = 4.0, 3.0, 1e12
"""How fast damping rises and falls, and where no step is short enough to help."""


class FixedPoints(NamedTuple):
    """The fixed and slow points that were found, the slowest first."""

    points: Float[Tensor, "points numbers"]
    """The numbers of each state, leaf by leaf."""
    speeds: Float[Tensor, " points"]
    """q at each."""
    jacobians: Float[Tensor, "points numbers numbers"]
    """Of a step at each."""
    eigenvalues: Complex[Tensor, "points numbers"]
    """Of the Jacobians."""
    states: Any
    """The points as a state of so many rows, to go on from."""

    @property
    def unstable(self) -> Int[Tensor, " points"]:
        """Return how many directions of each point grow: 0 attracts, 1 is a saddle between two."""
        return (self.eigenvalues.abs() > 1).sum(-1)


def speed(
    mixer: Recurrence,
    x: Float[Tensor, "batch dim"] | Int[Tensor, " batch"],
    state: Any,
) -> Float[Tensor, " batch"]:
    """Return q of each row of a state, with its gradient.

    Args:
        mixer: any, or a model, in eval mode.
        x: the input of each row.
        state: where the speed is asked.
    """
    _, after = mixer.step(x, state)
    return 0.5 * (_numbers(after, state) - _numbers(state, state)).square().sum(-1)


@torch.no_grad()
def fixed_points(
    mixer: Recurrence,
    x: Float[Tensor, " dim"] | Int[Tensor, ""],
    starts: Any,
    *,
    tolerance: float = 1e-10,
    apart: float = 1e-2,
    iterations: int = 200,
) -> FixedPoints:
    """Return the different points near which a mixer hardly moves.

    Args:
        mixer: any whose state does not grow, or a model, in eval mode. In float64 speeds of 1e-25
            are reached, in float32 of 1e-13.
        x: the input that stays, or the token.
        starts: a state whose rows are where the search begins, such as those visited in a run.
            Counters stay as they are.
        tolerance: the speed below which a point counts; 1e-4 or so for slow ones.
        apart: the distance, relative to the size of the points, below which two are one.
        iterations: at most.

    Raises:
        ValueError: for a state that grows, or has no number to move.
    """
    found = _settle(mixer, x, starts, iterations)
    inputs = _repeated(x, len(_numbers(found, found)))
    q = speed(mixer, inputs, found)
    slow = (q <= tolerance).nonzero()[:, 0]
    slow = slow[q[slow].argsort()]
    chosen = _different(_numbers(found, found)[slow], apart)
    kept = states.select(found, slow[chosen])
    inputs = inputs[: len(chosen)]
    matrices = _jacobians(mixer, inputs, kept)
    return FixedPoints(
        _numbers(kept, kept), q[slow[chosen]], matrices, torch.linalg.eigvals(matrices), kept
    )


def _settle(mixer: Recurrence, x: Tensor, starts: Any, iterations: int) -> Any:
    """Return where q is least, from each start on its own."""
    state = states.detach(starts)
    h = _numbers(state, state)
    if not h.shape[1]:
        raise ValueError("fixed points are of states with numbers, and this one has none")
    inputs = _repeated(x, len(h))
    damping = h.new_full((len(h),), DAMPING)
    identity = torch.eye(h.shape[1], dtype=h.dtype, device=h.device)
    q = speed(mixer, inputs, state)
    for _ in range(iterations):
        moves = (damping < MOST) & (q > 0)
        if not moves.any():
            break
        rows = moves.nonzero()[:, 0]
        here, h_here = states.select(state, rows), h[rows]
        r = _numbers(mixer.step(inputs[rows], here)[1], here) - h_here
        A = _jacobians(mixer, inputs[rows], here) - identity
        normal = A.mT @ A
        scale = normal.diagonal(dim1=1, dim2=2).mean(-1).clamp(min=torch.finfo(h.dtype).tiny)
        damped = normal + (damping[rows] * scale)[:, None, None] * identity
        tried = h_here - torch.linalg.lstsq(damped, (A.mT @ r[..., None])).solution[..., 0]
        there = _with(here, tried)
        now = speed(mixer, inputs[rows], there)
        better = now < q[rows]
        h[rows] = torch.where(better[:, None], tried, h_here)
        q[rows] = torch.where(better, now, q[rows])
        damping[rows] *= torch.where(better, 1 / BOLDER, CALMER).to(damping.dtype)
        state = _with(state, h)
    return state


def _repeated(x: Tensor, rows: int) -> Tensor:
    return x.expand(rows, *x.shape)


def _numbers(state: Any, like: Any) -> Float[Tensor, "batch numbers"]:
    """Return the numbers of all leaves of a state that are not counters, row by row."""
    chosen = [n for n, leaf in states.leaves(like).items() if _moves(leaf)]
    if not chosen:
        return torch.zeros(len(next(iter(states.leaves(like).values()), torch.zeros(0))), 0)
    found = [named(state, name) for name in chosen]
    if [leaf.shape for leaf in found] != [named(like, name).shape for name in chosen]:
        raise ValueError("a state that grows with what is read has no fixed points")
    return torch.cat([parts(leaf) for leaf in found], 1)


def _with(state: Any, numbers: Float[Tensor, "batch numbers"]) -> Any:
    """Return a state of these numbers."""
    leaves, structure = tree_flatten(state)
    at, made = 0, []
    for leaf in leaves:
        if not _moves(leaf):
            made.append(leaf)
            continue
        width = parts(leaf).shape[1]
        part = numbers[:, at : at + width]
        at += width
        made.append(of_parts(part, leaf))
    return tree_unflatten(made, structure)


def _moves(leaf: Tensor) -> bool:
    return leaf.is_floating_point() or leaf.is_complex()


def _jacobians(mixer: Recurrence, x: Tensor, state: Any) -> Float[Tensor, "batch numbers numbers"]:
    """Return the Jacobian of each row, so many at a time that memory is bounded."""
    numbers = _numbers(state, state).shape[1]
    rows = max(1, ROWS // numbers)
    found = [
        jacobian(mixer, x[i : i + rows], states.select(state, slice(i, i + rows)))
        for i in range(0, len(x), rows)
    ]
    return torch.cat(found) if found else torch.zeros(0, numbers, numbers, dtype=torch.float32)


def _different(points: Float[Tensor, "points numbers"], apart: float) -> list[int]:
    """Return which points are none of those before them."""
    chosen: list[int] = []
    size = points.norm(dim=-1).max().clamp(min=1.0) if len(points) else torch.ones(())
    for i, point in enumerate(points):
        if all(float((point - points[j]).norm()) > apart * float(size) for j in chosen):
            chosen.append(i)
    return chosen


def plot_fixed_points(
    found: Mapping[str, FixedPoints],
    trajectories: Float[Tensor, "batch time numbers"] | None = None,
) -> bytes:
    """Return a PNG of points in the plane of their two largest principal components.

    Full marks attract; hollow ones have directions that grow, and say how many.

    Args:
        found: by a name, such as the input that stayed.
        trajectories: states visited in runs, drawn as lines, whose components are then taken.

    Raises:
        ImportError: if matplotlib is missing.
        ValueError: without a point.
    """
    points = torch.cat([each.points for each in found.values()]) if found else torch.zeros(0, 1)
    if not len(points):
        raise ValueError("there is no point to draw")
    cloud = (points if trajectories is None else trajectories.flatten(0, 1)).double()
    mean = cloud.mean(0)
    axis = torch.linalg.svd(cloud - mean, full_matrices=False).Vh[:2]

    def seen(numbers: Tensor) -> Tensor:
        flat = (numbers.double() - mean) @ axis.mT
        return torch.nn.functional.pad(flat, (0, 2 - flat.shape[-1])).cpu()

    def draw(axes: Any) -> None:
        for line in [] if trajectories is None else seen(trajectories):
            axes.plot(*line.mT, color=pictures.QUIET, linewidth=0.5, alpha=0.5, zorder=1)
        for number, (name, each) in enumerate(found.items()):
            look = {
                "color": pictures.colour(number),
                "marker": pictures.MARKERS[number % len(pictures.MARKERS)],
                "markersize": 6,
                "linestyle": "none",
            }
            label = f"{pictures.printable(name)}: {len(each.points)}"
            for at, grows in zip(seen(each.points), each.unstable.tolist(), strict=True):
                filled = "none" if grows else pictures.colour(number)
                axes.plot(*at, markerfacecolor=filled, label=label, zorder=3, **look)
                label = "_"
                if grows:
                    place = {"xytext": (5, 5), "textcoords": "offset points", "fontsize": 7}
                    axes.annotate(str(grows), at.tolist(), **place)
        axes.set_xlabel("first principal component", fontsize=10)
        axes.set_ylabel("second", fontsize=10)
        pictures.name_beside(axes)

    return pictures.picture(draw, height=4.0)
