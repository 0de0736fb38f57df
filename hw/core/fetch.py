"""Fetch: the PC, and the word at it.

Source: DDI 0487 D1.12 (PC alignment), D2.4. The word of a row is asked for in the cycle in which
the row before it retires, and comes in the row's first cycle.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from model.arch import RESET_VECTOR

FetchRequest = wiring.Signature({"valid": Out(1), "address": Out(64)})
FetchResponse = wiring.Signature({"word": Out(32), "error": Out(1)})
#: The memory answers in the cycle after the request.
FetchPort = wiring.Signature({"request": Out(FetchRequest), "response": In(FetchResponse)})


class Fetch(wiring.Component):
    """The PC, and the word at it from the first cycle of the row to its last."""

    port: Out(FetchPort)
    retire: In(1)  # this is the last cycle of the row ...
    next_pc: In(64)  # ... and the PC goes there

    first: Out(1)  # this is the first cycle of the row
    pc: Out(64)
    misaligned: Out(1)  # the PC is: nothing was fetched
    error: Out(1)  # there is no memory at the PC
    word: Out(32)

    def elaborate(self, platform):
        m = Module()
        started = Signal()  # out of reset
        pc = Signal(64, init=RESET_VECTOR)
        word = Signal(32)
        error = Signal()
        pc_next = Signal(64)
        asks = Signal()
        request, response = self.port.request, self.port.response
        m.d.comb += [
            pc_next.eq(Mux(self.retire, self.next_pc, pc)),
            asks.eq(self.retire | ~started),
            request.valid.eq(asks & ~pc_next[:2].any()),
            request.address.eq(pc_next),
            self.pc.eq(pc),
            self.misaligned.eq(pc[:2].any()),
            self.error.eq(Mux(self.first, response.error, error) & ~self.misaligned),
        ]
        # Nothing executes what a failed fetch brings.
        with m.If(~self.misaligned & ~self.error):
            m.d.comb += self.word.eq(Mux(self.first, response.word, word))
        m.d.sync += [
            started.eq(1),
            pc.eq(pc_next),
            self.first.eq(asks),
            word.eq(self.word),
            error.eq(self.error),
        ]
        return m
