"""Networks for a purpose, written once against the mixer interface."""

from statewise.models.crf import CRF as CRF
from statewise.models.crf import Paths as Paths
from statewise.models.generation import BatchGeneration as BatchGeneration
from statewise.models.generation import Generation as Generation
from statewise.models.generation import GenerationState as GenerationState
from statewise.models.language_model import LanguageModel as LanguageModel
from statewise.models.language_model import LanguageModelConfig as LanguageModelConfig
from statewise.models.neural_cache import NeuralCache as NeuralCache
from statewise.models.prefix_cache import PrefixCache as PrefixCache
from statewise.models.quantized import Quantized as Quantized
from statewise.models.quantized import quantize as quantize
from statewise.models.stack import Block as Block
from statewise.models.stack import SideBySide as SideBySide
from statewise.models.stack import Stack as Stack
from statewise.models.tokenizers import ByteTokenizer as ByteTokenizer
from statewise.models.tokenizers import FileTokenizer as FileTokenizer

__all__ = [
    "CRF",
    "BatchGeneration",
    "Block",
    "ByteTokenizer",
    "FileTokenizer",
    "Generation",
    "GenerationState",
    "LanguageModel",
    "LanguageModelConfig",
    "NeuralCache",
    "Paths",
    "PrefixCache",
    "Quantized",
    "SideBySide",
    "Stack",
    "quantize",
]
