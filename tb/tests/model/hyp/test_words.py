import pytest

from model.hyp import SequenceError
from model.hyp.words import Sequence, from_text, to_text


def test_text_gives_back_the_sequence():
    sequence = Sequence("name", (0xD503201F, 0x1), ("nop", ""))
    text = to_text(sequence, "a heading")
    assert text == "// a heading\n0xd503201f  // nop\n0x00000001\n"
    assert from_text(text, "name") == sequence


def test_blank_lines_and_comments_are_no_words():
    assert from_text("// only this\n\n   \n", "empty") == Sequence("empty", (), ())


@pytest.mark.parametrize("word", ["nop", "0x100000000", "-1", "0x1 0x2"])
def test_a_line_that_is_no_word_is_named(word):
    with pytest.raises(SequenceError) as error:
        from_text(f"0x1\n{word}  // what\n", "v9.words")
    assert str(error.value) == f"v9.words:2: {word!r} is not a 32-bit hexadecimal word"


def test_a_sequence_has_a_line_for_each_word():
    with pytest.raises(ValueError, match="v9: 1 words, 0 lines"):
        Sequence("v9", (1,), ())
