"""The step unit in a toy core: a hypervisor of two instructions steps a guest that has no end.

Every instruction takes one clock cycle. `python docs/examples/toy_core.py` prints each.
"""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from amaranth.sim import Simulator

from hw.registers import SPSR_ELx
from hw.step import StepUnit
from hw.trace import Trace
from model.arch import EL, Event, StepState

#: Where the hypervisor begins, where exceptions go, and where the guest begins.
HYPERVISOR, VECTOR, GUEST = 0x1000, 0x1400, 0x8000


class ToyCore(wiring.Component):
    """At EL2 `msr mdscr_el1` and `eret`, at EL0 nothing but `nop`; what the unit does of it."""

    trace: Out(Trace)

    def elaborate(self, platform):
        m = Module()
        m.submodules.unit = unit = StepUnit()
        pc = Signal(64, init=HYPERVISOR)
        elr = Signal(64, init=GUEST)
        running = Signal()  # from the second cycle on
        m.d.sync += running.eq(1)

        # The PE begins at EL2, debug exceptions masked.
        m.d.comb += [
            unit.load.enable.eq(~running),
            unit.load.pstate.el.eq(EL.EL2),
            unit.load.pstate.d.eq(1),
        ]
        # Non-secure, and debug exceptions go to EL2. Nothing here writes these registers, so they
        # are the same before and after each event.
        for controls in (unit.controls, unit.controls_after):
            m.d.comb += [
                controls.have_el2.eq(1),
                controls.have_el3.eq(1),
                controls.scr_el3.NS.eq(1),
                controls.mdcr_el2.TDE.eq(1),
            ]
        m.d.comb += [unit.choice.isv_choice.eq(1), unit.choice.mdscr_seen.eq(1)]

        # The instruction at the PC. SPSR_EL2 is EL0t with SS = 1: the return arms the step.
        spsr = Signal(SPSR_ELx)
        m.d.comb += [
            spsr.SS.eq(1),
            unit.event.valid.eq(running),
            unit.event.kind.eq(Event.EXECUTE),
            unit.event.pc.eq(pc),
            unit.event.spsr.eq(spsr),
            unit.event.mdscr_write.eq(pc == HYPERVISOR),
            unit.event.mdscr_value.SS.eq(1),
        ]
        with m.If((pc == HYPERVISOR + 4) | (pc == VECTOR)):
            m.d.comb += unit.event.kind.eq(Event.ERET)

        # Where it goes on: what the unit did comes before what the instruction would do.
        with m.If(running):
            m.d.sync += pc.eq(pc + 4)
            with m.If(unit.trace.step_exception):
                m.d.sync += [pc.eq(VECTOR), elr.eq(pc)]
            with m.Elif(unit.event.kind == Event.ERET):
                m.d.sync += pc.eq(elr)
        wiring.connect(m, wiring.flipped(self.trace), unit.trace)
        return m


def row(ctx, trace):
    """An event as a line."""
    before, after = ctx.get(trace.el), ctx.get(trace.el_after)
    what = Event(ctx.get(trace.event)).text
    if ctx.get(trace.step_exception):
        what = f"step exception, ESR {ctx.get(trace.esr.as_value()):#x}"
    state = StepState(ctx.get(trace.state_after)).text
    return f"EL{before:d} {ctx.get(trace.pc):#x} {what} -> EL{after:d} {state}"


def main():
    """Print the first eight events."""
    core = ToyCore()

    async def show(ctx):
        for _ in range(8):
            await ctx.tick()
            print(row(ctx, core.trace))

    simulator = Simulator(core)
    simulator.add_clock(1e-6)
    simulator.add_testbench(show)
    simulator.run()


if __name__ == "__main__":
    main()
