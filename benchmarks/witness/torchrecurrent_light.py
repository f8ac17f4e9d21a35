"""torchrecurrent's light gated cells and oscillators, whose weights ours take.

All their parameters are drawn anew: their starts are not compared. A bias that the paper lacks is
zero in the peer. Where the peer differs in more than that, `defects` says how it was kept out.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.witness.agreement import Agreement, agree, draw
from statewise import mixers

HIDDEN = 16
Named = Mapping[str, Tensor]


class Pair(NamedTuple):
    """A peer's cell and our mixer.

    Args:
        peer: the name of the peer's class, without "Cell".
        ours: our mixer.
        weights: gives our parameters by name, from the peer's.
        options: of both.
        own: options of ours alone.
        theirs: options of the peer alone.
        kept: which of the peer's two states ours has.
        clear: sets what the paper does not have in the peer, before weights are taken.
        step: calls the peer, where it has a defect to be kept out.
        defects: says which.
    """

    peer: str
    ours: Callable[..., Any]
    weights: Callable[[Any], Named]
    options: Mapping[str, float] = {}
    own: Mapping[str, Any] = {}
    theirs: Mapping[str, Any] = {}
    kept: slice = slice(2)
    clear: Callable[[Any], Any] = lambda peer: None
    step: Callable[[Any, Tensor, Any], Any] = lambda peer, x, state: peer(x, state)
    defects: str = ""


def _matrices(p: Any) -> dict[str, Tensor]:
    return {"input.weight": p.weight_ih, "recurrent.weight": p.weight_hh}


def _gates(p: Any) -> Named:
    return _matrices(p) | {"input.bias": p.bias_ih + p.bias_hh}


def _some_biases(p: Any) -> Named:
    return _matrices(p) | {"bias": p.bias_ih[: len(p.bias_hh)] + p.bias_hh}


def _without_candidates_bias(p: Any) -> None:
    p.bias_ih[-HIDDEN:] = 0


def _without_recurrent_bias(p: Any) -> None:
    p.bias_hh.zero_()


def _brc(p: Any) -> Named:
    feedback, gate = p.weight_hh.chunk(2)
    bias = p.bias_ih[: 2 * HIDDEN] + p.bias_hh
    return {"input.weight": p.weight_ih, "bias": bias, "feedback": feedback, "gate": gate}


def _fast_rnn(p: Any) -> Named:
    bias = p.bias_ih + p.bias_hh
    return _matrices(p) | {"bias": bias, "alpha": p.alpha[0], "beta": p.beta[0]}


def _fast_grnn(p: Any) -> Named:
    gate, candidate = (p.bias_ih + p.bias_hh).chunk(2)
    biases = {"gate_bias": gate, "candidate_bias": candidate}
    return _matrices(p) | biases | {"zeta": p.zeta[0], "nu": p.nu[0]}


def _minimal_rnn(p: Any) -> Named:
    biases = {"input.bias": p.bias_ih, "gate_bias": p.bias_hh}
    return _matrices(p) | biases | {"gate.weight": p.weight_mm}


def _mgu(p: Any) -> Named:
    gate_input, read = p.weight_ih.chunk(2)
    gate_recurrent, recurrent = p.weight_hh.chunk(2)
    gate_bias, bias = (p.bias_ih + p.bias_hh).chunk(2)
    gate = {"gate_input.weight": gate_input, "gate_recurrent.weight": gate_recurrent}
    rest = {"input.weight": read, "recurrent.weight": recurrent, "input.bias": bias}
    return gate | rest | {"gate_bias": gate_bias}


def _star(p: Any) -> Named:
    bias = torch.cat([torch.zeros(HIDDEN), p.bias_hh])
    return _matrices(p) | {"input.bias": p.bias_ih + bias}


def _lem(p: Any) -> Named:
    bias = p.bias_ih + torch.cat([p.bias_hh, p.bias_ch])
    return _matrices(p) | {"input.bias": bias, "memory.weight": p.weight_ch}


def _lem_step(p: Any, x: Tensor, state: Any) -> Any:
    _, z = p(x, state)
    y, _ = p(x, (state[0], z))
    return y, z


def _cornn(p: Any) -> Named:
    both = torch.cat([p.weight_hh, p.weight_ch], 1)
    bias = p.bias_ih + p.bias_hh + p.bias_ch
    return {"input.weight": p.weight_ih, "input.bias": bias, "recurrent.weight": both}


def _unicornn(p: Any) -> Named:
    vectors = {"feedback": p.weight_hh, "control": p.weight_ch}
    return {"input.weight": p.weight_ih, "input.bias": p.bias_ih} | vectors


def _scrn(p: Any) -> Named:
    context, read = p.weight_ih.chunk(2)
    return {
        "input.weight": read,
        "recurrent.weight": p.weight_hh[:HIDDEN],
        "context.weight": context,
        "from_context.weight": p.weight_ch[:HIDDEN],
    }


def _scrn_clear(p: Any) -> None:
    p.alpha.fill_(0.95)
    p.weight_hh[HIDDEN:] = torch.eye(HIDDEN)
    p.weight_ch[HIDDEN:] = 0
    for bias in (p.bias_ih, p.bias_hh, p.bias_ch):
        bias.zero_()


def _scrn_step(p: Any, x: Tensor, state: Any) -> Any:
    squashed, s = p(x, state)
    return squashed.atanh(), s


def _mut1(p: Any) -> Named:
    reset, recurrent = p.weight_hh.chunk(2)
    update_bias, reset_bias, _ = p.bias_ih.chunk(3)
    of_reset, candidate_bias = p.bias_hh.chunk(2)
    return {
        "input.weight": p.weight_ih[: 2 * HIDDEN],
        "bias": torch.cat([update_bias, reset_bias + of_reset, candidate_bias]),
        "reset.weight": reset,
        "recurrent.weight": recurrent,
    }


def _mut1_clear(p: Any) -> None:
    p.weight_ih[2 * HIDDEN :] = torch.eye(HIDDEN)
    p.bias_ih[2 * HIDDEN :] = 0


def _mut3(p: Any) -> Named:
    names = ("update.weight", "reset.weight", "recurrent.weight")
    matrices = dict(zip(names, p.weight_hh.chunk(3), strict=True))
    return matrices | {"input.weight": p.weight_ih, "bias": p.bias_ih + p.bias_hh}


def _mut2(p: Any) -> Named:
    update, _, candidate = p.weight_ih.chunk(3)
    return {**_mut3(p), "input.weight": torch.cat([update, candidate])}


def _mut2_clear(p: Any) -> None:
    p.weight_ih[HIDDEN : 2 * HIDDEN] = torch.eye(HIDDEN)


H, C = slice(0, 1), slice(1, 2)
EULER = {"epsilon": 0.1, "gamma": 0.1}
PAIRS = (
    Pair("UGRNN", mixers.UGRNN, _gates),
    Pair("RAN", mixers.RAN, _some_biases, kept=C),
    Pair("ATR", mixers.ATR, _gates, clear=_without_recurrent_bias),
    Pair("CFN", mixers.CFN, _some_biases, clear=_without_candidates_bias),
    Pair("FastRNN", mixers.FastRNN, _fast_rnn, defects="starts alpha and beta the wrong way round"),
    Pair(
        "FastGRNN",
        mixers.FastGRNN,
        _fast_grnn,
        theirs={"nonlinearity": "sigmoid"},
        defects="its gate is tanh if not told otherwise",
    ),
    Pair("AntisymmetricRNN", mixers.AntisymmetricRNN, _gates, EULER),
    Pair(
        "GatedAntisymmetricRNN",
        mixers.GatedAntisymmetricRNN,
        lambda p: _matrices(p) | {"input.bias": p.bias_ih},
        EULER,
        clear=_without_recurrent_bias,
    ),
    Pair("MinimalRNN", mixers.MinimalRNN, _minimal_rnn),
    Pair("JANET", mixers.JANET, _gates, kept=H, clear=lambda p: p.beta.fill_(1)),
    Pair("LiGRU", mixers.LiGRU, _gates, own={"norm": False}, defects="has no norm: nor ours, here"),
    Pair("MGU", mixers.MGU, _mgu),
    Pair("STAR", mixers.STAR, _star),
    Pair("BR", mixers.BRC, _brc, clear=_without_candidates_bias),
    Pair("NBR", mixers.NBRC, _some_biases, clear=_without_candidates_bias),
    Pair(
        "LEM",
        mixers.LEM,
        _lem,
        {"dt": 0.5},
        step=_lem_step,
        defects="y reads the old z where the paper's reads the new: called twice a step",
    ),
    Pair("coRNN", mixers.CoRNN, _cornn, {"dt": 0.1, "gamma": 2.7, "epsilon": 4.7}),
    Pair("UnICORNN", mixers.UnICORNN, _unicornn, {"dt": 0.19, "alpha": 3.0}),
    Pair(
        "SCRN",
        mixers.SCRN,
        _scrn,
        clear=_scrn_clear,
        step=_scrn_step,
        defects="feeds back tanh of its output layer: that layer is the identity, tanh undone",
    ),
    Pair("MUT1", mixers.MUT, _mut1, own={"variant": 1}, clear=_mut1_clear),
    Pair("MUT2", mixers.MUT, _mut2, own={"variant": 2}, clear=_mut2_clear),
    Pair("MUT3", mixers.MUT, _mut3, own={"variant": 3}),
)


def agreements() -> Iterator[Agreement]:
    """Yield one for each cell."""
    import torchrecurrent  # pyright: ignore[reportMissingImports]

    for pair in PAIRS:
        peer = getattr(torchrecurrent, f"{pair.peer}Cell")(
            HIDDEN, HIDDEN, **pair.options, **pair.theirs
        )
        mixer = pair.ours(HIDDEN, HIDDEN, **pair.options, **pair.own)
        with torch.no_grad():
            for parameter in peer.parameters():
                parameter.uniform_(-(HIDDEN**-0.5), HIDDEN**-0.5)
            pair.clear(peer)
            mixer.load_state_dict(pair.weights(peer))

        def loop(x: Tensor, pair: Pair = pair, peer: Any = peer) -> list[Tensor]:
            state = torch.zeros(len(x), HIDDEN)
            state = (state, state) if peer.uses_double_state() else state
            ys = []
            for t in range(x.shape[1]):
                state = pair.step(peer, x[:, t], state)
                ys.append(state[0] if isinstance(state, tuple) else state)
            leaves = state[pair.kept] if isinstance(state, tuple) else [state]
            return [torch.stack(ys, 1), *leaves]

        def ours(x: Tensor, mixer: Any = mixer) -> list[Tensor]:
            y, state = mixer(x)
            return [y[..., :HIDDEN], *state]

        defects = pair.defects
        yield agree(pair.peer, "torchrecurrent", ours, loop, [draw(3, 60, HIDDEN)], defects=defects)
