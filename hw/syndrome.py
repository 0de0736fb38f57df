"""ESR composition. Combinational.

Source: DDI 0487 D2.12.6 and D17, "ISS encoding for an exception from a Software Step".
"""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.registers import StepESR
from model.arch import IFSC_DEBUG, ExceptionClass, Last


class SoftwareStepSyndrome(wiring.Component):
    """ESR_ELx of a Software Step exception."""

    last: In(Last)  # what was stepped
    same_el: In(1)  # the exception is taken to the EL it comes from
    isv_choice: In(1)  # choice: ISV where the architecture leaves it open

    esr: Out(StepESR)

    def elaborate(self, platform):
        m = Module()
        esr = self.esr
        m.d.comb += [
            esr.EC.eq(ExceptionClass.SOFTSTEP_LOWER),
            esr.IL.eq(1),
            esr.IFSC.eq(IFSC_DEBUG),
        ]
        with m.If(self.same_el):
            m.d.comb += esr.EC.eq(ExceptionClass.SOFTSTEP_SAME)
        with m.Switch(self.last):
            with m.Case(Last.INSTRUCTION):
                m.d.comb += esr.ISV.eq(1)
            with m.Case(Last.LOAD_EXCLUSIVE):
                m.d.comb += [esr.ISV.eq(1), esr.EX.eq(1)]
            with m.Case(Last.ERET_OR_ISB, Last.OTHER_EXCEPTION):
                m.d.comb += esr.ISV.eq(self.isv_choice)
            with m.Case(Last.OTHER_EXCEPTION_EX):
                m.d.comb += [esr.ISV.eq(self.isv_choice), esr.EX.eq(self.isv_choice)]
        return m
