"""Cases of the core from end to end: on every simulator, and what becomes of those that fail."""

import re

import pytest

from model.arch import RESET_VECTOR
from tb import cases, coverage, totals
from tb.cases.core import smoke
from tb.core.program import NOP
from tb.harness import CORE
from tb.testbench import Table
from tb.work import FAILED, PASSED, SIMULATORS, Job, Unit, adapter, load_cases, run_unit

NAMES = (
    "core.arithmetic_and_memory",
    "core.an_exception_and_its_return",
    "core.an_access_where_no_memory_is",
    "core.one_step_of_a_guest",
    "core.an_interrupt",
)


@pytest.fixture(autouse=True)
def loaded():
    load_cases(None)


def run(simulator, *names, **more):
    if why := adapter(simulator).missing():
        pytest.skip(f"not run: {why}")
    jobs = tuple(Job(name, 1) for name in names)
    return run_unit(Unit(simulator, jobs, design=CORE.name, **more))


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_the_core_passes_on_every_simulator(simulator):
    results = run(simulator, *NAMES)
    assert [(result.name, result.status) for result in results] == [(n, PASSED) for n in NAMES]
    for result in results:
        assert result.cycles > 10
        unit, core = result.counts[: coverage.BINS], result.counts[coverage.BINS :]
        assert (unit.sum(), core.sum() > 0) == (0, True)
        assert totals.illegal_hits(result.counts) == []


def test_the_simulators_take_the_same_cycles():
    of_all = [[result.cycles for result in run(each, *NAMES)] for each in ("pysim", "compiled")]
    assert of_all[0] == of_all[1]


@pytest.fixture
def toy(monkeypatch):
    """Registers a body as the case toy.core."""

    def register(body):
        case = cases.Case("toy.core", body, "a toy", False, design=CORE)
        monkeypatch.setitem(cases.CASES, case.name, case)

    return register


@pytest.mark.parametrize("simulator", ["pysim", "compiled"])
def test_a_case_that_fails_says_where_and_has_a_waveform(simulator, toy, tmp_path):
    async def body(tb):
        tb.table("found", ["a"], [["1"]])
        words = smoke._code(RESET_VECTOR, *[NOP] * 9, smoke.STOP)
        rows = await tb.run(smoke._image(words))
        tb.expect(rows.row(7), el=2)

    toy(body)
    (result,) = run(simulator, "toy.core", waves=tmp_path)
    assert (result.status, result.mismatch) == (FAILED, 8)
    lines = result.failure.splitlines()
    assert lines[0] == "cycle 8, row 7: the core is not as the test says"
    assert ["el", "EL3", "EL2", "!!!"] in [line.split() for line in lines]
    assert result.tables == [Table("found", ["a"], [["1"]])]
    text = result.waves.read_text()
    assert result.waves.with_suffix(".vcd").is_file()
    assert "+{fetch request address}" in text
    assert re.search(r"(?m)^\*-\S+ [1-9]\d* ", text)


def test_a_program_that_never_ends_is_told_with_its_last_cycle(toy):
    async def body(tb):
        await tb.run(smoke._image(smoke._code(RESET_VECTOR, NOP, 0x17FFFFFF)), max_cycles=500)

    toy(body)
    (result,) = run("compiled", "toy.core")
    assert result.status == FAILED
    line = result.failure.splitlines()[0]
    assert line.startswith("the program has not ended after 500 cycles and ")
    assert 490 < result.mismatch < 500
    assert result.cycles == 500
