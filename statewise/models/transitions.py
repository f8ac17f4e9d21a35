"""Transitions: spans by a stack, onto which words are shifted until it is reduced to a span.

    word          stack after it    decision                       output after it
    Uma           Uma               shift                          -
    Ray           Uma Ray           shift                          -
    saw           -                 reduce to PER, then out        [Uma Ray]PER saw
    Ulm           Ulm               shift                          [Uma Ray]PER saw
    (the end)     -                 reduce to LOC                  [Uma Ray]PER saw [Ulm]LOC

    p(decision) = softmax(V tanh(W [s, o, b]))        over those that are possible there

Lample, Ballesteros, Subramanian, Kawakami and Dyer, "Neural Architectures for Named Entity
Recognition", 2016, arXiv:1603.01360, section 3: s, o and b are what LSTMs know of the stack, of the
output and of the words that are left, read from the right. A span enters the output as a map of its
type and of what an LSTM in each direction says of its words. To pop a word is to go on from the
state before it, since states are values; a span that is reduced leaves the stack empty, which is
the state at the start. So all decisions of a training sentence are scored at once, with resets.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from statewise.mixers.base import within
from statewise.mixers.bidirectional import Bidirectional
from statewise.mixers.lstm import LSTM
from statewise.mixers.parts.both_ways import mirror

SHIFT, OUT, REDUCE = 0, 1, 2
"""The numbers of decisions; those from `REDUCE` on, of the types in their order."""


class Written(NamedTuple):
    """How spans of one type are written: the numbers of tags."""

    single: int
    """Of the only word."""
    first: int
    inside: int
    last: int
    again: int
    """Of the first word where the span touches one of its type; -1 where it is written as ever."""


class Transitions(nn.Module):
    """Finds spans in sentences, from the features of their words.

    Args:
        dim: features of a word.
        written: how spans of each type are, one type at least.
        outside: the number of the tag of words that are in none; there is no larger one than the
            largest of these.
    """

    kind_of: Tensor
    starts: Tensor

    def __init__(self, dim: int, written: Sequence[Written], outside: int):
        super().__init__()
        self.written, self.outside = tuple(written), outside
        tags = 1 + max(outside, *(number for one in written for number in one))
        kind_of, starts = torch.full((tags,), -1), torch.zeros(tags, dtype=torch.bool)
        for kind, one in enumerate(self.written):
            kind_of[[number for number in one if number >= 0]] = kind
            for number in {one.single, one.first, one.again} - {one.inside, one.last, -1}:
                starts[number] = True
        self.register_buffer("kind_of", kind_of, persistent=False)
        self.register_buffer("starts", starts, persistent=False)
        hidden = max(1, dim // 2)
        self.stack, self.buffer = LSTM(dim, hidden=hidden), LSTM(dim, hidden=hidden)
        self.span = Bidirectional(dim, {"name": "lstm", "hidden": hidden})
        self.output = LSTM(hidden)
        self.kind = nn.Embedding(len(self.written), hidden)
        self.word_item, self.span_item = nn.Linear(dim, hidden), nn.Linear(3 * hidden, hidden)
        self.join = nn.Linear(3 * hidden, hidden)
        self.head = nn.Linear(hidden, REDUCE + len(self.written))
        self.hidden = hidden

    def cost(
        self,
        x: Float[Tensor, "batch time dim"],
        lengths: Int[Tensor, " batch"],
        tags: Int[Tensor, "batch time"],
    ) -> Float[Tensor, ""]:
        """Return what the decisions cost that lead to these tags, summed over the batch, in nats.

        Args:
            x: features of the words.
            lengths: of the sentences.
            tags: the right ones, as numbers; anything in the padding.
        """
        batch, time = x.shape[:2]
        real = within(lengths, time)
        kind = self.kind_of[tags].masked_fill(~real, -1)
        inside = kind >= 0
        touches = functional.pad(kind, (1, -1), value=-1) == kind
        begins = ~(inside & touches) | self.starts[tags]
        at = torch.arange(time, device=x.device).expand(batch, time)
        first = torch.where(begins, at, 0).cummax(1).values
        goes_on = inside & ~begins
        # A decision after each word but the first and one before it, at places 0 to `time`.
        after, follows = functional.pad(inside, (1, 0)), functional.pad(goes_on, (0, 1))
        reduced = after & ~follows
        before = functional.pad(real & ~goes_on, (0, 1))
        is_out = functional.pad(real & ~inside, (0, 1))

        stack = _later(self.stack(x, lengths=lengths, reset=begins)[0])
        ways = self.span(x, lengths=lengths, reset=begins)
        spans = torch.cat([_at(ways, first)[..., self.hidden :], ways[..., : self.hidden]], 2)
        items = torch.stack(
            [_later(self._spans(spans, kind.clamp(min=0))), _sooner(self._words(x))], 2
        ).flatten(1, 2)
        valid = torch.stack([reduced, is_out], 2).flatten(1)
        output = self._outputs(items, valid).unflatten(1, (time + 1, 2))
        buffer = self._buffer(x, lengths)

        left, kinds = functional.pad(real, (0, 1)), functional.pad(kind.clamp(min=0), (1, 0))
        nothing = torch.zeros_like(stack)
        cost = x.new_zeros(())
        for there, known, said, wanted, empty in (
            (after, stack, output[:, :, 0], torch.where(follows, SHIFT, REDUCE + kinds), False),
            (before, nothing, output[:, :, 1], torch.where(is_out, OUT, SHIFT), True),
        ):
            chances = self._chances(known[there], said[there], buffer[there], left[there], empty)
            cost = cost - chances.gather(1, wanted[there][:, None]).sum()
        return cost

    def find(
        self,
        x: Float[Tensor, "batch time dim"],
        lengths: Int[Tensor, " batch"],
        generator: torch.Generator | None = None,
        copies: int = 1,
    ) -> list[list[int]]:
        """Return the tags of each sentence, as numbers.

        Args:
            x: features of the words.
            lengths: of the sentences.
            generator: draws each decision by its probability, from one number for all sentences, so
                that what is found in one does not depend on the others; the likeliest is taken if
                absent.
            copies: of the sentences, one after another, which the batch is made of; each draws
                numbers of its own.
        """
        batch, time = x.shape[:2]
        found: list[list[tuple[int, int, int]]] = [[] for _ in range(batch)]
        buffer = self._buffer(x, lengths)
        stacked, said = self.stack.initial_state(batch), self.output.initial_state(batch)
        known, output = (x.new_zeros(batch, self.hidden) for _ in range(2))
        begin = torch.full((batch,), -1, device=x.device)

        def decided(empty: bool, rows: Bool[Tensor, " batch"]) -> Int[Tensor, " batch"]:
            stack = torch.zeros_like(known) if empty else known
            chances = self._chances(stack, output, buffer[:, at], at < lengths, empty)
            if generator is None:
                return torch.where(rows, chances.argmax(1), -1)
            summed = chances.exp().cumsum(1)
            drawn = 1 - torch.rand(copies, generator=generator, device=x.device)
            drawn = drawn.repeat_interleave(batch // copies)[:, None]
            return torch.where(rows, (summed < drawn * summed[:, -1:]).sum(1), -1)

        def put_out(item: Tensor, rows: Bool[Tensor, " batch"]) -> None:
            nonlocal output, said
            y, said = self.output(item[:, None], said, lengths=rows.long())
            output = torch.where(rows[:, None], y[:, 0], output)

        for at in range(time + 1):
            choice = decided(False, begin >= 0)
            reduced = choice >= REDUCE
            if reduced.any():
                types = (choice - REDUCE).clamp(min=0)
                put_out(self._reduced(x, begin, at, types, reduced), reduced)
                for row in reduced.nonzero()[:, 0].tolist():
                    found[row].append((int(begin[row]), at, int(types[row])))
                begin = begin.masked_fill(reduced, -1)
            if at == time:
                break
            goes_on = choice == SHIFT
            choice = decided(True, (begin < 0) & (at < lengths))
            opened, is_out = choice == SHIFT, choice == OUT
            if is_out.any():
                put_out(self._words(x[:, at]), is_out)
            shifted = goes_on | opened
            y, stacked = self.stack(
                x[:, at : at + 1], stacked, reset=opened[:, None], lengths=shifted.long()
            )
            known = torch.where(shifted[:, None], y[:, 0], known)
            begin = torch.where(opened, at, begin)
        rows = zip(found, lengths.tolist(), strict=True)
        return [self._tags(spans, length) for spans, length in rows]

    def _tags(self, spans: Iterable[tuple[int, int, int]], length: int) -> list[int]:
        """Return the tags of spans, which are their first word, the word after them, and a type."""
        tags, before = [self.outside] * length, (-1, -1)
        for start, end, kind in spans:
            one, size = self.written[kind], end - start
            inner = [one.first, *[one.inside] * (size - 2), one.last]
            tags[start:end] = inner if size > 1 else [one.single]
            if one.again >= 0 and before == (start, kind):
                tags[start] = one.again
            before = end, kind
        return tags

    def _words(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch hidden"]:
        """Return what enters the output of words that stand outside."""
        return self.word_item(x).tanh()

    def _spans(
        self, ways: Float[Tensor, "*batch both"], types: Int[Tensor, "*batch"]
    ) -> Float[Tensor, "*batch hidden"]:
        """Return what enters the output of spans: of their first word and of their last one."""
        return self.span_item(torch.cat([ways, self.kind(types)], -1)).tanh()

    def _reduced(
        self,
        x: Float[Tensor, "batch time dim"],
        begin: Int[Tensor, " batch"],
        end: int,
        types: Int[Tensor, " batch"],
        rows: Bool[Tensor, " batch"],
    ) -> Float[Tensor, "batch hidden"]:
        """Return what enters the output of the spans from `begin` to `end` of some rows."""
        lengths = (end - begin)[rows]
        places = begin[rows][:, None] + torch.arange(int(lengths.max()), device=x.device)
        ways = self.span(_at(x[rows], places.clamp(max=end - 1)), lengths=lengths)
        last = _at(ways, lengths[:, None] - 1)[:, 0, : self.hidden]
        item = self._spans(torch.cat([ways[:, 0, self.hidden :], last], 1), types[rows])
        return x.new_zeros(len(x), self.hidden).index_put((rows,), item)

    def _buffer(
        self, x: Float[Tensor, "batch time dim"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch places hidden"]:
        """Return what is known of the words that are left at each place, and at the end nothing."""
        seen = mirror(x, lengths=lengths, reset=None)
        return _sooner(seen(self.buffer(seen(x), lengths=lengths)[0]))

    def _outputs(
        self, items: Float[Tensor, "batch slots hidden"], valid: Bool[Tensor, "batch slots"]
    ) -> Float[Tensor, "batch slots hidden"]:
        """Return what is known before each slot of the items that are valid in the slots before."""
        order = valid.long().argsort(stable=True, dim=1, descending=True)
        y, _ = self.output(_at(items, order), lengths=valid.sum(1))
        return _at(_later(y), valid.cumsum(1) - valid.long())

    def _chances(
        self,
        stack: Float[Tensor, "rows hidden"],
        output: Float[Tensor, "rows hidden"],
        buffer: Float[Tensor, "rows hidden"],
        left: Bool[Tensor, " rows"],
        empty: bool,
    ) -> Float[Tensor, "rows decisions"]:
        """Return the logarithms of the chances of decisions; -inf for what is not possible.

        Args:
            stack: what is known of it.
            output: the same.
            buffer: the same.
            left: whether a word is left.
            empty: whether nothing is on the stack.
        """
        scores = self.head(self.join(torch.cat([stack, output, buffer], 1)).tanh())
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        possible = torch.zeros_like(scores, dtype=torch.bool)
        possible[:, SHIFT] = left | empty
        possible[:, OUT] = empty
        possible[:, REDUCE:] = not empty
        return scores.masked_fill(~possible, -torch.inf).log_softmax(1)


def _later(x: Float[Tensor, "batch time dim"]) -> Float[Tensor, "batch places dim"]:
    """Return a sequence one place later, after zeros."""
    return functional.pad(x, (0, 0, 1, 0))


def _sooner(x: Float[Tensor, "batch time dim"]) -> Float[Tensor, "batch places dim"]:
    """Return a sequence and zeros after it."""
    return functional.pad(x, (0, 0, 0, 1))


def _at(
    x: Float[Tensor, "batch time dim"], places: Int[Tensor, "batch places"]
) -> Float[Tensor, "batch places dim"]:
    """Return what stands at these places of each row."""
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[2]))
