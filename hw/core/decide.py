"""What a row is: an instruction that completes, or an exception, and then why. Combinational.

Source: DDI 0487 D1.13.4 and D2.12 (what comes before an instruction), C5 and C6 (what each
instruction checks).
"""

from amaranth.hdl import Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.core.decode import Group, Operation
from hw.core.exceptions import Cause
from hw.core.pstate import CorePSTATE
from hw.core.sysregs import SCTLR_ELx
from hw.registers import HCR_EL2, SCR_EL3
from hw.routing import DebugControls
from model.arch import EL


class WaitCheck(wiring.Component):
    """Whether a WFI or WFE traps, or waits; if neither, it completes."""

    group: In(Group)
    el: In(EL)
    interrupt_pending: In(1)
    event_register: In(1)
    effective: In(DebugControls)
    hcr_el2: In(HCR_EL2)
    sctlr: In(SCTLR_ELx)  # SCTLR_EL1, at EL0

    traps: Out(1)
    target: Out(EL)  # of the trap
    waits: Out(1)

    def elaborate(self, platform):
        m = Module()
        wfe = self.group == Group.WFE
        to_el1 = Mux(wfe, ~self.sctlr.nTWE, ~self.sctlr.nTWI)
        to_el2 = Mux(wfe, self.hcr_el2.TWE, self.hcr_el2.TWI)
        guest = self.effective.el2_enabled & (self.el < EL.EL2)
        is_wait = wfe | (self.group == Group.WFI)
        with m.If(is_wait & ~self.interrupt_pending & ~(wfe & self.event_register)):
            with m.If((self.el == EL.EL0) & to_el1):
                to_user_handler = self.effective.el2_enabled & self.effective.tge
                m.d.comb += [
                    self.traps.eq(1),
                    self.target.eq(Mux(to_user_handler, EL.EL2, EL.EL1)),
                ]
            with m.Elif(guest & to_el2):
                m.d.comb += [self.traps.eq(1), self.target.eq(EL.EL2)]
            with m.Else():
                m.d.comb += self.waits.eq(1)
        return m


class Decide(wiring.Component):
    """The exception that the row takes, if it takes one: the first that applies."""

    # before the instruction
    interrupt: In(1)  # an asynchronous exception can be taken
    step: In(1)  # a Software Step exception is pending
    async_first: In(1)  # choice: of the two, the asynchronous one
    misaligned: In(1)  # the PC is
    fetch_error: In(1)
    # the instruction
    operation: In(Operation)
    pstate: In(CorePSTATE)
    effective: In(DebugControls)
    hcr_el2: In(HCR_EL2)
    scr_el3: In(SCR_EL3)
    register_undefined: In(1)  # MSR and MRS: from AccessCheck, as the next
    register_traps: In(1)
    wait_traps: In(1)  # WFI and WFE: from WaitCheck
    sp_misaligned: In(1)  # loads and stores: the base is SP, and faults for it
    access_misaligned: In(1)
    data_error: In(1)  # memory's answer, once it is there

    cause: Out(Cause)
    executes: Out(1)  # the instruction is reached: what comes before it is not

    def elaborate(self, platform):
        m = Module()
        with m.If(self.interrupt & (self.async_first | ~self.step)):
            m.d.comb += self.cause.eq(Cause.INTERRUPT)
        with m.Elif(self.step):
            m.d.comb += self.cause.eq(Cause.STEP)
        with m.Elif(self.misaligned):
            m.d.comb += self.cause.eq(Cause.PC_ALIGNMENT)
        with m.Elif(self.fetch_error):
            m.d.comb += self.cause.eq(Cause.INSTRUCTION_ABORT)
        with m.Elif(self.pstate.il):
            m.d.comb += self.cause.eq(Cause.ILLEGAL_STATE)
        with m.Else():
            m.d.comb += self.executes.eq(1)
            with m.Switch(self.operation.group):
                self._system(m)
                self._calls(m)
                self._memory(m)
        return m

    def _system(self, m):
        with m.Case(Group.UNDEFINED):
            m.d.comb += self.cause.eq(Cause.UNDEFINED)
        with m.Case(Group.MRS, Group.MSR, Group.DAIFSET, Group.DAIFCLR, Group.SPSEL):
            with m.If(self.register_undefined):
                m.d.comb += self.cause.eq(Cause.UNDEFINED)
            with m.Elif(self.register_traps):
                m.d.comb += self.cause.eq(Cause.SYSTEM_TRAP)
        with m.Case(Group.WFE, Group.WFI):
            with m.If(self.wait_traps):
                m.d.comb += self.cause.eq(Cause.WFX_TRAP)

    def _calls(self, m):
        """The instructions that call another EL, and the return from it."""
        el, el2_enabled, scr = self.pstate.el, self.effective.el2_enabled, self.scr_el3
        at_el0 = el == EL.EL0
        guest_kernel = (el == EL.EL1) & el2_enabled
        with m.Case(Group.SVC):
            m.d.comb += self.cause.eq(Cause.SVC)
        with m.Case(Group.HVC):
            no_el2 = (el == EL.EL1) & ~el2_enabled
            undefined = at_el0 | no_el2 | ~scr.HCE
            m.d.comb += self.cause.eq(Mux(undefined, Cause.UNDEFINED, Cause.HVC))
        with m.Case(Group.SMC):
            with m.If(at_el0):
                m.d.comb += self.cause.eq(Cause.UNDEFINED)
            with m.Elif(guest_kernel & self.hcr_el2.TSC):
                m.d.comb += self.cause.eq(Cause.SMC_TRAP)
            with m.Else():
                m.d.comb += self.cause.eq(Mux(scr.SMD, Cause.UNDEFINED, Cause.SMC))
        with m.Case(Group.BRK):
            m.d.comb += self.cause.eq(Cause.BRK)
        with m.Case(Group.ERET):
            m.d.comb += self.cause.eq(Mux(at_el0, Cause.UNDEFINED, Cause.NONE))

    def _memory(self, m):
        with m.Case(Group.MEMORY):
            with m.If(self.sp_misaligned):
                m.d.comb += self.cause.eq(Cause.SP_ALIGNMENT)
            with m.Elif(self.access_misaligned):
                m.d.comb += self.cause.eq(Cause.ALIGNMENT)
            with m.Elif(self.data_error):
                m.d.comb += self.cause.eq(Cause.DATA_ABORT)
