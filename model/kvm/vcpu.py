"""A vcpu: what is kept in memory while it does not run, and the C side of guest debugging.

The layout is stated once, here: assembly and C get its offsets as `VCPU_<FIELD>`, and `Vcpu` reads
and writes the same bytes.
"""

import struct
from dataclasses import dataclass, field

from model.arch import MDCR_EL2, MDSCR_EL1, SPSR_ELx
from model.kvm.uapi import (
    KVM_GUESTDBG_ENABLE,
    KVM_GUESTDBG_ENABLE_SHIFT,
    KVM_GUESTDBG_SINGLESTEP,
    KVM_GUESTDBG_SINGLESTEP_SHIFT,
    KVM_GUESTDBG_USE_SW_BP,
)

#: Doublewords of the structure, in order. `steps` is the hypervisor loop's own count.
_FIELDS = (
    *("spsr", "elr", "mdscr_el1", "mdcr_el2", "sp_el0", "sp_el1", "esr_el2", "steps"),
    *("guest_debug", "hcr_el2", "x"),
)
_AFTER_X = (
    *("exit", "far_el2", "hpfar_el2", "os_lock", "sctlr_el1", "vbar_el1", "elr_el1"),
    *("spsr_el1", "esr_el1", "far_el1", "tpidr_el0", "tpidrro_el0", "tpidr_el1"),
)
_REGISTERS = 31  #: x0 to x30

#: Field to byte offset.
OFFSETS = {name: 8 * n for n, name in enumerate(_FIELDS)}
OFFSETS |= {name: 8 * (len(_FIELDS) - 1 + _REGISTERS + n) for n, name in enumerate(_AFTER_X)}
SIZE = 8 * (len(_FIELDS) - 1 + _REGISTERS + len(_AFTER_X))

GUEST_DEBUG = OFFSETS["guest_debug"]

#: What assembly sources know by name: what asm-offsets and the headers give to the kernel's.
ASSEMBLER_CONSTANTS = {
    "GUEST_DEBUG": GUEST_DEBUG,  # byte offset in the C struct; ours, as any multiple of 8 will do
    "KVM_GUESTDBG_ENABLE_SHIFT": KVM_GUESTDBG_ENABLE_SHIFT,
    "KVM_GUESTDBG_SINGLESTEP_SHIFT": KVM_GUESTDBG_SINGLESTEP_SHIFT,
    "KVM_GUESTDBG_ENABLE": KVM_GUESTDBG_ENABLE,
    "KVM_GUESTDBG_SINGLESTEP": KVM_GUESTDBG_SINGLESTEP,
    "DBG_SPSR_SS": SPSR_ELx.SS.mask,
    "DBG_MDSCR_SS": MDSCR_EL1.SS.mask,
}


@dataclass(slots=True)
class Vcpu:
    """The structure's fields, of 64 bits each. The guest's registers are as it left them."""

    guest_debug: int = 0  #: 32 bits: KVM_GUESTDBG_*, 0 when the guest is not debugged
    spsr: int = 0  #: the guest's PSTATE, restored to SPSR_EL2
    elr: int = 0  #: its PC, restored to ELR_EL2
    mdscr_el1: int = 0  #: restored to MDSCR_EL1
    mdcr_el2: int = 0  #: restored to MDCR_EL2
    hcr_el2: int = 0  #: restored to HCR_EL2
    sp_el0: int = 0
    sp_el1: int = 0
    x: list[int] = field(default_factory=lambda: [0] * _REGISTERS)
    os_lock: int = 0  #: OSLSR_EL1.OSLK
    sctlr_el1: int = 0
    vbar_el1: int = 0
    elr_el1: int = 0
    spsr_el1: int = 0
    esr_el1: int = 0
    far_el1: int = 0
    tpidr_el0: int = 0
    tpidrro_el0: int = 0
    tpidr_el1: int = 0
    # Of the last exit.
    exit: int = 0  #: an `Exit`
    esr_el2: int = 0
    far_el2: int = 0
    hpfar_el2: int = 0
    steps: int = 0  #: Software Step exceptions, where the loop at EL2 counts them

    def pack(self) -> bytes:
        """The structure's bytes."""
        words = [0] * (SIZE // 8)
        for name, offset in OFFSETS.items():
            if name != "x":
                words[offset // 8] = getattr(self, name)
        at = OFFSETS["x"] // 8
        words[at : at + _REGISTERS] = self.x
        return struct.pack(f"<{len(words)}Q", *words)

    def unpack(self, content: bytes) -> None:
        """Take all fields from the structure's bytes."""
        words = struct.unpack(f"<{SIZE // 8}Q", content)
        for name, offset in OFFSETS.items():
            if name != "x":
                setattr(self, name, words[offset // 8])
        at = OFFSETS["x"] // 8
        self.x = list(words[at : at + _REGISTERS])


def set_guest_debug(vcpu: Vcpu, control: int) -> None:
    """What KVM_SET_GUEST_DEBUG does with `control`, 32 bits. ValueError if it has more.

    Single steps and software breakpoints are routed to EL2 (MDCR_EL2.TDE). Without ENABLE all of it
    is switched off.
    """
    if not 0 <= control < 1 << 32:
        raise ValueError(f"control is {control:#x}: it has 32 bits")
    vcpu.guest_debug = control if control & KVM_GUESTDBG_ENABLE else 0
    vcpu.mdcr_el2 &= ~MDCR_EL2.TDE.mask
    if vcpu.guest_debug & (KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_SW_BP):
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
