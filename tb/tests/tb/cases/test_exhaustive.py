"""tb.cases.exhaustive: every input is there, and none is missed."""

import numpy as np
import pytest

from hw import step
from model.arch import EL, StepState
from tb.cases import CASES, exhaustive, load
from tb.cases.exhaustive import LANES, Space
from tb.harness import STIMULUS
from tb.sims import builds, compiled
from tb.work import COMPILED, FAILED, PASSED, Job, RunJobs

load()
NAMES = [name for name in CASES if name.startswith("exhaustive.")]


def _all_of(space):
    """Name to the values in all blocks, one after the other."""
    blocks = [space.inputs(first) for first in range(0, 1 << space.bits, space.lanes)]
    return {
        name: np.concatenate([block[name].values(space.lanes) for block in blocks])
        for name in space.sizes
    }


@pytest.mark.parametrize(
    "sizes", [{"ss": 2}, {"el": 4, "event": 10, "last": 6}, {"a": 1 << 17, "b": 3, "c": 2}]
)
def test_a_space_has_every_input_and_no_other(sizes):
    space = Space(sizes)
    values = _all_of(space)
    found = set(zip(*(value.tolist() for value in values.values()), strict=True))
    assert len(found) == space.count == np.prod(list(sizes.values()))
    assert all(int(values[name].max()) == size - 1 for name, size in sizes.items())


def test_what_a_space_does_not_name_is_a_pe_that_is_stepped():
    pe = exhaustive._pe(Space({"ss": 2}).inputs(0))
    assert (pe.el == EL.EL1).values(64).all() and pe.have_el3.values(64).all()
    assert (pe.mdscr_el1 == 1 | 1 << 13).values(64).all()


def _run(name):
    (result,) = compiled.run(RunJobs(COMPILED, (Job(name, 1),), None, None, False))
    return result


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("return_ss")])
def test_the_hardware_is_as_the_rules_say_for_every_input(name):
    result = _run(name)
    assert result.status == PASSED, result.failure
    assert result.inputs > 0 and result.cycles >= 3 * result.inputs


def test_what_is_gone_through_does_not_count_as_coverage():
    assert not _run("exhaustive.syndrome").counts.any()


def test_one_wrong_input_of_a_million_is_found(monkeypatch, tmp_path):
    class Faulty(step.StepStateMachine):
        """Wrong where the state is active-pending and ELd is EL2 in AArch32: nowhere else."""

        def elaborate(self, platform):
            m = super().elaborate(platform)
            with m.If(self.eld_aarch32 & self.enabled & self.mdscr_ss & ~self.pstate_ss):
                m.d.comb += self.state.eq(StepState.ACTIVE_PENDING)
            return m

    monkeypatch.setattr(step, "StepStateMachine", Faulty)
    monkeypatch.setattr(builds, "SIM_BUILD", tmp_path)
    compiled._lanes_library.cache_clear()
    try:
        result = _run("exhaustive.debug_routing")
    finally:
        compiled._lanes_library.cache_clear()
    assert result.status == FAILED
    wrong = [line.split() for line in result.failure.splitlines() if line.endswith("!!!")]
    assert ["state", "active-pending", "inactive", "!!!"] in wrong


def test_a_block_is_looked_at_in_lanes_that_fit_the_cache():
    assert Space(dict.fromkeys("abcdefghijklmnopqrst", 2)).lanes == LANES


def test_the_netlist_has_no_pin_for_the_other_bits_of_control_registers():
    pins = {n for port, n in compiled._lanes_library().design.inputs if port == "stimulus"}
    found = {
        (port.removeprefix("controls__"), n)
        for port, slot in STIMULUS.items()
        for n in range(slot.width)
        if port.startswith("controls__") and slot.lsb + n in pins
    }
    named = exhaustive.CONTROLS.items()
    places = [(place[0], place[1].lsb) if place else (name, 0) for name, place in named]
    assert found == {place for place in places if place[0] != "mdscr_el1"}
