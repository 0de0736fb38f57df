"""The core as an engine: what the reference engine does, by the clock, and every row compared."""

import asyncio
import struct

import numpy as np
import pytest

from model.a64.processor import QUIET
from model.a64.trace import Inputs
from model.arch import RAM_BASE, RAM_SIZE, RESET_VECTOR, SCR_EL3
from model.kvm.engine import MAX_ROWS, WAIT, Engine, NoExit, ReferenceEngine
from model.programs.image import Image
from tb.core import coverage
from tb.core.engine import as_reference
from tb.core.lockstep import Mismatch, columns
from tb.core.machine import ImageError
from tb.core.program import ERET, Code, Program, mov, msr, word
from tb.core.testbench import CoreTestbench
from tb.harness import CORE
from tb.testbench import Failure
from tb.tests.tb.core.reference import EACH, ReferenceSimulator
from tb.work import adapter

#: Doublewords: the doorbell, the sum of what it held, how many interrupts came; two more.
DATA = RESET_VECTOR + 0x8000
DOORBELL, SUM, INTERRUPTS, PAIR = (DATA + 8 * n for n in range(4))
VECTORS = RESET_VECTOR + 0x4000
IRQ = 0x280  #: offset of a vector
ENDLESS = 99  #: in the doorbell: the guest never comes back
ROUND = 8  #: rows from the wait to the wait, the doorbell rung
PENDING = Inputs(irq=1)


def program():
    """It waits for the doorbell, adds what it holds, stores a pair of 128 bits, and waits again."""
    code = Code(RESET_VECTOR)
    code.put(*mov(1, DATA), *mov(0, VECTORS), msr("VBAR_EL3", 0))
    code.put(*mov(0, SCR_EL3.IRQ.mask), msr("SCR_EL3", 0), word("MSR DAIFClr", CRm=0b0010))
    code.label(WAIT)
    code.add("LDR (unsigned offset)", sz=1, Rn=1, Rt=0)
    code.branch("CBZ", WAIT, sf=1, Rt=0)
    code.add("SUBS (immediate)", sf=1, imm12=ENDLESS, Rn=0, Rd=31)
    code.branch("B.cond", "endless", cond=0)
    code.add("ADD (shifted register)", sf=1, Rm=0, Rn=2, Rd=2)
    code.add("STP (offset)", sf=1, Rn=1, Rt=31, Rt2=2)
    code.add("STP (offset)", sf=1, imm7=3, Rn=1, Rt=0, Rt2=2)
    code.branch("B", WAIT)
    code.label("endless")
    code.branch("B", "endless")
    return code


def handler():
    """Counts an interrupt."""
    code = Code(VECTORS + IRQ)
    code.add("ADD (immediate)", sf=1, imm12=1, Rn=3, Rd=3)
    code.add("STR (unsigned offset)", sz=1, imm12=2, Rn=1, Rt=3)
    code.put(ERET)
    return code


def image():
    """The program, which has the symbol that an engine wants."""
    code = program()
    words = {**code.image(), **handler().image()}
    symbols = {WAIT: code.address_of(WAIT), "endless": code.address_of("endless")}
    return Image(tuple(Program(words).segments()), symbols, RESET_VECTOR)


def ring(engine, value):
    """Write the doorbell."""
    engine.write(DOORBELL, struct.pack("<Q", value))


def number(engine, address):
    """A doubleword of memory."""
    return int.from_bytes(engine.read(address, 8), "little")


async def rounds(engine):
    """What came of some entries: the start and each run, and the memory in the end."""
    found = [await engine.start(image())]
    found.append(await engine.run())  # nobody rings
    for value, given in [
        (5, [QUIET]),
        (7, [QUIET, QUIET, PENDING, QUIET]),
        (ENDLESS + 1, [PENDING, QUIET]),  # back at the wait from the interrupt
        (1 << 63, [QUIET]),
        (3, [QUIET] * 5 + [PENDING, Inputs(wfx_ends=0, isv_choice=0)]),
    ]:
        ring(engine, value)
        found.append(await engine.run(given))
    return found, engine.read(RAM_BASE, RAM_SIZE)


def on_core(task, name="pysim", **options):
    """(what the task makes of the engine, the testbench) on one simulator."""
    if why := adapter(name).missing():
        pytest.skip(f"not run: {why}")

    async def run(simulator):
        tb = CoreTestbench(simulator, "engine", 1)
        return await task(tb.engine(**options)), tb

    return adapter(name).run(run, None, CORE)


def on_toy(task, faults=None, stuck=None, **options):
    """The same on a core that is the reference, with faults."""
    tb = CoreTestbench(ReferenceSimulator(faults, stuck), "engine", 1)
    return asyncio.run(task(tb.engine(**options))), tb


@pytest.mark.parametrize("name", ["pysim", "compiled"])
def test_the_core_does_what_the_reference_does(name):
    (found, ram), tb = on_core(rounds, name)
    right, right_ram = asyncio.run(rounds(ReferenceEngine()))
    assert [each.rows for each in found] == [each.rows for each in right]
    assert ram == right_ram
    rows = [row for each in found for row in each.rows]
    assert sum(row.pc == VECTORS + IRQ for row in rows) == 3
    assert max(row.mem_data for row in rows) >= 1 << 127
    assert tb.checked == len(rows)


def test_a_run_goes_from_wait_to_wait():
    async def task(engine: Engine):
        await engine.start(image())
        idle = await engine.run()
        ring(engine, 5)
        rung = await engine.run()
        return idle, rung, number(engine, DOORBELL), number(engine, SUM), number(engine, PAIR)

    (idle, rung, *memory), _ = on_core(task)
    wait = image().symbols[WAIT]
    assert [row.pc for row in idle.rows] == [wait, wait + 4]
    assert len(rung.rows) == ROUND
    assert rung.rows[0].mem_data == 5
    assert [row.pc_after == wait for row in rung.rows] == [False] * (ROUND - 1) + [True]
    assert memory == [0, 5, 5]


def test_the_cycles_are_those_since_the_reset_and_what_was_done_is_counted():
    (found, _), tb = on_core(rounds)
    assert all(len(each.rows) == len(each.cycles) for each in found)
    cycles = [cycle for each in found for cycle in each.cycles]
    assert cycles == sorted(set(cycles))
    assert tb.clocked == cycles[-1] + 1
    assert tb.lockstep.recent.cycles[-1] == cycles[-1]
    assert np.array_equal(asyncio.run(tb.finish()), tb.counts)
    assert tb.counts.sum()


def test_the_inputs_are_for_the_rows_of_their_run():
    async def task(engine):
        await engine.start(image())
        ring(engine, 5)
        first = await engine.run([QUIET, Inputs(fiq=1), QUIET])
        ring(engine, 5)
        return first, await engine.run([Inputs(fiq=1)])

    (first, second), _ = on_core(task)
    assert [row.fiq for row in first.rows] == [0, 1] + [0] * (ROUND - 2)
    assert [row.fiq for row in second.rows] == [1] * ROUND


def test_the_coverage_is_that_of_all_rows():
    (found, _), tb = on_toy(rounds)
    assert tb.checked == sum(len(each.rows) for each in found)
    counts = [coverage.count(columns(each.rows)) for each in found]
    assert np.array_equal(tb.counts, sum(counts, coverage.none()))


@pytest.mark.parametrize("most", [20, 255, 256, 257, 1000])
def test_a_guest_that_never_comes_back_is_no_exit(most):
    async def task(engine):
        await engine.start(image())
        ring(engine, ENDLESS)
        with pytest.raises(NoExit) as caught:
            await engine.run()
        return str(caught.value)

    found, tb = on_toy(task, max_rows=most)
    assert found == asyncio.run(task(ReferenceEngine(most)))
    assert tb.clocked == EACH * tb.checked


def test_the_compiled_core_comes_to_the_same_end():
    async def task(engine):
        await engine.start(image())
        ring(engine, ENDLESS)
        with pytest.raises(NoExit) as caught:
            await engine.run()
        return str(caught.value)

    found, tb = on_core(task, "compiled")
    assert found == f"no exit to the host in {MAX_ROWS:,} rows: at {image().symbols['endless']:#x}"
    assert tb.checked > MAX_ROWS


@pytest.mark.parametrize(("stuck", "pc"), [(0, RESET_VECTOR), (2, RESET_VECTOR + 8)])
def test_a_core_that_hangs_is_no_exit(stuck, pc):
    async def task(engine):
        with pytest.raises(NoExit) as caught:
            await engine.start(image())
        return str(caught.value)

    found, _ = on_toy(task, stuck=stuck, max_cycles=3000)
    assert found == f"no exit to the host in 3,000 cycles: at {pc:#x}"


def test_the_last_row_allowed_may_be_the_one_that_comes_back():
    async def task(engine):
        return await engine.start(image())

    found, _ = on_toy(task)
    exact, _ = on_toy(task, max_rows=len(found.rows))
    assert exact == found
    with pytest.raises(NoExit):
        on_toy(task, max_rows=len(found.rows) - 1)


def test_a_row_that_differs_is_a_mismatch():
    with pytest.raises(Mismatch, match=r"nzcv_after$"):
        on_toy(rounds, faults={15: {"nzcv_after": 9}})


@pytest.mark.parametrize("name", ["pysim", "compiled"])
def test_what_the_core_sees_and_the_reference_does_not_is_a_mismatch(name):
    async def task(engine):
        await engine.start(image())
        engine._tb.memory.write(DOORBELL, 8, 5)
        with pytest.raises(Mismatch) as caught:
            await engine.run()
        return caught.value.differences

    differences, _ = on_core(task, name)
    assert differences[:2] == [("x0_value", 5, 0), ("mem_data", 5, 0)]


def test_a_byte_that_differs_and_is_not_seen_is_a_failure_at_the_wait():
    async def task(engine):
        await engine.start(image())
        engine._tb.memory.write(SUM, 1, 1)
        await engine.run()

    with pytest.raises(Failure, match=rf"^memory at {DOORBELL:#x}: "):
        on_toy(task)


@pytest.mark.parametrize("address", [RAM_BASE - 1, RAM_BASE + RAM_SIZE - 2, 0])
def test_memory_is_ram_only(address):
    async def task(engine):
        await engine.start(image())
        error = rf"^3 bytes at {address:#x} are not all in RAM$"
        with pytest.raises(ValueError, match=error):
            engine.read(address, 3)
        with pytest.raises(ValueError, match=error):
            engine.write(address, b"abc")
        return await engine.run()

    on_toy(task)


def test_an_image_that_does_not_fit_is_an_error():
    async def task(engine):
        await engine.start(Image(((0, b"x"),), {WAIT: RESET_VECTOR}, RESET_VECTOR))

    with pytest.raises(ImageError):
        on_toy(task)


def test_an_engine_begins_anew_and_one_that_has_not_begun_does_nothing():
    async def twice(engine):
        found = await rounds(engine)
        assert await rounds(engine) == found
        other = engine._tb.engine()
        with pytest.raises(ValueError, match=r"has to be started$"):
            await other.run()
        await other.start(image())
        with pytest.raises(ValueError, match=r"has to be started$"):
            ring(engine, 5)

    on_toy(twice)


def test_rows_as_the_reference_has_them():
    (found, _), tb = on_toy(rounds)
    recent = tb.lockstep.recent
    rows = [row for each in found for row in each.rows]
    assert as_reference(recent) == rows[recent.first :]
    assert all(type(value) is int for row in rows for value in row)
