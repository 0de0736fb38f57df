"""The cases of the manual's tables: every row is driven, and holds the hardware."""

import random
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

from model import tables
from tb import cases
from tb.cases import tables as table_cases
from tb.harness import ROW
from tb.scoreboard import Mismatch
from tb.sims import pysim
from tb.testbench import Testbench

claims = cache(tables.claims)


def drawn(table, seed):
    """The rows whose cases are drawn."""
    said = claims(table)
    return [said.names[at] for at in table_cases._draw(said, random.Random(seed))]


def run(table, **wrong):
    """Run a table's case; `wrong` are bits of the trace that are always 1."""

    class Faulty:
        def __init__(self, simulator):
            self.simulator = simulator

        async def cycle(self, word):
            row = await self.simulator.cycle(word)
            for field, value in wrong.items():
                row |= value << ROW[field].lsb
            return row

    async def task(simulator):
        await simulator.reset()
        tb = Testbench(Faulty(simulator), table, 1)
        await cases.CASES[f"tables.{table}"].body(tb)
        return tb

    return pysim.run(task)


def test_there_is_a_case_for_each_table():
    cases.load()
    named = [name for name in cases.CASES if name.startswith("tables.")]
    assert named == [f"tables.{table}" for table in tables.TABLES]
    assert all(cases.CASES[name].random for name in named)


@pytest.mark.parametrize("table", tables.TABLES)
def test_every_row_is_drawn(table, seed):
    assert set(drawn(table, seed)) == set(claims(table).names)


#: rows that no case can be made of: (file, line) to the reason
UNSAID = {
    ("exception-return-select", 10): "EL2 in AArch32 in Secure state, with EEL2",
    ("exception-return-select", 12): "EL2 in AArch32 in Secure state, with EEL2",
    ("exception-entry-spsr-ss", 9): "the table leaves it open",
    ("syndrome", 5): "a load-exclusive in AArch32 state",
}


def test_every_row_of_the_files_makes_a_claim():
    said = {name for table in tables.TABLES for name in " ".join(claims(table).names).split()}
    files = [path.stem for path in tables.DIRECTORY.glob("*.csv")]
    assert len(files) == 7
    rows = {(file, at) for file in files for at, _ in tables.rows(file)}
    assert {row for row in rows if "{}.csv:{}".format(*row) not in said} == set(UNSAID)


def test_another_seed_draws_other_cases():
    said = claims("routing-enable")
    first, other = (list(table_cases._draw(said, random.Random(seed))) for seed in (1, 2))
    assert first != other


def test_no_case_of_a_row_is_drawn_twice(seed):
    said = claims("step-state")
    at = list(table_cases._draw(said, random.Random(seed)))
    assert len(set(at)) == len(at)
    assert np.all(np.array(at) < len(said.names))


@pytest.mark.parametrize(
    ("table", "wrong"),
    [
        ("syndrome", {"esr": 1 << 6}),
        ("step-state", {"state": 1}),
        ("exception-entry-spsr-ss", {"spsr_ss": 1}),
    ],
)
def test_hardware_that_is_not_as_a_row_says_is_found(table, wrong):
    assert isinstance(run(table).now, SimpleNamespace)
    with pytest.raises(Mismatch) as caught:
        run(table, **wrong)
    assert caught.value.other == "test"
    assert [difference.field for difference in caught.value.differences] == list(wrong)
