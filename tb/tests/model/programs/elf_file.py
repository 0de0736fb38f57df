"""Small ELF executables, made by hand."""

import struct
from collections.abc import Iterable
from typing import NamedTuple

CODE = 0x4010_0000
B_SELF = struct.pack("<I", 0x1400_0000)

EXEC, DYN, REL = 2, 3, 1
AARCH64, X86_64 = 183, 62
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
R, W, X = 4, 2, 1

_HEADER = "<4sBBBB8xHHIQQQIHHHHHH"
_SEGMENT = "<IIQQQQQQ"


class Segment(NamedTuple):
    """A program header and what it is of."""

    address: int
    data: bytes
    memsz: int | None = None
    flags: int = R | X
    kind: int = PT_LOAD
    filesz: int | None = None


def elf(
    segments: Iterable[Segment] = (Segment(CODE, B_SELF),),
    entry: int = CODE,
    kind: int = EXEC,
    machine: int = AARCH64,
    elf_class: int = 2,
    order: int = 1,
) -> bytes:
    """The bytes of an ELF executable without sections."""
    segments = list(segments)
    header_size, segment_size = struct.calcsize(_HEADER), struct.calcsize(_SEGMENT)
    offset = header_size + segment_size * len(segments)
    identity = (b"\x7fELF", elf_class, order, 1, 0)
    sizes = (header_size, segment_size, len(segments), 64, 0, 0)
    result = struct.pack(_HEADER, *identity, kind, machine, 1, entry, header_size, 0, 0, *sizes)
    for segment in segments:
        filesz = len(segment.data) if segment.filesz is None else segment.filesz
        memsz = filesz if segment.memsz is None else segment.memsz
        result += struct.pack(
            _SEGMENT,
            *(segment.kind, segment.flags, offset, segment.address, segment.address),
            *(filesz, memsz, 4),
        )
        offset += len(segment.data)
    return result + b"".join(segment.data for segment in segments)
