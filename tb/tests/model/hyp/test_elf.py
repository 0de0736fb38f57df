"""ELF objects made here byte by byte, so that no assembler is needed."""

import struct

import pytest

from model.hyp import SequenceError
from model.hyp.elf import text_words, words_of

EM_AARCH64 = 183
PROGBITS, SYMTAB, STRTAB, RELA = 1, 2, 3, 4
ALLOC, EXECUTE = 2, 4
NOP = struct.pack("<I", 0xD503_201F)


def elf_object(*sections: tuple, machine: int = EM_AARCH64) -> bytes:
    """An object of (name, type, flags, content, link, info, entry size) sections.

    Section 1 is the first one given; the string table of names comes last.
    """
    names = b"\0" + b"".join(name.encode() + b"\0" for name, *_ in sections) + b".shstrtab\0"
    sections = (("", 0, 0, b"", 0, 0, 0), *sections, (".shstrtab", STRTAB, 0, names, 0, 0, 0))
    offset, body, headers = 64, b"", b""
    for name, kind, flags, content, link, info, entry_size in sections:
        name_offset = names.index(name.encode() + b"\0")
        headers += struct.pack(
            "<IIQQQQIIQQ",
            *(name_offset, kind, flags, 0, offset + len(body)),
            *(len(content), link, info, 1, entry_size),
        )
        body += content
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header = ident + struct.pack(
        "<HHIQQQIHHHHHH",
        *(1, machine, 1, 0, 0, offset + len(body), 0, 64, 0, 0, 64),
        *(len(sections), len(sections) - 1),
    )
    return header + body + headers


def section(name: str, content: bytes, flags: int = ALLOC) -> tuple:
    return (name, PROGBITS, flags, content, 0, 0, 0)


def refusal(data: bytes) -> str:
    with pytest.raises(SequenceError) as error:
        text_words(data, "bad.o")
    return str(error.value)


def test_the_words_of_text_are_found():
    data = elf_object(section(".text", NOP + b"\x01\x02\x03\x04", ALLOC | EXECUTE))
    assert text_words(data, "good.o") == (0xD503_201F, 0x0403_0201)


def test_empty_text_is_an_empty_sequence():
    assert text_words(elf_object(section(".text", b"")), "empty.o") == ()


def test_sections_that_no_code_reads_are_left_out():
    data = elf_object(
        section(".text", NOP),
        section(".eh_frame", b"1234"),
        section(".note.gnu.property", b"1234"),
        section(".comment", b"1234", flags=0),
        section(".data", b""),
    )
    assert text_words(data, "good.o") == (0xD503_201F,)


def test_content_outside_text_is_refused():
    data = elf_object(section(".text", NOP), section(".hyp.text", NOP * 2))
    assert refusal(data) == "bad.o: 8 bytes in .hyp.text: only .text is run"


def test_an_object_without_text_is_refused():
    data = elf_object(section(".data", b""))
    assert refusal(data) == "bad.o: no .text section: put the sequence there"


def test_a_relocation_left_over_is_refused_with_its_symbol():
    call26 = 283
    data = elf_object(
        section(".text", NOP),
        (".rela.text", RELA, 0, struct.pack("<QQq", 4, 1 << 32 | call26, 0), 3, 1, 24),
        (".symtab", SYMTAB, 0, bytes(24) + struct.pack("<IBBHQQ", 1, 16, 0, 0, 0, 0), 4, 1, 24),
        (".strtab", STRTAB, 0, b"\0elsewhere\0", 0, 0, 0),
    )
    assert refusal(data) == (
        "bad.o: .text+0x4 refers to elsewhere (R_AARCH64_CALL26): a sequence must stand alone"
    )


def test_another_machine_is_refused():
    x86_64 = 62
    assert refusal(elf_object(section(".text", NOP), machine=x86_64)) == (
        "bad.o: ELF for EM_X86_64, 64-bit little-endian: 64-bit little-endian AArch64 is needed"
    )


def test_half_a_word_is_refused():
    data = elf_object(section(".text", NOP + b"\0"))
    assert refusal(data) == "bad.o: .text has 5 bytes: A64 code is a multiple of 4"


@pytest.mark.parametrize("size", [4, 5, 16, 63, 64, 70, 200])
def test_a_damaged_file_is_refused(size):
    whole = elf_object(section(".text", NOP))
    assert refusal(whole[:size]).startswith("bad.o: a damaged ELF file")


def test_words_are_little_endian():
    assert words_of(b"\x01\x02\x03\x04", "raw") == (0x0403_0201,)
