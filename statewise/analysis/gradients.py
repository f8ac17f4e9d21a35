"""How far gradients reach: the norm of d state_T / d state_t, by the lag T - t.

Bengio, Simard and Frasconi, "Learning Long-Term Dependencies with Gradient Descent is Difficult",
IEEE Transactions on Neural Networks 5(2), 1994; Pascanu, Mikolov and Bengio, "On the difficulty of
training recurrent neural networks", 2013, arXiv:1211.5063, section 2.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._pytree import tree_map

from statewise import state as states
from statewise.analysis import pictures
from statewise.analysis.trajectories import tracked
from statewise.mixers.base import Mixer


def gradient_by_lag(
    mixer: Mixer[Any], x: Float[Tensor, "time dim"], *, leaf: str
) -> Float[Tensor, " lags"]:
    """Return the largest singular value of  d leaf_T / d leaf_{T-k}  for k = 0 to time.

    It is the whole derivative, by way of all other leaves of the state too. Row k of a batch asks
    for one number of the last leaf, so that one backward pass gives the whole matrix at every lag.

    Args:
        mixer: with a state of fixed size.
        x: one sequence.
        leaf: of the state, by name, of real numbers.

    Raises:
        ValueError: if the state has no such leaf, or it does not hold real numbers.
    """
    state = mixer.initial_state(1)
    known = states.leaves(state)
    if leaf not in known or not known[leaf].is_floating_point():
        real = [name for name, value in known.items() if value.is_floating_point()]
        raise ValueError(f"gradient_by_lag: leaf = {leaf!r} should be one of {', '.join(real)}")
    numbers = known[leaf].numel()
    state = tracked(states.fork(state, numbers))
    passed = [states.leaves(state)[leaf]]
    with torch.enable_grad():
        for x_t in x:
            _, state = mixer.step(x_t.expand(numbers, -1), state)
            # Copies, so that what one leaf gave another within a step is no way back.
            state = tree_map(torch.clone, state)
            passed.append(states.leaves(state)[leaf])
        asked = passed[-1].flatten(1).diagonal().sum()
        found = torch.autograd.grad(asked, passed, materialize_grads=True)
    return torch.stack([torch.linalg.matrix_norm(g.flatten(1), 2) for g in reversed(found)])


def plot_gradients(named: Mapping[str, Float[Tensor, " lags"]]) -> bytes:
    """Return a PNG of gradients by lag on a logarithmic scale, a line for each name.

    A line ends where its gradient is 0 or no number.

    Raises:
        ImportError: if matplotlib is missing.
    """
    height = pictures.tall(len(named))
    curves = {
        name: (range(len(norms)), torch.where(norms > 0, norms, torch.nan).detach().cpu())
        for name, norms in named.items()
    }

    def draw(axes: Any) -> None:
        axes.set_xlabel("lag (steps back)", fontsize=10)
        axes.set_ylabel("norm of the derivative by the\nstate of so many steps before", fontsize=10)
        pictures.lines(axes, curves)
        pictures.logarithmic(axes)
        pictures.name_ends(axes, curves, height=height)

    return pictures.picture(draw, height=height)
