"""Transitions: the cost of decisions against a loop over them, with a stack of states as values."""

from itertools import product

import pytest
import torch

from statewise.models.transitions import OUT, REDUCE, SHIFT, Transitions, Written
from statewise.state import leaves
from statewise.tasks.tagging import Span, write

TYPES = ("LOC", "PER")
TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
WRITTEN = [Written(1, 1, 2, 2, -1), Written(3, 3, 4, 4, -1)]


def tags(found, length, scheme="BIO", known=TAGS):
    """Return the numbers of tags of spans."""
    return [known.index(tag) for tag in write(found, length, scheme)]


def transitions(seed=0, dim=6):
    torch.manual_seed(seed)
    model = Transitions(dim, WRITTEN, 0).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    return model


def every(length, start=0):
    """Yield all ways to put spans of two types into a sentence."""
    if start == length:
        yield []
        return
    for rest in every(length, start + 1):
        yield rest
    for end, kind in product(range(start + 1, length + 1), TYPES):
        for rest in every(length, end):
            yield [Span(start, end, kind), *rest]


def decisions(found, length):
    """Return what is decided, one thing after another."""
    made, at = [], 0
    for span in [*found, Span(length, length, "")]:
        made += [OUT] * (span.start - at)
        if span.type:
            made += [SHIFT] * (span.end - span.start) + [REDUCE + TYPES.index(span.type)]
        at = span.end
    return made


def cost(model, x, found):
    """Return what the decisions cost, by a loop that pushes and pops states."""
    length = len(x)
    buffer = [model.buffer.initial_state(1)]
    left = [torch.zeros(model.hidden, dtype=x.dtype)]
    for word in x.flip(0):
        y, state = model.buffer.step(word[None], buffer[-1])
        buffer.append(state)
        left.append(y[0])
    nothing = torch.zeros(model.hidden, dtype=x.dtype)
    stack, said = [(nothing, model.stack.initial_state(1), None)], [nothing]
    state, at, total = model.output.initial_state(1), 0, 0.0
    for decision in decisions(found, length):
        joined = torch.cat([stack[-1][0], said[-1], left[length - at]])
        scores = model.head(model.join(joined).tanh())
        possible = [SHIFT] if at < length else []
        possible += [REDUCE, REDUCE + 1] if len(stack) > 1 else [OUT]
        total = total + scores[possible].logsumexp(0) - scores[decision]
        if decision == SHIFT:
            y, after = model.stack.step(x[at][None], stack[-1][1])
            stack.append((y[0], after, at))
            at += 1
            continue
        if decision == OUT:
            item = model.word_item(x[at]).tanh()
            at += 1
        else:
            words = []
            while stack[-1][2] is not None:
                words.insert(0, x[stack.pop()[2]])
            ways = model.span(torch.stack(words)[None])[0]
            both = [ways[0, model.hidden :], ways[-1, : model.hidden]]
            kind = model.kind.weight[decision - REDUCE]
            item = model.span_item(torch.cat([*both, kind])).tanh()
        y, state = model.output.step(item[None], state)
        said.append(y[0])
    return total


def test_the_cost_is_that_of_the_decisions_and_all_ways_together_are_certain():
    model = transitions()
    torch.manual_seed(1)
    x = torch.randn(3, 3, 6, dtype=torch.float64)
    lengths = torch.tensor([3, 2, 0])
    sure = 0.0
    for number, found in enumerate(every(3)):
        small = list(every(2))
        other = small[number % len(small)]
        wanted = [tags(found, 3), [*tags(other, 2), 3], [2] * 3]
        whole = model.cost(x, lengths, torch.tensor(wanted))
        parts = cost(model, x[0], found) + cost(model, x[1, :2], other)
        torch.testing.assert_close(whole, parts)
        sure += float((-cost(model, x[0], found)).exp().detach())
    assert sure == pytest.approx(1)


def test_gradients_reach_every_part():
    model = transitions()
    x = torch.randn(1, 4, 6, dtype=torch.float64, requires_grad=True)
    model.cost(x, torch.tensor([4]), torch.tensor([[3, 4, 0, 1]])).backward()
    assert x.grad.abs().min() > 0
    assert all(p.grad.abs().max() > 0 for p in model.parameters())


@torch.no_grad()
def test_what_is_found_is_the_likeliest_decision_each_time():
    model = transitions(3)
    model.head.bias[SHIFT] += 5
    torch.manual_seed(2)
    x = torch.randn(6, 3, 6, dtype=torch.float64)
    lengths = torch.tensor([3, 2, 0, 3, 1, 3])
    found = model.find(x, lengths)
    longest = 0
    for row, (said, length) in enumerate(zip(found, lengths.tolist(), strict=True)):
        assert model.find(x[row : row + 1, :length], lengths[row : row + 1]) == [said]
        ways = {tuple(decisions(other, length)): other for other in every(length)}
        (mine,) = (way for way, other in ways.items() if tags(other, length) == said)
        longest = max(longest, *(span.end - span.start for span in ways[mine]), 0)
        # Whatever was decided, no other decision there was likelier, all that comes after summed.
        for at in range(len(mine)):
            mass = dict[int, float]()
            for way, other in ways.items():
                if way[:at] == mine[:at]:
                    p = float((-cost(model, x[row, :length], other)).exp())
                    mass[way[at]] = mass.get(way[at], 0.0) + p
            assert mass[mine[at]] == pytest.approx(max(mass.values()))
    assert longest > 1


@pytest.mark.parametrize("scheme", ["IO", "IOB1", "BIO", "BIOES"])
def test_tags_of_every_scheme_are_read_and_written(scheme):
    known = sorted({tag for found in every(4) for tag in write(found, 4, scheme)})
    written = []
    for kind in TYPES:
        single, *long = (
            known.index(tag) for n in (1, 3) for tag in write([Span(0, n, kind)], n, scheme)
        )
        again = known.index(f"B-{kind}") if scheme == "IOB1" else -1
        written.append(Written(single, *long, again))
    torch.manual_seed(0)
    model = Transitions(6, written, known.index("O")).double()
    plain = transitions()
    model.load_state_dict(plain.state_dict())
    x, lengths = torch.randn(1, 4, 6, dtype=torch.float64), torch.tensor([4])
    for found in list(every(4))[::7]:
        numbers = tags(found, 4, scheme, known)
        assert model._tags([(a, b, TYPES.index(kind)) for a, b, kind in found], 4) == numbers
        if scheme != "IO":  # Which joins spans that touch.
            one = model.cost(x, lengths, torch.tensor([numbers]))
            torch.testing.assert_close(one, plain.cost(x, lengths, torch.tensor([tags(found, 4)])))


@torch.no_grad()
def test_drawn_decisions_come_as_often_as_they_are_likely():
    model = transitions(4)
    torch.manual_seed(0)
    x = torch.randn(1, 2, 6, dtype=torch.float64)
    lengths = torch.tensor([2])
    counts, copies = {}, 2000
    generator = torch.Generator().manual_seed(5)
    for found in model.find(x.repeat(copies, 1, 1), lengths.repeat(copies), generator, copies):
        counts[tuple(found)] = counts.get(tuple(found), 0) + 1
    for found in every(2):
        p = float((-cost(model, x[0], found)).exp())
        assert counts.get(tuple(tags(found, 2)), 0) / copies == pytest.approx(p, abs=0.035)


def test_to_pop_restores_the_state_bit_by_bit():
    model = transitions().stack
    words = torch.randn(5, 1, 6, dtype=torch.float64)
    states = [model.initial_state(1)]
    for word in words[:4]:
        states.append(model.step(word, states[-1])[1])
    # The second and all after it are popped, and another is pushed in their place.
    del states[2:]
    _, popped = model.step(words[4], states[-1])
    _, state = model.step(words[0], model.initial_state(1))
    _, never = model.step(words[4], state)
    assert leaves(popped).keys() == leaves(never).keys()
    assert all(torch.equal(leaf, leaves(never)[name]) for name, leaf in leaves(popped).items())
