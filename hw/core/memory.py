"""Loads and stores: address, checks, what goes to memory and comes back; the exclusive monitor.

Source: DDI 0487 C6 (loads and stores), B2.9 (exclusives), D17 (ISS of a data abort).
An instruction makes one access: a pair is one of twice the size.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.core.decode import Operation


class AbortSyndrome(data.Struct):
    """What the ISS of a stage 2 data abort says of the instruction (model.arch.AbortISS)."""

    isv: 1
    sas: 2
    sse: 1
    srt: 5
    sf: 1
    ar: 1


class LoadStore(wiring.Component):
    """A load or store, but for the access itself. Combinational."""

    operation: In(Operation)
    pc: In(64)
    base: In(64)  # Rn or SP
    offset: In(64)  # the operation's second operand
    rt: In(64)  # the registers of a store
    rt2: In(64)
    checks_alignment: In(1)  # SCTLR_ELx.A
    loaded: In(128)  # what memory answers

    address: Out(64)
    size: Out(3)  # log2 of the bytes of the access: 0 to 4
    stored: Out(128)  # upper bits 0
    misaligned: Out(1)  # the address is, where that is a fault
    written_back: Out(64)  # the base afterwards
    value: Out(64)  # the registers of a load
    value2: Out(64)
    read: Out(128)  # the bytes loaded; upper bits 0
    syndrome: Out(AbortSyndrome)

    def elaborate(self, platform):
        m = Module()
        op = self.operation
        moved = Signal(64)
        m.d.comb += [
            moved.eq(Mux(op.literal, self.pc, self.base) + self.offset),
            self.address.eq(Mux(op.post_index, self.base, moved)),
            self.written_back.eq(moved),
            self.size.eq(op.size + op.pair),
        ]
        self._alignment(m)
        with m.Switch(op.size):
            for log2 in range(4):
                bits = 8 << log2
                with m.Case(log2):
                    second = Mux(op.pair, self.rt2[:bits], 0)
                    m.d.comb += self.stored.eq(Cat(self.rt[:bits], second))
                    m.d.comb += self.read.eq(
                        Mux(op.pair, self.loaded[: 2 * bits], self.loaded[:bits])
                    )
                    self._extend(m, self.value, self.loaded[:bits])
                    self._extend(m, self.value2, self.loaded[bits : 2 * bits])
        one = ~op.pair & ~op.writeback & ~op.exclusive
        m.d.comb += self.syndrome.isv.eq(one)
        with m.If(one):
            m.d.comb += [
                self.syndrome.sas.eq(op.size),
                self.syndrome.sse.eq(op.signed),
                self.syndrome.srt.eq(Mux(op.store, op.ra, op.rd)),
                self.syndrome.sf.eq(op.wide),
                self.syndrome.ar.eq(op.ordered),
            ]
        return m

    def _alignment(self, m):
        """An exclusive pair is one access; of another pair each register is aligned by itself."""
        op = self.operation
        unit = Mux(op.exclusive, self.size, op.size)
        wrong = Signal()
        with m.Switch(unit):
            for log2 in range(1, 5):
                with m.Case(log2):
                    m.d.comb += wrong.eq(self.address[:log2].any())
        must = op.exclusive | op.ordered | self.checks_alignment
        m.d.comb += self.misaligned.eq(wrong & must)

    def _extend(self, m, value, low):
        """A register of what was loaded."""
        op = self.operation
        sign_extended = Signal(64)
        m.d.comb += sign_extended.eq(low.as_signed())
        with m.If(op.signed):
            m.d.comb += value.eq(Mux(op.wide, sign_extended, sign_extended[:32]))
        with m.Else():
            m.d.comb += value.eq(low)


class ExclusiveMonitor(wiring.Component):
    """The local monitor: what a load-exclusive has marked.

    A store-exclusive passes only with the address and size of the load: where they differ, the
    architecture leaves it to the implementation.
    """

    address: In(64)  # of the instruction
    size: In(3)
    mark: In(1)  # a load-exclusive completes
    clear: In(1)  # CLREX, a store-exclusive, or an exception return does

    marked: Out(1)
    passes: Out(1)  # a store-exclusive there would

    def elaborate(self, platform):
        m = Module()
        address = Signal(64)
        size = Signal(3)
        m.d.comb += self.passes.eq(self.marked & (address == self.address) & (size == self.size))
        with m.If(self.mark):
            m.d.sync += [self.marked.eq(1), address.eq(self.address), size.eq(self.size)]
        with m.Elif(self.clear):
            m.d.sync += self.marked.eq(0)
        return m
