"""Exceptions: which interrupt is taken, where each exception goes, its syndrome and its vector.

Combinational. Source: DDI 0487 D1.10 (entry), D1.13 (asynchronous exceptions), D17.2.37 (ESR_ELx).
"""

from enum import IntEnum

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.core.memory import AbortSyndrome
from hw.core.pstate import CorePSTATE
from hw.registers import HCR_EL2, SCR_EL3, layout
from hw.routing import DebugControls, IllegalStateTarget
from model import arch
from model.arch import EL, ExceptionClass, FaultStatus, Retire

SystemESR = layout(arch.ESR_ELx, arch.SystemISS)
WFxESR = layout(arch.ESR_ELx, arch.WFxISS)
AbortESR = layout(arch.ESR_ELx, arch.AbortISS)
VBAR_ELx = layout(arch.VBAR_ELx)
HPFAR_EL2 = layout(arch.HPFAR_EL2)

#: Interrupts: levels, active high.
Pins = wiring.Signature({"irq": Out(1), "fiq": Out(1), "serror": Out(1)})


class Cause(IntEnum):
    """Why an exception is taken: the first that applies, in this order."""

    NONE = 0
    INTERRUPT = 1  #: an asynchronous exception; the choice async_first may have STEP before it
    STEP = 2  #: Software Step
    PC_ALIGNMENT = 3
    INSTRUCTION_ABORT = 4
    ILLEGAL_STATE = 5
    UNDEFINED = 6
    SYSTEM_TRAP = 7  #: MSR or MRS
    WFX_TRAP = 8
    SMC_TRAP = 9  #: HCR_EL2.TSC
    SVC = 10
    HVC = 11
    SMC = 12
    BRK = 13
    SP_ALIGNMENT = 14
    ALIGNMENT = 15  #: of a data access
    DATA_ABORT = 16


#: What an exception writes to the registers of the EL that it is taken to.
Entry = wiring.Signature(
    {
        "valid": Out(1),
        "target_el": Out(EL),
        "esr": Out(64),
        "elr": Out(64),
        "spsr": Out(64),
        "far": Out(64),
        "hpfar": Out(64),
        "sets_esr": Out(1),
        "sets_far": Out(1),
        "sets_hpfar": Out(1),
    }
)


class InterruptRouting(wiring.Component):
    """The asynchronous exception to take, if any.

    Priority: SError, FIQ, IRQ, virtual FIQ, virtual IRQ.
    """

    pins: In(Pins)
    pstate: In(CorePSTATE)
    effective: In(DebugControls)
    hcr_el2: In(HCR_EL2)
    scr_el3: In(SCR_EL3)

    take: Out(1)
    kind: Out(Retire)
    target: Out(EL)
    pending: Out(1)  # something that ends a WFI is, taken or not

    def elaborate(self, platform):
        m = Module()
        hcr, scr, e = self.hcr_el2, self.scr_el3, self.effective
        f, i, a = self.pstate.daif[0], self.pstate.daif[1], self.pstate.daif[2]
        el1_or_el0 = (self.pstate.el == EL.EL0) | (self.pstate.el == EL.EL1)
        guest = e.el2_enabled & ~e.tge
        virtual_fiq = guest & hcr.VF & hcr.FMO
        virtual_irq = guest & hcr.VI & hcr.IMO
        serror, to_serror = self._physical(m, "serror", self.pins.serror, scr.EA, hcr.AMO, a)
        fiq, to_fiq = self._physical(m, "fiq", self.pins.fiq, scr.FIQ, hcr.FMO, f)
        irq, to_irq = self._physical(m, "irq", self.pins.irq, scr.IRQ, hcr.IMO, i)
        candidates = (
            (serror, Retire.SERROR, to_serror),
            (fiq, Retire.FIQ, to_fiq),
            (irq, Retire.IRQ, to_irq),
            (virtual_fiq & el1_or_el0 & ~f, Retire.VFIQ, EL.EL1),
            (virtual_irq & el1_or_el0 & ~i, Retire.VIRQ, EL.EL1),
        )
        for take, kind, target in reversed(candidates):  # the last assignment wins
            with m.If(take):
                m.d.comb += [self.take.eq(1), self.kind.eq(kind), self.target.eq(target)]
        m.d.comb += self.pending.eq(
            self.pins.serror | self.pins.fiq | self.pins.irq | virtual_fiq | virtual_irq
        )
        return m

    def _physical(self, m, name, pin, to_el3, to_el2, mask):
        """(taken, target) of a pin."""
        target = Signal(EL, name=f"{name}_target")
        m.d.comb += target.eq(EL.EL1)
        with m.If(to_el3):
            m.d.comb += target.eq(EL.EL3)
        with m.Elif(self.effective.el2_enabled & (to_el2 | self.effective.tge)):
            m.d.comb += target.eq(EL.EL2)
        el = self.pstate.el
        # PSTATE does not mask what goes up to EL2 or EL3.
        masked = mask & ((target == el) | (target == EL.EL1))
        return pin & (target >= el) & ~masked, target


#: What an abort or alignment fault of a data access is about.
DataFault = wiring.Signature(
    {
        "address": Out(64),  # of the first byte that faults; of the access, if it is not aligned
        "write": Out(1),
        "syndrome": Out(AbortSyndrome),  # of a stage 2 abort
    }
)


class ExceptionTarget(wiring.Component):
    """The EL that each exception goes to."""

    cause: In(Cause)
    el: In(EL)
    effective: In(DebugControls)
    hcr_el2: In(HCR_EL2)
    scr_el3: In(SCR_EL3)
    interrupt_target: In(EL)
    step_target: In(EL)
    trap_target: In(EL)  # of a trapped MSR or MRS
    wfx_target: In(EL)

    target: Out(EL)
    stage_2: Out(1)  # an instruction or data abort is one of stage 2
    default: Out(EL)  # where a synchronous exception goes that nothing routes elsewhere

    def elaborate(self, platform):
        m = Module()
        e, el = self.effective, self.el
        below_el2 = ((el == EL.EL0) | (el == EL.EL1)) & e.el2_enabled
        m.submodules.default_target = default = IllegalStateTarget()
        m.d.comb += [
            default.effective.eq(e),
            default.el.eq(el),
            self.default.eq(default.target),
            self.stage_2.eq(below_el2 & self.hcr_el2.VM),
            self.target.eq(default.target),
        ]
        with m.Switch(self.cause):
            with m.Case(Cause.INTERRUPT):
                m.d.comb += self.target.eq(self.interrupt_target)
            with m.Case(Cause.STEP):
                m.d.comb += self.target.eq(self.step_target)
            with m.Case(Cause.INSTRUCTION_ABORT, Cause.DATA_ABORT):
                with m.If(self.stage_2):
                    m.d.comb += self.target.eq(EL.EL2)
                with m.Elif(self.scr_el3.EA):
                    m.d.comb += self.target.eq(EL.EL3)
            with m.Case(Cause.SYSTEM_TRAP):
                m.d.comb += self.target.eq(self.trap_target)
            with m.Case(Cause.WFX_TRAP):
                m.d.comb += self.target.eq(self.wfx_target)
            with m.Case(Cause.SMC_TRAP):
                m.d.comb += self.target.eq(EL.EL2)
            with m.Case(Cause.HVC):
                m.d.comb += self.target.eq(Mux(el == EL.EL3, EL.EL3, EL.EL2))
            with m.Case(Cause.SMC):
                m.d.comb += self.target.eq(EL.EL3)
            with m.Case(Cause.BRK):
                with m.If(below_el2 & (e.tge | e.tde)):
                    m.d.comb += self.target.eq(EL.EL2)
        return m


class Syndrome(wiring.Component):
    """ESR_ELx, FAR_ELx and HPFAR_EL2 of an exception; all 0 for IRQ and FIQ, which set none."""

    cause: In(Cause)
    kind: In(Retire)  # of an interrupt
    word: In(32)
    pc: In(64)
    same_el: In(1)  # the exception is taken to the EL that it comes from
    stage_2: In(1)  # an abort is one of stage 2
    step_esr: In(64)  # of a Software Step exception
    fault: In(DataFault)

    esr: Out(64)
    far: Out(64)
    hpfar: Out(64)
    sets_esr: Out(1)
    sets_far: Out(1)
    sets_hpfar: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.sets_esr.eq(self.cause != Cause.NONE)
        with m.Switch(self.cause):
            with m.Case(Cause.INTERRUPT):
                serror = self.kind == Retire.SERROR
                m.d.comb += self.sets_esr.eq(serror)
                with m.If(serror):
                    self._esr(m, ExceptionClass.SERROR)
            with m.Case(Cause.STEP):
                m.d.comb += self.esr.eq(self.step_esr)
            with m.Case(Cause.PC_ALIGNMENT):
                self._esr(m, ExceptionClass.PC_ALIGN)
                m.d.comb += [self.sets_far.eq(1), self.far.eq(self.pc)]
            with m.Case(Cause.INSTRUCTION_ABORT):
                self._instruction_abort(m)
            with m.Case(Cause.ILLEGAL_STATE):
                self._esr(m, ExceptionClass.ILLEGAL_STATE)
            with m.Case(Cause.UNDEFINED):
                self._esr(m, ExceptionClass.UNKNOWN)
            with m.Case(Cause.SYSTEM_TRAP):
                self._system_trap(m)
            with m.Case(Cause.WFX_TRAP):
                self._wfx_trap(m)
            for cause, ec in _CALLS.items():
                with m.Case(cause):
                    self._esr(m, ec, self.word[5:21])
            with m.Case(Cause.SP_ALIGNMENT):
                self._esr(m, ExceptionClass.SP_ALIGN)
            with m.Case(Cause.ALIGNMENT, Cause.DATA_ABORT):
                self._data_abort(m)
        # Translation maps each address to itself, so the faulting IPA is that of FAR.
        hpfar = HPFAR_EL2(self.hpfar)
        with m.If(self.sets_hpfar):
            m.d.comb += hpfar.FIPA.eq(self.far[12:48])
        return m

    def _esr(self, m, ec, iss=0):
        """Drive ESR_ELx. Instructions all have 32 bits, so IL is 1."""
        esr = SystemESR(self.esr)
        m.d.comb += [esr.EC.eq(ec), esr.IL.eq(1), esr.ISS.eq(iss)]

    def _lower_or_same(self, lower, same):
        return Mux(self.same_el, same, lower)

    def _fault_status(self):
        return Mux(self.stage_2, FaultStatus.TRANSLATION_LEVEL_3, FaultStatus.EXTERNAL)

    def _instruction_abort(self, m):
        ec = self._lower_or_same(ExceptionClass.IABT_LOWER, ExceptionClass.IABT_SAME)
        self._esr(m, ec)
        m.d.comb += [
            AbortESR(self.esr).FSC.eq(self._fault_status()),
            self.sets_far.eq(1),
            self.far.eq(self.pc),
            self.sets_hpfar.eq(self.stage_2),
        ]

    def _data_abort(self, m):
        ec = self._lower_or_same(ExceptionClass.DABT_LOWER, ExceptionClass.DABT_SAME)
        self._esr(m, ec)
        esr, fault = AbortESR(self.esr), self.fault
        m.d.comb += [
            esr.FSC.eq(FaultStatus.ALIGNMENT),
            esr.WnR.eq(fault.write),
            self.sets_far.eq(1),
            self.far.eq(fault.address),
        ]
        with m.If(self.cause == Cause.DATA_ABORT):
            m.d.comb += [esr.FSC.eq(self._fault_status()), self.sets_hpfar.eq(self.stage_2)]
            with m.If(self.stage_2):
                m.d.comb += [
                    esr.ISV.eq(fault.syndrome.isv),
                    esr.SAS.eq(fault.syndrome.sas),
                    esr.SSE.eq(fault.syndrome.sse),
                    esr.SRT.eq(fault.syndrome.srt),
                    esr.SF.eq(fault.syndrome.sf),
                    esr.AR.eq(fault.syndrome.ar),
                ]

    def _system_trap(self, m):
        self._esr(m, ExceptionClass.SYS64)
        esr, word = SystemESR(self.esr), self.word
        m.d.comb += [
            esr.READ.eq(word[21]),
            esr.CRm.eq(word[8:12]),
            esr.Rt.eq(word[0:5]),
            esr.CRn.eq(word[12:16]),
            esr.Op1.eq(word[16:19]),
            esr.Op2.eq(word[5:8]),
            esr.Op0.eq(word[19:21]),
        ]

    def _wfx_trap(self, m):
        self._esr(m, ExceptionClass.WFX)
        esr = WFxESR(self.esr)
        m.d.comb += [esr.CV.eq(1), esr.COND.eq(0b1110), esr.TI.eq(~self.word[5])]


#: Exceptions whose ISS is the instruction's immediate.
_CALLS = {
    Cause.SMC_TRAP: ExceptionClass.SMC64,
    Cause.SVC: ExceptionClass.SVC64,
    Cause.HVC: ExceptionClass.HVC64,
    Cause.SMC: ExceptionClass.SMC64,
    Cause.BRK: ExceptionClass.BRK64,
}


class Vector(wiring.Component):
    """The address that an exception goes to."""

    vbar: In(VBAR_ELx)  # of the target EL
    lower: In(1)  # the exception comes from a lower EL
    sp: In(1)  # PSTATE.SP
    kind: In(Retire)

    address: Out(64)

    def elaborate(self, platform):
        m = Module()
        from_ = Signal(2)  # 0: the same EL with SP_EL0; 1: the same EL with SP_ELx; 2: a lower EL
        type_ = Signal(2)
        m.d.comb += from_.eq(Mux(self.lower, 2, self.sp))
        with m.Switch(self.kind):
            with m.Case(Retire.IRQ, Retire.VIRQ):
                m.d.comb += type_.eq(1)
            with m.Case(Retire.FIQ, Retire.VFIQ):
                m.d.comb += type_.eq(2)
            with m.Case(Retire.SERROR):
                m.d.comb += type_.eq(3)
        m.d.comb += self.address.eq(Cat(Const(0, 7), type_, from_, self.vbar.BASE))
        return m
