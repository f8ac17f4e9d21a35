"""Training of several heads at once: what each does, done for all."""

from collections.abc import Mapping
from statistics import mean
from typing import Any, NamedTuple

from torch import Tensor

from statewise.models.classifier import ClassifyingModel
from statewise.models.joint_tagger import Head, JointConfig, JointTaggingModel
from statewise.models.sentence_encoder import EncoderConfig
from statewise.models.speller import SpellingModel
from statewise.models.spelling import Vocabulary
from statewise.tasks.scores import ClassReport
from statewise.tasks.tagging import SpanReport
from statewise.training.classifier import ClassWork
from statewise.training.labels import Gold, Work
from statewise.training.spell_work import SpellWork
from statewise.training.tag_work import TagWork

HeadWork = TagWork | ClassWork | SpellWork


class JointReport(NamedTuple):
    """What was counted of every head; printed, the scores in a line."""

    heads: Mapping[str, SpanReport | ClassReport]
    values: Mapping[str, float]
    """The score of each, from 0 to 1."""

    def __str__(self) -> str:
        return ", ".join(f"{name} {100 * value:.2f}" for name, value in self.values.items())


class JointWork(Work[JointTaggingModel]):
    """What is peculiar to the training of several heads.

    Args:
        works: what is peculiar to each, by its name.
    """

    what, target = "tagger", "label"

    def __init__(self, works: Mapping[str, HeadWork]):
        self.works = dict(works)

    @classmethod
    def of(cls, model: JointTaggingModel) -> "JointWork":
        """Return that of a model that is trained."""
        return cls({name: _work(head) for name, head in model.heads.items()})

    @property
    def score(self) -> str:
        """The mean of the scores of the heads."""
        return "score"

    @property
    def labels(self) -> list[str]:
        """All labels that were learned of, those of each head by its name."""
        return [f"{name}={label}" for name, work in self.works.items() for label in work.labels]

    def parts(self, gold: Gold) -> dict[str, Gold]:
        """Return the same sentences with the labels of each head.

        Raises:
            ValueError: names the sentence that has labels of other heads.
        """
        for at, labels in enumerate(gold.labels):
            if set(labels) != set(self.works):
                raise ValueError(
                    f"{gold.place(at, 0)}: labels of {', '.join(map(str, labels))}, where there "
                    f"should be those of {', '.join(self.works)}"
                )
        return {
            name: gold._replace(
                name=f"{gold.name} ({name})", labels=[labels[name] for labels in gold.labels]
            )
            for name in self.works
        }

    def learn(self, gold: Gold) -> Gold:
        """Let every head look at its labels."""
        parts = self.parts(gold)
        learned = {name: work.learn(parts[name]) for name, work in self.works.items()}
        labels = [
            dict(zip(learned, row, strict=True))
            for row in zip(*(part.labels for part in learned.values()), strict=True)
        ]
        notes = tuple(note for part in learned.values() for note in part.notes)
        return gold._replace(labels=labels, notes=notes)

    def check(self, gold: Gold) -> tuple[str, ...]:
        """Return what is odd about labels to score with."""
        parts = self.parts(gold)
        return tuple(note for name, work in self.works.items() for note in work.check(parts[name]))

    def build(self, encoder: EncoderConfig, vocabulary: Vocabulary) -> JointTaggingModel:
        """Return a fresh model."""
        heads = {name: {"kind": work.what, **work.fields()} for name, work in self.works.items()}
        rules = {
            name: work.rules() for name, work in self.works.items() if isinstance(work, TagWork)
        }
        config = JointConfig.model_validate({"encoder": encoder, "heads": heads})
        return JointTaggingModel(config, vocabulary, legal=rules)

    def targets(self, labels: list[Any]) -> list[tuple[Any, ...]]:
        """Return the labels of each sentence as numbers, for each head as its own."""
        each = (work.targets([all[name] for all in labels]) for name, work in self.works.items())
        return list(zip(*each, strict=True))

    def batch(self, targets: list[tuple[Any, ...]]) -> tuple[tuple[Tensor, ...], int]:
        """Return the numbers of several sentences for each head, and how many they are."""
        rows = zip(*targets, strict=True)
        batches = [
            work.batch(list(row)) for work, row in zip(self.works.values(), rows, strict=True)
        ]
        return tuple(batch for batch, _ in batches), sum(count for _, count in batches)

    def report(self, gold: Gold, found: list[Any]) -> JointReport:
        """Return how well each head labels."""
        parts = self.parts(gold)
        heads = {
            name: work.report(parts[name], [all[name] for all in found])
            for name, work in self.works.items()
        }
        values = {name: work.value(heads[name]) for name, work in self.works.items()}
        return JointReport(heads, values)

    def value(self, report: JointReport) -> float:
        """Return the mean of the scores of the heads."""
        return mean(report.values.values())

    def scores(self, report: JointReport) -> dict[str, tuple[Any, float]]:
        """Return the report and the score of each head and of all, by what they are called."""
        each = {
            f"{name}_{work.score}": (report.heads[name], report.values[name])
            for name, work in self.works.items()
        }
        return {**each, **super().scores(report)}


def _work(head: Head) -> HeadWork:
    """Return what is peculiar to one head."""
    if isinstance(head, ClassifyingModel):
        return ClassWork.of(head)
    return SpellWork.of(head) if isinstance(head, SpellingModel) else TagWork.of(head)
