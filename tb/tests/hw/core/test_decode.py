"""Decode: which words are instructions, and what the core is told of them."""

import pytest

from hw.core.decode import Group
from hw.core.timing import TimingClass
from model.a64.decode import UndefinedWord
from model.a64.instructions import ROWS
from model.a64.interpreter import DECODER
from model.arch import SYSREGS, Event
from tb.tests.hw.core.datapath import (
    WORDS_PER_ROW,
    operations,
    random_fields,
    random_word,
    word_of,
)

#: Bits 31:20 of MSR (register) and MRS. Which system registers there are is not the decoder's.
OF_SYSTEM_REGISTERS = (0xD51, 0xD53)


def is_defined(word):
    try:
        DECODER.decode(word, 0)
    except UndefinedWord:
        return False
    return True


def differences(words):
    """Words that are defined for one of decoder and reference alone."""
    words = [word for word in words if word >> 20 not in OF_SYSTEM_REGISTERS]
    found = zip(words, operations(words), strict=True)
    return [
        f"{word:#010x} {Group(operation.group)!r}"
        for word, operation in found
        if (operation.group != Group.UNDEFINED) != is_defined(word)
    ]


def test_words_of_the_reference_s_rows_are_instructions_unless_reserved(rng):
    words = [word_of(row, random_fields(row, rng)) for row in ROWS for _ in range(WORDS_PER_ROW)]
    assert 0.5 < sum(map(is_defined, words)) / len(words) < 1
    assert not differences(words)


def test_words_a_bit_away_from_an_instruction_are_the_reference_s(rng):
    words = [random_word(row, rng) ^ 1 << bit for row in ROWS for bit in range(16, 32)]
    assert 0.3 < sum(map(is_defined, words)) / len(words) < 0.9
    assert not differences(words)


def test_random_words_are_the_reference_s(rng):
    words = [rng.getrandbits(32) for _ in range(3000)]
    assert 0.2 < sum(map(is_defined, words)) / len(words) < 0.8
    assert not differences(words)


#: What the step unit is told of an instruction that completes.
EVENTS = {
    Group.ISB: Event.ISB,
    Group.SVC: Event.SVC,
    Group.HVC: Event.HVC,
    Group.SMC: Event.SMC,
    Group.BRK: Event.EXCEPTION,
    Group.ERET: Event.ERET,
}


def event(operation):
    group = Group(operation.group)
    if group == Group.MEMORY and operation.exclusive and not operation.store:
        return Event.LOAD_EXCLUSIVE
    return EVENTS.get(group, Event.EXECUTE)


def written(operation):
    """The registers written, as the reference's `Written` has them; 31 is SP."""

    def slot(number, is_written, is_sp):
        return number if is_written and (number != 31 or is_sp) else None

    memory = operation.group == Group.MEMORY
    return (
        slot(operation.rd, operation.writes_rd, operation.rd_sp),
        slot(operation.rm, memory and operation.pair and not operation.store, False),
        slot(operation.rn, memory and operation.writeback, True),
    )


def test_events_and_registers_written_are_the_reference_s(rng):
    rows = [row for row in ROWS if row.name not in ("MRS", "MSR (register)")]
    words = [random_word(row, rng) for row in rows for _ in range(WORDS_PER_ROW)]
    for word, operation in zip(words, operations(words), strict=True):
        instruction = DECODER.decode(word, 0)
        what = f"{instruction.name}: {word:#010x}"
        assert event(operation) == instruction.event, what
        assert written(operation) == tuple(instruction.written), what


@pytest.mark.parametrize(("head", "group"), [(0xD500_0000, Group.MSR), (0xD520_0000, Group.MRS)])
def test_system_registers_are_named_by_their_number(head, group, rng):
    registers = list(SYSREGS.values())
    words = []
    for register in registers:
        crn, crm = register.crn << 12, register.crm << 8
        name = register.op0 << 19 | register.op1 << 16 | crn | crm | register.op2 << 5
        words.append(head | name | rng.randrange(32))
    for word, register, operation in zip(words, registers, operations(words), strict=True):
        assert operation.group == group
        assert operation.sysreg == register.number
        assert operation.writes_rd == (group == Group.MRS)
        assert (operation.rd if group == Group.MRS else operation.ra) == word & 0x1F


#: word, group, and what is immediate in it
IMMEDIATES = {
    "svc #0x1234": (0xD402_4681, Group.SVC, 0x1234),
    "hvc #0xffff": (0xD41F_FFE2, Group.HVC, 0xFFFF),
    "smc #0": (0xD400_0003, Group.SMC, 0),
    "brk #0x8001": (0xD430_0020, Group.BRK, 0x8001),
    "msr daifset, #0xf": (0xD503_4FDF, Group.DAIFSET, 0xF),
    "msr daifclr, #2": (0xD503_42FF, Group.DAIFCLR, 2),
    "msr spsel, #1": (0xD500_41BF, Group.SPSEL, 1),
}


def test_immediates_of_exceptions_and_pstate_fields():
    found = operations([word for word, *_ in IMMEDIATES.values()])
    for (text, (_, group, immediate)), operation in zip(IMMEDIATES.items(), found, strict=True):
        assert operation.group == group, text
        calls = group in (Group.SVC, Group.HVC, Group.SMC, Group.BRK)
        assert (operation.imm16 if calls else operation.crm) == immediate, text


#: Bits 11:5 of a hint that does something; any other is NOP.
HINTS = {2: Group.WFE, 3: Group.WFI, 4: Group.SEV, 5: Group.SEV}


def test_hints_that_are_not_known_do_nothing():
    found = operations([0xD503_201F | number << 5 for number in range(128)])
    expected = [HINTS.get(number, Group.NOP) for number in range(128)]
    assert [operation.group for operation in found] == expected


#: word, what it counts as
TIMINGS = {
    "add x0, x1, #1": (0x9100_0420, TimingClass.ALU),
    "and x0, x1, #1": (0x9240_0020, TimingClass.ALU),
    "movk x0, #1": (0xF280_0020, TimingClass.ALU),
    "add x0, x1, x2": (0x8B02_0020, TimingClass.ALU),
    "orr x0, x1, x2": (0xAA02_0020, TimingClass.ALU),
    "adc x0, x1, x2": (0x9A02_0020, TimingClass.ALU),
    "csel x0, x1, x2, eq": (0x9A82_0020, TimingClass.ALU),
    "ccmp x1, x2, #0, eq": (0xFA42_0020, TimingClass.ALU),
    "lslv x0, x1, x2": (0x9AC2_2020, TimingClass.ALU),
    "clz x0, x1": (0xDAC0_1020, TimingClass.ALU),
    "rev x0, x1": (0xDAC0_0C20, TimingClass.ALU),
    "adr x0, .": (0x1000_0000, TimingClass.ALU),
    "add x0, x1, x2, lsl #1": (0x8B02_0420, TimingClass.ALU_SHIFTED),
    "eor x0, x1, x2, ror #63": (0xCAC2_FC20, TimingClass.ALU_SHIFTED),
    "add x0, x1, w2, uxtb": (0x8B22_0020, TimingClass.ALU_SHIFTED),
    "ubfm x0, x1, #1, #2": (0xD341_0820, TimingClass.BITFIELD),
    "sbfm w0, w1, #1, #2": (0x1301_0820, TimingClass.BITFIELD),
    "bfm x0, x1, #1, #2": (0xB341_0820, TimingClass.BITFIELD),
    "extr x0, x1, x2, #1": (0x93C2_0420, TimingClass.BITFIELD),
    "rbit x0, x1": (0xDAC0_0020, TimingClass.BITFIELD),
    "madd w0, w1, w2, w3": (0x1B02_0C20, TimingClass.MULTIPLY_32),
    "umaddl x0, w1, w2, x3": (0x9BA2_0C20, TimingClass.MULTIPLY_32),
    "msub x0, x1, x2, x3": (0x9B02_8C20, TimingClass.MULTIPLY_64),
    "smulh x0, x1, x2": (0x9B42_7C20, TimingClass.MULTIPLY_HIGH),
    "udiv w0, w1, w2": (0x1AC2_0820, TimingClass.DIVIDE_32),
    "sdiv x0, x1, x2": (0x9AC2_0C20, TimingClass.DIVIDE_64),
    "ldr x3, [x1]": (0xF940_0023, TimingClass.LOAD),
    "ldr x3, .": (0x5800_0003, TimingClass.LOAD),
    "ldrsb w3, [x1], #1": (0x38C0_1423, TimingClass.LOAD),
    "ldar w3, [x1]": (0x88DF_FC23, TimingClass.LOAD),
    "ldxr w3, [x1]": (0x885F_7C23, TimingClass.LOAD),
    "ldaxp x3, x4, [x1]": (0xC87F_9023, TimingClass.LOAD),
    "ldp x3, x4, [x1]": (0xA940_1023, TimingClass.LOAD_PAIR),
    "ldnp w3, w4, [x1]": (0x2840_1023, TimingClass.LOAD_PAIR),
    "ldpsw x3, x4, [x1]": (0x6940_1023, TimingClass.LOAD_PAIR),
    "str x3, [x1, x2]": (0xF822_6823, TimingClass.STORE),
    "stp x3, x4, [x1, #16]!": (0xA981_1023, TimingClass.STORE),
    "stlr x3, [x1]": (0xC89F_FC23, TimingClass.STORE_RELEASE),
    "stxr w2, x3, [x1]": (0xC802_7C23, TimingClass.STORE_EXCLUSIVE),
    "stlxp w2, x3, x4, [x1]": (0xC822_9023, TimingClass.STORE_EXCLUSIVE),
    "b .": (0x1400_0000, TimingClass.BRANCH_NOT_TAKEN),
    "b.eq .": (0x5400_0000, TimingClass.BRANCH_NOT_TAKEN),
    "cbz x0, .": (0xB400_0000, TimingClass.BRANCH_NOT_TAKEN),
    "tbnz x0, #0, .": (0x3700_0000, TimingClass.BRANCH_NOT_TAKEN),
    "ret": (0xD65F_03C0, TimingClass.BRANCH_NOT_TAKEN),
    "nop": (0xD503_201F, TimingClass.HINT),
    "wfi": (0xD503_207F, TimingClass.HINT),
    "clrex": (0xD503_3F5F, TimingClass.HINT),
    "prfm pldl1keep, [x1]": (0xF980_0020, TimingClass.HINT),
    "prfm pldl1keep, .": (0xD800_0000, TimingClass.HINT),
    "mrs x0, midr_el1": (0xD538_0000, TimingClass.MRS),
    "msr vbar_el1, x0": (0xD518_C000, TimingClass.MSR),
    "msr daifset, #2": (0xD503_42DF, TimingClass.MSR),
    "dsb sy": (0xD503_3F9F, TimingClass.BARRIER),
    "dmb ish": (0xD503_3BBF, TimingClass.BARRIER),
    "isb": (0xD503_3FDF, TimingClass.ISB),
}


def test_timing_classes():
    found = operations([word for word, _ in TIMINGS.values()])
    for (text, (_, timing)), operation in zip(TIMINGS.items(), found, strict=True):
        assert operation.group != Group.UNDEFINED, text
        assert TimingClass(operation.timing) == timing, text
