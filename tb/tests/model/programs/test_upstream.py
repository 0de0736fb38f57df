"""The C of `upstream`, as machine code on the interpreter, does what the Python does."""

import struct
from dataclasses import replace
from typing import NamedTuple

import pytest

from model.a64 import interpreter
from model.a64.state import State
from model.arch import (
    EL,
    MDSCR_EL1,
    RAM_BASE,
    RAM_SIZE,
    ESR_ELx,
    ExceptionClass,
    Last,
    Mode,
    SPSR_ELx,
    StepISS,
)
from model.hyp import sequences
from model.kvm.host import VirtualCpu
from model.kvm.own_stepping import OwnStepping
from model.kvm.uapi import KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, KVM_GUESTDBG_USE_SW_BP
from model.kvm.upstream import Upstream
from model.kvm.vcpu import SIZE, Vcpu
from model.programs.load import HYPERVISORS, load

VALUES = 10_000
MAX_STEPS = 500

STACK = 0x4009_0000
END = RAM_BASE  #: where the C returns to: no code is there
VBAR, PC = 0x4010_0800, 0x4012_3450

STEPPING = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP
BREAKPOINTS = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP
DEBUG = (0, KVM_GUESTDBG_ENABLE, BREAKPOINTS, BREAKPOINTS | STEPPING, STEPPING)

ERET, ISB, SVC = 0xD69F_03E0, 0xD503_3FDF, 0xD400_0001
OTHERS = (0xD503_201F, 0xD420_0000, 0xC85F_7C20, 0x88DF_FC20)  # NOP, BRK, LDXR, LDAR
#: B, CBZ, B.cond, TBZ, BR; and one that is none: B.cond with bit 4
BRANCHES = (0x1400_0000, 0xB400_0000, 0x5400_0000, 0x3600_0000, 0xD61F_0000, 0x5400_0010)

_SS = SPSR_ELx.SS.mask
_DAIF = SPSR_ELx.D.mask | SPSR_ELx.A.mask | SPSR_ELx.I.mask | SPSR_ELx.F.mask


class Own(NamedTuple):
    """struct own, behind the fields of model.kvm.vcpu."""

    mdscr_el1: int
    os_lock: int
    spsr: int
    elr: int
    spsr_el1: int
    word: int
    has_word: int
    last: int
    stepped: int


_OWN = struct.Struct("<5Q4I")


class Machine:
    """A PE at EL2 with all of RAM, in it the image that has the C."""

    def __init__(self) -> None:
        self.image = load(HYPERVISORS["upstream"])
        self.state = State(el=EL.EL2)
        ram = bytearray(RAM_SIZE)
        for start, content in self.image.segments:
            ram[start - RAM_BASE : start - RAM_BASE + len(content)] = content
        self.ram = self.state.memory.map(RAM_BASE, bytes(ram))
        self._at = self.image.symbols["vcpu"] - RAM_BASE

    def put(self, vcpu: Vcpu, own: Own) -> None:
        """Make the structure hold these."""
        data = vcpu.pack() + _OWN.pack(*own)
        self.ram[self._at : self._at + len(data)] = data

    def get(self) -> tuple[Vcpu, Own]:
        """What the structure holds."""
        vcpu = Vcpu()
        vcpu.unpack(bytes(self.ram[self._at : self._at + SIZE]))
        return vcpu, Own(*_OWN.unpack_from(self.ram, self._at + SIZE))

    def call(self, name: str) -> None:
        """Run a function of C on it."""
        state = self.state
        state.pc, state.sp = self.image.symbols[name], STACK
        state.x[0], state.x[30] = RAM_BASE + self._at, END
        interpreter.run(state, END, MAX_STEPS)
        assert state.sp == STACK


@pytest.fixture(scope="module")
def machine():
    return Machine()


def pstate(rng) -> int:
    """SPSR of a guest at EL0 or EL1, all else in it random."""
    junk = rng.getrandbits(64) & ~(SPSR_ELx.M.mask | SPSR_ELx.nRW.mask | SPSR_ELx.IL.mask)
    mode = rng.choice((Mode.EL0t, Mode.EL1t, Mode.EL1h))
    masked = _DAIF if rng.random() < 0.3 else 0
    return junk | mode | masked | SPSR_ELx.IL.put(rng.random() < 0.1)


def saved_pstate(rng) -> int:
    """SPSR_EL1, which may name any mode, and mostly one that the guest can return to."""
    others = (0, 0, SPSR_ELx.nRW.mask, rng.getrandbits(5))
    return pstate(rng) ^ rng.choice(others)


def word(rng) -> int:
    """An instruction: mostly one that a step takes for something of its own."""
    kind = rng.choice((*(ERET, ISB, SVC) * 2, *BRANCHES, *OTHERS))
    if kind == SVC:
        return SVC | rng.getrandbits(16) << 5
    if kind == ISB:
        return ISB & ~0xF00 | rng.getrandbits(4) << 8
    return kind if rng.random() < 0.8 else kind ^ 1 << rng.randrange(32)


def debugged(rng) -> int:
    return rng.choice(DEBUG) if rng.random() < 0.6 else STEPPING


def guest(rng) -> Vcpu:
    """A guest before an entry."""
    vcpu = Vcpu()
    vcpu.unpack(rng.randbytes(SIZE))
    vcpu.guest_debug = debugged(rng)
    vcpu.spsr, vcpu.spsr_el1 = pstate(rng), saved_pstate(rng)
    vcpu.os_lock = int(rng.random() < 0.2)
    vcpu.mdscr_el1 |= MDSCR_EL1.SS.put(rng.random() < 0.7)
    vcpu.vbar_el1 = rng.choice((VBAR, 0, 0xFFFF_FFFF_FFFF_F800, 0xFFFF_FFFF_FFFF_FC00))
    pcs = (PC + 2, PC + 3, RAM_BASE - 4, RAM_BASE + RAM_SIZE, RAM_BASE + RAM_SIZE - 4, VBAR)
    vcpu.elr = PC if rng.random() < 0.7 else rng.choice(pcs)
    return vcpu


def runs(rng, vcpu: Vcpu) -> Vcpu:
    """The guest after the exit, as like a real one as makes every rule count."""
    after = replace(vcpu, x=[rng.getrandbits(64) for _ in range(31)])
    after.exit = rng.choice((0, 0, 0, 1, 2, 3))
    ec = rng.choice((*(ExceptionClass.SOFTSTEP_LOWER,) * 3, *ExceptionClass))
    after.esr_el2 = ESR_ELx.EC.put(ec) | StepISS.EX.put(rng.random() < 0.3)
    after.esr_el2 |= rng.getrandbits(64) & ~(ESR_ELx.EC.mask | StepISS.EX.mask)
    after.elr = vcpu.elr + 4 & (1 << 64) - 1
    if rng.random() < 0.5:  # an exception to EL1, or nearly one
        after.spsr_el1, after.elr_el1 = vcpu.spsr, vcpu.elr + rng.choice((0, 4))
        after.elr = vcpu.vbar_el1 + 0x80 * rng.randrange(16) & (1 << 64) - 1
        after.spsr = vcpu.spsr & ~(SPSR_ELx.M.mask | _SS) | _DAIF | Mode.EL1h
        spoil(rng, after)
    elif rng.random() < 0.5:
        after.spsr, after.spsr_el1 = pstate(rng), saved_pstate(rng)
    after.spsr = after.spsr & ~_SS | SPSR_ELx.SS.put(rng.random() < 0.2)
    after.spsr ^= rng.choice((0, rng.getrandbits(4) << SPSR_ELx.V.lsb))
    after.mdscr_el1 ^= rng.getrandbits(64) & rng.getrandbits(64)
    after.os_lock = rng.getrandbits(1)
    return after


def spoil(rng, after: Vcpu) -> None:
    """Half of the time, one thing is not as an exception leaves it."""
    match rng.randrange(14):
        case 0:
            after.elr = after.elr ^ 1 << rng.randrange(64)
        case 1:
            after.spsr ^= 1 << rng.randrange(64)
        case 2:
            after.spsr_el1 ^= 1 << rng.randrange(64)
        case 3:
            after.elr_el1 ^= 1 << rng.randrange(64)
        case 4:
            after.elr = after.vbar_el1 + 0x800 & (1 << 64) - 1
        case 5:
            after.spsr_el1 ^= _SS  # this is no matter
        case 6:
            after.vbar_el1 ^= 1 << rng.randrange(64)


def fetched(machine: Machine, pc: int) -> int | None:
    """What Vm._word finds."""
    offset = pc - RAM_BASE
    if pc % 4 or not 0 <= offset < RAM_SIZE:
        return None
    return int.from_bytes(machine.ram[offset : offset + 4], "little")


def test_the_c_is_the_python(machine, rng):
    host, seen = Upstream(sequences.load("upstream")), set()
    for number in range(VALUES):
        vcpu, last = guest(rng), Last(rng.randrange(5))
        junk = Own(*(rng.getrandbits(64) for _ in range(5)), 0xBAD, 7, last, 9)
        if RAM_BASE <= vcpu.elr <= RAM_BASE + RAM_SIZE - 4:
            at = vcpu.elr - RAM_BASE
            machine.ram[at : at + 4] = word(rng).to_bytes(4, "little")
        cpu = VirtualCpu(replace(vcpu, x=list(vcpu.x)), 0, own=OwnStepping(last))
        cpu.word = fetched(machine, vcpu.elr)

        machine.put(vcpu, junk)
        machine.call("kvm_setup_guest_debug")
        host.setup(cpu)
        entered, own = machine.get()
        assert (entered, own.last, own.stepped) == (cpu.regs, cpu.own.last, cpu.stepped), number

        cpu.regs = runs(rng, entered)
        machine.put(cpu.regs, own)
        machine.call("kvm_finish_guest_debug")
        host.finish(cpu)
        left, own = machine.get()
        assert (left, own.last, own.stepped) == (cpu.regs, cpu.own.last, cpu.stepped), number
        seen.add((own.stepped, own.last, bool(left.spsr & _SS)))
    of_steps = {(1, last, False) for last in range(5)}
    assert seen >= of_steps | {(stepped, Last.NOTHING, True) for stepped in (0, 1)}


def test_a_guest_that_is_not_debugged_is_left_alone(machine, rng):
    for guest_debug in (0, KVM_GUESTDBG_ENABLE):
        vcpu = guest(rng)
        vcpu.guest_debug = guest_debug
        machine.put(vcpu, Own(*range(9)))
        machine.call("kvm_setup_guest_debug")
        machine.call("kvm_finish_guest_debug")
        found, _ = machine.get()
        assert found == replace(vcpu, mdcr_el2=found.mdcr_el2)
