"""A guest on the reference PE with no host under it, and the vcpu that has the same registers."""

from typing import Any

from model.a64.processor import Processor
from model.arch import EL
from model.kvm.vcpu import Vcpu

#: Registers of both, by their names on the PE.
_SYSREGS = ("MDSCR_EL1", "VBAR_EL1", "SCTLR_EL1", "ELR_EL1", "SPSR_EL1", "ESR_EL1", "FAR_EL1")


def pstate(pe: Processor) -> int:
    """PSTATE as an SPSR has it."""
    state = pe.state
    mode = state.el << 2 | state.spsel
    return mode | state.daif << 6 | state.il << 20 | state.ss << 21 | state.nzcv << 28


def set_pstate(pe: Processor, spsr: int) -> None:
    """The other way round."""
    state = pe.state
    state.select_sp(EL(spsr >> 2 & 3), spsr & 1)
    state.daif, state.nzcv = spsr >> 6 & 0xF, spsr >> 28
    state.il, state.ss = spsr >> 20 & 1, spsr >> 21 & 1


def vcpu_of(pe: Processor) -> Vcpu:
    """The registers of a PE that is in its guest."""
    state = pe.state
    registers: dict[str, Any] = {name.lower(): state.sysregs[name] for name in _SYSREGS}
    os_lock = state.sysregs["OSLSR_EL1"] >> 1 & 1
    vcpu = Vcpu(spsr=pstate(pe), elr=state.pc, os_lock=os_lock, **registers)
    vcpu.x = state.x[:31]
    return vcpu
