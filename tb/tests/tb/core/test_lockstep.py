"""The comparison with the reference: what agrees passes, and every difference is found."""

import asyncio

import numpy as np
import pytest

from model.a64.trace import Row
from model.arch import RAM_BASE
from tb.core.lockstep import BEFORE, Lockstep, Mismatch
from tb.core.machine import Limits
from tb.core.rows import INPUTS, inputs, joined
from tb.testbench import Failure
from tb.tests.tb.core.reference import ReferenceMachine

#: x0 counts down from 5, and each is stored, from RAM_BASE + 0x100 on.
COUNTDOWN = (
    0xD28000A0,  # mov  x0, #5
    0x10000801,  # adr  x1, . + 0x100
    0xF8008420,  # str  x0, [x1], #8
    0xF1000400,  # subs x0, x0, #1
    0x54FFFFC1,  # b.ne . - 8
    0x14000000,  # b    .
)
ROWS = 2 + 3 * 5 + 1


def image(words=COUNTDOWN):
    return [(RAM_BASE, b"".join(word.to_bytes(4, "little") for word in words))]


def played(given=None, batches=(1000,), **faults):
    """A run in batches, each held against the reference; the memory too. Returns the rows."""
    given = inputs() if given is None else given

    async def task():
        machine, lockstep = ReferenceMachine(**faults), Lockstep(image(), given)
        await machine.start(image(), given)
        parts = []
        for rows in batches:
            parts.append(await machine.run(Limits(rows, 10_000)))
            lockstep.check(parts[-1])
        lockstep.check_memory(machine.memory)
        return joined(parts)

    return asyncio.run(task())


@pytest.mark.parametrize("batches", [(1000,), (1, 2, 3, 10, 1000), (18, 1000)])
def test_equal_rows_and_memory_pass(batches):
    rows = played(batches=batches)
    assert len(rows) == ROWS
    assert rows["x0_value"][2:].tolist()[1::3] == [4, 3, 2, 1, 0]


def test_the_reference_gets_the_inputs_of_each_row(rng):
    given = inputs(**{name: [rng.getrandbits(1) for _ in range(ROWS - 5)] for name in INPUTS})
    rows = played(given, batches=(3, 10, 40))
    assert rows["irq"].tolist() == ((given & 1).tolist() + [given[-1] & 1] * 100)[: len(rows)]


def test_inputs_given_later_are_for_the_rows_from_the_next_one_on():
    async def task():
        machine, lockstep = ReferenceMachine(), Lockstep(image(), inputs(fiq=1))
        await machine.start(image(), inputs(fiq=1))
        found = []
        for rows, given in [(4, inputs(irq=[0, 1, 0])), (9, inputs(serror=[1, 0])), (12, None)]:
            part = await machine.run(Limits(rows, 10_000))
            lockstep.check(part)
            found += [4 * row.serror + 2 * row.fiq + row.irq for row in part]
            if given is not None:
                machine.give(given)
                lockstep.give(given)
        return found

    assert asyncio.run(task()) == [2, 2, 2, 2, 0, 1, 0, 0, 0, 4, 0, 0]


def test_the_reference_sees_what_the_host_writes():
    def task(told):
        async def run():
            machine, lockstep = ReferenceMachine(), Lockstep(image(), inputs())
            await machine.start(image(), inputs())
            lockstep.check(await machine.run(Limits(3, 10_000)))
            changed = (0xF1000C00).to_bytes(4, "little")  # subs x0, x0, #3
            machine.memory.store(RAM_BASE + 12, changed)
            if told:
                lockstep.write(RAM_BASE + 12, changed)
            lockstep.check(await machine.run(Limits(1000, 10_000)))
            lockstep.check_memory(machine.memory)

        asyncio.run(run())

    task(told=True)
    with pytest.raises(Mismatch):
        task(told=False)


@pytest.mark.parametrize("member", Row._fields)
def test_a_difference_in_any_member_is_found_where_it_is(member):
    faults = {7: {member: 1}, 9: {"pc": 4}}
    before = vars(played().row(7))
    if before[member] == 1:
        faults[7] = {member: 0}
    if member == "cycle_count":  # that is taken from the core
        faults[7] = {"eld": 1 ^ before["eld"]}
    with pytest.raises(Mismatch) as caught:
        played(faults=faults, batches=(5, 1000))
    error = caught.value
    assert error.cycle == 3 * 7 + 2
    assert error.rows.row(error.at).number == 7
    (difference,) = error.differences
    assert (difference.field, difference.hardware) == next(iter(faults[7].items()))
    assert difference.expected == before[difference.field]


def test_the_upper_half_of_wide_data_is_compared():
    with pytest.raises(Mismatch) as caught:
        played(faults={2: {"mem_data": 5 | 1 << 127}})
    assert caught.value.differences == [("mem_data", 5 | 1 << 127, 5)]


def test_a_mismatch_has_the_rows_before_it_also_from_the_last_batch():
    with pytest.raises(Mismatch) as caught:
        played(faults={10: {"word": 1}}, batches=(10, 1000))
    error = caught.value
    numbers = [row.number for row in error.rows]
    assert numbers[: error.at + 1] == list(range(10 - BEFORE, 11))


def test_a_wrong_byte_of_memory_is_found_in_the_end():
    with pytest.raises(Failure) as caught:
        played(faults={ROWS - 1: {"memory": RAM_BASE + 0x3FFFFF}})
    text = "memory at 0x403ffff0: hardware {}01, model {}00"
    assert str(caught.value) == text.format(*["00 " * 15] * 2)


def test_no_rows_are_no_difference():
    rows = played(batches=(1000, 2000))
    assert len(rows) == ROWS
    assert np.array_equal(rows.cycles, 3 * np.arange(ROWS, dtype=np.uint64) + np.uint64(2))
