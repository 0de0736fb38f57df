"""Data processing with immediates and registers (manual C4.1.92, C4.1.94), as rows."""

import operator
from collections.abc import Callable

from model.a64.decode import Operation, Reserved, Row, row
from model.a64.pseudocode import (
    ROR,
    SHIFTS,
    AddWithCarry,
    DecodeBitMasks,
    ExtendReg,
    Ones,
    SignExtend,
    conditions,
    read_slot,
    write_slot,
)
from model.a64.state import MASK64, State

Binary = Callable[[int, int], int]
#: Operands of N bits, which is the last argument, to a result of N bits.
Sized = Callable[[int, int, int], int]


# PC-relative addresses


def adr(immlo: int, immhi: int, Rd: int) -> Operation:
    """ADR: the address of a byte near this instruction."""
    offset = SignExtend(immhi << 2 | immlo, 21)
    d = write_slot(Rd)

    def execute(state: State) -> None:
        state.x[d] = state.pc + offset & MASK64

    return execute


def adrp(immlo: int, immhi: int, Rd: int) -> Operation:
    """ADRP: the address of a 4 KB page near this instruction's."""
    offset = SignExtend(immhi << 2 | immlo, 21) << 12
    d = write_slot(Rd)

    def execute(state: State) -> None:
        state.x[d] = (state.pc & ~0xFFF) + offset & MASK64

    return execute


# Logical


def _logical_result(N: int, result: int) -> int:
    """NZCV after ANDS and BICS of N bits: C and V are 0."""
    return result >> (N - 1) << 3 | (result == 0) << 2


def _logical_immediate(op: Binary) -> Callable[..., Operation]:
    def build(sf: int, N: int, immr: int, imms: int, Rn: int, Rd: int) -> Operation:
        datasize = 64 if sf else 32
        imm, _ = DecodeBitMasks(N, imms, immr, True, datasize)
        mask = Ones(datasize)
        n = read_slot(Rn)

        def execute(state: State) -> None:
            state.x[Rd] = op(state.x[n] & mask, imm)

        return execute

    return build


def ands_immediate(sf: int, N: int, immr: int, imms: int, Rn: int, Rd: int) -> Operation:
    """ANDS (immediate): unlike AND, register 31 is XZR on both sides."""
    datasize = 64 if sf else 32
    imm, _ = DecodeBitMasks(N, imms, immr, True, datasize)
    n, d = read_slot(Rn), write_slot(Rd)

    def execute(state: State) -> None:
        state.x[d] = result = state.x[n] & imm
        state.nzcv = _logical_result(datasize, result)

    return execute


def _check_shift(imm6: int, datasize: int) -> None:
    if imm6 >= datasize:
        raise Reserved(f"shift of 32 bits by {imm6}")


def _logical_shifted(
    op: Binary, invert: bool = False, setflags: bool = False
) -> Callable[..., Operation]:
    def build(sf: int, shift: int, Rm: int, imm6: int, Rn: int, Rd: int) -> Operation:
        datasize = 64 if sf else 32
        _check_shift(imm6, datasize)
        mask = Ones(datasize)
        inversion = mask if invert else 0
        shifted = SHIFTS[shift]
        m, n, d = read_slot(Rm), read_slot(Rn), write_slot(Rd)

        def execute(state: State) -> None:
            operand2 = shifted(state.x[m] & mask, imm6, datasize) ^ inversion
            state.x[d] = result = op(state.x[n] & mask, operand2)
            if setflags:
                state.nzcv = _logical_result(datasize, result)

        return execute

    return build


# Add and subtract: the one is the other with the second operand inverted and a carry in


def _add_immediate(subtract: bool, setflags: bool) -> Callable[..., Operation]:
    def build(sf: int, sh: int, imm12: int, Rn: int, Rd: int) -> Operation:
        datasize = 64 if sf else 32
        mask = Ones(datasize)
        imm = imm12 << 12 if sh else imm12
        operand2 = imm ^ mask if subtract else imm
        d = write_slot(Rd) if setflags else Rd  # ADD and SUB may write SP

        def execute(state: State) -> None:
            state.x[d], nzcv = AddWithCarry(state.x[Rn] & mask, operand2, subtract, datasize)
            if setflags:
                state.nzcv = nzcv

        return execute

    return build


def _add_shifted(subtract: bool, setflags: bool) -> Callable[..., Operation]:
    def build(sf: int, shift: int, Rm: int, imm6: int, Rn: int, Rd: int) -> Operation:
        datasize = 64 if sf else 32
        _check_shift(imm6, datasize)
        if shift == 0b11:
            raise Reserved("there is no rotated operand")
        mask = Ones(datasize)
        inversion = mask if subtract else 0
        shifted = SHIFTS[shift]
        m, n, d = read_slot(Rm), read_slot(Rn), write_slot(Rd)

        def execute(state: State) -> None:
            operand2 = shifted(state.x[m] & mask, imm6, datasize) ^ inversion
            state.x[d], nzcv = AddWithCarry(state.x[n] & mask, operand2, subtract, datasize)
            if setflags:
                state.nzcv = nzcv

        return execute

    return build


def _add_extended(subtract: bool, setflags: bool) -> Callable[..., Operation]:
    def build(sf: int, Rm: int, option: int, imm3: int, Rn: int, Rd: int) -> Operation:
        if imm3 > 4:
            raise Reserved(f"extended operand shifted by {imm3}")
        datasize = 64 if sf else 32
        mask = Ones(datasize)
        inversion = mask if subtract else 0
        m = read_slot(Rm)
        d = write_slot(Rd) if setflags else Rd  # ADD and SUB may write SP

        def execute(state: State) -> None:
            operand2 = ExtendReg(state.x[m], option, imm3) & mask ^ inversion
            state.x[d], nzcv = AddWithCarry(state.x[Rn] & mask, operand2, subtract, datasize)
            if setflags:
                state.nzcv = nzcv

        return execute

    return build


def _add_with_carry(subtract: bool, setflags: bool) -> Callable[..., Operation]:
    def build(sf: int, Rm: int, Rn: int, Rd: int) -> Operation:
        datasize = 64 if sf else 32
        mask = Ones(datasize)
        inversion = mask if subtract else 0
        m, n, d = read_slot(Rm), read_slot(Rn), write_slot(Rd)

        def execute(state: State) -> None:
            operand2 = state.x[m] & mask ^ inversion
            carry = state.nzcv >> 1 & 1
            state.x[d], nzcv = AddWithCarry(state.x[n] & mask, operand2, carry, datasize)
            if setflags:
                state.nzcv = nzcv

        return execute

    return build


# Moves


def _wide_position(sf: int, hw: int) -> int:
    if hw >= 2 and not sf:
        raise Reserved(f"hw={hw} is above 32 bits")
    return 16 * hw


def movz(sf: int, hw: int, imm16: int, Rd: int) -> Operation:
    """MOVZ: move wide with zero."""
    return _move(imm16 << _wide_position(sf, hw), Rd)


def movn(sf: int, hw: int, imm16: int, Rd: int) -> Operation:
    """MOVN: move wide with NOT."""
    return _move(imm16 << _wide_position(sf, hw) ^ Ones(64 if sf else 32), Rd)


def _move(value: int, Rd: int) -> Operation:
    d = write_slot(Rd)

    def execute(state: State) -> None:
        state.x[d] = value

    return execute


def movk(sf: int, hw: int, imm16: int, Rd: int) -> Operation:
    """MOVK: move wide with keep."""
    position = _wide_position(sf, hw)
    inserted = imm16 << position
    kept = Ones(64 if sf else 32) & ~(0xFFFF << position)
    source, d = read_slot(Rd), write_slot(Rd)

    def execute(state: State) -> None:
        state.x[d] = state.x[source] & kept | inserted

    return execute


# Bitfields


def _bitfield(inzero: bool, extend: bool) -> Callable[..., Operation]:
    """Copy a field to the bits under tmask; what the others become, Arm's flags say."""

    def build(sf: int, N: int, immr: int, imms: int, Rn: int, Rd: int) -> Operation:
        datasize = 64 if sf else 32
        _check_width(sf, N, immr, imms)
        wmask, tmask = DecodeBitMasks(N, imms, immr, False, datasize)
        mask = Ones(datasize)
        old, n, d = read_slot(Rd), read_slot(Rn), write_slot(Rd)

        def execute(state: State) -> None:
            src = state.x[n] & mask
            dst = 0 if inzero else state.x[old] & mask
            bot = dst & ~wmask | ROR(src, immr, datasize) & wmask
            top = -(src >> imms & 1) & mask if extend else dst
            state.x[d] = top & ~tmask | bot & tmask

        return execute

    return build


def _check_width(sf: int, N: int, *positions: int) -> None:
    """Reserved unless N repeats sf, and positions are inside the register."""
    if sf != N:
        raise Reserved(f"N={N} with sf={sf}")
    if not sf and max(positions) >= 32:
        raise Reserved(f"bit {max(positions)} of 32")


def extr(sf: int, N: int, Rm: int, imms: int, Rn: int, Rd: int) -> Operation:
    """EXTR: a register's width of bits out of a pair of registers."""
    _check_width(sf, N, imms)
    datasize = 64 if sf else 32
    mask = Ones(datasize)
    m, n, d = read_slot(Rm), read_slot(Rn), write_slot(Rd)

    def execute(state: State) -> None:
        concat = (state.x[n] & mask) << datasize | state.x[m] & mask
        state.x[d] = concat >> imms & mask

    return execute


# Conditional


def _conditional_select(else_inv: bool, else_inc: bool) -> Callable[..., Operation]:
    def build(sf: int, Rm: int, cond: int, Rn: int, Rd: int) -> Operation:
        mask = Ones(64 if sf else 32)
        inversion = mask if else_inv else 0
        holds = conditions(cond)
        m, n, d = read_slot(Rm), read_slot(Rn), write_slot(Rd)

        def execute(state: State) -> None:
            if holds[state.nzcv]:
                state.x[d] = state.x[n] & mask
            else:
                state.x[d] = (state.x[m] ^ inversion) + else_inc & mask

        return execute

    return build


def _compare_if(
    subtract: bool, sf: int, cond: int, nzcv: int, Rn: int, operand2: Callable[[State], int]
) -> Operation:
    """Compare if the condition holds; otherwise the flags are `nzcv`."""
    datasize = 64 if sf else 32
    mask = Ones(datasize)
    inversion = mask if subtract else 0
    holds = conditions(cond)
    n = read_slot(Rn)

    def execute(state: State) -> None:
        if not holds[state.nzcv]:
            state.nzcv = nzcv
            return
        y = operand2(state) & mask ^ inversion
        _, state.nzcv = AddWithCarry(state.x[n] & mask, y, subtract, datasize)

    return execute


def _conditional_compare_register(subtract: bool) -> Callable[..., Operation]:
    def build(sf: int, Rm: int, cond: int, Rn: int, nzcv: int) -> Operation:
        m = read_slot(Rm)
        return _compare_if(subtract, sf, cond, nzcv, Rn, lambda state: state.x[m])

    return build


def _conditional_compare_immediate(subtract: bool) -> Callable[..., Operation]:
    def build(sf: int, imm5: int, cond: int, Rn: int, nzcv: int) -> Operation:
        return _compare_if(subtract, sf, cond, nzcv, Rn, lambda state: imm5)

    return build


# One, two and three sources


def reverse_bits(x: int, N: int) -> int:
    """RBIT of N bits."""
    return int(f"{x:0{N}b}"[::-1], 2)


def _reverse_bytes(container: int) -> Callable[[int, int], int]:
    """Reverse the bytes of each container of so many bits."""

    def reverse(x: int, N: int) -> int:
        size = container // 8
        data = x.to_bytes(N // 8, "little")
        parts = (data[start : start + size][::-1] for start in range(0, len(data), size))
        return int.from_bytes(b"".join(parts), "little")

    return reverse


def CountLeadingZeroBits(x: int, N: int) -> int:
    """Zeros above the highest 1 of N bits."""
    return N - x.bit_length()


def CountLeadingSignBits(x: int, N: int) -> int:
    """Bits below the sign that equal it, down to the first that does not, of N bits."""
    return CountLeadingZeroBits(x >> 1 ^ x & Ones(N - 1), N - 1)


def _one_source(op: Callable[[int, int], int]) -> Callable[..., Operation]:
    def build(Rn: int, Rd: int, sf: int = 1) -> Operation:
        datasize = 64 if sf else 32
        mask = Ones(datasize)
        n, d = read_slot(Rn), write_slot(Rd)

        def execute(state: State) -> None:
            state.x[d] = op(state.x[n] & mask, datasize)

        return execute

    return build


def _reverse_word(Rn: int, Rd: int) -> Operation:
    return _one_source(_reverse_bytes(32))(Rn, Rd, sf=0)


def _two_source(op: Sized) -> Callable[..., Operation]:
    def build(sf: int, Rm: int, Rn: int, Rd: int) -> Operation:
        datasize = 64 if sf else 32
        mask = Ones(datasize)
        m, n, d = read_slot(Rm), read_slot(Rn), write_slot(Rd)

        def execute(state: State) -> None:
            state.x[d] = op(state.x[n] & mask, state.x[m] & mask, datasize)

        return execute

    return build


def _variable_shift(shifted: Sized) -> Callable[..., Operation]:
    """Only the low bits of the second operand count: all others are ignored."""
    return _two_source(lambda x, shift, N: shifted(x, shift % N, N))


def unsigned_quotient(x: int, y: int, N: int) -> int:
    """UDIV: rounded towards 0. Division by 0 gives 0."""
    return x // y if y else 0


def signed_quotient(x: int, y: int, N: int) -> int:
    """SDIV: rounded towards 0. Division by 0 gives 0, and the one overflow the smallest integer."""
    if not y:
        return 0
    dividend, divisor = SignExtend(x, N), SignExtend(y, N)
    quotient = abs(dividend) // abs(divisor)
    return (quotient if (dividend < 0) == (divisor < 0) else -quotient) & Ones(N)


def _multiply_add(op: Binary) -> Callable[..., Operation]:
    """MADD and MSUB: `op` joins the addend and the product."""

    def build(sf: int, Rm: int, Ra: int, Rn: int, Rd: int) -> Operation:
        mask = Ones(64 if sf else 32)
        m, a, n, d = read_slot(Rm), read_slot(Ra), read_slot(Rn), write_slot(Rd)

        def execute(state: State) -> None:
            state.x[d] = op(state.x[a], state.x[n] * state.x[m]) & mask

        return execute

    return build


def _unsigned_word(x: int) -> int:
    return x & Ones(32)


def _signed_word(x: int) -> int:
    return SignExtend(x & Ones(32), 32)


def _multiply_add_long(op: Binary, word: Callable[[int], int]) -> Callable[..., Operation]:
    """Products of 32 bits by 32: `word` is the value of a register's low half."""

    def build(Rm: int, Ra: int, Rn: int, Rd: int) -> Operation:
        m, a, n, d = read_slot(Rm), read_slot(Ra), read_slot(Rn), write_slot(Rd)

        def execute(state: State) -> None:
            product = word(state.x[n]) * word(state.x[m])
            state.x[d] = op(state.x[a], product) & MASK64

        return execute

    return build


def _multiply_high(Rm: int, Rn: int, Rd: int, signed: bool) -> Operation:
    m, n, d = read_slot(Rm), read_slot(Rn), write_slot(Rd)

    def execute(state: State) -> None:
        x, y = state.x[n], state.x[m]
        product = SignExtend(x, 64) * SignExtend(y, 64) if signed else x * y
        state.x[d] = product >> 64 & MASK64

    return execute


def smulh(Rm: int, Rn: int, Rd: int) -> Operation:
    """SMULH: the upper 64 bits of a signed product."""
    return _multiply_high(Rm, Rn, Rd, signed=True)


def umulh(Rm: int, Rn: int, Rd: int) -> Operation:
    """UMULH: the upper 64 bits of an unsigned product."""
    return _multiply_high(Rm, Rn, Rd, signed=False)


# The rows


def _add_rows(
    form: str, rest: str, kind: Callable[[bool, bool], Callable[..., Operation]], rd: str = "Rd|SP"
) -> tuple[Row, ...]:
    """ADD, ADDS, SUB and SUBS of one form: `rest` is the diagram after op and S.

    `rd` is what ADD and SUB write; ADDS and SUBS never write SP.
    """
    return (
        row(f"ADD ({form})", f"sf 0 0 {rest}", kind(False, False), writes=rd),
        row(f"ADDS ({form})", f"sf 0 1 {rest}", kind(False, True)),
        row(f"SUB ({form})", f"sf 1 0 {rest}", kind(True, False), writes=rd),
        row(f"SUBS ({form})", f"sf 1 1 {rest}", kind(True, True)),
    )


def _logical(name: str, opc: str, n: str, build: Callable[..., Operation]) -> Row:
    diagram = f"sf {opc} 01010 shift:2 {n} Rm:5 imm6:6 Rn:5 Rd:5"
    return row(f"{name} (shifted register)", diagram, build)


def _select(name: str, op: str, op2: str, build: Callable[..., Operation]) -> Row:
    return row(name, f"sf {op} 0 11010100 Rm:5 cond:4 {op2} Rn:5 Rd:5", build)


def _source_1(name: str, opcode: str, build: Callable[..., Operation], sf: str = "sf") -> Row:
    return row(name, f"{sf} 1 0 11010110 00000 {opcode} Rn:5 Rd:5", build)


def _source_2(name: str, opcode: str, build: Callable[..., Operation]) -> Row:
    return row(name, f"sf 0 0 11010110 Rm:5 {opcode} Rn:5 Rd:5", build)


def _long(name: str, U: str, o0: str, build: Callable[..., Operation]) -> Row:
    return row(name, f"1 00 11011 {U} 01 Rm:5 {o0} Ra:5 Rn:5 Rd:5", build)


ROWS: tuple[Row, ...] = (
    # Immediate (C4.1.92)
    row("ADR", "0 immlo:2 10000 immhi:19 Rd:5", adr),
    row("ADRP", "1 immlo:2 10000 immhi:19 Rd:5", adrp),
    *_add_rows("immediate", "100010 sh imm12:12 Rn:5 Rd:5", _add_immediate),
    row(
        "AND (immediate)",
        "sf 00 100100 N immr:6 imms:6 Rn:5 Rd:5",
        _logical_immediate(operator.and_),
        writes="Rd|SP",
    ),
    row(
        "ORR (immediate)",
        "sf 01 100100 N immr:6 imms:6 Rn:5 Rd:5",
        _logical_immediate(operator.or_),
        writes="Rd|SP",
    ),
    row(
        "EOR (immediate)",
        "sf 10 100100 N immr:6 imms:6 Rn:5 Rd:5",
        _logical_immediate(operator.xor),
        writes="Rd|SP",
    ),
    row("ANDS (immediate)", "sf 11 100100 N immr:6 imms:6 Rn:5 Rd:5", ands_immediate),
    row("MOVN", "sf 00 100101 hw:2 imm16:16 Rd:5", movn),
    row("MOVZ", "sf 10 100101 hw:2 imm16:16 Rd:5", movz),
    row("MOVK", "sf 11 100101 hw:2 imm16:16 Rd:5", movk),
    row("SBFM", "sf 00 100110 N immr:6 imms:6 Rn:5 Rd:5", _bitfield(inzero=True, extend=True)),
    row("BFM", "sf 01 100110 N immr:6 imms:6 Rn:5 Rd:5", _bitfield(inzero=False, extend=False)),
    row("UBFM", "sf 10 100110 N immr:6 imms:6 Rn:5 Rd:5", _bitfield(inzero=True, extend=False)),
    row("EXTR", "sf 00 100111 N 0 Rm:5 imms:6 Rn:5 Rd:5", extr),
    # Register (C4.1.94)
    _source_2("UDIV", "000010", _two_source(unsigned_quotient)),
    _source_2("SDIV", "000011", _two_source(signed_quotient)),
    *(
        _source_2(f"{shifted.__name__}V", f"0010 {opcode:02b}", _variable_shift(shifted))
        for opcode, shifted in enumerate(SHIFTS)
    ),
    _source_1("RBIT", "000000", _one_source(reverse_bits)),
    _source_1("REV16", "000001", _one_source(_reverse_bytes(16))),
    _source_1("REV (32-bit)", "000010", _reverse_word, sf="0"),
    _source_1("REV32", "000010", _one_source(_reverse_bytes(32)), sf="1"),
    _source_1("REV (64-bit)", "000011", _one_source(_reverse_bytes(64)), sf="1"),
    _source_1("CLZ", "000100", _one_source(CountLeadingZeroBits)),
    _source_1("CLS", "000101", _one_source(CountLeadingSignBits)),
    _logical("AND", "00", "0", _logical_shifted(operator.and_)),
    _logical("BIC", "00", "1", _logical_shifted(operator.and_, invert=True)),
    _logical("ORR", "01", "0", _logical_shifted(operator.or_)),
    _logical("ORN", "01", "1", _logical_shifted(operator.or_, invert=True)),
    _logical("EOR", "10", "0", _logical_shifted(operator.xor)),
    _logical("EON", "10", "1", _logical_shifted(operator.xor, invert=True)),
    _logical("ANDS", "11", "0", _logical_shifted(operator.and_, setflags=True)),
    _logical("BICS", "11", "1", _logical_shifted(operator.and_, invert=True, setflags=True)),
    *_add_rows("shifted register", "01011 shift:2 0 Rm:5 imm6:6 Rn:5 Rd:5", _add_shifted, "Rd"),
    *_add_rows("extended register", "01011 00 1 Rm:5 option:3 imm3:3 Rn:5 Rd:5", _add_extended),
    row("ADC", "sf 0 0 11010000 Rm:5 000000 Rn:5 Rd:5", _add_with_carry(False, False)),
    row("ADCS", "sf 0 1 11010000 Rm:5 000000 Rn:5 Rd:5", _add_with_carry(False, True)),
    row("SBC", "sf 1 0 11010000 Rm:5 000000 Rn:5 Rd:5", _add_with_carry(True, False)),
    row("SBCS", "sf 1 1 11010000 Rm:5 000000 Rn:5 Rd:5", _add_with_carry(True, True)),
    row(
        "CCMN (register)",
        "sf 0 1 11010010 Rm:5 cond:4 0 0 Rn:5 0 nzcv:4",
        _conditional_compare_register(subtract=False),
    ),
    row(
        "CCMP (register)",
        "sf 1 1 11010010 Rm:5 cond:4 0 0 Rn:5 0 nzcv:4",
        _conditional_compare_register(subtract=True),
    ),
    row(
        "CCMN (immediate)",
        "sf 0 1 11010010 imm5:5 cond:4 1 0 Rn:5 0 nzcv:4",
        _conditional_compare_immediate(subtract=False),
    ),
    row(
        "CCMP (immediate)",
        "sf 1 1 11010010 imm5:5 cond:4 1 0 Rn:5 0 nzcv:4",
        _conditional_compare_immediate(subtract=True),
    ),
    _select("CSEL", "0", "00", _conditional_select(else_inv=False, else_inc=False)),
    _select("CSINC", "0", "01", _conditional_select(else_inv=False, else_inc=True)),
    _select("CSINV", "1", "00", _conditional_select(else_inv=True, else_inc=False)),
    _select("CSNEG", "1", "01", _conditional_select(else_inv=True, else_inc=True)),
    row("MADD", "sf 00 11011 000 Rm:5 0 Ra:5 Rn:5 Rd:5", _multiply_add(operator.add)),
    row("MSUB", "sf 00 11011 000 Rm:5 1 Ra:5 Rn:5 Rd:5", _multiply_add(operator.sub)),
    _long("SMADDL", "0", "0", _multiply_add_long(operator.add, _signed_word)),
    _long("SMSUBL", "0", "1", _multiply_add_long(operator.sub, _signed_word)),
    _long("UMADDL", "1", "0", _multiply_add_long(operator.add, _unsigned_word)),
    _long("UMSUBL", "1", "1", _multiply_add_long(operator.sub, _unsigned_word)),
    row("SMULH", "1 00 11011 0 10 Rm:5 0 11111 Rn:5 Rd:5", smulh),
    row("UMULH", "1 00 11011 1 10 Rm:5 0 11111 Rn:5 Rd:5", umulh),
)
