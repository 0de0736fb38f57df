"""PSTATE: what the core holds of it beside the step unit's part, and how it changes.

Source: DDI 0487 D1.7 (PSTATE), D1.10 and D1.11 (exception entry and return), C5.2.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.registers import PSTATE, SPSR_ELx
from model.arch import EL, SYSREGS, Field


class CorePSTATE(data.Struct):
    """The fields of PSTATE that the core has."""

    nzcv: 4
    daif: 4  # D is bit 3
    sp: 1  # SPSel: SP_ELx is in use (at EL0 always SP_EL0)
    el: EL
    ss: 1
    il: 1


#: Where MRS and MSR (register) find fields of PSTATE.
NZCV = Field(28, 4)
DAIF = Field(6, 4)
SPSEL = Field(0)
CURRENT_EL = Field(2, 2)


def place(field, value):
    """A value at the place of a register's field; the other bits are 0."""
    return Value.cast(value) << field.lsb


def take(field, register):
    """The value of a register's field."""
    return Value.cast(register)[field.lsb : field.lsb + field.width]


#: What the instruction, or the exception in its place, does to PSTATE.
Change = wiring.Signature(
    {
        "valid": Out(1),  # in this cycle; what `after` shows does not depend on it
        "enters": Out(1),  # an exception is taken
        "returns": Out(1),  # exception return ...
        "illegal": Out(1),  # ... an illegal one
        "spsr": Out(SPSR_ELx),  # ... with this SPSR
        "sets_flags": Out(1),  # the instruction sets the flags ...
        "nzcv": Out(4),  # ... to this
        "write": Out(1),  # MSR ...
        "number": Out(15),  # ... of the register with this arch.SysReg.number ...
        "value": Out(64),  # ... with this
    }
)


class ProcessState(wiring.Component):
    """PSTATE, now and after the row."""

    step: In(PSTATE)  # the step unit's part, now ...
    step_after: In(PSTATE)  # ... and after the row
    change: In(Change)

    now: Out(CorePSTATE)
    after: Out(CorePSTATE)

    def elaborate(self, platform):
        m = Module()
        nzcv = Signal(4)
        aif = Signal(3, init=0b111)
        sp = Signal(init=1)
        change = self.change
        nzcv_after, aif_after, sp_after = Signal(4), Signal(3), Signal()
        m.d.comb += [nzcv_after.eq(nzcv), aif_after.eq(aif), sp_after.eq(sp)]
        with m.If(change.sets_flags):
            m.d.comb += nzcv_after.eq(change.nzcv)
        with m.If(change.write):
            with m.Switch(change.number):
                with m.Case(SYSREGS["NZCV"].number):
                    m.d.comb += nzcv_after.eq(take(NZCV, change.value))
                with m.Case(SYSREGS["DAIF"].number):
                    m.d.comb += aif_after.eq(take(DAIF, change.value))
                with m.Case(SYSREGS["SPSel"].number):
                    m.d.comb += sp_after.eq(take(SPSEL, change.value))
        with m.If(change.enters):
            m.d.comb += [aif_after.eq(0b111), sp_after.eq(1)]
        with m.If(change.returns):
            spsr = change.spsr
            m.d.comb += [
                nzcv_after.eq(Cat(spsr.V, spsr.C, spsr.Z, spsr.N)),
                aif_after.eq(Cat(spsr.F, spsr.I, spsr.A)),
                sp_after.eq(Mux(change.illegal, sp, spsr.M[0])),
            ]
        with m.If(change.valid):
            m.d.sync += [nzcv.eq(nzcv_after), aif.eq(aif_after), sp.eq(sp_after)]

        for state, flags, masks, select, step in (
            (self.now, nzcv, aif, sp, self.step),
            (self.after, nzcv_after, aif_after, sp_after, self.step_after),
        ):
            m.d.comb += [
                state.nzcv.eq(flags),
                state.daif.eq(Cat(masks, step.d)),
                state.sp.eq(select),
                state.el.eq(step.el),
                state.ss.eq(step.ss),
                state.il.eq(step.il),
            ]
        return m


class SavedState(wiring.Component):
    """PSTATE as an exception saves it in SPSR_ELx."""

    pstate: In(CorePSTATE)
    ss: In(1)  # what is saved of PSTATE.SS

    spsr: Out(SPSR_ELx)

    def elaborate(self, platform):
        m = Module()
        p, spsr = self.pstate, self.spsr
        above_el0 = p.el != EL.EL0
        m.d.comb += [
            spsr.M.eq(Cat(p.sp & above_el0, Const(0, 1), p.el)),
            Cat(spsr.F, spsr.I, spsr.A, spsr.D).eq(p.daif),
            spsr.IL.eq(p.il),
            spsr.SS.eq(self.ss),
            Cat(spsr.V, spsr.C, spsr.Z, spsr.N).eq(p.nzcv),
        ]
        return m
