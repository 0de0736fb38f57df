"""Exceptions, hints, barriers and system registers (manual C4.1.93), as rows."""

from collections.abc import Callable

from model.a64.decode import Operation, Reserved, Row, row
from model.a64.pseudocode import read_slot, write_slot
from model.a64.state import MASK64, State, SystemRegisterError
from model.arch import EL, OSLSR_EL1, SYSREGS, Event, SysReg

_SYSREG_NAMES = {encoding: name for name, encoding in SYSREGS.items()}
_READ_ONLY = {"OSLSR_EL1"}
_WRITE_ONLY = {"OSLAR_EL1"}


def sysreg_name(fields: dict[str, int]) -> str:
    """The system register that the fields of an MRS or MSR name. Reserved if it is none here."""
    op0 = 2 + fields["o0"]
    op1, crn, crm, op2 = fields["op1"], fields["CRn"], fields["CRm"], fields["op2"]
    name = _SYSREG_NAMES.get(SysReg(op0, op1, crn, crm, op2))
    if name is None:
        raise Reserved(f"the system register S{op0}_{op1}_C{crn}_C{crm}_{op2} is not known here")
    return name


def mrs(Rt: int, **encoding: int) -> Operation:
    """MRS: move a system register to a general-purpose register."""
    name = sysreg_name(encoding)
    if name in _WRITE_ONLY:
        raise Reserved(f"{name} is write-only")
    lowest_el = _lowest_el(name)
    t = write_slot(Rt)

    def execute(state: State) -> None:
        _check_access(state, name, lowest_el)
        state.x[t] = state.sysregs[name]

    return execute


def msr_register(Rt: int, **encoding: int) -> Operation:
    """MSR (register): move a general-purpose register to a system register."""
    name = sysreg_name(encoding)
    if name in _READ_ONLY:
        raise Reserved(f"{name} is read-only")
    lowest_el = _lowest_el(name)
    t = read_slot(Rt)
    is_oslar = name == "OSLAR_EL1"

    def execute(state: State) -> None:
        _check_access(state, name, lowest_el)
        if is_oslar:
            _write_oslar(state, state.x[t])
        else:
            state.sysregs[name] = state.x[t]

    return execute


def _write_oslar(state: State, value: int) -> None:
    unlocked = state.sysregs["OSLSR_EL1"] & ~OSLSR_EL1.OSLK.mask
    state.sysregs["OSLSR_EL1"] = unlocked | OSLSR_EL1.OSLK.put(value & 1)


def _lowest_el(name: str) -> EL:
    """The lowest EL that may access a register: its name ends in it."""
    return EL[name.rpartition("_")[2]]


def _check_access(state: State, name: str, lowest_el: EL) -> None:
    if state.el < lowest_el:
        raise SystemRegisterError(f"pc {state.pc:#x}: {state.el.name} cannot access {name}")


def daifset(CRm: int) -> Operation:
    """MSR DAIFSet: mask the exceptions whose bits are 1. At EL0 it is taken to be trapped."""

    def execute(state: State) -> None:
        _check_access(state, "DAIF", EL.EL1)
        state.daif |= CRm

    return execute


def daifclr(CRm: int) -> Operation:
    """MSR DAIFClr: unmask the exceptions whose bits are 1. At EL0 it is taken to be trapped."""

    def execute(state: State) -> None:
        _check_access(state, "DAIF", EL.EL1)
        state.daif &= ~CRm

    return execute


def spsel(CRm: int) -> Operation:
    """MSR SPSel: select the stack pointer by bit 0."""

    def execute(state: State) -> None:
        _check_access(state, "SPSel", EL.EL1)
        state.select_sp(state.el, CRm & 1)

    return execute


def _nothing(state: State) -> None:
    """What an instruction does that has no effect on the state but to be over."""


def hint(**_encoding: int) -> Operation:
    """A hint: no operation. For WFE and WFI that is allowed too: either may end at once."""
    return _nothing


def barrier(CRm: int) -> Operation:
    """DSB, DMB, ISB: accesses and writes here are done and seen at once, in order: nothing to do.

    A CRm that names no kind of barrier makes it one of the full system.
    """
    return _nothing


def clrex(CRm: int) -> Operation:
    """CLREX: clear the local exclusive monitor."""

    def execute(state: State) -> None:
        state.exclusive = None

    return execute


def eret() -> Operation:
    """ERET: branch to ELR_ELx. Restoring PSTATE from SPSR_ELx, the EL with it, is the caller's."""

    def execute(state: State) -> int:
        _check_el(state, "ERET", EL.EL1)
        state.exclusive = None
        return state.sysregs[f"ELR_{state.el.name}"]

    return execute


def _check_el(state: State, name: str, lowest_el: EL) -> None:
    if state.el < lowest_el:
        raise SystemRegisterError(f"pc {state.pc:#x}: {name} is undefined at {state.el.name}")


def _call(name: str, lowest_el: EL) -> Callable[..., Operation]:
    """SVC, HVC or SMC: pc becomes the return address. Taking the exception is the caller's."""

    def build(imm16: int) -> Operation:
        def execute(state: State) -> int:
            _check_el(state, name, lowest_el)
            return state.pc + 4 & MASK64

        return execute

    return build


def brk(imm16: int) -> Operation:
    """BRK: pc, which is the return address, stays. Taking the exception is the caller's."""
    return lambda state: state.pc


def _hint(name: str, number: str) -> Row:
    """Hints of a number: CRm and op2, 7 bits."""
    return row(name, f"1101010100 0 00 011 0010 {number} 11111", hint)


ROWS: tuple[Row, ...] = (
    row("SVC", "11010100 000 imm16:16 000 01", _call("SVC", EL.EL0), Event.SVC),
    row("HVC", "11010100 000 imm16:16 000 10", _call("HVC", EL.EL1), Event.HVC),
    row("SMC", "11010100 000 imm16:16 000 11", _call("SMC", EL.EL1), Event.SMC),
    row("BRK", "11010100 001 imm16:16 000 00", brk, Event.EXCEPTION),
    row("MSR DAIFSet", "1101010100 0 00 011 0100 CRm:4 110 11111", daifset),
    row("MSR DAIFClr", "1101010100 0 00 011 0100 CRm:4 111 11111", daifclr),
    row("MSR SPSel", "1101010100 0 00 000 0100 CRm:4 101 11111", spsel),
    _hint("NOP", "0000 000"),
    _hint("YIELD", "0000 001"),
    _hint("WFE", "0000 010"),
    _hint("WFI", "0000 011"),
    _hint("SEV", "0000 100"),
    _hint("SEVL", "0000 101"),
    _hint("HINT #6 to #7", "0000 11 low:1"),
    _hint("HINT #8 to #15", "0001 low:3"),
    _hint("HINT #16 to #31", "001 low:4"),
    _hint("HINT #32 to #63", "01 low:5"),
    _hint("HINT #64 to #127", "1 low:6"),
    row("CLREX", "1101010100 0 00 011 0011 CRm:4 010 11111", clrex),
    row("DSB", "1101010100 0 00 011 0011 CRm:4 100 11111", barrier),
    row("DMB", "1101010100 0 00 011 0011 CRm:4 101 11111", barrier),
    row("ISB", "1101010100 0 00 011 0011 CRm:4 110 11111", barrier, Event.ISB),
    row("MSR (register)", "1101010100 0 1 o0 op1:3 CRn:4 CRm:4 op2:3 Rt:5", msr_register),
    row("MRS", "1101010100 1 1 o0 op1:3 CRn:4 CRm:4 op2:3 Rt:5", mrs),
    row("ERET", "1101011 0 100 11111 0000 00 11111 00000", eret, Event.ERET),
)
