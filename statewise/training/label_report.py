"""What a model that labels got right on a file and what wrong, as one page for a reader."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from statewise.models.classifier import ClassifyingModel
from statewise.models.conversation import ConversationModel
from statewise.models.speller import SpellingModel
from statewise.models.spelling import surface
from statewise.models.tagger import TaggingModel
from statewise.tasks.calibration import Calibration
from statewise.tasks.scores import MATRIX, ClassReport, Score, frequent_errors
from statewise.training.labelled import UNITS, Evaluated, Said
from statewise.training.page import Markup, document, facts, figure, replace, table, tag

SHOWN = 20
"""Mistakes that are shown."""

AROUND = 12
"""Words before and after a mistake in a sentence."""

SEQUENCES = {
    TaggingModel.kind: "sentences",
    SpellingModel.kind: "sentences",
    ConversationModel.kind: "conversations",
}
"""What a model labels the items of."""

BLUE, ORANGE = "31, 95, 168", "194, 65, 12"
"""As CSS has them: of what is right, and of what is wrong or looked at."""


def write_label_report(found: Sequence[Evaluated], path: str | Path) -> Path:
    """Write the page; return where it is.

    Args:
        found: how well a model does: of several heads, how well each does, one at least.
        path: of the page.

    Raises:
        FileNotFoundError: if there is no folder for it.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}")
    replace(path, page(found).encode("utf-8", "replace"))
    return path


def page(found: Sequence[Evaluated]) -> str:
    """Return the page."""
    first = found[0]
    kind = "tagger" if first.head else first.model.kind.replace("_", " ")
    title = f"{kind} on {Path(first.path).name}"
    return document(title, *(part for each in found for part in _parts(each)))


def _parts(found: Evaluated) -> Iterator[Markup]:
    """Yield what is said of one head."""
    what, name = found.model.kind, Path(found.path).name
    unit = UNITS[what]
    mistakes = sorted((x for x in found.said if not x.right), key=lambda x: -x.confidence)
    wrong = len(mistakes)
    said = what.replace("_", " ") if found.head is None else f"head {found.head}"
    yield from (
        tag("h1", f"How the {said} labels {name}"),
        tag(
            "p",
            f"{_score(found)} of {100 * found.value:.2f} over {len(found.gold.sentences):,} "
            f"{SEQUENCES.get(what, unit)}; the labels of {wrong:,} of "
            f"{len(found.said):,} {unit} are wrong.",
        ),
        *(tag("p.quiet", note) for note in found.notes),
        tag("h2", "Every label"),
        _labels(found),
        tag("h2", "What was taken for what"),
        *_confusions(found.confusion),
        tag("h2", "How sure it is"),
        facts(_sure(found.calibration, unit)),
        figure(
            "Confidence and truth",
            _reliability(found.calibration),
            f"Each bar stands for the {unit} that were labelled with about the same confidence, "
            "and is as high as the share that is right; the wider, the more there are. On the "
            "line, confidence is deserved. Alarming: bars that end well below it, where the model "
            "is surer than it should be.",
        ),
        tag("h2", "The surest mistakes"),
        *(_mistakes(found, mistakes[:SHOWN]) if mistakes else [tag("p.quiet", "There are none.")]),
    )


def _score(found: Evaluated) -> str:
    return "F1 of spans" if found.score == "f1" else "Accuracy"


def _labels(found: Evaluated) -> Markup:
    """Return precision, recall and F1 of all labels."""
    rows = {name or "(no type)": score for name, score in found.scores.items()}
    rows["all"] = found.report.total

    def row(name: str, score: Score) -> list[object]:
        return [name, *(f"{x:.2f}" for x in score.percent()), f"{score.found:,}", score.wanted]

    head = ("label", "precision", "recall", "F1", "found", "wanted")
    return table(head, [row(*item) for item in rows.items()])


def _confusions(report: ClassReport) -> Iterator[Markup]:
    """Yield a matrix, or of many classes the most frequent errors."""
    names = list(report.classes)
    if len(names) <= MATRIX:
        head = tag("tr", tag("th", "wanted"), *(tag("th", name) for name in names))
        rows = [
            tag("tr", tag("th", one), *(_cell(report, one, two) for two in names)) for one in names
        ]
        yield tag("table.matrix", head, *rows)
        yield tag(
            "p.quiet",
            "A row for each label that was wanted, a column for each that was found. The darker, "
            "the larger the share of its row; what is off the diagonal is wrong.",
        )
        return
    yield table(("times", "wanted", "found"), frequent_errors(report, SHOWN))
    yield tag("p.quiet", f"The most frequent errors among {len(names)} labels.")


def _cell(report: ClassReport, one: str, two: str) -> Markup:
    count = report.confusion.get((one, two), 0)
    share = count / max(report.classes[one].wanted, 1)
    colour = BLUE if one == two else ORANGE
    return tag(
        "td", f"{count:,}" if count else "", style=f"background: rgba({colour}, {share:.3f})"
    )


def _sure(found: Calibration, unit: str) -> Iterator[tuple[str, str, str]]:
    yield "mean confidence", f"{found.confidence:.4f}", f"in the labels of {found.size:,} {unit}"
    yield "share right", f"{found.accuracy:.4f}", "the same, if confidence is deserved"
    gloss = "the mean gap between the two, among those labelled about as surely"
    yield "expected calibration error", f"{found.error:.4f}", gloss


def _reliability(found: Calibration, width: int = 420, height: int = 260) -> Markup:
    """Return bars of the share that is right over confidence, and the line where both are equal."""
    left, below = 36, 28
    across, up = width - left - 8, height - below - 8

    def x(confidence: float) -> str:
        return f"{left + across * confidence:.1f}"

    def y(share: float) -> str:
        return f"{8 + up * (1 - share):.1f}"

    most = max((bin.size for bin in found.bins), default=1)
    parts = []
    for bin in found.bins:
        wide = 4 + 16 * (bin.size / most) ** 0.5
        place = left + across * bin.confidence - wide / 2
        parts.append(
            f'<rect x="{place:.1f}" y="{y(bin.accuracy)}" width="{wide:.1f}" '
            f'height="{up * bin.accuracy:.1f}" fill="rgba({BLUE}, 0.55)">'
            f"<title>{bin.size:,} with mean confidence {bin.confidence:.3f}, "
            f"{bin.accuracy:.3f} right</title></rect>"
        )
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<text x="{x(tick)}" y="{height - 12}" text-anchor="middle">{tick:g}</text>')
        parts.append(f'<text x="{left - 6}" y="{y(tick)}" dy="4" text-anchor="end">{tick:g}</text>')
    parts.append(
        f'<path d="M {x(0.0)} {y(0.0)} L {x(1.0)} {y(1.0)}" stroke="rgb({ORANGE})" '
        'stroke-dasharray="5 4"/>'
        f'<path d="M {x(0.0)} {y(1.0)} L {x(0.0)} {y(0.0)} L {x(1.0)} {y(0.0)}" stroke="#6b7280" '
        'fill="none"/>'
        f'<text x="{left + across / 2}" y="{height}" text-anchor="middle">confidence</text>'
    )
    return Markup(
        f'<svg viewBox="0 0 {width} {height + 6}" width="{width}" role="img" '
        f'aria-label="share right over confidence" font-size="11" fill="#4b5563">'
        f"{''.join(parts)}</svg>"
    )


def _mistakes(found: Evaluated, mistakes: list[Said]) -> Iterator[Markup]:
    """Yield wrong labels in their sentences, and of texts what the model looked at."""
    texts = [found.gold.sentences[mistake.sentence] for mistake in mistakes]
    shares: list[list[float]] = [[] for _ in texts]
    model = found.model
    if model.kind == ConversationModel.kind:
        texts = [tuple(f"{' '.join(text)} /" for text in each) for each in texts]
    if isinstance(model, ClassifyingModel) and "attention" in model.config.pooling:
        shares = [share.tolist() for share in model.attention(texts)]
    rows = []
    for mistake, words, share in zip(mistakes, texts, shares, strict=True):
        said = _in_its_place(mistake, words) if mistake.word is not None else _text(words, share)
        place = found.gold.place(mistake.sentence, mistake.word or 0)
        labels = (mistake.wanted, mistake.found, f"{mistake.confidence:.4f}")
        rows.append((*labels, tag("span", *said), place))
    yield table(("wanted", "found", "confidence", "", "where"), rows)
    if any(shares):
        says = "The darker a word, the more the attention of the classifier makes of it."
        yield tag("p.quiet", says)


def _in_its_place(mistake: Said, words: tuple[str, ...]) -> Iterator[Markup | str]:
    """Yield the words around the one that was labelled wrongly, which is marked."""
    assert mistake.word is not None
    first, last = max(0, mistake.word - AROUND), mistake.word + AROUND + 1
    yield "... " if first else ""
    for at, word in enumerate(words[first:last], first):
        said = surface(word)
        yield tag("strong", said) if at == mistake.word else f"{said} "
    yield "..." if last < len(words) else ""


def _text(words: tuple[str, ...], shares: list[float]) -> Iterator[Markup | str]:
    """Yield words, in a colour as deep as what is made of them."""
    most = max(shares, default=1.0)
    for at, word in enumerate(words):
        deep = shares[at] / most if shares else 0.0
        yield tag("span", surface(word), style=f"background: rgba({ORANGE}, {0.6 * deep:.3f})")
        yield " "
