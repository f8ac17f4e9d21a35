from statewise.tasks.marked_words import LABELS, marked_texts


def test_each_text_has_one_marked_word_that_tells_its_label():
    found = marked_texts(50, 40, seed=0, length=6)
    marked = set(found.marked)
    assert not marked & set(found.plain)
    for texts, labels in (found.train, found.test):
        assert set(labels) == set(LABELS)
        for text, label in zip(texts, labels, strict=True):
            words = text.split()
            assert len(words) == 6
            (one,) = marked & set(words)
            assert one[0] == label


def test_the_parts_share_no_word():
    found = marked_texts(200, 200, seed=1)
    train, test = ({word for text in texts for word in text.split()} for texts, _ in found[2:])
    assert not train & test
    assert found == marked_texts(200, 200, seed=1)
    assert found != marked_texts(200, 200, seed=2)
