"""One file per mixer; the folder is the registry."""

import difflib
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from statewise.mixers.aaren import Aaren as Aaren
from statewise.mixers.abc import ABC as ABC
from statewise.mixers.antisymmetric_rnn import AntisymmetricRNN as AntisymmetricRNN
from statewise.mixers.atr import ATR as ATR
from statewise.mixers.attention import Attention as Attention
from statewise.mixers.base import Cell as Cell
from statewise.mixers.base import Mixer as Mixer
from statewise.mixers.base import WholeSequence as WholeSequence
from statewise.mixers.based import Based as Based
from statewise.mixers.bidirectional import Bidirectional as Bidirectional
from statewise.mixers.bilinear import Bilinear as Bilinear
from statewise.mixers.block_diagonal import BlockDiagonal as BlockDiagonal
from statewise.mixers.boom import Boom as Boom
from statewise.mixers.brc import BRC as BRC
from statewise.mixers.cfc import CfC as CfC
from statewise.mixers.cfn import CFN as CFN
from statewise.mixers.cho_gru import ChoGRU as ChoGRU
from statewise.mixers.clockwork_rnn import ClockworkRNN as ClockworkRNN
from statewise.mixers.cornn import CoRNN as CoRNN
from statewise.mixers.damped_ema import DampedEMA as DampedEMA
from statewise.mixers.deep_echo_state import DeepEchoState as DeepEchoState
from statewise.mixers.delta_net import DeltaNet as DeltaNet
from statewise.mixers.delta_product import DeltaProduct as DeltaProduct
from statewise.mixers.dilated_rnn import DilatedRNN as DilatedRNN
from statewise.mixers.dss import DSS as DSS
from statewise.mixers.echo_state import EchoState as EchoState
from statewise.mixers.elman import Elman as Elman
from statewise.mixers.elstm import ELSTM as ELSTM
from statewise.mixers.exp_rnn import ExpRNN as ExpRNN
from statewise.mixers.fast_grnn import FastGRNN as FastGRNN
from statewise.mixers.fast_rnn import FastRNN as FastRNN
from statewise.mixers.fast_weights import FastWeights as FastWeights
from statewise.mixers.feed_forward import FeedForward as FeedForward
from statewise.mixers.fixed_point import FixedPoint as FixedPoint
from statewise.mixers.gated_antisymmetric_rnn import GatedAntisymmetricRNN as GatedAntisymmetricRNN
from statewise.mixers.gated_delta_net import GatedDeltaNet as GatedDeltaNet
from statewise.mixers.gated_delta_product import GatedDeltaProduct as GatedDeltaProduct
from statewise.mixers.gated_feed_forward import GatedFeedForward as GatedFeedForward
from statewise.mixers.gateloop import GateLoop as GateLoop
from statewise.mixers.gla import GLA as GLA
from statewise.mixers.gru import GRU as GRU
from statewise.mixers.gsa import GSA as GSA
from statewise.mixers.hawk import Hawk as Hawk
from statewise.mixers.hgrn import HGRN as HGRN
from statewise.mixers.hgrn2 import HGRN2 as HGRN2
from statewise.mixers.hippo_rnn import HiPPORNN as HiPPORNN
from statewise.mixers.implicit import Implicit as Implicit
from statewise.mixers.indrnn import IndRNN as IndRNN
from statewise.mixers.irnn import IRNN as IRNN
from statewise.mixers.janet import JANET as JANET
from statewise.mixers.jordan import Jordan as Jordan
from statewise.mixers.jrt import JRT as JRT
from statewise.mixers.kda import KDA as KDA
from statewise.mixers.layer_norm_gru import LayerNormGRU as LayerNormGRU
from statewise.mixers.layer_norm_lstm import LayerNormLSTM as LayerNormLSTM
from statewise.mixers.leaky_rnn import LeakyRNN as LeakyRNN
from statewise.mixers.lem import LEM as LEM
from statewise.mixers.lightnet import LightNet as LightNet
from statewise.mixers.ligru import LiGRU as LiGRU
from statewise.mixers.linear_attention import LinearAttention as LinearAttention
from statewise.mixers.lion import LION as LION
from statewise.mixers.liquid_s4 import LiquidS4 as LiquidS4
from statewise.mixers.lmu import LMU as LMU
from statewise.mixers.lmu_cell import LMUCell as LMUCell
from statewise.mixers.longhorn import Longhorn as Longhorn
from statewise.mixers.lru import LRU as LRU
from statewise.mixers.lssl import LSSL as LSSL
from statewise.mixers.lstm import LSTM as LSTM
from statewise.mixers.m2rnn import M2RNN as M2RNN
from statewise.mixers.mamba import Mamba as Mamba
from statewise.mixers.mamba2 import Mamba2 as Mamba2
from statewise.mixers.mega import Mega as Mega
from statewise.mixers.mgu import MGU as MGU
from statewise.mixers.min_gru import MinGRU as MinGRU
from statewise.mixers.min_lstm import MinLSTM as MinLSTM
from statewise.mixers.minimal_rnn import MinimalRNN as MinimalRNN
from statewise.mixers.mixture import Mixture as Mixture
from statewise.mixers.mlstm import MLSTM as MLSTM
from statewise.mixers.mlstm_block import MLSTMBlock as MLSTMBlock
from statewise.mixers.multiplicative_lstm import MultiplicativeLSTM as MultiplicativeLSTM
from statewise.mixers.mut import MUT as MUT
from statewise.mixers.nas_cell import NASCell as NASCell
from statewise.mixers.nbrc import NBRC as NBRC
from statewise.mixers.ngram_head import NgramHead as NgramHead
from statewise.mixers.para_gru import ParaGRU as ParaGRU
from statewise.mixers.para_lstm import ParaLSTM as ParaLSTM
from statewise.mixers.peephole_lstm import PeepholeLSTM as PeepholeLSTM
from statewise.mixers.phased_lstm import PhasedLSTM as PhasedLSTM
from statewise.mixers.projected_lstm import ProjectedLSTM as ProjectedLSTM
from statewise.mixers.qrnn import QRNN as QRNN
from statewise.mixers.quasi_lstm import QuasiLSTM as QuasiLSTM
from statewise.mixers.ran import RAN as RAN
from statewise.mixers.recoding import Recoding as Recoding
from statewise.mixers.recurrent_dropout import RecurrentDropout as RecurrentDropout
from statewise.mixers.residual_echo_state import ResidualEchoState as ResidualEchoState
from statewise.mixers.retention import Retention as Retention
from statewise.mixers.rg_lru import RGLRU as RGLRU
from statewise.mixers.rhn import RHN as RHN
from statewise.mixers.rotation import Rotation as Rotation
from statewise.mixers.rwkv4 import RWKV4 as RWKV4
from statewise.mixers.rwkv5 import RWKV5 as RWKV5
from statewise.mixers.rwkv6 import RWKV6 as RWKV6
from statewise.mixers.rwkv7 import RWKV7 as RWKV7
from statewise.mixers.rwkv_channel_mixing import RWKVChannelMixing as RWKVChannelMixing
from statewise.mixers.s4 import S4 as S4
from statewise.mixers.s4d import S4D as S4D
from statewise.mixers.s5 import S5 as S5
from statewise.mixers.s6 import S6 as S6
from statewise.mixers.scornn import SCORNN as SCORNN
from statewise.mixers.scrn import SCRN as SCRN
from statewise.mixers.short_convolution import ShortConvolution as ShortConvolution
from statewise.mixers.simple_gla import SimpleGLA as SimpleGLA
from statewise.mixers.single_head_attention import SingleHeadAttention as SingleHeadAttention
from statewise.mixers.slstm import SLSTM as SLSTM
from statewise.mixers.slstm_block import SLSTMBlock as SLSTMBlock
from statewise.mixers.sru import SRU as SRU
from statewise.mixers.stacked import Stacked as Stacked
from statewise.mixers.stacked_bidirectional import StackedBidirectional as StackedBidirectional
from statewise.mixers.star import STAR as STAR
from statewise.mixers.swax import SWAX as SWAX
from statewise.mixers.tau_gru import TauGRU as TauGRU
from statewise.mixers.tcn import TCN as TCN
from statewise.mixers.tcnca import TCNCA as TCNCA
from statewise.mixers.time_delay import TimeDelay as TimeDelay
from statewise.mixers.tkan import TKAN as TKAN
from statewise.mixers.ugrnn import UGRNN as UGRNN
from statewise.mixers.unicornn import UnICORNN as UnICORNN
from statewise.mixers.urn import URN as URN
from statewise.mixers.variational_dropout import VariationalDropout as VariationalDropout
from statewise.mixers.weight_dropped_lstm import WeightDroppedLSTM as WeightDroppedLSTM
from statewise.mixers.zoneout import Zoneout as Zoneout

__all__ = [
    "ABC",
    "ATR",
    "BRC",
    "CFN",
    "DSS",
    "ELSTM",
    "FAMILIES",
    "GLA",
    "GRU",
    "GSA",
    "HGRN",
    "HGRN2",
    "IRNN",
    "JANET",
    "JRT",
    "KDA",
    "LEM",
    "LION",
    "LMU",
    "LRU",
    "LSSL",
    "LSTM",
    "M2RNN",
    "MGU",
    "MLSTM",
    "MUT",
    "NBRC",
    "QRNN",
    "RAN",
    "RGLRU",
    "RHN",
    "RWKV4",
    "RWKV5",
    "RWKV6",
    "RWKV7",
    "S4",
    "S4D",
    "S5",
    "S6",
    "SCORNN",
    "SCRN",
    "SLSTM",
    "SRU",
    "STAR",
    "SWAX",
    "TCN",
    "TCNCA",
    "TKAN",
    "UGRNN",
    "URN",
    "Aaren",
    "AntisymmetricRNN",
    "Attention",
    "Based",
    "Bidirectional",
    "Bilinear",
    "BlockDiagonal",
    "Boom",
    "Cell",
    "CfC",
    "ChoGRU",
    "ClockworkRNN",
    "CoRNN",
    "DampedEMA",
    "DeepEchoState",
    "DeltaNet",
    "DeltaProduct",
    "DilatedRNN",
    "EchoState",
    "Elman",
    "ExpRNN",
    "FastGRNN",
    "FastRNN",
    "FastWeights",
    "FeedForward",
    "FixedPoint",
    "GateLoop",
    "GatedAntisymmetricRNN",
    "GatedDeltaNet",
    "GatedDeltaProduct",
    "GatedFeedForward",
    "Hawk",
    "HiPPORNN",
    "Implicit",
    "IndRNN",
    "Jordan",
    "LMUCell",
    "LayerNormGRU",
    "LayerNormLSTM",
    "LeakyRNN",
    "LiGRU",
    "LightNet",
    "LinearAttention",
    "LiquidS4",
    "Longhorn",
    "MLSTMBlock",
    "Mamba",
    "Mamba2",
    "Mega",
    "MinGRU",
    "MinLSTM",
    "MinimalRNN",
    "Mixer",
    "Mixture",
    "MultiplicativeLSTM",
    "NASCell",
    "NgramHead",
    "ParaGRU",
    "ParaLSTM",
    "PeepholeLSTM",
    "PhasedLSTM",
    "ProjectedLSTM",
    "QuasiLSTM",
    "RWKVChannelMixing",
    "Recoding",
    "RecurrentDropout",
    "ResidualEchoState",
    "Retention",
    "Rotation",
    "SLSTMBlock",
    "ShortConvolution",
    "SimpleGLA",
    "SingleHeadAttention",
    "Stacked",
    "StackedBidirectional",
    "TauGRU",
    "TimeDelay",
    "UnICORNN",
    "VariationalDropout",
    "WeightDroppedLSTM",
    "WholeSequence",
    "Zoneout",
    "build",
    "catalogue",
    "heads",
    "nearest",
    "read_head",
]

Spec = str | Mapping[str, Any] | Callable[..., Mixer[Any] | WholeSequence]
"""How a mixer is asked for: a name, `{"name": ..., option: value}`, a class or a callable."""


def catalogue() -> dict[str, type[Mixer[Any]] | type[WholeSequence]]:
    """Return every mixer of this folder, keyed by the name of its file, in order of the names."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        if module.ispkg or module.name == "base":
            continue
        path = f"{__name__}.{module.name}"
        classes = [
            item
            for item in vars(importlib.import_module(path)).values()
            if inspect.isclass(item)
            and issubclass(item, Mixer | WholeSequence)
            and item.__module__ == path
        ]
        if len(classes) != 1:
            raise TypeError(f"{path} should define one mixer, not {len(classes)}")
        found[module.name] = classes[0]
    return dict(sorted(found.items()))


class Head(NamedTuple):
    """What the head of a mixer file says: text on one line each, but for the equations."""

    name: str
    sentence: str
    paper: str
    family: str
    """One of `FAMILIES`."""
    forms: str
    """How it is computed, such as "scan; step"."""
    state: str
    cost: str
    differs: str
    """How it differs from the paper; empty if it does not."""
    equations: str


def heads() -> list[Head]:
    """Return the head of every mixer of this folder, read from its file, in order of the names."""
    return [
        read_head(name, getattr(inspect.getmodule(cls), "__doc__", None) or "")
        for name, cls in catalogue().items()
    ]


FAMILIES = (
    "linear diagonal",
    "matrix state",
    "delta rule",
    "gated cell",
    "attention",
    "oscillator",
    "reservoir",
    "attention",
    "part",
)
"""What a mixer's head may call its family. A part stands beside mixers and mixes little itself."""

_FIELD = re.compile(
    r"^(Family|Forms|State|Cost|Differs|See also)\s+(.*(?:\n\s+\S.*)*)", re.MULTILINE
)


def read_head(name: str, text: str) -> Head:
    """Return the parts of the docstring that opens the file of the mixer `name`.

    Raises:
        ValueError: says which parts are missing.
    """
    fields = {word: " ".join(rest.split()) for word, rest in _FIELD.findall(text)}
    blocks = [block for block in re.split(r"\n\s*\n", text.strip()) if not _FIELD.match(block)]
    prose = [" ".join(block.split()) for block in blocks if not block.startswith(" ")]
    head = Head(
        name,
        sentence=prose[0] if prose else "",
        paper=next((block for block in prose[1:] if re.search(r"\b(19|20)\d\d\b", block)), ""),
        family=fields.get("Family", ""),
        forms=fields.get("Forms", ""),
        state=fields.get("State", ""),
        cost=fields.get("Cost", ""),
        differs=fields.get("Differs", ""),
        equations="\n\n".join(block for block in blocks if block.startswith(" ")),
    )
    missing = [part for part in Head._fields if part != "differs" and not getattr(head, part)]
    if missing:
        raise ValueError(f"the head of the mixer {name} lacks its {', '.join(missing)}")
    if head.family not in FAMILIES:
        known = nearest(head.family, FAMILIES)
        raise ValueError(f"the head of the mixer {name} says family {head.family!r}{known}")
    return head


def build(
    spec: Spec, dim: int, *, mixers: Mapping[str, Callable[..., Any]] | None = None
) -> Mixer[Any] | WholeSequence:
    """Return the mixer that `spec` asks for, reading `dim` features.

    Args:
        spec: a name from the catalogue or from `mixers`, `{"name": ..., option: value}`, or a class
            or callable that takes `dim`.
        dim: features read.
        mixers: further mixers by name, such as your own.

    Raises:
        ValueError: for a name or an option that does not exist; it suggests the nearest.
    """
    if callable(spec):
        return spec(dim)
    options = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = options.pop("name", None)
    known = {**catalogue(), **(mixers or {})}
    if name not in known:
        raise ValueError(f"there is no mixer {name!r}{nearest(str(name), known)}")
    names = [n for n in inspect.signature(known[name]).parameters if n != "dim"]
    for option in options:
        if option not in names:
            raise ValueError(f"the mixer {name!r} has no option {option!r}{nearest(option, names)}")
    return known[name](dim, **options)


def nearest(word: str, known: Any) -> str:
    """Return the end of a sentence about an unknown word: what was meant, or what there is."""
    known = list(known)
    close = difflib.get_close_matches(word, known, 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(map(repr, known))}" if known else "; there are none"
