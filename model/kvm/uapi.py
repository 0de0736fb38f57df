"""What KVM and user space say to each other: constants and structures of the ioctls used here."""

from dataclasses import dataclass, field
from enum import IntEnum

KVM_GUESTDBG_ENABLE_SHIFT = 0  #: the bit that switches guest debugging on
KVM_GUESTDBG_SINGLESTEP_SHIFT = 1  #: the bit that asks for single steps; without ENABLE, nothing

# kvm_guest_debug.control, a 32-bit word
KVM_GUESTDBG_ENABLE = 1 << KVM_GUESTDBG_ENABLE_SHIFT
KVM_GUESTDBG_SINGLESTEP = 1 << KVM_GUESTDBG_SINGLESTEP_SHIFT
KVM_GUESTDBG_USE_SW_BP = 1 << 16  #: BRK of the guest goes to user space
KVM_GUESTDBG_USE_HW_BP = 1 << 17  #: hardware breakpoints: not supported

KVM_GUESTDBG_VALID = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_SW_BP


class ExitReason(IntEnum):
    """kvm_run.exit_reason."""

    UNKNOWN = 0  #: KVM_EXIT_UNKNOWN: KVM has no handler for what the hardware reported
    DEBUG = 4  #: KVM_EXIT_DEBUG
    MMIO = 6  #: KVM_EXIT_MMIO: an access for user space to make
    INTR = 10  #: KVM_EXIT_INTR: a signal was pending
    SYSTEM_EVENT = 24  #: KVM_EXIT_SYSTEM_EVENT: the guest has switched itself off


class DebugExit(IntEnum):
    """kvm_debug_exit_arch.exit_type."""

    NONE = 0
    SINGLE_STEP = 1  #: KVM_DEBUG_EXIT_SINGLE_STEP
    SW_BKPT = 2  #: KVM_DEBUG_EXIT_SW_BKPT


@dataclass(slots=True)
class KvmGuestDebug:
    """struct kvm_guest_debug: what KVM_SET_GUEST_DEBUG takes."""

    control: int = 0  #: 32 bits: KVM_GUESTDBG_*
    pad: int = 0  #: 32 bits
    arch: tuple[int, ...] = ()  #: debug registers of hardware breakpoints, which are not supported


@dataclass(slots=True)
class DebugExitArch:
    """struct kvm_debug_exit_arch: `kvm_run.debug.arch`."""

    exit_type: DebugExit = DebugExit.NONE
    address: int = 0  #: 64 bits: the PC


@dataclass(slots=True)
class Mmio:
    """`kvm_run.mmio`."""

    phys_addr: int = 0  #: 64 bits
    data: bytes = bytes(8)  #: little-endian; of a read, what user space answers
    len: int = 0  #: 1, 2, 4 or 8
    is_write: bool = False


@dataclass(slots=True)
class KvmRun:
    """struct kvm_run: the page that KVM and user space share."""

    immediate_exit: bool = False  #: KVM_RUN does not enter the guest
    exit_reason: ExitReason = ExitReason.UNKNOWN
    hardware_exit_reason: int = 0  #: of UNKNOWN: ESR_EL2.EC
    debug: DebugExitArch = field(default_factory=DebugExitArch)
    mmio: Mmio = field(default_factory=Mmio)
