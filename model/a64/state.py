"""What A64 instructions read and write: registers, system registers, memory."""

from bisect import bisect_right
from dataclasses import dataclass, field
from struct import Struct
from typing import cast

from model.a64 import A64Error
from model.a64.decode import Instruction
from model.arch import EL, SYSREGS

MASK64 = (1 << 64) - 1

# Slots of State.x above x30. Register number 31 is SP or XZR as the instruction says, so each has a
# slot of its own; a write to XZR goes to a third one, which leaves ZERO at 0 without a test.
SP = 31
ZERO = 32
DISCARD = 33

SLOTS = 34

#: Slot to name, for reports. ZERO and DISCARD have none: they never show a change.
REGISTER_NAMES = (*(f"x{n}" for n in range(31)), "sp")

#: Size in bytes to the format of an unsigned value.
_LITTLE_ENDIAN = {1: Struct("<B"), 2: Struct("<H"), 4: Struct("<I"), 8: Struct("<Q")}


class UnmappedAccess(A64Error):
    """An access to an address where no memory is, or a store to read-only memory."""


class MisalignedAccess(A64Error):
    """An exclusive or ordered access to an address that is not a multiple of its size."""


class SystemRegisterError(A64Error):
    """An access to a system register that the current EL, or the register itself, forbids."""


@dataclass(slots=True)
class Range:
    """Mapped memory: `contents[0]` is the byte at `start`."""

    start: int
    contents: bytearray
    writable: bool

    @property
    def end(self) -> int:
        """The address after the last byte."""
        return self.start + len(self.contents)

    def load(self, address: int, size: int) -> int:
        """The little-endian value of 1, 2, 4 or 8 bytes, which must be in the range."""
        (value,) = _LITTLE_ENDIAN[size].unpack_from(self.contents, address - self.start)
        return cast(int, value)

    def store(self, address: int, size: int, value: int) -> None:
        """Store the low 1, 2, 4 or 8 bytes of a value, little-endian; they must be in the range."""
        low = value & (1 << 8 * size) - 1
        _LITTLE_ENDIAN[size].pack_into(self.contents, address - self.start, low)


class Memory:
    """Bytes at 64-bit addresses, where ranges are mapped. An access must lie inside one range."""

    def __init__(self) -> None:
        self._ranges: list[Range] = []  # by start; no two overlap
        self._starts: list[int] = []  # of each range

    def map(self, start: int, contents: bytes, writable: bool = True) -> bytearray:
        """Map a copy of `contents` at `start`, and return that copy: what it holds, memory holds.

        ValueError if the range does not fit 64-bit addresses or overlaps one mapped before.
        """
        new = Range(start, bytearray(contents), writable)
        if not 0 <= start <= new.end <= MASK64 + 1:
            raise ValueError(f"{start:#x} to {new.end:#x} is not inside 64-bit addresses")
        for old in self._ranges:
            if new.start < old.end and old.start < new.end:
                raise ValueError(f"{start:#x} to {new.end:#x} overlaps memory at {old.start:#x}")
        index = bisect_right(self._starts, start)
        self._starts.insert(index, start)
        self._ranges.insert(index, new)
        return new.contents

    def find(self, address: int, size: int) -> Range | None:
        """The range that holds all `size` bytes at `address`, or None."""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        candidate = self._ranges[index]
        fits = address + size <= candidate.start + len(candidate.contents)
        return candidate if fits else None


@dataclass(slots=True)
class State:
    """A processing element between two instructions.

    System registers are 64 bits that keep what is written; what their fields do is the caller's,
    but for OSLAR_EL1, whose write sets OSLSR_EL1.OSLK. x holds the SP in use: who changes EL or
    SPSel calls `select_sp`.
    """

    el: EL = EL.EL1
    pc: int = 0
    nzcv: int = 0  #: 4 bits: N is bit 3, Z 2, C 1, V 0
    daif: int = 0  #: 4 bits: PSTATE.D is bit 3, A 2, I 1, F 0
    spsel: int = 1  #: PSTATE.SP: 1 for SP_ELx, 0 for SP_EL0
    x: list[int] = field(default_factory=lambda: [0] * SLOTS)  #: x0 to x30, then the slots above
    sysregs: dict[str, int] = field(
        default_factory=lambda: {name: 0 for name in SYSREGS if name != "OSLAR_EL1"}
    )
    memory: Memory = field(default_factory=Memory)
    #: What the local exclusive monitor has marked: address and bytes; None if it is open.
    exclusive: tuple[int, int] | None = None
    #: SP_EL0 to SP_EL3; the one in use is in x, and stale here.
    unused_sps: list[int] = field(default_factory=lambda: [0] * len(EL))
    #: Decoded instructions by address, of read-only memory alone: they cannot go stale.
    code: dict[int, Instruction] = field(default_factory=dict, repr=False)

    @property
    def sp(self) -> int:
        """The current stack pointer, 64 bits."""
        return self.x[SP]

    @sp.setter
    def sp(self, value: int) -> None:
        self.x[SP] = value

    def select_sp(self, el: EL, spsel: int) -> None:
        """Go to this EL and SPSel, and to the stack pointer that they select."""
        self.unused_sps[self.el if self.spsel else EL.EL0] = self.sp
        self.el, self.spsel = el, spsel
        self.sp = self.unused_sps[el if spsel else EL.EL0]

    def load(self, address: int, size: int) -> int:
        """The little-endian value of 1, 2, 4 or 8 bytes. UnmappedAccess where no memory is."""
        found = self.memory.find(address, size)
        if found is None:
            raise self._unmapped("load", address, size)
        return found.load(address, size)

    def store(self, address: int, size: int, value: int) -> None:
        """Store the low 1, 2, 4 or 8 bytes of a value, little-endian.

        UnmappedAccess where no memory is, or it is read-only.
        """
        found = self.memory.find(address, size)
        if found is None:
            raise self._unmapped("store", address, size)
        if not found.writable:
            raise UnmappedAccess(
                f"pc {self.pc:#x}: store of {size} bytes at {address:#x}: read-only memory"
            )
        found.store(address, size, value)

    def _unmapped(self, access: str, address: int, size: int) -> UnmappedAccess:
        return UnmappedAccess(
            f"pc {self.pc:#x}: {access} of {size} bytes at {address:#x}: no memory is mapped there"
        )
