"""Timed sequences: what is played, what is checked, and what the clock counts."""

import asyncio
from dataclasses import fields
from types import SimpleNamespace

import pytest

from tb import stimulus, timed, work
from tb.harness import ROW
from tb.sims import SimulatorError
from tb.timed import Process, Timed, Timing, first_lanes

LANES, FEW = 256, 64


class Recorder:
    """A simulator that keeps the steps. What the hardware says, nobody looks at."""

    def __init__(self):
        self.steps = []

    async def reset(self):
        assert not self.steps

    async def play(self, steps):
        for step in steps:
            self.steps.append(step)
            yield step, None


@pytest.fixture
def blind(monkeypatch):
    monkeypatch.setattr(timed.scoreboard, "wrong_lane", lambda move, rows: None)


def values(part, lanes):
    return {f.name: getattr(part, f.name).values(lanes).tolist() for f in fields(part)}


def test_the_first_lanes_of_a_step():
    for move in stimulus.sequence(1, LANES, 8):
        few = first_lanes(move, FEW)
        assert few.lanes == FEW
        assert few.happens == move.happens
        assert few.pc.values(FEW).tolist() == move.pc.values(LANES)[:FEW].tolist()
        for name in ("pe", "given", "effect", "load"):
            part, of_all = getattr(few, name), getattr(move, name)
            if of_all is None:
                assert part is None
                continue
            whole = values(of_all, LANES)
            assert values(part, FEW) == {name: each[:FEW] for name, each in whole.items()}
        assert few.ports.keys() == move.ports.keys()
        for name, planes in few.ports.items():
            assert planes.values(FEW).tolist() == move.ports[name].values(LANES)[:FEW].tolist()


def test_every_simulator_plays_the_same_sequence(blind):
    all_lanes, some_lanes = Recorder(), Recorder()
    asyncio.run(Timed(seeds=1, lanes=LANES, steps=5, played=LANES)(all_lanes))
    asyncio.run(Timed(seeds=1, lanes=LANES, steps=3, played=FEW)(some_lanes))
    assert len(all_lanes.steps) == 6
    assert len(some_lanes.steps) == 4
    for some, every in zip(some_lanes.steps, all_lanes.steps, strict=False):
        assert some.pc.values(FEW).tolist() == every.pc.values(LANES)[:FEW].tolist()


def test_every_seed_has_its_sequence(blind):
    simulator = Recorder()
    asyncio.run(Timed(seeds=2, lanes=FEW, steps=1, played=FEW)(simulator))
    first, second = (simulator.steps[at].load.el.values(FEW).tolist() for at in (0, 2))
    assert first != second


def test_cycles_are_those_in_which_something_was_compared():
    timing = work.adapter("pysim").run(Timed(seeds=2, lanes=FEW, steps=3, played=FEW), None)
    assert timing.cycles == 2 * 3 * FEW
    assert timing.seconds > 0


def test_drawing_is_charged_by_the_lanes_that_are_played(monkeypatch, blind):
    now = [0.0]

    def sequence(seed, lanes, steps):
        for move in stimulus_sequence(seed, lanes, steps):
            now[0] += 400
            yield move

    class Slow(Recorder):
        async def play(self, steps):
            async for each in super().play(steps):
                now[0] += 7
                yield each

    stimulus_sequence = stimulus.sequence
    monkeypatch.setattr(stimulus, "sequence", sequence)
    monkeypatch.setattr(timed, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    task = Timed(seeds=1, lanes=LANES, steps=1, played=FEW)
    assert asyncio.run(task(Slow())) == Timing(FEW, 2 * (400 * FEW / LANES + 7))
    whole = Timed(seeds=1, lanes=LANES, steps=1, played=LANES)
    assert asyncio.run(whole(Slow())) == Timing(LANES, 2 * (400 + 7))


def test_a_rate_of_hardware_that_is_wrong_is_not_given():
    class Zeros(Recorder):
        async def play(self, steps):
            async for step, _ in super().play(steps):
                yield step, {name: stimulus.Planes.constant(0) for name in ROW}

    with pytest.raises(SimulatorError, match="hardware and model part"):
        asyncio.run(Timed(seeds=1, lanes=FEW, steps=1, played=FEW)(Zeros()))


@pytest.fixture
def process():
    if why := work.adapter("compiled").missing():
        pytest.skip(why)
    with Process() as process:
        yield process


def test_a_process_of_its_own_says_what_it_took(process):
    for steps in (1, 2):
        process.start(Timed(seeds=1, lanes=FEW, steps=steps, played=FEW))
        timing, peak = process.result()
        assert timing.cycles == steps * FEW
        assert timing.seconds > 0
        assert 10 < peak < 1024


def test_a_process_that_dies_is_said(process):
    process._process.kill()
    process._process.wait()
    with pytest.raises(SimulatorError, match="exit status -9; did it run out of memory"):
        process.start(Timed(seeds=1, lanes=FEW, steps=1, played=FEW))
        process.result()
