"""Exceptions, hints, barriers and system registers (manual C4.1.93), as rows."""

from collections.abc import Callable

from model.a64 import routing, sysregs
from model.a64.decode import Operation, Reserved, Row, row
from model.a64.exceptions import ExceptionRecord, trapped, undefined
from model.a64.pseudocode import read_slot, write_slot
from model.a64.state import MASK64, State
from model.arch import (
    EL,
    HCR_EL2,
    SCR_EL3,
    Event,
    ExceptionClass,
    SCTLR_ELx,
    SysReg,
    WFxISS,
)

MRS = "MRS"
MSR_REGISTER = "MSR (register)"


def sysreg_of(fields: dict[str, int]) -> SysReg:
    """How the fields of an MRS or MSR name a register, be there one or not."""
    crn, crm = fields["CRn"], fields["CRm"]
    return SysReg(2 + fields["o0"], fields["op1"], crn, crm, fields["op2"])


def sysreg_name(fields: dict[str, int]) -> str:
    """The system register that the fields of an MRS or MSR name. Reserved if it is none here."""
    register = sysreg_of(fields)
    name = sysregs.NAMES.get(register)
    if name is None:
        op0, op1, crn, crm, op2 = (getattr(register, part) for part in SysReg.__slots__)
        raise Reserved(f"the system register S{op0}_{op1}_C{crn}_C{crm}_{op2} is not known here")
    return name


def mrs(Rt: int, **encoding: int) -> Operation:
    """MRS: move a system register to a general-purpose register."""
    name = sysreg_name(encoding)
    if name in sysregs.WRITE_ONLY:
        raise Reserved(f"{name} is write-only")
    iss = sysregs.system_iss(sysreg_of(encoding), Rt, read=True)
    read, unchecked_from = sysregs.reader(name), sysregs.unchecked_from(name, write=False)
    t = write_slot(Rt)

    def execute(state: State) -> None:
        if state.el < unchecked_from:
            sysregs.check_access(state, name, iss)
        state.x[t] = read(state)

    return execute


def msr_register(Rt: int, **encoding: int) -> Operation:
    """MSR (register): move a general-purpose register to a system register."""
    name = sysreg_name(encoding)
    if name in sysregs.READ_ONLY:
        raise Reserved(f"{name} is read-only")
    iss = sysregs.system_iss(sysreg_of(encoding), Rt, read=False)
    write, unchecked_from = sysregs.writer(name), sysregs.unchecked_from(name, write=True)
    t = read_slot(Rt)

    def execute(state: State) -> None:
        if state.el < unchecked_from:
            sysregs.check_access(state, name, iss)
        write(state, state.x[t])

    return execute


#: op2 of the PSTATE fields that MSR (immediate) names, with op1 = 0b011.
_DAIFSET, _DAIFCLR = 0b110, 0b111


def _daif_iss(CRm: int, op2: int) -> int:
    """ISS of a trapped MSR DAIFSet or DAIFClr."""
    return sysregs.system_iss(SysReg(0, 0b011, 0b0100, CRm, op2), Rt=0b11111, read=False)


def daifset(CRm: int) -> Operation:
    """MSR DAIFSet: mask the exceptions whose bits are 1."""
    iss = _daif_iss(CRm, _DAIFSET)

    def execute(state: State) -> None:
        sysregs.check_daif_access(state, iss)
        state.daif |= CRm

    return execute


def daifclr(CRm: int) -> Operation:
    """MSR DAIFClr: unmask the exceptions whose bits are 1."""
    iss = _daif_iss(CRm, _DAIFCLR)

    def execute(state: State) -> None:
        sysregs.check_daif_access(state, iss)
        state.daif &= ~CRm

    return execute


def spsel(CRm: int) -> Operation:
    """MSR SPSel: select the stack pointer by bit 0."""

    def execute(state: State) -> None:
        _check_not_el0(state, "MSR SPSel")
        state.select_sp(state.el, CRm & 1)

    return execute


def _check_not_el0(state: State, name: str) -> None:
    if state.el == EL.EL0:
        raise undefined(state, name)


def _nothing(state: State) -> None:
    """What an instruction does that has no effect on the state but to be over."""


def hint(**_encoding: int) -> Operation:
    """A hint that does nothing."""
    return _nothing


def send_event() -> Operation:
    """SEV and SEVL: there is no other PE to send it to."""

    def execute(state: State) -> None:
        state.event_register = 1

    return execute


def wfi() -> Operation:
    """WFI: wait for an interrupt. How long, nothing here says."""

    def execute(state: State) -> None:
        _check_wfx_traps(state, is_wfe=False)

    return execute


def wfe() -> Operation:
    """WFE: wait for an event, or for an interrupt."""

    def execute(state: State) -> None:
        if state.event_register:
            state.event_register = 0
        else:
            _check_wfx_traps(state, is_wfe=True)

    return execute


def _check_wfx_traps(state: State, is_wfe: bool) -> None:
    """WFI and WFE trap only where they would wait (AArch64.CheckForWFxTrap)."""
    if state.pin_high or any(routing.virtual_pending(state)):
        return
    no_trap_to_el1 = SCTLR_ELx.nTWE if is_wfe else SCTLR_ELx.nTWI
    trap_to_el2 = HCR_EL2.TWE if is_wfe else HCR_EL2.TWI
    iss = WFxISS.CV.put(1) | WFxISS.COND.put(0b1110) | WFxISS.TI.put(is_wfe)
    name = "WFE" if is_wfe else "WFI"
    if state.el == EL.EL0 and not no_trap_to_el1.is_set(state.sysregs["SCTLR_EL1"]):
        raise trapped(state, name, ExceptionClass.WFX, iss)
    if routing.below_el2(state) and trap_to_el2.is_set(state.seen("HCR_EL2")):
        raise trapped(state, name, ExceptionClass.WFX, iss, EL.EL2)


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
        _check_not_el0(state, "ERET")
        state.exclusive = None
        state.event_register = 1
        return state.sysregs[f"ELR_{state.el.name}"]

    return execute


# SVC, HVC, SMC and BRK: pc becomes the return address. Taking the exception is the caller's


def _return_to_next(state: State) -> int:
    return state.pc + 4 & MASK64


def svc(imm16: int) -> Operation:
    """SVC: supervisor call."""
    return _return_to_next


def hvc(imm16: int) -> Operation:
    """HVC: hypervisor call."""

    def execute(state: State) -> int:
        no_hypervisor = state.el == EL.EL1 and not routing.EL2Enabled(state)
        enabled = SCR_EL3.HCE.is_set(state.sysregs["SCR_EL3"])
        if state.el == EL.EL0 or no_hypervisor or not enabled:
            raise undefined(state, "HVC")
        return _return_to_next(state)

    return execute


def smc(imm16: int) -> Operation:
    """SMC: secure monitor call. Trapped, it returns to itself."""

    def execute(state: State) -> int:
        _check_not_el0(state, "SMC")
        if (
            state.el == EL.EL1
            and routing.EL2Enabled(state)
            and HCR_EL2.TSC.is_set(state.seen("HCR_EL2"))
        ):
            raise trapped(state, "SMC", ExceptionClass.SMC64, imm16, EL.EL2)
        if SCR_EL3.SMD.is_set(state.sysregs["SCR_EL3"]):
            raise undefined(state, "SMC")
        return _return_to_next(state)

    return execute


def brk(imm16: int) -> Operation:
    """BRK: breakpoint. The return address is its own."""
    return lambda state: state.pc


#: What takes an exception when it completes.
CALLS = (Event.SVC, Event.HVC, Event.SMC, Event.EXCEPTION)


def call_record(state: State, event: Event, imm16: int) -> ExceptionRecord:
    """The exception of an SVC, HVC, SMC or BRK (Event.EXCEPTION) that has completed."""
    if event is Event.SVC:
        return ExceptionRecord(ExceptionClass.SVC64, imm16)
    if event is Event.HVC:
        return ExceptionRecord(ExceptionClass.HVC64, imm16, max(state.el, EL.EL2))
    if event is Event.SMC:
        return ExceptionRecord(ExceptionClass.SMC64, imm16, EL.EL3)
    return ExceptionRecord(ExceptionClass.BRK64, imm16, routing.breakpoint_target(state))


def _hint(name: str, number: str, build: Callable[..., Operation] = hint) -> Row:
    """Hints of a number: CRm and op2, 7 bits."""
    return row(name, f"1101010100 0 00 011 0010 {number} 11111", build)


ROWS: tuple[Row, ...] = (
    row("SVC", "11010100 000 imm16:16 000 01", svc, Event.SVC),
    row("HVC", "11010100 000 imm16:16 000 10", hvc, Event.HVC),
    row("SMC", "11010100 000 imm16:16 000 11", smc, Event.SMC),
    row("BRK", "11010100 001 imm16:16 000 00", brk, Event.EXCEPTION),
    row("MSR DAIFSet", "1101010100 0 00 011 0100 CRm:4 110 11111", daifset),
    row("MSR DAIFClr", "1101010100 0 00 011 0100 CRm:4 111 11111", daifclr),
    row("MSR SPSel", "1101010100 0 00 000 0100 CRm:4 101 11111", spsel),
    _hint("NOP", "0000 000"),
    _hint("YIELD", "0000 001"),
    _hint("WFE", "0000 010", wfe),
    _hint("WFI", "0000 011", wfi),
    _hint("SEV", "0000 100", send_event),
    _hint("SEVL", "0000 101", send_event),
    _hint("HINT #6 to #7", "0000 11 low:1"),
    _hint("HINT #8 to #15", "0001 low:3"),
    _hint("HINT #16 to #31", "001 low:4"),
    _hint("HINT #32 to #63", "01 low:5"),
    _hint("HINT #64 to #127", "1 low:6"),
    row("CLREX", "1101010100 0 00 011 0011 CRm:4 010 11111", clrex),
    row("DSB", "1101010100 0 00 011 0011 CRm:4 100 11111", barrier),
    row("DMB", "1101010100 0 00 011 0011 CRm:4 101 11111", barrier),
    row("ISB", "1101010100 0 00 011 0011 CRm:4 110 11111", barrier, Event.ISB),
    row(MSR_REGISTER, "1101010100 0 1 o0 op1:3 CRn:4 CRm:4 op2:3 Rt:5", msr_register),
    row(MRS, "1101010100 1 1 o0 op1:3 CRn:4 CRm:4 op2:3 Rt:5", mrs, writes="Rt"),
    row("ERET", "1101011 0 100 11111 0000 00 11111 00000", eret, Event.ERET),
)
