"""Measurements on any mixer: what it can, what it costs, and what theory says of it."""

from statewise.analysis.capability import Card as Card
from statewise.analysis.capability import as_data as as_data
from statewise.analysis.capability import card as card
from statewise.analysis.capability import describe as describe

__all__ = ["Card", "as_data", "card", "describe"]
