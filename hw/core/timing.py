"""How many cycles the core takes for one row of its trace, by class of instruction.

The core overlaps nothing, so an instruction takes what the guide gives as its execution latency:
what the next instruction waits when it needs the result. Fixed cycles: where the guide has a range,
the upper end; accesses are aligned and hit in the cache. A row that ends in an exception takes
EXCEPTION_ENTRY in place of its own class; what WFI and WFE wait comes on top.
"""

from dataclasses import dataclass
from enum import IntEnum, auto

GUIDE = "Arm Cortex-A55 Software Optimization Guide, issue 4.0"


class TimingClass(IntEnum):
    """What an instruction, or the exception in its place, counts as."""

    ALU = 0  #: add, logical, move, variable shift, conditional, CLZ, CLS, REV, ADR
    ALU_SHIFTED = (
        auto()
    )  #: add or logical of a register that is extended, or shifted by more than 0
    BITFIELD = auto()  #: SBFM, UBFM, BFM and their aliases, EXTR, RBIT
    MULTIPLY_32 = auto()  #: MADD, MSUB of W registers, and the long ones: 32 by 32 bits
    MULTIPLY_64 = auto()  #: MADD, MSUB of X registers
    MULTIPLY_HIGH = auto()  #: SMULH, UMULH
    DIVIDE_32 = auto()  #: SDIV, UDIV of W registers
    DIVIDE_64 = auto()  #: SDIV, UDIV of X registers
    LOAD = auto()  #: one register in every form, LDAR; exclusives, pairs of them too
    LOAD_PAIR = auto()  #: LDP, LDNP, LDPSW
    STORE = auto()  #: one register in every form but the two below; STP, STNP
    STORE_RELEASE = auto()  #: STLR
    STORE_EXCLUSIVE = auto()  #: STXR, STLXR, STXP, STLXP, whether they store or not
    BRANCH_NOT_TAKEN = auto()  #: B.cond, CBZ, CBNZ, TBZ, TBNZ that fall through
    BRANCH_TAKEN = auto()  #: any other branch, with the fetch at its target
    HINT = auto()  #: NOP and the other hints, PRFM, CLREX
    MRS = auto()  #: a system register read
    MSR = auto()  #: a system register or a PSTATE field written
    BARRIER = auto()  #: DMB, DSB
    ISB = auto()  #: ISB, with the fetch after it
    EXCEPTION_ENTRY = auto()  #: every exception and interrupt, with the fetch at its vector
    EXCEPTION_RETURN = auto()  #: ERET, legal or not, with the fetch at its target


@dataclass(frozen=True, slots=True)
class Latency:
    """Clock cycles from where a row begins to where the next may begin."""

    cycles: int
    source: str  #: a section of the guide, or "assumed: " and why


def _guide(cycles: int, section: str, remark: str = "") -> Latency:
    return Latency(cycles, f"{GUIDE}, section {section}" + (f": {remark}" if remark else ""))


def _assumed(cycles: int, reason: str) -> Latency:
    return Latency(cycles, f"assumed: {reason}")


#: The guide has 8 for AArch32 data processing that writes the PC, which always flushes (4.3).
#: A64 has no such instruction, so the figure is only lent to what flushes here.
FLUSH = 8

LATENCY: dict[TimingClass, Latency] = {
    TimingClass.ALU: _guide(1, "4.3", "moves and shifts in 4.4, CLZ, CLS and REV in 4.7"),
    TimingClass.ALU_SHIFTED: _guide(2, "4.3"),
    TimingClass.BITFIELD: _guide(2, "4.7", "upper end, of some extensions it is 1"),
    TimingClass.MULTIPLY_32: _guide(3, "4.5"),
    TimingClass.MULTIPLY_64: _guide(5, "4.5", "upper end of 4 to 5"),
    TimingClass.MULTIPLY_HIGH: _guide(6, "4.5"),
    TimingClass.DIVIDE_32: _guide(12, "4.5", "upper end of 3 to 12"),
    TimingClass.DIVIDE_64: _guide(20, "4.5", "upper end of 3 to 20"),
    TimingClass.LOAD: _guide(3, "4.8", "of exclusives, given of those with acquire"),
    TimingClass.LOAD_PAIR: _guide(4, "4.8", "upper end, X registers; W registers have 3"),
    TimingClass.STORE: _assumed(2, "request and answer; the guide's 1 (4.9) is with a buffer"),
    TimingClass.STORE_RELEASE: _guide(2, "4.9"),
    TimingClass.STORE_EXCLUSIVE: _guide(4, "4.9", "of exclusives, given of those with release"),
    TimingClass.BRANCH_NOT_TAKEN: _guide(1, "4.2"),
    TimingClass.BRANCH_TAKEN: _assumed(3, "1 (4.2 of the guide) and 2 to fetch, not predicted"),
    TimingClass.HINT: _assumed(1, "nothing to wait for, as PRFM in 4.8 of the guide"),
    TimingClass.MRS: _assumed(4, "one more than a load, as 3.1.1 of the guide forwards no read"),
    TimingClass.MSR: _assumed(4, "as MRS, the guide has no figure"),
    TimingClass.BARRIER: _assumed(1, "every earlier access is complete"),
    TimingClass.ISB: _assumed(FLUSH, "a flush, as 4.3 of the guide has it in AArch32"),
    TimingClass.EXCEPTION_ENTRY: _assumed(FLUSH, "a flush, as 4.3 of the guide has it in AArch32"),
    TimingClass.EXCEPTION_RETURN: _assumed(FLUSH, "a flush, as 4.3 of the guide has it in AArch32"),
}
