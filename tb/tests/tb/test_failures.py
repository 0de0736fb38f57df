"""What a failing test says."""

import copy
import re

import pytest

from model.arch import EL, Event, Mode
from tb import failures, scoreboard
from tb.failures import BEFORE, value_text
from tb.scoreboard import Mismatch
from tb.sims import pysim
from tb.testbench import Failure, Testbench

SPSR_SS = 1 << 21


def run(body):
    """The testbench after a body has run on the hardware."""

    async def task(simulator):
        await simulator.reset()
        tb = Testbench(simulator, "toy", 1)
        await body(tb)
        await tb.idle()
        return tb

    return pysim.run(task)


async def _stepped_guest(tb):
    await tb.start(el=EL.EL2, d=1, mdscr_el1=1, mdcr_el2=0x100)
    await tb.do(Event.ERET, spsr=Mode.EL1h | SPSR_SS, pc=0x8000)
    await tb.do(Event.EXECUTE, pc=0x8004)
    await tb.do(Event.EXECUTE)


@pytest.fixture(scope="module")
def stepped():
    return run(_stepped_guest)


def corrupted(tb, at, **fields):
    """The testbench with fields of one row changed, and the Mismatch that this gives."""
    tb = copy.copy(tb)
    tb.cycles, row = list(tb.cycles), copy.copy(tb.cycles[at].row)
    vars(row).update(fields)
    tb.cycles[at] = tb.cycles[at]._replace(row=row)
    with pytest.raises(Mismatch) as caught:
        scoreboard.check(tb.cycles)
    return tb, caught.value


TOLD = """\
cycle 2: the hardware is not as the model says
  field        hardware            model
  valid        1                   1
  el           EL1                 EL1
  d            0                   0
  ss           1                   1
  eld          EL2                 EL2
  enabled      1                   1
  state        active-not-pending  active-not-pending
  el_after     EL1                 EL1
  nrw_after    0                   0
  d_after      0                   0
  ss_after     1                   0                   !!!
  il_after     0                   0
  state_after  active-not-pending  active-pending      !!!
the events before it:
  cycle 0: start at EL2, PSTATE.D=1 SS=0
  cycle 1: EL2 0x8000 eret (spsr=0x200005); inactive -> active-not-pending
  cycle 2: EL1 0x8004 execute; active-not-pending -> active-not-pending
a remark
"""


def test_a_mismatch_is_told_in_full(stepped):
    tb, error = corrupted(stepped, 2, ss_after=1, state_after=1)
    tb.remarks = ["a remark"]
    text = [line.rstrip() for line in failures.mismatch(tb, error).splitlines()]
    assert [line for line in text if not line.startswith("  valid")] == [
        line for line in TOLD.splitlines() if not line.startswith("  valid")
    ]


def test_only_what_differs_is_marked(stepped):
    tb, error = corrupted(stepped, 3, esr=0xCB000062)
    (marked,) = [line for line in failures.mismatch(tb, error).splitlines() if "!!!" in line]
    assert marked.split() == ["esr", "0xcb000062", "0xcb000022", "!!!"]


def test_a_mismatch_with_the_test_itself_names_it_and_not_the_model(stepped):
    error = Mismatch(3, [scoreboard.Difference("el_after", EL.EL2, EL.EL1)], other="test")
    text = failures.mismatch(stepped, error).splitlines()
    assert text[0] == "cycle 3: the hardware is not as the test says"
    assert text[1].split() == ["field", "hardware", "test"]
    assert ["el_after", "EL2", "EL1", "!!!"] in [line.split() for line in text]
    assert ["state", "active-pending"] in [line.split() for line in text]  # the test said nothing


def test_enumerations_are_told_by_name():
    assert value_text("el", 2) == "EL2"
    assert value_text("state", 1) == "active-not-pending"
    assert value_text("event", Event.DEBUG_EXIT) == "debug_exit"
    assert value_text("last", 2) == "load_exclusive"
    assert value_text("last", 7) == "7 (no Last)"
    assert value_text("ss", 1) == "1"
    assert value_text("esr", 0xCB000022) == "0xcb000022"


def test_what_each_kind_of_cycle_says():
    async def body(tb):
        await tb.start(il=1, ss=1)
        await tb.do(Event.EXECUTE, d_write=1)
        await tb.start(el=EL.EL0, mdscr_el1=1)
        await tb.do(Event.INTERRUPT, target_el=EL.EL2)
        await tb.idle()

    tb = run(body)
    assert [failures.event_text(at, cycle) for at, cycle in enumerate(tb.cycles)] == [
        "cycle 0: start at EL1, PSTATE.D=0 SS=1",
        "cycle 1: EL1 0x0 execute (d_write=0x1) -> illegal state exception; inactive -> inactive",
        "cycle 2: start at EL0, PSTATE.D=0 SS=0",
        "cycle 3: EL0 0x4 interrupt (target_el=0x2) -> step exception; active-pending -> inactive",
        "cycle 4: idle",
        "cycle 5: idle",
    ]


def test_the_last_events_are_shown_and_no_more():
    async def body(tb):
        await tb.start()
        for _ in range(20):
            await tb.do(Event.EXECUTE)

    tb, error = corrupted(run(body), 15, el_after=3)
    lines = failures.mismatch(tb, error).splitlines()
    events = [line for line in lines if line.startswith("  cycle")]
    numbers = [int(line.split()[1].rstrip(":")) for line in events]
    assert numbers == list(range(15 - BEFORE, 16))


def test_a_failure_is_its_own_sentence_then_the_events(stepped):
    tb = copy.copy(stepped)
    tb.remarks = ["because of x1"]
    text = failures.failure(tb, Failure("the guest ran on")).splitlines()
    assert text[0] == "the guest ran on"
    assert text[1] == "the events before it:"
    assert text[-2:] == ["  cycle 4: idle", "because of x1"]


def test_a_failure_tells_where_the_hardware_parted_from_the_model_before(stepped):
    tb, _ = corrupted(stepped, 2, ss_after=1)
    text = failures.failure(tb, Failure("the guest ran on")).splitlines()
    assert text[:2] == ["the guest ran on", "cycle 2: the hardware is not as the model says"]


def test_an_unexpected_exception_says_where_it_came_from():
    def broken():
        return 1 // 0

    with pytest.raises(ZeroDivisionError) as caught:
        broken()
    text = failures.unexpected(caught.value)
    said = (
        r"ZeroDivisionError: integer division or modulo by zero \(test_failures.py:\d+, in broken\)"
    )
    assert re.fullmatch(said, text)


# What failures have in common


def test_the_cause_of_a_mismatch_is_what_differs(stepped):
    tb, error = corrupted(stepped, 2, state_after=0, ss_after=1)
    assert failures.cause(failures.mismatch(tb, error)) == (
        "the hardware differs in ss_after, state_after"
    )


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("at 0x40080000 the guest stepped 2 times\nmore", "at … the guest stepped … times"),
        ("PSTATE.SS is 1, ESR_EL2 is 0xcb000022", "PSTATE.SS is …, ESR_EL2 is …"),
        ("it broke", "it broke"),
    ],
)
def test_the_cause_of_another_failure_is_its_sentence_without_numbers(said, cause):
    assert failures.cause(said) == cause
