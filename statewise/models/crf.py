"""A linear-chain conditional random field: tags of a sequence, scored together with their order.

Lafferty, McCallum and Pereira, "Conditional Random Fields: Probabilistic Models for Segmenting and
Labeling Sequence Data", 2001, section 3; over the features of a network, Lample et al., "Neural
Architectures for Named Entity Recognition", 2016, arXiv:1603.01360, section 2.2.

    score(y) = start[y_1] + sum_t emission_t[y_t] + sum_{t > 1} transition[y_{t-1}, y_t] + end[y_T]
    p(y)     = exp(score(y) - log Z),       log Z = log sum_y exp(score(y))
    p(y_t)   = exp(ahead_t[y_t] + back_t[y_t] - score_t[y_t] - log Z)

`ahead` and `back` are the scans of `statewise.ops.semiring` from either end, each with the score of
its own time. What is forbidden scores -inf: no path that holds it has any probability.

Every sum is made in float64, whatever the precision of the rest: both terms of a marginal grow with
time and their difference does not, and in float32 it was wrong by 1e-4 after 50 steps and by 0.09
after 2000. The scans take up to twice as long for it, which is little beside an encoder.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from statewise.mixers.base import within
from statewise.ops.arguments import check_marks
from statewise.ops.semiring import best_path, log_matrix_scan, max_matrix_scan
from statewise.ops.semiring.logs import logsumexp

Lengths = Int[Tensor, " batch"] | None


class Paths(NamedTuple):
    """The best path of each row, or the best ones."""

    tags: Int[Tensor, "batch *paths time"]
    """int64; -1 in the padding, and all along a path that there is not."""
    score: Float[Tensor, "batch *paths"]
    """Of each path, differentiable along it; -inf of one that there is not."""


class _Chain(NamedTuple):
    """Sequences as the scans take them, in float64; a start or an end is scored at its time."""

    transition: Float[Tensor, "tags tags"]
    score: Float[Tensor, "batch time tags"]
    lengths: Int[Tensor, " batch"]
    real: Bool[Tensor, "batch time"]


class CRF(nn.Module):
    """A conditional random field over what a network says of each tag at each time.

    All methods read emissions, (batch, time, tags): any number but +inf; at -inf a tag is forbidden
    there, which is how to say what is known of a sequence. All take lengths, from 0 to time; what
    is beyond a row's may be anything, NaN included. A row of length 0 has one path, the empty one.
    Answers are in the dtype of the emissions, float32 or wider.

    Parameters start at zero: at first the tags do not know of each other.

    Args:
        tags: how many there are.
        legal: hard rules such as those of a tag scheme, three boolean tensors: with which tags a
            sequence may begin, (tags,); whether the second tag may follow the first, (tags, tags);
            with which it may end, (tags,). Everything is allowed if absent. They are saved with the
            parameters.

    Raises:
        ValueError: if there are no tags, or the rules do not fit them.
    """

    legal_start: Tensor
    legal_transition: Tensor
    legal_end: Tensor

    def __init__(self, tags: int, *, legal: tuple[Tensor, Tensor, Tensor] | None = None):
        super().__init__()
        if tags < 1:
            raise ValueError(f"CRF: tags is {tags}; there should be at least 1")
        shapes = ((tags,), (tags, tags), (tags,))
        rules = legal or tuple(torch.ones(shape, dtype=torch.bool) for shape in shapes)
        for name, rule, shape in zip(("start", "transition", "end"), rules, shapes, strict=True):
            if rule.shape != shape or rule.dtype != torch.bool:
                raise ValueError(
                    f"CRF: legal says of {name} {tuple(rule.shape)} of {rule.dtype}, which should "
                    f"be boolean and {shape}"
                )
            self.register_buffer(f"legal_{name}", rule.clone())
        self.start, self.transition, self.end = (
            nn.Parameter(torch.zeros(shape)) for shape in shapes
        )
        self.tags = tags

    def extra_repr(self) -> str:
        """Return what the printed module shows."""
        return f"tags={self.tags}"

    def forward(
        self,
        emissions: Float[Tensor, "batch time tags"],
        tags: Int[Tensor, "batch time"],
        *,
        lengths: Lengths = None,
    ) -> Float[Tensor, " batch"]:
        """Return the negative log-likelihood of each row's tags, in nats: log Z - score.

        Raises:
            ValueError: names the row and the step where tags are none, or break a rule.
        """
        chain = self._chain(emissions, lengths)
        score = self._score(chain, tags)
        if (score == -math.inf).any():
            self._explain(chain, tags, int((score == -math.inf).nonzero()[0]))
        return (_log_partition(chain) - score).to(_dtype(emissions))

    def partly(
        self,
        emissions: Float[Tensor, "batch time tags"],
        tags: Int[Tensor, "batch time"],
        *,
        lengths: Lengths = None,
    ) -> Float[Tensor, " batch"]:
        """Return the negative log-likelihood of the tags that are known, in nats.

        It is log Z less the logarithm of the weight of all paths through them: what is not known is
        summed out (Tsuboi et al., "Training Conditional Random Fields Using Incomplete
        Annotations", COLING 2008, section 3.3). Of a row of which all is known it is that of
        `forward`; of one of which nothing is, zero.

        Args:
            emissions: of each tag at each time.
            tags: the known ones; -1 where any may stand.
            lengths: of each row.

        Raises:
            ValueError: names the row and the step where tags are none, or the row that the known
                ones leave without a path.
        """
        chain = self._chain(emissions, lengths)
        self._check(chain, torch.where(tags == -1, 0, tags))
        known = chain.real & (tags != -1)
        there = functional.one_hot(torch.where(known, tags, 0), self.tags).bool()
        allowed = there | ~known[..., None]
        through = chain._replace(score=torch.where(allowed, chain.score, -math.inf))
        weight = _log_partition(through)
        if (weight == -math.inf).any():
            row = int((weight == -math.inf).nonzero()[0])
            raise ValueError(f"CRF: no path of row {row} goes through the tags that are known")
        return (_log_partition(chain) - weight).to(_dtype(emissions))

    def score(
        self,
        emissions: Float[Tensor, "batch time tags"],
        tags: Int[Tensor, "batch time"],
        *,
        lengths: Lengths = None,
    ) -> Float[Tensor, " batch"]:
        """Return the score of each row's tags; -inf where they break a rule.

        Raises:
            ValueError: names the row and the step where tags are none.
        """
        return self._score(self._chain(emissions, lengths), tags).to(_dtype(emissions))

    def log_partition(
        self, emissions: Float[Tensor, "batch time tags"], *, lengths: Lengths = None
    ) -> Float[Tensor, " batch"]:
        """Return log Z of each row, the logarithm of the weight of all its paths.

        With emissions of -inf at the tags that are known to be wrong it is that of the paths that
        are left: the likelihood of what is partly labelled is the difference of the two.
        """
        return _log_partition(self._chain(emissions, lengths)).to(_dtype(emissions))

    def marginals(
        self, emissions: Float[Tensor, "batch time tags"], *, lengths: Lengths = None
    ) -> Float[Tensor, "batch time tags"]:
        """Return the probability of each tag at each time, zero in the padding.

        The probability of the tag that is chosen is the confidence in it.

        Raises:
            ValueError: names a row that has no path, or in which emissions are NaN.
        """
        chain = self._chain(emissions, lengths)
        ahead, _ = log_matrix_scan(chain.transition, chain.score, lengths=chain.lengths)
        mirrored = log_matrix_scan(
            chain.transition.T, _mirror(chain.score, chain), lengths=chain.lengths
        )[0]
        both = ahead + _mirror(mirrored, chain) - chain.score
        # A forbidden tag: -inf twice, less -inf.
        both = torch.where(chain.score == -math.inf, -math.inf, both)
        both = torch.where(chain.real[..., None], both, 0)
        _refuse(chain, both.amax(2).amin(1) if both.shape[1] else both.sum((1, 2)))
        # The logsumexp of every time is log Z.
        return torch.where(chain.real[..., None], both.softmax(2), 0).to(_dtype(emissions))

    def viterbi(
        self, emissions: Float[Tensor, "batch time tags"], *, lengths: Lengths = None
    ) -> Paths:
        """Return the best path of each row.

        Raises:
            ValueError: names a row that has no path, or in which emissions are NaN.
        """
        chain = self._chain(emissions, lengths)
        tags, score = _best(chain)
        return Paths(tags, score.to(_dtype(emissions)))

    def k_best(
        self, emissions: Float[Tensor, "batch time tags"], k: int, *, lengths: Lengths = None
    ) -> Paths:
        """Return the k best paths of each row, the best one first, no two the same.

        The cost is that of one, and a loop over time that is the longer the larger k.

        Args:
            emissions: of each tag at each time.
            k: at least 1; where there are fewer paths, the last ones are none.
            lengths: of each row.

        Raises:
            ValueError: names a row that has no path, or in which emissions are NaN; or k.
        """
        if k < 1:
            raise ValueError(f"CRF.k_best: k is {k}; it should be at least 1")
        chain = self._chain(emissions, lengths)
        with torch.no_grad():
            tags, found = _k_best(chain, k)
        score = torch.where(found, _path_score(chain, tags), -math.inf)
        _refuse(chain, score[:, 0])
        return Paths(tags, score.to(_dtype(emissions)))

    @torch.no_grad()
    def next_tag(
        self, emissions: Float[Tensor, "time tags"], *, before: int | None, ended: bool
    ) -> int:
        """Return the first tag of the best path that goes on from a tag.

        Args:
            emissions: of one time or more.
            before: the tag that goes before; None at the start of a sequence.
            ended: whether the sequence ends with these.

        Raises:
            ValueError: if no path goes on from there, or emissions are NaN.
        """
        chain = self._chain(emissions[None], None, before=before, ended=ended)
        return int(_best(chain)[0][0, 0])

    def _chain(
        self,
        emissions: Tensor,
        lengths: Tensor | None,
        *,
        before: int | None = None,
        ended: bool = True,
    ) -> _Chain:
        """Return sequences for the scans, which may go on from a tag and need not end."""
        batch, time, tags = emissions.shape if emissions.ndim == 3 else (-1, -1, -1)
        if tags != self.tags:
            raise ValueError(
                f"CRF: emissions {tuple(emissions.shape)} should be (batch, time, {self.tags})"
            )
        check_marks("CRF", batch, time, None, lengths)
        if lengths is None:
            lengths = torch.full((batch,), time, device=emissions.device)
        start, transition, end = (
            torch.where(rule, scores.double(), -math.inf)
            for rule, scores in (
                (self.legal_start, self.start),
                (self.legal_transition, self.transition),
                (self.legal_end, self.end),
            )
        )
        if before is not None:
            start = transition[before]
        real = within(lengths, time)
        last = torch.arange(time, device=lengths.device) == lengths[:, None] - 1
        score = emissions.double() + torch.where(last[..., None] & ended, end, 0)
        score = torch.cat([score[:, :1] + start, score[:, 1:]], 1)
        return _Chain(transition, score, lengths, real)

    def _score(self, chain: _Chain, tags: Tensor) -> Float[Tensor, " batch"]:
        self._check(chain, tags)
        return _path_score(chain, tags[:, None])[:, 0]

    def _check(self, chain: _Chain, tags: Tensor) -> None:
        """Refuse tags that are none, by a ValueError."""
        if tags.shape != chain.real.shape:
            raise ValueError(
                f"CRF: tags {tuple(tags.shape)} should be (batch, time) = {tuple(chain.real.shape)}"
            )
        wrong = chain.real & ((tags < 0) | (tags >= self.tags))
        if wrong.any():
            row, step = wrong.nonzero()[0].tolist()
            raise ValueError(
                f"CRF: tags hold {int(tags[row, step])} in row {row} at step {step}; there are "
                f"{self.tags} tags, from 0"
            )

    def _explain(self, chain: _Chain, tags: Tensor, row: int) -> None:
        """Say which step of a row's tags is forbidden, by a ValueError."""
        path = tags[row, : int(chain.lengths[row])].tolist()
        for step, (tag, after) in enumerate(pairwise(path), start=1):
            if not self.legal_transition[tag, after]:
                raise ValueError(
                    f"CRF: the rules forbid tag {after} after tag {tag}, in row {row} at step "
                    f"{step}"
                )
        if path and not self.legal_start[path[0]]:
            raise ValueError(f"CRF: the rules forbid tag {path[0]} at the start, in row {row}")
        if path and not self.legal_end[path[-1]]:
            raise ValueError(f"CRF: the rules forbid tag {path[-1]} at the end, in row {row}")
        raise ValueError(f"CRF: emissions of -inf forbid the tags of row {row}")


def _dtype(emissions: Tensor) -> torch.dtype:
    return torch.promote_types(emissions.dtype, torch.float32)


def _log_partition(chain: _Chain) -> Float[Tensor, " batch"]:
    _, final = log_matrix_scan(chain.transition, chain.score, lengths=chain.lengths)
    empty = chain.lengths == 0
    # Replaced before it is summed: nothing was read there, for which the scan has +inf.
    return torch.where(empty, 0, logsumexp(torch.where(empty[:, None], 0, final), 1))


def _best(chain: _Chain) -> tuple[Int[Tensor, "batch time"], Float[Tensor, " batch"]]:
    """Return the best path of each row and its score, differentiable along the path."""
    with torch.no_grad():
        scan, _ = max_matrix_scan(chain.transition, chain.score, lengths=chain.lengths)
        tags = best_path(scan, lengths=chain.lengths)
    score = _path_score(chain, tags[:, None])[:, 0]
    _refuse(chain, score)
    return tags, score


def _path_score(chain: _Chain, tags: Int[Tensor, "batch paths time"]) -> Tensor:
    """Return the score of several paths of each row."""
    real = chain.real[:, None].expand_as(tags)
    tags = torch.where(real, tags, 0).clamp(min=0)
    there = chain.score.gather(2, tags.transpose(1, 2)).transpose(1, 2)
    steps = chain.transition[tags[..., :-1], tags[..., 1:]]
    return torch.where(real, there, 0).sum(2) + torch.where(real[..., 1:], steps, 0).sum(2)


def _mirror(x: Float[Tensor, "batch time tags"], chain: _Chain) -> Tensor:
    """Return each row from its end to its start, the padding where it was."""
    time = torch.arange(x.shape[1], device=x.device)
    back = torch.where(chain.real, chain.lengths[:, None] - 1 - time, time)
    return x.gather(1, back[..., None].expand_as(x))


def _refuse(chain: _Chain, best: Float[Tensor, " batch"]) -> None:
    """Refuse rows of which no path has any weight, by the best there is in each."""
    # A sum with -inf is no NaN; one with NaN is, whatever a maximum makes of it.
    total = torch.where(chain.real[..., None], chain.score, 0).sum((1, 2))
    for bad, why in (
        (total.isnan(), "its emissions are NaN"),
        (best == -math.inf, "all its paths are forbidden"),
    ):
        if bad.any():
            raise ValueError(f"CRF: row {int(bad.nonzero()[0])} has no best path: {why}")


def _k_best(
    chain: _Chain, k: int
) -> tuple[Int[Tensor, "batch paths time"], Bool[Tensor, "batch paths"]]:
    """Return the k best paths, -1 in the padding and in those that there are not; and if they are.

    Beginnings of paths are kept by how well each can end at best, which is what a scan from the end
    says. The k best are enough: each is the beginning of a path of its own.
    """
    transition, score, lengths, real = chain
    batch, time, tags = score.shape
    mirrored = max_matrix_scan(transition.T, _mirror(score, chain), lengths=lengths)[0].score
    back = _mirror(mirrored, chain)
    place = torch.arange(k, device=score.device).expand(batch, k)
    total = torch.where(place == 0, 0, -math.inf).to(score.dtype)
    tag = torch.zeros_like(place)
    steps: list[tuple[Tensor, Tensor]] = []
    for t in range(time):
        reach = total[..., None] + (transition[tag] if t else score.new_zeros(tags))
        best = (reach + back[:, t, None]).flatten(1).topk(k).indices
        going = real[:, t, None]
        after = (reach + score[:, t, None]).flatten(1).gather(1, best)
        total = torch.where(going, after, total)
        tag = torch.where(going, best % tags, -1)
        steps.append((tag, torch.where(going, best // tags, place)))
    found, path, way = total > -math.inf, [], place
    for tag, came in reversed(steps):
        path.append(tag.gather(1, way))
        way = came.gather(1, way)
    paths = torch.stack(path[::-1], 2) if path else place.new_zeros(batch, k, 0)
    return torch.where(found[..., None], paths, -1), found
