"""An inflected language: its endings, what agrees, and what names are."""

from itertools import pairwise

from statewise.tasks.tagging.inflected import ENDINGS, TYPES, inflected


def test_endings_and_entities_are_as_the_grammar_says():
    sentences = inflected(600, seed=1, names=0.4)
    assert inflected(600, seed=1, names=0.4) == sentences != inflected(600, seed=2, names=0.4)
    inflecting, short, types = 0, 0, set()
    for words, parts, genders, entities in sentences:
        assert len(words) == len(parts) == len(genders) == len(entities)
        assert parts.count("VERB") == 2
        for word, part, gender in zip(words, parts, genders, strict=True):
            if part in ("ADJ", "VERB"):
                inflecting += gender != "m"
                short += gender != "m" and word[5:] == ENDINGS[part]["m"]
                assert word[5:] in (ENDINGS[part]["m"], ENDINGS[part][gender])
            elif part != "PROPN":
                assert word[5:] == ENDINGS[part][gender]
        for (one, gender, _), (other, _, entity) in pairwise(
            zip(parts, genders, entities, strict=True)
        ):
            if (one, other) == ("ADJ", "PROPN"):
                assert entity == f"B-{TYPES[gender]}"
                types.add(entity)
        assert [part == "PROPN" for part in parts] == [entity != "O" for entity in entities]
    assert types == {"B-PER", "B-LOC"}
    assert 0.15 < short / inflecting < 0.25


def test_stems_are_new_as_often_as_asked():
    known = {word for sentence in inflected(800, seed=3, new=0.0) for word in sentence.words}
    some = [word for sentence in inflected(300, seed=4, new=0.0) for word in sentence.words]
    others = [word for sentence in inflected(300, seed=4, new=0.5) for word in sentence.words]
    assert sum(word not in known for word in some) < 0.05 * len(some)
    assert 0.4 < sum(word not in known for word in others) / len(others) < 0.6
