"""What a case of the core has in its hands."""

import asyncio

import numpy as np
import pytest

from model.arch import RAM_BASE
from tb.core import coverage
from tb.core.lockstep import Mismatch
from tb.core.machine import ImageError
from tb.core.rows import inputs
from tb.core.testbench import CoreTestbench
from tb.testbench import Failure, Table
from tb.tests.tb.core.reference import EACH, ReferenceSimulator
from tb.tests.tb.core.test_lockstep import ROWS, image

NOP, BRANCH_BACK = 0xD503201F, 0x17FFFFFF


def bench(body, **faults):
    """The testbench after a body has run."""
    tb = CoreTestbench(ReferenceSimulator(**faults), "toy", 1)
    asyncio.run(body(tb))
    return tb


def run(words=None, **options):
    """(testbench, rows) of one run."""
    found = []

    async def body(tb):
        found.append(await tb.run(image(words) if words else image(), **options))

    return bench(body), found[0]


def test_a_run_gives_its_rows_and_counts_what_was_done():
    tb, rows = run()
    assert [row.number for row in rows] == list(range(ROWS))
    assert (tb.checked, tb.clocked) == (ROWS, EACH * ROWS)
    assert tb.memory.read(RAM_BASE + 0x104, 8) == 5


def test_runs_add_up_and_each_begins_anew():
    async def body(tb):
        for _ in range(3):
            rows = await tb.run(image())
            assert rows.row(0).pc == RAM_BASE

    tb = bench(body)
    assert (tb.checked, tb.clocked) == (3 * ROWS, 3 * EACH * ROWS)


def test_a_run_may_be_as_long_as_is_said():
    tb, rows = run(max_rows=7)
    assert len(rows) == tb.checked == 7
    assert tb.most_rows == ReferenceSimulator.rows
    _, rows = run(max_rows=ROWS + 9, at_self_branch=False)
    assert rows["pc"][ROWS - 1 :].tolist() == [RAM_BASE + 20] * 10


def test_batches_are_all_rows_a_part_at_a_time():
    words = [NOP] * 1000 + [0x14000000]

    async def body(tb):
        parts = [rows async for rows in tb.batches(image(words))]
        assert len(parts) > 1
        numbers = [row.number for rows in parts for row in rows]
        assert numbers == list(range(1001))

    bench(body)


def test_batches_need_not_be_compared():
    async def body(tb):
        count = sum([len(rows) async for rows in tb.batches(image(), lockstep=False)])
        assert tb.checked == count == ROWS
        assert tb.lockstep.recent.row(-1).number == ROWS - 1
        assert tb.counts.sum() == 0

    bench(body, faults={2: {"nzcv_after": 9}, 3: {"memory": RAM_BASE}})


def test_the_coverage_is_that_of_all_batches():
    tb, rows = run()
    assert np.array_equal(tb.counts, coverage.count(rows.columns))
    assert np.array_equal(asyncio.run(tb.finish()), tb.counts)


def test_inputs_are_driven():
    _, rows = run(inputs=inputs(fiq=[0, 0, 1]))
    assert rows["fiq"].tolist() == [0, 0] + [1] * (len(rows) - 2)


def test_a_program_that_does_not_end_is_a_failure_in_one_line():
    with pytest.raises(Failure) as caught:
        run([NOP, BRANCH_BACK], max_cycles=300)
    text = "the program has not ended after 300 cycles and 100 rows: it is at 0x40000000"
    assert str(caught.value) == text


def test_a_core_that_hangs_is_a_failure_in_one_line():
    async def body(tb):
        await tb.run(image(), max_cycles=300)

    with pytest.raises(Failure) as caught:
        bench(body, stuck=0)
    text = "the program has not ended after 300 cycles: no instruction has completed in the last"
    assert str(caught.value) == f"{text} of them"


def test_a_difference_ends_the_case():
    async def body(tb):
        await tb.run(image())

    with pytest.raises(Mismatch, match=r"^cycle 8: nzcv_after$"):
        bench(body, faults={2: {"nzcv_after": 9}})


def test_an_image_that_does_not_fit_is_an_error():
    async def body(tb):
        await tb.run([(0, b"x")])

    with pytest.raises(ImageError):
        bench(body)


def test_a_case_can_state_values_itself():
    tb, rows = run()
    tb.expect(rows.row(2), mem_data=5, mem_size=3)
    with pytest.raises(Mismatch) as caught:
        tb.expect(rows.row(2), mem_data=6, mem_size=3, el=1)
    error = caught.value
    assert error.differences == [("mem_data", 5, 6), ("el", 3, 1)]
    assert (error.other, error.cycle, error.at) == ("test", 8, 2)


def test_a_case_that_ran_nothing_is_an_error():
    with pytest.raises(ValueError, match=r"^the test compared nothing: no program was run$"):
        asyncio.run(bench(_nothing).finish())
    tb, _ = run()
    asyncio.run(tb.finish())


async def _nothing(tb):
    pass


def test_what_a_case_finds_out_is_a_table():
    tb, _ = run()
    tb.table("cycles", ["what", "cycles"], [("one", "3"), ("two", "6")])
    assert tb.tables == [Table("cycles", ["what", "cycles"], [["one", "3"], ["two", "6"]])]


def test_random_values_depend_on_the_case_and_the_seed_alone():
    values = [CoreTestbench(ReferenceSimulator(), *each).rng.random() for each in _SEEDS]
    assert values[0] == values[1]
    assert len(set(values)) == 3


_SEEDS = [("a", 1), ("a", 1), ("a", 2), ("b", 1)]
