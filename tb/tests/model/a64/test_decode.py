from itertools import combinations

import pytest

from model.a64.decode import Decoder, Reserved, UndefinedWord, row
from model.a64.instructions import ROWS
from model.arch import Event, Field


def nothing(**_fields):
    return lambda state: None


def test_a_diagram_gives_mask_value_and_fields():
    movz = row("MOVZ", "sf 10 100101 hw:2 imm16:16 Rd:5", nothing)
    assert movz.mask == 0x7F80_0000
    assert movz.value == 0x5280_0000
    assert movz.fields == {
        "sf": Field(31),
        "hw": Field(21, 2),
        "imm16": Field(5, 16),
        "Rd": Field(0, 5),
    }
    assert movz.event is Event.EXECUTE


@pytest.mark.parametrize(
    ("diagram", "message"),
    [
        ("sf 10 100101", "X: the diagram has 9 bits, not 32"),
        ("imm:32 0", "X: more than 32 bits, or a field twice, at '0'"),
        ("a:16 a:16", "X: more than 32 bits, or a field twice, at 'a:16'"),
    ],
)
def test_a_diagram_without_32_bits_or_with_a_field_twice_is_refused(diagram, message):
    with pytest.raises(ValueError) as error:
        row("X", diagram, nothing)
    assert str(error.value) == message


def test_no_two_rows_of_the_instruction_set_match_one_word():
    overlapping = [(a.name, b.name) for a, b in combinations(ROWS, 2) if a.overlaps(b)]
    assert overlapping == []


def test_no_two_rows_have_one_name():
    assert len({each.name for each in ROWS}) == len(ROWS)


def test_overlap_is_seen_where_one_word_fits_both():
    wide = row("WIDE", "0 a:31", nothing)
    assert wide.overlaps(row("NARROW", "01 b:30", nothing))
    assert not wide.overlaps(row("OTHER", "1 b:31", nothing))


def test_a_decoded_word_has_its_row_and_fields():
    instruction = Decoder(ROWS).decode(0xD2A0_0025, 0x1000)
    assert instruction.name == "MOVZ"
    assert instruction.fields == {"sf": 1, "hw": 1, "imm16": 1, "Rd": 5}


def test_a_word_is_decoded_once():
    decoder = Decoder(ROWS)
    assert decoder.decode(0xD503_201F, 0) is decoder.decode(0xD503_201F, 4)


def test_a_word_that_no_row_matches_is_named_with_its_address():
    with pytest.raises(UndefinedWord) as error:
        Decoder(ROWS).decode(0, 0x4000_1000)
    assert str(error.value) == "0x00000000 at 0x40001000 is no instruction that is known here"


def test_a_reserved_word_says_what_is_reserved():
    def build(a):
        raise Reserved(f"a={a}")

    decoder = Decoder([row("X", "a:32", build)])
    with pytest.raises(UndefinedWord) as error:
        decoder.decode(7, 0x10)
    assert str(error.value) == "0x00000007 at 0x10 is a reserved X: a=7"
