"""A VM on an engine: the ioctls of guest debugging, and KVM_RUN."""

from collections.abc import Sequence
from dataclasses import dataclass
from errno import EINTR, EINVAL, ENOENT, ENOEXEC

from model.a64.processor import QUIET
from model.a64.trace import Inputs
from model.arch import HCR_EL2, RESET_VALUES, Mode, SPSR_ELx
from model.kvm.engine import Engine, Ran
from model.kvm.host import ALWAYS_TRAPPED, Exit, Host, VirtualCpu
from model.kvm.own_stepping import OwnStepping
from model.kvm.uapi import KVM_GUESTDBG_VALID, ExitReason, KvmGuestDebug, KvmRun
from model.kvm.vcpu import SIZE, Vcpu
from model.programs import load
from model.programs.image import Image

VCPUS = 2  #: that the image has room for

_EL1H = Mode.EL1h | SPSR_ELx.D.mask | SPSR_ELx.A.mask | SPSR_ELx.I.mask | SPSR_ELx.F.mask

#: What every guest runs under: stage 2, interrupts to the host, and what traps.
_HCR = HCR_EL2.RW.mask | HCR_EL2.VM.mask | HCR_EL2.IMO.mask | HCR_EL2.FMO.mask | HCR_EL2.AMO.mask
_HCR |= HCR_EL2.TWI.mask | HCR_EL2.TWE.mask | HCR_EL2.TSC.mask

#: What KVM_GET_ONE_REG and KVM_SET_ONE_REG know beside x0 to x30, by their names here.
_ONE_REG = {"pc": "elr", "pstate": "spsr"}
_ONE_REG |= {name: name for name in ("sp_el0", "sp_el1", "mdscr_el1", "elr_el1", "spsr_el1")}
_ONE_REG |= {name: name for name in ("esr_el1", "far_el1", "vbar_el1", "sctlr_el1")}


@dataclass(frozen=True, slots=True)
class WorldSwitch:
    """One entry to the guest and the exit from it."""

    ran: Ran
    exit: Exit


class Vm:
    """One VM. Its vcpus run one at a time."""

    def __init__(self, engine: Engine, host: Host) -> None:
        self.host = host
        self.switches: list[WorldSwitch] = []  #: of the last KVM_RUN
        self._engine = engine
        self._doorbell = self._vcpus = 0
        self._cpus: list[VirtualCpu] = []

    async def start(self, guest: Image) -> None:
        """Load a guest, with EL2's code beside it, and bring the machine up. NoExit.

        ValueError if the host's sequence does not fit.
        """
        image = load.with_world_switch(guest, self.host.sequence)
        self._doorbell, self._vcpus = image.symbols["doorbell"], image.symbols["vcpus"]
        await self._engine.start(image)

    def create_vcpu(self) -> VirtualCpu:
        """KVM_CREATE_VCPU. ValueError if there are VCPUS already."""
        if len(self._cpus) == VCPUS:
            raise ValueError(f"there is room for {VCPUS} vcpus")
        cpu = VirtualCpu(Vcpu(), self._vcpus + SIZE * len(self._cpus))
        self._cpus.append(cpu)
        return cpu

    def vcpu_init(self, cpu: VirtualCpu, pc: int) -> int:
        """KVM_ARM_VCPU_INIT, and the PC at which the guest begins at EL1.

        What is asked for by KVM_SET_GUEST_DEBUG stays; an access that is open is forgotten.
        """
        debug = cpu.regs.guest_debug
        cpu.access, cpu.abort_pending, cpu.own = None, False, OwnStepping()
        cpu.regs = Vcpu(
            spsr=_EL1H,
            elr=pc,
            hcr_el2=_HCR,
            mdcr_el2=ALWAYS_TRAPPED,
            sctlr_el1=RESET_VALUES["SCTLR_EL1"],
        )
        self.host.set_guest_debug(cpu, debug)
        cpu.initialised = True
        return 0

    def set_guest_debug(self, cpu: VirtualCpu, debug: KvmGuestDebug) -> int:
        """KVM_SET_GUEST_DEBUG: 0, or -EINVAL for what is unknown or not supported."""
        if debug.control & ~KVM_GUESTDBG_VALID:
            return -EINVAL
        self.host.set_guest_debug(cpu, debug.control)
        return 0

    def get_one_reg(self, cpu: VirtualCpu, name: str) -> tuple[int, int]:
        """KVM_GET_ONE_REG: (0 or -errno, value)."""
        if not cpu.initialised:
            return -ENOEXEC, 0
        if (number := _general(name)) is not None:
            return 0, cpu.regs.x[number]
        if name not in _ONE_REG:
            return -ENOENT, 0
        return 0, getattr(cpu.regs, _ONE_REG[name])

    def set_one_reg(self, cpu: VirtualCpu, name: str, value: int) -> int:
        """KVM_SET_ONE_REG: 0 or -errno."""
        if not cpu.initialised:
            return -ENOEXEC
        if not 0 <= value < 1 << 64:
            return -EINVAL
        if (number := _general(name)) is not None:
            cpu.regs.x[number] = value
        elif name in _ONE_REG:
            setattr(cpu.regs, _ONE_REG[name], value)
        else:
            return -ENOENT
        return 0

    def set_virtual_irq(self, cpu: VirtualCpu, level: bool) -> None:
        """KVM_IRQ_LINE: a virtual interrupt is pending, or is not."""
        cpu.regs.hcr_el2 = cpu.regs.hcr_el2 & ~HCR_EL2.VI.mask | HCR_EL2.VI.put(level)

    def inject_external_abort(self, cpu: VirtualCpu) -> int:
        """KVM_SET_VCPU_EVENTS: the access that user space was to make aborts. 0 or -EINVAL."""
        if cpu.access is None:
            return -EINVAL
        cpu.abort_pending = True
        return 0

    async def run(
        self,
        cpu: VirtualCpu,
        run: KvmRun,
        inputs: Sequence[Inputs] = (QUIET,),
        signal: bool = False,
    ) -> int:
        """KVM_RUN: 0 with an exit reason in `run`, or -errno. NoExit, HypPanic.

        The pins are those of `inputs` in the first world switch, and low in others. With `signal`,
        a signal comes for the thread with the first interrupt.
        """
        if not cpu.initialised:
            return -ENOEXEC
        if cpu.running:  # it waits for the vcpu, until it is killed
            return -EINTR
        cpu.running = True
        try:
            return await self._run(cpu, run, inputs, signal)
        finally:
            cpu.running = False

    async def _run(
        self, cpu: VirtualCpu, run: KvmRun, inputs: Sequence[Inputs], signal: bool
    ) -> int:
        self.switches = []
        result = self.host.handle_mmio_return(cpu, run)
        if result > 0 and run.immediate_exit:
            run.exit_reason = ExitReason.INTR
            return -EINTR
        while result > 0:
            result = self.host.begin(cpu, run)
            if result > 0:
                await self._enter(cpu, inputs if not self.switches else (QUIET,))
                result = self.host.handle_exit(cpu, run)
            if result > 0:
                result = self.host.end(cpu, run)
            if result > 0 and signal and cpu.regs.exit == Exit.IRQ:
                run.exit_reason = ExitReason.INTR
                return -EINTR
        return result

    async def _enter(self, cpu: VirtualCpu, inputs: Sequence[Inputs]) -> None:
        """The world switch to the guest and back."""
        engine, host = self._engine, self.host
        cpu.word = self._word(cpu.regs.elr)
        host.setup(cpu)
        engine.write(cpu.address, cpu.regs.pack())
        engine.write(self._doorbell, cpu.address.to_bytes(8, "little"))
        ran = await engine.run(inputs)
        cpu.regs.unpack(engine.read(cpu.address, SIZE))
        self.switches.append(WorldSwitch(ran, Exit(cpu.regs.exit)))
        host.finish(cpu)

    def _word(self, pc: int) -> int | None:
        """The instruction at an address, if one can be fetched."""
        if pc % 4:
            return None
        try:
            return int.from_bytes(self._engine.read(pc, 4), "little")
        except ValueError:
            return None


def _general(name: str) -> int | None:
    """The number of a general-purpose register by its name, x0 to x30."""
    number = name.removeprefix("x")
    if name != number and number.isdecimal() and number == str(int(number)) and int(number) <= 30:
        return int(number)
    return None
