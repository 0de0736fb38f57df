"""The segments and symbols of an ELF executable."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.enums import ENUM_D_TAG
from elftools.elf.sections import SymbolTableSection
from elftools.elf.segments import Segment

from model.arch import RAM_BASE, RAM_SIZE
from model.programs import ProgramError
from model.programs.image import WORD_BYTES, Image
from model.programs.layout import GUEST_BASE

_PAGE = 0xFFFF  #: the largest there is, less 1
_END = RAM_BASE + RAM_SIZE
_LINK = f"link it with -static -no-pie -Wl,-Ttext-segment={GUEST_BASE:#x}"

#: Dynamic tags whose value is the bytes of relocations.
_RELOCATION_SIZES = {
    ENUM_D_TAG[name] for name in ("DT_RELASZ", "DT_RELSZ", "DT_PLTRELSZ", "DT_RELRSZ")
}

#: What pyelftools lets through from a file that is damaged.
_DAMAGED = (
    *(ELFError, OSError, ArithmeticError, LookupError, ValueError),
    *(TypeError, AttributeError, AssertionError),
)


class _Load(NamedTuple):
    """A PT_LOAD."""

    address: int
    size: int  #: in memory
    data: bytes
    executable: bool


def load_executable(path: Path, lowest: int = GUEST_BASE) -> Image:
    """A static AArch64 executable, as it is in memory: segments with their zeros, symbols, entry.

    A position-independent one (ET_DYN) without relocations goes to `lowest`. ProgramError, in one
    line that says what would mend it, for any file that cannot run in RAM from there on.
    """
    try:
        with path.open("rb") as file:
            return _load(file, str(path), lowest)
    except OSError as error:  # a damaged file's are caught where it is parsed
        raise ProgramError(f"{path}: cannot be read: {error.strerror or error}") from error


def _load(file: BinaryIO, name: str, lowest: int) -> Image:
    if file.read(4) != b"\x7fELF":
        raise ProgramError(f"{name}: not an ELF file: give the executable that the linker wrote")
    try:
        elf = ELFFile(file)
        _check_kind(elf, name)
        loads = list(_loads(elf, name))
        bias = _bias(elf, loads, lowest)
        symbols = {key: value + bias for key, value in _symbols(elf)}
        entry = elf["e_entry"] + bias
    except _DAMAGED as error:
        raise ProgramError(f"{name}: a damaged ELF file: {error or 'cut short'}") from error
    loads = [load._replace(address=load.address + bias) for load in loads]
    _check_addresses(loads, entry, name, lowest)
    return Image(tuple((load.address, _contents(load)) for load in loads), symbols, entry)


def _contents(load: _Load) -> bytes:
    return load.data + bytes(load.size - len(load.data))


def _check_kind(elf: ELFFile, name: str) -> None:
    if elf["e_machine"] != "EM_AARCH64" or elf.elfclass != 64 or not elf.little_endian:
        order = "little" if elf.little_endian else "big"
        raise ProgramError(
            f"{name}: ELF for {elf['e_machine']}, {elf.elfclass}-bit {order}-endian:"
            " 64-bit little-endian AArch64 is needed"
        )
    if elf["e_type"] not in ("ET_EXEC", "ET_DYN"):
        raise ProgramError(f"{name}: an ELF of type {elf['e_type']}, no executable: {_LINK}")


def _loads(elf: ELFFile, name: str) -> Iterator[_Load]:
    """The PT_LOADs that are not empty. ProgramError if they are not all there, or not all."""
    for segment in elf.iter_segments():
        kind = segment["p_type"]
        if kind == "PT_INTERP":
            raise ProgramError(f"{name}: needs shared libraries: {_LINK}")
        if kind == "PT_DYNAMIC":
            _check_no_relocations(segment, name)
        if kind == "PT_LOAD" and segment["p_memsz"]:
            yield _segment(segment, name)


def _check_no_relocations(segment: Segment, name: str) -> None:
    data = segment.data()
    tags = struct.iter_unpack("<QQ", data[: len(data) // 16 * 16])
    if any(value for tag, value in tags if tag in _RELOCATION_SIZES):
        raise ProgramError(f"{name}: has relocations, which nothing here resolves: {_LINK}")


def _segment(segment: Segment, name: str) -> _Load:
    address, size, in_file = (segment[key] for key in ("p_vaddr", "p_memsz", "p_filesz"))
    if size > RAM_SIZE:
        raise ProgramError(f"{name}: {size:#x} bytes at {address:#x}: RAM has {RAM_SIZE:#x}")
    if in_file > size:
        raise ProgramError(
            f"{name}: a damaged ELF file: the segment at {address:#x} has {in_file:#x} bytes"
            f" in the file and {size:#x} in memory"
        )
    data = segment.data()
    if len(data) < in_file:
        raise ProgramError(
            f"{name}: cut short: {len(data):#x} of the {in_file:#x} bytes at {address:#x} are in"
            " the file: copy or link it again"
        )
    return _Load(address, size, data, bool(segment["p_flags"] & 1))


def _bias(elf: ELFFile, loads: list[_Load], lowest: int) -> int:
    """What is added to the addresses of the file: whole pages, that ADRP may be right."""
    if elf["e_type"] == "ET_EXEC" or not loads:
        return 0
    return lowest - (min(load.address for load in loads) & ~_PAGE)


def _symbols(elf: ELFFile) -> Iterator[tuple[str, int]]:
    """Global symbols that are defined at an address."""
    table = elf.get_section_by_name(".symtab")
    if not isinstance(table, SymbolTableSection):
        return
    for symbol in table.iter_symbols():
        is_address = symbol["st_shndx"] not in ("SHN_UNDEF", "SHN_ABS")
        if is_address and symbol["st_info"]["bind"] == "STB_GLOBAL":
            yield symbol.name, symbol["st_value"]


def _check_addresses(loads: list[_Load], entry: int, name: str, lowest: int) -> None:
    if not loads:
        raise ProgramError(f"{name}: nothing to load: no PT_LOAD segment: {_LINK}")
    for load in loads:
        if not lowest <= load.address <= load.address + load.size <= _END:
            raise ProgramError(
                f"{name}: {load.size:#x} bytes at {load.address:#x} are outside RAM for programs,"
                f" {lowest:#x} to {_END:#x}: {_LINK}"
            )
    if entry % WORD_BYTES:
        raise ProgramError(f"{name}: the entry {entry:#x} is no multiple of 4: mark it .balign 4")
    code = (load for load in loads if load.executable)
    if not any(load.address <= entry < load.address + load.size for load in code):
        raise ProgramError(
            f"{name}: the entry {entry:#x} is in no executable segment: give the linker"
            " -Wl,--entry=SYMBOL"
        )
