"""Where exceptions go and whether debug exceptions are enabled. Combinational.

Source: DDI 0487 D2.4 (routing), D2.5 (enables), D1.1.4 (security state), D1.11 (illegal returns).
"""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.registers import MDSCR_EL1, Controls, SPSR_ELx
from model.arch import EL, Mode, Mode32


class SecurityState(wiring.Component):
    """Security state and what EL2 is worth in it.

    Without EL3 the PE is Non-secure. SCR_EL3.EEL2 reads as 0 without Secure EL2.
    """

    controls: In(Controls)
    el: In(EL)  # the EL asked about

    secure: Out(1)  # that EL is in Secure state
    el2_usable: Out(1)  # EL2 exists in that EL's security state
    el2_enabled: Out(1)  # EL2 exists in the security state that SCR_EL3.NS selects

    def elaborate(self, platform):
        m = Module()
        c = self.controls
        secure_el2 = c.have_el2 & c.have_el3 & c.have_sel2 & c.scr_el3.EEL2
        secure_below_el3 = c.have_el3 & ~c.scr_el3.NS
        m.d.comb += [
            self.secure.eq(secure_below_el3 | (c.have_el3 & (self.el == EL.EL3))),
            self.el2_usable.eq(c.have_el2 & (~self.secure | secure_el2)),
            self.el2_enabled.eq(c.have_el2 & (~secure_below_el3 | secure_el2)),
        ]
        return m


class DebugRouting(wiring.Component):
    """ELd, and whether debug exceptions from an EL are enabled.

    The functions DebugTargetFrom and AArch64.GenerateDebugExceptionsFrom of the manual.
    """

    controls: In(Controls)
    mdscr_el1: In(MDSCR_EL1)
    halted: In(1)  # the PE is in Debug state
    el: In(EL)  # the EL that the debug exception would come from
    d: In(1)  # PSTATE.D there

    eld: Out(EL)  # debug target: EL1 or EL2
    eld_aarch32: Out(1)  # ELd uses AArch32
    enabled: Out(1)  # debug exceptions are enabled

    def elaborate(self, platform):
        m = Module()
        c = self.controls
        m.submodules.security = security = SecurityState()
        wiring.connect(m, wiring.flipped(c), security.controls)
        m.d.comb += security.el.eq(self.el)

        with m.If(security.el2_usable & (c.hcr_el2.TGE | c.mdcr_el2.TDE)):
            m.d.comb += [self.eld.eq(EL.EL2), self.eld_aarch32.eq(c.el2_aarch32)]
        with m.Else():
            m.d.comb += [self.eld.eq(EL.EL1), self.eld_aarch32.eq(c.el1_aarch32)]

        locked = c.oslsr_el1.OSLK | c.double_lock | self.halted
        secure_user = (self.el == EL.EL0) & c.el1_aarch32 & c.sder32_el3.SUIDEN
        forbidden = security.secure & c.mdcr_el3.SDD & ~secure_user
        with m.If(~locked & ~forbidden):
            with m.If(self.el == self.eld):
                m.d.comb += self.enabled.eq(self.mdscr_el1.KDE & ~self.d)
            with m.Else():
                m.d.comb += self.enabled.eq(self.el < self.eld)
        return m


class ExceptionReturn(wiring.Component):
    """Whether an exception return or Debug exit is legal, and where it goes.

    The functions ELFromSPSR and IllegalExceptionReturn of the manual.
    """

    controls: In(Controls)
    el: In(EL)  # the EL returned from
    spsr: In(SPSR_ELx)  # SPSR_ELx of that EL, or DSPSR

    illegal: Out(1)
    target: Out(EL)  # the EL that the SPSR names; without meaning if that is none

    def elaborate(self, platform):
        m = Module()
        c = self.controls
        m.submodules.security = security = SecurityState()
        wiring.connect(m, wiring.flipped(c), security.controls)
        m.d.comb += security.el.eq(self.el)

        no_mode = Signal()
        wrong_width = Signal()
        aarch32 = self.spsr.nRW
        with m.Switch(self.spsr.M):
            with m.Case(Mode.EL0t):
                m.d.comb += self.target.eq(EL.EL0)
            with m.Case(Mode.EL1t, Mode.EL1h):
                m.d.comb += self.target.eq(EL.EL1)
            with m.Case(Mode.EL2t, Mode.EL2h):
                m.d.comb += self.target.eq(EL.EL2)
            with m.Case(Mode.EL3t, Mode.EL3h):
                m.d.comb += self.target.eq(EL.EL3)
            with m.Default():
                m.d.comb += no_mode.eq(1)
        with m.If(aarch32):
            m.d.comb += no_mode.eq(0)
            with m.Switch(Value.cast(self.spsr)[:5]):
                with m.Case(Mode32.USER):
                    m.d.comb += self.target.eq(EL.EL0)
                with m.Case(Mode32.HYP):
                    m.d.comb += self.target.eq(EL.EL2)
                with m.Case(*_EL1_MODES32):
                    m.d.comb += self.target.eq(EL.EL1)
                with m.Default():
                    m.d.comb += no_mode.eq(1)

        unavailable = Signal()
        with m.Switch(self.target):
            with m.Case(EL.EL0):
                # AArch32 at EL0 is always taken as possible, AArch64 only below an AArch64 EL1.
                m.d.comb += wrong_width.eq(~aarch32 & c.el1_aarch32)
            with m.Case(EL.EL1):
                m.d.comb += [
                    wrong_width.eq(aarch32 ^ c.el1_aarch32),
                    unavailable.eq(security.el2_enabled & c.hcr_el2.TGE),
                ]
            with m.Case(EL.EL2):
                secure = c.have_el3 & ~c.scr_el3.NS
                m.d.comb += [
                    wrong_width.eq(aarch32 ^ c.el2_aarch32),
                    unavailable.eq(~security.el2_enabled | (aarch32 & secure)),
                ]
            with m.Case(EL.EL3):
                m.d.comb += unavailable.eq(~c.have_el3)

        above = self.target > self.el
        m.d.comb += self.illegal.eq(no_mode | wrong_width | unavailable | above)
        return m


_EL1_MODES32 = [mode for mode in Mode32 if mode not in (Mode32.USER, Mode32.HYP)]


class ExceptionTarget(wiring.Component):
    """The EL that the exceptions which the step unit itself raises are taken to."""

    controls: In(Controls)
    el: In(EL)  # current EL
    eld: In(EL)  # debug target from there

    step: Out(EL)  # of a Software Step exception
    illegal_state: Out(EL)  # of an Illegal Execution state exception

    def elaborate(self, platform):
        m = Module()
        c = self.controls
        m.submodules.security = security = SecurityState()
        wiring.connect(m, wiring.flipped(c), security.controls)
        m.d.comb += [
            security.el.eq(self.el),
            self.step.eq(self.eld),
            self.illegal_state.eq(self.el),
        ]
        with m.If(self.el == EL.EL2):
            m.d.comb += self.step.eq(EL.EL2)
        with m.If(self.el == EL.EL0):
            m.d.comb += self.illegal_state.eq(EL.EL1)
            with m.If(security.el2_enabled & c.hcr_el2.TGE):
                m.d.comb += self.illegal_state.eq(EL.EL2)
        return m
