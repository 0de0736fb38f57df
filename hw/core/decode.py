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
        "imms": data.Field(6, 10),  # and imm6
        "imm3": data.Field(3, 10),
        "imm12": data.Field(12, 10),
        "S": data.Field(1, 12),
        "cond": data.Field(4, 12),
        "imm9": data.Field(9, 12),
        "option": data.Field(3, 13),
        "imm7": data.Field(7, 15),
        "Rm": data.Field(5, 16),  # and Rs, imm5
        "immr": data.Field(6, 16),
        "b40": data.Field(5, 19),
        "sysreg": data.Field(15, 5),
        "hw": data.Field(2, 21),
        "opc": data.Field(2, 22),  # and shift
        "imm26": data.Field(26, 0),
        "immhi": data.Field(19, 5),
        "immlo": data.Field(2, 29),
        "N": data.Field(1, 22),
        "sh": data.Field(1, 22),
        "size": data.Field(2, 30),
        "sf": data.Field(1, 31),
        "b5": data.Field(1, 31),
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
        with m.Switch(self.length):
            for length in range(1, 7):
                with m.Case(length):
                    size = 1 << length
                    s, r = self.imms[:length], self.immr[:length]
                    diff = (s - r)[:length]
                    element = self._ones(s, size)
                    rotated = (Cat(element, element) >> r)[:size]
                    m.d.comb += [
                        self.wmask.eq(rotated.replicate(64 // size)),
                        self.tmask.eq(self._ones(diff, size).replicate(64 // size)),
                        self.ones.eq(s == size - 1),
                    ]
        return m

    @staticmethod
    def _ones(count: Value, size: int) -> Value:
        """`count` + 1 ones in `size` bits."""
        return (((Const(2, size + 1) << count) - 1)[:size]).as_unsigned()


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
        _loads_stores(made, word)
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
        """What a word of an encoding is: its group, when it is reserved, and other fields."""
        bits = pattern(diagram)
        values = [getattr(self.op, name).eq(value) for name, value in fields.items()]
        values += [self.found.eq(group), self.reserved.eq(reserved)]
        # B and BL leave one of the part's bits open.
        for part in sorted({bits[3:7].replace("-", bit) for bit in "01"}):
            self.parts.setdefault(part, []).append((bits, values))


def _immediates(made: _Maker, word: Any, masks: BitMasks) -> None:
    """Data processing (immediate)."""
    address = Cat(word.immlo, word.immhi).as_signed()
    to_rd = {"writes_rd": 1}
    made.row(
        "0 immlo:2 10000 immhi:19 Rd:5", Group.ALU, alu=Alu.ADDRESS, immediate=address, **to_rd
    )
    page = {"alu": Alu.PAGE, "immediate": Cat(Const(0, 12), address).as_signed()}
    made.row("1 immlo:2 10000 immhi:19 Rd:5", Group.ALU, **page, **to_rd)

    imm12 = Mux(word.sh, Cat(Const(0, 12), word.imm12), word.imm12)
    for subtract in (0, 1):
        for flags in (0, 1):
            made.row(
                f"sf {subtract} {flags} 100010 sh imm12:12 Rn:5 Rd:5",
                Group.ALU,
                alu=Alu.ADD,
                immediate=imm12,
                invert=subtract,
                carry=subtract,
                sets_flags=flags,
                rn_sp=1,
                rd_sp=1 - flags,
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

    outside = ~word.sf & (word.imms[5] | word.immr[5])
    for opc, (extends, keeps) in enumerate(((1, 0), (0, 1), (0, 0))):  # SBFM, BFM, UBFM
        made.row(
            f"sf {opc:02b} 100110 N immr:6 imms:6 Rn:5 Rd:5",
            Group.ALU,
            reserved=(word.sf ^ word.N) | outside,
            timing=TimingClass.BITFIELD,
            alu=Alu.BITFIELD,
            immediate=masks.wmask,
            amount=word.immr,
            shift=0b11,
            extends=extends,
            ra=word.Rd if keeps else Const(31, 5),
            **to_rd,
        )
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
        for invert in (0, 1):
            made.row(
                f"sf {opc:02b} 01010 shift:2 {invert} Rm:5 imm6:6 Rn:5 Rd:5",
                Group.ALU,
                reserved=too_far,
                alu=alu,
                invert=invert,
                sets_flags=flags,
                **shifted,
            )
    for subtract in (0, 1):
        for flags in (0, 1):
            add = {"alu": Alu.ADD, "invert": subtract, "sets_flags": flags}
            made.row(
                f"sf {subtract} {flags} 01011 shift:2 0 Rm:5 imm6:6 Rn:5 Rd:5",
                Group.ALU,
                reserved=too_far | (word.opc == 0b11),
                carry=subtract,
                **add,
                **shifted,
            )
            made.row(
                f"sf {subtract} {flags} 01011 00 1 Rm:5 option:3 imm3:3 Rn:5 Rd:5",
                Group.ALU,
                reserved=word.imm3 > 4,
                timing=TimingClass.ALU_SHIFTED,
                operand2=Operand2.EXTENDED,
                amount=word.imm3,
                carry=subtract,
                rn_sp=1,
                rd_sp=1 - flags,
                writes_rd=1,
                **add,
            )
            made.row(
                f"sf {subtract} {flags} 11010000 Rm:5 000000 Rn:5 Rd:5",
                Group.ALU,
                operand2=Operand2.SHIFTED,
                shift=0,
                carry_flag=1,
                writes_rd=1,
                **add,
            )

    for op in (0, 1):
        # CCMN adds, CCMP subtracts.
        compare = {"alu": Alu.COMPARE, "invert": op, "carry": op, "sets_flags": 1}
        made.row(
            f"sf {op} 1 11010010 Rm:5 cond:4 0 0 Rn:5 0 nzcv:4",
            Group.ALU,
            operand2=Operand2.SHIFTED,
            shift=0,
            amount=0,
            **compare,
        )
        made.row(
            f"sf {op} 1 11010010 imm5:5 cond:4 1 0 Rn:5 0 nzcv:4",
            Group.ALU,
            immediate=word.Rm,
            **compare,
        )
        for increment in (0, 1):
            made.row(
                f"sf {op} 0 11010100 Rm:5 cond:4 0 {increment} Rn:5 Rd:5",
                Group.ALU,
                alu=Alu.SELECT,
                operand2=Operand2.SHIFTED,
                shift=0,
                amount=0,
                invert=op,
                increment=increment,
                writes_rd=1,
            )

    for shift in range(4):
        made.row(
            f"sf 0 0 11010110 Rm:5 0010 {shift:02b} Rn:5 Rd:5",
            Group.ALU,
            alu=Alu.SHIFT,
            shift=shift,
            writes_rd=1,
        )
    one_source = "sf 1 0 11010110 00000 {} Rn:5 Rd:5"
    bits = {"alu": Alu.REVERSE_BITS, "timing": TimingClass.BITFIELD, "writes_rd": 1}
    made.row(one_source.format("000000"), Group.ALU, **bits)
    swap = {"alu": Alu.REVERSE_BYTES, "writes_rd": 1}
    made.row(one_source.format("000001"), Group.ALU, reverse=1, **swap)
    made.row(one_source.format("000010"), Group.ALU, reverse=2, **swap)
    made.row("1 1 0 11010110 00000 000011 Rn:5 Rd:5", Group.ALU, reverse=3, **swap)
    made.row(one_source.format("000100"), Group.ALU, alu=Alu.COUNT_ZEROS, writes_rd=1)
    made.row(one_source.format("000101"), Group.ALU, alu=Alu.COUNT_SIGNS, writes_rd=1)


def _multiplies(made: _Maker, word: Any) -> None:
    timing = Mux(word.sf, TimingClass.MULTIPLY_64, TimingClass.MULTIPLY_32)
    for subtract in (0, 1):
        made.row(
            f"sf 00 11011 000 Rm:5 {subtract} Ra:5 Rn:5 Rd:5",
            Group.MULTIPLY,
            timing=timing,
            invert=subtract,
            writes_rd=1,
        )
        for unsigned in (0, 1):
            made.row(
                f"1 00 11011 {unsigned} 01 Rm:5 {subtract} Ra:5 Rn:5 Rd:5",
                Group.MULTIPLY,
                timing=TimingClass.MULTIPLY_32,
                invert=subtract,
                long=1,
                signed=1 - unsigned,
                writes_rd=1,
            )
    for unsigned in (0, 1):
        made.row(
            f"1 00 11011 {unsigned} 10 Rm:5 0 11111 Rn:5 Rd:5",
            Group.MULTIPLY,
            timing=TimingClass.MULTIPLY_HIGH,
            high=1,
            signed=1 - unsigned,
            writes_rd=1,
        )
    divide = Mux(word.sf, TimingClass.DIVIDE_64, TimingClass.DIVIDE_32)
    for signed in (0, 1):
        made.row(
            f"sf 0 0 11010110 Rm:5 00001 {signed} Rn:5 Rd:5",
            Group.DIVIDE,
            timing=divide,
            signed=signed,
            writes_rd=1,
        )


def _branches(made: _Maker, word: Any) -> None:
    def words(offset: Any) -> Value:
        return Cat(Const(0, 2), offset).as_signed()

    link = {"rd": 30, "writes_rd": 1}
    always = {"branch": Branch.ALWAYS, "timing": TimingClass.BRANCH_NOT_TAKEN}
    made.row("0 00101 imm26:26", Group.BRANCH, immediate=words(word.imm26), **always)
    made.row("1 00101 imm26:26", Group.BRANCH, immediate=words(word.imm26), **always, **link)
    register = "1101011 0 0 {} 11111 0000 00 Rn:5 00000"
    made.row(register.format("00"), Group.BRANCH, to_register=1, **always)
    made.row(register.format("01"), Group.BRANCH, to_register=1, **always, **link)
    made.row(register.format("10"), Group.BRANCH, to_register=1, **always)
    made.row(
        "01010100 imm19:19 0 cond:4",
        Group.BRANCH,
        branch=Branch.CONDITION,
        timing=TimingClass.BRANCH_NOT_TAKEN,
        condition=word.branch_cond,
        immediate=words(word.imm19),
    )
    for nonzero in (0, 1):
        made.row(
            f"sf 011010 {nonzero} imm19:19 Rt:5",
            Group.BRANCH,
            branch=Branch.COMPARE,
            timing=TimingClass.BRANCH_NOT_TAKEN,
            nonzero=nonzero,
            ra=word.Rd,
            immediate=words(word.imm19),
        )
        made.row(
            f"b5 011011 {nonzero} b40:5 imm14:14 Rt:5",
            Group.BRANCH,
            branch=Branch.TEST,
            timing=TimingClass.BRANCH_NOT_TAKEN,
            nonzero=nonzero,
            ra=word.Rd,
            immediate=words(word.imm14),
        )


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
    made.row(hint.format("---- ---"), Group.NOP, **timing)  # what is not one of those before
    barrier = "1101010100 0 00 011 0011 CRm:4 {} 11111"
    made.row(barrier.format("010"), Group.CLREX, **timing)
    made.row(barrier.format("100"), Group.BARRIER, timing=TimingClass.BARRIER)
    made.row(barrier.format("101"), Group.BARRIER, timing=TimingClass.BARRIER)
    made.row(barrier.format("110"), Group.ISB, timing=TimingClass.ISB)


def _loads_stores(made: _Maker, word: Any) -> None:
    _exclusives(made, word)
    _literals(made, word)
    _pairs(made, word)
    for size, opc, access in _accesses():
        _one_register(made, word, f"{size} 111 0", opc, access)
    _one_prefetch(made, word)


def _moves(store: int, rt: Any) -> dict[str, Any]:
    """What loads and stores of one or two registers share."""
    timing = TimingClass.STORE if store else TimingClass.LOAD
    return {"store": store, "writes_rd": 1 - store, "ra": rt, "rn_sp": 1, "timing": timing}


def _exclusives(made: _Maker, word: Any) -> None:
    """Exclusive and ordered accesses."""
    for ordered in (0, 1):
        load = {**_moves(0, word.Rd), "exclusive": 1, "ordered": ordered}
        # The status register is written; it may be none that the instruction uses.
        used = (word.Rm == word.Rd) | ((word.Rm == word.Rn) & (word.Rn != 31))
        store = {**_moves(1, word.Rd), "exclusive": 1, "ordered": ordered}
        store |= {"rd": word.Rm, "writes_rd": 1, "timing": TimingClass.STORE_EXCLUSIVE}
        one = f"size:2 001000 0 {{}} 0 {{}} {ordered} 11111 Rn:5 Rt:5"
        wide = word.size == 0b11
        made.row(one.format(0, "Rs:5"), Group.MEMORY, used, wide=wide, **store)
        made.row(one.format(1, "11111"), Group.MEMORY, wide=wide, **load)
        two = f"1 sz 001000 0 {{}} 1 {{}} {ordered} Rt2:5 Rn:5 Rt:5"
        pair = {"pair": 1, "rm": word.Ra, "wide": wide}
        used_2 = used | (word.Rm == word.Ra)
        made.row(two.format(0, "Rs:5"), Group.MEMORY, used_2, **pair, **store)
        made.row(two.format(1, "11111"), Group.MEMORY, word.Rd == word.Ra, **pair, **load)
    ordered_only = "size:2 001000 1 {} 0 11111 1 11111 Rn:5 Rt:5"
    wide = word.size == 0b11
    release = {**_moves(1, word.Rd), "timing": TimingClass.STORE_RELEASE}
    made.row(ordered_only.format(0), Group.MEMORY, ordered=1, wide=wide, **release)
    made.row(ordered_only.format(1), Group.MEMORY, ordered=1, wide=wide, **_moves(0, word.Rd))


def _literals(made: _Maker, word: Any) -> None:
    literal = {
        "literal": 1,
        "writes_rd": 1,
        "timing": TimingClass.LOAD,
        "immediate": Cat(Const(0, 2), word.imm19).as_signed(),
    }
    made.row("00 011 0 00 imm19:19 Rt:5", Group.MEMORY, size=2, wide=0, **literal)
    made.row("01 011 0 00 imm19:19 Rt:5", Group.MEMORY, size=3, wide=1, **literal)
    made.row("10 011 0 00 imm19:19 Rt:5", Group.MEMORY, size=2, wide=1, signed=1, **literal)
    made.row("11 011 0 00 imm19:19 Rt:5", Group.PREFETCH, timing=TimingClass.HINT)


#: Bits 25:23 of a pair to (writeback, post-index).
_PAIR_MODES = {"000": (0, 0), "001": (1, 1), "010": (0, 0), "011": (1, 0)}


def _pairs(made: _Maker, word: Any) -> None:
    based = (word.Rn != 31) & ((word.Rn == word.Rd) | (word.Rn == word.Ra))
    for opc, size, signed in (("00", 2, 0), ("10", 3, 0), ("01", 2, 1)):
        offset = Cat(Const(0, size), word.imm7).as_signed()
        for mode, (writeback, post_index) in _PAIR_MODES.items():
            for load in (0, 1):
                if signed and (not load or mode == "000"):
                    continue  # there is LDPSW alone
                twice = (word.Rd == word.Ra) if load else 0
                moves = _moves(1 - load, word.Rd)
                if load:
                    moves["timing"] = TimingClass.LOAD_PAIR
                made.row(
                    f"{opc} 101 0 {mode} {load} imm7:7 Rt2:5 Rn:5 Rt:5",
                    Group.MEMORY,
                    reserved=twice | (based if writeback else 0),
                    pair=1,
                    rm=word.Ra,
                    size=size,
                    wide=1 if signed or size == 3 else 0,
                    signed=signed,
                    immediate=offset,
                    writeback=writeback,
                    post_index=post_index,
                    **moves,
                )


def _accesses() -> list[tuple[str, str, dict[str, Any]]]:
    """(size, opc, fields) of the loads and stores of one register."""
    found = []
    for size in range(4):
        wide = int(size == 3)
        found.append((f"{size:02b}", "00", {"store": 1, "wide": wide}))
        found.append((f"{size:02b}", "01", {"store": 0, "wide": wide}))
        if size < 3:
            found.append((f"{size:02b}", "10", {"store": 0, "wide": 1, "signed": 1}))
        if size < 2:
            found.append((f"{size:02b}", "11", {"store": 0, "wide": 0, "signed": 1}))
    return found


def _one_register(made: _Maker, word: Any, head: str, opc: str, access: dict[str, Any]) -> None:
    """A load or store in each addressing mode."""
    fields = {**_moves(access["store"], word.Rd), **access}
    imm9 = word.imm9.as_signed()
    scaled = word.imm12 << word.size
    made.row(f"{head} 01 {opc} imm12:12 Rn:5 Rt:5", Group.MEMORY, immediate=scaled, **fields)
    unscaled = f"{head} 00 {opc} 0 imm9:9 {{}} Rn:5 Rt:5"
    made.row(unscaled.format("00"), Group.MEMORY, immediate=imm9, **fields)
    indexed = {"immediate": imm9, "writeback": 1, **fields}
    based = (word.Rn != 31) & (word.Rn == word.Rd)
    made.row(unscaled.format("01"), Group.MEMORY, based, post_index=1, **indexed)
    made.row(unscaled.format("11"), Group.MEMORY, based, **indexed)
    made.row(
        f"{head} 00 {opc} 1 Rm:5 option:3 S 10 Rn:5 Rt:5",
        Group.MEMORY,
        reserved=~word.option[1],
        operand2=Operand2.EXTENDED,
        amount=Mux(word.S, word.size, 0),
        **fields,
    )


def _one_prefetch(made: _Maker, word: Any) -> None:
    hint = {"timing": TimingClass.HINT}
    made.row("11 111 0 01 10 imm12:12 Rn:5 Rt:5", Group.PREFETCH, **hint)
    made.row("11 111 0 00 10 0 imm9:9 00 Rn:5 Rt:5", Group.PREFETCH, **hint)
    register = "11 111 0 00 10 1 Rm:5 option:3 S 10 Rn:5 Rt:5"
    made.row(register, Group.PREFETCH, reserved=~word.option[1], **hint)
