"""What is special to the tasks of formal languages and state tracking."""

import re
from collections import Counter
from itertools import product

import pytest
import torch

from statewise.tasks import (
    counter_languages,
    delayed_match,
    dyck,
    group_words,
    list_ops,
    modular_arithmetic,
    n_parity,
    regular_languages,
    set_disjointness,
    star_free,
)


def drawn(task, length=33, seed=0, batch=40):
    return task.draw(batch, length, torch.Generator().manual_seed(seed))


# Arithmetic and lists.


@pytest.mark.parametrize("brackets", [True, False])
@pytest.mark.parametrize("length", [2, 3, 4, 5, 6, 7, 8, 9, 30])
def test_arithmetic_is_what_python_says(brackets, length):
    task = modular_arithmetic.ModularArithmetic(6, brackets=brackets)
    batch = drawn(task, length)
    for tokens, target in zip(batch.tokens.tolist(), batch.targets[:, -1].tolist(), strict=True):
        words = [task.symbols[token] for token in tokens]
        assert words.pop() == "="
        assert eval("".join(words)) % 6 == target
        if length > 5:
            assert set(words) & {"+", "-", "*"}


def test_without_brackets_products_go_first():
    task = modular_arithmetic.ModularArithmetic(brackets=False)
    assert task.solve([task.symbols.index(word) for word in "1+2*3="])[-1] == 7 % 5
    assert not {"(", ")"} & set(task.symbols)


@pytest.mark.parametrize("length", [*range(3, 20), 250])
def test_lists_fill_any_length_within_their_bounds(length):
    task = list_ops.ListOps(depth=4, arguments=4)
    batch = drawn(task, length)
    words = [[task.symbols[token] for token in row] for row in batch.tokens.tolist()]
    for row, depth in zip(words, batch.difficulty[:, 0].tolist(), strict=True):
        arguments, deepest = [0], 0
        for word in row:
            if word.startswith("["):
                arguments.append(0)
                deepest = max(deepest, len(arguments) - 1)
            else:
                if word == "]":
                    assert 1 <= arguments.pop() <= 4
                arguments[-1] += 1
        assert arguments == [1]
        assert deepest == depth <= 4


@pytest.mark.parametrize(
    ("words", "value"),
    [("[MED 1 4 ]", 2), ("[MED 9 1 4 ]", 4), ("[SM 9 9 9 ]", 7), ("[MIN 3 [MAX 1 2 ] ]", 2)],
)
def test_operations_by_hand(words, value):
    tokens = [list_ops.SYMBOLS.index(word) for word in words.split()]
    assert list_ops.ListOps().solve(tokens)[-1] == value


# Brackets and numbers.


def test_words_of_dyck_keep_to_their_depth_and_close_what_they_opened():
    task = dyck.Dyck(kinds=3, depth=3)
    deepest = 0
    for row in drawn(task).tokens.tolist():
        stack = []
        for token in row:
            if token < 3:
                stack.append(token)
            else:
                assert stack.pop() == token - 3
            assert len(stack) <= 3
            deepest = max(deepest, len(stack))
    assert deepest == 3


def test_symbols_of_many_kinds_have_names_of_their_own():
    symbols = dyck.Dyck(kinds=6).symbols
    assert len(set(symbols)) == 13
    assert symbols[:5] == ("(", "[", "{", "<", "(4")


@pytest.mark.parametrize("letters", [2, 3, 4])
def test_words_of_equal_numbers_are_such(letters):
    task = counter_languages.EqualNumbers(letters)
    batch = drawn(task, 40)
    seen = set()
    for tokens, number in zip(batch.tokens.tolist(), batch.difficulty.tolist(), strict=True):
        row = "".join(task.symbols[token] for token in tokens)
        for word in re.finditer(r"([^$]*)\$", row):
            n = number[word.start()]
            assert word[1] == "".join(symbol * n for symbol in task.symbols[:letters])
            assert set(number[word.start() : word.end()]) == {n}
            seen.add(n)
    assert {1, 2, 3} <= seen


def test_longer_examples_have_larger_numbers():
    task = counter_languages.EqualNumbers()
    assert [int(drawn(task, length).difficulty.max()) for length in (6, 60)] == [3, 30]


def test_shuffled_brackets_never_close_what_is_not_open():
    task = counter_languages.ShuffledBrackets(3)
    crossed = False
    for row in drawn(task).tokens.tolist():
        numbers, last = Counter(), []
        for token in row:
            numbers[token // 2] += -1 if token % 2 else 1
            assert min(numbers.values()) >= 0
            if token % 2:
                crossed |= last[-1] != token // 2
                last.remove(token // 2)
            else:
                last.append(token // 2)
    assert crossed


def test_some_shuffled_brackets_wander_and_others_stay_near():
    batch = drawn(counter_languages.ShuffledBrackets(1), 400, batch=300)
    # Where something was open before, it closes with the row's own probability.
    could = torch.nn.functional.pad(batch.difficulty, (1, 0))[:, :-1] > 0
    closes = ((batch.tokens == 1) & could).sum(1) / could.sum(1)
    assert abs(closes.mean() - 0.75) < 0.03
    assert closes.min() < 0.55
    assert closes.max() > 0.95


# Groups.


def test_three_places_draw_what_they_always_drew():
    for task, count in ((group_words.GroupWords(), 6), (group_words.GroupWords(4), 24)):
        expected = torch.randint(count, (40, 33), generator=torch.Generator().manual_seed(0))
        assert torch.equal(drawn(task).tokens, expected)


@pytest.mark.parametrize(
    ("name", "order", "solvable"),
    [
        *(("Z2", 2, True), ("Z7", 7, True), ("Z60", 60, True), ("S3", 6, True)),
        *(("S4", 24, True), ("S5", 120, False)),
        *(("A3", 3, True), ("A4", 12, True), ("A5", 60, False)),
    ],
)
def test_groups_have_their_order_and_their_derived_series_ends_or_not(name, order, solvable):
    task = group_words.GroupWords.named(name)
    elements = set(task.elements)
    assert len(elements) == len(task.elements) == order == task.vocab == task.answers

    def times(a, b):
        return tuple(b[i] for i in a)

    def inverse(a):
        return tuple(sorted(range(len(a)), key=a.__getitem__))

    def closure(group):
        while True:
            larger = group | {times(a, b) for a in group for b in group}
            if larger == group:
                return group
            group = larger

    assert closure(elements) == elements
    while True:
        commutators = {
            times(times(inverse(a), inverse(b)), times(a, b)) for a in elements for b in elements
        }
        derived = closure(commutators)
        if derived == elements:
            break
        elements = derived
    assert (len(elements) == 1) == solvable == task.solvable


def test_what_moves_few_places_is_all_that_is_drawn():
    task = group_words.GroupWords.named("S5", moved=2)
    moves = {
        sum(i != to for i, to in enumerate(task.elements[token]))
        for token in drawn(task).tokens.unique().tolist()
    }
    assert moves == {0, 2}
    assert len(task.drawn) == 11
    assert int(drawn(task, 60, batch=200).targets[:, -1].unique().numel()) > 60


# Windows.


def test_one_stream_is_asked_for_many_n():
    tokens = drawn(n_parity.NParity(1)).tokens
    for n in (1, 2, 7, 33):
        task = n_parity.NParity(n)
        assert task.targets(tokens).tolist() == [task.solve(row) for row in tokens.tolist()]
    for n in (2, 7, 33):
        task = delayed_match.DelayedMatch(n)
        assert task.targets(tokens).tolist() == [task.solve(row) for row in tokens.tolist()]
    assert torch.equal(
        delayed_match.DelayedMatch(2).targets(tokens)[:, 1:], 1 - tokens.diff().abs()
    )


# Sets.


@pytest.mark.parametrize("first", ["smaller", "larger", "either"])
def test_sets_come_in_the_order_that_is_asked(first):
    task = set_disjointness.SetDisjointness(first)
    batch = drawn(task, 33)
    assert task.sizes(33) == (6, 25)
    held = {"smaller": {6}, "larger": {25}, "either": {6, 25}}[first]
    for row, size, disjoint in zip(
        batch.tokens.tolist(),
        batch.difficulty[:, -1].tolist(),
        batch.targets[:, -1].tolist(),
        strict=True,
    ):
        words = [task.symbols[token] for token in row]
        between = words.index("|")
        one, other = set(words[:between]), set(words[between + 1 : -1])
        assert between == size == len(one)
        assert {len(one), len(other)} == {6, 25}
        assert len(one & other) == 1 - disjoint
        held.discard(size) if first == "either" else None
    assert held == (set() if first == "either" else {size})


# Languages of the literature.

PATTERNS = {
    "tomita 1": "1*",
    "tomita 2": "(10)*",
    "tomita 4": "(?!.*000)[01]*",
    "tomita 7": "0*1*0*1*",
    "D1": "(ab)*",
    "D2": "(a(ab)*b)*",
    "D3": "(a(a(ab)*b)*b)*",
    "D4": "(a(a(a(ab)*b)*b)*b)*",
    "even pairs": "a([ab]*a)?|b([ab]*b)?|",
    "(abab)*": "(abab)*",
    "{0,1,2}*02*": "[012]*02*",
    "{a,b}*d{b,c}*": "[ab]*d[bc]*",
    "aa*bb*cc*dd*ee*": "a+b+c+d+e+",
}


def third(word):
    """Return whether no odd run of 1s has an odd run of 0s right behind it."""
    runs = [len(run) for run in re.findall("1+|0+", word.lstrip("0"))]
    return not any(
        ones % 2 and zeros % 2 for ones, zeros in zip(runs[::2], runs[1::2], strict=False)
    )


def bounded(word):
    heights = [word[:i].count("a") - word[:i].count("b") for i in range(len(word) + 1)]
    return min(heights) >= 0 and max(heights) <= 12 and heights[-1] == 0


COUNTS = {
    "tomita 3": third,
    "tomita 5": lambda word: word.count("0") % 2 == 0 == word.count("1") % 2,
    "tomita 6": lambda word: (word.count("0") - word.count("1")) % 3 == 0,
    "D12": bounded,
}


@pytest.mark.parametrize("name", star_free.LANGUAGES)
def test_automata_accept_what_their_expressions_do(name):
    task = star_free.Membership(name)
    symbols = task.automaton.symbols
    member = COUNTS.get(name) or (lambda word: re.fullmatch(PATTERNS[name], word) is not None)
    words = [
        word
        for length in range(1, {2: 12, 3: 8, 4: 7, 5: 7}[len(symbols)])
        for word in product(range(len(symbols)), repeat=length)
    ]
    # Deep ones, which D12 alone has.
    words += [(0,) * n + (1,) * n for n in (11, 12, 13)] if symbols == "ab" else []
    members = 0
    for tokens in words:
        found = task.solve(list(tokens))[-1]
        assert found == member("".join(symbols[token] for token in tokens)), tokens
        members += found
    assert 0 < members < len(words)


@pytest.mark.parametrize("name", star_free.LANGUAGES)
def test_automata_are_minimal(name):
    automaton = star_free.LANGUAGES[name]
    states = range(len(automaton.steps))
    reached = {0}
    for _ in states:
        reached |= {to for state in reached for to in automaton.steps[state]}
    assert reached == set(states)
    kinds = [state in automaton.accepting for state in states]
    for _ in states:
        looks = [(kinds[state], *(kinds[to] for to in automaton.steps[state])) for state in states]
        kinds = [looks.index(look) for look in looks]
    assert len(set(kinds)) == len(states)


def test_those_are_star_free_that_the_literature_says():
    counting = {"tomita 3", "tomita 5", "tomita 6", "(abab)*"}
    found = {name for name, automaton in star_free.LANGUAGES.items() if not automaton.star_free}
    assert found == counting


@pytest.mark.parametrize("name", ["tomita 4", "tomita 7", "D3", "aa*bb*cc*dd*ee*"])
def test_half_of_the_examples_are_lost_and_at_any_place(name):
    task = star_free.Membership(name)
    batch = drawn(task, 24, batch=2000)
    lost = []
    for row in batch.tokens.tolist():
        state, place = 0, 24
        for time, token in enumerate(row):
            state = task.automaton.steps[state][token]
            if state not in task.automaton.live:
                place = time
                break
        lost.append(place)
    assert abs(lost.count(24) / 2000 - 0.5) < 0.1
    # A quarter of the rows in each half of the places, less where the first can lose nothing.
    assert 0.15 < sum(place < 12 for place in lost) / 2000 < 0.3
    assert 0.2 < sum(12 <= place < 24 for place in lost) / 2000 < 0.3


def test_beginnings_of_words_are_as_likely_as_each_other():
    task = star_free.Membership("tomita 7")
    rows = drawn(task, 6, batch=20000).tokens.tolist()
    live = Counter(tuple(row) for row in rows if re.fullmatch("0*1*0*1*", "".join(map(str, row))))
    # Of 0s and 1s with up to three changes beginning with 0, or two with 1: 26 and 16.
    assert len(live) == 42
    share = sum(live.values()) / 42
    assert all(abs(times - share) < 6 * share**0.5 for times in live.values())


def test_long_words_do_not_overflow():
    tokens = drawn(star_free.Membership("{0,1,2}*02*"), 3000, batch=4).tokens[:, :1000]
    shares = [(tokens == symbol).double().mean().item() for symbol in range(3)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.05)


# Languages in context.

ICLL = regular_languages.RegularLanguages()


def learned(length=65, batch=40, task=ICLL, seed=0):
    generator = torch.Generator().manual_seed(seed)
    automata = task.languages(batch, generator)
    return automata, task.write(automata, length, generator)


def by_hand(automaton, tokens, end):
    """Return what may come next, by following the automaton in a loop."""
    state, sets = 0, []
    for token in tokens:
        state = 0 if token == end else automaton[state][token]
        sets.append({symbol for symbol, to in enumerate(automaton[state]) if to >= 0})
    return sets


def test_strings_walk_their_automata_and_every_target_is_legal():
    automata, batch = learned()
    legal = ICLL.legal(automata, batch.tokens)
    for row in range(40):
        tokens, targets = batch.tokens[row].tolist(), batch.targets[row].tolist()
        assert tokens[0] == 18
        assert tokens[1:] == targets[:-1]
        assert batch.mask[row].tolist() == [target != 18 for target in targets]
        assert batch.difficulty[row].tolist() == [
            tokens[: i + 1].count(18) - 1 for i in range(len(tokens))
        ]
        sets = by_hand(automata[row].tolist(), tokens, 18)
        assert [set(place.nonzero()[:, 0].tolist()) for place in legal[row]] == sets
        assert all(
            target in allowed for target, allowed in zip(targets, sets, strict=True) if target < 18
        )


def test_automata_are_within_their_bounds_and_use_them():
    task = regular_languages.RegularLanguages(states=(3, 5), letters=(3, 6), edges=3, symbols=9)
    automata = task.languages(500, torch.Generator().manual_seed(0))
    assert automata.shape == (500, 5, 9)
    edges = (automata >= 0).sum(2)
    assert set(edges.unique().tolist()) == {1, 2, 3}
    assert set((automata.amax((1, 2)) + 1).unique().tolist()) <= {1, 2, 3, 4, 5}
    letters = (automata >= 0).any(1).sum(1)
    assert int(letters.max()) <= 6
    assert automata.flatten(1).unique(dim=0).shape[0] > 490


def test_strings_have_all_their_lengths():
    task = regular_languages.RegularLanguages(longest=5)
    _, batch = learned(200, 100, task)
    rows = ["".join("|" if token == 18 else "x" for token in row) for row in batch.tokens.tolist()]
    whole = Counter(len(word) for row in rows for word in row.split("|")[1:-1])
    assert set(whole) == {1, 2, 3, 4, 5}
    assert max(whole.values()) < 1.15 * min(whole.values())


def test_legal_symbols_are_as_likely_as_each_other():
    automata, batch = learned(400, 300)
    true = ICLL.legal(automata, batch.tokens).float()
    true /= true.sum(-1, keepdim=True)
    expected = true[batch.mask].sum(0)
    came = torch.nn.functional.one_hot(batch.targets[batch.mask], 19).sum(0)
    assert ((came - expected).abs()[:18] < 5 * expected[:18].sqrt()).all()


def test_the_generator_alone_decides_the_language_and_its_strings():
    before = torch.random.get_rng_state()
    first, again, other = (drawn(ICLL, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.tokens, other.tokens)


def test_whoever_knows_the_automaton_scores_one_and_a_change_is_seen():
    automata, batch = learned()
    legal = ICLL.legal(automata, batch.tokens)
    exact = legal / legal.sum(-1, keepdim=True)
    best = regular_languages.scores(exact, legal, batch)
    assert (best.legal, best.distance) == (1.0, 0.0)
    choices = legal.sum(-1)[batch.mask].double()
    assert best.nats == pytest.approx(choices.log().mean().item(), rel=1e-5)
    worst = regular_languages.scores(
        (~legal).float() / (~legal).sum(-1, keepdim=True), legal, batch
    )
    assert (worst.legal, worst.distance) == (0.0, pytest.approx(1.0, abs=1e-5))


def test_after_what_is_illegal_nothing_is_legal_until_the_next_string():
    automata = torch.tensor([[[1, -1], [-1, 0]]])
    legal = regular_languages.RegularLanguages(2, (2, 2), (2, 2), 1).legal(
        automata, torch.tensor([[2, 0, 0, 1, 2, 0]])
    )
    assert [place.nonzero()[:, 0].tolist() for place in legal[0]] == [[0], [1], [], [], [0], [1]]


def counted(tokens, order, symbols):
    """Return the last distribution of `ngram`, by counting in dictionaries."""
    mixed = [1 / symbols] * symbols
    for back in range(order):
        context = tuple(tokens[len(tokens) - back :])
        followers = Counter(
            tokens[i + back]
            for i in range(len(tokens) - back)
            if tuple(tokens[i : i + back]) == context and tokens[i + back] != symbols
        )
        if followers:
            total = sum(followers.values()) + len(followers)
            mixed = [(followers[s] + len(followers) * mixed[s]) / total for s in range(symbols)]
    return [*mixed, 0.0]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_ngrams_count_what_followed_before(order):
    task = regular_languages.RegularLanguages(4, (2, 4), (2, 4), 2, longest=6)
    _, batch = learned(30, 6, task)
    found = regular_languages.ngram(batch.tokens, order, 4)
    for row in range(6):
        tokens = batch.tokens[row].tolist()
        for time in range(30):
            expected = counted(tokens[: time + 1], order, 4)
            # The first token has no follower, so that unigrams count from the second on.
            assert found[row, time].tolist() == pytest.approx(expected, abs=1e-6)


def test_ngrams_are_better_with_more_context_and_worse_than_knowing():
    automata, batch = learned(129, 60)
    legal = ICLL.legal(automata, batch.tokens)
    one, two, three = (
        regular_languages.scores(regular_languages.ngram(batch.tokens, order, 18), legal, batch)
        for order in (1, 2, 3)
    )
    assert one.legal + 0.1 < two.legal < three.legal < 1
    assert one.distance > two.distance > 0
    # One symbol for all is right less often than the most frequent so far.
    everywhere = max(legal[batch.mask].double().mean(0))
    assert everywhere < one.legal


def test_the_picture_of_languages_is_right():
    lines = regular_languages.__doc__.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("tokens"))
    columns = range(9, 9 + 2 * 13, 2)
    tokens, targets, legal, more, strings = (
        [line.ljust(60)[column] for column in columns] for line in lines[start : start + 5]
    )
    letters = "abcd"
    automaton = torch.tensor([[[-1, -1, 1, -1], [0, -1, -1, 2], [0, 3, -1, -1], [0, -1, -1, -1]]])
    task = regular_languages.RegularLanguages(4, (4, 4), (4, 4), 2)
    numbers = torch.tensor([[("abcd|").index(token) for token in tokens]])
    sets = [
        {letters[symbol] for symbol in place.nonzero()[:, 0].tolist()}
        for place in task.legal(automaton, numbers)[0]
    ]
    for i in range(13):
        last = i == 12
        ends = not last and tokens[i + 1] == "|"
        assert targets[i] == ("." if ends else targets[i] if last else tokens[i + 1])
        assert {legal[i], more[i]} - {" "} == ({"."} if ends else sets[i])
        assert ends or targets[i] in sets[i]
        assert strings[i] == str(tokens[: i + 1].count("|") - 1)


# What is refused.


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: modular_arithmetic.ModularArithmetic(1), "modulus is 1;"),
        (lambda: list_ops.ListOps(depth=0), "depth is 0;"),
        (lambda: list_ops.ListOps(arguments=1), "arguments is 1;"),
        (lambda: dyck.Dyck(kinds=0), "kinds is 0 and depth is 4;"),
        (lambda: dyck.Dyck(depth=0), "kinds is 2 and depth is 0;"),
        (lambda: counter_languages.EqualNumbers(1), "letters is 1;"),
        (lambda: counter_languages.ShuffledBrackets(9), "kinds is 9;"),
        (lambda: n_parity.NParity(0), "n is 0;"),
        (lambda: delayed_match.DelayedMatch(1), "n is 1;"),
        (lambda: set_disjointness.SetDisjointness(ratio=0), "ratio is 0;"),
        (lambda: star_free.Membership("tomita 8"), "language is 'tomita 8';"),
        (lambda: group_words.GroupWords(1), "places is 1;"),
        (lambda: group_words.GroupWords(2, "alternating"), "places is 2;"),
        (lambda: group_words.GroupWords(5, "alternating", 2), "moved is 2;"),
        (lambda: group_words.GroupWords.named("B5"), "name is 'B5';"),
        (lambda: group_words.GroupWords.named("S"), "name is 'S';"),
        (lambda: regular_languages.RegularLanguages(states=(5, 4)), r"states is \(5, 4\);"),
        (lambda: regular_languages.RegularLanguages(edges=5), "edges is 5,"),
        (lambda: regular_languages.RegularLanguages(longest=0), "longest is 0;"),
        (lambda: regular_languages.RegularLanguages(symbols=9), "symbols is 9;"),
        (lambda: regular_languages.ngram(torch.zeros(1, 2, dtype=torch.long), 0, 4), "order is 0;"),
    ],
)
def test_what_makes_no_task_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize(
    ("task", "length"),
    [
        (modular_arithmetic.ModularArithmetic(), 1),
        (list_ops.ListOps(), 2),
        (list_ops.ListOps(depth=1), 8),
        (counter_languages.EqualNumbers(3), 2),
        (n_parity.NParity(5), 4),
        (delayed_match.DelayedMatch(5), 4),
        (set_disjointness.SetDisjointness(), 3),
        (set_disjointness.SetDisjointness(elements=20), 23),
        (star_free.Membership(), 0),
    ],
)
def test_lengths_without_an_example_are_refused(task, length):
    with pytest.raises(ValueError, match=f"length is {length};"):
        drawn(task, length)


def test_an_empty_batch_is_a_batch():
    for task in (modular_arithmetic.ModularArithmetic(), list_ops.ListOps(), ICLL, dyck.Dyck()):
        assert drawn(task, 9, batch=0).tokens.shape == (0, 9)
