import pytest

from statewise.tasks.patterns import Found, read_patterns

LINES = "#(happy|joy)\\b\tjoy\n\n#angry\\b\tanger\n:-?\\)\tjoy\n"


def patterns(folder, text=LINES):
    path = folder / "patterns.tsv"
    path.write_text(text)
    return read_patterns(path)


def test_texts_with_patterns_of_one_label_have_it_and_lose_them(tmp_path):
    texts = [
        "What a #HAPPY day :) #joy",
        "what a day",
        "#angry and #happy",
        "so #angry\nand so on",
        "#happy :)",
        "#happyness is no pattern",
    ]
    assert patterns(tmp_path).find(texts) == [
        Found(0, "What a day", "joy"),
        Found(3, "so and so on", "anger"),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("#happy joy\n", ":1: expected a pattern, a tab and a label"),
        ("#a\tx\n#b\t\n", ":2: expected a pattern, a tab and a label"),
        ("#(a\tx\n", r":1: this is no regular expression \(missing \)"),
        ("a*\tx\n", ":1: the pattern matches where nothing stands"),
        ("\n", "there is no pattern in it"),
    ],
)
def test_what_is_no_file_of_patterns_is_refused(tmp_path, text, why):
    with pytest.raises(ValueError, match=why):
        patterns(tmp_path, text)
