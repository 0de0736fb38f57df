"""Arm's shared pseudocode (manual J1) under Arm's own names, as far as the rows use it."""

from model.a64.decode import Reserved
from model.a64.state import DISCARD, MASK64, ZERO


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


def DecodeBitMasks(immN: int, imms: int, immr: int, immediate: bool, M: int) -> tuple[int, int]:
    """The M-bit masks wmask and tmask of a bitfield; wmask is that of a logical immediate.

    Reserved where there is none; a logical immediate (`immediate`) cannot be a mask of ones alone.
    """
    length = (immN << 6 | imms ^ 0x3F).bit_length() - 1
    if length < 1 or 1 << length > M:
        raise Reserved(f"N={immN} imms={imms:#08b} encodes no {M}-bit mask")
    esize = 1 << length
    S, R = imms % esize, immr % esize
    ones = S + 1
    if immediate and ones == esize:
        raise Reserved(f"N={immN} imms={imms:#08b} would be a mask of ones alone")
    wmask = ROR(Ones(ones), R, esize)
    tmask = Ones((S - R) % esize + 1)
    return Replicate(wmask, esize, M), Replicate(tmask, esize, M)


def Replicate(element: int, esize: int, M: int) -> int:
    """M bits of an element of `esize` bits, again and again."""
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


def ExtendReg(value: int, option: int, shift: int) -> int:
    """A 64-bit register extended as `option` says (UXTB to SXTX) and shifted left: 64 bits."""
    width = 8 << (option & 0b11)
    low = value & Ones(width)
    signed = option & 0b100
    return (SignExtend(low, width) if signed else low) << shift & MASK64


def ConditionHolds(cond: int, nzcv: int) -> bool:
    """Whether a 4-bit condition holds."""
    n, z, c, v = nzcv >> 3 & 1, nzcv >> 2 & 1, nzcv >> 1 & 1, nzcv & 1
    always = 1
    holds = (z, c, n, v, c & ~z, n == v, n == v and not z, always)[cond >> 1]
    inverted = cond & 1 and cond != 0b1111
    return bool(holds) != bool(inverted)


def conditions(cond: int) -> tuple[bool, ...]:
    """Whether a 4-bit condition holds, by NZCV."""
    return tuple(ConditionHolds(cond, nzcv) for nzcv in range(16))


def read_slot(register: int) -> int:
    """The slot that a register number reads where 31 is XZR. Where 31 is SP, it is the slot."""
    return ZERO if register == 31 else register


def write_slot(register: int) -> int:
    """The slot that a register number writes where 31 is XZR."""
    return DISCARD if register == 31 else register
