"""Decode: from a word to what the rest of the core does for it. Combinational.

Source: DDI 0487 C4 (the encodings, drawn as there) and C6. What no diagram matches, and what the
manual reserves or leaves CONSTRAINED UNPREDICTABLE, is UNDEFINED.
"""

from enum import IntEnum
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.core.timing import TimingClass


class Group(IntEnum):
    """Which part of the core an instruction is for."""

    UNDEFINED = 0  #: there is no such instruction
    ALU = 1  #: a result or flags within the cycle
    MULTIPLY = 2
    DIVIDE = 3
    BRANCH = 4
    MEMORY = 5  #: loads and stores
    PREFETCH = 6  #: a hint here
    MRS = 7
    MSR = 8  #: MSR (register)
    DAIFSET = 9
    DAIFCLR = 10
    SPSEL = 11  #: MSR SPSel
    CLREX = 12
    BARRIER = 13  #: DMB, DSB: everything is in order here
    ISB = 14
    NOP = 15  #: and the hints that do nothing here
    WFE = 16
    WFI = 17
    SEV = 18  #: and SEVL
    SVC = 19
    HVC = 20
    SMC = 21
    BRK = 22
    ERET = 23


class Alu(IntEnum):
    """What the ALU does."""

    ADD = 0  #: and subtract
    AND = 1
    ORR = 2
    EOR = 3
    MOVE_KEEP = 4  #: MOVK: the immediate's 16 bits into a register
    BITFIELD = 5
    EXTRACT = 6
    SELECT = 7  #: conditional select
    COMPARE = 8  #: conditional compare
    SHIFT = 9  #: by a register
    REVERSE_BITS = 10
    REVERSE_BYTES = 11
    COUNT_ZEROS = 12  #: CLZ
    COUNT_SIGNS = 13  #: CLS
    ADDRESS = 14  #: ADR
    PAGE = 15  #: ADRP


class Operand2(IntEnum):
    """Where the second operand comes from."""

    IMMEDIATE = 0
    SHIFTED = 1  #: Rm shifted by `amount`
    EXTENDED = 2  #: Rm extended by `option`, then shifted left by `amount`


class Branch(IntEnum):
    """What decides on a branch."""

    ALWAYS = 0
    CONDITION = 1
    COMPARE = 2  #: whether Rt is 0
    TEST = 3  #: a bit of Rt


class Operation(data.Struct):
    """An instruction, decoded. Fields that its group does not use mean nothing."""

    group: Group
    timing: TimingClass  # of the instruction where it completes; a branch: where it is not taken
    # registers: 31 is XZR unless said
    rd: 5  # written: Rd, Rt of a load, Rs of a store-exclusive, 30 of BL and BLR
    rn: 5
    rm: 5  # Rm; Rt2 of a pair
    ra: 5  # Ra; Rd where it is also read; Rt of a store, a compare and branch, MSR
    writes_rd: 1
    rn_sp: 1  # 31 is SP
    rd_sp: 1
    sf: 1  # registers of 64 bits
    immediate: 64  # operand or offset; of a bitfield wmask
    tmask: 64  # of a bitfield; of MOVK: the bits that change
    # ALU
    alu: Alu
    operand2: Operand2
    shift: 2  # LSL, LSR, ASR, ROR
    amount: 6
    option: 3  # UXTB to SXTX
    invert: 1  # the second operand is inverted (of a subtraction, too)
    carry: 1  # goes into an addition ...
    carry_flag: 1  # ... or C does
    sets_flags: 1
    condition: 4
    flags: 4  # NZCV of a conditional compare that does not compare
    increment: 1  # of what conditional select takes if the condition fails
    position: 6  # imms: of a bitfield's sign, of an extract
    extends: 1  # SBFM
    reverse: 2  # log2 of the bytes turned round
    # multiply and divide
    signed: 1  # of a load: sign-extending
    long: 1  # 32 bits by 32
    high: 1  # the upper half of the product
    # branch
    branch: Branch
    nonzero: 1  # CBNZ, TBNZ
    bit: 6  # of TBZ, TBNZ
    to_register: 1  # the target is Rn
    # memory
    store: 1
    size: 2  # log2 of the bytes of one register
    wide: 1  # the register is used as 64 bits
    pair: 1
    literal: 1  # the base is the PC
    writeback: 1
    post_index: 1
    exclusive: 1
    ordered: 1  # LDAR, STLR; with exclusive: acquire, release
    # system
    sysreg: 15  # model.arch.SysReg.number
    imm16: 16
    crm: 4


#: The fields of a word, by the manual's names. Those of one place are given once.
WORD = data.FlexibleLayout(
    32,
    {
        "Rd": data.Field(5, 0),
        "nzcv": data.Field(4, 0),
        "Rn": data.Field(5, 5),
        "imm16": data.Field(16, 5),
        "imm19": data.Field(19, 5),
        "imm14": data.Field(14, 5),
        "crm": data.Field(4, 8),
        "Ra": data.Field(5, 10),  # and Rt2
        "o1": data.Field(1, 10),
        "o2": data.Field(1, 10),
        "op2": data.Field(2, 10),
        "imms": data.Field(6, 10),  # and imm6
        "imm3": data.Field(3, 10),
        "imm12": data.Field(12, 10),
        "scaled": data.Field(1, 12),  # the S of a register offset
        "cond": data.Field(4, 12),
        "imm9": data.Field(9, 12),
        "option": data.Field(3, 13),
        "o0": data.Field(1, 15),
        "imm7": data.Field(7, 15),
        "Rm": data.Field(5, 16),  # and Rs, imm5
        "immr": data.Field(6, 16),
        "b40": data.Field(5, 19),
        "sysreg": data.Field(15, 5),
        "inverted": data.Field(1, 21),  # the N of logical (shifted register)
        "hw": data.Field(2, 21),
        "opc": data.Field(2, 22),  # and shift
        "imm26": data.Field(26, 0),
        "immhi": data.Field(19, 5),
        "immlo": data.Field(2, 29),
        "N": data.Field(1, 22),
        "sh": data.Field(1, 22),
        "U": data.Field(1, 23),
        "nonzero": data.Field(1, 24),  # the op of compare and branch, test and branch
        "S": data.Field(1, 29),
        "op": data.Field(1, 30),
        "size": data.Field(2, 30),
        "sf": data.Field(1, 31),
        "b5": data.Field(1, 31),
        "links": data.Field(1, 31),  # the op of B and BL
        "branch_cond": data.Field(4, 0),
    },
)


def pattern(diagram: str) -> str:
    """An encoding as `m.Case` takes it: `sf 0 0 100010 sh imm12:12 Rn:5 Rd:5`, bit 31 first."""
    bits = ""
    for token in diagram.split():
        fixed = set(token) <= set("01-")
        bits += token if fixed else "-" * int(token.partition(":")[2] or 1)
    if len(bits) != 32:
        raise ValueError(f"{diagram}: {len(bits)} bits")
    return bits


class BitMasks(wiring.Component):
    """DecodeBitMasks: the masks of logical immediates and bitfields."""

    N: In(1)
    imms: In(6)
    immr: In(6)

    wmask: Out(64)
    tmask: Out(64)
    ones: Out(1)  # the element is all ones: no logical immediate
    length: Out(3)  # log2 of the element's bits; 0: there is no such mask

    def elaborate(self, platform):
        m = Module()
        levels = Cat(~self.imms, self.N)
        for length in range(1, 7):
            with m.If(levels[length]):
                m.d.comb += self.length.eq(length)
        # S, R and S - R of the manual, and runs of ones from bit 0 up
        s, r, diff = Signal(6), Signal(6), Signal(6)
        run, tail = Signal(64), Signal(64)
        repeated = Signal(64)
        m.d.comb += [run.eq(self._ones(s)), tail.eq(self._ones(diff))]
        with m.Switch(self.length):
            for length in range(1, 7):
                size = 1 << length
                with m.Case(length):
                    m.d.comb += [
                        s.eq(self.imms[:length]),
                        r.eq(self.immr[:length]),
                        diff.eq((self.imms - self.immr)[:length]),
                        repeated.eq(run[:size].replicate(64 // size)),
                        self.tmask.eq(tail[:size].replicate(64 // size)),
                        self.ones.eq(s == size - 1),
                    ]
        # To turn each element is to turn all of them.
        m.d.comb += self.wmask.eq((Cat(repeated, repeated) >> r)[:64])
        return m

    @staticmethod
    def _ones(count: Value) -> Value:
        """`count` + 1 ones in 64 bits."""
        return ~(Const(-2, 64) << count)[:64]


class Decoder(wiring.Component):
    """The Operation of a word."""

    word: In(32)
    operation: Out(Operation)

    def elaborate(self, platform):
        m = Module()
        word, op = data.View(WORD, self.word), self.operation
        m.submodules.masks = masks = BitMasks()
        m.d.comb += [masks.N.eq(word.N), masks.imms.eq(word.imms), masks.immr.eq(word.immr)]
        reserved = Signal()
        found = Signal(Group)
        m.d.comb += [
            op.group.eq(Mux(reserved, Group.UNDEFINED, found)),
            op.rd.eq(word.Rd),
            op.rn.eq(word.Rn),
            op.rm.eq(word.Rm),
            op.ra.eq(word.Ra),
            op.sf.eq(word.sf),
            op.shift.eq(word.opc),
            op.amount.eq(word.imms),
            op.option.eq(word.option),
            op.condition.eq(word.cond),
            op.flags.eq(word.nzcv),
            op.position.eq(word.imms),
            op.tmask.eq(masks.tmask),
            op.wide.eq(1),
            op.size.eq(word.size),
            op.sysreg.eq(word.sysreg),
            op.imm16.eq(word.imm16),
            op.crm.eq(word.crm),
            op.bit.eq(Cat(word.b40, word.b5)),
        ]
        made = _Maker(op, found, reserved)
        _immediates(made, word, masks)
        _registers(made, word)
        _multiplies(made, word)
        _branches(made, word)
        _system(made, word)
        _exclusives(made, word)
        _literals(made, word)
        _pairs(made, word)
        _one_register(made, word)
        # By the part of the encoding space first, bits 28:25: Yosys takes a switch apart in a time
        # that grows out of hand with the patterns in it.
        with m.Switch(self.word[25:29]):
            for part, rows in made.parts.items():
                with m.Case(part), m.Switch(self.word):
                    for bits, values in rows:
                        with m.Case(bits):
                            m.d.comb += values
        return m


class _Maker:
    """Collects the encodings of a decoder."""

    def __init__(self, op: Any, found: Signal, reserved: Signal):
        self.op, self.found, self.reserved = op, found, reserved
        #: bits 28:25 of a word to the encodings there: (pattern, assignments)
        self.parts: dict[str, list[tuple[str, list[Any]]]] = {}

    def row(self, diagram: str, group: Group, reserved: Any = 0, **fields: Any) -> None:
        """What a word of an encoding is: its group, when it is reserved, and other fields.

        Where encodings overlap, the first is meant.
        """
        bits = pattern(diagram)
        values = [getattr(self.op, name).eq(value) for name, value in fields.items()]
        values += [self.found.eq(group), self.reserved.eq(reserved)]
        # B and BL leave one of the part's bits open.
        for part in sorted({bits[3:7].replace("-", bit) for bit in "01"}):
            self.parts.setdefault(part, []).append((bits, values))


def _immediates(made: _Maker, word: Any, masks: BitMasks) -> None:
    """Data processing (immediate)."""
    address = Cat(word.immlo, word.immhi).as_signed()
    page = Cat(Const(0, 12), address).as_signed()
    to_rd = {"writes_rd": 1}
    relative = "{} immlo:2 10000 immhi:19 Rd:5"
    made.row(relative.format(0), Group.ALU, alu=Alu.ADDRESS, immediate=address, **to_rd)
    made.row(relative.format(1), Group.ALU, alu=Alu.PAGE, immediate=page, **to_rd)

    made.row(
        "sf op S 100010 sh imm12:12 Rn:5 Rd:5",
        Group.ALU,
        alu=Alu.ADD,
        immediate=Mux(word.sh, Cat(Const(0, 12), word.imm12), word.imm12),
        invert=word.op,
        carry=word.op,
        sets_flags=word.S,
        rn_sp=1,
        rd_sp=~word.S,
        **to_rd,
    )
    too_wide = ~word.sf & (masks.length == 6)
    for opc, (alu, flags) in enumerate(_LOGICAL):
        made.row(
            f"sf {opc:02b} 100100 N immr:6 imms:6 Rn:5 Rd:5",
            Group.ALU,
            reserved=(masks.length == 0) | masks.ones | too_wide,
            alu=alu,
            immediate=masks.wmask,
            sets_flags=flags,
            rd_sp=1 - flags,
            **to_rd,
        )

    wide = word.imm16 << Cat(Const(0, 4), word.hw)
    above = ~word.sf & word.hw[1]
    # ORR of XZR with the immediate or its complement
    move = {"alu": Alu.ORR, "rn": 31, "immediate": wide, **to_rd}
    made.row("sf 00 100101 hw:2 imm16:16 Rd:5", Group.ALU, above, invert=1, **move)
    made.row("sf 10 100101 hw:2 imm16:16 Rd:5", Group.ALU, above, **move)
    changed = Const(0xFFFF, 16) << Cat(Const(0, 4), word.hw)
    keep = {"alu": Alu.MOVE_KEEP, "ra": word.Rd, "immediate": wide, "tmask": changed}
    made.row("sf 11 100101 hw:2 imm16:16 Rd:5", Group.ALU, above, **keep, **to_rd)

    bitfield = {
        "reserved": (word.sf ^ word.N) | (~word.sf & (word.imms[5] | word.immr[5])),
        "timing": TimingClass.BITFIELD,
        "alu": Alu.BITFIELD,
        "immediate": masks.wmask,
        "amount": word.immr,
        "shift": 0b11,
    }
    rest = "100110 N immr:6 imms:6 Rn:5 Rd:5"
    made.row(f"sf 00 {rest}", Group.ALU, extends=1, ra=31, **bitfield, **to_rd)  # SBFM
    made.row(f"sf 01 {rest}", Group.ALU, ra=word.Rd, **bitfield, **to_rd)  # BFM
    made.row(f"sf 10 {rest}", Group.ALU, ra=31, **bitfield, **to_rd)  # UBFM
    made.row(
        "sf 00 100111 N 0 Rm:5 imms:6 Rn:5 Rd:5",
        Group.ALU,
        reserved=(word.sf ^ word.N) | (~word.sf & word.imms[5]),
        timing=TimingClass.BITFIELD,
        alu=Alu.EXTRACT,
        **to_rd,
    )


#: By opc of the logical encodings: AND, ORR, EOR, ANDS.
_LOGICAL = ((Alu.AND, 0), (Alu.ORR, 0), (Alu.EOR, 0), (Alu.AND, 1))


def _registers(made: _Maker, word: Any) -> None:
    """Data processing (register), but for the multiplies and divides."""
    too_far = ~word.sf & word.imms[5]
    shifted = {
        "operand2": Operand2.SHIFTED,
        "timing": Mux(word.imms.any(), TimingClass.ALU_SHIFTED, TimingClass.ALU),
        "writes_rd": 1,
    }
    for opc, (alu, flags) in enumerate(_LOGICAL):
        made.row(
            f"sf {opc:02b} 01010 shift:2 N Rm:5 imm6:6 Rn:5 Rd:5",
            Group.ALU,
            reserved=too_far,
            alu=alu,
            invert=word.inverted,
            sets_flags=flags,
            **shifted,
        )
    add = {"alu": Alu.ADD, "invert": word.op, "sets_flags": word.S}
    made.row(
        "sf op S 01011 shift:2 0 Rm:5 imm6:6 Rn:5 Rd:5",
        Group.ALU,
        reserved=too_far | (word.opc == 0b11),
        carry=word.op,
        **add,
        **shifted,
    )
    made.row(
        "sf op S 01011 00 1 Rm:5 option:3 imm3:3 Rn:5 Rd:5",
        Group.ALU,
        reserved=word.imm3 > 4,
        timing=TimingClass.ALU_SHIFTED,
        operand2=Operand2.EXTENDED,
        amount=word.imm3,
        carry=word.op,
        rn_sp=1,
        rd_sp=~word.S,
        writes_rd=1,
        **add,
    )
    # Rm as it is: shifted by 0
    plain = {"operand2": Operand2.SHIFTED, "shift": 0, "amount": 0}
    made.row(
        "sf op S 11010000 Rm:5 000000 Rn:5 Rd:5",
        Group.ALU,
        carry_flag=1,
        writes_rd=1,
        **add,
        **plain,
    )
    # CCMN adds, CCMP subtracts.
    compare = {"alu": Alu.COMPARE, "invert": word.op, "carry": word.op, "sets_flags": 1}
    to_compare = "sf op 1 11010010 {}:5 cond:4 {} 0 Rn:5 0 nzcv:4"
    made.row(to_compare.format("Rm", 0), Group.ALU, **compare, **plain)
    made.row(to_compare.format("imm5", 1), Group.ALU, immediate=word.Rm, **compare)
    made.row(
        "sf op 0 11010100 Rm:5 cond:4 0 o2 Rn:5 Rd:5",
        Group.ALU,
        alu=Alu.SELECT,
        invert=word.op,
        increment=word.o2,
        writes_rd=1,
        **plain,
    )
    made.row(
        "sf 0 0 11010110 Rm:5 0010 op2:2 Rn:5 Rd:5",
        Group.ALU,
        alu=Alu.SHIFT,
        shift=word.op2,
        writes_rd=1,
    )
    one_source = "{} 1 0 11010110 00000 {} Rn:5 Rd:5"
    bits = {"alu": Alu.REVERSE_BITS, "timing": TimingClass.BITFIELD, "writes_rd": 1}
    made.row(one_source.format("sf", "000000"), Group.ALU, **bits)
    swap = {"alu": Alu.REVERSE_BYTES, "writes_rd": 1}
    made.row(one_source.format("sf", "000001"), Group.ALU, reverse=1, **swap)
    made.row(one_source.format("sf", "000010"), Group.ALU, reverse=2, **swap)
    made.row(one_source.format("1", "000011"), Group.ALU, reverse=3, **swap)
    made.row(one_source.format("sf", "000100"), Group.ALU, alu=Alu.COUNT_ZEROS, writes_rd=1)
    made.row(one_source.format("sf", "000101"), Group.ALU, alu=Alu.COUNT_SIGNS, writes_rd=1)


def _multiplies(made: _Maker, word: Any) -> None:
    """Multiplies and divides."""
    made.row(
        "sf 00 11011 000 Rm:5 o0 Ra:5 Rn:5 Rd:5",
        Group.MULTIPLY,
        timing=Mux(word.sf, TimingClass.MULTIPLY_64, TimingClass.MULTIPLY_32),
        invert=word.o0,
        writes_rd=1,
    )
    made.row(
        "1 00 11011 U 01 Rm:5 o0 Ra:5 Rn:5 Rd:5",
        Group.MULTIPLY,
        timing=TimingClass.MULTIPLY_32,
        invert=word.o0,
        long=1,
        signed=~word.U,
        writes_rd=1,
    )
    made.row(
        "1 00 11011 U 10 Rm:5 0 11111 Rn:5 Rd:5",
        Group.MULTIPLY,
        timing=TimingClass.MULTIPLY_HIGH,
        high=1,
        signed=~word.U,
        writes_rd=1,
    )
    made.row(
        "sf 0 0 11010110 Rm:5 00001 o1 Rn:5 Rd:5",
        Group.DIVIDE,
        timing=Mux(word.sf, TimingClass.DIVIDE_64, TimingClass.DIVIDE_32),
        signed=word.o1,
        writes_rd=1,
    )


def _branches(made: _Maker, word: Any) -> None:
    """Branches. Those with a link write the return address to X30."""

    def to(offset: Any) -> dict[str, Any]:
        """So many words from here."""
        return {
            "immediate": Cat(Const(0, 2), offset).as_signed(),
            "timing": TimingClass.BRANCH_NOT_TAKEN,
        }

    always = {"branch": Branch.ALWAYS}
    direct = {"rd": 30, "writes_rd": word.links, **always, **to(word.imm26)}
    made.row("op 00101 imm26:26", Group.BRANCH, **direct)
    indirect = {"to_register": 1, "timing": TimingClass.BRANCH_NOT_TAKEN, **always}
    register = "1101011 0 0 {} 11111 0000 00 Rn:5 00000"
    made.row(register.format("00"), Group.BRANCH, **indirect)  # BR
    made.row(register.format("01"), Group.BRANCH, rd=30, writes_rd=1, **indirect)  # BLR
    made.row(register.format("10"), Group.BRANCH, **indirect)  # RET
    made.row(
        "01010100 imm19:19 0 cond:4",
        Group.BRANCH,
        branch=Branch.CONDITION,
        condition=word.branch_cond,
        **to(word.imm19),
    )
    zero = {"nonzero": word.nonzero, "ra": word.Rd}
    compare = "sf 011010 op imm19:19 Rt:5"
    made.row(compare, Group.BRANCH, branch=Branch.COMPARE, **zero, **to(word.imm19))
    test = "b5 011011 op b40:5 imm14:14 Rt:5"
    made.row(test, Group.BRANCH, branch=Branch.TEST, **zero, **to(word.imm14))


def _system(made: _Maker, word: Any) -> None:
    """Exceptions, hints, barriers, system registers."""
    call = "11010100 {} imm16:16 {}"
    made.row(call.format("000", "000 01"), Group.SVC)
    made.row(call.format("000", "000 10"), Group.HVC)
    made.row(call.format("000", "000 11"), Group.SMC)
    made.row(call.format("001", "000 00"), Group.BRK)
    made.row("1101011 0 100 11111 0000 00 11111 00000", Group.ERET)

    msr = {"timing": TimingClass.MSR}
    immediate = "1101010100 0 00 {} 0100 CRm:4 {} 11111"
    made.row(immediate.format("011", "110"), Group.DAIFSET, **msr)
    made.row(immediate.format("011", "111"), Group.DAIFCLR, **msr)
    made.row(immediate.format("000", "101"), Group.SPSEL, **msr)
    register = "1101010100 {} 1 o0 op1:3 CRn:4 CRm:4 op2:3 Rt:5"
    made.row(register.format(0), Group.MSR, ra=word.Rd, **msr)
    made.row(register.format(1), Group.MRS, timing=TimingClass.MRS, writes_rd=1)

    hint = "1101010100 0 00 011 0010 {} 11111"
    timing = {"timing": TimingClass.HINT}
    made.row(hint.format("0000 010"), Group.WFE, **timing)
    made.row(hint.format("0000 011"), Group.WFI, **timing)
    made.row(hint.format("0000 10-"), Group.SEV, **timing)
    made.row(hint.format("CRm:4 op2:3"), Group.NOP, **timing)  # what is none of those before
    barrier = "1101010100 0 00 011 0011 CRm:4 {} 11111"
    made.row(barrier.format("010"), Group.CLREX, **timing)
    made.row(barrier.format("100"), Group.BARRIER, timing=TimingClass.BARRIER)  # DSB
    made.row(barrier.format("101"), Group.BARRIER, timing=TimingClass.BARRIER)  # DMB
    made.row(barrier.format("110"), Group.ISB, timing=TimingClass.ISB)


#: What loads share.
_LOAD = {"writes_rd": 1, "rn_sp": 1, "timing": TimingClass.LOAD}


def _store(word: Any) -> dict[str, Any]:
    """What stores share."""
    return {"store": 1, "ra": word.Rd, "rn_sp": 1, "timing": TimingClass.STORE}


def _exclusives(made: _Maker, word: Any) -> None:
    """Exclusive and ordered accesses."""
    store = _store(word)
    wide = {"wide": word.size == 0b11}
    exclusive = {"exclusive": 1, "ordered": word.o0, **wide}
    # The status register is written; it may be none that the instruction uses.
    status = {"rd": word.Rm, "writes_rd": 1, "timing": TimingClass.STORE_EXCLUSIVE}
    used = (word.Rm == word.Rd) | ((word.Rm == word.Rn) & (word.Rn != 31))
    one = "size:2 001000 0 {} 0 {} o0 11111 Rn:5 Rt:5"
    made.row(one.format(0, "Rs:5"), Group.MEMORY, used, **exclusive, **store | status)
    made.row(one.format(1, "11111"), Group.MEMORY, **exclusive, **_LOAD)
    pair = {"pair": 1, "rm": word.Ra, **exclusive}
    used_by_two = used | (word.Rm == word.Ra)
    twice = word.Rd == word.Ra
    two = "1 sz 001000 0 {} 1 {} o0 Rt2:5 Rn:5 Rt:5"
    made.row(two.format(0, "Rs:5"), Group.MEMORY, used_by_two, **pair, **store | status)
    made.row(two.format(1, "11111"), Group.MEMORY, twice, **pair, **_LOAD)
    release = store | {"timing": TimingClass.STORE_RELEASE}
    ordered = "size:2 001000 1 {} 0 11111 1 11111 Rn:5 Rt:5"
    made.row(ordered.format(0), Group.MEMORY, ordered=1, **wide, **release)
    made.row(ordered.format(1), Group.MEMORY, ordered=1, **wide, **_LOAD)


def _literals(made: _Maker, word: Any) -> None:
    """Loads from near the instruction."""
    offset = Cat(Const(0, 2), word.imm19).as_signed()
    literal = {"literal": 1, "immediate": offset, **_LOAD, "rn_sp": 0}
    made.row("00 011 0 00 imm19:19 Rt:5", Group.MEMORY, size=2, wide=0, **literal)
    made.row("01 011 0 00 imm19:19 Rt:5", Group.MEMORY, size=3, wide=1, **literal)
    made.row("10 011 0 00 imm19:19 Rt:5", Group.MEMORY, size=2, wide=1, signed=1, **literal)
    made.row("11 011 0 00 imm19:19 Rt:5", Group.PREFETCH, timing=TimingClass.HINT)


def _pairs(made: _Maker, word: Any) -> None:
    """Pairs. opc (the word's `size`) is 00 for W registers, 10 for X registers, 01 for LDPSW."""
    signed, wide = word.size[0], word.size != 0b00
    fields = {
        "pair": 1,
        "rm": word.Ra,
        "size": Mux(word.size[1], 3, 2),
        "wide": wide,
        "immediate": word.imm7.as_signed() << Mux(word.size[1], 3, 2),
    }
    load = {**_LOAD, "timing": TimingClass.LOAD_PAIR, "signed": signed}
    store = _store(word)
    unknown = word.size == 0b11
    twice = word.Rd == word.Ra
    based = (word.Rn != 31) & ((word.Rn == word.Rd) | (word.Rn == word.Ra))
    for mode, no_such_load, indexing in (
        ("000", signed | twice, {}),  # STNP, LDNP: there is no LDPSW
        ("010", unknown | twice, {}),
        ("001", unknown | twice | based, {"writeback": 1, "post_index": 1}),
        ("011", unknown | twice | based, {"writeback": 1}),
    ):
        no_such_store = signed | (based if indexing else 0)
        diagram = f"opc:2 101 0 {mode} {{}} imm7:7 Rt2:5 Rn:5 Rt:5"
        made.row(diagram.format(0), Group.MEMORY, no_such_store, **fields, **store, **indexing)
        made.row(diagram.format(1), Group.MEMORY, no_such_load, **fields, **load, **indexing)


def _one_register(made: _Maker, word: Any) -> None:
    """Loads and stores of one register, in each addressing mode; PRFM is a load of its own."""
    double = word.size == 0b11
    # opc: what is moved; whether there is no such access
    accesses = (
        ("00", _store(word) | {"wide": double}, 0),
        ("01", _LOAD | {"wide": double}, 0),
        ("10", _LOAD | {"wide": 1, "signed": 1}, double),
        ("11", _LOAD | {"wide": 0, "signed": 1}, word.size[1]),
    )
    based = (word.Rn != 31) & (word.Rn == word.Rd)
    imm9 = word.imm9.as_signed()
    unextended = ~word.option[1]
    by_register = {"operand2": Operand2.EXTENDED, "amount": Mux(word.scaled, word.size, 0)}
    for bits, reserved, has_prefetch, mode in (
        ("01 {} imm12:12", 0, True, {"immediate": word.imm12 << word.size}),
        ("00 {} 0 imm9:9 00", 0, True, {"immediate": imm9}),
        ("00 {} 1 Rm:5 option:3 S 10", unextended, True, by_register),
        ("00 {} 0 imm9:9 01", based, False, {"immediate": imm9, "writeback": 1, "post_index": 1}),
        ("00 {} 0 imm9:9 11", based, False, {"immediate": imm9, "writeback": 1}),
    ):
        rest = f"111 0 {bits} Rn:5 Rt:5"
        if has_prefetch:
            hint = f"11 {rest.format('10')}"
            made.row(hint, Group.PREFETCH, reserved, timing=TimingClass.HINT)
        for opc, fields, unknown in accesses:
            diagram = f"size:2 {rest.format(opc)}"
            made.row(diagram, Group.MEMORY, reserved | unknown, **fields, **mode)
