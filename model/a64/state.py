"""What A64 instructions read and write: registers, system registers, memory."""

from bisect import bisect_right
from dataclasses import dataclass, field
from struct import Struct
from typing import cast

from model.a64 import exceptions
from model.a64.decode import Instruction
from model.arch import EL, MIDR_VALUE, MPIDR_VALUE, RESET_VALUES, SYSREGS, Access

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


#: Names of MRS and MSR without 64 bits of their own: what they are is elsewhere in the state.
_VIEWS = {"OSLAR_EL1", "NZCV", "DAIF", "SPSel", "CurrentEL", "SP_EL0", "SP_EL1", "SP_EL2"}

_RESET = {name: 0 for name in SYSREGS if name not in _VIEWS}
_RESET |= {**RESET_VALUES, "MIDR_EL1": MIDR_VALUE, "MPIDR_EL1": MPIDR_VALUE}


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
        """The little-endian value of 1, 2, 4, 8 or 16 bytes, which must be in the range."""
        offset = address - self.start
        if size == 16:
            return int.from_bytes(self.contents[offset : offset + 16], "little")
        (value,) = _LITTLE_ENDIAN[size].unpack_from(self.contents, offset)
        return cast(int, value)

    def store(self, address: int, size: int, value: int) -> None:
        """Store a value of 1, 2, 4, 8 or 16 bytes, little-endian; they must be in the range."""
        offset = address - self.start
        if size == 16:
            self.contents[offset : offset + 16] = value.to_bytes(16, "little")
        else:
            _LITTLE_ENDIAN[size].pack_into(self.contents, offset, value)


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
    """A processing element between two instructions, and what the next one meets outside it.

    System registers are 64 bits that keep what is written. x holds the SP in use: who changes EL or
    SPSel calls `select_sp`.
    """

    el: EL = EL.EL1
    pc: int = 0
    nzcv: int = 0  #: 4 bits: N is bit 3, Z 2, C 1, V 0
    daif: int = 0  #: 4 bits: PSTATE.D is bit 3, A 2, I 1, F 0
    spsel: int = 1  #: PSTATE.SP: 1 for SP_ELx, 0 for SP_EL0
    ss: int = 0  #: PSTATE.SS
    il: int = 0  #: PSTATE.IL
    x: list[int] = field(default_factory=lambda: [0] * SLOTS)  #: x0 to x30, then the slots above
    sysregs: dict[str, int] = field(default_factory=_RESET.copy)
    #: Of the system registers whose last write the PE does not see yet: what it still sees.
    late: dict[str, int] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    #: What the local exclusive monitor has marked: address and bytes; None if it is open.
    exclusive: tuple[int, int] | None = None
    event_register: int = 0  #: 1: the next WFE does not wait
    #: SP_EL0 to SP_EL3; the one in use is in x, and stale here.
    unused_sps: list[int] = field(default_factory=lambda: [0] * len(EL))
    #: Decoded instructions by address, of read-only memory alone: they cannot go stale.
    code: dict[int, Instruction] = field(default_factory=dict, repr=False)
    #: The last data access: LOAD or STORE, address, bytes, value; None if there was none.
    access: tuple[Access, int, int, int] | None = None
    write_seen: int = 1  #: choice: a write of a control register is seen before synchronisation
    pin_high: int = 0  #: an interrupt is pending at a pin

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

    def stack_pointers(self) -> list[int]:
        """SP_EL0 to SP_EL3."""
        sps = self.unused_sps.copy()
        sps[self.el if self.spsel else EL.EL0] = self.sp
        return sps

    def seen(self, name: str) -> int:
        """A system register as the PE sees it: what MRS reads may have been written too late."""
        value = self.late.get(name)
        return self.sysregs[name] if value is None else value

    def load(self, address: int, size: int, syndrome: int = 0) -> int:
        """The little-endian value of 1, 2, 4, 8 or 16 bytes. UnmappedAccess where no memory is.

        `syndrome` is what ESR then says of the instruction: see `exceptions.data_abort`.
        """
        found = self.memory.find(address, size)
        if found is None:
            raise self._unmapped(False, address, size, syndrome)
        value = found.load(address, size)
        self.access = (Access.LOAD, address, size, value)
        return value

    def store(self, address: int, size: int, value: int, syndrome: int = 0) -> None:
        """Store the low 1, 2, 4, 8 or 16 bytes of a value, little-endian.

        UnmappedAccess where no memory is, or it is read-only; `syndrome` as in `load`.
        """
        found = self.memory.find(address, size)
        if found is None:
            raise self._unmapped(True, address, size, syndrome)
        if not found.writable:
            what = f"store of {size} bytes at {address:#x}"
            raise exceptions.data_abort(self, what, address, True, syndrome, "read-only memory")
        value &= (1 << 8 * size) - 1
        found.store(address, size, value)
        self.access = (Access.STORE, address, size, value)

    def _unmapped(
        self, write: bool, address: int, size: int, syndrome: int
    ) -> exceptions.UnmappedAccess:
        what = f"{'store' if write else 'load'} of {size} bytes at {address:#x}"
        accessed = (address + offset & MASK64 for offset in range(size))
        first = next((byte for byte in accessed if not self.memory.find(byte, 1)), address)
        why = "no memory is mapped there"
        return exceptions.data_abort(self, what, first, write, syndrome, why)
