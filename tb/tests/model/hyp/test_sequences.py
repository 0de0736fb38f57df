import struct

import pytest

from model.hyp import SequenceError
from model.hyp.assemble import NAMES, find_assemblers
from model.hyp.sequences import load

NOP = 0xD503_201F


def refusal(path) -> str:
    with pytest.raises(SequenceError) as error:
        load(path)
    return str(error.value)


LENGTHS = {"v1": 11, "bic": 11, "callout": 0, "upstream": 0}


@pytest.mark.parametrize(("name", "length"), LENGTHS.items())
def test_our_sequences_are_loaded_by_name(name, length):
    sequence = load(name)
    assert sequence.name == name
    assert len(sequence.words) == length
    assert all(sequence.listing)


def test_v1_is_the_code_of_the_seed():
    assert load("v1").listing == (
        "ldr x3, [x0, #GUEST_DEBUG]",
        "tbz x3, #KVM_GUESTDBG_ENABLE_SHIFT, 2f",
        "mrs x1, spsr_el2",
        "mrs x2, mdscr_el1",
        "orr x1, x1, #DBG_SPSR_SS",
        "orr x2, x2, #DBG_MDSCR_SS",
        "tbnz x3, #KVM_GUESTDBG_SINGLESTEP_SHIFT, 1f",
        "eor x1, x1, #DBG_SPSR_SS",
        "eor x2, x2, #DBG_MDSCR_SS",
        "msr spsr_el2, x1",
        "msr mdscr_el1, x2",
    )


@pytest.mark.skipif(
    not find_assemblers(),
    reason="not run: no A64 assembler is installed (pip install 'softstep[asm]')",
)
@pytest.mark.parametrize("suffix", ["S", "s"])
def test_a_source_is_assembled(tmp_path, suffix):
    path = tmp_path / f"mine.{suffix}"
    path.write_text("\ttbz x3, #KVM_GUESTDBG_ENABLE_SHIFT, 1f\n1:\n")
    sequence = load(path)
    assert sequence.words == (0x3600_0023,)
    assert sequence.listing == ("tbz x3, #KVM_GUESTDBG_ENABLE_SHIFT, 1f",)


def test_a_text_of_words_is_read(tmp_path):
    path = tmp_path / "mine.words"
    path.write_text("0xd503201f // nop\n")
    assert load(path).words == (NOP,)
    assert load(path).listing == ("nop",)


def test_any_other_file_is_raw_words(tmp_path):
    path = tmp_path / "mine.bin"
    path.write_bytes(struct.pack("<2I", NOP, 1))
    sequence = load(str(path))
    assert sequence.name == str(path)
    assert sequence.words == (NOP, 1)
    assert sequence.listing == ("", "")


def test_an_elf_file_is_known_by_its_content(tmp_path):
    path = tmp_path / "mine.bin"
    path.write_bytes(b"\x7fELF")
    assert refusal(path).startswith(f"{path}: a damaged ELF file")


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "mine.bin"
    path.write_bytes(b"")
    assert refusal(path) == (f"{path}: the file is empty: raw A64 code is 4 bytes an instruction")


def test_a_part_of_a_word_is_refused(tmp_path):
    path = tmp_path / "mine.bin"
    path.write_bytes(bytes(7))
    assert refusal(path) == f"{path}: a file of raw words has 7 bytes: A64 code is a multiple of 4"


@pytest.mark.parametrize("name", ["v2", "none.S", "none.words", "none.o"])
def test_a_file_that_is_not_there_is_named_with_what_is(name):
    assert refusal(name) == (
        f"{name}: no such file, nor one of the sequences here: {', '.join(NAMES)}"
    )


def test_a_directory_is_refused(tmp_path):
    assert refusal(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"
