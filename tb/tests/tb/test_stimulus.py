"""What is drawn is legal, and everything that can happen is drawn."""

from random import Random
from types import SimpleNamespace

import numpy as np
import pytest

from model.arch import EL, MDSCR_EL1, Event, Last
from model.columns import problems, to_lines
from tb import stimulus
from tb.testbench import CONTROLS

STARTS = 4000


class Somewhere:
    """What the stimulus looks at of a testbench: a PE in a state, and its controls."""

    def __init__(self, state):
        width = (state["el1_aarch32"], state["el1_aarch32"], state["el2_aarch32"], 0)
        self.state = state
        self.now = SimpleNamespace(el=state["el"], nrw=width[state["el"]])
        self.controls = {name: state.get(name, 0) for name in (*CONTROLS, "halted")}

    def change(self, **controls):
        self.controls |= controls

    @property
    def columns(self):
        return self.state | self.controls


def starts(rng):
    return [stimulus.start(rng) for _ in range(STARTS)]


def found(rows):
    """Each problem of some rows of columns, with a row that has it."""
    optional = ("target_el", "d_write", "mdscr_write")
    present = {name: np.array([name in row for row in rows]) for name in optional}
    names = {name for row in rows for name in row}
    lines = to_lines({name: [row.get(name, 0) for row in rows] for name in names}, present)
    return [
        (column, text, rows[int(wrong.argmax())])
        for wrong, column, text in problems(lines)
        if wrong.any()
    ]


def test_starts_are_legal(rng):
    states = starts(rng)
    # An exception to EL3 comes from outside and is legal anywhere: what is wrong is the state.
    with_el3 = [state for state in states if state["have_el3"]]
    assert found([state | {"event": Event.EXCEPTION, "target_el": 3} for state in with_el3]) == []
    others = [state | {"il": 0} for state in states if not state["have_el3"]]
    assert found([state | {"event": Event.EXECUTE} for state in others]) == []


def test_events_are_legal_where_they_happen(rng):
    rows, kinds = [], set()
    for state in starts(rng):
        # The Illegal Execution state exception may go to AArch32, which a file cannot say.
        tb = Somewhere(state | {"il": 0})
        stimulus.change(rng, tb)
        stimulus.halt(rng, tb)
        kind, columns = stimulus.event(rng, tb)
        kinds.add(kind)
        row = tb.columns | columns | {"event": kind}
        if kind not in (Event.SVC, Event.HVC, Event.SMC, Event.EXCEPTION, Event.INTERRUPT):
            row.pop("target_el", None)
        rows.append(row)
    wrong = [each for each in found(rows) if "uses AArch32; exceptions" not in each[1]]
    assert wrong == []
    assert kinds == set(Event)


def test_every_kind_of_start_comes(rng):
    states = starts(rng)
    for name, values in {
        "el": EL,
        "last": Last,
        **dict.fromkeys(("d", "ss", "il", "double_lock", "el1_aarch32", "el2_aarch32"), (0, 1)),
        **dict.fromkeys(("have_el2", "have_el3", "have_sel2"), (0, 1)),
    }.items():
        assert {state[name] for state in states} == {int(value) for value in values}, name


def test_bits_that_do_not_matter_are_noise(rng):
    seen = 0
    for _ in range(200):
        seen |= stimulus.register(rng, "mdscr_el1")
    assert seen == (1 << MDSCR_EL1.WIDTH) - 1


@pytest.mark.parametrize("el", EL)
def test_a_change_is_one_that_the_el_can_make(rng, el):
    may = {
        EL.EL0: set(),
        EL.EL1: {"oslsr_el1"},
        EL.EL2: {"oslsr_el1", "mdcr_el2", "hcr_el2"},
        EL.EL3: {"oslsr_el1", "mdcr_el2", "hcr_el2", "mdcr_el3", "sder32_el3", "scr_el3"}
        | {"el1_aarch32", "el2_aarch32"},
    }[el] | {"double_lock"}
    changed = set()
    for _ in range(300):
        state = stimulus.start(rng) | {"el": int(el), "have_el2": 1, "have_el3": 1}
        tb = Somewhere(state)
        before = dict(tb.controls)
        stimulus.change(rng, tb)
        changed |= {name for name in before if tb.controls[name] != before[name]}
    assert changed == may


def test_the_same_seed_draws_the_same(seed):
    first, again, other = (stimulus.start(Random(at)) for at in (seed, seed, seed + 1))
    assert first == again
    assert first != other


def test_els_are_those_that_can_be_used():
    base = {"have_el2": 1, "have_el3": 1, "have_sel2": 1, "scr_el3": 1}
    assert stimulus.els(base) == [0, 1, 2, 3]
    assert stimulus.els(base | {"have_el3": 0, "scr_el3": 0}) == [0, 1, 2]
    assert stimulus.els(base | {"have_el2": 0}) == [0, 1, 3]
    assert stimulus.els(base | {"scr_el3": 0}) == [0, 1, 3]
    assert stimulus.els(base | {"scr_el3": 1 << 18}) == [0, 1, 2, 3]
    assert stimulus.els(base | {"scr_el3": 1 << 18, "have_sel2": 0}) == [0, 1, 3]
