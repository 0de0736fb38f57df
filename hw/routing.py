"""Where exceptions go and whether debug exceptions are enabled. Combinational.

Source: DDI 0487 D2.4 (routing), D2.5 (enables), D1.1.4 (security state), D1.11 (illegal returns).
"""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.registers import Controls, SPSR_ELx
from model.arch import EL, Mode, Mode32


class DebugControls(data.Struct):
    """The control bits as they take effect."""

    have_el2: 1
    have_el3: 1
    ns: 1  # the ELs below EL3 are Non-secure; so is everything without EL3
    secure_el2: 1  # EL2, if there is one, is also there in Secure state
    el2_enabled: 1  # EL2 is there in the security state of the ELs below EL3
    el1_aarch32: 1
    el2_aarch32: 1
    tge: 1
    tde: 1
    sdd: 1
    suiden: 1
    locked: 1  # OS Lock or double lock


class ControlDecoder(wiring.Component):
    """The control bits as they take effect, from the registers."""

    controls: In(Controls)

    effective: Out(DebugControls)

    def elaborate(self, platform):
        m = Module()
        c, e = self.controls, self.effective
        ns = c.scr_el3.NS | ~c.have_el3
        secure_el2 = c.have_sel2 & c.scr_el3.EEL2
        m.d.comb += [
            e.have_el2.eq(c.have_el2),
            e.have_el3.eq(c.have_el3),
            e.ns.eq(ns),
            e.secure_el2.eq(secure_el2),
            e.el2_enabled.eq(c.have_el2 & (ns | secure_el2)),
            e.el1_aarch32.eq(c.el1_aarch32),
            e.el2_aarch32.eq(c.el2_aarch32),
            e.tge.eq(c.hcr_el2.TGE),
            e.tde.eq(c.mdcr_el2.TDE),
            e.sdd.eq(c.mdcr_el3.SDD),
            e.suiden.eq(c.sder32_el3.SUIDEN),
            e.locked.eq(c.oslsr_el1.OSLK | c.double_lock),
        ]
        return m


class DebugRouting(wiring.Component):
    """ELd, and whether debug exceptions from an EL are enabled.

    The functions DebugTargetFrom and AArch64.GenerateDebugExceptionsFrom of the manual.
    """

    effective: In(DebugControls)
    kde: In(1)  # MDSCR_EL1.KDE
    halted: In(1)  # the PE is in Debug state
    el: In(EL)  # the EL that the debug exception would come from
    d: In(1)  # PSTATE.D there

    eld: Out(EL)  # debug target: EL1 or EL2
    eld_aarch32: Out(1)  # ELd uses AArch32
    enabled: Out(1)  # debug exceptions are enabled

    def elaborate(self, platform):
        m = Module()
        e = self.effective
        secure = Signal()
        m.d.comb += secure.eq(e.have_el3 & ((self.el == EL.EL3) | ~e.ns))

        el2_usable = e.have_el2 & (~secure | e.secure_el2)
        with m.If(el2_usable & (e.tge | e.tde)):
            m.d.comb += [self.eld.eq(EL.EL2), self.eld_aarch32.eq(e.el2_aarch32)]
        with m.Else():
            m.d.comb += [self.eld.eq(EL.EL1), self.eld_aarch32.eq(e.el1_aarch32)]

        secure_user = (self.el == EL.EL0) & e.el1_aarch32 & e.suiden
        forbidden = secure & e.sdd & ~secure_user
        with m.If(~e.locked & ~self.halted & ~forbidden):
            with m.If(self.el == self.eld):
                m.d.comb += self.enabled.eq(self.kde & ~self.d)
            with m.Else():
                m.d.comb += self.enabled.eq(self.el < self.eld)
        return m


_EL1_MODES32 = [mode for mode in Mode32 if mode not in (Mode32.USER, Mode32.HYP)]


class ExceptionReturn(wiring.Component):
    """Whether an exception return or Debug exit is legal, and where it goes.

    The functions ELFromSPSR and IllegalExceptionReturn of the manual.
    """

    effective: In(DebugControls)
    el: In(EL)  # the EL returned from
    spsr: In(SPSR_ELx)  # SPSR_ELx of that EL, or DSPSR

    illegal: Out(1)
    target: Out(EL)  # the EL that the SPSR names; without meaning if that is none

    def elaborate(self, platform):
        m = Module()
        e = self.effective
        aarch32 = self.spsr.nRW
        no_mode = Signal()
        with m.Switch(Value.cast(self.spsr)[:5]):
            with m.Case(Mode.EL0t, Mode32.USER):
                m.d.comb += self.target.eq(EL.EL0)
            with m.Case(Mode.EL1t, Mode.EL1h, *_EL1_MODES32):
                m.d.comb += self.target.eq(EL.EL1)
            with m.Case(Mode.EL2t, Mode.EL2h, Mode32.HYP):
                m.d.comb += self.target.eq(EL.EL2)
            with m.Case(Mode.EL3t, Mode.EL3h):
                m.d.comb += self.target.eq(EL.EL3)
            with m.Default():
                m.d.comb += no_mode.eq(1)

        wrong_width = Signal()
        unavailable = Signal()
        with m.Switch(self.target):
            with m.Case(EL.EL0):
                # AArch32 at EL0 is always taken as possible, AArch64 only below an AArch64 EL1.
                m.d.comb += wrong_width.eq(~aarch32 & e.el1_aarch32)
            with m.Case(EL.EL1):
                m.d.comb += wrong_width.eq(aarch32 ^ e.el1_aarch32)
                m.d.comb += unavailable.eq(e.el2_enabled & e.tge)
            with m.Case(EL.EL2):
                m.d.comb += wrong_width.eq(aarch32 ^ e.el2_aarch32)
                m.d.comb += unavailable.eq(~e.el2_enabled | (aarch32 & ~e.ns))
            with m.Case(EL.EL3):
                m.d.comb += unavailable.eq(~e.have_el3)

        above = self.target > self.el
        m.d.comb += self.illegal.eq(no_mode | wrong_width | unavailable | above)
        return m


class IllegalStateTarget(wiring.Component):
    """The EL that an Illegal Execution state exception is taken to."""

    effective: In(DebugControls)
    el: In(EL)  # current EL

    target: Out(EL)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.target.eq(self.el)
        with m.If(self.el == EL.EL0):
            m.d.comb += self.target.eq(EL.EL1)
            with m.If(self.effective.el2_enabled & self.effective.tge):
                m.d.comb += self.target.eq(EL.EL2)
        return m
