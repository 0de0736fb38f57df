"""Words, labels, segments and listings; the reference executes what is encoded."""

import pytest

from model.a64.decode import Reserved
from model.a64.processor import Processor
from model.arch import RESET_VECTOR, SYSREGS
from tb.core import program
from tb.core.program import FORMS, MASK64, NOP, Code, Program, adr, listing, mov, mrs, msr, word

START = RESET_VECTOR


def executed(*words: int) -> Processor:
    """The reference after some words from the reset on."""
    processor = Processor()
    image = Program({START + 4 * n: value for n, value in enumerate(words)})
    for address, content in image.segments():
        processor.write_memory(address, content)
    for _ in words:
        processor.step()
    return processor


def test_a_word_has_its_fields_and_the_others_are_0():
    assert word("NOP") == 0xD503201F
    assert word("ADD (immediate)", sf=1, imm12=8, Rn=31, Rd=2) == 0x910023E2
    with pytest.raises(ValueError, match="does not fit"):
        word("ADD (immediate)", imm12=1 << 12)
    with pytest.raises(KeyError):
        word("ADD (immediate)", imm13=0)


@pytest.mark.parametrize(
    "value", [0, 1, 0xFFFF, 0x1_0000, 0x4000_0000, 1 << 63, MASK64, 0x1234 << 32]
)
def test_mov_makes_any_constant_in_as_few_words_as_it_has_parts(value):
    words = mov(3, value)
    assert executed(*words).state.x[3] == value
    assert len(words) == max(1, sum(value >> 16 * n & 0xFFFF != 0 for n in range(4)))


@pytest.mark.parametrize("offset", [0, 1, -4, 0xFFFFF, -(1 << 20)])
def test_adr_reaches_a_megabyte_both_ways(offset):
    assert executed(adr(5, offset)).state.x[5] == START + offset


def test_what_adr_or_a_branch_does_not_reach_is_an_error():
    for offset in (1 << 20, -(1 << 20) - 1):
        with pytest.raises(ValueError, match="ADR does not reach"):
            adr(0, offset)
    for words in (1 << 13, -(1 << 13) - 1):
        with pytest.raises(ValueError, match="TBZ does not reach"):
            program.distance("TBZ", words)


@pytest.mark.parametrize("name", SYSREGS)
def test_mrs_and_msr_name_the_register(name):
    for encoded, form in ((mrs(7, name), "MRS"), (msr(name, 7), "MSR (register)")):
        fields = {field: place.get(encoded) for field, place in FORMS[form].fields.items()}
        assert fields.pop("Rt") == 7
        number = SYSREGS[name].number
        assert encoded >> 5 & 0x7FFF == number
        assert FORMS[form].matches(encoded)


def test_system_registers_are_written_and_read():
    found = executed(*mov(1, 0x1230), msr("TPIDR_EL2", 1), mrs(2, "TPIDR_EL2"))
    assert found.state.x[2] == 0x1230


def test_labels_are_resolved_forward_and_back():
    code = Code(START)
    code.branch("B", "ahead")
    code.label("back")
    code.add("MOVZ", sf=1, imm16=7, Rd=0)
    code.branch("CBNZ", "end", sf=1, Rt=0)
    code.label("ahead")
    code.add("MOVZ", sf=1, imm16=9, Rd=1)
    code.branch("B", "back")
    code.label("end")
    code.branch("B", "end")
    processor = Processor()
    for address, content in Program(code.image()).segments():
        processor.write_memory(address, content)
    rows = processor.run()
    assert rows[-1].pc == code.address_of("end") == code.at - 4
    assert (processor.state.x[0], processor.state.x[1]) == (7, 9)


def test_a_label_stands_once_and_somewhere():
    code = Code(START)
    code.label("here")
    with pytest.raises(ValueError, match="two labels are named here"):
        code.label("here")
    code.branch("B", "nowhere")
    with pytest.raises(KeyError, match="nowhere"):
        code.image()


def test_segments_are_what_lies_together():
    image = Program({8: 0x04030201, 4: 1, 0x100: 2}, {0xC: 3})
    assert image.segments() == [
        (4, bytes([1, 0, 0, 0, 1, 2, 3, 4, 3, 0, 0, 0])),
        (0x100, bytes([2, 0, 0, 0])),
    ]
    assert Program({}).segments() == []


def test_changed_leaves_the_old_program_alone():
    old = Program({0: 1, 4: 2}, {8: 3})
    new = old.changed({4: NOP})
    assert (old.code, new.code, new.data) == ({0: 1, 4: 2}, {0: 1, 4: NOP}, {8: 3})


def test_a_listing_has_addresses_words_names_and_targets():
    code = Code(0x4000_0000)
    code.add("ADD (immediate)", sf=1, imm12=16, Rn=1, Rd=2)
    code.put(msr("MDSCR_EL1", 3), word("B", **program.distance("B", -2)), 0)
    code.put(NOP, NOP, NOP)
    code.add("ISB", CRm=15)
    assert listing(code.image()) == [
        "0x40000000  91004022  ADD (immediate) sf=1 sh=0 imm12=0x10 Rn=1 Rd=2",
        "0x40000004  d5100243  MSR (register) MDSCR_EL1 Rt=3",
        "0x40000008  17fffffe  B to 0x40000000",
        "0x4000000c  00000000  UNDEFINED",
        "0x40000010  d503201f  NOP",
        "       ...  2 more NOP",
        "0x4000001c  d5033fdf  ISB CRm=0xf",
    ]


def test_every_row_can_be_encoded_and_is_listed_by_its_name(rng):
    for name, row in FORMS.items():
        while True:
            fields = {field: rng.getrandbits(place.width) for field, place in row.fields.items()}
            try:
                row.build(**fields)
            except Reserved:
                continue
            break
        assert program.text(word(name, **fields), START).startswith(name)
