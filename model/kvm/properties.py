"""P1 to P8: what guest debugging must keep, as checks that watch any run of a vcpu.

The sentences are those of the project's statement of KVM's guest debugging. A run with debugging is
held against the same guest without it (its shadow): the same instructions, the same state.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from model.arch import MDCR_EL2, SPSR_ELx, StepISS
from model.kvm.guest_trace import GuestEvent, GuestTrace, view_of
from model.kvm.host import WARN_ON_STEP, VirtualCpu
from model.kvm.uapi import (
    KVM_GUESTDBG_ENABLE,
    KVM_GUESTDBG_SINGLESTEP,
    DebugExit,
    ExitReason,
    KvmRun,
)
from model.kvm.vm import WorldSwitch

_STEPPING = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP
_PC_STEP = 4
_NEAR = 4  #: events from a load-exclusive to the branch on its store's status, or less


class Property(Enum):
    """What must hold; P8, the cost, is measured and not judged."""

    P1 = "each KVM_RUN steps one instruction, or takes one exception to EL1, and says where it is"
    P2 = "without single steps asked for, none is reported"
    P3 = "the guest's PSTATE, SPSR_EL1 and MDSCR_EL1 are what they are without debugging"
    P4 = "a guest's own stepping is as without debugging, or is suppressed where that is stated"
    P5 = "kvm_handle_ss does not run when no step was asked for"
    P6 = "an emulated instruction is stepped once, and the PC goes past it once"
    P7 = "once debugging is off, nothing of the host is left in SPSR, MDSCR_EL1 or MDCR_EL2"
    P8 = "what guest entry costs, with debugging off and on"


JUDGED = tuple(each for each in Property if each is not Property.P8)


@dataclass(frozen=True, slots=True)
class Violation:
    """A property broken."""

    property: Property
    run: int  #: which KVM_RUN of the vcpu, 0 the first
    pc: int  #: the guest's instruction
    cycle: int  #: of the clock, of the guest's last row; that row's number on the reference
    text: str  #: what was expected, what was found

    def __str__(self) -> str:
        where = f"KVM_RUN {self.run}, instruction at {self.pc:#x}, cycle {self.cycle:,}"
        return f"{self.property.name}: {where}: {self.text}"


class Watch:
    """Watches the runs of one vcpu.

    `shadow` has the guest's events without debugging; None: this is the shadow itself.
    `suppresses` is what the host states of the guest's own stepping, by guest_debug.
    """

    def __init__(
        self,
        trace: GuestTrace,
        shadow: Sequence[GuestEvent] | None,
        suppresses: Callable[[int], bool],
    ) -> None:
        self.trace = trace
        self.broken: list[Violation] = []
        self._shadow = shadow or ()
        self._judges = shadow is not None
        self._suppresses = suppresses
        self._runs = 0
        self._aligned = 0  #: events that are those of the shadow, up to the first that is not
        self._parted = False  #: there is one
        self._debugged = False  #: debugging has been on
        # Where the present KVM_RUN began.
        self._begin = self._entries = self._warned = 0
        self._pc = trace.pc

    def before(self, cpu: VirtualCpu) -> None:
        """A KVM_RUN begins."""
        self._begin, self._entries = len(self.trace.events), len(self.trace.entries)
        self._warned = cpu.log.count(WARN_ON_STEP)
        self._pc = self.trace.pc

    def after(
        self, cpu: VirtualCpu, run: KvmRun, result: int, switches: Sequence[WorldSwitch]
    ) -> None:
        """It has ended."""
        for switch in switches:
            self.trace.feed(switch.ran.rows, switch.ran.cycles)
        self.trace.settle(cpu.regs, cpu.access is not None)
        if self._judges:
            self._judge(cpu, run, result)
        self._runs += 1

    def _break(self, which: Property, pc: int, text: str) -> None:
        self.broken.append(Violation(which, self._runs, pc, self.trace.guest_cycle, text))

    def _judge(self, cpu: VirtualCpu, run: KvmRun, result: int) -> None:
        events = self.trace.events[self._begin :]
        control = cpu.regs.guest_debug
        stepping = control & _STEPPING == _STEPPING
        stepped = not result and run.exit_reason == ExitReason.DEBUG
        stepped &= run.debug.exit_type == DebugExit.SINGLE_STEP
        if stepping:
            self._one_step(run, result, events, stepped)
        elif stepped:
            what = f"KVM_EXIT_DEBUG at {run.debug.address:#x}: no single step was asked for"
            self._break(Property.P2, self._pc, what)
        if cpu.log.count(WARN_ON_STEP) > self._warned:
            self._break(Property.P5, self._pc, "kvm_handle_ss ran, no single step was asked for")
        self._align(events, self._suppresses(control))
        if not self._parted and cpu.access is None:
            self._same_state(cpu)
        self._emulated(events, stepping)
        if stepped and cpu.regs.elr != run.debug.address:
            what = f"user space reads PC {cpu.regs.elr:#x}, the exit says {run.debug.address:#x}"
            self._break(Property.P6, self._pc, what)
        if not control & KVM_GUESTDBG_ENABLE and self._debugged:
            self._no_host_bits()
        self._debugged |= bool(control & KVM_GUESTDBG_ENABLE)

    # P1

    def _one_step(
        self, run: KvmRun, result: int, events: Sequence[GuestEvent], stepped: bool
    ) -> None:
        if result:
            if events:
                self._break(Property.P1, self._pc, f"KVM_RUN failed after {_count(events)}")
            return
        if run.exit_reason == ExitReason.MMIO:
            if events:
                what = f"{_count(events)} before the one whose access user space is to make"
                self._break(Property.P1, self._pc, what)
            return
        if len(events) != 1:
            self._break(Property.P1, self._pc, f"{_count(events)} in one KVM_RUN, not 1")
        elif run.exit_reason == ExitReason.SYSTEM_EVENT:
            return
        elif not stepped:
            self._break(Property.P1, self._pc, f"the exit is {run.exit_reason.name}, not DEBUG")
        elif run.debug.address != self.trace.pc:
            found = f"the exit says {run.debug.address:#x}, the next instruction is at"
            self._break(Property.P1, self._pc, f"{found} {self.trace.pc:#x}")

    # The shadow

    def _align(self, events: Sequence[GuestEvent], suppressed: bool) -> None:
        """Follow the shadow, event by event, as long as they are the same."""
        for n, event in enumerate(events, start=self._begin):
            if self._parted:
                return
            if n >= len(self._shadow):
                self._part(event, "the guest goes on, which has ended without debugging")
                return
            expected = self._shadow[n]
            if suppressed and (event.own_step or expected.own_step):
                if event.own_step:
                    what = "the guest steps itself, which is stated to be suppressed"
                    self._break(Property.P4, event.pc, what)
                self._parted = True
            elif event.own_step != expected.own_step:
                does = "takes" if event.own_step else "does not take"
                self._part(event, f"the guest {does} its own step exception", Property.P4)
            elif event.view.pc != expected.view.pc:
                what = f"then at {event.view.pc:#x}, without debugging at {expected.view.pc:#x}"
                which = Property.P6 if event.by_host else Property.P1
                self._part(event, self._limit(n) + what, which)
            else:
                self._aligned = n + 1
                self._same_syndrome(event, expected)

    def _same_syndrome(self, event: GuestEvent, expected: GuestEvent) -> None:
        """ESR_EL1 of the guest's own step exception.

        What was stepped is forgotten where something came between: then ISV and EX are 0.
        """
        differs = event.esr ^ expected.esr
        if not event.esr & expected.esr & StepISS.ISV.mask:
            differs &= ~(StepISS.ISV.mask | StepISS.EX.mask)
        if event.own_step and differs:
            what = f"ESR_EL1 is {event.esr:#x}, without debugging {expected.esr:#x}"
            self._break(Property.P4, event.pc, f"the guest's own step exception: {what}")

    def _limit(self, n: int) -> str:
        """What to say of an event that comes just after an exclusive."""
        exclusives = any(each.exclusive for each in self.trace.events[max(0, n - _NEAR) : n + 1])
        return "the step has cleared the exclusive monitor, a known limit: " if exclusives else ""

    def _part(self, event: GuestEvent, text: str, which: Property = Property.P1) -> None:
        self._parted = True
        self._break(which, event.pc, text)

    # P3

    def _same_state(self, cpu: VirtualCpu) -> None:
        """What user space sees is what the guest has without debugging."""
        if not self._aligned:
            return
        expected = self._shadow[self._aligned - 1].view
        found, pc = view_of(cpu.regs), self.trace.events[-1].pc
        for register, name in (("PSTATE", "pstate"), ("SPSR_EL1", "spsr_el1")):
            if wrong := _pstate_difference(getattr(found, name), getattr(expected, name)):
                self._break(Property.P3, pc, register + wrong)
        if found.mdscr_el1 != expected.mdscr_el1:
            values = f"{found.mdscr_el1:#x}, without debugging {expected.mdscr_el1:#x}"
            self._break(Property.P3, pc, f"MDSCR_EL1 is {values}")

    # P6

    def _emulated(self, events: Sequence[GuestEvent], stepping: bool) -> None:
        for event, *later in (events[n:] for n in range(len(events))):
            if not event.by_host or event.exception:
                continue
            if event.view.pc != event.pc + _PC_STEP:
                what = f"emulated, it goes on at {event.view.pc:#x}, not at {event.pc + 4:#x}"
                self._break(Property.P6, event.pc, what)
            elif stepping and later:
                what = f"emulated, it is not all of its step: then comes {later[0].pc:#x}"
                self._break(Property.P6, event.pc, what)

    # P7

    def _no_host_bits(self) -> None:
        """At each entry with debugging off, the PE has the guest's own bits."""
        for entry in self.trace.entries[self._entries :]:
            if entry.events > self._aligned:
                continue
            own_mdscr, own_pstate = self._own(entry.events)
            mdscr, spsr = entry.registers["MDSCR_EL1"], entry.registers["SPSR_EL2"]
            left = []
            if mdscr & ~own_mdscr:
                left.append(f"MDSCR_EL1 {mdscr:#x}, the guest's being {own_mdscr:#x}")
            if SPSR_ELx.SS.get(spsr & ~own_pstate):
                left.append("SPSR_EL2.SS 1")
            if entry.registers["MDCR_EL2"] & MDCR_EL2.TDE.mask:
                left.append("MDCR_EL2.TDE 1")
            if left:
                what = f"debugging is off, and the guest is entered with {' and '.join(left)}"
                self._break(Property.P7, self._pc, what)

    def _own(self, events: int) -> tuple[int, int]:
        """The guest's own MDSCR_EL1 and PSTATE after so many events; a new vcpu has no SS bits."""
        view = self._shadow[events - 1].view if events else None
        return (view.mdscr_el1, view.pstate) if view else (0, 0)


def _count(events: Sequence[GuestEvent]) -> str:
    taken = sum(event.exception for event in events)
    ran = len(events) - taken
    texts = [f"{ran} instruction{'s' * (ran != 1)}"]
    texts += [f"{taken} exception{'s' * (taken != 1)} to EL1"] if taken else []
    return " and ".join(texts)


def _pstate_difference(found: int, expected: int) -> str:
    """What differs between two PSTATEs, as an SPSR has them: "" if nothing does."""
    differs = found ^ expected
    if not differs:
        return ""
    if differs == SPSR_ELx.SS.mask:
        return f".SS is {SPSR_ELx.SS.get(found)}, without debugging {SPSR_ELx.SS.get(expected)}"
    return f" is {found:#x}, without debugging {expected:#x}"
