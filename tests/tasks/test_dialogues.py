from itertools import pairwise

import pytest

from statewise.tasks.dialogues import FOLLOWS, SAID, VAGUE, ceiling, dialogues


def test_every_dialogue_keeps_the_grammar():
    for each in dialogues(200, seed=0):
        assert each.acts[0] == "greeting"
        assert each.acts[-1] == "closing"
        assert all(after in FOLLOWS[before] for before, after in pairwise(each.acts))
        assert all(text in SAID[act] for text, act in zip(each.texts, each.acts, strict=True))
        assert each.labels == each.acts


def test_the_same_seed_gives_the_same_ones():
    assert dialogues(9, seed=1, noise=0.5) == dialogues(9, seed=1, noise=0.5)
    assert dialogues(9, seed=1) != dialogues(9, seed=2)


def test_a_share_of_the_labels_is_noise_and_of_the_texts_vague():
    found = dialogues(2000, seed=0, noise=0.15, vague=0.3)
    pairs = [pair for each in found for pair in zip(each.acts, each.labels, strict=True)]
    right = sum(act == label for act, label in pairs) / len(pairs)
    assert right == pytest.approx(ceiling(0.15), abs=0.01)
    texts = [text for each in found for text in each.texts]
    assert sum(text in VAGUE for text in texts) / len(texts) == pytest.approx(0.3, abs=0.02)


def test_what_is_said_tells_no_answer_from_an_agreement():
    assert {"yeah", "right"} <= set(SAID["answer"]) & set(SAID["agreement"])
