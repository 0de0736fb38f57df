"""The instruction set: one row an encoding (manual C4, C6), at the end of the file.

A row's build function takes the diagram's fields by name, works out all that the word alone
decides, and returns the operation on the state. Functions under Arm's own names are Arm's shared
pseudocode (manual J1). To add an instruction, add its row.
"""

import operator
from collections.abc import Callable

from model.a64.decode import Operation, Reserved, Row, row
from model.a64.state import DISCARD, MASK64, ZERO, State, SystemRegisterError
from model.arch import EL, OSLSR_EL1, SYSREGS, Event, SysReg

Binary = Callable[[int, int], int]

_SYSREG_NAMES = {encoding: name for name, encoding in SYSREGS.items()}
_READ_ONLY = {"OSLSR_EL1"}
_WRITE_ONLY = {"OSLAR_EL1"}


def Ones(n: int) -> int:
    """n bits of 1."""
    return (1 << n) - 1


def SignExtend(value: int, width: int) -> int:
    """A value of `width` bits as the signed integer it encodes."""
    sign = 1 << (width - 1)
    return (value ^ sign) - sign


def AddWithCarry(x: int, y: int, carry_in: int, N: int) -> tuple[int, int]:
    """The sum of two N-bit values and a carry: N bits, and NZCV as 4 bits."""
    unsigned_sum = x + y + carry_in
    result = unsigned_sum & Ones(N)
    negative = result >> (N - 1)
    zero = result == 0
    carry = unsigned_sum >> N
    # Signed overflow: both operands have the sign that the result has not.
    overflow = ((x ^ result) & (y ^ result)) >> (N - 1)
    return result, negative << 3 | zero << 2 | carry << 1 | overflow


def DecodeBitMasks(immN: int, imms: int, immr: int, M: int) -> int:
    """The M-bit mask of a logical immediate (Arm's wmask). Reserved where there is none."""
    length = (immN << 6 | imms ^ 0x3F).bit_length() - 1
    if length < 1 or 1 << length > M:
        raise Reserved(f"N={immN} imms={imms:#08b} encodes no {M}-bit mask")
    esize = 1 << length
    ones = (imms & (esize - 1)) + 1
    if ones == esize:
        raise Reserved(f"N={immN} imms={imms:#08b} would be a mask of ones alone")
    element = ROR(Ones(ones), immr & (esize - 1), esize)
    return sum(element << position for position in range(0, M, esize))


def LSL(x: int, shift: int, N: int) -> int:
    """Logical shift left of N bits by 0 to N-1."""
    return x << shift & Ones(N)


def LSR(x: int, shift: int, N: int) -> int:
    """Logical shift right of N bits by 0 to N-1."""
    return x >> shift


def ASR(x: int, shift: int, N: int) -> int:
    """Arithmetic shift right of N bits by 0 to N-1."""
    return SignExtend(x, N) >> shift & Ones(N)


def ROR(x: int, shift: int, N: int) -> int:
    """Rotation right of N bits by 0 to N-1."""
    return (x >> shift | x << (N - shift)) & Ones(N)


#: By the shift field of the shifted register encodings.
SHIFTS = (LSL, LSR, ASR, ROR)


def ConditionHolds(cond: int, nzcv: int) -> bool:
    """Whether a 4-bit condition holds."""
    n, z, c, v = nzcv >> 3 & 1, nzcv >> 2 & 1, nzcv >> 1 & 1, nzcv & 1
    always = 1
    holds = (z, c, n, v, c & ~z, n == v, n == v and not z, always)[cond >> 1]
    inverted = cond & 1 and cond != 0b1111
    return bool(holds) != bool(inverted)


def _read_slot(register: int) -> int:
    """The slot that a register number reads where 31 is XZR. Where 31 is SP, it is the slot."""
    return ZERO if register == 31 else register


def _write_slot(register: int) -> int:
    """The slot that a register number writes where 31 is XZR."""
    return DISCARD if register == 31 else register


# Data processing


def _logical_result(N: int, result: int) -> int:
    """NZCV after ANDS and BICS of N bits: C and V are 0."""
    return result >> (N - 1) << 3 | (result == 0) << 2


def _logical_immediate(op: Binary) -> Callable[..., Operation]:
    def build(sf: int, N: int, immr: int, imms: int, Rn: int, Rd: int) -> Operation:
        datasize = 64 if sf else 32
        imm = DecodeBitMasks(N, imms, immr, datasize)
        mask = Ones(datasize)
        n = _read_slot(Rn)

        def execute(state: State) -> None:
            state.x[Rd] = op(state.x[n] & mask, imm)

        return execute

    return build


def ands_immediate(sf: int, N: int, immr: int, imms: int, Rn: int, Rd: int) -> Operation:
    """ANDS (immediate): unlike AND, register 31 is XZR on both sides."""
    datasize = 64 if sf else 32
    imm = DecodeBitMasks(N, imms, immr, datasize)
    n, d = _read_slot(Rn), _write_slot(Rd)

    def execute(state: State) -> None:
        state.x[d] = result = state.x[n] & imm
        state.nzcv = _logical_result(datasize, result)

    return execute


def _logical_shifted(
    op: Binary, invert: bool = False, setflags: bool = False
) -> Callable[..., Operation]:
    def build(sf: int, shift: int, Rm: int, imm6: int, Rn: int, Rd: int) -> Operation:
        datasize = 64 if sf else 32
        if imm6 >= datasize:
            raise Reserved(f"shift of 32 bits by {imm6}")
        mask = Ones(datasize)
        inversion = mask if invert else 0
        shifted = SHIFTS[shift]
        m, n, d = _read_slot(Rm), _read_slot(Rn), _write_slot(Rd)

        def execute(state: State) -> None:
            operand2 = shifted(state.x[m] & mask, imm6, datasize) ^ inversion
            state.x[d] = result = op(state.x[n] & mask, operand2)
            if setflags:
                state.nzcv = _logical_result(datasize, result)

        return execute

    return build


def _add_immediate(subtract: bool, setflags: bool) -> Callable[..., Operation]:
    def build(sf: int, sh: int, imm12: int, Rn: int, Rd: int) -> Operation:
        datasize = 64 if sf else 32
        mask = Ones(datasize)
        imm = imm12 << 12 if sh else imm12
        operand2 = imm ^ mask if subtract else imm
        d = _write_slot(Rd) if setflags else Rd  # ADD and SUB may write SP

        def execute(state: State) -> None:
            state.x[d], nzcv = AddWithCarry(state.x[Rn] & mask, operand2, subtract, datasize)
            if setflags:
                state.nzcv = nzcv

        return execute

    return build


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
    d = _write_slot(Rd)

    def execute(state: State) -> None:
        state.x[d] = value

    return execute


def movk(sf: int, hw: int, imm16: int, Rd: int) -> Operation:
    """MOVK: move wide with keep."""
    position = _wide_position(sf, hw)
    inserted = imm16 << position
    kept = Ones(64 if sf else 32) & ~(0xFFFF << position)
    source, d = _read_slot(Rd), _write_slot(Rd)

    def execute(state: State) -> None:
        state.x[d] = state.x[source] & kept | inserted

    return execute


# Loads and stores

#: Moves the register of one instruction from or to memory at an address.
Transfer = Callable[[State, int], None]


def _load(size: int, Rt: int) -> Transfer:
    t = _write_slot(Rt)

    def transfer(state: State, address: int) -> None:
        state.x[t] = state.load(address, size)

    return transfer


def _store(size: int, Rt: int) -> Transfer:
    t = _read_slot(Rt)

    def transfer(state: State, address: int) -> None:
        state.store(address, size, state.x[t])

    return transfer


def _unsigned_offset(kind: Callable[[int, int], Transfer]) -> Callable[..., Operation]:
    def build(sz: int, imm12: int, Rn: int, Rt: int) -> Operation:
        size = 8 if sz else 4
        offset = imm12 * size
        transfer = kind(size, Rt)

        def execute(state: State) -> None:
            transfer(state, state.x[Rn] + offset & MASK64)

        return execute

    return build


def _indexed(kind: Callable[[int, int], Transfer], postindex: bool) -> Callable[..., Operation]:
    def build(sz: int, imm9: int, Rn: int, Rt: int) -> Operation:
        if Rn == Rt != 31:
            raise Reserved(f"writeback to x{Rt}, which it transfers, is CONSTRAINED UNPREDICTABLE")
        offset = SignExtend(imm9, 9)
        transfer = kind(8 if sz else 4, Rt)

        def execute(state: State) -> None:
            base = state.x[Rn]
            moved = base + offset & MASK64
            transfer(state, base if postindex else moved)
            state.x[Rn] = moved

        return execute

    return build


# Branches


def b(imm26: int) -> Operation:
    """B: branch."""
    offset = SignExtend(imm26, 26) * 4
    return lambda state: state.pc + offset & MASK64


def b_cond(imm19: int, cond: int) -> Operation:
    """B.cond: branch conditionally."""
    offset = SignExtend(imm19, 19) * 4
    taken = tuple(ConditionHolds(cond, nzcv) for nzcv in range(16))
    return lambda state: state.pc + offset & MASK64 if taken[state.nzcv] else None


def _compare_and_branch(nonzero: bool) -> Callable[..., Operation]:
    def build(sf: int, imm19: int, Rt: int) -> Operation:
        return _branch_if(Ones(64 if sf else 32), nonzero, Rt, SignExtend(imm19, 19) * 4)

    return build


def _test_and_branch(nonzero: bool) -> Callable[..., Operation]:
    def build(b5: int, b40: int, imm14: int, Rt: int) -> Operation:
        return _branch_if(1 << (b5 << 5 | b40), nonzero, Rt, SignExtend(imm14, 14) * 4)

    return build


def _branch_if(mask: int, nonzero: bool, Rt: int, offset: int) -> Operation:
    """Branch if the register's bits under the mask are not all 0 (nonzero), or are."""
    t = _read_slot(Rt)

    def execute(state: State) -> int | None:
        if (state.x[t] & mask != 0) is nonzero:
            return state.pc + offset & MASK64
        return None

    return execute


# System


def sysreg_name(fields: dict[str, int]) -> str:
    """The system register that the fields of an MRS or MSR name. Reserved if it is none here."""
    op0 = 2 + fields["o0"]
    op1, crn, crm, op2 = fields["op1"], fields["CRn"], fields["CRm"], fields["op2"]
    name = _SYSREG_NAMES.get(SysReg(op0, op1, crn, crm, op2))
    if name is None:
        raise Reserved(f"the system register S{op0}_{op1}_C{crn}_C{crm}_{op2} is not known here")
    return name


def mrs(Rt: int, **encoding: int) -> Operation:
    """MRS: move a system register to a general-purpose register."""
    name = sysreg_name(encoding)
    if name in _WRITE_ONLY:
        raise Reserved(f"{name} is write-only")
    lowest_el = _lowest_el(name)
    t = _write_slot(Rt)

    def execute(state: State) -> None:
        if state.el < lowest_el:
            raise _access_error(state, name)
        state.x[t] = state.sysregs[name]

    return execute


def msr_register(Rt: int, **encoding: int) -> Operation:
    """MSR (register): move a general-purpose register to a system register."""
    name = sysreg_name(encoding)
    if name in _READ_ONLY:
        raise Reserved(f"{name} is read-only")
    lowest_el = _lowest_el(name)
    t = _read_slot(Rt)
    is_oslar = name == "OSLAR_EL1"

    def execute(state: State) -> None:
        if state.el < lowest_el:
            raise _access_error(state, name)
        if is_oslar:
            _write_oslar(state, state.x[t])
        else:
            state.sysregs[name] = state.x[t]

    return execute


def _write_oslar(state: State, value: int) -> None:
    unlocked = state.sysregs["OSLSR_EL1"] & ~OSLSR_EL1.OSLK.mask
    state.sysregs["OSLSR_EL1"] = unlocked | OSLSR_EL1.OSLK.put(value & 1)


def _lowest_el(name: str) -> EL:
    """The lowest EL that may access a register: its name ends in it."""
    return EL[name.rpartition("_")[2]]


def _access_error(state: State, name: str) -> SystemRegisterError:
    return SystemRegisterError(f"pc {state.pc:#x}: {state.el.name} cannot access {name}")


def _nothing(state: State) -> None:
    """What an instruction does that has no effect on the state but to be over."""


def nop() -> Operation:
    """NOP: no operation."""
    return _nothing


def isb(CRm: int) -> Operation:
    """ISB: instruction synchronization barrier. Writes here are seen at once: nothing to do."""
    return _nothing


def eret() -> Operation:
    """ERET: branch to ELR_ELx. Restoring PSTATE from SPSR_ELx, the EL with it, is the caller's."""

    def execute(state: State) -> int:
        if state.el == EL.EL0:
            raise SystemRegisterError(f"pc {state.pc:#x}: ERET is undefined at EL0")
        return state.sysregs[f"ELR_{state.el.name}"]

    return execute


#: No two rows match one word.
ROWS: tuple[Row, ...] = (
    # Data processing, immediate (C4.1.92)
    row("ADD (immediate)", "sf 0 0 100010 sh imm12:12 Rn:5 Rd:5", _add_immediate(False, False)),
    row("ADDS (immediate)", "sf 0 1 100010 sh imm12:12 Rn:5 Rd:5", _add_immediate(False, True)),
    row("SUB (immediate)", "sf 1 0 100010 sh imm12:12 Rn:5 Rd:5", _add_immediate(True, False)),
    row("SUBS (immediate)", "sf 1 1 100010 sh imm12:12 Rn:5 Rd:5", _add_immediate(True, True)),
    row(
        "AND (immediate)",
        "sf 00 100100 N immr:6 imms:6 Rn:5 Rd:5",
        _logical_immediate(operator.and_),
    ),
    row(
        "ORR (immediate)",
        "sf 01 100100 N immr:6 imms:6 Rn:5 Rd:5",
        _logical_immediate(operator.or_),
    ),
    row(
        "EOR (immediate)",
        "sf 10 100100 N immr:6 imms:6 Rn:5 Rd:5",
        _logical_immediate(operator.xor),
    ),
    row("ANDS (immediate)", "sf 11 100100 N immr:6 imms:6 Rn:5 Rd:5", ands_immediate),
    row("MOVN", "sf 00 100101 hw:2 imm16:16 Rd:5", movn),
    row("MOVZ", "sf 10 100101 hw:2 imm16:16 Rd:5", movz),
    row("MOVK", "sf 11 100101 hw:2 imm16:16 Rd:5", movk),
    # Data processing, register (C4.1.94)
    row(
        "AND (shifted register)",
        "sf 00 01010 shift:2 0 Rm:5 imm6:6 Rn:5 Rd:5",
        _logical_shifted(operator.and_),
    ),
    row(
        "BIC (shifted register)",
        "sf 00 01010 shift:2 1 Rm:5 imm6:6 Rn:5 Rd:5",
        _logical_shifted(operator.and_, invert=True),
    ),
    row(
        "ORR (shifted register)",
        "sf 01 01010 shift:2 0 Rm:5 imm6:6 Rn:5 Rd:5",
        _logical_shifted(operator.or_),
    ),
    row(
        "ORN (shifted register)",
        "sf 01 01010 shift:2 1 Rm:5 imm6:6 Rn:5 Rd:5",
        _logical_shifted(operator.or_, invert=True),
    ),
    row(
        "EOR (shifted register)",
        "sf 10 01010 shift:2 0 Rm:5 imm6:6 Rn:5 Rd:5",
        _logical_shifted(operator.xor),
    ),
    row(
        "EON (shifted register)",
        "sf 10 01010 shift:2 1 Rm:5 imm6:6 Rn:5 Rd:5",
        _logical_shifted(operator.xor, invert=True),
    ),
    row(
        "ANDS (shifted register)",
        "sf 11 01010 shift:2 0 Rm:5 imm6:6 Rn:5 Rd:5",
        _logical_shifted(operator.and_, setflags=True),
    ),
    row(
        "BICS (shifted register)",
        "sf 11 01010 shift:2 1 Rm:5 imm6:6 Rn:5 Rd:5",
        _logical_shifted(operator.and_, invert=True, setflags=True),
    ),
    # Branches, exception generating and system instructions (C4.1.93)
    row("B", "000101 imm26:26", b),
    row("B.cond", "01010100 imm19:19 0 cond:4", b_cond),
    row("CBZ", "sf 011010 0 imm19:19 Rt:5", _compare_and_branch(nonzero=False)),
    row("CBNZ", "sf 011010 1 imm19:19 Rt:5", _compare_and_branch(nonzero=True)),
    row("TBZ", "b5 011011 0 b40:5 imm14:14 Rt:5", _test_and_branch(nonzero=False)),
    row("TBNZ", "b5 011011 1 b40:5 imm14:14 Rt:5", _test_and_branch(nonzero=True)),
    row("NOP", "1101010100 0 00 011 0010 0000 000 11111", nop),
    row("ISB", "1101010100 0 00 011 0011 CRm:4 110 11111", isb, Event.ISB),
    row("MSR (register)", "1101010100 0 1 o0 op1:3 CRn:4 CRm:4 op2:3 Rt:5", msr_register),
    row("MRS", "1101010100 1 1 o0 op1:3 CRn:4 CRm:4 op2:3 Rt:5", mrs),
    row("ERET", "1101011 0 100 11111 0000 00 11111 00000", eret, Event.ERET),
    # Loads and stores (C4.1.95)
    row("STR (post-index)", "1 sz 111 0 00 00 0 imm9:9 01 Rn:5 Rt:5", _indexed(_store, True)),
    row("LDR (post-index)", "1 sz 111 0 00 01 0 imm9:9 01 Rn:5 Rt:5", _indexed(_load, True)),
    row("STR (pre-index)", "1 sz 111 0 00 00 0 imm9:9 11 Rn:5 Rt:5", _indexed(_store, False)),
    row("LDR (pre-index)", "1 sz 111 0 00 01 0 imm9:9 11 Rn:5 Rt:5", _indexed(_load, False)),
    row("STR (unsigned offset)", "1 sz 111 0 01 00 imm12:12 Rn:5 Rt:5", _unsigned_offset(_store)),
    row("LDR (unsigned offset)", "1 sz 111 0 01 01 imm12:12 Rn:5 Rt:5", _unsigned_offset(_load)),
)
