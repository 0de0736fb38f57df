"""A vcpu as far as guest debugging sees it, and the C side of that code."""

from dataclasses import dataclass

from model.arch import MDCR_EL2, MDSCR_EL1, SPSR_ELx
from model.kvm.uapi import (
    KVM_GUESTDBG_ENABLE,
    KVM_GUESTDBG_ENABLE_SHIFT,
    KVM_GUESTDBG_SINGLESTEP,
    KVM_GUESTDBG_SINGLESTEP_SHIFT,
)

#: What assembly sources know by name: what asm-offsets and the headers give to the kernel's.
ASSEMBLER_CONSTANTS = {
    "GUEST_DEBUG": 0x40,  # byte offset in the C struct; ours, as any multiple of 8 will do
    "KVM_GUESTDBG_ENABLE_SHIFT": KVM_GUESTDBG_ENABLE_SHIFT,
    "KVM_GUESTDBG_SINGLESTEP_SHIFT": KVM_GUESTDBG_SINGLESTEP_SHIFT,
    "KVM_GUESTDBG_ENABLE": KVM_GUESTDBG_ENABLE,
    "KVM_GUESTDBG_SINGLESTEP": KVM_GUESTDBG_SINGLESTEP,
    "DBG_SPSR_SS": SPSR_ELx.SS.mask,
    "DBG_MDSCR_SS": MDSCR_EL1.SS.mask,
}

GUEST_DEBUG = ASSEMBLER_CONSTANTS["GUEST_DEBUG"]


@dataclass(slots=True)
class Vcpu:
    """The state kept in memory while the vcpu does not run."""

    guest_debug: int = 0  #: 32 bits: KVM_GUESTDBG_*, 0 when the guest is not debugged
    spsr: int = 0  #: 64 bits: the guest's PSTATE, restored to SPSR_EL2
    mdscr_el1: int = 0  #: 64 bits: restored to MDSCR_EL1
    mdcr_el2: int = 0  #: 64 bits: restored to MDCR_EL2


def set_guest_debug(vcpu: Vcpu, control: int) -> None:
    """What KVM_SET_GUEST_DEBUG does with `control`, 32 bits. ValueError if it has more.

    Single steps are routed to EL2 (MDCR_EL2.TDE). Without ENABLE all of it is switched off.
    """
    if not 0 <= control < 1 << 32:
        raise ValueError(f"control is {control:#x}: it has 32 bits")
    vcpu.guest_debug = control if control & KVM_GUESTDBG_ENABLE else 0
    vcpu.mdcr_el2 &= ~MDCR_EL2.TDE.mask
    if vcpu.guest_debug & KVM_GUESTDBG_SINGLESTEP:
        vcpu.mdcr_el2 |= MDCR_EL2.TDE.mask


def kvm_setup_guest_debug(vcpu: Vcpu) -> None:
    """Set up the saved state for a debugged guest: both SS bits follow SINGLESTEP.

    Called on the KVM_RUN path, before the world switch, which then has nothing to do for it.
    """
    if not vcpu.guest_debug & KVM_GUESTDBG_ENABLE:
        return
    vcpu.spsr &= ~SPSR_ELx.SS.mask
    vcpu.mdscr_el1 &= ~MDSCR_EL1.SS.mask
    if vcpu.guest_debug & KVM_GUESTDBG_SINGLESTEP:
        vcpu.spsr |= SPSR_ELx.SS.mask
        vcpu.mdscr_el1 |= MDSCR_EL1.SS.mask
