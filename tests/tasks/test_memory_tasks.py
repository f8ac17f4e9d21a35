"""The tasks about memory: exact, repeatable, and as their pictures show them."""

import math
import sys
from collections import Counter

import pytest
import torch

from statewise.tasks import (
    copying,
    examples,
    flip_flop,
    induction,
    multi_query_recall,
    needle,
    noisy_recall,
    planted_definitions,
    read_twice,
    selective_copying,
)

TASKS = {
    "queries": multi_query_recall.MultiQueryRecall(pairs=4, keys=9, answers=5),
    "queries, noise": multi_query_recall.MultiQueryRecall(4, 9, 5, power=1.0, noise=True),
    "selective": selective_copying.SelectiveCopying(items=6, answers=4),
    "copying": copying.Copying(items=6, answers=4),
    "reversing": copying.Copying(items=6, answers=4, reverse=True),
    "copying, long words": copying.Copying(items=None, answers=4),
    "induction": induction.Induction(answers=5),
    "induction, everywhere": induction.Induction(answers=5, everywhere=True),
    "needle": needle.Needle(digits=3, answers=6, hay=2),
    "needle, lures": needle.Needle(digits=3, answers=6, hay=2, lures=True),
    "noisy": noisy_recall.NoisyRecall(pairs=4, keys=7, answers=5, noise=3),
    "definitions": planted_definitions.PlantedDefinitions(definitions=1),
    "definitions, text": planted_definitions.PlantedDefinitions(1, text="The sea, the sea; "),
    "flip-flop": flip_flop.FlipFlop(),
    "twice": read_twice.ReadTwice(pairs=4, keys=7, answers=5),
}


def drawn(task, length=40, seed=0, batch=40):
    return task.draw(batch, length, torch.Generator().manual_seed(seed))


def solved(task, batch):
    return torch.tensor([task.solve(row) for row in batch.tokens.tolist()])


@pytest.fixture(params=TASKS)
def task(request):
    return TASKS[request.param]


@pytest.mark.parametrize("length", [33, 34, 97])
def test_the_solver_is_always_right_and_a_change_is_seen(task, length):
    batch = drawn(task, length)
    answers = solved(task, batch)
    assert examples.accuracy(answers, batch) == 1.0
    row, time = batch.mask.nonzero()[-1].tolist()
    answers[row, time] = (answers[row, time] + 1) % task.vocab
    assert examples.accuracy(answers, batch) < 1.0


@pytest.mark.parametrize("length", [33, 97])
def test_the_answer_was_read_as_many_tokens_back_as_the_difficulty_says(task, length):
    batch = drawn(task, length)
    read = batch.tokens.gather(1, torch.arange(length) - batch.difficulty.clamp(min=0))
    assert torch.equal(read[batch.mask], batch.targets[batch.mask])
    back = batch.difficulty[batch.mask]
    assert 0 <= int(back.min()) <= int(back.max()) < length
    assert set(examples.accuracy_by(solved(task, batch), batch).values()) == {1.0}


def test_it_is_a_task_within_its_vocabulary(task):
    assert isinstance(task, examples.Task)
    batch = drawn(task)
    for part in (batch.tokens, batch.targets, batch.mask):
        assert part.shape == (40, 40)
    for part in (batch.tokens, batch.targets):
        assert 0 <= int(part.min()) <= int(part.max()) < task.vocab
    assert batch.mask.any(1).all()
    assert len(batch.targets[batch.mask].unique()) == task.answers <= task.vocab


def test_the_generator_alone_decides(task):
    before = torch.random.get_rng_state()
    first, again, other = (drawn(task, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    for name in ("tokens", "targets", "mask"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert not torch.equal(first.tokens, other.tokens)


def test_chance_is_one_in_as_many_as_there_are_answers(task):
    # Late in long examples, so that induction everywhere has no first symbols.
    batch = drawn(task, 120, batch=4000)
    wanted = batch.targets[:, 60:][batch.mask[:, 60:]]
    shares = wanted.unique(return_counts=True)[1].double() / len(wanted)
    chance = 1 / task.answers
    # Answers of one example are drawn apart from each other, or nearly so.
    spread = math.sqrt(chance * (1 - chance) / min(len(wanted), 20_000))
    assert (shares - chance).abs().max() < 5 * spread


SWITCHES = flip_flop.FlipFlop().symbols
SYMBOLS = {
    "queries": (
        multi_query_recall.MultiQueryRecall(pairs=3, keys=3, answers=2),
        {"a": 0, "b": 1, "c": 2, "1": 3, "2": 4, ".": 5},
    ),
    "selective": (
        selective_copying.SelectiveCopying(items=3, answers=3),
        {"0": 0, "1": 1, "2": 2, ".": 3, "?": 4},
    ),
    "copying": (copying.Copying(3, 3), {"0": 0, "1": 1, "2": 2, ".": 3, "?": 4}),
    "needle": (
        needle.Needle(digits=3, answers=8, hay=3),
        {**{str(digit): digit for digit in range(8)}, "a": 8, "b": 9, "c": 10, "!": 11, "?": 12},
    ),
    "noisy": (
        noisy_recall.NoisyRecall(pairs=3, keys=3, answers=2, noise=3),
        {symbol: at for at, symbol in enumerate("abc12xyz")},
    ),
    "induction": (induction.Induction(answers=3), {"0": 0, "1": 1, "2": 2, "?": 3}),
    "flip-flop": (
        flip_flop.FlipFlop(),
        {"0": 0, "1": 1, **{symbol: at for at, symbol in enumerate(SWITCHES)}},
    ),
}


def pictured(module, word, skip=0):
    """Return the symbols behind a word in the picture that a docstring is."""
    lines = [row.strip() for row in module.__doc__.splitlines() if row.strip().startswith(word)]
    return lines[skip].removeprefix(word).split()


def picture(task, word, skip=0):
    return pictured(sys.modules[type(task).__module__], word, skip)


def check_picture(task, symbols, tokens, targets):
    tokens = [symbols[symbol] for symbol in tokens]
    targets = targets[: len(tokens)]
    asked = [target != "." for target in targets]
    answers = task.solve(tokens)
    for answer, target in zip(answers, targets, strict=True):
        assert target in (".", next(s for s, number in symbols.items() if number == answer))
    return asked, drawn(task, len(tokens), batch=1).mask[0].tolist()


@pytest.mark.parametrize("name", SYMBOLS)
def test_the_picture_is_right(name):
    task, symbols = SYMBOLS[name]
    asked, mask = check_picture(task, symbols, picture(task, "tokens"), picture(task, "targets"))
    if name == "queries":
        # Where questions stand differs by example: in every other token behind the pairs.
        assert all(at >= 6 and at % 2 == 0 for at, wanted in enumerate(asked) if wanted)
        assert sum(asked) == sum(mask)
    elif name == "flip-flop":
        # Answers are the bits alone.
        assert asked == [symbol == "r" for symbol in picture(task, "tokens")]
    else:
        assert asked == mask


def test_the_picture_of_reversing_is_right():
    task, symbols = copying.Copying(3, 3, reverse=True), SYMBOLS["copying"][1]
    asked, mask = check_picture(task, symbols, picture(task, "tokens"), picture(task, "reverse"))
    assert asked == mask


def test_the_picture_of_induction_everywhere_is_right():
    task = induction.Induction(answers=3, everywhere=True)
    tokens = picture(task, "tokens", skip=1)
    asked, _ = check_picture(task, SYMBOLS["induction"][1], tokens, picture(task, "everywhere"))
    assert asked == [token in tokens[:at] for at, token in enumerate(tokens)]


def test_the_picture_of_definitions_is_right():
    lines = planted_definitions.__doc__.split("\n\n")[1].splitlines()
    text = "\n".join(line.strip().split("   ")[0] for line in lines)
    task = planted_definitions.PlantedDefinitions(2)
    tokens = list(text.encode())
    asked = [text.rindex(f"{name} means") + len("zomuka means") for name in ("zomuka", "ribeta")]
    assert [chr(task.solve(tokens)[at]) for at in asked] == ["7", "2"]
    places = [text.index("zomuka"), text.index("ribeta")]
    apart = [text.rindex("zomuka") - places[0], text.rindex("ribeta") - places[1]]
    assert apart[0] == apart[1] == int(task.distances(torch.tensor([tokens])))
    tokens[asked[0] + 1] = ord("8")  # what follows a question does not change its answer
    assert chr(task.solve(tokens)[asked[0]]) == "7"


@pytest.mark.parametrize("reading", read_twice.READINGS)
def test_the_pictures_of_readings_are_right(reading):
    task = read_twice.ReadTwice(reading, pairs=3, keys=3, answers=2)
    symbols = {symbol: at for at, symbol in enumerate("abc12?.")}
    shown = [symbols[symbol] for symbol in picture(task, reading)]
    asked, mask = check_picture(task, symbols, picture(task, reading), picture(task, "targets"))
    assert asked == mask
    for row in [shown, *drawn(task, 16).tokens.tolist()]:
        begins = {"once": 8, "question": 6, "twice": 0}[reading]
        assert row[:begins] == [6] * begins
        assert row[begins:8] == row[begins + 8 :]
        assert row[14] == 5
        assert {5, 6}.isdisjoint(row[8:14])


@pytest.mark.parametrize(("reading", "length"), [("once", 8), ("question", 10), ("twice", 16)])
def test_readings_fill_what_they_need(reading, length):
    task = read_twice.ReadTwice(reading, pairs=3, keys=3, answers=2)
    assert task.length == length
    assert not (drawn(task, length).tokens == task.vocab - 1).any()


def test_any_reading_is_as_likely_as_the_others():
    blanks = (drawn(TASKS["twice"], 21, batch=3000).tokens == 13).sum(1)
    kinds, counts = blanks.unique(return_counts=True)
    assert kinds.tolist() == [1, 9, 11]
    assert (counts / 3000).tolist() == pytest.approx([1 / 3] * 3, abs=0.03)


def test_queries_ask_each_key_once_and_their_number_is_not_the_length_s():
    task = TASKS["queries"]
    for length in (16, 17, 200):
        batch = drawn(task, length)
        assert (batch.mask.sum(1) == 4).all()
        for row, mask in zip(batch.tokens, batch.mask, strict=True):
            assert sorted(row[mask].tolist()) == sorted(row[:8:2].tolist())
            assert (mask.nonzero() % 2 == 0).all()
            assert (row[8:][~mask[8:]] == task.vocab - 1).all()


def test_noise_between_queries_is_any_key_or_value():
    batch = drawn(TASKS["queries, noise"], batch=400)
    between = batch.tokens[:, 8:][~batch.mask[:, 8:]]
    shares = between.bincount() / len(between)
    assert len(shares) == 14
    assert shares == pytest.approx(1 / 14, abs=0.01)


@pytest.mark.parametrize("power", [0.01, 1.0, 2.0])
def test_questions_are_spread_by_the_power_law(power):
    task = multi_query_recall.MultiQueryRecall(pairs=1, power=power)
    batch = drawn(task, 22, batch=20_000)
    shares = batch.mask[:, 2::2].double().mean(0)
    law = [slot ** (power - 1) for slot in range(1, 11)]
    assert shares.tolist() == pytest.approx([chance / sum(law) for chance in law], abs=0.02)


def test_what_is_copied_stands_anywhere():
    task = TASKS["selective"]
    read = drawn(task, 40, batch=4000).tokens[:, :34] < task.answers
    assert (read.sum(1) == 6).all()
    assert read.double().mean(0).tolist() == pytest.approx([6 / 34] * 34, abs=0.04)


def test_a_word_without_a_number_of_items_takes_the_room_there_is():
    task = TASKS["copying, long words"]
    assert [task.word(length) for length in (3, 4, 5, 100)] == [1, 1, 2, 49]
    # As published: T + 20 tokens with a delay of T, the last of it the question.
    row = drawn(copying.Copying(), 7 + 20).tokens[0].tolist()
    assert max(row[:10]) < 8
    assert row[10:] == [8] * 6 + [9] + [8] * 10


def test_induction_everywhere_asks_what_was_seen_before():
    batch = drawn(TASKS["induction, everywhere"])
    for row, mask in zip(batch.tokens.tolist(), batch.mask.tolist(), strict=True):
        assert mask == [token in row[:at] for at, token in enumerate(row)]


def test_induction_asks_once_by_the_question():
    task = TASKS["induction"]
    batch = drawn(task, 12, batch=4000)
    assert (batch.mask.sum(0).tolist()) == [0] * 11 + [4000]
    asked = batch.tokens == task.vocab - 1
    assert (asked.sum(1) == 2).all()
    assert asked[:, :10].double().mean(0).tolist() == pytest.approx([0.1] * 10, abs=0.03)


@pytest.mark.parametrize("name", ["needle", "needle, lures"])
def test_the_needle_is_where_it_is_wanted(name):
    task = TASKS[name]
    for place in (0.0, 0.25, 0.5, 1.0):
        batch = task.draw_at(8, 47, place, torch.Generator().manual_seed(0))
        assert task.places(batch.tokens).tolist() == [place] * 8
        assert examples.accuracy(solved(task, batch), batch) == 1.0
    places = task.places(drawn(task, 47, batch=4000).tokens)
    assert places.unique().tolist() == pytest.approx([n / 40 for n in range(41)])
    assert places.mean().item() == pytest.approx(0.5, abs=0.03)
    # The least an example can be: a needle and its questions.
    assert task.places(drawn(task, 7).tokens).tolist() == [0.0] * 40


def test_only_lures_have_digits_in_the_hay():
    for name, wanted in {"needle": {6, 7}, "needle, lures": set(range(8))}.items():
        row = Counter(
            TASKS[name].draw_at(8, 47, 1.0, torch.Generator()).tokens[:, :40].flatten().tolist()
        )
        assert set(row) == wanted


def test_pairs_lie_anywhere_in_the_noise_and_hold_together():
    task = TASKS["noisy"]
    batch = drawn(task, 24, batch=4000)
    keys = batch.tokens[:, :20] < 7
    values = (batch.tokens[:, :20] >= 7) & (batch.tokens[:, :20] < 12)
    assert torch.equal(keys[:, :-1], values[:, 1:])
    assert (keys.sum(1) == 4).all()
    # 4 of 16 things are pairs; a pair is the first thing as often as the last.
    assert keys[:, 0].double().mean().item() == pytest.approx(0.25, abs=0.04)
    assert values[:, -1].double().mean().item() == pytest.approx(0.25, abs=0.04)
    for row in batch.tokens.tolist():
        assert sorted(row[20:]) == sorted(token for token in row[:20] if token < 7)


@pytest.mark.parametrize(("distance", "shift"), [(51, 98), (77, 46), (100, 0), (149, 0)])
def test_questions_are_at_the_distance_wanted(distance, shift):
    task = planted_definitions.PlantedDefinitions(3)
    assert task.reach(199) == (51, 149)
    batch = task.draw_at(200, 199, distance, torch.Generator().manual_seed(0))
    assert task.distances(batch.tokens).tolist() == [distance] * 200
    assert examples.accuracy(solved(task, batch), batch) == 1.0
    assert (batch.mask.sum(1) == 3).all()
    # They are not always at one place: the first sentence begins anywhere there is room.
    first = {bytes(row).index(b"\n") for row in batch.tokens.tolist()}
    room = shift + min(distance, 200 - distance) - 51
    assert first <= set(range(room + 1))
    assert len(first) > min(room, 20) / 2


def test_distances_are_as_likely_as_each_other():
    task = planted_definitions.PlantedDefinitions(1)
    apart = task.distances(drawn(task, 53, batch=2000).tokens)
    assert apart.unique().tolist() == list(range(17, 38))
    assert apart.double().mean().item() == pytest.approx(27, abs=0.7)


def test_definitions_are_planted_in_the_text_given():
    text = "It was the best of times, it was the worst of times; "
    task = planted_definitions.PlantedDefinitions(2, text=text)
    for row in drawn(task, 120, batch=20).tokens.tolist():
        rest = planted_definitions.SENTENCE.sub(b"", bytes(row)).replace(b"\n", b"")
        assert rest in text.encode() * 4
    with pytest.raises(ValueError, match=r"zomuka means 7.* would pass for a definition"):
        planted_definitions.PlantedDefinitions(text="So:\nzomuka means 7.\n")


def test_made_up_words_are_frequent_by_zipf_s_law():
    text = planted_definitions.made_up_text(50_000, seed=1)
    assert text == planted_definitions.made_up_text(50_000, seed=1)
    assert text != planted_definitions.made_up_text(50_000, seed=2)
    counts = [count for _, count in Counter(text.split()).most_common(100)]
    assert counts[0] / counts[9] == pytest.approx(10, rel=0.15)
    assert set(map(len, text.split())) == {2, 4}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: multi_query_recall.MultiQueryRecall(pairs=0), "pairs is 0"),
        (lambda: multi_query_recall.MultiQueryRecall(pairs=9, keys=8), "from 1 to the 8 keys"),
        (lambda: multi_query_recall.MultiQueryRecall(power=0.0), "power is 0.0"),
        (lambda: drawn(TASKS["queries"], 15), "length is 15; 4 pairs need at least 16"),
        (lambda: read_twice.ReadTwice(pairs=17), "pairs is 17; it should be from 1 to the 16"),
        (lambda: drawn(TASKS["twice"], 19), "length is 19; 4 pairs, read 'any', need 20"),
        (lambda: selective_copying.SelectiveCopying(items=0), "items is 0"),
        (lambda: drawn(TASKS["selective"], 11), "length is 11; 6 items need 12"),
        (lambda: copying.Copying(items=0), "items is 0"),
        (lambda: drawn(TASKS["copying"], 12), "length is 12; copying 6 items needs 13"),
        (lambda: drawn(TASKS["copying, long words"], 2), "length is 2; copying 1 items needs 3"),
        (lambda: drawn(TASKS["induction"], 2), "length is 2"),
        (lambda: needle.Needle(digits=0), "digits is 0"),
        (lambda: needle.Needle(hay=0), "hay is 0"),
        (lambda: drawn(TASKS["needle"], 6), "length is 6; a needle of 3 digits needs 7"),
        (lambda: TASKS["needle"].draw_at(1, 9, 1.5, torch.Generator()), "place is 1.5"),
        (lambda: noisy_recall.NoisyRecall(pairs=5, keys=4), "pairs is 5, of 4 keys"),
        (lambda: noisy_recall.NoisyRecall(noise=0), "noise is 0"),
        (lambda: drawn(TASKS["noisy"], 11), "length is 11; 4 pairs and questions need 12"),
        (lambda: planted_definitions.PlantedDefinitions(0), "definitions is 0"),
        (lambda: planted_definitions.PlantedDefinitions(text=""), "text is ''"),
        (lambda: flip_flop.FlipFlop(1.0), "ignored is 1.0;"),
        (lambda: drawn(TASKS["flip-flop"], 1), "length is 1;"),
        (lambda: drawn(TASKS["definitions"], 32), "length is 32; .* need 33"),
        (
            lambda: TASKS["definitions"].draw_at(1, 99, 16, torch.Generator()),
            "distance is 16; at 99 tokens it is 17 to 83",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(wrong, said):
    with pytest.raises(ValueError, match=said):
        wrong()


@pytest.mark.parametrize(
    ("name", "least"),
    [("queries", 16), ("selective", 12), ("copying", 13), ("noisy", 12), ("definitions", 33)],
)
def test_the_shortest_example_is_one(name, least):
    batch = drawn(TASKS[name], least)
    assert examples.accuracy(solved(TASKS[name], batch), batch) == 1.0
