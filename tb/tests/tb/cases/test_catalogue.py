"""The catalogue's cases: a defect that is not caught fails, and so does a twin that is accused."""

from dataclasses import replace

import pytest

from model.kvm.properties import Property
from tb import cases
from tb.cases import catalogue
from tb.kvm.catalogue import CATALOGUE
from tb.page import wave
from tb.work import FAILED, PASSED, Job, Unit, adapter, load_cases, run_unit

K1, M2 = (next(each for each in CATALOGUE if each.name == name) for name in ("K1", "M2"))
NAME = "catalogue.changed"


@pytest.fixture(autouse=True)
def loaded():
    if why := adapter("compiled").missing():
        pytest.skip(f"not run: {why}")
    load_cases(None)
    yield
    cases.CASES.pop(NAME, None)


def run(name):
    (result,) = run_unit(Unit("compiled", (Job(name, 1),), design="core"))
    return result


def changed(defect, **changes):
    """The result of a case for an entry with other members."""
    entry = replace(defect, **changes)

    async def body(tb):
        await catalogue.catch(tb, entry)

    cases.register(NAME, body, "a test", bulk=True, design=cases.CASES["catalogue.K1"].design)
    return run(NAME)


def test_it_passes_and_gives_a_row():
    result = run("catalogue.M2")
    assert (result.status, result.failure) == (PASSED, "")
    (table,) = result.tables
    ((name, title, scenario, caught, others, at, run_, _, twin),) = table.rows
    assert (name, title, scenario) == ("M2", M2.title, "plain")
    assert (caught, others, at, run_, twin) == ("P1", "-", "start", "0", "clean")


def test_its_waveform_is_marked_where_the_defect_shows(tmp_path):
    (result,) = run_unit(Unit("compiled", (Job("catalogue.K1", 1),), waves=tmp_path, design="core"))
    (row,) = result.tables[0].rows
    assert f"{result.marked:,}" == dict(zip(catalogue.HEADER, row, strict=True))["cycle"]
    found = wave.read(result.waves.with_suffix(".vcd"), "core", ("the defect", result.marked))
    lanes = dict(found.lanes)
    assert found.cycles[found.moment] == result.marked
    # The step that user space hears of is that of the instruction after the emulated one.
    rows = list(zip(*(lanes[name] for name in ("hypervisor", "guest", "exception")), strict=True))
    assert rows[found.moment - 2 : found.moment + 1] == [
        ("eret", "", ""),
        ("", "msr tpidr_el1, x3", ""),
        ("", "", "step exception to EL2"),
    ]


def test_a_defect_that_is_not_caught_fails():
    result = changed(M2, faulty=M2.twin)
    assert (result.status, result.failure.splitlines()[0]) == (
        FAILED,
        "M2 is not caught: P1 is not broken",
    )


def test_one_that_is_caught_elsewhere_fails():
    result = changed(K1, at="write")
    assert result.failure.splitlines()[0] == "K1 is caught at loop, and should be at write"


def test_one_that_breaks_something_else_fails():
    result = changed(M2, breaks=frozenset((Property.P1, Property.P2)))
    assert result.failure.splitlines()[0] == "M2 breaks P1, and should break P1, P2"


def test_a_twin_that_is_accused_fails_and_says_of_what():
    result = changed(M2, twin=K1.faulty, twin_scenario=K1.scenario)
    assert result.failure.splitlines()[0] == "the repaired twin of M2 is accused"
    assert any(line.strip().startswith("P1: KVM_RUN 5, ") for line in result.failure.splitlines())
