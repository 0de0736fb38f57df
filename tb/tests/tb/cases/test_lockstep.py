"""Random sequences: the seed decides all, and a fault in any cycle of any lane is found."""

from itertools import islice

import numpy as np
import pytest
from amaranth.hdl import Cat, Const, Module, Value
from amaranth.lib.wiring import In, Out

from hw.step import StepUnit
from model.planes import Planes
from tb import cases, coverage, harness, scoreboard, stimulus
from tb.failures import value_text
from tb.harness import ROW, STIMULUS, UNIT
from tb.run import main
from tb.scoreboard import Mismatch
from tb.sims import builds, compiled, pysim
from tb.sims.one_by_one import OneByOne
from tb.testbench import ALONE, CONTROLS, EVENT, Failure, Testbench

CASES = ("lockstep.events", "lockstep.events_and_changes")
LANES, STEPS = 64, 12  # on Amaranth's simulator
CYCLES = 10_000_000  # on the compiled one

#: ports that tell an event from the others, and fields that are compared whenever one happens
TELLING = [*CONTROLS.values(), *EVENT.values(), "event__valid"]
ALWAYS = [name for name in ROW if name not in ("out_esr", "out_target_el")]


@pytest.fixture(autouse=True)
def loaded():
    cases.load()


@pytest.fixture
def wrong(monkeypatch):
    """What the scoreboard found in the steps of many lanes: (lane, steps up to there)."""
    found, steps = [], []
    look = scoreboard.wrong_lane

    def wrong_lane(move, rows):
        steps.append(move)
        lane = look(move, rows)
        found.extend([] if lane is None else [(lane, len(steps))])
        return lane

    monkeypatch.setattr(scoreboard, "wrong_lane", wrong_lane)
    return found


class Faulty(OneByOne):
    """A simulator whose rows go wrong: `fault(word, row, played)` gives the row."""

    lanes, steps = LANES, STEPS

    def __init__(self, simulator, fault):
        self.simulator, self.fault, self.playing = simulator, fault, False

    async def reset(self):
        self.playing = False
        await self.simulator.reset()

    async def cycle(self, word):
        return self.fault(word, await self.simulator.cycle(word), self.playing)

    async def play(self, steps):
        self.playing = True
        async for each in super().play(steps):
            yield each


def run(case, seed, fault=lambda word, row, playing: row):
    """The testbench of a case that has run, and what it raised."""

    async def task(simulator):
        await simulator.reset()
        tb = Testbench(Faulty(simulator, fault), case, seed)
        try:
            await cases.CASES[case].body(tb)
            await tb.finish()
        except (Failure, Mismatch) as error:
            return tb, error
        return tb, None

    return pysim.run(task)


def moves_of(case, seed, lanes, steps):
    """The steps of a case."""
    idle, changes = (0, 0) if case == "lockstep.events" else (0.1, 0.3)
    draw = Testbench(None, case, seed).rng.getrandbits(64)
    return stimulus.sequence(draw, lanes, steps, idle, changes)


@pytest.mark.parametrize("case", CASES)
def test_the_seed_decides_all_and_every_seed_passes(case, seed):
    (first, error), (again, _), (other, _) = (run(case, at) for at in (seed, seed, seed + 1))
    assert error is None
    assert first.cycles == again.cycles
    assert np.array_equal(first.counts, again.counts)
    assert not np.array_equal(first.counts, other.counts)


@pytest.mark.parametrize("case", CASES)
def test_every_step_of_every_lane_is_compared_and_counted(case, seed, monkeypatch):
    compared = []
    look = scoreboard.wrong_lane

    def wrong_lane(move, rows):
        compared.append(move)
        return look(move, rows)

    monkeypatch.setattr(scoreboard, "wrong_lane", wrong_lane)
    tb, _ = run(case, seed)
    moves = list(moves_of(case, seed, LANES, STEPS))
    assert len(compared) == len(moves) >= 1 + STEPS
    assert tb.played == LANES * len(moves)
    assert np.array_equal(tb.counts, sum(map(coverage.of_step, moves), coverage.none()))


def test_only_the_second_has_idle_cycles_and_changes(seed):
    def idle(case):
        return sum(not move.happens for move in moves_of(case, seed, 64, 100))

    def changes(case):
        pairs = zip(moves := list(moves_of(case, seed, 64, 100))[1:], moves[1:], strict=False)
        kept = [(old.pe, new.pe) for old, new in pairs if old.load is None]
        return any(
            (getattr(old, name) != getattr(new, name)).any()
            for old, new in kept
            for name in set(CONTROLS) - {"halted"}
        )

    assert [idle(case) > 1 for case in CASES] == [False, True]  # the first step is idle
    assert [changes(case) for case in CASES] == [False, True]


@pytest.mark.parametrize("case", CASES)
def test_the_first_lane_is_gone_through_again_for_the_waveform(case, seed):
    tb, _ = run(case, seed)
    moves = list(islice(moves_of(case, seed, LANES, STEPS), ALONE))
    assert len(tb.cycles) == ALONE + 1  # and the one after the last
    for move, cycle in zip(moves[1:], tb.cycles[1:], strict=False):
        assert (cycle.given is None) is not move.happens
        assert cycle.row.el == move.pe.el.at(0)
        if move.happens:
            assert (cycle.row.event, cycle.row.pc) == (move.given.event.at(0), move.pc.at(0))


@pytest.mark.parametrize("case", CASES)
def test_a_fault_is_found_in_its_lane_and_step(case, rng, seed, wrong):
    """The hardware goes wrong when it sees one word; that lane is shown, cycle by cycle."""
    moves = list(moves_of(case, seed, LANES, STEPS))
    at = rng.choice([at for at, move in enumerate(moves) if move.happens])
    ports = {}
    for move in moves[: at + 1]:
        ports |= move.ports
    telling = {name: planes for name, planes in ports.items() if name in TELLING}
    lane, field = rng.randrange(LANES), rng.choice(ALWAYS)
    trigger = harness.words_of(telling, LANES)[lane]
    mask = harness.pack(STIMULUS, {name: (1 << STIMULUS[name].width) - 1 for name in TELLING})

    def fault(word, row, playing):
        return row ^ (word & mask == trigger) << ROW[field].lsb

    tb, error = run(case, seed, fault)
    assert wrong == [(lane, at + 1)]
    assert isinstance(error, Mismatch)
    assert (error.cycle, error.other) == (at, "model")
    assert field in [difference.field for difference in error.differences]
    assert len(tb.cycles) == at + 1
    assert tb.played == LANES * at


@pytest.mark.parametrize("case", CASES)
def test_what_must_not_matter_is_driven_again_as_it_was(case, seed, wrong):
    """The hardware takes a value that no instruction writes: it is found, and shown."""

    def fault(word, row, playing):
        ports = harness.unpack(STIMULUS, word)
        ignored = ports["event__valid"] and not ports["event__mdscr_write"]
        return row ^ (ignored and ports["event__mdscr_value"] >> 7 & 1) << ROW["ss_after"].lsb

    tb, error = run(case, seed, fault)
    assert isinstance(error, Mismatch)
    assert [difference.field for difference in error.differences] == ["ss_after"]
    ((_, steps),) = wrong
    assert error.cycle == len(tb.cycles) - 1 == steps - 1


def test_a_fault_that_only_comes_among_other_lanes_is_told_as_such(seed, wrong):
    def fault(word, row, playing):
        return row ^ playing << ROW["ss"].lsb

    _, error = run("lockstep.events", seed, fault)
    assert wrong == [(0, 2)]
    assert isinstance(error, Failure)
    assert str(error) == "lane 0 is wrong in step 2 among the others, but not alone"


# Ten million cycles


def with_a_fault(event, field, bit):
    """The step unit, but that a bit of an output is wrong when one event happens."""

    class Wrong(StepUnit):
        def elaborate(self, platform):
            m = Module()
            m.submodules.right = right = StepUnit()
            pairs = zip(self.signature.flatten(self), right.signature.flatten(right), strict=True)
            ports = [
                (member.flow, path[0], Value.cast(mine), Value.cast(its))
                for (path, member, mine), (_, _, its) in pairs
            ]
            m.d.comb += [its.eq(mine) for flow, _, mine, its in ports if flow == In]
            driven = [each for each in ports if each[1] not in UNIT.tied]
            stimulus = Cat(mine for flow, _, mine, _ in driven if flow == In)
            places = {name: STIMULUS[name] for name in event}
            told = Cat(stimulus[slot.lsb : slot.lsb + slot.width] for slot in places.values())
            alike = told == Cat(Const(event[name], slot.width) for name, slot in places.items())
            row = Cat(mine for flow, _, mine, _ in ports if flow == Out)
            shown = Cat(its for flow, _, _, its in ports if flow == Out)
            m.d.comb += row.eq(shown ^ (alike << ROW[field].lsb + bit))
            return m

    return Wrong


def first_like(event, moves):
    """(step, lane) of the first event that looks like one."""
    for at, move in enumerate(moves):
        if move.happens:
            different = Planes.constant(0)
            for name, value in event.items():
                different |= move.ports[name] != value
            if (alike := different == 0).any():
                return at, int(alike.values(move.lanes).argmax())
    raise AssertionError("it is not there")


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """Everything generated goes to tmp_path, the builds too."""
    if why := compiled.missing():
        pytest.skip(f"not run: {why}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(builds, "SIM_BUILD", tmp_path)
    caches = (compiled._lanes_library,)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.mark.usefixtures("elsewhere")
def test_a_fault_in_one_of_ten_million_cycles_is_found(rng, seed, monkeypatch, capsys):
    lanes = compiled.Adapter.lanes
    steps = -(-CYCLES // lanes)
    monkeypatch.setattr(compiled.Adapter, "steps", steps)
    case = "lockstep.events"
    at, lane = divmod(rng.randrange(CYCLES), lanes)
    at += 1  # the first step loads
    move = next(islice(moves_of(case, seed, lanes, steps), at, None))
    event = {name: move.ports[name].at(lane) for name in TELLING}
    # Two events can look alike, though hardly ever: then the fault comes in the first.
    at, lane = first_like(event, moves_of(case, seed, lanes, steps))
    field = rng.choice(ALWAYS)
    bit = rng.randrange(ROW[field].width)
    print(f"cycle {at * lanes + lane} of {steps * lanes}: lane {lane}, step {at}, {field}<{bit}>")
    monkeypatch.setitem(vars(UNIT), "component", with_a_fault(event, field, bit))

    assert main([case, "--sim", "compiled", "--seed", str(seed), "-j", "1"]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert f"  cycle {at}: the hardware is not as the model says" in lines
    (marked,) = [line.split() for line in lines if line.endswith("!!!") and f"  {field} " in line]
    assert marked[0] == field and marked[1] != marked[2]
    assert f"  reproduce: python -m tb.run {case} --sim compiled --seed {seed} -w" in lines
    (told,) = [line for line in lines if line.startswith(f"    cycle {at}: ")]
    if field != "pc":
        assert f" {value_text('pc', event['event__pc'])} " in told
    for name in EVENT.keys() - {"event", "pc"}:
        assert f"{name}={event[EVENT[name]]:#x}" in told
