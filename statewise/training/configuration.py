"""What a run is made of: strict, so that a typo is an error, and written beside the run as YAML."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Strict(BaseModel):
    """A configuration that knows all its fields."""

    model_config = ConfigDict(extra="forbid", validate_default=True)


class Data(Strict):
    """Where the text comes from.

    Args:
        path: a text file, or a .jsonl of one document a line, gzip or not, or a folder of such.
        held_out: the share at its end that is kept for evaluation, between 0 and 1; of several
            documents, whole ones.
        encoding: how its characters are written.
        separator: what stands between two documents of a text file; it is one if absent.
        field: the key of the text in a line of a .jsonl file.
        tokenizer: a tokenizer.json; bytes are the tokens if absent.
    """

    path: str
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    encoding: str = "utf-8"
    separator: str | None = None
    field: str = "text"
    tokenizer: str | None = None


class Shape(Strict):
    """The size of the model, where it should differ from the preset.

    Args:
        dim: features of the residual stream.
        depth: blocks.
        convolution: taps of the short convolution before each mixer; 0 for none.
        expansion: hidden features of the feed-forward branch per feature; 0 for none.
        tie: whether the embedding is also the output layer.
    """

    dim: Count | None = None
    depth: Count | None = None
    convolution: Annotated[int, Field(ge=0)] | None = None
    expansion: Annotated[float, Field(ge=0)] | None = None
    tie: bool | None = None


class Optimizer(Strict):
    """AdamW, clipped, warmed up, then lowered along a cosine.

    Args:
        learning_rate: at its highest.
        final: the share of it that is left at the end.
        warm_up: steps until it is reached.
        weight_decay: on matrices; never on biases, gains, embeddings.
        betas: of AdamW.
        clip: the largest norm of the gradient.
    """

    learning_rate: Positive = 8e-3
    final: Annotated[float, Field(ge=0, le=1)] = 0.02
    warm_up: Annotated[int, Field(ge=0)] = 50
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    betas: tuple[float, float] = (0.9, 0.98)
    clip: Positive = 1.0


class Evaluation(Strict):
    """How often the held-out text is read while training.

    Args:
        seconds: between two readings.
        tokens: of the held-out text, from its beginning, while training; at the end all of it.
    """

    seconds: Positive = 60.0
    tokens: Count = 32768


class LanguageRun(Strict):
    """A language model and how it is trained.

    Args:
        data: where the text comes from.
        mixer: a name, {name: ..., option: value}, or a list of these, repeated over the depth.
        preset: the size of the model: tiny, small, medium or base.
        model: where the size should differ from the preset.
        streams: parallel streams of text, the rows of a batch.
        context: tokens a stream reads at each step; gradients reach back that far, the state
            further.
        max_seconds: stop after so long, evaluation included.
        max_steps: stop after so many steps.
        optimizer: how the weights move.
        evaluation: how often the held-out text is read.
        seed: of the initial weights.
        out: the folder of the run.
        overwrite: replace the run that is in it.
        quiet: show no bar and say nothing but the result.
    """

    data: Data
    mixer: str | dict[str, Any] | list[str | dict[str, Any]] = "min_gru"
    preset: str = "small"
    model: Shape = Shape()
    streams: Count = 8
    context: Count = 256
    max_seconds: Positive | None = None
    max_steps: Count | None = None
    optimizer: Optimizer = Optimizer()
    evaluation: Evaluation = Evaluation()
    seed: Annotated[int, Field(ge=0)] = 0
    out: str = "runs/lm"
    overwrite: bool = False
    quiet: bool = False

    @model_validator(mode="after")
    def _ends(self) -> "LanguageRun":
        if self.max_seconds is None and self.max_steps is None:
            raise ValueError("set max_seconds or max_steps: the run has no end")
        return self
