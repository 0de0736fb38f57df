"""Exception entry and return: PSTATE to SPSR_ELx and back (manual D1.10, D1.11, J1)."""

from typing import NamedTuple

from model.a64.exceptions import ExceptionRecord
from model.a64.state import MASK64, State
from model.a64.stepping import Outcome
from model.arch import EL, HPFAR_EL2, ESR_ELx, ExceptionClass, Retire, SPSR_ELx, VBAR_ELx

_VECTOR_LOWER_EL = 0x400
_VECTOR_SP_ELX = 0x200
_VECTOR = {
    Retire.SYNCHRONOUS: 0x000,
    Retire.IRQ: 0x080,
    Retire.VIRQ: 0x080,
    Retire.FIQ: 0x100,
    Retire.VFIQ: 0x100,
    Retire.SERROR: 0x180,
}

_NZCV_LSB = SPSR_ELx.V.lsb
_DAIF_LSB = SPSR_ELx.F.lsb

_WITH_SAME = (ExceptionClass.IABT_LOWER, ExceptionClass.DABT_LOWER)

_FIPA_PAGE = 12  #: the lowest bit of an address in HPFAR_EL2.FIPA


class Entry(NamedTuple):
    """What an exception writes to the registers of its target EL; 0 where it writes nothing."""

    target_el: int = 0
    esr: int = 0
    elr: int = 0
    spsr: int = 0
    far: int = 0
    hpfar: int = 0
    sets_esr: int = 0
    sets_far: int = 0
    sets_hpfar: int = 0


NO_ENTRY = Entry()


def ESR(record: ExceptionRecord, same_el: bool) -> int:
    """ESR_ELx of an exception (AArch64.ReportException). Every instruction has 32 bits."""
    ec = record.ec + (same_el and record.ec in _WITH_SAME)
    return ESR_ELx.EC.put(ec) | ESR_ELx.IL.put(1) | ESR_ELx.ISS.put(record.iss)


def GetPSRFromPSTATE(state: State, ss: int) -> int:
    """SPSR_ELx of an exception, with the SS that software step says."""
    mode = state.el << 2 | state.spsel  # at EL0 SPSel is 0
    return (
        mode
        | state.daif << _DAIF_LSB
        | SPSR_ELx.IL.put(state.il)
        | SPSR_ELx.SS.put(ss)
        | state.nzcv << _NZCV_LSB
    )


def TakeException(
    state: State,
    kind: Retire,
    target: EL,
    elr: int,
    spsr_ss: int,
    esr: int | None,
    vaddress: int | None,
    ipaddress: int | None,
) -> Entry:
    """Take an exception: all but PSTATE.SS and PSTATE.IL. None: the register is not written."""
    name = target.name
    sysregs = state.sysregs
    spsr = GetPSRFromPSTATE(state, spsr_ss)
    sysregs[f"SPSR_{name}"] = spsr
    sysregs[f"ELR_{name}"] = elr
    if esr is not None:
        sysregs[f"ESR_{name}"] = esr
    if vaddress is not None:
        sysregs[f"FAR_{name}"] = vaddress
    hpfar = 0
    if ipaddress is not None:
        fipa = (1 << HPFAR_EL2.FIPA.width) - 1
        hpfar = HPFAR_EL2.FIPA.put(ipaddress >> _FIPA_PAGE & fipa)
        sysregs["HPFAR_EL2"] = hpfar
    offset = _VECTOR[kind]
    if target > state.el:
        offset += _VECTOR_LOWER_EL
    elif state.spsel:
        offset += _VECTOR_SP_ELX
    state.pc = (sysregs[f"VBAR_{name}"] & VBAR_ELx.BASE.mask) + offset & MASK64
    state.select_sp(target, 1)
    state.daif = 0b1111
    return Entry(
        int(target),
        esr or 0,
        elr,
        spsr,
        vaddress or 0,
        hpfar,
        int(esr is not None),
        int(vaddress is not None),
        int(ipaddress is not None),
    )


def SetPSTATEFromPSR(state: State, spsr: int, outcome: Outcome) -> None:
    """PSTATE after an exception return, but for SS and IL."""
    state.nzcv = spsr >> _NZCV_LSB & 0xF
    state.daif = spsr >> _DAIF_LSB & 0xF
    if not outcome.illegal_return:
        state.select_sp(outcome.el, spsr & 1)
