"""A design with the core's ports that fetches, loads, stores and retires, and does little else.

It takes three clock cycles a word, and a fourth for an access:

    bits 1:0   0 nothing, 1 an access, 2 a branch to itself, 3 the same, a step pending then
    bit 2      the access writes: bits 63:0 of the data are the pc, bits 127:64 its complement
    bits 5:3   log2 of the access's bytes
    bits 31:6  bits 25:0 of the address, from RAM_BASE - 2^24 on

The row has in `esr` what the memory answered to the fetch, in `far` the fault offset, and in
`hpfar` the error of the access.
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring

from hw.core.core import Core
from model.arch import RAM_BASE, Access, StepState
from tb.core.rows import INPUTS
from tb.harness import Design

FIRST = RAM_BASE - (1 << 24)  #: address of an access whose bits are 0
NOP, BRANCH, PENDING = 0, 2, 3


def access(address, size, write):
    """The word of an access of 1 << size bytes."""
    return 1 | write << 2 | size << 3 | (address - FIRST) << 6


class Toy(wiring.Component):
    """See above."""

    __annotations__ = Core.__annotations__

    def elaborate(self, platform):
        m = Module()
        request, answer = self.data.request, self.data.response
        trace = self.retire
        pc = Signal(64, init=RAM_BASE)
        word = Signal(32)
        at = Signal(2)
        given = Cat(*(getattr(trace, name) for name in INPUTS))
        sampled = Signal(len(INPUTS))
        pins = Cat(self.pins.irq, self.pins.fiq, self.pins.serror)
        choice = self.choice
        choices = Cat(choice.async_first, choice.isv_choice, choice.write_seen, choice.wfx_ends)
        m.d.comb += [
            self.fetch.request.address.eq(pc),
            request.address.eq(FIRST + word[6:]),
            request.size.eq(word[3:6]),
            request.write.eq(word[2]),
            request.data.eq(Cat(pc, ~pc)),
            trace.pc.eq(pc),
            trace.pc_after.eq(pc + 4),
            trace.word.eq(word),
            given.eq(sampled),
        ]
        with m.If(word[:2] >= BRANCH):
            m.d.comb += trace.pc_after.eq(pc)
        with m.If(word[:2] == PENDING):
            m.d.comb += trace.state_after.eq(StepState.ACTIVE_PENDING)
        with m.Switch(at):
            with m.Case(0):
                m.d.comb += self.fetch.request.valid.eq(1)
                m.d.sync += at.eq(1)
                m.d.sync += sampled.eq(Cat(pins, choices))
            with m.Case(1):
                m.d.sync += [word.eq(self.fetch.response.word), at.eq(2)]
            with m.Case(2):
                m.d.comb += trace.valid.eq(word[:2] != 1)
                m.d.comb += request.valid.eq(word[:2] == 1)
                m.d.sync += at.eq(3)
                with m.If(trace.valid):
                    m.d.sync += [at.eq(0), pc.eq(trace.pc_after)]
            with m.Case(3):
                m.d.comb += [
                    trace.valid.eq(1),
                    trace.mem.eq(Access.LOAD),
                    trace.mem_data.eq(answer.data),
                    trace.mem_address.eq(request.address),
                    trace.hpfar.eq(answer.error),
                    trace.far.eq(answer.fault_offset),
                ]
                m.d.sync += [at.eq(0), pc.eq(trace.pc_after)]
        return m


TOY = Design("toy", Toy, trace="retire")
