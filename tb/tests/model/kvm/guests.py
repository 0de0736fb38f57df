"""Guests of a few words in a VM on the reference PE, and user space that runs them."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from model.a64.processor import QUIET
from model.a64.trace import Inputs
from model.hyp.sequences import load
from model.kvm.engine import Engine, ReferenceEngine
from model.kvm.host import Host, VirtualCpu
from model.kvm.uapi import KvmGuestDebug, KvmRun
from model.kvm.upstream import Upstream
from model.kvm.vcpu import Vcpu
from model.kvm.vm import Vm
from model.programs.image import Image
from model.programs.layout import GUEST_BASE
from tb.core.program import mov, word
from tb.tests.model.a64.pe import code

VECTORS = GUEST_BASE + 0x1_0000  #: of the guest's EL1
DATA = GUEST_BASE + 0x2_0000
DEVICE = 0x0900_0000  #: no RAM is here: an address of user space's
STEPPING = 0x3  #: KVM_GUESTDBG_ENABLE and KVM_GUESTDBG_SINGLESTEP
EL0T, EL1T, EL1H = 0b0000, 0b0100, 0b0101
MASKED = 0x3C0  #: DAIF of an SPSR
SS = 1 << 21  #: of an SPSR
SAME_EL, LOWER_EL = 0x200, 0x400  #: offsets of the synchronous vectors

#: PSCI: the guest switches itself off.
OFF = (*mov(0, 0x8400_0008), word("HVC"))


def image(*words: int, **more: tuple[int, ...]) -> Image:
    """A guest at GUEST_BASE; `at_200` and so on: words at an offset of its vectors."""
    segments = [(GUEST_BASE, code(*words))]
    for name, there in more.items():
        segments.append((VECTORS + int(name.removeprefix("at_"), 16), code(*there)))
    return Image(tuple(segments), {}, GUEST_BASE)


def now(task: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns."""
    return asyncio.run(task)


def seed_host(**options: Any) -> Host:
    """The seed's host, with v1."""
    return Host(load("v1"), **options)


def upstream(advance_first: bool = True) -> Upstream:
    """The host that keeps all properties."""
    return Upstream(load("callout"), advance_first)


def virtual_cpu(**registers: Any) -> VirtualCpu:
    """A vcpu that runs in no VM, with these registers."""
    cpu = VirtualCpu(Vcpu(**{"spsr": EL1H | MASKED, "elr": GUEST_BASE, **registers}), 0x4000_0000)
    cpu.before = cpu.copy_of_regs()
    return cpu


@dataclass
class User:
    """User space with one vcpu, at the guest's first instruction."""

    host: Host
    guest: Image
    engine: Engine = field(default_factory=ReferenceEngine)
    registers: dict[str, int] = field(default_factory=dict)  #: to set beside VBAR_EL1
    page: KvmRun = field(default_factory=KvmRun)

    def __post_init__(self) -> None:
        self.vm = Vm(self.engine, self.host)
        now(self.vm.start(self.guest))
        self.cpu = self.vm.create_vcpu()
        self.vm.vcpu_init(self.cpu, self.guest.entry)
        for name, value in {"vbar_el1": VECTORS, **self.registers}.items():
            assert self.vm.set_one_reg(self.cpu, name, value) == 0

    def debug(self, control: int) -> None:
        """KVM_SET_GUEST_DEBUG."""
        assert self.vm.set_guest_debug(self.cpu, KvmGuestDebug(control)) == 0

    def run(self, inputs: Sequence[Inputs] = (QUIET,), signal: bool = False) -> int:
        """KVM_RUN."""
        return now(self.vm.run(self.cpu, self.page, inputs, signal))

    def get(self, name: str) -> int:
        """KVM_GET_ONE_REG."""
        error, value = self.vm.get_one_reg(self.cpu, name)
        assert error == 0
        return value
