"""The memory around the core, and runs: the same in Python and in C++, on every simulator."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from model.arch import RAM_BASE, RAM_SIZE
from tb.core import machine
from tb.core.machine import CycleByCycle, ImageError, Limits, Memory
from tb.core.rows import INPUTS, inputs
from tb.harness import pack, unpack
from tb.sims import pysim
from tb.tests.tb.core.toy import BRANCH, FIRST, NOP, PENDING, TOY, access
from tb.work import SIMULATORS, adapter

END = RAM_BASE + RAM_SIZE
OTHERS = [name for name in SIMULATORS if name != "pysim"]


def image(words):
    return [(RAM_BASE, b"".join(word.to_bytes(4, "little") for word in words))]


@dataclass
class Run:
    """The task: runs words; gives the rows, the RAM, and where the machine has come to."""

    words: list[int]
    inputs: Any
    limits: Limits

    async def __call__(self, simulator):
        made = simulator.machine(TOY)
        await made.start(image(self.words), self.inputs)
        rows = await made.run(self.limits)
        return rows, bytes(made.memory.ram), (made.rows, made.cycles, made.at_end)


def run(name, words, given=None, rows=1000, cycles=10_000, at_self_branch=True, waves=None):
    """On one simulator; skips the test where it is not installed."""
    if why := adapter(name).missing():
        pytest.skip(f"not run: {why}")
    given = inputs() if given is None else given
    return adapter(name).run(Run(words, given, Limits(rows, cycles, at_self_branch)), waves, TOY)


def played(made, cycles):
    """Some cycles of a machine over a simulator that is no simulator."""

    async def task():
        await made.start([], inputs())
        await made.run(Limits(1000, cycles))

    asyncio.run(task())


def random_words(rng, count):
    """Accesses in RAM, around its ends and elsewhere; they come out of the first 64 KiB."""

    def address():
        near = rng.choice([RAM_BASE + 0x10000, END - 40, RAM_BASE - 20, FIRST, END + 100])
        return near + rng.randrange(40)

    words = [access(address(), rng.randrange(5), rng.randrange(2)) for _ in range(count)]
    return [rng.choice([word, word, NOP]) for word in words]


# Memory


def test_memory_has_the_image_and_is_0_elsewhere():
    memory = Memory([(RAM_BASE + 3, b"abc"), (END - 1, b"z"), (RAM_BASE + 4, b"B")])
    assert memory.ram[:8] == b"\0\0\0aBc\0\0"
    assert memory.ram[-2:] == b"\0z"
    assert len(memory.ram) == RAM_SIZE


@pytest.mark.parametrize("address", [RAM_BASE - 1, END - 2, END, 0, 1 << 64])
def test_an_image_outside_ram_is_an_error(address):
    with pytest.raises(ImageError, match=rf"^{address:#x}: 3 bytes are not all in RAM$"):
        Memory([(address, b"abc")])


def test_memory_is_little_endian_and_takes_the_low_bytes():
    memory = Memory()
    memory.write(RAM_BASE + 1, 4, 0x99_1234_5678)
    assert memory.ram[:6] == b"\0\x78\x56\x34\x12\0"
    assert memory.read(RAM_BASE + 2, 2) == 0x3456


def test_the_host_reads_and_writes_bytes_of_ram():
    memory = Memory()
    memory.store(END - 3, b"abc")
    memory.store(RAM_BASE, b"")
    assert memory.load(END - 4, 4) == b"\0abc"
    assert len(memory.ram) == RAM_SIZE


@pytest.mark.parametrize("address", [RAM_BASE - 1, END - 2, END, 0, -3])
def test_the_host_reads_and_writes_ram_only(address):
    memory, error = Memory(), rf"^3 bytes at {address:#x} are not all in RAM$"
    with pytest.raises(ValueError, match=error):
        memory.load(address, 3)
    with pytest.raises(ValueError, match=error):
        memory.store(address, b"abc")
    assert not any(memory.ram)


@pytest.mark.parametrize("size", [1, 2, 4, 8, 16])
def test_the_first_byte_that_is_not_in_ram(size):
    memory = Memory()
    for address in (*range(RAM_BASE - 20, RAM_BASE + 20), *range(END - 20, END + 20), 0):
        outside = [n for n in range(size) if not RAM_BASE <= address + n < END]
        assert memory.without(address, size) == (outside[0] if outside else None)


# Runs


def test_rows_have_their_cycles_and_the_run_ends_at_a_branch_to_itself():
    rows, _, so_far = run("pysim", [NOP, access(RAM_BASE, 2, 0), BRANCH, NOP])
    assert rows["pc"].tolist() == [RAM_BASE, RAM_BASE + 4, RAM_BASE + 8]
    assert rows.cycles.tolist() == [2, 6, 9]
    assert so_far == (3, 10, True)


@pytest.mark.parametrize("name", ["pysim", "compiled"])
@pytest.mark.parametrize(
    ("word", "at_self_branch", "rows", "at_end"),
    [(BRANCH, True, 1, True), (BRANCH, False, 9, False), (PENDING, True, 9, False)],
)
def test_what_ends_a_run(name, word, at_self_branch, rows, at_end):
    found, _, so_far = run(name, [word], rows=9, at_self_branch=at_self_branch)
    assert (len(found), so_far) == (rows, (rows, 3 * rows, at_end))


@pytest.mark.parametrize("name", ["pysim", "compiled"])
def test_a_run_ends_with_its_cycles(name):
    found, _, so_far = run(name, [NOP] * 9, cycles=10)
    assert (len(found), so_far) == (3, (3, 10, False))


@pytest.mark.parametrize("name", OTHERS)
def test_every_simulator_gives_the_same_run(name, rng):
    words = [*random_words(rng, 300), BRANCH]
    given = inputs(**{each: [rng.getrandbits(1) for _ in range(200)] for each in INPUTS})
    rows, ram, so_far = run(name, words, given)
    right, right_ram, right_so_far = run("pysim", words, given)
    assert np.array_equal(rows.raw, right.raw)
    assert np.array_equal(rows.cycles, right.cycles)
    assert so_far == right_so_far == (301, right_so_far[1], True)
    assert ram == right_ram != bytes(Memory(image(words)).ram)


def test_accesses_are_answered_as_the_memory_says(rng):
    words = random_words(rng, 400)
    rows, ram, _ = run("pysim", words, rows=len(words))
    memory = Memory(image(words))
    for at, word in enumerate(words):
        row, pc = rows.row(at), RAM_BASE + 4 * at
        if word == NOP:
            continue
        size, address = 1 << (word >> 3 & 7), FIRST + (word >> 6)
        outside = memory.without(address, size)
        assert row.hpfar == (outside is not None)
        assert row.far == (outside or 0)
        if outside is None and word & 4:
            memory.write(address, size, ((1 << 64) - 1 - pc) << 64 | pc)
        elif outside is None:
            assert row.mem_data == memory.read(address, size)
    assert ram == memory.ram


@pytest.mark.parametrize("name", ["pysim", "compiled"])
def test_the_inputs_are_those_of_the_row_and_the_last_hold(name):
    rows, _, _ = run(name, [NOP] * 6, inputs(irq=[1, 0, 1, 0], fiq=1), rows=6)
    assert rows["irq"].tolist() == [1, 0, 1, 0, 0, 0]
    assert rows["fiq"].tolist() == [1] * 6


def in_parts(name, words, given, limits, between):
    """The rows of runs that follow one another; `between` is called between them."""
    if why := adapter(name).missing():
        pytest.skip(f"not run: {why}")

    async def task(simulator):
        made = simulator.machine(TOY)
        await made.start(image(words), given)
        found = []
        for each in limits:
            found.append(await made.run(each))
            between(made)
        return found

    return adapter(name).run(task, None, TOY)


@pytest.mark.parametrize("name", ["pysim", "compiled"])
def test_a_run_stops_where_it_is_to_and_the_next_goes_on(name):
    def stop(n):
        return Limits(100, 1000, True, RAM_BASE + 4 * n)

    words = [NOP] * 6 + [BRANCH]
    found = in_parts(name, words, inputs(), [stop(2), stop(2), stop(3)], lambda made: None)
    assert [part["pc_after"].tolist()[-1] - RAM_BASE for part in found[:2]] == [8, 24]
    assert [len(part) for part in found] == [2, 5, 0]  # the second comes to its end
    words[6] = PENDING
    found = in_parts(name, words, inputs(), [stop(5), *[stop(6)] * 3], lambda made: None)
    assert [len(part) for part in found] == [5, 1, 1, 1]


@pytest.mark.parametrize("name", ["pysim", "compiled"])
def test_inputs_given_between_runs_are_for_the_rows_from_the_next_one_on(name):
    given = iter([inputs(fiq=[1, 0]), inputs(irq=[0, 1]), inputs()])
    limits = [Limits(rows, 1000) for rows in (2, 5, 8)]
    first = inputs(irq=[0, 0, 1])
    found = in_parts(name, [NOP] * 9, first, limits, lambda made: made.give(next(given)))
    assert [part["irq"].tolist() for part in found] == [[0, 0], [0, 0, 0], [0, 1, 1]]
    assert [part["fiq"].tolist() for part in found] == [[0, 0], [1, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("name", ["pysim", "compiled"])
def test_memory_may_be_read_and_changed_between_runs(name):
    place = RAM_BASE + 0x10000
    stored, seen = access(place, 3, 1), access(place, 3, 0)
    read = []

    def between(made):
        read.append(made.memory.read(place, 8))
        made.memory.write(place, 8, read[-1] + 1)

    limits = [Limits(rows, 1000) for rows in (1, 2, 3)]
    found = in_parts(name, [stored, seen, seen], inputs(), limits, between)
    assert read == [RAM_BASE, RAM_BASE + 1, RAM_BASE + 2]
    assert [int(part["mem_data"][0]) for part in found[1:]] == read[1:]


def test_a_fetch_beyond_the_end_of_ram_gives_an_error():
    """The words there are all 0; the last row's is none."""
    rows, _, _ = run("compiled", [], rows=RAM_SIZE // 4 + 1, cycles=10_000_000)
    assert rows["word"].tolist() == [0] * (RAM_SIZE // 4) + [machine.NO_WORD]


class Scripted:
    """A simulator whose design asks for what it is told; keeps what it is driven with."""

    def __init__(self, *rows):
        self.rows, self.driven = list(rows), []

    async def reset(self):
        """Nothing has a state."""

    async def cycle(self, stimulus):
        self.driven.append(unpack(TOY.stimulus, stimulus))
        return pack(TOY.row, self.rows.pop(0))


@pytest.mark.parametrize("address", [END - 3, END, RAM_BASE - 1, 0])
def test_a_fetch_that_is_not_all_in_ram_gives_an_error(address):
    ask = {"out_fetch__request__valid": 1, "out_fetch__request__address": address}
    simulator = Scripted(ask, {})
    played(CycleByCycle(simulator, TOY), cycles=2)
    assert simulator.driven[1].items() >= machine.NOTHING.items()


def test_a_fetch_does_not_see_the_store_of_the_same_cycle():
    ask = {"out_fetch__request__valid": 1, "out_fetch__request__address": RAM_BASE}
    store = {"valid": 1, "write": 1, "address": RAM_BASE, "size": 2, "data": 5}
    simulator = Scripted(
        ask | {f"out_data__request__{name}": value for name, value in store.items()}, ask, {}
    )
    played(CycleByCycle(simulator, TOY), cycles=3)
    found = [each["fetch__response__word"] for each in simulator.driven]
    assert found == [machine.NO_WORD, NOP, 5]


@pytest.mark.parametrize("name", ["pysim", "compiled"])
def test_a_run_goes_on_where_it_stopped_and_begins_anew(name, rng):
    words = random_words(rng, 60)

    async def task(simulator):
        made = simulator.machine(TOY)
        runs = []
        for steps in ([60], [1, 2, 10, 60]):
            await made.start(image(words), inputs(irq=[0, 1] * 20))
            parts = [await made.run(Limits(rows, 10_000)) for rows in steps]
            assert [part.first for part in parts] == [0, *steps[:-1]]
            runs.append((np.concatenate([part.raw for part in parts]), bytes(made.memory.ram)))
        return runs

    (whole, ram), (parts, ram_again) = adapter(name).run(task, None, TOY)
    assert np.array_equal(whole, parts)
    assert ram == ram_again


def test_with_waves_the_compiled_one_gives_the_same_run(rng, tmp_path):
    words = [*random_words(rng, 40), BRANCH]
    vcd = tmp_path / "toy.vcd"
    rows, ram, so_far = run("compiled", words, waves=vcd)
    right, right_ram, right_so_far = run("compiled", words)
    assert np.array_equal(rows.raw, right.raw)
    assert (ram, so_far) == (right_ram, right_so_far)
    assert " row_mem_address " in vcd.read_text()


def test_a_cycle_of_the_compiled_one_is_as_elsewhere(rng):
    stimuli = [rng.getrandbits(173) for _ in range(300)]

    async def task(simulator):
        await simulator.reset()
        return [await simulator.cycle(word) for word in stimuli]

    if why := adapter("compiled").missing():
        pytest.skip(f"not run: {why}")
    assert adapter("compiled").run(task, None, TOY) == pysim.run(task, None, TOY)


def test_the_compiled_one_is_fast():
    """Otherwise nothing is gained by it. It does ten times as much where this runs alone."""

    async def task(simulator):
        made = simulator.machine(TOY)
        await made.start(image([NOP] * 100_000), inputs())
        start = time.perf_counter()
        await made.run(Limits(100_000, 300_000))
        return made.cycles / (time.perf_counter() - start)

    if why := adapter("compiled").missing():
        pytest.skip(f"not run: {why}")
    assert adapter("compiled").run(task, None, TOY) > 400_000
