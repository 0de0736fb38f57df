"""Random sequences: the seed decides all, and a fault is found."""

import pytest

from tb import cases
from tb.cases import lockstep
from tb.harness import ROW
from tb.scoreboard import Mismatch, check
from tb.sims import pysim
from tb.testbench import Testbench

EVENTS = 120


@pytest.fixture(autouse=True)
def short(monkeypatch):
    cases.load()
    monkeypatch.setattr(lockstep, "EVENTS", EVENTS)


def run(case, seed, flip=None):
    """The cycles of a case; `flip` = (field, cycle) is inverted in the trace."""

    class Tampering:
        def __init__(self, simulator):
            self.simulator, self.at = simulator, -1

        async def cycle(self, word):
            self.at += 1
            row = await self.simulator.cycle(word)
            if flip is not None and flip[1] == self.at:
                row ^= 1 << ROW[flip[0]].lsb
            return row

    async def task(simulator):
        await simulator.reset()
        tb = Testbench(Tampering(simulator), case, seed)
        await cases.CASES[case].body(tb)
        await tb.idle()
        return tb.cycles

    return pysim.run(task)


@pytest.mark.parametrize("case", ["lockstep.events", "lockstep.events_and_changes"])
def test_the_seed_decides_all_and_every_seed_passes(case, seed):
    first, again, other = (run(case, at) for at in (seed, seed, seed + 1))
    assert first == again
    assert [cycle.given for cycle in first] != [cycle.given for cycle in other]
    for cycles in (first, other):
        assert len(check(cycles).pe.el) == EVENTS


def test_only_the_second_has_idle_cycles_and_changes(seed):
    def idle(cycles):
        return sum(cycle.given is None and cycle.loaded is None for cycle in cycles)

    assert idle(run("lockstep.events", seed)) == 1  # the one after the last event
    assert idle(run("lockstep.events_and_changes", seed)) > 3


def test_a_fault_is_found_in_its_cycle(seed):
    with pytest.raises(Mismatch) as caught:
        check(run("lockstep.events", seed, ("el", EVENTS // 2)))
    assert caught.value.cycle == EVENTS // 2
