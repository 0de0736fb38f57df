"""KVM's C code around the world switch, as the seed has it: exits, emulation, MMIO, single steps.

Functions that the kernel has too go by the kernel's names. Where the kernel returns -errno, so do
they. `Upstream` (model.kvm.upstream) is the same with all that the seed's host lacks.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import IntEnum
from errno import ENOSYS
from operator import attrgetter

from model.arch import (
    HPFAR_EL2,
    MDCR_EL2,
    MDSCR_EL1,
    SYSREGS,
    AbortISS,
    ESR_ELx,
    ExceptionClass,
    SPSR_ELx,
    SysReg,
    SystemISS,
)
from model.hyp.words import Sequence
from model.kvm import inject
from model.kvm.own_stepping import OwnStepping
from model.kvm.uapi import (
    KVM_GUESTDBG_ENABLE,
    KVM_GUESTDBG_SINGLESTEP,
    KVM_GUESTDBG_USE_SW_BP,
    DebugExit,
    ExitReason,
    KvmRun,
    Mmio,
)
from model.kvm.vcpu import Vcpu, kvm_setup_guest_debug, set_guest_debug

MASK64 = (1 << 64) - 1
ZERO = 31  #: number of XZR

# PSCI, by SMC calling convention: function in x0
PSCI_VERSION, PSCI_SYSTEM_OFF = 0x8400_0000, 0x8400_0008
_PSCI_0_2, _NOT_SUPPORTED = 2, MASK64

_EC = ExceptionClass

_FIELDS = attrgetter(*(each.name for each in fields(Vcpu)))


class Exit(IntEnum):
    """What the world switch says of an exit (EXIT_* of kvm.S)."""

    SYNC = 0
    IRQ = 1
    FIQ = 2
    SERROR = 3
    PANIC = 4  #: an exception at EL2 itself


class HypPanic(Exception):
    """The code at EL2 has taken an exception: one line."""


@dataclass(frozen=True, slots=True)
class Access:
    """A load or store that user space has to make."""

    pc: int
    far: int
    iss: int  #: AbortISS, with ISV


@dataclass(slots=True)
class VirtualCpu:
    """struct kvm_vcpu: the registers, and what the host knows beside them."""

    regs: Vcpu
    address: int  #: of the structure in RAM
    initialised: bool = False  #: KVM_ARM_VCPU_INIT
    running: bool = False
    access: Access | None = None  #: user space has not completed it
    abort_pending: bool = False  #: user space has said that the access aborts
    log: list[str] = field(default_factory=list)  #: what the kernel would have printed
    word: int | None = None  #: the instruction at the PC before the last entry
    # What `Upstream` keeps; the seed's host has nothing of it.
    before: Vcpu | None = None  #: the guest's own state, while the PE has the host's bits
    stepped: bool = False  #: an instruction has completed, or an exception has been taken
    own: OwnStepping = field(default_factory=OwnStepping)

    @property
    def stepping(self) -> bool:
        """User space asks for single steps."""
        both = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP
        return self.regs.guest_debug & both == both

    def copy_of_regs(self) -> Vcpu:
        """The registers as they are now."""
        copy = Vcpu(*_FIELDS(self.regs))
        copy.x = list(copy.x)
        return copy


class Host:
    """The seed's host, with a sequence at guest entry."""

    def __init__(self, sequence: Sequence, advance_first: bool = True, callout: bool = False):
        """`advance_first`: the PC goes past an MMIO access before user space sees it, as in the
        seed, and not after it has completed it. `callout`: C sets up the saved state.
        """
        self.sequence = sequence
        self.advance_first = advance_first
        self.callout = callout

    def suppresses(self, control: int) -> bool:
        """Whether the guest's own stepping is stated to be suppressed with this guest_debug."""
        return bool(control & KVM_GUESTDBG_ENABLE)

    # What a step needs of the loop

    def set_guest_debug(self, cpu: VirtualCpu, control: int) -> None:
        """KVM_SET_GUEST_DEBUG. What C has set up in the saved state, it takes back."""
        ends = cpu.regs.guest_debug & KVM_GUESTDBG_ENABLE and not control & KVM_GUESTDBG_ENABLE
        if self.callout and ends:
            cpu.regs.spsr &= ~SPSR_ELx.SS.mask
            cpu.regs.mdscr_el1 &= ~MDSCR_EL1.SS.mask
        set_guest_debug(cpu.regs, control)

    def begin(self, cpu: VirtualCpu, run: KvmRun) -> int:
        """Before KVM_RUN enters the guest (again): 1 to go on, 0 to exit to user space."""
        return 1

    def setup(self, cpu: VirtualCpu) -> None:
        """Just before the world switch."""
        if self.callout:
            kvm_setup_guest_debug(cpu.regs)

    def finish(self, cpu: VirtualCpu) -> None:
        """Just after it, with the guest's registers saved."""

    def end(self, cpu: VirtualCpu, run: KvmRun) -> int:
        """After an exit that the kernel has handled: 1 to enter the guest again, 0 to exit."""
        return 1

    # Exits

    def handle_exit(self, cpu: VirtualCpu, run: KvmRun) -> int:
        """1 to go on, 0 to exit to user space, or -errno. HypPanic."""
        match cpu.regs.exit:
            case Exit.SYNC:
                ec = ESR_ELx.EC.get(cpu.regs.esr_el2)
                return EXIT_HANDLERS.get(ec, kvm_handle_unknown_ec)(self, cpu, run)
            case Exit.IRQ | Exit.FIQ | Exit.SERROR:
                return 1  # the host has taken it
        esr, pc = cpu.regs.esr_el2, cpu.regs.elr
        raise HypPanic(f"an exception at EL2: ESR_EL2 {esr:#x}, PC {pc:#x}")

    def debug_exit(self, cpu: VirtualCpu, run: KvmRun, exit_type: DebugExit) -> int:
        """KVM_EXIT_DEBUG at the present PC."""
        run.exit_reason = ExitReason.DEBUG
        run.debug.exit_type = exit_type
        run.debug.address = cpu.regs.elr
        return 0

    def skip_instruction(self, cpu: VirtualCpu) -> None:
        """kvm_skip_instr: the instruction has been emulated."""
        cpu.regs.elr = cpu.regs.elr + 4 & MASK64

    def emulated(self, cpu: VirtualCpu) -> int:
        """An instruction has been emulated by the kernel."""
        self.skip_instruction(cpu)
        return 1

    def inject_undefined(self, cpu: VirtualCpu) -> int:
        """The guest takes an exception instead."""
        inject.inject_undefined(cpu.regs)
        return 1

    def inject_abort(
        self, cpu: VirtualCpu, far: int, instruction: bool = False, write: bool = False
    ) -> int:
        """The guest takes an external abort."""
        inject.inject_external_abort(cpu.regs, far, instruction, write)
        return 1

    def inject_breakpoint(self, cpu: VirtualCpu) -> int:
        """The guest takes its own BRK, which came to EL2 because of MDCR_EL2.TDE."""
        inject.inject(cpu.regs, _EC.BRK64, ESR_ELx.ISS.get(cpu.regs.esr_el2))
        return 1

    # MMIO

    def io_mem_abort(self, cpu: VirtualCpu, run: KvmRun) -> int:
        """Let user space make the access."""
        regs = cpu.regs
        iss = ESR_ELx.ISS.get(regs.esr_el2)
        if not AbortISS.ISV.get(iss):
            cpu.log.append("load/store instruction decoding not implemented")
            return -ENOSYS
        size = 1 << AbortISS.SAS.get(iss)
        value = _read(regs, AbortISS.SRT.get(iss)).to_bytes(8, "little")[:size]
        write = bool(AbortISS.WnR.get(iss))
        address = HPFAR_EL2.FIPA.get(regs.hpfar_el2) << 12 | regs.far_el2 & 0xFFF
        run.mmio = Mmio(address, value if write else bytes(size), size, write)
        run.exit_reason = ExitReason.MMIO
        cpu.access = Access(regs.elr, regs.far_el2, iss)
        if self.advance_first:
            self.skip_instruction(cpu)
        return 0

    def handle_mmio_return(self, cpu: VirtualCpu, run: KvmRun) -> int:
        """User space has made the access, or says that it aborts. 1 to go on, 0 to exit."""
        access, cpu.access = cpu.access, None
        if access is None:
            return 1
        if cpu.abort_pending:
            cpu.abort_pending = False
            self.abort_access(cpu, access)
            return self.end(cpu, run)
        if not AbortISS.WnR.get(access.iss):
            _write(cpu.regs, AbortISS.SRT.get(access.iss), _extended(run.mmio.data, access.iss))
        if not self.advance_first:
            self.skip_instruction(cpu)
        return self.end(cpu, run)

    def abort_access(self, cpu: VirtualCpu, access: Access) -> int:
        """The access that user space was to make aborts instead."""
        return self.inject_abort(cpu, access.far, write=bool(AbortISS.WnR.get(access.iss)))


# Handlers of exits, by ESR_EL2.EC

Handler = Callable[[Host, VirtualCpu, KvmRun], int]


def kvm_handle_wfx(host: Host, cpu: VirtualCpu, run: KvmRun) -> int:
    """WFI and WFE: whatever the guest has been waiting for, it goes on."""
    return host.emulated(cpu)


def kvm_handle_aarch32_register(host: Host, cpu: VirtualCpu, run: KvmRun) -> int:
    """CP14 and CP15: a guest of this core, which has AArch64 alone, has no such registers."""
    return host.inject_undefined(cpu)


def handle_hvc(host: Host, cpu: VirtualCpu, run: KvmRun) -> int:
    """PSCI. The PE has gone past the HVC by itself."""
    regs = cpu.regs
    match regs.x[0] & 0xFFFF_FFFF:
        case value if value == PSCI_VERSION:
            regs.x[0] = _PSCI_0_2
        case value if value == PSCI_SYSTEM_OFF:
            run.exit_reason = ExitReason.SYSTEM_EVENT
            return 0
        case _:
            regs.x[0] = _NOT_SUPPORTED
    return 1


def handle_smc(host: Host, cpu: VirtualCpu, run: KvmRun) -> int:
    """There is no EL3 for a guest."""
    return host.inject_undefined(cpu)


def kvm_handle_sys_reg(host: Host, cpu: VirtualCpu, run: KvmRun) -> int:
    """A trapped MSR or MRS is made on the saved copy."""
    iss = ESR_ELx.ISS.get(cpu.regs.esr_el2)
    names = (SystemISS.Op0, SystemISS.Op1, SystemISS.CRn, SystemISS.CRm, SystemISS.Op2)
    register = _SYSREG_NAMES.get(SysReg(*(name.get(iss) for name in names)))
    Rt = SystemISS.Rt.get(iss)
    if register not in _EMULATED:
        return host.inject_undefined(cpu)
    if SystemISS.READ.get(iss):
        _write(cpu.regs, Rt, _read_register(cpu.regs, register))
    else:
        _write_register(cpu.regs, register, _read(cpu.regs, Rt))
    return host.emulated(cpu)


def kvm_handle_guest_abort(host: Host, cpu: VirtualCpu, run: KvmRun) -> int:
    """There is no RAM at the address: nothing to fetch, or a device of user space's."""
    if ESR_ELx.EC.get(cpu.regs.esr_el2) == _EC.IABT_LOWER:
        return host.inject_abort(cpu, cpu.regs.far_el2, instruction=True)
    return host.io_mem_abort(cpu, run)


def kvm_handle_ss(host: Host, cpu: VirtualCpu, run: KvmRun) -> int:
    """A Software Step exception."""
    if not cpu.stepping:
        cpu.log.append(WARN_ON_STEP)
    return host.debug_exit(cpu, run, DebugExit.SINGLE_STEP)


def kvm_handle_bkpt(host: Host, cpu: VirtualCpu, run: KvmRun) -> int:
    """BRK: of user space, if it uses software breakpoints, else the guest's own."""
    if cpu.regs.guest_debug & KVM_GUESTDBG_USE_SW_BP:
        return host.debug_exit(cpu, run, DebugExit.SW_BKPT)
    return host.inject_breakpoint(cpu)


def kvm_handle_unknown_ec(host: Host, cpu: VirtualCpu, run: KvmRun) -> int:
    """An exit that there is no handler for: user space is told."""
    ec = ESR_ELx.EC.get(cpu.regs.esr_el2)
    cpu.log.append(f"unknown exception class {ec:#04x}: ESR_EL2 {cpu.regs.esr_el2:#010x}")
    run.exit_reason, run.hardware_exit_reason = ExitReason.UNKNOWN, ec
    return 0


EXIT_HANDLERS: dict[int, Handler] = {
    _EC.WFX: kvm_handle_wfx,
    _EC.CP15_32: kvm_handle_aarch32_register,
    _EC.CP15_64: kvm_handle_aarch32_register,
    _EC.CP14_MR: kvm_handle_aarch32_register,
    _EC.CP14_LS: kvm_handle_aarch32_register,
    _EC.CP14_64: kvm_handle_aarch32_register,
    _EC.HVC32: handle_hvc,
    _EC.SMC32: handle_smc,
    _EC.HVC64: handle_hvc,
    _EC.SMC64: handle_smc,
    _EC.SYS64: kvm_handle_sys_reg,
    _EC.IABT_LOWER: kvm_handle_guest_abort,
    _EC.DABT_LOWER: kvm_handle_guest_abort,
    _EC.SOFTSTEP_LOWER: kvm_handle_ss,
    _EC.BKPT32: kvm_handle_bkpt,
    _EC.BRK64: kvm_handle_bkpt,
}

#: What the seed's WARN_ON in kvm_handle_ss prints.
WARN_ON_STEP = "WARNING: kvm_handle_ss: a step that nobody has asked for"

# Registers

_SYSREG_NAMES = {register: name for name, register in SYSREGS.items()}
_EMULATED = ("MDSCR_EL1", "OSLAR_EL1", "OSLSR_EL1", "OSDLR_EL1")

_OSLSR_OSLM = 0b1000  #: OSLSR_EL1.OSLM: the OS Lock is implemented
_OSLSR_OSLK = 1

#: Debug registers that trap whether the host debugs or not.
ALWAYS_TRAPPED = MDCR_EL2.TDOSA.mask


def _read_register(regs: Vcpu, register: str) -> int:
    match register:
        case "MDSCR_EL1":
            return regs.mdscr_el1
        case "OSLSR_EL1":
            return _OSLSR_OSLM | regs.os_lock << _OSLSR_OSLK
    return 0  # OSDLR_EL1: the double lock is never there for a guest


def _write_register(regs: Vcpu, register: str, value: int) -> None:
    match register:
        case "MDSCR_EL1":
            regs.mdscr_el1 = value
        case "OSLAR_EL1":
            regs.os_lock = value & 1


def _read(regs: Vcpu, number: int) -> int:
    return 0 if number == ZERO else regs.x[number]


def _write(regs: Vcpu, number: int, value: int) -> None:
    if number != ZERO:
        regs.x[number] = value & MASK64


def _extended(data: bytes, iss: int) -> int:
    """What a load of `data` writes to its register, as the syndrome says."""
    value = int.from_bytes(data, "little", signed=bool(AbortISS.SSE.get(iss)))
    return value & (MASK64 if AbortISS.SF.get(iss) else 0xFFFF_FFFF)
