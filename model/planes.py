"""Values of many lanes, one bit of all lanes in one row: a lane is a PE of its own.

`model.rules` and `model.machine` run on these as they run on arrays: a Bool is a value of one bit,
and an operation on it costs a sixty-fourth of what it costs as an array of bytes.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any, SupportsInt

import numpy as np
import numpy.typing as npt

Row = npt.NDArray[np.uint64]  #: shape (lanes / 64,), or () where all lanes have the same bit

WORD = 64  #: lanes in an element of a row, the first in its lowest bit

#: the rows that are the same in all lanes
ZEROS: Row = np.uint64(0)  # type: ignore[assignment]  # of shape ()
ONES: Row = ~ZEROS

# On rows: constants are folded, for most of a register's bits are masked out.


def _and(a: Row, b: Row) -> Row:
    if a is ZEROS or b is ZEROS:
        return ZEROS
    return b if a is ONES else a if b is ONES else a & b


def _or(a: Row, b: Row) -> Row:
    return b if a is ZEROS else a if b is ZEROS else a | b


def _xor(a: Row, b: Row) -> Row:
    return b if a is ZEROS else a if b is ZEROS else a ^ b


def _not(a: Row) -> Row:
    return ONES if a is ZEROS else ZEROS if a is ONES else ~a


class Planes:
    """Unsigned values, one for each lane: `rows[n]` holds bit n of all lanes.

    Bits above the last row are 0. A constant (an int, an enumeration's member, a numpy scalar) can
    stand on either side of every operator. Comparisons give a value of one bit.
    """

    __slots__ = ("rows",)
    __array_ufunc__ = None  # numpy's scalars leave the operators to this class
    __hash__ = None  # type: ignore[assignment]  # == compares lane by lane

    def __init__(self, rows: Sequence[Row]):
        self.rows = rows or (ZEROS,)

    @classmethod
    def of(cls, values: Any, width: int) -> "Planes":
        """From an array of shape (lanes,), lanes a multiple of 64."""
        bits = ((values >> np.uint64(n)) & np.uint64(1) for n in range(width))
        packed = (np.packbits(bit.astype(np.bool_), bitorder="little") for bit in bits)
        return cls([row.view(np.uint64) for row in packed])

    @classmethod
    def constant(cls, value: SupportsInt) -> "Planes":
        """The same value in all lanes."""
        number = int(value)
        return cls([ONES if number >> n & 1 else ZEROS for n in range(number.bit_length())])

    def values(self, lanes: int) -> npt.NDArray[Any]:
        """As an array of shape (lanes,), of the narrowest unsigned type with room for the rows."""
        size = next(size for size in (1, 2, 4, 8) if 8 * size >= len(self.rows))
        result = np.zeros((lanes, size), dtype=np.uint8)
        for n in range(0, len(self.rows), 8):
            result[:, n // 8] = _bytes(self.rows[n : n + 8], lanes)
        return result.view(f"<u{size}")[:, 0]

    def at(self, lane: int) -> int:
        """The value in one lane."""
        word, bit = divmod(lane, WORD)
        bits = (int(row[word] if row.ndim else row) >> bit & 1 for row in self.rows)
        return sum(one << n for n, one in enumerate(bits))

    def row(self, n: int) -> Row:
        """Bit n of all lanes."""
        return self.rows[n] if n < len(self.rows) else ZEROS

    def astype(self, dtype: object) -> "Planes":
        """Itself: a value has as many rows as it needs."""
        return self

    def any(self) -> bool:
        """Whether any bit of any lane is 1."""
        return any(row.any() for row in self.rows)

    # Bit by bit

    def __and__(self, other: Any) -> "Planes":
        if not isinstance(other, Planes):
            return self._masked(int(other))
        return Planes([_and(a, b) for a, b in zip(self.rows, other.rows, strict=False)])

    def _masked(self, mask: int) -> "Planes":
        width = min(mask.bit_length(), len(self.rows))
        return Planes([self.rows[n] if mask >> n & 1 else ZEROS for n in range(width)])

    def __or__(self, other: Any) -> "Planes":
        longer, shorter = _by_length(self, _planes(other))
        both = [_or(a, b) for a, b in zip(longer, shorter, strict=False)]
        return Planes([*both, *longer[len(shorter) :]])

    def __xor__(self, other: Any) -> "Planes":
        longer, shorter = _by_length(self, _planes(other))
        both = [_xor(a, b) for a, b in zip(longer, shorter, strict=False)]
        return Planes([*both, *longer[len(shorter) :]])

    def __invert__(self) -> "Planes":
        (bit,) = self.rows  # of a wider value, the bits above its rows would be missing
        return Planes([_not(bit)])

    def __rshift__(self, count: int) -> "Planes":
        return Planes(self.rows[count:])

    def __lshift__(self, count: int) -> "Planes":
        return Planes([*[ZEROS] * count, *self.rows])

    def __mul__(self, other: Any) -> "Planes":
        """One of the two has one bit: the other where it is 1, and 0 elsewhere."""
        if not isinstance(other, Planes):
            other = Planes.constant(other)
        value, bit = _by_length(self, other)
        (condition,) = bit
        return Planes([_and(row, condition) for row in value])

    __rand__, __ror__, __rxor__, __rmul__ = __and__, __or__, __xor__, __mul__

    # Lane by lane. As in numpy, == and != give no bool: the types of `object` forbid that.

    def __ne__(self, other: Any) -> "Planes":  # type: ignore[override]  # lane by lane
        different = (self ^ other).rows
        return Planes([reduce(_or, different, ZEROS)])

    def __eq__(self, other: Any) -> "Planes":  # type: ignore[override]  # lane by lane
        return ~self.__ne__(other)

    def __lt__(self, other: Any) -> "Planes":
        than, less = _planes(other), ZEROS
        for n in range(max(len(self.rows), len(than.rows))):
            not_mine, its = _not(self.row(n)), than.row(n)
            either = _or(not_mine, less)  # less, if its bit is 1
            less = either if its is ONES else _or(_and(not_mine, less), _and(either, its))
        return Planes([less])

    def __gt__(self, other: Any) -> "Planes":
        return _planes(other).__lt__(self)

    def __le__(self, other: Any) -> "Planes":
        return ~self.__gt__(other)

    def __ge__(self, other: Any) -> "Planes":
        return ~self.__lt__(other)


def _planes(value: Any) -> Planes:
    return value if isinstance(value, Planes) else Planes.constant(value)


def _by_length(a: Planes, b: Planes) -> tuple[Sequence[Row], Sequence[Row]]:
    return (a.rows, b.rows) if len(a.rows) >= len(b.rows) else (b.rows, a.rows)


#: an 8 x 8 matrix of bits is transposed by three swaps: (distance, the bits that move down by it)
_SWAPS = [
    (np.uint64(7), np.uint64(0x00AA00AA00AA00AA)),
    (np.uint64(14), np.uint64(0x0000CCCC0000CCCC)),
    (np.uint64(28), np.uint64(0x00000000F0F0F0F0)),
]


def _bytes(rows: Sequence[Row], lanes: int) -> npt.NDArray[np.uint8]:
    """Up to 8 rows as an array of shape (lanes,)."""
    matrix = np.zeros((lanes // 8, 8), dtype=np.uint8)  # of 8 lanes: a byte a row
    for n, row in enumerate(rows):
        matrix[:, n] = np.broadcast_to(row, (lanes // WORD,)).copy().view(np.uint8)
    word = matrix.view("<u8")
    for distance, moving in _SWAPS:
        swapped = (word ^ (word >> distance)) & moving
        word ^= swapped ^ (swapped << distance)
    return matrix.reshape(lanes)
