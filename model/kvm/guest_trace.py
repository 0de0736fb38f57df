"""What a guest does, one event after the other, as the rows of world switches show it.

An event is an instruction that completes, on the PE or emulated by the host, or an exception that
the guest takes to its EL1, from the PE or from the host. What the host does between two world
switches shows in where the guest goes on.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from model.a64.trace import Row
from model.arch import EL, SYSREGS, ESR_ELx, Event, ExceptionClass, Retire, SPSR_ELx
from model.kvm.vcpu import Vcpu

#: ESR_ELx.EC of the Software Step exception.
OWN_STEP = (ExceptionClass.SOFTSTEP_LOWER, ExceptionClass.SOFTSTEP_SAME)

#: Exits after which the host emulates the instruction, or injects an exception in its place.
_HANDLED = (
    *(ExceptionClass.WFX, ExceptionClass.SYS64, ExceptionClass.SMC64, ExceptionClass.BRK64),
    *(ExceptionClass.IABT_LOWER, ExceptionClass.DABT_LOWER),
)

#: Registers that a view has beside PC and PSTATE.
_REGISTERS = ("MDSCR_EL1", "SPSR_EL1", "ELR_EL1")
_NAME_OF_NUMBER = {SYSREGS[name].number: name for name in _REGISTERS}
_NAME_OF_NUMBER |= {SYSREGS[name].number: name for name in ("MDCR_EL2", "SPSR_EL2", "ESR_EL1")}


class View(NamedTuple):
    """A guest's state as it sees it itself, 64 bits each."""

    pc: int
    pstate: int  #: as an SPSR has it
    mdscr_el1: int
    spsr_el1: int
    elr_el1: int


def view_of(vcpu: Vcpu) -> View:
    """The view that the saved registers hold."""
    return View(vcpu.elr, vcpu.spsr, vcpu.mdscr_el1, vcpu.spsr_el1, vcpu.elr_el1)


class GuestEvent(NamedTuple):
    """One event."""

    pc: int  #: of the instruction, or of the one that did not come to be executed
    exception: bool  #: it is an exception to EL1
    esr: int  #: its ESR_EL1; 0 for an instruction, IRQ and FIQ
    by_host: bool  #: emulated or injected
    view: View  #: after it
    cycle: int  #: clock cycle of its row, or number of the row, in which it ends
    exclusive: bool  #: a load-exclusive or store-exclusive

    @property
    def own_step(self) -> bool:
        """It is the guest's own Software Step exception."""
        return self.exception and ESR_ELx.EC.get(self.esr) in OWN_STEP


class Entry(NamedTuple):
    """The guest is entered."""

    events: int  #: that came before
    registers: dict[str, int]  #: what EL2 has written: MDSCR_EL1, MDCR_EL2, SPSR_EL2


@dataclass
class GuestTrace:
    """The events of one vcpu, from its first entry on."""

    pc: int  #: where it begins, then where it is
    events: list[GuestEvent] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    rows: int = 0  #: so far
    cycle: int = 0  #: of the last row, or its number where there is no clock
    guest_cycle: int = 0  #: the same of the last one in which the guest was entered, or ran
    _registers: dict[str, int] = field(default_factory=dict)
    _trapped: bool = False  #: the last exit is one that the host does something for
    _at_exit: tuple[int, int] = (0, 0)  #: ELR_EL1 and SPSR_EL1 then

    def feed(self, rows: Iterable[Row], cycles: list[int]) -> None:
        """The rows of one world switch."""
        for n, row in enumerate(rows):
            self.rows += 1
            self.cycle = cycles[n] if cycles else self.rows
            if row.sys_en and row.sys_reg in _NAME_OF_NUMBER:
                self._registers[_NAME_OF_NUMBER[row.sys_reg]] = row.sys_value
            entered = row.el == EL.EL2 and row.event == Event.ERET
            entered &= row.kind == Retire.INSTRUCTION
            if entered:
                self._moved(self._view(row), self._registers.get("ESR_EL1", 0))
                self.entries.append(Entry(len(self.events), dict(self._registers)))
            elif row.el <= EL.EL1:
                self._of_guest(row)
            if entered or row.el <= EL.EL1:
                self.guest_cycle = self.cycle

    def settle(self, vcpu: Vcpu, open_access: bool) -> None:
        """KVM_RUN has ended: the host may have moved the guest since its exit.

        Not so far as `open_access`, one that user space is still to make.
        """
        if not open_access:
            self._moved(view_of(vcpu), vcpu.esr_el1)

    def _moved(self, view: View, esr_el1: int) -> None:
        """The guest goes on: what it has exited with may have been emulated, or injected.

        An injected exception returns to the instruction, which the exit's registers did not, or not
        by chance; what is emulated goes on after it.
        """
        trapped, self._trapped = self._trapped, False
        changed = (view.elr_el1, view.spsr_el1) != self._at_exit
        exception = view.elr_el1 == self.pc and (changed or view.pc != self.pc + 4)
        if view.pc != self.pc or (trapped and exception):
            self._add(view, exception, esr_el1 if exception else 0, by_host=True)

    def _of_guest(self, row: Row) -> None:
        if row.kind != Retire.INSTRUCTION and row.target_el != EL.EL1:
            self._trapped = ESR_ELx.EC.get(row.esr) in _HANDLED
            self._at_exit = self._saved()
            if row.event == Event.HVC:  # it has completed: ELR_EL2 is the next instruction
                self._add(self._view(row)._replace(pc=row.elr, pstate=row.spsr), False)
            return
        exception = row.kind != Retire.INSTRUCTION
        if exception:
            self._registers |= {"SPSR_EL1": row.spsr, "ELR_EL1": row.elr}
        exclusive = row.word & 0x3F00_0000 == 0x0800_0000 and not row.word & 0x80_0000
        self._add(self._view(row), exception, row.esr if exception else 0, exclusive=exclusive)

    def _saved(self) -> tuple[int, int]:
        return self._registers.get("ELR_EL1", 0), self._registers.get("SPSR_EL1", 0)

    def _add(
        self,
        view: View,
        exception: bool,
        esr: int = 0,
        by_host: bool = False,
        exclusive: bool = False,
    ) -> None:
        event = GuestEvent(self.pc, exception, esr, by_host, view, self.cycle, exclusive)
        self.events.append(event)
        self.pc = view.pc

    def _view(self, row: Row) -> View:
        """After a row."""
        pstate = (
            (row.el_after << 2 | row.sp_after)
            | row.daif_after << SPSR_ELx.F.lsb
            | SPSR_ELx.IL.put(row.il_after)
            | SPSR_ELx.SS.put(row.ss_after)
            | row.nzcv_after << SPSR_ELx.V.lsb
        )
        of = self._registers
        return View(row.pc_after, pstate, *(of.get(name, 0) for name in _REGISTERS))
