"""What differs from the model is found in its cycle; what is right passes."""

import copy
import os
from types import SimpleNamespace

import numpy as np
import pytest

from model.arch import EL, Event, Last, Mode, StepState
from model.planes import Planes
from tb import scoreboard, stimulus
from tb.harness import ROW, STIMULUS
from tb.scoreboard import DERIVED, EFFECT, STATE, Difference, Mismatch, check, expect, wrong_lane
from tb.sims import pysim
from tb.testbench import Testbench, columns_of

GUEST = {"el": EL.EL1, "mdscr_el1": 1, "mdcr_el2": 0x100}
SPSR_SS = 1 << 21

#: what the unit gives beside the trace, at all times
OUTPUTS = [
    name for name in ROW if name.startswith("out_") and name not in ("out_esr", "out_target_el")
]


def cycles_of(body, tamper=lambda at, word: word):
    """The cycles of a body on the hardware. `tamper` changes the stimulus on its way there."""

    class Tampering:
        def __init__(self, simulator):
            self.simulator = simulator
            self.at = -1

        async def cycle(self, word):
            self.at += 1
            return await self.simulator.cycle(tamper(self.at, word))

    async def task(simulator):
        await simulator.reset()
        tb = Testbench(Tampering(simulator), "toy", 1)
        await body(tb)
        await tb.idle()
        return tb.cycles

    return pysim.run(task)


async def stepped_guest(tb):
    """Start, return to the guest, an instruction, the step exception, two idle cycles."""
    await tb.start(**GUEST | {"el": EL.EL2})
    await tb.do(Event.ERET, spsr=Mode.EL1h | SPSR_SS)
    await tb.do(Event.LOAD_EXCLUSIVE)
    await tb.do(Event.EXECUTE)
    await tb.idle()


def random_events(lines):
    async def body(tb):
        for at in range(len(lines.has_target)):
            state, given = columns_of(lines, at)
            await tb.start(**state)
            await tb.do(Event(given.pop("event")), **given)
            if at % 3 == 0:
                await tb.idle()

    return body


@pytest.fixture(scope="module")
def stepped():
    cycles = cycles_of(stepped_guest)
    check(cycles)
    return cycles


def corrupt(cycles, at, field, flip=1):
    """The same cycles, bits of a field of one row inverted."""
    cycles = list(cycles)
    row = copy.copy(cycles[at].row)
    setattr(row, field, getattr(row, field) ^ flip)
    cycles[at] = cycles[at]._replace(row=row)
    return cycles


def mismatch(cycles):
    with pytest.raises(Mismatch) as caught:
        check(cycles)
    return caught.value


def test_random_events_on_the_hardware_pass(seed, drawn):
    checked = check(cycles_of(random_events(drawn(seed, 192))))
    assert len(checked.pe.el) == 192


@pytest.mark.parametrize("field", ["valid", "event", "pc", *STATE, *DERIVED, *EFFECT, *OUTPUTS])
def test_a_wrong_field_is_found_in_its_cycle(stepped, field):
    for at in (1, 2, 3):  # the events
        right = getattr(stepped[at].row, field)
        error = mismatch(corrupt(stepped, at, field))
        assert (error.cycle, error.other) == (at, "model")
        assert Difference(field, right ^ 1, right) in error.differences
        assert str(error).startswith(f"cycle {at}: ")
        assert field in str(error)


@pytest.mark.parametrize("field", ["step_exception", "esr", "el_after", "state_after", "valid"])
def test_only_the_wrong_field_is_named(stepped, field):
    for at in (1, 2, 3):
        assert [d.field for d in mismatch(corrupt(stepped, at, field)).differences] == [field]


def test_every_bit_of_the_syndrome_counts(stepped):
    for bit in range(ROW["esr"].width):
        error = mismatch(corrupt(stepped, 3, "esr", 1 << bit))
        (difference,) = error.differences
        assert difference == Difference("esr", 0xCB000062 ^ 1 << bit, 0xCB000062)


@pytest.mark.parametrize("field", ["mdscr_el1", "mdscr_el1_written"])
@pytest.mark.parametrize("bit", [0, 5, 40, 63])
def test_every_bit_of_a_register_counts(field, bit):
    async def body(tb):
        await tb.start(mdscr_el1=(1 << 64) - 2, oslsr_el1=2)
        await tb.do(Event.EXECUTE)

    cycles = cycles_of(body)
    right = getattr(cycles[1].row, field)
    error = mismatch(corrupt(cycles, 1, field, 1 << bit))
    assert error.cycle == 1
    assert Difference(field, right ^ 1 << bit, right) in error.differences


@pytest.mark.parametrize("field", ["valid", *STATE, *DERIVED, *OUTPUTS])
def test_an_idle_cycle_must_show_the_kept_state(stepped, field):
    for at in (4, 5):
        assert stepped[at].given is None
        error = mismatch(corrupt(stepped, at, field))
        assert error.cycle == at
        assert field in {difference.field for difference in error.differences}


@pytest.mark.parametrize("field", EFFECT)
def test_what_an_event_would_do_does_not_count_in_an_idle_cycle(stepped, field):
    check(corrupt(stepped, 4, field))


def test_the_state_before_the_first_start_is_not_judged(stepped):
    check(corrupt(stepped, 0, "last"))


@pytest.mark.parametrize("field", ["out_esr", "out_target_el"])
def test_the_step_exception_that_would_come_counts_while_one_is_pending(stepped, field):
    for at in (1, 2):
        check(corrupt(stepped, at, field))
    assert [d.field for d in mismatch(corrupt(stepped, 3, field)).differences] == [field]


def test_derived_state_is_judged_from_the_first_cycle(stepped):
    for field in DERIVED:
        assert mismatch(corrupt(stepped, 0, field)).cycle == 0


def test_the_first_wrong_cycle_is_named(stepped):
    assert mismatch(corrupt(corrupt(stepped, 3, "ss_after"), 2, "esr")).cycle == 2


def test_a_load_that_went_wrong_shows_one_cycle_later():
    def tamper(at, word):
        return word ^ (Last.LOAD_EXCLUSIVE << STIMULUS["load__last"].lsb if at == 0 else 0)

    async def body(tb):
        await tb.start(**GUEST, ss=1)
        await tb.do(Event.EXECUTE)

    error = mismatch(cycles_of(body, tamper))
    assert error.cycle == 1
    assert error.differences == [Difference("last", Last.LOAD_EXCLUSIVE, Last.NOTHING)]


def test_a_hidden_register_that_went_wrong_shows_one_cycle_later():
    def tamper(at, word):
        return word ^ (8 << STIMULUS["event__mdscr_value"].lsb if at == 1 else 0)

    async def body(tb):
        await tb.start(**GUEST)
        tb.change(oslsr_el1=2)  # nothing is stepped: the trace shows no more than the registers
        await tb.do(Event.EXECUTE, mdscr_write=0x70, mdscr_seen=0)
        await tb.do(Event.EXECUTE)

    error = mismatch(cycles_of(body, tamper))
    assert error.cycle == 2
    assert error.differences == [Difference("mdscr_el1_written", 0x78, 0x70)]


def test_an_idle_cycle_keeps_what_an_event_would_change():
    async def body(tb):
        await tb.start(**GUEST, ss=1, last=Last.LOAD_EXCLUSIVE)
        await tb.idle()
        await tb.idle()
        await tb.do(Event.EXECUTE)

    cycles = cycles_of(body)
    check(cycles)
    assert mismatch(corrupt(cycles, 2, "ss")).cycle == 2
    assert mismatch(corrupt(cycles, 3, "last")).cycle == 3


def test_an_event_in_an_idle_cycle_is_found():
    def tamper(at, word):
        return word | (1 << STIMULUS["event__valid"].lsb if at == 1 else 0)

    async def body(tb):
        await tb.start(**GUEST, ss=1)
        await tb.idle()
        await tb.do(Event.EXECUTE)

    error = mismatch(cycles_of(body, tamper))
    assert (error.cycle, error.differences) == (1, [Difference("valid", 1, 0)])


def test_a_test_that_compared_nothing_fails():
    async def body(tb):
        await tb.start(**GUEST)
        await tb.idle()

    with pytest.raises(ValueError, match="compared nothing: no event happened"):
        check(cycles_of(body))
    with pytest.raises(ValueError, match="compared nothing: no event happened"):
        check([])


def test_what_passed_are_the_events(stepped):
    checked = check(stepped)
    assert checked.given.event.tolist() == [Event.ERET, Event.LOAD_EXCLUSIVE, Event.EXECUTE]
    assert checked.effect.step_exception.tolist() == [False, False, True]
    assert checked.pe.el.tolist() == [EL.EL2, EL.EL1, EL.EL1]


def test_expect_names_cycle_field_and_values(stepped):
    expect(stepped, stepped[3].row, {"step_exception": 1, "el_after": EL.EL2, "esr": 0xCB000062})
    with pytest.raises(Mismatch, match=r"^cycle 3: esr, ss_after$") as caught:
        expect(stepped, stepped[3].row, {"esr": 0xCB000022, "el_after": EL.EL2, "ss_after": 1})
    assert caught.value.cycle == 3
    assert caught.value.other == "test"
    assert caught.value.differences == [
        Difference("esr", 0xCB000062, 0xCB000022),
        Difference("ss_after", 0, 1),
    ]


def test_expect_finds_the_cycle_of_a_row_by_identity():
    rows = [SimpleNamespace(esr=0) for _ in range(3)]
    cycles = [scoreboard.Cycle({}, {}, row, None) for row in rows]
    with pytest.raises(Mismatch, match=r"^cycle 2: esr$"):
        expect(cycles, rows[2], {"esr": 1})


def test_expect_of_a_field_that_is_not_there_is_an_error(stepped):
    with pytest.raises(AttributeError, match="bogus"):
        expect(stepped, stepped[3].row, {"bogus": 1})


# Many lanes

LANES = 128


@pytest.fixture(scope="module")
def played():
    """A sequence on the hardware: (step, its rows)."""

    async def task(simulator):
        await simulator.reset()
        moves = stimulus.sequence(int(os.environ.get("SEED", "1")), LANES, 12, 0.2, 0.3)
        return [each async for each in simulator.play(moves)]

    return pysim.run(task)


def counts_in(move, field):
    """The lanes in which a field is compared."""
    if move.pe is None or (field in ("event", "pc", *EFFECT) and not move.happens):
        return []
    if field in ("out_esr", "out_target_el"):
        pending = move.effect.state.values(LANES) == StepState.ACTIVE_PENDING
        return np.flatnonzero(pending).tolist()
    return list(range(LANES))


def flipped(rows, field, lane, bit):
    """The same rows, a bit of a field in one lane inverted."""
    changed = [np.broadcast_to(row, LANES // 64).copy() for row in rows[field].rows]
    changed[bit][lane // 64] ^= np.uint64(1 << lane % 64)
    return {**rows, field: Planes(changed)}


def test_many_lanes_that_are_right_pass(played):
    assert {move.happens for move, _ in played[1:]} == {True, False}
    assert [wrong_lane(move, rows) for move, rows in played] == [None] * len(played)


@pytest.mark.parametrize("field", ROW)
def test_a_wrong_bit_is_found_in_every_step_in_which_it_counts(played, field, rng):
    found = 0
    for move, rows in played:
        counts = counts_in(move, field)
        for lane in {0, 63, 64, LANES - 1, rng.randrange(LANES)} & set(counts):
            wrong = flipped(rows, field, lane, rng.randrange(ROW[field].width))
            assert wrong_lane(move, wrong) == lane
            found += 1
        for lane in rng.sample(counts, min(3, len(counts))):
            wrong = flipped(rows, field, lane, rng.randrange(ROW[field].width))
            assert wrong_lane(move, wrong) == lane
            found += 1
    assert found >= 8


@pytest.mark.parametrize("field", ROW)
def test_every_bit_of_every_field_counts(played, field, rng):
    move, rows = next(each for each in played[1:] if each[0].happens and counts_in(each[0], field))
    for bit in range(ROW[field].width):
        lane = rng.choice(counts_in(move, field))
        assert wrong_lane(move, flipped(rows, field, lane, bit)) == lane


@pytest.mark.parametrize("field", ROW)
def test_what_does_not_count_may_be_anything(played, field, rng):
    """Nothing is known of the first step; effects and the event count when one happens; the step
    exception that would come counts while one is pending."""
    for move, rows in played:
        free = set(range(LANES)) - set(counts_in(move, field))
        for lane in rng.sample(sorted(free), min(5, len(free))):
            wrong = flipped(rows, field, lane, rng.randrange(ROW[field].width))
            assert wrong_lane(move, wrong) is None


def test_the_first_wrong_lane_is_named(played):
    move, rows = played[1]
    wrong = flipped(flipped(rows, "ss", 100, 0), "out_mdscr_el1", 70, 63)
    assert wrong_lane(move, wrong) == 70
    assert wrong_lane(move, flipped(wrong, "eld", 3, 1)) == 3


def test_a_field_that_is_wrong_in_all_lanes_at_once_is_found(played):
    move, rows = played[1]
    right = move.happens
    assert wrong_lane(move, {**rows, "valid": Planes.constant(not right)}) == 0
    assert wrong_lane(move, {**rows, "valid": Planes.constant(right)}) is None
