"""What guest debugging costs: a row for every sequence; and a failure where one costs too much."""

from dataclasses import replace
from pathlib import Path

import pytest

from hw.core.timing import LATENCY, TimingClass
from model.programs.load import HYPERVISORS
from tb.cases.core import cost
from tb.failures import table as lines_of_table
from tb.harness import CORE
from tb.work import FAILED, PASSED, Job, Unit, adapter, load_cases, run_unit

PAGE = Path(__file__).parents[5] / "docs" / "core.md"


@pytest.fixture(autouse=True)
def loaded():
    if why := adapter("compiled").missing():
        pytest.skip(f"not run: {why}")
    load_cases(None)


def run():
    (result,) = run_unit(Unit("compiled", (Job("core.cost", 1),), design=CORE.name))
    return result


def test_every_sequence_has_its_rows():
    result = run()
    assert (result.status, result.failure) == (PASSED, "")
    (table,) = result.tables
    rows = {(sequence, debugging): cycles for sequence, debugging, *cycles in table.rows}
    assert list(rows) == [(name, debugging) for name in HYPERVISORS for debugging in cost.DEBUGGING]
    for (_, debugging), (entry, of_sequence, step) in rows.items():
        assert 0 <= int(of_sequence) < int(entry)
        assert (step == "-") == (debugging != "stepping")
        assert step == "-" or int(step) > int(entry)
    for name in ("callout", "upstream"):  # all of it is in C
        assert {rows[name, debugging][1] for debugging in cost.DEBUGGING} == {"0"}
    # A guest that is debugged and not stepped is left alone.
    assert rows["upstream", "on, not stepping"] == rows["upstream", "off"]


def test_the_table_of_the_page_is_the_runs():
    (table,) = run().tables
    lines = [line.rstrip() for line in lines_of_table([table.header, *table.rows])]
    assert "\n".join(lines) in PAGE.read_text()


def test_a_sequence_that_costs_more_than_its_load_and_branch_is_told(monkeypatch):
    load, branch = LATENCY[TimingClass.LOAD], LATENCY[TimingClass.BRANCH_TAKEN]
    cheaper = {TimingClass.LOAD: replace(load, cycles=load.cycles - 1)}
    monkeypatch.setattr(cost, "LATENCY", LATENCY | cheaper)
    result = run()
    assert result.status == FAILED
    assert f"its load and branch cost {load.cycles - 1 + branch.cycles}" in result.failure
