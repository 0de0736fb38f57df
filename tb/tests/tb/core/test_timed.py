"""A program by the clock."""

import asyncio

import pytest

from tb.cases.core import smoke
from tb.core.timed import Timed, reference
from tb.harness import CORE
from tb.tests.tb.core.reference import EACH, ReferenceSimulator
from tb.tests.tb.core.test_lockstep import ROWS, image
from tb.work import SIMULATORS, adapter


def hypervisor():
    """A program with one Software Step exception."""
    guest = smoke._code(smoke.GUEST, smoke.NOP, smoke.STOP)
    vector = smoke._code(smoke.VECTORS + smoke.LOWER_EL, smoke.STOP)
    return list(smoke._image(*smoke._hypervisor(), guest, vector))


def test_a_run_is_counted():
    timing = asyncio.run(Timed(image(), 1000)(ReferenceSimulator()))
    assert timing[:3] == (ROWS, 0, EACH * ROWS)
    assert 0 < timing.seconds < 60
    assert asyncio.run(Timed(image(), 7)(ReferenceSimulator())).rows == 7


def test_rows_that_come_before_are_not_counted():
    timing = asyncio.run(Timed(image(), 1000, before=7)(ReferenceSimulator()))
    assert timing[:3] == (ROWS - 7, 0, EACH * (ROWS - 7))


def test_steps_are_counted_on_the_reference_and_the_core():
    of_reference = reference(hypervisor(), 1000)
    assert (of_reference.steps, of_reference.cycles) == (1, 0)
    timing = adapter("pysim").run(Timed(hypervisor(), 1000), None, CORE)
    assert (timing.rows, timing.steps) == of_reference[:2]
    assert timing.cycles > timing.rows


@pytest.mark.parametrize("name", [name for name in SIMULATORS if name != "pysim"])
def test_the_simulators_give_the_same_counts(name):
    if why := adapter(name).missing():
        pytest.skip(f"not run: {why}")
    task = Timed(hypervisor(), 1000)
    right = adapter("pysim").run(task, None, CORE)
    assert adapter(name).run(task, None, CORE)[:3] == right[:3]
