"""Each program on the reference PE: alone, stepped by the hypervisor, and stepping itself."""

import struct
import zlib
from functools import cache

import pytest

from model.a64.trace import Inputs
from model.arch import EL, MDCR_EL2, MDSCR_EL1, Event, ExceptionClass, SPSR_ELx
from model.hyp.assemble import DIRECTORY
from model.hyp.words import from_text
from model.kvm.uapi import KVM_GUESTDBG_ENABLE
from model.programs.image import Image
from model.programs.load import GUESTS, HYPERVISORS, STEPPING, guest, hosted, load
from tb.tests.model.programs.run import Ended, run

MASK64 = (1 << 64) - 1
STEPPABLE = [name for name in GUESTS if name != "spinlock"]

every_sequence = pytest.mark.parametrize("sequence", HYPERVISORS)


@cache
def alone(name: str) -> Ended:
    """A guest without a hypervisor."""
    return run(guest(name))


def contents(image: Image, symbol: str, size: int) -> bytes:
    """Bytes of an image at a symbol, before anything runs."""
    address = image.symbols[symbol]
    (found,) = (
        data[address - start :][:size]
        for start, data in image.segments
        if start <= address < start + len(data)
    )
    return found


def text(image: Image, symbol: str) -> str:
    return contents(image, symbol, 64).split(b"\0")[0].decode()


# What each guest is to compute


def expected_sort(image: Image) -> int:
    array = sorted(struct.unpack("<10i", contents(image, "array", 40)))
    return sum(index * value for index, value in enumerate(array)) & MASK64


def expected_list(image: Image) -> int:
    digits = 0
    for index in range(12):
        digits = digits * 31 + index * index + 1
    return digits & MASK64


def expected_memcpy(image: Image) -> int:
    total = totals = 0
    for value in ((index * 7 + 3) & 0xFF for index in range(43)):
        total += value
        totals += total
    return totals << 32 | total


EXPECTED = {
    "sort": expected_sort,
    "crc32": lambda image: zlib.crc32(text(image, "message").encode()),
    "strsearch": lambda image: text(image, "text").find(text(image, "word")),
    "fibonacci": lambda image: [0, 1, 1, 2, 3, 5, 8, 13][contents(image, "number", 1)[0]],
    "list": expected_list,
    "memcpy": expected_memcpy,
    "spinlock": lambda image: 20,
}


@pytest.mark.parametrize("name", GUESTS)
def test_a_guest_computes_what_python_does(name):
    ended = alone(name)
    assert "el2_park" in ended.at  # its hypercall, with nobody there
    call = ended.rows[-3]  # then the vector, then the park
    assert call.pc == ended.image.symbols["end_of_run"]
    assert ended.doubleword("result") == EXPECTED[name](load(name))
    assert 200 <= len(ended.executed()) <= 1500


def test_the_sorted_array_is_the_array_sorted():
    ended = alone("sort")
    before = struct.unpack("<10i", contents(load("sort"), "array", 40))
    after = ended.processor.read_memory(ended.image.symbols["array"], 40)
    assert list(struct.unpack("<10i", after)) == sorted(before) != list(before)


def test_the_copy_is_the_source_and_no_more():
    ended = alone("memcpy")
    source, target = (
        ended.processor.read_memory(ended.image.symbols[name], 64) for name in ("source", "target")
    )
    assert target == source == bytes((n * 7 + 3) & 0xFF for n in range(43)) + bytes(21)


# Stepped


@every_sequence
@pytest.mark.parametrize("name", STEPPABLE)
def test_a_guest_is_stepped_from_start_to_end(name, sequence):
    free, stepped = alone(name), run(hosted(name, sequence))
    assert "done" in stepped.at
    assert stepped.executed() == free.executed()
    steps = stepped.steps()
    assert stepped.doubleword("steps") == len(steps) == len(free.executed())
    assert [row.elr for row in steps] == [did[0] for did in free.executed()[1:]] + [
        free.image.symbols["end_of_run"]
    ]
    assert stepped.doubleword("result") == free.doubleword("result")
    registers = [stepped.doubleword("vcpu_x", n) for n in range(31)]
    assert registers == free.processor.state.x[:31]


@every_sequence
def test_a_guest_is_stepped_where_writes_are_seen_late(sequence):
    stepped = run(hosted("list", sequence), given=Inputs(write_seen=0, isv_choice=0, wfx_ends=0))
    assert "done" in stepped.at
    assert stepped.executed() == alone("list").executed()


@every_sequence
@pytest.mark.parametrize("control", [0, KVM_GUESTDBG_ENABLE])
@pytest.mark.parametrize("name", GUESTS)
def test_a_guest_runs_unstepped_under_the_hypervisor(name, control, sequence):
    hosted_run = run(hosted(name, sequence, control))
    assert "done" in hosted_run.at
    assert hosted_run.executed() == alone(name).executed()
    assert hosted_run.doubleword("steps") == 0


@every_sequence
def test_a_spin_lock_makes_no_progress_when_stepped(sequence):
    """Each exception return clears the monitor: no store-exclusive of the guest ever passes."""
    stepped = run(hosted("spinlock", sequence), max_rows=90_000)
    assert "done" not in stepped.at
    assert len(stepped.steps()) > len(alone("spinlock").executed())
    assert stepped.doubleword("counter") == stepped.doubleword("lock") == 0
    tail = {did[0] for did in stepped.executed()[-100:]}
    assert len(tail) == 4  # ldaxr, cbnz, stxr, cbnz: for ever
    exclusives = [row for row in stepped.rows if row.event == Event.LOAD_EXCLUSIVE]
    assert len(exclusives) > 100


@every_sequence
def test_the_hypervisor_holds_the_sequence_itself(sequence):
    image = load(HYPERVISORS[sequence])
    start = image.symbols["sequence"]
    words = from_text((DIRECTORY / f"{sequence}.words").read_text(), sequence).words
    expected = struct.pack(f"<{len(words)}I", *words)
    assert contents(image, "sequence", len(expected)) == expected
    eret = image.symbols["guest_eret"]
    assert eret == start + len(expected) + 8  # the two pops
    assert contents(image, "guest_eret", 4) == struct.pack("<I", 0xD69F03E0)


@every_sequence
def test_an_exception_of_the_guest_that_is_neither_a_step_nor_a_call_fails(sequence):
    nowhere = 0x9000_0000  # no memory: a stage 2 abort
    ended = run(hosted("list", sequence).patched({"vcpu_elr": nowhere}))
    assert "failed" in ended.at
    assert ended.processor.state.x[0] >> 26 == ExceptionClass.IABT_LOWER


@every_sequence
@pytest.mark.parametrize("row_count", [150, 400, 401, 450])
def test_an_interrupt_fails(sequence, row_count):
    image = hosted("list", sequence).patched({"hypervisor_hcr": 0x8000_0019})  # IMO, FMO, VM
    ended = run(image, max_rows=row_count)
    rows = ended.processor.run([Inputs(irq=1)] * 200)
    assert rows[-1].pc == image.symbols["failed"]


# Stepping themselves


def logged(ended: Ended) -> list[tuple[int, int]]:
    return [
        (ended.doubleword("log", 2 * n), ended.doubleword("log", 2 * n + 1))
        for n in range(ended.doubleword("logged"))
    ]


def offsets(ended: Ended) -> list[int]:
    """Where the logged exceptions return to, in words from what is stepped."""
    return [(elr - ended.image.symbols["stepped"]) // 4 for elr, _ in logged(ended)]


#: After each step: the branch that is taken skips the BRK; the store-exclusive fails, so that the
#: branch after it is taken as well.
PATH = [1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 13, 14]


@pytest.mark.parametrize("seen", [0, 1])
@pytest.mark.parametrize("name", ["self_el0", "self_el1"])
def test_a_guest_that_steps_itself_logs_each_instruction(name, seen):
    ended = run(guest(name), given=Inputs(write_seen=seen))
    assert "end" in ended.at
    assert offsets(ended) == PATH
    syndrome = 0xCB00_0022 if name == "self_el0" else 0xCF00_0022
    exclusive = PATH.index(9)
    for index, (_, esr) in enumerate(logged(ended)):
        assert esr == syndrome | (0x40 if index == exclusive else 0)
    levels = {row.el for row in ended.rows if row.pc == ended.image.symbols["stepped"]}
    assert levels == {EL.EL0 if name == "self_el0" else EL.EL1}


def test_what_ends_a_self_stepping_guest():
    user, kernel = (run(guest(name)) for name in ("self_el0", "self_el1"))
    assert user.doubleword("result") == ExceptionClass.SVC64 << 26 | 1 << 25 | 7
    assert kernel.doubleword("result") == 0xCF00_0022  # its last step


@every_sequence
@pytest.mark.parametrize("name", ["self_el0", "self_el1"])
def test_a_guest_steps_itself_under_a_hypervisor_that_does_not_debug_it(name, sequence):
    image = hosted(name, sequence, 0)
    ended = run(image)
    assert "end" in ended.at
    assert offsets(ended) == PATH


@every_sequence
def test_a_guest_that_is_debugged_cannot_step_itself(sequence):
    """The hypervisor steps it instead; but an access of its own to MDSCR_EL1 comes to EL2 first."""
    ended = run(hosted("self_el1", sequence, STEPPING))
    assert "failed" in ended.at
    assert ended.processor.state.x[0] >> 26 == ExceptionClass.SYS64


def test_masks_of_the_headers():
    """layout.h has the bits of the architecture as the model has them."""
    header = (DIRECTORY.parent / "programs" / "layout.h").read_text()
    for name, mask in {
        "SPSR_SS": SPSR_ELx.SS.mask,
        "SPSR_IL": SPSR_ELx.IL.mask,
        "SPSR_nRW": SPSR_ELx.nRW.mask,
        "SPSR_D": SPSR_ELx.D.mask,
        "MDSCR_SS": MDSCR_EL1.SS.mask,
        "MDSCR_KDE": MDSCR_EL1.KDE.mask,
        "MDCR_TDE": MDCR_EL2.TDE.mask,
        "MDCR_TDOSA": MDCR_EL2.TDOSA.mask,
    }.items():
        assert f"#define {name}\t(1 << {mask.bit_length() - 1})" in header
