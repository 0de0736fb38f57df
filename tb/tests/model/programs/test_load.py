"""Images as text, patched and put together; and a user's own ELF, in every state."""

import struct

import pytest

from model.arch import HCR_EL2, RAM_BASE, RAM_SIZE, Mode, SPSR_ELx
from model.hyp.words import Sequence
from model.kvm.uapi import KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, KVM_GUESTDBG_USE_SW_BP
from model.programs import ProgramError
from model.programs.image import Image, from_text, to_text
from model.programs.load import (
    BOOT,
    DIRECTORY,
    GUESTS,
    HYPERVISORS,
    KVM,
    SELF_STEPPING,
    VIRT,
    guest,
    hosted,
    load,
    load_elf,
    on_virt,
    with_world_switch,
)
from tb.tests.model.programs.elf_file import (
    B_SELF,
    CODE,
    DYN,
    PT_DYNAMIC,
    PT_INTERP,
    REL,
    X86_64,
    R,
    Segment,
    W,
    elf,
)
from tb.tests.model.programs.run import loaded, run

RAM_END = RAM_BASE + RAM_SIZE
NOP = 0xD503_201F
ALL = (BOOT, VIRT, *HYPERVISORS.values(), KVM, *GUESTS, *SELF_STEPPING)


# Text


def test_text_gives_the_image_back():
    image = Image(((0x1000, bytes(range(16))), (0x2000, b"\1\0\0\0")), {"a": 0x1004}, 0x1000)
    text = to_text(image, ("heading",))
    assert text.startswith("# heading\n# entry 0x1000\n# symbol a 0x1004\n@0x1000\n0x03020100\n")
    assert from_text(text, "x.words") == image


@pytest.mark.parametrize("zeros", [0, 1, 7, 8, 9, 100])
def test_zeros_left_out_are_zeros_in_memory(zeros):
    data = b"\1\2\3\4" + bytes(4 * zeros) + b"\5\6\7\x08"
    text = to_text(Image(((CODE, data),), {}, CODE), ())
    assert len(text.splitlines()) == (4 + zeros if zeros < 8 else 5)
    assert loaded(from_text(text, "x.words")).read_memory(CODE, len(data)) == data


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# entry 0x0\n0x00000001\n", "x.words:2: '0x00000001' is no word at an address"),
        ("# entry 0x0\n@0x0\n0x123456789\n", "x.words:3: '0x123456789' is not a hexadecimal"),
        ("# entry 0x0\n@0x0\n-0x1\n", "x.words:3: '-0x1' is not a hexadecimal"),
        ("# entry 0x0\n@here\n", "x.words:2: 'here' is not a hexadecimal"),
        ("# entry\n@0x0\n", "x.words: no line '# entry ADDRESS'"),
        ("# entry 0x0\n@0x0\n0x1 0x2\n", "x.words:3: '0x1 0x2' is no word at an address"),
    ],
)
def test_a_damaged_text_is_refused(text, message):
    with pytest.raises(ProgramError) as error:
        from_text(text, "x.words")
    assert str(error.value).startswith(message)


def test_an_unaligned_segment_has_no_text():
    with pytest.raises(ValueError, match="0x1002 is not of whole words"):
        to_text(Image(((0x1002, bytes(4)),), {}, 0), ())


# Images of ours


def test_there_is_an_image_for_every_name():
    assert {path.stem for path in DIRECTORY.glob("*.words")} == set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_images_are_where_they_belong(name):
    image = load(name)
    low, high = (
        (RAM_BASE, 0x4008_0000)
        if name in (BOOT, VIRT)
        else (0x4008_0000, 0x4009_0000 - 0x1000)  # the stack comes down from there
        if name in (*HYPERVISORS.values(), KVM)
        else (CODE, 0x401F_0000 - 0x1000)
    )
    assert image.entry == low
    for address, data in image.segments:
        assert low <= address <= address + len(data) <= high
    assert all(low <= address < high for address in image.symbols.values())


def test_an_unknown_image_is_refused():
    with pytest.raises(ProgramError, match=r"nothing\.words: cannot be read"):
        load("nothing")


def patched_value(image: Image, symbol: str) -> int:
    data = loaded(image).read_memory(image.symbols[symbol], 8)
    return int.from_bytes(data, "little")


def test_patches_are_the_last_word():
    image = load(BOOT)
    once = image.patched({"boot_target": 1})
    assert patched_value(once, "boot_target") == 1
    assert patched_value(once.patched({"boot_target": 2}), "boot_target") == 2
    assert patched_value(image, "boot_target") == 0x4008_0000


def test_a_patch_must_fit_and_have_a_place():
    with pytest.raises(ValueError, match="has more than 64 bits"):
        load(BOOT).patched({"boot_target": 1 << 64})
    with pytest.raises(ValueError, match="has more than 64 bits"):
        load(BOOT).patched({"boot_target": -1})
    with pytest.raises(KeyError, match="nowhere"):
        load(BOOT).patched({"nowhere": 0})


def test_two_symbols_of_one_name_do_not_go_together():
    with pytest.raises(ValueError, match="two images have the symbol"):
        load("sort").combined(load("crc32"))


@pytest.mark.parametrize(
    ("control", "debug", "mdcr"),
    [
        (0, 0, 0),
        (KVM_GUESTDBG_SINGLESTEP, 0, 0),
        (KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_ENABLE, 0),
        (KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP, 3, 1 << 8),
        (0xFFFE_FFFD, 0xFFFE_FFFD, 0),
        (KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP, 0x1_0001, 1 << 8),
    ],
)
@pytest.mark.parametrize("sequence", HYPERVISORS)
def test_the_vcpu_is_as_kvm_sets_it_up(control, debug, mdcr, sequence):
    image = hosted("sort", sequence, control)
    assert patched_value(image, "vcpu_guest_debug") == debug
    assert patched_value(image, "vcpu_mdcr_el2") == mdcr
    assert image.symbols["vcpu_guest_debug"] - image.symbols["vcpu"] == 0x40


@pytest.mark.parametrize("sequence", HYPERVISORS)
def test_on_virt_the_loop_comes_back_at_its_end(sequence):
    image = on_virt("list", sequence, 3, rounds=5)
    at = image.symbols
    for end, target in (("done", "virt_done"), ("failed", "virt_failed")):
        word = patched_value(image, end) & 0xFFFF_FFFF
        assert word >> 26 == 0b000101  # B
        assert at[end] + 4 * ((word & 0x3FF_FFFF) - (1 << 26)) == at[target]
    assert patched_value(image, "virt_rounds") == 5
    assert patched_value(image, "virt_guest_enter") == at["guest_enter"]
    assert patched_value(image, "vcpu_guest_debug") == 3
    assert not patched_value(image, "hypervisor_hcr") & HCR_EL2.VM.mask


def world_switch(words: int) -> Image:
    """The world switch with a sequence of so many words."""
    return with_world_switch(load("list"), Sequence("mine", (NOP,) * words, ("nop",) * words))


def test_after_a_sequence_comes_a_branch_to_its_end():
    at = load(KVM).symbols
    for words in (0, 1, 11, 255):
        image = world_switch(words)
        code = loaded(image).read_memory(at["sequence"], 4 * words + 4)
        *nops, branch = struct.unpack(f"<{words + 1}I", code)
        assert nops == [NOP] * words
        assert branch >> 26 == 0b000101  # B
        assert at["sequence"] + 4 * (words + (branch & 0x3FF_FFFF)) == at["sequence_end"]
        assert image.entry == RAM_BASE


def test_a_sequence_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"^mine: 256 words: no more than 255 fit$"):
        world_switch(256)


def test_guest_debug_has_32_bits():
    with pytest.raises(ValueError, match="it has 32 bits"):
        hosted("sort", "bic", 1 << 32)


def test_a_guest_begins_at_el1_with_everything_masked():
    image = guest("sort")
    assert image.entry == RAM_BASE
    assert patched_value(image, "boot_target") == CODE
    masks = SPSR_ELx.D.mask | SPSR_ELx.A.mask | SPSR_ELx.I.mask | SPSR_ELx.F.mask
    assert patched_value(image, "boot_spsr") == Mode.EL1h | masks


# A user's own


@pytest.fixture
def program(tmp_path):
    """Writes an ELF file and returns its path."""

    def write(data: bytes):
        path = tmp_path / "own.elf"
        path.write_bytes(data)
        return path

    return write


def refusal(path) -> str:
    with pytest.raises(ProgramError) as error:
        load_elf(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_a_program_runs_at_el1_with_its_stack_at_the_end_of_ram(program):
    code = struct.pack("<3I", 0x9100_03E0, 0xD503_201F, 0x1400_0000)  # mov x0, sp; nop; b .
    ended = run(load_elf(program(elf([Segment(CODE, code)]))))
    state = ended.processor.state
    assert state.pc == CODE + 8
    assert state.el == 1
    assert state.x[0] == RAM_END
    assert state.x[1:31] == [0] * 30


def test_what_is_not_in_the_file_is_zero(program):
    image = load_elf(program(elf([Segment(CODE, B_SELF, memsz=12)])))
    assert (CODE, B_SELF + bytes(8)) in image.segments


def test_a_program_may_fill_the_ram_up(program):
    size = RAM_END - CODE
    image = load_elf(program(elf([Segment(CODE, B_SELF, memsz=size)])))
    loaded(image)
    assert max(len(data) for _, data in image.segments) == size


def test_a_position_independent_program_is_put_where_it_fits(program):
    segments = [Segment(0x120, B_SELF), Segment(0x1_0000, b"data", flags=R | W)]
    image = load_elf(program(elf(segments, entry=0x120, kind=DYN)))
    assert (CODE + 0x120, B_SELF) in image.segments
    assert (CODE + 0x1_0000, b"data") in image.segments
    assert patched_value(image, "boot_target") == CODE + 0x120


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an ELF file: give the executable"),
        (b"#!/bin/sh\n", "not an ELF file: give the executable"),
        (b"\x7fELF", "a damaged ELF file"),
        (elf(machine=X86_64), "ELF for EM_X86_64, 64-bit little-endian: 64-bit little-endian AAr"),
        (elf(order=2), "ELF for"),
        (elf(kind=REL), "an ELF of type ET_REL, no executable: link it with"),
        (elf([]), "nothing to load: no PT_LOAD segment: link it with"),
        (elf([Segment(CODE, b"")]), "nothing to load"),
        (elf([Segment(0x40_0000, B_SELF)]), "0x4 bytes at 0x400000 are outside RAM for programs"),
        (elf([Segment(CODE - 4, B_SELF)]), "0x4 bytes at 0x400ffffc are outside RAM"),
        (elf([Segment(RAM_END - 4, B_SELF * 2)]), "0x8 bytes at 0x403ffffc are outside RAM"),
        (
            elf([Segment(CODE, B_SELF, memsz=RAM_SIZE + 1)]),
            "0x400001 bytes at 0x40100000: RAM has 0x400000",
        ),
        (elf([Segment(CODE, B_SELF, memsz=1 << 63)]), "0x8000000000000000 bytes at 0x40100000"),
        (elf([Segment(CODE, B_SELF, memsz=2)]), "a damaged ELF file: the segment at 0x40100000"),
        (elf([Segment(CODE, B_SELF, filesz=8)]), "cut short: 0x4 of the 0x8 bytes at 0x40100000"),
        (elf(entry=CODE + 2), "the entry 0x40100002 is no multiple of 4"),
        (elf(entry=0), "the entry 0x0 is in no executable segment"),
        (elf([Segment(CODE, B_SELF, flags=R)]), "the entry 0x40100000 is in no executable"),
        (
            elf([Segment(CODE, B_SELF), Segment(0, b"/lib/ld.so\0", kind=PT_INTERP)]),
            "needs shared libraries: link it with -static",
        ),
        (
            elf(
                [
                    Segment(CODE, B_SELF),
                    Segment(0, struct.pack("<4Q", 8, 24, 0, 0), kind=PT_DYNAMIC),
                ]
            ),
            "has relocations, which nothing here resolves: link it with -static",
        ),
    ],
)
def test_a_file_that_cannot_run_is_refused_in_a_line(program, data, message):
    assert refusal(program(data)).startswith(message)


def test_a_dynamic_segment_without_relocations_is_no_matter(program):
    dynamic = Segment(0, struct.pack("<4Q", 8, 0, 0, 0), kind=PT_DYNAMIC)
    assert load_elf(program(elf([Segment(CODE, B_SELF), dynamic])))


def test_32_bit_elf_is_refused(program):
    header = struct.pack(
        "<4sBBBB8xHHIIIIIHHHHHH", b"\x7fELF", 1, 1, 1, 0, 2, 40, *[0] * 5, 52, *[0] * 5
    )
    assert refusal(program(header)).startswith("ELF for EM_ARM, 32-bit little-endian: 64-bit")


def test_no_file_is_refused(tmp_path):
    assert refusal(tmp_path / "none").startswith("cannot be read: No such file")
    assert refusal(tmp_path).startswith("cannot be read: Is a directory")


def test_a_file_cut_anywhere_is_refused(program):
    whole = elf([Segment(CODE, B_SELF * 4), Segment(CODE + 0x1000, b"data", flags=R | W)])
    load_elf(program(whole))
    for size in range(len(whole)):
        assert refusal(program(whole[:size]))


def test_a_file_with_any_byte_changed_is_loaded_or_refused(program, rng):
    whole = elf([Segment(CODE, B_SELF * 4), Segment(CODE + 0x1000, b"data", flags=R | W)])
    loads = 0
    for _ in range(1000):
        data = bytearray(whole)
        data[rng.randrange(len(data))] = rng.randrange(256)
        path = program(bytes(data))
        try:
            loaded(load_elf(path))
            loads += 1
        except ProgramError as error:
            assert str(error).startswith(f"{path}: ")
            assert "\n" not in str(error)
    assert 0 < loads < 1000
