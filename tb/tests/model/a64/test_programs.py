"""C, compiled as kernels are: every word decodes, and what runs computes what it must."""

import shutil
import struct
import subprocess
import zlib
from io import BytesIO
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from model.a64.interpreter import DECODER, run
from model.a64.state import MASK64, State

GCC = "aarch64-linux-gnu-gcc"
SOURCE = Path(__file__).parent / "programs" / "programs.c"
FLAGS = [
    *("-mgeneral-regs-only", "-ffreestanding", "-nostdlib", "-static", "-no-pie"),
    # libgcc would have the out-of-line atomics, which choose between LSE and exclusives.
    *("-mno-outline-atomics", "-fno-asynchronous-unwind-tables"),
    *("-Wl,-Ttext=0x10000000", "-Wl,--build-id=none", "-Wl,-e,crc32"),
]

DATA = 0x4000_0000
STACK_TOP = 0x5000_0000
STACK_SIZE = 0x10000
RETURN = 0x6000_0000

pytestmark = pytest.mark.skipif(
    not shutil.which(GCC),
    reason="not run: no cross compiler (apt-get install gcc-aarch64-linux-gnu)",
)


@pytest.fixture(scope="module", params=["-O0", "-O2", "-O3", "-Os"])
def program(request, tmp_path_factory) -> ELFFile:
    output = tmp_path_factory.mktemp("a64") / "programs.elf"
    subprocess.run([GCC, request.param, *FLAGS, SOURCE, "-o", output], check=True)
    return ELFFile(BytesIO(output.read_bytes()))


def loaded(program: ELFFile, data: bytes) -> State:
    state = State()
    for segment in program.iter_segments("PT_LOAD"):
        writable = bool(segment["p_flags"] & 2)
        state.memory.map(segment["p_vaddr"], segment.data(), writable)
    state.memory.map(DATA, data)
    state.memory.map(STACK_TOP - STACK_SIZE, bytes(STACK_SIZE))
    state.sp = STACK_TOP
    return state


def call(program: ELFFile, state: State, name: str, *arguments: int) -> int:
    """What a function returns, by the procedure call standard."""
    symbols = program.get_section_by_name(".symtab")
    assert isinstance(symbols, SymbolTableSection)
    found = symbols.get_symbol_by_name(name)
    assert found, f"the program has no {name}"
    for register, value in enumerate(arguments):
        state.x[register] = value & MASK64
    kept = state.x[19:30], state.sp
    state.pc, state.x[30] = found[0]["st_value"], RETURN
    run(state, RETURN, max_steps=2_000_000)
    assert (state.x[19:30], state.sp) == kept
    return state.x[0]


def test_every_word_of_compiled_c_decodes(program):
    text = program.get_section_by_name(".text")
    words = struct.unpack(f"<{text.data_size // 4}I", text.data())
    names = {DECODER.decode(word, index * 4).name for index, word in enumerate(words)}
    assert len(words) > 150
    assert len(names) > 35


def test_crc_32(program, rng):
    data = rng.randbytes(300)
    assert call(program, loaded(program, data), "crc32", DATA, 300) & 0xFFFF_FFFF == zlib.crc32(
        data
    )


def test_heap_sort(program, rng):
    values = [rng.randrange(-(1 << 63), 1 << 63) for _ in range(200)]
    state = loaded(program, struct.pack("<200q", *values))
    call(program, state, "heap_sort", DATA, 200)
    found = state.memory.find(DATA, 1)
    assert list(struct.unpack("<200q", found.contents)) == sorted(values)


def test_recursion(program):
    assert call(program, loaded(program, b""), "fibonacci", 15) == 610


def rotated(value: int) -> int:
    return (value >> 7 | value << 57) & MASK64


def mixed_sum(items: list[tuple[int, int, int, int]]) -> int:
    """mix() of programs.c, in Python."""
    total = 0
    for b, h, w, x in items:
        signed_x = x - (1 << 64) if x >> 63 else x
        magnitude = abs(signed_x) // abs(w) if w else 1
        quotient = magnitude if w and (signed_x < 0) == (w < 0) else -magnitude
        total = rotated(total) + quotient & MASK64
        total ^= total * x >> 64
        total += b * h - w * w
        total += 64 - (x | 1).bit_length() + int.from_bytes(struct.pack("<i", w), "big")
        total = total - (x % 1000003 & ~h) & MASK64
    return total


def test_arithmetic_of_every_width(program, rng):
    bits = rng.getrandbits
    items = [(bits(8) - 128, bits(16), bits(32) - (1 << 31), bits(64)) for _ in range(100)]
    items[50] = (*items[50][:2], 0, items[50][3])
    state = loaded(program, b"".join(struct.pack("<bxHiQ", *item) for item in items))
    assert call(program, state, "mix", DATA, len(items)) == mixed_sum(items)


def test_atomics(program):
    state = loaded(program, bytes(16))
    assert call(program, state, "count_up", DATA, 5) & 0xFFFF_FFFF == 0
    assert call(program, state, "count_up", DATA, 7) & 0xFFFF_FFFF == 5
    assert state.load(DATA, 4) == 12
    assert [call(program, state, "claim", DATA + 8, owner) for owner in (3, 4)] == [0, 3]
    call(program, state, "release", DATA + 8)
    assert call(program, state, "claim", DATA + 8, 4) == 0
    assert state.load(DATA + 8, 8) == 4


@pytest.mark.parametrize(
    ("what", "a", "b", "result"),
    [
        (0, 5, -7, -2),
        (1, 5, -7, 12),
        (2, 5, -7, -35),
        (3, 5, 62, 1 << 62),
        (4, -5, 1, -3),
        (5, 5, -7, -7),
        (6, 1, 0, 1 << 56),
        (7, 0x1_8000, 0x1FF, -0x8000 + 0xFF),
        (8, 5, -7, -1),
    ],
)
def test_a_switch(program, what, a, b, result):
    assert call(program, loaded(program, b""), "dispatch", what, a, b) == result & MASK64
