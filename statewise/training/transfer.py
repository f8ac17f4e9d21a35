"""Beginning with what another model has learned: its encoder, under a head that is new.

    encoder       as the other has it, layer by layer
    words         the other's, and those of the new data that stand there often enough; a word, a
                  character or a feature that is new to it has at first the vector that the other
                  has for all unknown ones

so that before its first step the new model reads every sentence as the other does. Howard and
Ruder, "Universal Language Model Fine-tuning for Text Classification", 2018, arXiv:1801.06146,
without their schedules; Baziotis et al., "NTUA-SLP at SemEval-2018 Task 1", 2018, arXiv:1804.06658.
"""

import zlib
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from statewise.mixers.parts.draws import Draws
from statewise.models import pretrained
from statewise.models.labelling import Labelling
from statewise.models.sentence_encoder import EncoderConfig
from statewise.models.spelling import UNKNOWN, Vocabulary

FREE = ("dropout", "words.drop")
"""What may be otherwise than in the model that one begins with."""

ENCODER = "encoder."
"""How the names of an encoder's tensors begin."""


class Start(NamedTuple):
    """A model to begin with."""

    folder: str
    """Of the model or its run, for complaints."""
    model: Labelling[Any]
    files: Path
    """Where its weights are."""

    @property
    def weights(self) -> int:
        """A number that tells its weights from others, CRC-32."""
        return zlib.crc32((self.files / pretrained.WEIGHTS).read_bytes())

    def encoder(self, asked: EncoderConfig) -> EncoderConfig:
        """Return how sentences are read: as the model does.

        Args:
            asked: what is asked for; options that are left at their defaults are the model's.

        Raises:
            ValueError: names an option that the model has otherwise, dropout excepted.
        """
        whole, default = (
            each.model_dump() for each in (self.model.config.encoder, EncoderConfig())
        )

        def merge(
            mine: dict[str, Any], its: dict[str, Any], usual: dict[str, Any], at: str
        ) -> None:
            for name, value in mine.items():
                if name == "words":
                    merge(value, its[name], usual[name], "words.")
                elif value != usual[name] and at + name in FREE:
                    its[name] = value
                elif value not in (usual[name], its[name]):
                    raise ValueError(
                        f"--model.{at}{name} {value}: the encoder to begin with, of {self.folder}, "
                        f"has {its[name]}"
                    )

        merge(asked.model_dump(), whole, default, "")
        return EncoderConfig.model_validate(whole)

    def vocabulary(self, own: Vocabulary, name: str) -> Vocabulary:
        """Return the model's vocabulary, and after it what that of new data has besides.

        Args:
            own: that of the new data.
            name: of the data, for complaints.

        Raises:
            ValueError: if the words have other features.
        """
        try:
            return self.model.vocabulary.grown(own)
        except ValueError as error:
            raise ValueError(f"{name}: {error}, as in {self.folder}") from None

    def give(self, model: Labelling[Any], *, head: bool) -> None:
        """Give another its encoder.

        Args:
            model: changed in place; of the `encoder` and the `vocabulary` that are answered here.
            head: whether it gets the head too.

        Raises:
            ValueError: if their heads have different labels, or are made otherwise.
        """
        theirs, mine = (pretrained.tensors_of(each.encoder) for each in (self.model, model))
        # What dropout draws next is told by the seed of this run, and not by the end of that one.
        parts = model.encoder.named_modules()
        drawn = {f"{name}.seed" for name, part in parts if isinstance(part, Draws)}
        with torch.no_grad():
            for name in mine.keys() - drawn:
                tensor, known = mine[name], theirs[name]
                if tensor.shape == known.shape:
                    tensor.copy_(known)
                    continue
                # A table, in which the vectors of what is new stand below those of what was known.
                tensor[: len(known)] = known
                tensor[len(known) :] = known[UNKNOWN]
            if head:
                self._give_head(model)

    def _give_head(self, model: Labelling[Any]) -> None:
        mine, its = (_head(each) for each in (model, self.model))
        alike = {name: x.shape for name, x in mine.items()} == {n: x.shape for n, x in its.items()}
        if type(model) is not type(self.model) or model.labels != self.model.labels or not alike:
            raise ValueError(
                f"{self.folder}: its head has other labels, or is made otherwise; leave keep_head "
                "away"
            )
        for name, tensor in mine.items():
            tensor.copy_(its[name])


def _head(model: nn.Module) -> dict[str, Tensor]:
    found = pretrained.tensors_of(model)
    return {name: tensor for name, tensor in found.items() if not name.startswith(ENCODER)}
