"""The core takes the cycles of the latency table: a program for each class."""

from itertools import pairwise

import pytest

from hw.core.timing import LATENCY, TimingClass
from model.arch import RESET_VECTOR, Mode
from tb.core.program import ERET, ISB, NOP, distance, mov, mrs, msr, word

DATA = 0x4005_0000
NOWHERE = 0x0900_0000

FORMS = {
    TimingClass.ALU: [
        word("ADD (immediate)", sf=1, Rn=1, Rd=2),
        word("ADD (shifted register)", sf=1, Rm=1, Rn=1, Rd=2),
        word("LSLV", sf=1, Rm=1, Rn=1, Rd=2),
        word("CSEL", sf=1, Rm=1, Rn=1, Rd=2),
        word("CLZ", sf=1, Rn=1, Rd=2),
        word("ADR", Rd=2),
        word("MOVZ", sf=1, Rd=2),
    ],
    TimingClass.ALU_SHIFTED: [
        word("ADD (shifted register)", sf=1, imm6=1, Rm=1, Rn=1, Rd=2),
        word("ADD (extended register)", sf=1, Rm=1, Rn=1, Rd=2),
    ],
    TimingClass.BITFIELD: [
        word("UBFM", sf=1, N=1, imms=7, Rn=1, Rd=2),
        word("EXTR", sf=1, N=1, Rm=1, Rn=1, Rd=2),
        word("RBIT", sf=1, Rn=1, Rd=2),
    ],
    TimingClass.MULTIPLY_32: [
        word("MADD", sf=0, Rm=1, Ra=1, Rn=1, Rd=2),
        word("UMADDL", Rm=1, Ra=1, Rn=1, Rd=2),
    ],
    TimingClass.MULTIPLY_64: [word("MADD", sf=1, Rm=1, Ra=1, Rn=1, Rd=2)],
    TimingClass.MULTIPLY_HIGH: [word("UMULH", Rm=1, Rn=1, Rd=2)],
    TimingClass.DIVIDE_32: [word("UDIV", sf=0, Rm=1, Rn=1, Rd=2)],
    TimingClass.DIVIDE_64: [word("SDIV", sf=1, Rm=1, Rn=1, Rd=2)],
    TimingClass.LOAD: [
        word("LDR (unsigned offset)", sz=1, Rn=1, Rt=2),
        word("LDR (literal)", sz=1, Rt=2),
        word("LDAR", size=3, Rn=1, Rt=2),
        word("LDXR", size=3, Rn=1, Rt=2),
        word("LDXP", sz=1, Rn=1, Rt=2, Rt2=3),
    ],
    TimingClass.LOAD_PAIR: [word("LDP (offset)", sf=1, Rn=1, Rt=2, Rt2=3)],
    TimingClass.STORE: [
        word("STR (unsigned offset)", sz=1, Rn=1, Rt=2),
        word("STP (offset)", sf=1, Rn=1, Rt=2, Rt2=3),
    ],
    TimingClass.STORE_RELEASE: [word("STLR", size=3, Rn=1, Rt=2)],
    TimingClass.STORE_EXCLUSIVE: [word("STXR", size=3, Rs=4, Rn=1, Rt=2)],
    TimingClass.BRANCH_NOT_TAKEN: [
        word("CBNZ", sf=1, Rt=31, **distance("CBNZ", 4)),
        word("B.cond", cond=0, **distance("B.cond", 4)),  # EQ
    ],
    TimingClass.BRANCH_TAKEN: [
        word("B", **distance("B", 2)),
        word("CBZ", sf=1, Rt=31, **distance("CBZ", 1)),
        word("RET", Rn=1),
    ],
    TimingClass.HINT: [NOP, word("SEV"), word("PRFM (unsigned offset)", Rn=1), word("CLREX")],
    TimingClass.MRS: [mrs(2, "CurrentEL"), mrs(2, "NZCV")],
    TimingClass.MSR: [msr("TPIDR_EL1", 1), word("MSR DAIFSet", CRm=1), word("MSR SPSel", CRm=1)],
    TimingClass.BARRIER: [word("DMB", CRm=11), word("DSB", CRm=11)],
    TimingClass.ISB: [ISB],
    TimingClass.EXCEPTION_ENTRY: [
        word("SVC"),
        0,  # UNDEFINED
        word("LDR (unsigned offset)", sz=1, Rn=5, Rt=2),  # there is no memory
    ],
    TimingClass.EXCEPTION_RETURN: [ERET],
}
CASES = [(timing, instruction) for timing, words in FORMS.items() for instruction in words]

BOOT = [
    *mov(1, DATA),
    *mov(2, 3),
    *mov(5, NOWHERE),
    *mov(0, Mode.EL3h),
    msr("SPSR_EL3", 0),
    *mov(0, RESET_VECTOR),
    msr("ELR_EL3", 0),
]


def test_every_class_has_an_instruction():
    assert list(FORMS) == list(LATENCY)


@pytest.mark.parametrize("timing, instruction", CASES)
def test_a_row_takes_the_cycles_of_its_class(machine, timing, instruction):
    run = machine([*BOOT, instruction, NOP], len(BOOT) + 1)
    assert run.trace[-1]["word"] == instruction
    assert run.cycles[-1] - run.cycles[-2] == LATENCY[timing].cycles


def test_rows_of_other_length_do_not_disturb_each_other(machine):
    timings = [
        TimingClass.DIVIDE_64,
        TimingClass.ALU,
        TimingClass.LOAD,
        TimingClass.LOAD,
        TimingClass.STORE,
        TimingClass.DIVIDE_32,
        TimingClass.MRS,
    ]
    words = [FORMS[timing][0] for timing in timings]
    run = machine([*BOOT, *words], len(BOOT) + len(words))
    cycles = run.cycles[len(BOOT) - 1 :]
    taken = [end - begin for begin, end in pairwise(cycles)]
    assert taken == [LATENCY[timing].cycles for timing in timings]


def test_an_interrupt_takes_the_cycles_of_an_exception(machine):
    words = [*mov(0, 1 << 1), msr("SCR_EL3", 0), word("MSR DAIFClr", CRm=2), NOP]
    run = machine(words, 4, irq=lambda n: n == 3)
    assert run.trace[-1]["kind"]
    assert run.cycles[-1] - run.cycles[-2] == LATENCY[TimingClass.EXCEPTION_ENTRY].cycles
