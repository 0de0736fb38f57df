"""Divide: four bits of the quotient a cycle.

Source: DDI 0487 C6 (UDIV, SDIV): rounded towards zero; by 0 the quotient is 0; of the smallest
negative number by -1 it is that number.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

BITS = 4  #: of the quotient in a cycle


class Divider(wiring.Component):
    """UDIV and SDIV of 32 or 64 bits: 8 or 16 cycles after the one with `start`."""

    start: In(1)
    dividend: In(64)
    divisor: In(64)
    signed: In(1)
    sf: In(1)  # 64 bits

    done: Out(1)  # `quotient` is that of the last start
    quotient: Out(64)  # of 32 bits: the upper half is 0

    def elaborate(self, platform):
        m = Module()
        sf = Signal()
        negative = Signal()  # the quotient is
        divisor = Signal(64)
        remainder = Signal(64)
        rest = Signal(64)  # of the dividend, from bit 63 down; the quotient comes in from below
        left = Signal(range(64 // BITS + 1))  # cycles

        n, n_negative = self._magnitude(m, "n", self.dividend)
        by, by_negative = self._magnitude(m, "by", self.divisor)
        with m.If(self.start):
            m.d.sync += [
                sf.eq(self.sf),
                negative.eq(n_negative ^ by_negative),
                divisor.eq(by),
                remainder.eq(0),
                rest.eq(Mux(self.sf, n, Cat(Const(0, 32), n[:32]))),
                left.eq(Mux(self.sf, 64 // BITS, 32 // BITS)),
            ]
        with m.Elif(left != 0):
            remainder_next, rest_next = remainder, rest
            for _ in range(BITS):
                remainder_next, rest_next = self._bit(m, divisor, remainder_next, rest_next)
            m.d.sync += [
                remainder.eq(remainder_next),
                rest.eq(rest_next),
                left.eq(left - 1),
            ]

        whole = Signal(64)
        m.d.comb += [
            self.done.eq(left == 0),
            whole.eq(Mux(negative, -rest, rest)),
        ]
        with m.If(divisor != 0):
            m.d.comb += self.quotient.eq(Mux(sf, whole, whole[:32]))
        return m

    def _magnitude(self, m, name, given):
        """(absolute value, whether it is negative) of an operand, as its size and sign say."""
        value = Signal(64, name=f"{name}_magnitude")
        negative = Signal(name=f"{name}_negative")
        m.d.comb += negative.eq(self.signed & Mux(self.sf, given[63], given[31]))
        size = Mux(self.sf, given, given[:32])
        m.d.comb += value.eq(Mux(negative, Mux(self.sf, -given, (-given)[:32]), size))
        return value, negative

    def _bit(self, m, divisor, remainder, rest):
        """One bit: the divisor is taken from the remainder if it fits.

        Shifted, the remainder is still no more than the dividend: no bit is lost.
        """
        shifted = Signal(64)
        fits = Signal()
        after = Signal(64)
        m.d.comb += [
            shifted.eq(Cat(rest[63], remainder)),
            fits.eq(shifted >= divisor),
            after.eq(Mux(fits, shifted - divisor, shifted)),
        ]
        return after, Cat(fits, rest[:63])
