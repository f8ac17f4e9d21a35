import math
from fractions import Fraction
from itertools import groupby

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from statewise.models.language_model import LanguageModel, LanguageModelConfig
from statewise.tasks import language
from statewise.tasks.language import IGNORED, Streams

TEXT = "to be or not to be"


def tokens(text):
    return torch.tensor(list(text.encode()))


def numbered(lengths):
    """Return documents of which every token is another number."""
    return list(torch.arange(sum(lengths)).split(lengths))


class Bigram(torch.nn.Module):
    """The last token alone decides; its state is that token, so a lost state shows."""

    def __init__(self, grows=False):
        super().__init__()
        self.table = torch.randn(256, 256, generator=torch.Generator().manual_seed(0))
        self.grows, self.read = grows, []

    def forward(self, tokens, state=None, *, reset=None):
        self.read.append(tokens.shape)
        return self.table[tokens], tokens[:, -1:]

    def state_size(self, time):
        return time if self.grows else 1


def test_streams_are_the_picture_in_the_head():
    streams = Streams([tokens(t) for t in ("to be", "or", "not to be")], streams=2, context=4)

    def shown(part):
        part = part.where(part != IGNORED, torch.tensor(ord(".")))
        return [bytes(row.tolist()).decode() for row in part]

    for step, (inputs, targets, resets) in enumerate(
        [
            (["to b", "not "], ["o be", "ot t"], ["t", "n"]),
            (["eorn", "to b"], [".r.o", "o be"], ["on", ""]),
            (["ot t", "eto "], ["t to", ".o b"], ["", "t"]),
        ]
    ):
        batch = streams.batch(step)
        assert shown(batch.inputs) == inputs
        assert shown(batch.targets) == targets
        rows = zip(batch.inputs, batch.reset, strict=True)
        assert [bytes(row[reset].tolist()).decode() for row, reset in rows] == resets


circles = st.tuples(
    st.lists(st.integers(0, 12), min_size=1, max_size=12).filter(lambda lengths: sum(lengths) > 1),
    st.integers(1, 9),
    st.integers(1, 9),
)
"""Lengths of documents, streams, context."""


def made(circle):
    lengths, streams, context = circle
    context = min(context, sum(lengths) - 1)
    return numbered(lengths), Streams(numbered(lengths), streams=streams, context=context)


def walk(documents, start, steps):
    """Return inputs, targets and resets of one stream, the obvious way."""
    lap = [
        (token, document[at + 1] if at + 1 < len(document) else IGNORED, at == 0)
        for document in (document.tolist() for document in documents)
        for at, token in enumerate(document)
    ]
    laps = lap * (2 + steps // len(lap))
    return zip(*laps[start : start + steps], strict=True)


@settings(deadline=None)  # a busy machine is no defect
@given(circles, st.integers(0, 30))
def test_a_batch_is_the_walk(circle, step):
    documents, streams = made(circle)
    batch = streams.batch(step)
    now = slice(step * streams.context, (step + 1) * streams.context)
    for row, start in enumerate(streams.starts.tolist()):
        expected = walk(documents, start, now.stop)
        for part, column in zip(batch, expected, strict=True):
            assert part[row].tolist() == list(column[now])


@settings(deadline=None)
@given(circles, st.integers(0, 30), st.slices(9))
def test_some_rows_are_those_of_the_whole_batch(circle, step, rows):
    if (rows.step or 1) < 0:
        rows = slice(None)  # torch has no such slices
    _, streams = made(circle)
    for part, whole in zip(streams.batch(step, rows), streams.batch(step), strict=True):
        assert torch.equal(part, whole[rows])


@settings(deadline=None)
@given(circles)
def test_every_stream_meets_every_document_whole_on_each_lap(circle):
    documents, streams = made(circle)
    documents = [document.tolist() for document in documents if len(document)]
    size = sum(map(len, documents))
    steps = [streams.batch(step) for step in range(3 * size // streams.context + 2)]
    inputs, _, reset = (torch.cat(parts, 1) for parts in zip(*steps, strict=True))
    for row, resets in zip(inputs, reset, strict=True):
        met = [
            [int(token) for token, _ in pieces]
            for _, pieces in groupby(zip(row, resets.cumsum(0), strict=True), lambda p: int(p[1]))
        ]
        whole = met[1:-1] if met[0] not in documents else met[:-1]
        first = documents.index(whole[0])
        lap = documents[first:] + documents[:first]
        assert len(whole) >= 2 * len(lap)
        assert all(document == lap[at % len(lap)] for at, document in enumerate(whole))


@settings(deadline=None)
@given(circles)
def test_streams_begin_at_documents_where_they_can(circle):
    documents, streams = made(circle)
    firsts = [int(document[0]) for document in documents if len(document)]
    starts, size = streams.starts.tolist(), len(streams.tokens)
    share = Fraction(size, len(starts))
    for stream, start in enumerate(starts):
        even = stream * share
        half = Fraction(size, 2)
        away = {first: (first - even + half) % size - half for first in firsts}
        inside = {first: abs(by) for first, by in away.items() if -share / 2 <= by < share / 2}
        if inside:
            assert inside[start] == min(inside.values())
        else:
            assert start == int(even)
    if max(map(len, documents)) <= share:
        assert set(starts) <= set(firsts)
        assert len(set(starts)) == len(starts)


def test_one_long_text_is_entered_evenly_and_short_documents_never_midway():
    one = Streams(numbered([1000]), streams=8, context=5)
    assert one.starts.tolist() == [0, 125, 250, 375, 500, 625, 750, 875]
    many = Streams(numbered([7, 3, 11, 1] * 50), streams=8, context=5)
    assert many.batch(0).reset[:, 0].all()


def test_a_text_too_short_is_refused():
    with pytest.raises(ValueError, match="a context of 18 needs more"):
        Streams([tokens(TEXT)], streams=1, context=18)
    with pytest.raises(ValueError, match="has 0 tokens"):
        Streams([], streams=1, context=1)


def test_the_loss_is_the_mean_over_what_counts():
    logits = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([[1, IGNORED, 4], [IGNORED, 0, 2]])
    chances = logits.log_softmax(-1)
    costs = [chances[0, 0, 1], chances[0, 2, 4], chances[1, 1, 0], chances[1, 2, 2]]
    assert language.counted(targets) == 4
    torch.testing.assert_close(language.loss_sum(logits, targets), -sum(costs))
    torch.testing.assert_close(language.loss(logits, targets), -sum(costs) / 4)


def test_a_batch_in_which_no_target_counts_costs_nothing():
    logits = torch.randn(2, 3, 5, requires_grad=True)
    cost = language.loss(logits, torch.full((2, 3), IGNORED))
    cost.backward()
    assert cost == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_bits_per_byte_is_the_code_length_however_it_is_cut():
    model, text = Bigram(), tokens(TEXT)
    chances = model.table.softmax(-1)[text[:-1], text[1:]]
    expected = (8 - chances.log2().sum().item()) / len(TEXT)
    for context in (1, 4, 18, 4096):
        found = language.bits_per_byte(model, [text], len(TEXT), context=context)
        assert math.isclose(found, expected, rel_tol=1e-5)


def test_a_growing_state_is_not_carried():
    text = tokens(TEXT)
    whole = language.bits_per_byte(Bigram(grows=True), [text], len(TEXT), context=18)
    cut = language.bits_per_byte(Bigram(grows=True), [text], len(TEXT), context=9)
    chance = Bigram().table[text[8]].log_softmax(-1)[text[9]].item() / math.log(2)
    assert math.isclose(cut - whole, (8 + chance) / len(TEXT), rel_tol=1e-4)


def test_short_documents_are_read_side_by_side_and_each_token_is_watched_once():
    model, seen = Bigram(), []
    documents = numbered([2, 9, 0, 2, 1, 3, 2])
    language.bits_per_byte(model, documents, 19, context=8, watch=seen.append)
    assert model.read == [(4, 2), (1, 3), (1, 8), (1, 1)]
    assert seen == [7, 3, 8, 1]


MIXERS = ["min_gru", "elman", "attention", {"name": "attention", "window": 3}]


def small(mixer, **options):
    torch.manual_seed(0)
    shape = {"vocab": 32, "dim": 8, "depth": 2, "convolution": 3, **options}
    model = LanguageModel(LanguageModelConfig(mixer=mixer, **shape)).double()
    # From its initialization a model hardly looks back: a leak should not hide in rounding.
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("context", [6, 32])
def test_documents_together_cost_what_they_cost_one_by_one(mixer, context):
    model, documents = small(mixer), numbered([5, 1, 3, 7, 0, 4, 9, 3])
    alone = [language.bits_per_byte(model, [d], 1, context=context) for d in documents]
    together = language.bits_per_byte(model, documents, 32, context=context)
    assert math.isclose(together, sum(alone) / 32, rel_tol=1e-12)


LENGTHS = [5, 3, 1, 7]


def packed(model, context, laps, resets=True):
    """Read one stream, the state carried with its gradient.

    Returns:
        the embeddings of the tokens, read by read; the logits and the targets, as one read; the
        number of the document that each token is in.
    """
    embeddings = []
    hook = model.embedding.register_forward_hook(lambda *call: embeddings.append(call[2]))
    streams, state, logits = Streams(numbered(LENGTHS), streams=1, context=context), None, []
    steps = [streams.batch(step) for step in range(laps * sum(LENGTHS) // context)]
    for batch in steps:
        y, state = model(batch.inputs, state, reset=batch.reset if resets else None)
        logits.append(y)
    hook.remove()
    _, targets, reset = (torch.cat(parts, 1) for parts in zip(*steps, strict=True))
    return embeddings, torch.cat(logits, 1), targets, reset[0].cumsum(0) - 1


def gradients(model, context, resets=True):
    """Yield the gradient of each document's loss: in its own embeddings, and in all others."""
    embeddings, logits, targets, number = packed(model, context, 2, resets)
    for document in range(int(number[-1]) + 1):
        own = number == document
        cost = language.loss_sum(logits[:, own], targets[:, own])
        found = torch.autograd.grad(cost, embeddings, retain_graph=True, materialize_grads=True)
        gradient = torch.cat(found, 1)[0]
        yield gradient[own], gradient[~own]


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("context", [1, 4, 15])
def test_no_document_leaks_into_another(mixer, context):
    for own, others in gradients(small(mixer), context):
        assert torch.equal(others, torch.zeros_like(others))
        assert (own[:-1] != 0).any(-1).all()  # whole, across the borders of steps


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("context", [1, 4, 15])
def test_without_resets_the_leak_is_seen(mixer, context):
    assert any(others.any() for _, others in gradients(small(mixer), context, resets=False))


@pytest.mark.parametrize("mixer", MIXERS)
def test_a_lap_costs_what_its_documents_cost_one_by_one(mixer):
    """Not a target too many: what a document ends with never learns what the next begins with."""
    model, costs = small(mixer), []
    _, logits, targets, _ = packed(model, 4, 1)
    costs.append(language.loss_sum(logits, targets))
    alone = [(d, model(d[None])[0][:, :-1]) for d in numbered(LENGTHS)]
    costs.append(sum(language.loss_sum(y, d[None, 1:]) for d, y in alone))
    together, apart = (torch.autograd.grad(cost, list(model.parameters())) for cost in costs)
    torch.testing.assert_close(*costs)
    torch.testing.assert_close(together, apart)
