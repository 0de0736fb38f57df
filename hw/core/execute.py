"""Execute: results, flags and branches from operands. Combinational.

Source: DDI 0487 C6, and the shared pseudocode (AddWithCarry, ShiftReg, ExtendReg, ConditionHolds).
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.core.decode import Alu, Branch, Group, Operand2, Operation


class NZCV(data.Struct):
    """The condition flags, as SPSR_ELx has them from bit 28 on."""

    v: 1
    c: 1
    z: 1
    n: 1


class Condition(wiring.Component):
    """ConditionHolds."""

    condition: In(4)
    nzcv: In(NZCV)

    holds: Out(1)

    def elaborate(self, platform):
        m = Module()
        f = self.nzcv
        holds = Signal()
        with m.Switch(self.condition[1:]):
            with m.Case(0b000):  # EQ
                m.d.comb += holds.eq(f.z)
            with m.Case(0b001):  # CS
                m.d.comb += holds.eq(f.c)
            with m.Case(0b010):  # MI
                m.d.comb += holds.eq(f.n)
            with m.Case(0b011):  # VS
                m.d.comb += holds.eq(f.v)
            with m.Case(0b100):  # HI
                m.d.comb += holds.eq(f.c & ~f.z)
            with m.Case(0b101):  # GE
                m.d.comb += holds.eq(f.n == f.v)
            with m.Case(0b110):  # GT
                m.d.comb += holds.eq((f.n == f.v) & ~f.z)
            with m.Case(0b111):  # AL, and NV, which is no opposite
                m.d.comb += holds.eq(1)
        opposite = self.condition[0] & (self.condition != 0b1111)
        m.d.comb += self.holds.eq(holds ^ opposite)
        return m


class Shifter(wiring.Component):
    """ShiftReg: LSL, LSR, ASR and ROR of 32 or 64 bits; of 32 the result's upper half is 0."""

    value: In(64)
    amount: In(6)  # of 32 bits: bit 5 is ignored
    shift: In(2)
    sf: In(1)

    result: Out(64)

    def elaborate(self, platform):
        m = Module()
        word = self.value[:32]
        for size, selected in ((32, ~self.sf), (64, self.sf)):
            value = self.value[:size]
            amount = self.amount[: size.bit_length() - 1]
            with m.If(selected), m.Switch(self.shift):
                with m.Case(0b00):
                    m.d.comb += self.result.eq((value << amount)[:size])
                with m.Case(0b01):
                    m.d.comb += self.result.eq(value >> amount)
                with m.Case(0b10):
                    m.d.comb += self.result.eq((value.as_signed() >> amount)[:size])
                with m.Case(0b11):
                    twice = Cat(word, word) if size == 32 else Cat(value, value)
                    m.d.comb += self.result.eq((twice >> amount)[:size])
        return m


class Extender(wiring.Component):
    """ExtendReg: a byte to a doubleword of a register, zero- or sign-extended and shifted left."""

    value: In(64)
    option: In(3)
    amount: In(6)  # up to 4

    result: Out(64)

    def elaborate(self, platform):
        m = Module()
        extended = Signal(64)
        with m.Switch(self.option):
            for log2 in range(4):
                low = self.value[: 8 << log2]
                with m.Case(log2):
                    m.d.comb += extended.eq(low)
                with m.Case(0b100 | log2):
                    m.d.comb += extended.eq(low.as_signed())
        m.d.comb += self.result.eq(extended << self.amount[:3])
        return m


class LeadingZeros(wiring.Component):
    """How many zeros a value begins with, from bit 63 down."""

    value: In(64)
    count: Out(7)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.count.eq(64)
        for n in range(64):
            with m.If(self.value[n]):
                m.d.comb += self.count.eq(63 - n)
        return m


class Multiplier(wiring.Component):
    """MADD and MSUB, the long ones, SMULH and UMULH: a product added to or taken from Ra."""

    operation: In(Operation)
    n: In(64)
    m: In(64)
    a: In(64)

    result: Out(64)

    def elaborate(self, platform):
        m = Module()
        op = self.operation
        n, by = Signal(65), Signal(65)  # with a bit for the sign
        product = Signal(130)
        for operand, given in ((n, self.n), (by, self.m)):
            with m.If(op.long & op.signed):
                m.d.comb += operand.eq(given[:32].as_signed())
            with m.Elif(op.long):
                m.d.comb += operand.eq(given[:32])
            with m.Else():
                m.d.comb += operand.eq(Cat(given, given[63] & op.signed))
        m.d.comb += product.eq(n.as_signed() * by.as_signed())
        with m.If(op.high):
            m.d.comb += self.result.eq(product[64:128])
        with m.Elif(op.invert):
            m.d.comb += self.result.eq(self.a - product[:64])
        with m.Else():
            m.d.comb += self.result.eq(self.a + product[:64])
        return m


class Execute(wiring.Component):
    """The ALU with its operands, the multiplier, and what decides on a branch.

    Values read from register 31 come as 0, or as SP, as the Operation says.
    """

    operation: In(Operation)
    pc: In(64)
    n: In(64)  # Rn
    m: In(64)  # Rm
    a: In(64)  # Ra, Rd or Rt
    nzcv: In(NZCV)

    result: Out(64)  # of ALU, MULTIPLY, and the return address of a branch with link
    nzcv_after: Out(NZCV)  # with `operation.sets_flags`
    operand2: Out(64)  # also the offset of a load or store
    taken: Out(1)  # a branch is
    target: Out(64)  # of a branch

    def elaborate(self, platform):
        m = Module()
        op = self.operation
        m.submodules.shifter = shifter = Shifter()
        m.submodules.extender = extender = Extender()
        m.submodules.multiplier = multiplier = Multiplier()
        m.submodules.condition = condition = Condition()
        by_register = op.alu == Alu.SHIFT
        of_rn = by_register | (op.alu == Alu.BITFIELD)
        m.d.comb += [
            shifter.value.eq(Mux(of_rn, self.n, self.m)),
            shifter.amount.eq(Mux(by_register, self.m[:6], op.amount)),
            shifter.shift.eq(op.shift),
            shifter.sf.eq(op.sf),
            extender.value.eq(self.m),
            extender.option.eq(op.option),
            extender.amount.eq(op.amount),
            multiplier.operation.eq(op),
            multiplier.n.eq(self.n),
            multiplier.m.eq(self.m),
            multiplier.a.eq(self.a),
            condition.condition.eq(op.condition),
            condition.nzcv.eq(self.nzcv),
        ]
        with m.Switch(op.operand2):
            with m.Case(Operand2.IMMEDIATE):
                m.d.comb += self.operand2.eq(op.immediate)
            with m.Case(Operand2.SHIFTED):
                m.d.comb += self.operand2.eq(shifter.result)
            with m.Case(Operand2.EXTENDED):
                m.d.comb += self.operand2.eq(extender.result)

        wide = Signal(64)  # of a 32-bit operation, the low half counts
        self._alu(m, wide, shifter, condition)
        with m.Switch(op.group):
            with m.Case(Group.MULTIPLY):
                m.d.comb += wide.eq(multiplier.result)
            with m.Case(Group.BRANCH):
                m.d.comb += wide.eq(self.pc + 4)
        narrow = ~op.sf & (op.group != Group.BRANCH)
        narrow &= (op.alu != Alu.ADDRESS) & (op.alu != Alu.PAGE)
        m.d.comb += self.result.eq(Mux(narrow, wide[:32], wide))
        self._branch(m, condition)
        return m

    def _alu(self, m, wide, shifter, condition):
        op = self.operation
        y = Signal(64)
        m.d.comb += y.eq(Mux(op.invert, ~self.operand2, self.operand2))
        adder = self._adder(m, y)
        flags = Signal(NZCV)
        sign, zero = Mux(op.sf, wide[63], wide[31]), ~Mux(op.sf, wide, wide[:32]).any()
        m.d.comb += [flags.n.eq(sign), flags.z.eq(zero), self.nzcv_after.eq(flags)]

        m.submodules.zeros = zeros = LeadingZeros()
        with m.Switch(op.alu):
            with m.Case(Alu.ADD, Alu.COMPARE):
                m.d.comb += [wide.eq(adder.sum), flags.c.eq(adder.c), flags.v.eq(adder.v)]
            with m.Case(Alu.AND):
                m.d.comb += wide.eq(self.n & y)
            with m.Case(Alu.ORR):
                m.d.comb += wide.eq(self.n | y)
            with m.Case(Alu.EOR):
                m.d.comb += wide.eq(self.n ^ y)
            with m.Case(Alu.MOVE_KEEP):
                m.d.comb += wide.eq((self.a & ~op.tmask) | op.immediate)
            with m.Case(Alu.BITFIELD):
                bottom = (self.a & ~op.immediate) | (shifter.result & op.immediate)
                signs = self.n.bit_select(op.position, 1).replicate(64)
                top = Mux(op.extends, signs, self.a)
                m.d.comb += wide.eq((top & ~op.tmask) | (bottom & op.tmask))
            with m.Case(Alu.EXTRACT):
                pair = Mux(op.sf, Cat(self.m, self.n), Cat(self.m[:32], self.n[:32]))
                m.d.comb += wide.eq(pair >> op.position)
            with m.Case(Alu.SELECT):
                m.d.comb += wide.eq(Mux(condition.holds, self.n, y + op.increment))
            with m.Case(Alu.SHIFT):
                m.d.comb += wide.eq(shifter.result)
            with m.Case(Alu.REVERSE_BITS):
                m.d.comb += wide.eq(Mux(op.sf, self.n[::-1], self.n[:32][::-1]))
            with m.Case(Alu.REVERSE_BYTES):
                m.d.comb += wide.eq(self._bytes_reversed(m))
            with m.Case(Alu.COUNT_ZEROS, Alu.COUNT_SIGNS):
                m.d.comb += wide.eq(zeros.count)
            with m.Case(Alu.ADDRESS):
                m.d.comb += wide.eq(self.pc + op.immediate)
            with m.Case(Alu.PAGE):
                m.d.comb += wide.eq(Cat(Const(0, 12), self.pc[12:]) + op.immediate)
        with m.If((op.alu == Alu.COMPARE) & ~condition.holds):
            m.d.comb += self.nzcv_after.eq(op.flags)
        # The value from bit 63 down; below it a 1, so that no more is counted than it has bits.
        signs = self.n[1:] ^ self.n[:63]
        with m.If(op.alu == Alu.COUNT_SIGNS):
            of_32 = Cat(Const(-1, 33).as_unsigned(), signs[:31])
            m.d.comb += zeros.value.eq(Mux(op.sf, Cat(Const(1, 1), signs), of_32))
        with m.Else():
            of_32 = Cat(Const(-1, 32).as_unsigned(), self.n[:32])
            m.d.comb += zeros.value.eq(Mux(op.sf, self.n, of_32))

    def _adder(self, m, y):
        """AddWithCarry of 64 or 32 bits."""
        op = self.operation
        adder = Signal(data.StructLayout({"sum": 64, "c": 1, "v": 1}))
        carry = Mux(op.carry_flag, self.nzcv.c, op.carry)
        total = Signal(65)
        m.d.comb += total.eq(self.n + y + carry)
        half = Signal(33)
        m.d.comb += half.eq(self.n[:32] + y[:32] + carry)
        with m.If(op.sf):
            m.d.comb += [
                adder.sum.eq(total),
                adder.c.eq(total[64]),
                adder.v.eq((self.n[63] == y[63]) & (total[63] != y[63])),
            ]
        with m.Else():
            m.d.comb += [
                adder.sum.eq(half[:32]),
                adder.c.eq(half[32]),
                adder.v.eq((self.n[31] == y[31]) & (half[31] != y[31])),
            ]
        return adder

    def _bytes_reversed(self, m) -> Value:
        """REV16, REV32, REV64: the bytes of each 2, 4 or 8 turned round."""
        result = Signal(64)
        with m.Switch(self.operation.reverse):
            for log2 in (1, 2, 3):
                size = 1 << log2
                with m.Case(log2):
                    places = [self.n.word_select(at ^ (size - 1), 8) for at in range(8)]
                    m.d.comb += result.eq(Cat(*places))
        return result

    def _branch(self, m, condition):
        op = self.operation
        register = Mux(op.sf, self.a, self.a[:32])
        with m.If(op.group == Group.BRANCH), m.Switch(op.branch):
            with m.Case(Branch.ALWAYS):
                m.d.comb += self.taken.eq(1)
            with m.Case(Branch.CONDITION):
                m.d.comb += self.taken.eq(condition.holds)
            with m.Case(Branch.COMPARE):
                m.d.comb += self.taken.eq(register.any() == op.nonzero)
            with m.Case(Branch.TEST):
                m.d.comb += self.taken.eq(self.a.bit_select(op.bit, 1) == op.nonzero)
        m.d.comb += self.target.eq(Mux(op.to_register, self.n, self.pc + op.immediate))
