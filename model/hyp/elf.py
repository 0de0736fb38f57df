"""The machine code of an ELF object."""

import struct
from io import BytesIO

from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS
from elftools.elf.descriptions import describe_reloc_type
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

from model.hyp import SequenceError

MAGIC = b"\x7fELF"

#: Sections that a compiler adds and that no code reads.
_IGNORED = (".eh_frame", ".note.")


def text_words(data: bytes, name: str) -> tuple[int, ...]:
    """The words of .text of a 64-bit little-endian AArch64 ELF object.

    SequenceError, naming `name`, for any other file, and for code that cannot stand alone: with
    relocations left over, or with content outside .text.
    """
    try:
        return _text_words(ELFFile(BytesIO(data)), name)
    except ELFError as error:
        raise SequenceError(f"{name}: a damaged ELF file: {error}") from error


def _text_words(elf: ELFFile, name: str) -> tuple[int, ...]:
    if elf["e_machine"] != "EM_AARCH64" or elf.elfclass != 64 or not elf.little_endian:
        order = "little" if elf.little_endian else "big"
        raise SequenceError(
            f"{name}: ELF for {elf['e_machine']}, {elf.elfclass}-bit {order}-endian:"
            " 64-bit little-endian AArch64 is needed"
        )
    _check_sections(elf, name)
    text = elf.get_section_by_name(".text")
    if text is None:
        raise SequenceError(f"{name}: no .text section: put the sequence there")
    data = text.data()
    return words_of(data, f"{name}: .text")


def words_of(data: bytes, name: str) -> tuple[int, ...]:
    """Little-endian 32-bit words. SequenceError, naming `name`, if the size does not fit."""
    if len(data) % 4:
        raise SequenceError(f"{name} has {len(data)} bytes: A64 code is a multiple of 4")
    return tuple(word for (word,) in struct.iter_unpack("<I", data))


def _check_sections(elf: ELFFile, name: str) -> None:
    for section in elf.iter_sections():
        if isinstance(section, RelocationSection):
            _check_relocations(elf, section, name)
            continue
        is_loaded = section["sh_flags"] & SH_FLAGS.SHF_ALLOC and section["sh_size"]
        if is_loaded and section.name != ".text" and not section.name.startswith(_IGNORED):
            raise SequenceError(
                f"{name}: {section['sh_size']} bytes in {section.name}: only .text is run"
            )


def _check_relocations(elf: ELFFile, section: RelocationSection, name: str) -> None:
    target = elf.get_section(section["sh_info"])
    if target.name != ".text" or not section.num_relocations():
        return
    relocation = section.get_relocation(0)
    symbols = elf.get_section(section["sh_link"])
    assert isinstance(symbols, SymbolTableSection)
    symbol = symbols.get_symbol(relocation["r_info_sym"]).name or "a section"
    kind = describe_reloc_type(relocation["r_info_type"], elf)
    raise SequenceError(
        f"{name}: .text+{relocation['r_offset']:#x} refers to {symbol} ({kind}):"
        " a sequence must stand alone"
    )
