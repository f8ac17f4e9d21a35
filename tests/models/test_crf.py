"""Conditional random fields against the enumeration of all paths."""

import itertools
import math

import pytest
import torch

from statewise import backends
from statewise.models import CRF
from statewise.tasks import tagging

INF = math.inf


def random_crf(tags, *, seed=0, legal=None):
    crf = CRF(tags, legal=legal).double()
    g = torch.Generator().manual_seed(seed)
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter, generator=g)
    return crf


def draw(*shape, seed=1):
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def some_rules(tags):
    """Rules that leave every length a path: tag 0 may stand anywhere."""
    g = torch.Generator().manual_seed(tags)
    rules = [torch.rand(shape, generator=g) < 0.6 for shape in ((tags,), (tags, tags), (tags,))]
    rules[0][0] = rules[2][0] = True
    rules[1][0, 0] = True
    return tuple(rules)


def enumerated(crf, emissions):
    """Return every path of one row and its score, in Python's own numbers and by definition."""
    rules = [rule.tolist() for rule in (crf.legal_start, crf.legal_transition, crf.legal_end)]
    start, transition, end = (p.tolist() for p in (crf.start, crf.transition, crf.end))
    rows, paths = emissions.tolist(), {}
    for path in itertools.product(range(crf.tags), repeat=len(rows)):
        score = sum(row[tag] for row, tag in zip(rows, path, strict=True))
        if path:
            legal = rules[0][path[0]] and rules[2][path[-1]]
            score += start[path[0]] + end[path[-1]]
            for one, two in itertools.pairwise(path):
                legal = legal and rules[1][one][two]
                score += transition[one][two]
            score = score if legal else -INF
        paths[path] = score
    return paths


def log_total(scores):
    high = max(scores)
    return high + math.log(math.fsum(math.exp(score - high) for score in scores))


@pytest.mark.parametrize("ruled", [False, True])
@pytest.mark.parametrize("tags", [1, 2, 3, 4])
def test_everything_equals_enumeration(tags, ruled):
    """All lengths up to 5 in one batch, with NaN in the padding, to 1e-9."""
    crf = random_crf(tags, legal=some_rules(tags) if ruled else None)
    emissions = draw(6, 5, tags)
    lengths = torch.arange(6)
    for row in range(6):
        emissions[row, row:] = math.nan
    total = crf.log_partition(emissions, lengths=lengths)
    marginals = crf.marginals(emissions, lengths=lengths)
    best = crf.viterbi(emissions, lengths=lengths)
    several = crf.k_best(emissions, 7, lengths=lengths)
    for row in range(6):
        paths = enumerated(crf, emissions[row, :row])
        z = log_total(paths.values())
        assert abs(total[row].item() - z) < 1e-9
        wanted = torch.zeros(5, tags, dtype=torch.float64)
        for path, score in paths.items():
            for t, tag in enumerate(path):
                wanted[t, tag] += math.exp(score - z)
        assert (marginals[row] - wanted).abs().max() < 1e-9

        ranked = sorted(paths, key=lambda path: -paths[path])
        ranked = [path for path in ranked if paths[path] > -INF][:7]
        padded = torch.tensor([[*path, *[-1] * (5 - row)] for path in ranked], dtype=torch.int64)
        there = len(ranked)
        assert torch.equal(best.tags[row], padded[0])
        assert abs(best.score[row].item() - paths[ranked[0]]) < 1e-9
        assert torch.equal(several.tags[row, :there], padded)
        assert torch.equal(several.tags[row, there:], torch.full((7 - there, 5), -1))
        for score, path in zip(several.score[row], ranked, strict=False):
            assert abs(score.item() - paths[path]) < 1e-9
        assert several.score[row, there:].tolist() == [-INF] * (7 - there)

        # The likelihood of every path, of which those that break a rule have none.
        for path, score in paths.items():
            tags_of = torch.tensor([path], dtype=torch.int64)
            one = emissions[row : row + 1, :row]
            if score == -INF:
                assert crf.score(one, tags_of).item() == -INF
            else:
                assert abs(crf(one, tags_of).item() - (z - score)) < 1e-9


def as_function(crf, call):
    """Return a call as a function of the parameters and the emissions, and what to give it."""
    names = [name for name, _ in crf.named_parameters()]

    def function(emissions, *parameters):
        state = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(crf, state, (emissions,), strict=False)

    crf.forward = call
    return function, [p.detach().clone().requires_grad_() for p in crf.parameters()]


@pytest.mark.parametrize("ruled", [False, True])
@pytest.mark.parametrize(
    "call", ["log_partition", "marginals", "likelihood", "score", "viterbi", "k_best"]
)
def test_gradients(call, ruled):
    """By differences, with forbidden steps, a row of padding that is NaN and one without length."""
    crf = random_crf(3, legal=some_rules(3) if ruled else None)
    lengths = torch.tensor([4, 2, 0])
    emissions = draw(3, 4, 3)
    padding = torch.arange(4) >= lengths[:, None]
    tags = crf.viterbi(emissions, lengths=lengths).tags
    forward = crf.forward
    calls = {
        "log_partition": lambda x: crf.log_partition(x, lengths=lengths),
        "marginals": lambda x: crf.marginals(x, lengths=lengths),
        "likelihood": lambda x: forward(x, tags, lengths=lengths),
        "score": lambda x: crf.score(x, tags, lengths=lengths),
        "viterbi": lambda x: crf.viterbi(x, lengths=lengths).score,
        "k_best": lambda x: crf.k_best(x, 2, lengths=lengths).score[:2],
    }
    function, parameters = as_function(crf, calls[call])
    real = emissions[~padding].clone().requires_grad_()

    def of_real(real, *parameters):
        spread = torch.full((3, 4, 3), math.nan, dtype=torch.float64)
        spread = spread.masked_scatter(~padding[..., None], real)
        return function(spread, *parameters)

    assert torch.autograd.gradcheck(of_real, (real, *parameters), atol=1e-7)
    if call in ("log_partition", "likelihood"):
        assert torch.autograd.gradgradcheck(of_real, (real, *parameters), atol=1e-6)

    # What forbids and what pads gets none, rather than NaN.
    emissions[padding] = math.nan
    emissions.requires_grad_()
    found = torch.autograd.grad(function(emissions, *parameters).sum(), (emissions, *parameters))
    assert all(g.isfinite().all() for g in found)
    assert (found[0][padding] == 0).all()
    assert (found[2][~crf.legal_transition] == 0).all()


def test_the_gradient_of_log_partition_is_the_marginals():
    crf = random_crf(5, legal=some_rules(5))
    emissions = draw(4, 9, 5).requires_grad_()
    lengths = torch.tensor([9, 4, 1, 0])
    (found,) = torch.autograd.grad(crf.log_partition(emissions, lengths=lengths).sum(), emissions)
    assert (found - crf.marginals(emissions, lengths=lengths)).abs().max() < 1e-12


def test_padding_and_neighbours_change_nothing():
    crf = random_crf(4, legal=some_rules(4))
    emissions, lengths = draw(3, 8, 4), torch.tensor([8, 3, 5])
    tags = crf.viterbi(emissions, lengths=lengths).tags
    for row, length in enumerate(lengths.tolist()):
        one = emissions[row : row + 1, :length]
        assert torch.equal(
            crf.marginals(one)[0], crf.marginals(emissions, lengths=lengths)[row, :length]
        )
        both = crf(emissions, tags, lengths=lengths)[row], crf(one, tags[row : row + 1, :length])[0]
        assert abs(both[0] - both[1]) < 1e-12
        many = crf.k_best(emissions, 3, lengths=lengths).tags[row, :, :length]
        assert torch.equal(crf.k_best(one, 3).tags[0], many)


def test_rules_are_never_broken():
    """However much the emissions ask for it, in whatever is decoded."""
    legal = some_rules(6)
    crf = CRF(6, legal=legal)
    g = torch.Generator().manual_seed(3)
    emissions = 50 * torch.randn(20, 30, 6, generator=g)
    for path in [*crf.viterbi(emissions).tags, *crf.k_best(emissions, 3).tags.flatten(0, 1)]:
        assert legal[0][path[0]]
        assert legal[1][path[:-1], path[1:]].all()
        assert legal[2][path[-1]]
    assert not CRF(6).viterbi(emissions).tags.equal(crf.viterbi(emissions).tags)


@pytest.mark.parametrize("scheme", ["BIO", "BIOES", "BMES", "IOB1"])
def test_the_rules_of_a_tag_scheme_hold_in_every_row(scheme):
    """So that the best tags need no repair: they are what their own spans are written as."""
    letters = sorted(set(tagging.SCHEMES[scheme]) - {""})
    tags = ["O", *(f"{letter}-{kind}" for letter in letters for kind in "XY")]
    crf = CRF(len(tags), legal=tagging.legal(tags, scheme))
    emissions = 20 * torch.randn(30, 9, len(tags), generator=torch.Generator().manual_seed(0))
    lengths = torch.arange(30) % 10
    found = crf.k_best(emissions, 2, lengths=lengths).tags
    for paths, length in zip(found.tolist(), lengths.tolist(), strict=True):
        for path in paths[: 2 if length else 1]:
            written = [tags[tag] for tag in path[:length]]
            assert tagging.convert(written, scheme) == written


def test_what_is_known_of_a_sequence_is_said_by_forbidding_the_rest():
    crf = random_crf(3)
    emissions = draw(1, 4, 3)
    known = emissions.clone()
    known[0, 1, [0, 2]] = -INF
    paths = {path: score for path, score in enumerated(crf, emissions[0]).items() if path[1] == 1}
    assert abs(crf.log_partition(known).item() - log_total(paths.values())) < 1e-9
    assert crf.viterbi(known).tags[0].tolist() == list(max(paths, key=lambda path: paths[path]))
    assert torch.equal(crf.marginals(known)[0, 1], torch.tensor([0.0, 1, 0]).double())


def test_long_sequences_in_float32_are_as_exact_as_their_inputs():
    """In float32 throughout the marginals would be wrong by 0.09."""
    crf = random_crf(17).float()
    emissions = draw(2, 2000, 17).float()
    exact = crf.marginals(emissions.double())
    assert exact.dtype == torch.float64
    assert (crf.marginals(emissions) - exact).abs().max() < 1e-7
    assert crf.marginals(emissions[:, :3].bfloat16()).dtype == torch.float32


def test_ties_give_different_paths():
    """Without a preference, the k best are k different paths of equal score."""
    found = CRF(3).k_best(torch.zeros(1, 4, 3), 50)
    assert len({tuple(path) for path in found.tags[0].tolist()}) == 50
    assert found.score.tolist() == [[0.0] * 50]


@pytest.mark.parametrize("shape", [(0, 5, 3), (2, 0, 3), (0, 0, 3)])
def test_nothing_to_read_is_legal(shape):
    crf, emissions = random_crf(3), torch.zeros(shape)
    batch, time, _ = shape
    tags = torch.zeros(batch, time, dtype=torch.int64)
    assert crf(emissions, tags).shape == (batch,)
    assert crf.marginals(emissions).shape == shape
    assert crf.viterbi(emissions).tags.shape == (batch, time)
    assert crf.k_best(emissions, 2).tags.shape == (batch, 2, time)
    assert crf.k_best(emissions, 2).score.tolist() == [[0.0, -INF]] * batch


def test_inference_mode_and_the_definition_agree_with_the_kernels():
    crf, emissions = random_crf(4), draw(3, 7, 4)
    with torch.inference_mode():
        quick = crf.marginals(emissions), crf.viterbi(emissions).tags
    with backends.use("reference"):
        slow = crf.marginals(emissions), crf.viterbi(emissions).tags
    assert (quick[0] - slow[0]).abs().max() < 1e-12
    assert torch.equal(quick[1], slow[1])


def test_rules_are_saved_with_the_parameters():
    crf, other = random_crf(4, legal=some_rules(4)), CRF(4).double()
    other.load_state_dict(crf.state_dict())
    emissions = draw(5, 6, 4)
    assert torch.equal(other.viterbi(emissions).tags, crf.viterbi(emissions).tags)


FORBIDS = (
    torch.tensor([True, False]),
    torch.tensor([[True, True], [False, True]]),
    torch.tensor([True, True]),
)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ([1, 1, 1], "the rules forbid tag 1 at the start, in row 1"),
        ([0, 1, 0], "the rules forbid tag 0 after tag 1, in row 1 at step 2"),
        ([0, 2, 0], "tags hold 2 in row 1 at step 1; there are 2 tags, from 0"),
        ([0, -1, 0], "tags hold -1 in row 1 at step 1"),
    ],
)
def test_tags_that_cannot_be_are_named(path, sentence):
    crf = CRF(2, legal=FORBIDS)
    tags = torch.tensor([[0, 1, 1], path])
    with pytest.raises(ValueError, match=sentence):
        crf(torch.zeros(2, 3, 2), tags)
    # Beyond the length nothing is read.
    crf(torch.zeros(2, 3, 2), tags, lengths=torch.tensor([3, 0]))


def test_an_end_that_is_forbidden_is_named():
    crf = CRF(2, legal=(*FORBIDS[:2], torch.tensor([True, False])))
    with pytest.raises(ValueError, match="forbid tag 1 at the end, in row 0"):
        crf(torch.zeros(1, 3, 2), torch.tensor([[0, 0, 1]]))
    barred = torch.zeros(1, 3, 2)
    barred[0, 1, 0] = -INF
    with pytest.raises(ValueError, match="emissions of -inf forbid the tags of row 0"):
        crf(barred, torch.tensor([[0, 0, 0]]))


@pytest.mark.parametrize("method", ["marginals", "viterbi", "k_best"])
def test_a_row_without_a_path_is_named(method):
    k = (2,) if method == "k_best" else ()
    crf = CRF(2, legal=(*FORBIDS[:2], torch.tensor([False, False])))
    with pytest.raises(ValueError, match="row 0 has no best path: all its paths are forbidden"):
        getattr(crf, method)(torch.zeros(2, 3, 2), *k)
    emissions = torch.zeros(2, 3, 2)
    emissions[1, 2, 1] = math.nan
    with pytest.raises(ValueError, match="row 1 has no best path: its emissions are NaN"):
        getattr(CRF(2), method)(emissions, *k)


def test_what_does_not_fit_is_refused():
    crf = CRF(2)
    with pytest.raises(ValueError, match="tags is 0"):
        CRF(0)
    with pytest.raises(ValueError, match=r"of start \(3,\) of torch.bool.*\(2,\)"):
        CRF(2, legal=(torch.ones(3).bool(), *FORBIDS[1:]))
    with pytest.raises(ValueError, match=r"emissions \(1, 3, 4\) should be \(batch, time, 2\)"):
        crf.viterbi(torch.zeros(1, 3, 4))
    with pytest.raises(ValueError, match="k is 0"):
        crf.k_best(torch.zeros(1, 3, 2), 0)


@pytest.mark.parametrize("ruled", [False, True])
def test_what_is_partly_known_costs_what_enumeration_says(ruled):
    crf = random_crf(3, legal=some_rules(3) if ruled else None)
    emissions = draw(6, 5, 3)
    lengths = torch.arange(6)
    for row in range(6):
        emissions[row, row:] = math.nan
    emissions.requires_grad_()
    # 0 may stand anywhere: the rules leave each row a path.
    tags = torch.tensor([[0, -1, 0, -1, -1]] * 6)
    cost = crf.partly(emissions, tags, lengths=lengths)
    for row in range(6):
        paths = enumerated(crf, emissions[row, :row].detach())
        known = {at: 0 for at in (0, 2) if at < row}
        through = [
            score
            for path, score in paths.items()
            if all(path[at] == tag for at, tag in known.items())
        ]
        expected = log_total(paths.values()) - log_total(through)
        assert cost[row].item() == pytest.approx(expected, abs=1e-9)
    # Its gradient: the marginals of all paths, less those of the paths that are left.
    (gradient,) = torch.autograd.grad(cost.sum(), emissions)
    free = crf.marginals(emissions.detach(), lengths=lengths)
    bound = emissions.detach().clone()
    bound[:, [0, 2], 1:] = -INF
    bound = torch.where(torch.arange(5)[None, :, None] < lengths[:, None, None], bound, math.nan)
    left = crf.marginals(bound, lengths=lengths)
    real = torch.arange(5)[None, :, None] < lengths[:, None, None]
    torch.testing.assert_close(torch.where(real, gradient, 0), torch.where(real, free - left, 0))


def test_all_known_is_the_likelihood_and_nothing_known_costs_nothing():
    crf, emissions, tags = random_crf(4), draw(3, 6, 4), torch.randint(4, (3, 6))
    lengths = torch.tensor([6, 3, 0])
    torch.testing.assert_close(
        crf.partly(emissions, tags, lengths=lengths), crf(emissions, tags, lengths=lengths)
    )
    nothing = crf.partly(emissions, torch.full((3, 6), -1), lengths=lengths)
    torch.testing.assert_close(nothing, torch.zeros(3).double(), atol=1e-12, rtol=0)


def test_known_tags_that_leave_no_path_are_named():
    names = ("O", "B-X", "I-X")
    crf = random_crf(3, legal=tagging.legal(names, "BIO"))
    with pytest.raises(ValueError, match="no path of row 1 goes through the tags that are known"):
        crf.partly(draw(2, 2, 3), torch.tensor([[-1, 2], [0, 2]]))
    with pytest.raises(ValueError, match="tags hold 3 in row 0 at step 1"):
        crf.partly(draw(1, 2, 3), torch.tensor([[-1, 3]]))
