"""The synthetic tasks: exact, repeatable, and as their pictures show them."""

import pytest
import torch

from statewise.tasks import (
    associative_recall,
    counter_languages,
    delayed_match,
    dyck,
    examples,
    group_words,
    list_ops,
    modular_arithmetic,
    modular_counting,
    n_parity,
    parity,
    set_disjointness,
    star_free,
)

TASKS = {
    "parity": parity.Parity(),
    "counting": modular_counting.ModularCounting(),
    "counting, 5": modular_counting.ModularCounting(5),
    "S3": group_words.GroupWords(),
    "S4": group_words.GroupWords(4),
    "recall": associative_recall.AssociativeRecall(),
    "recall, few": associative_recall.AssociativeRecall(keys=9, answers=2),
    "A4": group_words.GroupWords.named("A4"),
    "A5": group_words.GroupWords.named("A5"),
    "Z60": group_words.GroupWords.named("Z60"),
    "S4, swaps": group_words.GroupWords.named("S4", moved=2),
    "arithmetic": modular_arithmetic.ModularArithmetic(),
    "arithmetic, flat": modular_arithmetic.ModularArithmetic(7, brackets=False),
    "lists": list_ops.ListOps(),
    "lists, shallow": list_ops.ListOps(depth=3, arguments=8),
    "Dyck": dyck.Dyck(),
    "Dyck, five kinds": dyck.Dyck(kinds=5, depth=6),
    "a^n b^n": counter_languages.EqualNumbers(),
    "a^n b^n c^n": counter_languages.EqualNumbers(3),
    "shuffled": counter_languages.ShuffledBrackets(),
    "shuffled, three": counter_languages.ShuffledBrackets(3),
    "N-parity": n_parity.NParity(),
    "match": delayed_match.DelayedMatch(),
    "sets": set_disjointness.SetDisjointness(),
    "sets, larger first": set_disjointness.SetDisjointness("larger", ratio=2, elements=37),
    **{name: star_free.Membership(name) for name in star_free.LANGUAGES},
}
PICTURED = {
    parity: "parity",
    modular_counting: "counting",
    group_words: "S3",
    modular_arithmetic: "arithmetic",
    list_ops: "lists",
    dyck: "Dyck",
    counter_languages: "a^n b^n",
    n_parity: "N-parity",
    delayed_match: "match",
    set_disjointness: "sets",
    star_free: "tomita 4",
}
CHANCE = {
    # In the long run a fourth of the answers is $; the kinds share the rest.
    "Dyck": 3 / 8,
    # Half of what counts goes on; of three letters half goes from one to the next.
    "a^n b^n": 1 / 2,
    "a^n b^n c^n": 1 / 2,
    # What is still live is in the language; one half of the examples is lost, midway on average.
    **dict.fromkeys(("tomita 1", "tomita 4", "tomita 7"), 3 / 4),
    # Nothing is ever lost: one in four states, and one in three.
    "tomita 5": 3 / 4,
    "tomita 6": 2 / 3,
    # One in two states of the three quarters that are live, and one in four.
    **dict.fromkeys(("tomita 2", "D1"), 5 / 8),
    "(abab)*": 13 / 16,
}
"""How often the most frequent answer is right, where that has a reason that is short."""
SKEWED = {
    *("arithmetic", "arithmetic, flat", "lists", "lists, shallow", "Dyck, five kinds"),
    *("shuffled", "shuffled, three", "tomita 3", "D2", "D3", "D4", "D12"),
    *("{a,b}*d{b,c}*", "aa*bb*cc*dd*ee*"),
}
"""Where it is more than its share, by no such reason."""


def drawn(task, length=33, seed=0, batch=40):
    return task.draw(batch, length, torch.Generator().manual_seed(seed))


@pytest.fixture(params=TASKS)
def task(request):
    return TASKS[request.param]


def solved(task, batch):
    return torch.tensor([task.solve(row) for row in batch.tokens.tolist()])


@pytest.mark.parametrize("length", [4, 5, 31, 39])
def test_the_solver_is_always_right_and_a_change_is_seen(task, length):
    batch = drawn(task, length)
    answers = solved(task, batch)
    assert examples.accuracy(answers, batch) == 1.0
    row, column = batch.mask.nonzero()[-1]
    answers[row, column] = (answers[row, column] + 1) % task.vocab
    assert examples.accuracy(answers, batch) < 1.0


def test_it_is_a_task_within_its_vocabulary(task):
    assert isinstance(task, examples.Task)
    batch = drawn(task, batch=400)
    assert {tuple(part.shape) for part in batch if part is not None} == {(400, 33)}
    assert int(batch.tokens.min()) >= 0
    assert int(batch.tokens.max()) < task.vocab
    wanted = batch.targets[batch.mask]
    assert len(wanted.unique()) == task.answers <= task.vocab
    assert len(getattr(task, "symbols", range(task.vocab))) == task.vocab


@pytest.mark.parametrize("name", TASKS)
def test_chance_is_what_one_answer_gets(name):
    task = TASKS[name]
    found = examples.chance(drawn(task, batch=1500))
    if name in SKEWED:
        # The rarer ones are still one in fifty.
        assert 1 / task.answers < found < 0.98
    else:
        assert abs(found - CHANCE.get(name, 1 / task.answers)) < 0.035


def test_the_generator_alone_decides(task):
    before = torch.random.get_rng_state()
    first, again, other = (drawn(task, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(a is b or torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.tokens, other.tokens)


AFTER = {"recall": 16, "recall, few": 16, "N-parity": 2, "match": 2}
LAST = {"arithmetic", "arithmetic, flat", "lists", "lists, shallow", "sets", "sets, larger first"}


@pytest.mark.parametrize("name", TASKS)
def test_everything_counts_but_what_is_no_question(name):
    batch = drawn(TASKS[name])
    at = torch.arange(33).expand(40, 33)
    if name.startswith("Dyck"):
        expected = batch.tokens >= TASKS[name].kinds
    elif name.startswith("a^n"):
        letters = TASKS[name].letters
        inner = (batch.tokens > 0) & (batch.tokens < letters)
        # The end of a run of letters: what comes next is another. The last run may be cut off.
        end = batch.tokens.diff(append=torch.full((40, 1), -1)) != 0
        expected = inner & (end | end.roll(-1, 1))
        expected[:, -2:] = batch.mask[:, -2:]
    else:
        expected = at >= (32 if name in LAST else AFTER.get(name, 0))
    assert torch.equal(batch.mask, expected)


DEPTHS = ["arithmetic", "lists", "lists, shallow", "Dyck", "Dyck, five kinds"]
COUNTED = [*DEPTHS, "shuffled", "shuffled, three"]


def is_open(name, tokens):
    """Return the brackets that are open after each token, by their looks alone."""
    task = TASKS[name]
    if name.startswith("shuffled"):
        change = 1 - 2 * (tokens % 2)
    else:
        opens, closes = ("([{<", ")]}>") if name != "lists" else ("[", "]")
        looks = [(symbol[0] in opens) - (symbol[0] in closes) for symbol in task.symbols]
        change = torch.tensor(looks)[tokens]
    return change.cumsum(1)


@pytest.mark.parametrize("name", COUNTED)
def test_the_difficulty_is_what_is_open(name):
    batch = drawn(TASKS[name])
    opened = is_open(name, batch.tokens)
    if name in ("arithmetic", "lists", "lists, shallow"):
        opened = opened.amax(1, keepdim=True).expand(40, 33)
    assert torch.equal(batch.difficulty, opened)
    assert len(opened.unique()) > 1
    if name in ("lists", "lists, shallow", "Dyck", "Dyck, five kinds"):
        # Asked before a word of Dyck closes: as deep as it gets.
        assert 1 <= int(opened.max()) <= TASKS[name].depth


@pytest.mark.parametrize("name", [*COUNTED, "a^n b^n", "a^n b^n c^n", "sets"])
def test_accuracy_by_difficulty_adds_up(name):
    batch = drawn(TASKS[name])
    answers = solved(TASKS[name], batch)
    exact = examples.accuracy_by(answers, batch)
    assert list(exact) == sorted(exact)
    assert set(exact.values()) == {1.0}
    hardest = max(exact)
    hard = batch.mask & (batch.difficulty == hardest)
    answers = torch.where(hard, (answers + 1) % TASKS[name].vocab, answers)
    assert examples.accuracy_by(answers, batch) == {**exact, hardest: 0.0}


def test_without_a_difficulty_nothing_is_sliced():
    batch = drawn(TASKS["parity"])
    with pytest.raises(ValueError, match="difficulty of these examples is None"):
        examples.accuracy_by(batch.targets, batch)


def test_recall_asks_only_what_it_told_and_each_key_once():
    task = TASKS["recall"]
    for row in drawn(task).tokens.tolist():
        keys, values, asked = row[:16:2], row[1:16:2], row[16:]
        assert len(set(keys)) == 8
        assert set(asked) <= set(keys) <= set(range(task.keys))
        assert set(values) <= set(range(task.keys, task.vocab))


def test_the_loss_is_of_what_counts():
    batch = drawn(TASKS["recall"])
    logits = torch.full((*batch.tokens.shape, TASKS["recall"].vocab), -50.0)
    logits.scatter_(2, batch.targets[..., None], 50.0)
    logits[:, :16] = 0
    assert examples.loss(logits, batch).item() == 0
    logits[0, 16] = 0
    assert examples.loss(logits, batch).item() > 0


def pictures(module, word):
    """Return the symbols behind a word, once for each line of the picture that a docstring is."""
    lines = [row for row in module.__doc__.splitlines() if row.startswith(word)]
    return [line.removeprefix(word).split() for line in lines]


def picture(module, word):
    return pictures(module, word)[0]


@pytest.mark.parametrize("module", PICTURED, ids=lambda module: module.__name__.split(".")[-1])
def test_the_picture_is_right(module):
    name = PICTURED[module]
    symbols = list(getattr(TASKS[name], "symbols", map(str, range(TASKS[name].vocab))))
    shown = list(zip(pictures(module, "tokens"), pictures(module, "targets"), strict=True))
    for words, wanted in shown:
        answers = TASKS[name].solve([symbols.index(word) for word in words])
        # Bits as answers are written as such whatever the tokens look like.
        write = str if TASKS[name].answers == 2 and name != "a^n b^n" else symbols.__getitem__
        expected = [write(answer) for answer in answers]
        assert len(wanted) >= len(words)
        counts = [wanted[i] != "." for i in range(len(words))]
        assert any(counts)
        assert all(wanted[i] == expected[i] for i in range(len(words)) if counts[i])
        if name in LAST:
            assert counts == [False] * (len(words) - 1) + [True]
        elif name == "a^n b^n":
            assert counts == [a == "b" for a in words[:11]] + [False, True, True]
        elif name == "Dyck":
            assert counts == [word in ")]" for word in words]
        else:
            assert counts == [i >= AFTER.get(name, 0) for i in range(len(words))]


@pytest.mark.parametrize(("module", "word"), [(dyck, "depth"), (counter_languages, "open")])
def test_the_pictures_of_difficulty_are_right(module, word):
    shown = "tokens" if module is dyck else "brackets"
    opened, depth = [], 0
    for bracket in picture(module, shown):
        depth += 1 if bracket in "([" else -1
        opened.append(str(depth))
    assert picture(module, word)[: len(opened)] == opened


def test_the_other_pictures_of_counters_are_right():
    words = picture(counter_languages, "tokens")
    numbers = [str(word.count("a")) for word in "".join(words).split("$")]
    shown = [numbers["".join(words[:i]).count("$")] for i in range(len(words))]
    assert picture(counter_languages, "n")[: len(words)] == shown
    tokens = ["()[]".index(bracket) for bracket in picture(counter_languages, "brackets")]
    sets = [str(answer) for answer in TASKS["shuffled"].solve(tokens)]
    assert picture(counter_languages, "sets")[: len(sets)] == sets


def test_the_picture_of_the_group_is_right():
    elements = TASKS["S3"].elements
    words = ["".join(map(str, element)) for element in elements]
    assert picture(group_words, "elements")[1:12:2] == words
    answers = TASKS["S3"].solve([1, 3, 5, 1])
    assert group_words.__doc__.split("as such")[2].split()[:4] == [words[a] for a in answers]


def test_the_picture_of_recall_is_right():
    shown = picture(associative_recall, "tokens")
    values = dict(zip(shown[:6:2], shown[1:6:2], strict=True))
    expected = ["."] * 6 + [values[key] for key in shown[6:]]
    assert picture(associative_recall, "targets")[:12] == expected


@pytest.mark.parametrize("length", [3, 40])
def test_recall_refuses_lengths_without_pairs_or_keys(length):
    with pytest.raises(ValueError, match=f"from 4 to 39 tokens, not {length}"):
        drawn(TASKS["recall, few"], length)


def test_a_modulus_of_one_counts_nothing():
    with pytest.raises(ValueError, match="modulus of 2 or more, not 1"):
        modular_counting.ModularCounting(1)


def test_only_the_last_answer_counts_if_only_it_is_asked():
    task = parity.Parity()
    whole, last = (
        some.draw(5, 7, torch.Generator().manual_seed(0))
        for some in (task, examples.LastAnswer(task))
    )
    assert torch.equal(last.tokens, whole.tokens)
    assert torch.equal(last.targets, whole.targets)
    assert last.mask.nonzero().tolist() == [[row, 6] for row in range(5)]
    assert examples.LastAnswer(task).solve([1, 1, 0, 1]) == [1, 0, 0, 1]
    assert isinstance(examples.LastAnswer(task), examples.Task)
