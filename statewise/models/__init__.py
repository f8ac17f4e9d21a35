"""Networks for a purpose, written once against the mixer interface."""

from statewise.models.language_model import LanguageModel as LanguageModel
from statewise.models.language_model import LanguageModelConfig as LanguageModelConfig
from statewise.models.stack import Block as Block
from statewise.models.stack import SideBySide as SideBySide
from statewise.models.stack import Stack as Stack

__all__ = ["Block", "LanguageModel", "LanguageModelConfig", "SideBySide", "Stack"]
