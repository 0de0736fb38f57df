"""A guest that the hypervisor steps from start to end, both as machine code on the core.

The reference runs the guest alone, not stepped. Stepped on the core, it must go through the same
addresses, and leave the same registers, flags and memory. That is all of the guest; what the
hypervisor does is held against the reference row by row under one of the sequences, for time.
"""

from collections.abc import Iterable
from typing import Any

from model.a64.processor import Processor
from model.a64.trace import Row
from model.arch import EL, RAM_BASE, RAM_SIZE, SPSR_ELx
from model.programs import load
from model.programs.image import Image
from model.programs.layout import GUEST_BASE
from tb.cases import register
from tb.core.rows import Rows
from tb.core.testbench import CoreTestbench
from tb.harness import CORE
from tb.testbench import Failure

SEQUENCES = tuple(load.HYPERVISORS)
#: Every exception return opens the monitor, so a stepped store-exclusive never stores.
NO_PROGRESS = "spinlock"
PROGRAMS = tuple(name for name in load.GUESTS if name != NO_PROGRESS)

_NZCV = SPSR_ELx.N.mask | SPSR_ELx.Z.mask | SPSR_ELx.C.mask | SPSR_ELx.V.mask

LOCKSTEP = "v1"  #: the sequence under which every row is compared

#: What the slow simulators begin, too: they come to the first steps, alike for all programs.
EVERYWHERE = "sort"

#: Turns of the spin lock's loop that are looked at: it never ends.
TURNS = 50


def unstepped(name: str) -> tuple[Processor, list[int]]:
    """The reference after a guest has run alone, and the guest's addresses up to its hypercall."""
    image = load.guest(name)
    processor = Processor()
    for address, content in image.segments:
        processor.write_memory(address, content)
    end = image.symbols["end_of_run"]
    rows = processor.run(stop=lambda row: row.pc == end)
    return processor, guest_addresses(rows)


def guest_addresses(rows: Iterable[Row | Any]) -> list[int]:
    """The address of each instruction that was executed at EL1."""
    return [row.pc for row in rows if row.el == EL.EL1 and row.word]


def _addresses(rows: Rows) -> list[int]:
    """The same of rows of the core."""
    at_el1 = (rows["el"] == EL.EL1) & (rows["word"] != 0)
    return [int(pc) for pc in rows["pc"][at_el1]]


async def step(tb: CoreTestbench, name: str, sequence: str) -> None:
    """Step a guest from start to end, or as far as a slow simulator goes in its time."""
    image = load.hosted(name, sequence)
    processor, expected = unstepped(name)
    addresses: list[int] = []
    last = None
    lockstep = sequence == LOCKSTEP
    async for rows in tb.batches(image.segments, max_rows=tb.most_rows, lockstep=lockstep):
        addresses += _addresses(rows)
        last = rows.row(-1)
    _same_addresses(addresses, expected[: len(addresses)])
    if not addresses:
        raise Failure("the guest has not begun")
    if last is None or last.pc != image.symbols["done"]:
        if tb.checked < tb.most_rows:
            raise Failure(f"the hypervisor has ended at {last.pc if last else 0:#x}, not at done")
        return
    _same_addresses(addresses, expected)
    _same_end(tb, image, processor)
    steps = tb.memory.read(image.symbols["steps"], 8)
    if steps != len(expected) - 1:  # a hypercall is no step: its own exception comes first
        raise Failure(f"{steps} steps for {len(expected)} instructions, of which one calls")


def _same_addresses(found: list[int], expected: list[int]) -> None:
    for at, (pc, right) in enumerate(zip(found, expected, strict=False)):
        if pc != right:
            what = f"instruction {at} of the stepped guest is at {pc:#x}"
            raise Failure(f"{what}; not stepped, it is at {right:#x}")
    if len(found) != len(expected):
        raise Failure(f"{len(found)} instructions when stepped, {len(expected)} when not")


def _same_end(tb: CoreTestbench, image: Image, processor: Processor) -> None:
    """Registers and flags as the hypervisor has saved them, and the guest's memory."""
    state, symbols = processor.state, image.symbols
    for n in range(31):
        found = tb.memory.read(symbols["vcpu_x"] + 8 * n, 8)
        if found != state.x[n]:
            raise Failure(f"x{n} is {found:#x} when stepped, {state.x[n]:#x} when not")
    flags = (tb.memory.read(symbols["vcpu_spsr"], 8) & _NZCV) >> SPSR_ELx.V.lsb
    if flags != state.nzcv:
        raise Failure(f"NZCV is {flags:04b} when stepped, {state.nzcv:04b} when not")
    size = RAM_BASE + RAM_SIZE - GUEST_BASE
    held = bytes(tb.memory.ram[GUEST_BASE - RAM_BASE :])
    expected = processor.read_memory(GUEST_BASE, size)
    if held != expected:
        at = next(n for n in range(size) if held[n] != expected[n])
        raise Failure(f"the byte at {GUEST_BASE + at:#x} is not as it is when not stepped")


async def no_progress(tb: CoreTestbench, sequence: str) -> None:
    """The known limit: a stepped load-exclusive is followed by an exception return."""
    image = load.hosted(NO_PROGRESS, sequence)
    _, expected = unstepped(NO_PROGRESS)
    loop = _loop(expected, image)
    rows_of_step = 250  # or less: what the hypervisor executes for a step
    most = TURNS * len(loop) * rows_of_step
    addresses: list[int] = []
    lockstep = sequence == LOCKSTEP
    async for rows in tb.batches(image.segments, max_rows=most, lockstep=lockstep):
        addresses += _addresses(rows)
    if addresses[-1:] and addresses[-1] == image.symbols["end_of_run"]:
        raise Failure("the spin lock was taken, though each step opens the monitor")
    if tb.memory.read(image.symbols["lock"], 8) or tb.memory.read(image.symbols["counter"], 8):
        raise Failure("a stepped store-exclusive has stored")
    tail = addresses[-2 * len(loop) :]
    if set(tail) - set(loop):
        raise Failure("the stepped guest is not in the spin lock's loop")
    tb.say(["the stepped spin lock makes no progress: each exception return opens the monitor"])


def _loop(expected: list[int], image: Image) -> list[int]:
    """The addresses of the first attempt to take the lock: of a load-exclusive and its store."""
    words = dict(_words(image))
    exclusive = [at for at, pc in enumerate(expected) if words[pc] >> 24 & 0x3F == 0b001000]
    first, second = exclusive[:2]
    return expected[first - 1 : second + 2]


def _words(image: Image) -> Iterable[tuple[int, int]]:
    for start, content in image.segments:
        for offset in range(0, len(content) - 3, 4):
            yield start + offset, int.from_bytes(content[offset : offset + 4], "little")


def _register() -> None:
    for sequence in SEQUENCES:
        for name in PROGRAMS:

            async def stepped(
                tb: CoreTestbench, name: str = name, sequence: str = sequence
            ) -> None:
                await step(tb, name, sequence)

            full_name, bulk = f"core.step_guest.{name}.{sequence}", name != EVERYWHERE
            register(full_name, stepped, "D2.12", bulk=bulk, design=CORE)

        async def turns(tb: CoreTestbench, sequence: str = sequence) -> None:
            await no_progress(tb, sequence)

        limit = f"core.step_guest.{NO_PROGRESS}.{sequence}"
        register(limit, turns, "D2.12, B2.9: a known limit", bulk=True, design=CORE)


_register()
