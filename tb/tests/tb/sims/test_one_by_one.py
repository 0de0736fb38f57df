"""Lanes one after the other: each is driven with its own words, and gets its own rows back."""

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from model.planes import Planes
from tb.harness import ROW, STIMULUS, pack, unpack, width
from tb.sims.one_by_one import OneByOne

LANES, STEPS = 128, 5
PORTS = ("event__pc", "event__kind", "controls__have_el2", "load__enable")


@dataclass(frozen=True)
class Step:
    ports: dict[str, Any]
    lanes: int = LANES


class Recorder(OneByOne):
    """Keeps the words, and gives a number of its own for a row."""

    def __init__(self, rng):
        self.rng, self.words, self.rows = rng, [], []

    async def reset(self):
        raise AssertionError("lanes are not reset one by one")

    async def cycle(self, stimulus):
        self.words.append(stimulus)
        self.rows.append(self.rng.getrandbits(width(ROW)))
        return self.rows[-1]


@pytest.fixture
def steps(rng, np_rng):
    """Steps that name some ports and leave others."""
    made = []
    for at in range(STEPS):
        names = [name for name in PORTS if at == 0 or rng.random() < 0.5]
        values = {n: np_rng.integers(0, 2 ** min(STIMULUS[n].width, 63), LANES) for n in names}
        made.append(Step({n: Planes.of(v.astype(np.uint64), 64) for n, v in values.items()}))
    return made


def played(simulator, steps):
    async def task():
        return [each async for each in simulator.play(iter(steps))]

    return asyncio.run(task())


def test_a_lane_goes_through_all_steps_before_the_next_and_ports_hold(rng, steps):
    recorder = Recorder(rng)
    played(recorder, steps)
    expected = []
    for lane in range(LANES):
        held = {}
        for step in steps:
            held |= {name: planes.at(lane) for name, planes in step.ports.items()}
            expected.append(pack(STIMULUS, held))
    assert recorder.words == expected


def test_each_step_has_the_rows_of_all_lanes(rng, steps):
    recorder = Recorder(rng)
    found = played(recorder, steps)
    assert [step for step, _ in found] == steps
    for at, (_, rows) in enumerate(found):
        assert rows.keys() == ROW.keys()
        for lane in range(LANES):
            right = unpack(ROW, recorder.rows[lane * STEPS + at])
            assert {name: rows[name].at(lane) for name in ROW} == right


def test_no_steps_are_no_cycles(rng):
    recorder = Recorder(rng)
    assert played(recorder, []) == []
    assert recorder.words == []


def test_what_a_simulator_does_in_a_cycle_is_its_own():
    with pytest.raises(TypeError, match="OneByOne with abstract methods cycle, reset"):
        OneByOne()
