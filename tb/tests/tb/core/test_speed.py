"""One guest in all places: what is measured of it, and what is said when the core goes astray."""

import asyncio

import pytest

from model.a64.trace import Row
from model.arch import EL
from tb import qemu, work
from tb.core import speed
from tb.core.speed import FIRST_ROUND, REFERENCES, SIZES, Size
from tb.core.timed import reference
from tb.harness import CORE
from tb.sims import SimulatorError
from tb.tests.tb.core.reference import ReferenceSimulator


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Measurements of a moment."""
    monkeypatch.setattr(speed, "SIZES", {name: Size(5, 1) for name in SIZES})
    monkeypatch.setattr(speed, "INTERPRETED", 500)
    monkeypatch.setattr(speed, "REFERENCE", 200)
    monkeypatch.setattr(qemu, "NUMBER", 7)
    monkeypatch.setattr(qemu, "RESULT", 13)
    monkeypatch.setattr(qemu, "UNSTEPPED_ROUNDS", 2)
    qemu.instructions.cache_clear()
    yield
    qemu.instructions.cache_clear()


@pytest.fixture
def on_reference(monkeypatch):
    """Puts the reference, with faults, in the place of every simulator."""

    class Adapter:
        def __init__(self, **faults):
            self._faults = faults

        def missing(self):
            return None

        def run(self, task, waves, design):
            assert waves is None
            assert design is CORE
            return asyncio.run(task(ReferenceSimulator(**self._faults)))

    def replace(**faults):
        monkeypatch.setattr(work, "adapter", lambda name: Adapter(**faults))

    return replace


def test_there_is_a_line_for_all_that_is_installed(monkeypatch, on_reference):
    on_reference()
    monkeypatch.setattr(qemu, "missing", lambda: None)
    names = list(speed.measures())
    assert names == [
        *(f"instructions/s, {name}" for name in (*work.SIMULATORS, "interpreter", "qemu")),
        *(f"single steps/s, {name}" for name in (*work.SIMULATORS, "reference", "qemu")),
        "rows/s, reference",
        "rows/s, lockstep",
    ]
    assert set(names) > FIRST_ROUND
    alone = {name for name in names if not set(REFERENCES.get(name, [])) & set(names)}
    assert alone == {"instructions/s, pysim", "single steps/s, pysim", "rows/s, reference"}


def test_there_is_no_line_for_what_is_missing(monkeypatch):
    monkeypatch.setattr(work, "SIMULATORS", ("pysim",))
    monkeypatch.setattr(qemu, "missing", lambda: "not installed")
    assert list(speed.measures()) == [
        "instructions/s, pysim",
        "instructions/s, interpreter",
        "single steps/s, pysim",
        "single steps/s, reference",
        "rows/s, reference",
    ]


def test_what_is_timed_begins_where_it_should():
    begins = speed._begins()
    rows = []

    def keep(row: Row) -> bool:
        rows.append(row)
        return False

    processor = speed._loaded(speed.alone())
    processor.run(max_rows=begins.guest + 100, stop=keep)
    assert [row.el == EL.EL1 for row in rows] == [False] * begins.guest + [True] * 100
    assert reference(speed.stepped().segments, begins.after_step - 1).steps == 0
    assert reference(speed.stepped().segments, begins.after_step).steps == 1
    each = begins.after_next - begins.after_step
    assert reference(speed.stepped().segments, begins.after_step + 20 * each).steps == 21


@pytest.mark.parametrize("name", [work.COMPILED, "pysim"])  # the others take their time
def test_a_simulator_is_measured(name):
    if why := work.adapter(name).missing():
        pytest.skip(f"not run: {why}")
    measures = speed.measures()
    assert measures[f"instructions/s, {name}"]() > measures[f"single steps/s, {name}"]() > 0


def test_interpreter_and_reference_are_measured(on_reference):
    on_reference()
    measures = speed.measures()
    assert measures["instructions/s, interpreter"]() > 0
    assert measures["rows/s, reference"]() > measures["single steps/s, reference"]() > 0
    assert measures["rows/s, lockstep"]() > 0


def test_qemu_is_measured():
    if why := qemu.missing():
        pytest.skip(f"not run: {why}")
    measures = speed.measures()
    assert measures["instructions/s, qemu"]() > 0
    assert measures["single steps/s, qemu"]() > 0


@pytest.mark.parametrize(
    ("line", "faults"),
    [
        ("instructions/s, pysim", {"stuck": 58}),
        ("single steps/s, pysim", {"stuck": 120}),
        ("single steps/s, pysim", {"faults": {186: {"esr": 0}}}),
        ("rows/s, lockstep", {"stuck": 120}),
        ("rows/s, lockstep", {"faults": {120: {"pc": 0}}}),
        ("rows/s, lockstep", {"faults": {120: {"memory": 0x4030_0000}}}),
    ],
)
def test_a_core_that_goes_astray_is_not_measured(line, faults, on_reference):
    on_reference(**faults)
    measure = speed.measures()[line]
    with pytest.raises(SimulatorError) as error:
        measure()
    assert str(error.value) == "hardware and model part: python -m tb.run core"
