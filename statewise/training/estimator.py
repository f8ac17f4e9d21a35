"""`fit`, `predict` and `score`, as users of scikit-learn know them, over runs and models."""

import abc
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from statewise.models.labelling import Labelling
from statewise.training.configuration import LabelRun
from statewise.training.labels import GIVEN, Gold, Golds, Trained, Work, examined, load

Model = TypeVar("Model", bound=Labelling[Any])
Run = TypeVar("Run", bound=LabelRun)
This = TypeVar("This", bound="Estimator[Any, Any]")


class Estimator(abc.ABC, Generic[Model, Run]):
    """A model that learns labels from examples.

    The constructor keeps the options; what is learned stands in `model_`, and how the training went
    in `trained_`. `fit` begins anew each time.
    """

    run: type[Run]
    kinds: tuple[type[Model], ...]
    """Of models, which it may learn."""

    model_: Model
    """After `fit` or `load`."""
    trained_: "Trained[Model]"
    """After `fit`."""

    def __init__(self, **options: Any):
        self.options = options
        self._checked()

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the options that were given."""
        return dict(self.options)

    def set_params(self: This, **options: Any) -> This:
        """Change options; return the same estimator."""
        self.options = {**self.options, **options}
        self._checked()
        return self

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{type(self).__name__}({given})"

    def fit(
        self: This,
        inputs: Sequence[Any],
        labels: Sequence[Any],
        *,
        dev: tuple[Sequence[Any], Sequence[Any]] | None = None,
        out: str | Path | None = None,
    ) -> This:
        """Learn from examples; return the same estimator.

        Ctrl-C ends the training; `model_` is then the best one so far.

        Args:
            inputs: sentences or texts.
            labels: as many.
            dev: others, that say which checkpoint is best; a share of the examples if absent.
            out: a folder for the run, as `statewise train` leaves it; if absent, nothing is kept.

        Raises:
            ValueError: for what cannot be learned from; it names the example.
        """
        golds = Golds(
            self._gold("the examples", inputs, labels),
            None if dev is None else self._gold("the held-out examples", *dev),
            None,
        )
        with tempfile.TemporaryDirectory() as folder:
            kept = str(Path(folder) / "run" if out is None else out)
            self.trained_ = self._train(self._checked(out=kept), golds)
        self.model_ = self.trained_.model
        if self.trained_.outcome.signal is not None:
            raise KeyboardInterrupt
        return self

    def predict(self, inputs: Sequence[Any]) -> list[Any]:
        """Return the labels of sentences or texts, as `fit` has them."""
        return self._model().predict(inputs)

    def predict_proba(self, inputs: Sequence[Any]) -> list[Any]:
        """Return the probability of each label, in the order of `labels_`."""
        return self._model().predict_proba(inputs)

    def score(self, inputs: Sequence[Any], labels: Sequence[Any]) -> float:
        """Return how good the labels of examples are, from 0 to 1."""
        work, gold = self._work(self._model()), self._gold("the examples", inputs, labels)
        work.check(gold)
        return work.value(examined(work, self._model(), gold))

    @property
    def labels_(self) -> Any:
        """All labels there are: a tuple, or one by the name of each head."""
        return self._model().labels

    def save(self, folder: str | Path) -> None:
        """Write the model to a folder."""
        self._model().save_pretrained(folder)

    @classmethod
    def load(cls: type[This], folder: str | Path) -> This:
        """Return what was saved to a folder, or the best checkpoint of a run.

        Raises:
            FileNotFoundError: if there is neither.
            ValueError: if a file is damaged, or of another model.
        """
        model = load(folder)
        if not isinstance(model, cls.kinds):
            raise ValueError(f"{folder} holds a {model.kind}, not a {cls.kinds[0].kind}")
        loaded = cls()
        loaded.model_ = model
        return loaded

    def _model(self) -> Model:
        if not hasattr(self, "model_"):
            raise ValueError(f"this {type(self).__name__} has learned nothing yet: fit it, or load")
        return self.model_

    def _checked(self, **changed: Any) -> Run:
        """Return the configuration, or refuse it in one sentence."""
        try:
            data = {"train": GIVEN, **self.options.get("data", {})}
            return self.run(**{**self.options, "data": data, **changed})
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            why = first["msg"].removeprefix("Value error, ")
            raise ValueError(f"{type(self).__name__}: {where}: {why}" if where else why) from None

    @abc.abstractmethod
    def _train(self, config: Run, golds: Golds) -> Trained[Model]:
        """Train as configured."""

    @abc.abstractmethod
    def _work(self, model: Model) -> Work[Model]:
        """Return how a model is scored."""

    @abc.abstractmethod
    def _gold(self, name: str, sentences: Sequence[Any], labels: Sequence[Any]) -> Gold:
        """Return examples, looked through."""
