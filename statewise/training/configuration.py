"""What a run is made of: strict, so that a typo is an error, and written beside the run as YAML."""

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from statewise.models.dropout import Dropout
from statewise.models.pooling import ConditionName, Layers, Poolings
from statewise.models.reading import ReadingConfig
from statewise.models.sentence_encoder import EncoderConfig
from statewise.models.sequence_labelling import Output
from statewise.models.speller import WritingConfig
from statewise.models.tagger import Ahead

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
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
        shuffle: whether several documents to train on change places first, by the seed.
        tokenizer: a tokenizer.json; bytes are the tokens if absent.
    """

    path: str
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    encoding: str = "utf-8"
    separator: str | None = None
    field: str = "text"
    shuffle: bool = True
    tokenizer: str | None = None


class Shape(Strict):
    """The size of the model, where it should differ from the preset.

    Args:
        dim: features of the residual stream.
        depth: blocks.
        convolution: taps of the short convolution before each mixer; 0 for none.
        expansion: hidden features of the feed-forward branch per feature; 0 for none.
        tie: whether the embedding is also the output layer.
        dropout: what is absent while training.
    """

    dim: Count | None = None
    depth: Count | None = None
    convolution: Annotated[int, Field(ge=0)] | None = None
    expansion: NotNegative | None = None
    tie: bool | None = None
    dropout: Dropout = Dropout()


class Optimizer(Strict):
    """Steps that are clipped, warmed up, then lowered along a schedule.

    Args:
        method: "adamw", or "sgd" without momentum.
        learning_rate: at its highest.
        schedule: "cosine" falls from it to `final` over the whole run, or over each of `cycles`
            (Loshchilov and Hutter, 2017, arXiv:1608.03983, section 3); "constant" stays; "infinite"
            stays until the last `cooldown` of the run and then falls to `final` as one minus a
            root, so that a longer run may go on from any checkpoint before (Haegele et al., 2024,
            arXiv:2405.18392, section 3).
        final: the share of the learning rate that is left at the end.
        cooldown: the share of the run in which an infinite schedule falls.
        cycles: how many times a cosine begins again at its highest, all of one length.
        warm_up: steps until the rate is reached.
        weight_decay: on matrices; never on biases, gains, embeddings.
        betas: of AdamW's moments.
        clip: the largest norm of the gradient.
        gradient_noise: the variance of normal noise that is added to every gradient, once clipped,
            of the first step; it falls as (1 + step) ** -0.55 (Neelakantan et al., 2015,
            arXiv:1511.06807, section 2.1, who take 0.01 to 1).
        average_after: readings of held-out data: once one is worse than the best of all but so
            many before it, what is read and saved is the mean of the weights since (NT-ASGD of
            Merity, Keskar and Socher, 2017, arXiv:1708.02182, section 3); null for never.
        not_finite: what a gradient that is not finite does: "stop" the run, or "skip" the step.
    """

    method: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Positive = 8e-3
    schedule: Literal["cosine", "constant", "infinite"] = "cosine"
    final: Share = 0.02
    cooldown: Annotated[float, Field(gt=0, le=1)] = 0.2
    cycles: Count = 1
    warm_up: Annotated[int, Field(ge=0)] = 50
    weight_decay: NotNegative = 0.1
    betas: tuple[float, float] = (0.9, 0.98)
    clip: Positive = 1.0
    gradient_noise: NotNegative = 0.0
    average_after: Annotated[int, Field(ge=0)] | None = None
    not_finite: Literal["stop", "skip"] = "stop"

    @model_validator(mode="after")
    def _consistent(self) -> "Optimizer":
        if self.cycles > 1 and self.schedule != "cosine":
            raise ValueError(
                f"cycles is {self.cycles}, but a schedule that is {self.schedule} has none"
            )
        return self


class Penalties(Strict):
    """What a step lowers beside its loss; all are none where they are 0.

    Args:
        loudness: times the mean square of what the last mixer with a memory answers: activation
            regularization, AR (Merity, McCann and Socher, 2017, arXiv:1708.01009, section 2).
        drift: times the mean square of what that moves by from one time to the next: temporal
            activation regularization, TAR.
    """

    loudness: NotNegative = 0.0
    drift: NotNegative = 0.0


class Distillation(Strict):
    """Another model to learn from beside the text (Hinton et al., 2015, arXiv:1503.02531).

    Args:
        teacher: a run, or the folder of a model, of the same vocabulary; nobody if absent.
        weight: of what it says, from 0 to 1; the text has the rest.
        temperature: what logits are divided by before they are compared.
    """

    teacher: str | None = None
    weight: Share = 0.5
    temperature: Positive = 2.0


class Sparsity(Strict):
    """Weights that are set to zero and stay so (Han et al., 2015, arXiv:1506.02626).

    Args:
        share: of each matrix that goes; none where it is 0.
        step: before which it goes; what is left is trained on.
        method: which stay: those of the largest "magnitude", "random" ones, a "small_world" or
            "scale_free" graph.
        only: a pattern of the names of matrices, as of files; embeddings always stay.
    """

    share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    step: Annotated[int, Field(ge=0)] = 0
    method: Literal["magnitude", "random", "small_world", "scale_free"] = "magnitude"
    only: str = "*"


class Constraint(Strict):
    """A limit to norms of matrices, held by multipliers (Chen and Deng, 2014, arXiv:1311.6091).

    Args:
        only: a pattern of the names of matrices, as of files; none if absent.
        limit: of the largest sum of magnitudes over a row.
        rate: by which multipliers follow what is above the limit.
    """

    only: str | None = None
    limit: Positive = 1.0
    rate: Positive = 0.01


class Often(Strict):
    """How often something is done while training: by the clock, by steps, or both.

    Args:
        seconds: between two times; null for never by the clock.
        steps: between two times.
    """

    seconds: Positive | None = None
    steps: Count | None = None


class Readings(Often):
    """How often held-out data is read while training.

    Args:
        seconds: between two readings; null for never by the clock.
        steps: between two readings.
        patience: stop after so many readings without a better one; null for never.
    """

    patience: Count | None = None


class Evaluation(Readings):
    """How often the held-out text is read while training.

    Args:
        seconds: between two readings; null for never by the clock.
        steps: between two readings.
        tokens: of the held-out text, from its beginning, while training; at the end all of it.
        patience: stop after so many readings without a better one; null for never.
    """

    seconds: Positive | None = 60.0
    tokens: Count = 32768


class Checkpoints(Often):
    """How often all that the run needs to go on is saved, beside every reading of held-out data.

    Args:
        seconds: between two checkpoints; null for never by the clock.
        steps: between two checkpoints.
    """

    seconds: Positive | None = 300.0


class Spread(NamedTuple):
    """How a model is laid over processes, and what is kept of a step."""

    sharded: bool = False
    """Whether processes share the weights among them, rather than have a copy each."""
    recompute: bool = False
    compile: bool = False


class Running(Strict):
    """How a model is trained, whatever it is.

    Args:
        max_seconds: stop after so long, evaluation included.
        max_steps: stop after so many steps.
        equal_compute: stop after the tokens that this model reads in so many seconds of training
            here, by its throughput over the first steps: what is compared with it by the same
            number had the same compute, however long either run was disturbed (Stanic et al., 2023,
            arXiv:2309.11197, section 3).
        optimizer: how the weights move.
        sparsity: weights that are zero.
        constraint: norms that have a limit.
        evaluation: how often held-out data is read.
        checkpoints: how often the run is saved.
        precision: of the arithmetic; weights, states and the optimizer stay in float32.
        device: "auto" takes the accelerator there is, "cpu" does not.
        trackers: that receive the measurements too, by the names Accelerate gives them.
        log_steps: steps between two lines of metrics.jsonl.
        seed: of the initial weights.
        out: the folder of the run.
        overwrite: replace the run that is in it.
        resume: go on with the run that is in it, bit by bit; begin where there is none.
        quiet: show no bar and print nothing; the run folder says it all.
    """

    max_seconds: Positive | None = None
    max_steps: Count | None = None
    equal_compute: Positive | None = None
    optimizer: Optimizer = Optimizer()
    sparsity: Sparsity = Sparsity()
    constraint: Constraint = Constraint()
    evaluation: Readings = Readings()
    checkpoints: Checkpoints = Checkpoints()
    precision: Literal["float32", "bfloat16"] = "float32"
    device: Literal["auto", "cpu"] = "auto"
    trackers: list[str] = []
    log_steps: Count = 10
    seed: Annotated[int, Field(ge=0)] = 0
    out: str = "runs/run"
    overwrite: bool = False
    resume: bool = False
    quiet: bool = False

    # What a kind of run has more of, it declares anew; nobody puts another kind into a field.

    @model_validator(mode="after")
    def _one_way(self) -> "Running":
        if self.optimizer.average_after is not None and self.evaluation.seconds is not None:
            raise ValueError(
                "average_after counts readings, which a clock would not repeat: set "
                "evaluation.steps, and evaluation.seconds to null"
            )
        if self.overwrite and self.resume:
            raise ValueError("overwrite begins anew and resume goes on: choose one of them")
        return self

    @property
    def spread(self) -> Spread:
        """How the model is laid over processes."""
        return Spread()

    @property
    def ends(self) -> dict[str, float | None]:
        """When the run ends, by what counts towards it: seconds, steps or tokens."""
        return {"seconds": self.max_seconds, "step": self.max_steps}


class LanguageRun(Running):
    """A language model and how it is trained.

    Args:
        data: where the text comes from.
        mixer: a name, {name: ..., option: value}, or a list of these, repeated over the depth.
        preset: the size of the model: tiny, small, medium or base.
        model: where the size should differ from the preset.
        streams: parallel streams of text, over all processes: the rows of a step.
        context: tokens a stream reads at each step; the state goes on further.
        context_deviation: of the tokens of a step, drawn anew for each about `context`; the rate
            of learning follows (Merity, Keskar and Socher, 2017, arXiv:1708.02182, section 4.1).
        context_halved: the share of steps that are drawn about half of `context`.
        truncation: tokens that gradients reach back, at most `context`, which is the default.
        truncation_chance: with which they are cut after so many tokens; where they are not, they
            pass the louder, so that they are right in the mean (Tallec and Ollivier, 2017,
            arXiv:1705.08209, section 3).
        accumulate: parts into which a process divides its streams, one after another, to hold less
            at once; each part keeps its own states.
        max_tokens: stop after so many tokens.
        penalties: what is lowered beside the loss.
        distillation: a model to learn from beside the text.
        evaluation: how often the held-out text is read.
        recompute: compute the inside of each block again in the backward pass rather than keep it.
        compile: hand the model to torch.compile first.
        distribution: between processes: "ddp" copies the model, "fsdp" shards it.
    """

    data: Data
    mixer: str | dict[str, Any] | list[str | dict[str, Any]] = "min_gru"
    preset: str = "small"
    model: Shape = Shape()
    streams: Count = 8
    context: Count = 256
    context_deviation: NotNegative = 0.0
    context_halved: Share = 0.0
    truncation: Count | None = None
    truncation_chance: Annotated[float, Field(gt=0, le=1)] = 1.0
    accumulate: Count = 1
    max_tokens: Count | None = None
    penalties: Penalties = Penalties()
    distillation: Distillation = Distillation()
    evaluation: Evaluation = Evaluation()  # pyright: ignore[reportIncompatibleVariableOverride]
    recompute: bool = False
    compile: bool = False
    distribution: Literal["ddp", "fsdp"] = "ddp"
    out: str = "runs/lm"

    @model_validator(mode="after")
    def _consistent(self) -> "LanguageRun":
        if all(end is None for end in (*self.ends.values(), self.equal_compute)):
            raise ValueError("set max_seconds, max_steps or max_tokens: the run has no end")
        if self.truncation is not None and self.truncation > self.context:
            raise ValueError(
                f"truncation is {self.truncation}, more than the {self.context} tokens of context "
                "that a stream reads at each step"
            )
        if self.truncation_chance < 1 and self.truncation is None:
            raise ValueError(
                f"truncation_chance is {self.truncation_chance}, but without truncation a step is "
                "cut nowhere: set truncation"
            )
        if self.truncation_chance < 1 and self.distribution == "fsdp":
            raise ValueError("truncation_chance keeps several pieces for one backward: use ddp")
        if self.streams % self.accumulate:
            raise ValueError(
                f"{self.streams} streams cannot be divided into {self.accumulate} equal parts: "
                "change streams or accumulate"
            )
        whole = {
            "gradient_noise": self.optimizer.gradient_noise,
            "sparsity": self.sparsity.share,
            "constraint": self.constraint.only,
        }
        for name, used in whole.items():
            if used and self.distribution == "fsdp":
                raise ValueError(f"{name} needs whole matrices, which fsdp shards: use ddp")
        if self.compile and (self.penalties.loudness or self.penalties.drift):
            raise ValueError("penalties listen to a mixer that compile takes apart: choose one")
        if self.optimizer.average_after is not None and self.evaluation.steps is None:
            raise ValueError("average_after counts readings: set evaluation.steps")
        return self

    @property
    def spread(self) -> Spread:
        """How the model is laid over processes."""
        return Spread(self.distribution == "fsdp", self.recompute, self.compile)

    @property
    def ends(self) -> dict[str, float | None]:
        """When the run ends: by tokens too."""
        return {**super().ends, "tokens": self.max_tokens}


class Labelled(Strict):
    """Where the examples come from.

    Args:
        train: the file to learn from.
        dev: the file that says which checkpoint is best; a part of `train` if absent.
        test: a file that is scored once, at the end.
        held_out: the share of `train` that is kept for evaluation where there is no `dev`.
        encoding: how the characters are written.
    """

    train: str
    dev: str | None = None
    test: str | None = None
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    encoding: str = "utf-8"


Column = Annotated[str, BeforeValidator(str)]
"""A column's name, or its number; a number in a list is one before anybody can read it as text."""


class Tagged(Labelled):
    """Where tagged sentences come from: CoNLL-U, JSON lines, or columns, by how the name ends.

    Args:
        column: of the tags: a name in CoNLL-U ("upos" if absent) and in JSON lines ("tags"), a
            number in columns ("-1", the last); of several, which are learned together, a list.
            "boundaries" cuts the words into characters, which are tagged with where words begin and
            end.
        label: the key in JSON lines of a class of the whole sentence, learned beside the tags.
        spelled: columns that are written letter by letter, by a head each, as lemma is.
        words: the column of the words, where it is not the usual one: "form", "words" or "1".
        features: columns that are read beside the words, such as upos, feats or feats.Number; each
            has vectors of its own. What is labelled later needs them too.
        scheme: in which spans are written: "auto" finds out; "none" says that tags are no spans.
        unknown: what stands for a tag that is not known, such as "_": any may be meant there.
    """

    column: list[Column] | Column | None = None
    label: str | None = None
    spelled: list[Column] = []
    words: str | None = None
    features: list[Column] = []
    scheme: Literal["auto", "none", "BIO", "IO", "IOB1", "BIOES", "BMES", "BILOU"] = "auto"
    unknown: str | None = None

    @model_validator(mode="after")
    def _heads(self) -> "Tagged":
        columns = self.column if isinstance(self.column, list) else [self.column]
        heads = [*columns, *self.spelled, *([] if self.label is None else [self.label])]
        if not columns or len(set(heads)) != len(heads):
            raise ValueError(
                "column, spelled and label should name different columns, one at least"
            )
        both = [*self.features, *(name for name in heads if name is not None)]
        if len(set(both)) != len(both):
            raise ValueError("features should be different columns, and none that is learned")
        return self


class Classified(Labelled):
    """Where texts and their classes come from: JSON lines, TSV or CSV, by how the name ends.

    Args:
        text: the key or the column of the texts; of a table without names, a number from 1.
        label: that of the classes.
        conversation: that of the conversation that a text stands in, if in any; its texts are then
            classified in the light of each other.
        patterns: a file of patterns, each with a tab and a label after it, by which the texts of
            `train` are labelled, in place of a column; what they match is taken away.
    """

    text: str | int = "text"
    label: str | int = "label"
    conversation: str | int | None = None
    patterns: str | None = None

    @model_validator(mode="after")
    def _one_by_one(self) -> "Classified":
        if self.patterns is not None and self.conversation is not None:
            raise ValueError("patterns label texts one by one: no conversation beside them")
        return self


class LabelOptimizer(Optimizer):
    """What moves the weights of a model that labels: faster, and with less decay.

    Args:
        warm_up: steps until the rate is reached; a tenth of the run at most.
    """

    learning_rate: Positive = 3e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    clip: Positive = 5.0
    warm_up: Annotated[int, Field(ge=0)] = 100


class LabelRun(Running):
    """A model that labels, and how it is trained.

    Args:
        model: how sentences are read.
        vectors: a text file of word vectors, as word2vec and fastText write them, that words begin
            with; `model.words.dim` is then theirs.
        start: a run, or the folder of a tagger or a classifier, whose encoder and vocabulary this
            one begins with; options of `model` that are left out are then its own.
        keep_head: whether it begins with the head there too, which has to have the same labels.
        batch: sentences of a step; of texts in conversations, conversations.
        max_epochs: stop after every sentence was read so often.
        evaluation: how often held-out data is read; after each epoch if neither is given.
        optimizer: how the weights move.
    """

    data: Labelled
    model: EncoderConfig = EncoderConfig()
    vectors: str | None = None
    start: str | None = None
    keep_head: bool = False
    batch: Count = 32
    max_epochs: Count = 10
    optimizer: LabelOptimizer = LabelOptimizer()  # pyright: ignore[reportIncompatibleVariableOverride]

    @model_validator(mode="after")
    def _begins(self) -> "LabelRun":
        if self.start is not None and self.vectors is not None:
            raise ValueError("start brings the vectors that words begin with: no vectors beside it")
        if self.start is None and self.keep_head:
            raise ValueError("keep_head is about the head of a model to begin with: set start")
        return self


class TaggerRun(LabelRun):
    """A tagger and how it is trained.

    Args:
        data: where tagged sentences come from.
        output: "crf" scores tags and their order together; "softmax" each tag alone; "transitions"
            finds spans by a stack; of several columns, a list may say it of each.
        look_ahead: words after one that are read before it is tagged, where `model.both_ways` is
            false.
        writing: how what `data.spelled` names is written.
    """

    data: Tagged  # pyright: ignore[reportIncompatibleVariableOverride]
    output: Output | list[Output] = "crf"
    look_ahead: Ahead = 0
    writing: WritingConfig = WritingConfig()
    out: str = "runs/tagger"


class ClassifierRun(LabelRun):
    """A classifier and how it is trained.

    Args:
        data: where texts and their classes come from.
        pooling: what makes one vector of a text, one or several: "attention", "mean", "max",
            "last".
        attention_layers: of the network by which attention scores each word; null for 1, and for 0
            where a gate or an affine map by a lexicon goes before it.
        lexicon: a text file of words, each with a tab and numbers after it, by which attention
            scores them; they are kept with the model.
        condition: how the numbers reach that score: "gate" if absent, "concatenation" or "affine".
        conversation: how the texts of a conversation are read, one after another, where they stand
            in some.
        output: of such texts: "crf" scores their classes and the order of these together, "softmax"
            each by itself.
    """

    data: Classified  # pyright: ignore[reportIncompatibleVariableOverride]
    pooling: Poolings = ["attention", "max"]
    attention_layers: Layers | None = None
    lexicon: str | None = None
    condition: ConditionName | None = None
    conversation: ReadingConfig = ReadingConfig()
    output: Output = "crf"
    out: str = "runs/classifier"

    @model_validator(mode="after")
    def _conditioned(self) -> "ClassifierRun":
        if self.condition is not None and self.lexicon is None:
            raise ValueError("condition is how a lexicon reaches attention: set lexicon")
        return self


FREE_TO_CHANGE = frozenset(
    {
        *("max_seconds", "max_steps", "max_tokens", "max_epochs", "evaluation", "checkpoints"),
        *("trackers", "log_steps", "out", "overwrite", "resume", "quiet"),
        *("data.path", "data.train", "data.dev", "data.test", "start"),
    }
)
"""What a run that goes on may have otherwise than when it began. A text may have moved; that it is
the same text is seen to elsewhere."""
