"""What a case's calls put on the ports, and what it gets back."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from model.arch import EL, Event, Last, StepState
from model.columns import to_lines
from tb import coverage
from tb.harness import ROW, STIMULUS, pack, unpack
from tb.scoreboard import Mismatch, check
from tb.sims import pysim
from tb.testbench import CONTROLS, DEFAULTS, Testbench, columns_of


class Recorder:
    """A simulator that keeps the stimulus, and gives one row again and again."""

    def __init__(self, **row):
        self.words = []
        self.row = pack(ROW, row)

    async def reset(self):
        """Nothing to reset."""

    async def cycle(self, stimulus):
        self.words.append(unpack(STIMULUS, stimulus))
        return self.row


def recorded(body, **row):
    """The stimulus of each cycle, and the testbench, after a body has run."""
    recorder = Recorder(**row)
    tb = Testbench(recorder, "toy", 1)
    asyncio.run(body(tb))
    return recorder.words, tb


def on_pysim(body):
    """What the body returns, on the hardware."""

    async def task(simulator):
        await simulator.reset()
        return await body(Testbench(simulator, "toy", 1), simulator)

    return pysim.run(task)


def test_start_loads_the_state_and_no_event_happens():
    async def body(tb):
        await tb.start(el=2, d=1, mdscr_el1=5, last=Last.INSTRUCTION)

    (word,), tb = recorded(body)
    assert (word["load__enable"], word["event__valid"]) == (1, 0)
    assert (word["load__pstate__el"], word["load__pstate__d"]) == (2, 1)
    assert (word["load__mdscr_el1"], word["load__mdscr_el1_written"]) == (5, 5)
    assert word["load__last"] == Last.INSTRUCTION
    assert tb.cycles[0].loaded["el"] == 2
    assert tb.cycles[0].given is None
    assert (tb.now.el, tb.now.d, tb.now.state) == (2, 1, None)


def test_start_takes_the_vector_files_defaults():
    async def body(tb):
        await tb.start()

    (word,), tb = recorded(body)
    assert word["load__pstate__el"] == 1
    assert word["controls__scr_el3"] == 1
    assert word["controls__have_el2"] == word["controls__have_el3"] == 1
    assert tb.controls == {name: DEFAULTS[name] for name in (*CONTROLS, "halted")}


@pytest.mark.parametrize(
    ("el", "el1_aarch32", "el2_aarch32", "nrw"),
    [(0, 1, 0, 1), (1, 1, 0, 1), (2, 1, 0, 0), (2, 1, 1, 1), (3, 1, 1, 0), (1, 0, 0, 0)],
)
def test_width_follows_from_the_el(el, el1_aarch32, el2_aarch32, nrw):
    async def body(tb):
        await tb.start(el=el, el1_aarch32=el1_aarch32, el2_aarch32=el2_aarch32)

    (word,), _ = recorded(body)
    assert word["load__pstate__nrw"] == nrw


def test_an_unknown_column_is_a_type_error():
    async def body(tb):
        await tb.start(el=1, nosuch=1, bogus=2)

    with pytest.raises(TypeError, match=r"^no such column: bogus, nosuch$"):
        recorded(body)


def test_an_event_with_an_unknown_column_is_an_error():
    async def body(tb):
        await tb.start()
        await tb.do(Event.EXECUTE, bogus=1)

    with pytest.raises(KeyError, match="bogus"):
        recorded(body)


def test_controls_stay_until_changed():
    async def body(tb):
        await tb.start(mdcr_el2=0x100, oslsr_el1=2)
        await tb.do(Event.EXECUTE)
        await tb.idle()
        tb.change(mdcr_el2=0)
        await tb.do(Event.EXECUTE)
        await tb.idle()

    words, tb = recorded(body)
    assert [word["controls__mdcr_el2"] for word in words] == [0x100, 0x100, 0x100, 0, 0]
    assert [word["controls__oslsr_el1"] for word in words] == [2] * 5
    assert [cycle.controls["mdcr_el2"] for cycle in tb.cycles] == [0x100, 0x100, 0x100, 0, 0]


def test_a_pe_to_be_in_afterwards_is_loaded_with_the_event():
    async def body(tb):
        await tb.start(el=0, mdcr_el2=0x100)
        await tb.do(Event.SVC, target_el=2, then={"el": 3, "hcr_el2": 1})
        assert (tb.now.el, tb.now.state) == (3, None)
        await tb.do(Event.EXECUTE)

    words, tb = recorded(body)
    assert [word["event__valid"] for word in words] == [0, 1, 1]
    assert [word["load__enable"] for word in words] == [1, 1, 0]
    assert words[1]["load__pstate__el"] == tb.cycles[1].loaded["el"] == 3
    assert [word["controls__mdcr_el2"] for word in words] == [0x100, 0x100, 0]
    assert [word["controls__hcr_el2"] for word in words] == [0, 0, 1]


def test_a_pe_to_be_in_afterwards_needs_known_columns_too():
    async def body(tb):
        await tb.start()
        await tb.do(Event.EXECUTE, then={"bogus": 1})

    with pytest.raises(TypeError, match=r"^no such column: bogus$"):
        recorded(body)


def test_debug_state_ends_with_the_event():
    async def body(tb):
        await tb.start(halted=1)
        await tb.idle()
        await tb.do(Event.DEBUG_EXIT)
        await tb.do(Event.EXECUTE)

    words, _ = recorded(body)
    assert [word["halted"] for word in words] == [1, 1, 1, 0]


def test_an_event_takes_the_vector_files_choices_unless_told():
    async def body(tb):
        await tb.start()
        await tb.do(Event.EXECUTE)
        await tb.do(Event.INTERRUPT, target_el=EL.EL2, isv_choice=0, mdscr_seen=0, async_first=1)

    (_, plain, told), _ = recorded(body)
    names = ("choice__isv_choice", "choice__mdscr_seen", "choice__async_first")
    assert [plain[name] for name in names] == [1, 1, 0]
    assert [told[name] for name in names] == [0, 0, 1]
    assert (told["event__kind"], told["event__target_el"]) == (Event.INTERRUPT, EL.EL2)


def test_a_write_of_0_is_still_a_write():
    async def body(tb):
        await tb.start()
        await tb.do(Event.EXECUTE)
        await tb.do(Event.EXECUTE, d_write=0)
        await tb.do(Event.EXECUTE, mdscr_write=0)

    (_, none, d, mdscr), _ = recorded(body)
    names = ("event__d_write", "event__mdscr_write")
    assert [[word[name] for name in names] for word in (none, d, mdscr)] == [[0, 0], [1, 0], [0, 1]]


def test_the_pc_goes_on_by_one_instruction_and_wraps():
    async def body(tb):
        tb._pc = (1 << 64) - 8
        await tb.start()
        for _ in range(3):
            await tb.do(Event.EXECUTE)

    words, tb = recorded(body)
    pcs = [(1 << 64) - 8, (1 << 64) - 4, 0]
    assert [word["event__pc"] for word in words[1:]] == pcs
    assert [cycle.given["pc"] for cycle in tb.cycles[1:]] == pcs


def test_now_is_what_the_hardware_says():
    async def body(tb):
        await tb.start()
        row = await tb.do(Event.EXECUTE)
        assert isinstance(row, SimpleNamespace)
        assert row is tb.cycles[-1].row

    _, tb = recorded(body, el_after=2, ss_after=1, state_after=StepState.ACTIVE_PENDING)
    assert vars(tb.now) == {"el": 2, "nrw": 0, "d": 0, "ss": 1, "il": 0, "state": 2}


def test_what_a_case_draws_depends_on_its_name_and_seed_only():
    def draw(name, seed):
        return Testbench(Recorder(), name, seed).rng.getrandbits(64)

    assert draw("a", 1) == draw("a", 1)
    assert len({draw("a", 1), draw("a", 2), draw("b", 1)}) == 3


def test_finish_looks_one_cycle_past_the_last_event():
    async def body(tb):
        await tb.start()
        await tb.do(Event.EXECUTE)
        await tb.finish()

    with pytest.raises(Mismatch):
        recorded(body)  # a row of zeros is not what the model says
    cycles, counts = on_pysim(_events_then_finish)
    assert len(cycles) == 4  # start, two events, and the cycle after
    assert np.array_equal(counts, coverage.count(check(cycles)))
    assert [coverage.name(int(at)) for at in np.flatnonzero(counts)] == [
        f"event: state=inactive event={event} el=EL1 target=EL1 choice=none"
        for event in ("execute", "isb")
    ] + [
        f"transition: state=inactive event={event} outcome=event state_after=inactive"
        for event in ("execute", "isb")
    ]


async def _events_then_finish(tb, _):
    await tb.start()
    await tb.do(Event.EXECUTE)
    await tb.do(Event.ISB)
    counts = await tb.finish()
    return tb.cycles, counts


def test_reset_brings_el3_with_debug_masked():
    async def body(tb, simulator):
        await tb.start(el=0, ss=1, il=1, mdscr_el1=1, last=Last.INSTRUCTION)
        await tb.idle()
        before = tb.cycles[-1].row
        await simulator.reset()
        await tb.idle()
        return before, tb.cycles[-1].row

    before, after = on_pysim(body)
    assert (before.el, before.ss, before.il, before.mdscr_el1, before.last) == (0, 1, 1, 1, 1)
    assert (after.el, after.nrw, after.d, after.ss, after.il) == (EL.EL3, 0, 1, 0, 0)
    assert (after.mdscr_el1, after.mdscr_el1_written, after.last) == (0, 0, Last.NOTHING)
    assert after.state == StepState.INACTIVE


def test_columns_of_a_line_make_the_line_again(seed, drawn):
    lines = drawn(seed, 256)
    for at in range(256):
        state, given = columns_of(lines, at)
        for name in ("d_write", "mdscr_write"):
            assert (name in given) == getattr(lines.given, name)[at]
        assert state.pop("mdscr_el1_written") == lines.pe.mdscr_el1[at]
        assert state.pop("nrw") == lines.pe.nrw[at]
        again = to_lines(state | given)
        for part in ("pe", "given"):
            for name in getattr(lines, part).__dataclass_fields__:
                # What would be written does not count where nothing is.
                write = name.replace("_value", "_write")
                if name == write or write in given:
                    old, new = (getattr(getattr(each, part), name) for each in (lines, again))
                    assert old[at] == new, name
