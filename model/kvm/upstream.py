"""A host that has all of P1 to P8: what `upstream` does beside the seed.

Its design, in three sentences. What the guest owns (MDSCR_EL1, the OS Lock, PSTATE.SS) is kept
apart from what the PE has while the host debugs, and set up and taken back around every world
switch, in C. A step is over when PSTATE.SS, which the host has set to 1, is 0 after an exit and
what the host made of it, whatever the exit was: so nothing that is emulated, injected or
interrupted needs a case of its own. And what the guest's own bits would have done with the step is
worked out by the rules (`own_stepping`), so a guest that steps itself does so while it is stepped.
"""

from model.arch import MDCR_EL2, MDSCR_EL1, Event, SPSR_ELx
from model.kvm.host import ALWAYS_TRAPPED, Access, Host, VirtualCpu
from model.kvm.own_stepping import OwnStepping, stepped_event
from model.kvm.uapi import (
    KVM_GUESTDBG_ENABLE,
    KVM_GUESTDBG_SINGLESTEP,
    KVM_GUESTDBG_USE_SW_BP,
    DebugExit,
    KvmRun,
)

_SS = SPSR_ELx.SS.mask


class Upstream(Host):
    """See above."""

    def suppresses(self, control: int) -> bool:
        """Only with software breakpoints and no steps: then BRK and step exceptions go to EL2."""
        asked = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP
        return control & (asked | KVM_GUESTDBG_SINGLESTEP) == asked

    def set_guest_debug(self, cpu: VirtualCpu, control: int) -> None:
        """Nothing but what is asked for: the rest is done at each entry."""
        cpu.regs.guest_debug = control if control & KVM_GUESTDBG_ENABLE else 0

    def begin(self, cpu: VirtualCpu, run: KvmRun) -> int:
        """The guest's own step exception, which the PE does not take while the host steps."""
        if not cpu.stepping or not cpu.own.pending(cpu.regs):
            return 1
        cpu.own.take(cpu.regs)
        return self.debug_exit(cpu, run, DebugExit.SINGLE_STEP)

    def setup(self, cpu: VirtualCpu) -> None:
        """The host's bits, if it debugs."""
        regs = cpu.regs
        cpu.stepped = False
        debugs = cpu.stepping or bool(regs.guest_debug & KVM_GUESTDBG_USE_SW_BP)
        regs.mdcr_el2 = ALWAYS_TRAPPED | (MDCR_EL2.TDE.mask if debugs else 0)
        cpu.before = cpu.copy_of_regs()
        if not cpu.stepping:  # the PE does what there is to do for the guest's own stepping
            cpu.own = OwnStepping()
        if debugs:
            regs.os_lock = 0
            regs.mdscr_el1 &= ~MDSCR_EL1.SS.mask
            regs.spsr &= ~_SS
        if cpu.stepping:
            regs.mdscr_el1 |= MDSCR_EL1.SS.mask
            regs.spsr |= _SS

    def finish(self, cpu: VirtualCpu) -> None:
        """The guest's own state, from what the PE has made of the host's."""
        if cpu.regs.mdcr_el2 & MDCR_EL2.TDE.mask:
            self._take_back(cpu)
        cpu.before = cpu.copy_of_regs()  # of what the host is to emulate now, if it is

    def _take_back(self, cpu: VirtualCpu) -> None:
        regs, before = cpu.regs, cpu.before
        assert before is not None
        regs.mdscr_el1, regs.os_lock = before.mdscr_el1, before.os_lock
        ss = before.spsr & _SS
        cpu.stepped = cpu.stepping and not regs.spsr & _SS
        if cpu.stepped:
            event = stepped_event(before, regs, cpu.word)
            ss = SPSR_ELx.SS.put(cpu.own.completed(before, regs, event))
        regs.spsr = regs.spsr & ~_SS | ss

    def end(self, cpu: VirtualCpu, run: KvmRun) -> int:
        """The step may be over."""
        if cpu.stepping and cpu.stepped:
            return self.debug_exit(cpu, run, DebugExit.SINGLE_STEP)
        return 1

    def skip_instruction(self, cpu: VirtualCpu) -> None:
        """SSAdvance comes with it: the instruction has completed."""
        super().skip_instruction(cpu)
        self._completed(cpu, Event.EXECUTE)

    def inject_undefined(self, cpu: VirtualCpu) -> int:
        """An exception that is taken ends a step, too."""
        super().inject_undefined(cpu)
        return self._completed(cpu, Event.EXCEPTION)

    def inject_abort(
        self, cpu: VirtualCpu, far: int, instruction: bool = False, write: bool = False
    ) -> int:
        """The same."""
        super().inject_abort(cpu, far, instruction, write)
        return self._completed(cpu, Event.EXCEPTION)

    def inject_breakpoint(self, cpu: VirtualCpu) -> int:
        """The same."""
        super().inject_breakpoint(cpu)
        return self._completed(cpu, Event.EXCEPTION)

    def abort_access(self, cpu: VirtualCpu, access: Access) -> int:
        """It returns to the access, wherever the PC is by now."""
        assert cpu.before is not None
        cpu.regs.elr = access.pc
        cpu.regs.spsr = cpu.regs.spsr & ~_SS | cpu.before.spsr & _SS
        return super().abort_access(cpu, access)

    def _completed(self, cpu: VirtualCpu, event: Event) -> int:
        """What the host has emulated, or injected, is stepped as if the PE had done it."""
        assert cpu.before is not None
        ss = cpu.own.completed(cpu.before, cpu.regs, event)
        cpu.regs.spsr = cpu.regs.spsr & ~_SS | SPSR_ELx.SS.put(ss)
        cpu.stepped = True
        return 1
