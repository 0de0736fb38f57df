"""What is drawn is legal, everything that can happen is drawn, and as often as it is to be."""

from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest

from model.arch import EL, SCR_EL3, Event, Last, Mode, Mode32, SPSR_ELx, StepState
from model.columns import problems
from model.machine import after
from model.planes import Planes
from tb import stimulus
from tb.scoreboard import STATE
from tb.stimulus import Dice, sequence
from tb.testbench import CONTROLS, EVENT, LOAD, WRITES

LANES, STEPS = 4096, 40
CHANCES = {"idle": 0.2, "changes": 0.4}

#: what the sequences do that a vector file must not say: they take exceptions to AArch32
BEYOND = (
    "that EL uses AArch32; exceptions here are taken to AArch64",
    "the Illegal Execution state exception would go to AArch32",
)


@pytest.fixture
def moves(seed):
    """All steps of a sequence; the first puts the PEs somewhere."""
    return list(sequence(seed, LANES, STEPS, **CHANCES))


@pytest.fixture
def dice(seed):
    return Dice(seed, LANES)


def everything(moves, part, name):
    """A column of all events, in all lanes."""
    steps = [getattr(getattr(move, part), name) for move in moves if move.happens]
    return np.concatenate([values.values(LANES) for values in steps])


def flat(part):
    """The rows of planes or of what is made of them, to compare."""
    if isinstance(part, Planes):
        return [row.tolist() for row in part.rows]
    if isinstance(part, dict):
        return {name: flat(planes) for name, planes in part.items()}
    if hasattr(part, "__dataclass_fields__"):
        return {field.name: flat(getattr(part, field.name)) for field in fields(part)}
    return part


def about(count, of_one, total, fine=1 / 128):
    """Whether a count is what a chance makes likely; chances are as fine as sixty-fourths."""
    return abs(count - of_one * total) <= fine * total + 5 * (of_one * total) ** 0.5


def test_all_is_legal_but_exceptions_to_aarch32(moves, lines_of):
    for at, move in enumerate(moves[1:], 1):
        wrong = {text: int(where.sum()) for where, _, text in problems(lines_of(move))}
        assert {text: n for text, n in wrong.items() if n and text not in BEYOND} == {}, at


def test_exceptions_to_aarch32_are_drawn_too(moves, lines_of):
    seen = {text for m in moves[1:] for where, _, text in problems(lines_of(m)) if where.any()}
    assert seen == set(BEYOND)


def test_a_pe_is_in_what_the_event_before_has_led_to(moves):
    """But for what changes between events: the control registers, and `halted`."""
    for before, move in pairwise(moves):
        then = after(before.pe, before.effect) if before.happens else before.pe
        for name in STATE:
            assert not (getattr(before.load or then, name) != getattr(move.pe, name)).any(), name


def test_a_step_has_the_ports_that_make_it(moves):
    assert set(moves[0].ports) == {*CONTROLS.values(), *LOAD.values()} | {
        "load__enable",
        "event__valid",
    }
    for move in moves[1:]:
        written = {port for pair in WRITES.values() for port in pair}
        wanted = {*CONTROLS.values(), *EVENT.values(), *written, "event__valid", "load__enable"}
        assert set(move.ports) == wanted | (set(LOAD.values()) if move.load else set())
        values = {name: move.ports[port] for name, port in CONTROLS.items()}
        assert flat(values) == flat({name: getattr(move.pe, name) for name in CONTROLS})
        assert move.ports["event__valid"].at(0) == move.happens
        assert move.ports["load__enable"].at(0) == (move.load is not None)


def test_debug_exit_is_the_event_in_debug_state_and_nowhere_else(moves):
    halted = everything(moves, "pe", "halted")
    assert np.array_equal(everything(moves, "given", "event") == Event.DEBUG_EXIT, halted)
    in_aarch64 = everything(moves, "pe", "nrw") == 0
    assert not halted[~in_aarch64].any()
    assert about(halted.sum(), 0.04, in_aarch64.sum())


@pytest.mark.parametrize(
    ("part", "name", "values"),
    [
        ("given", "event", Event),
        ("effect", "state", StepState),
        ("effect", "state_after", StepState),
        ("effect", "eld", (1, 2)),
        ("effect", "illegal_state", (0, 1)),
        ("effect", "step_exception", (0, 1)),
        ("pe", "el", EL),
        ("pe", "last", Last),
        *[("pe", name, (0, 1)) for name in ("d", "ss", "il", "nrw", "double_lock", "halted")],
        *[("pe", name, (0, 1)) for name in ("el1_aarch32", "el2_aarch32")],
        *[("pe", name, (0, 1)) for name in ("have_el2", "have_el3", "have_sel2")],
        *[("given", name, (0, 1)) for name in ("isv_choice", "async_first", "mdscr_seen")],
        *[("given", name, (0, 1)) for name in ("d_write", "d_value", "mdscr_write")],
        ("given", "target_el", (1, 2, 3)),
    ],
)
def test_everything_comes(moves, part, name, values):
    found = everything(moves, part, name)
    assert set(np.unique(found).tolist()) == {int(value) for value in values}


def test_every_event_comes_in_every_state_and_at_every_el_where_it_can(moves):
    columns = [("effect", "state"), ("given", "event"), ("pe", "el")]
    found = set(zip(*(everything(moves, *column).tolist() for column in columns), strict=True))
    unstepped = {(s, k, 3) for s in StepState for k in Event if s != StepState.INACTIVE}
    no_return = {(s, Event.ERET, 0) for s in StepState}
    halted = {(s, Event.DEBUG_EXIT, el) for s in StepState if s for el in EL}
    wanted = {(s, k, el) for s in StepState for k in Event for el in EL}
    assert found == wanted - unstepped - no_return - halted


def test_events_come_by_their_weights(moves):
    """Where every event can come."""
    kinds, el = everything(moves, "given", "event"), everything(moves, "pe", "el")
    free = (el > EL.EL0) & ~everything(moves, "pe", "nrw").astype(bool)
    kinds = kinds[free & (kinds != Event.DEBUG_EXIT)]
    total = sum(stimulus._WEIGHTS.values())
    for kind, weight in stimulus._WEIGHTS.items():
        assert about((kinds == kind).sum(), weight / total, len(kinds), fine=1 / 64), kind


@pytest.mark.parametrize("name", stimulus._CHANCES)
def test_bits_that_matter_come_by_their_chance_and_the_others_are_noise(dice, name):
    register, chances = stimulus._CHANCES[name]
    drawn = [dice.register(name).values(LANES) for _ in range(40)]
    for field, of_one in chances.items():
        ones = sum(int(register.fields()[field].is_set(values).sum()) for values in drawn)
        assert about(ones, of_one, LANES * len(drawn)), field
    matter = sum(register.fields()[field].mask for field in chances)
    noise = [values & ~np.uint64(matter) for values in drawn]
    assert np.bitwise_or.reduce(np.concatenate(noise)) == (1 << register.WIDTH) - 1 - matter
    assert 5 <= sum(not values.any() for values in noise) <= 35  # as often as not
    loud = next(values for values in noise if values.any())
    assert len(np.unique(loud)) == LANES


def test_the_pc_is_noise(moves):
    pcs = [move.pc.values(LANES) for move in moves if move.happens]
    assert np.bitwise_or.reduce(np.concatenate(pcs)) == (1 << 64) - 1


@pytest.mark.parametrize("of_one", [0, 0.02, 0.25, 0.5, 0.92, 1])
def test_a_chance_is_as_asked_in_every_bit_of_a_word(dice, of_one):
    bits = np.stack([dice.chance(of_one).values(LANES) for _ in range(64)])
    assert about(bits.sum(), of_one, bits.size)
    if 0 < of_one < 1:
        by_lane = bits.reshape(-1, 64).sum(axis=0)  # of the same place in a word
        assert all(about(n, of_one, bits.size / 64) for n in by_lane)


def test_a_choice_comes_by_its_weights(dice):
    weights = {5: 1, 0: 2, 1: 4, 6: 1}
    drawn = np.concatenate([dice.choice(weights).values(LANES) for _ in range(20)])
    assert set(np.unique(drawn).tolist()) == set(weights)
    for value, weight in weights.items():
        assert about((drawn == value).sum(), weight / 8, len(drawn))


def test_idle_cycles_and_loads_come_by_their_chance(seed):
    moves = list(sequence(seed, 64, 600, idle=0.2))
    assert about(sum(not move.happens for move in moves[1:]), 0.2, 600)
    assert about(sum(move.load is not None for move in moves[1:]), 1 / 7, 600)
    assert sum(move.happens for move in moves) == 600


def test_nothing_is_idle_and_nothing_changes_unless_asked(seed):
    moves = list(sequence(seed, 64, 60))
    assert len(moves) == 61
    assert all(move.happens for move in moves[1:])
    for before, move in pairwise(moves[1:]):
        if before.load is None:
            for name in set(CONTROLS) - {"halted"}:
                assert not (getattr(before.pe, name) != getattr(move.pe, name)).any(), name


@pytest.mark.parametrize("el", EL)
def test_a_change_is_one_that_the_el_can_make(dice, el):
    may = {
        EL.EL0: set(),
        EL.EL1: {"oslsr_el1"},
        EL.EL2: {"oslsr_el1", "mdcr_el2", "hcr_el2"},
        EL.EL3: {"oslsr_el1", "mdcr_el2", "hcr_el2", "mdcr_el3", "sder32_el3", "scr_el3"}
        | {"el1_aarch32", "el2_aarch32"},
    }[el] | {"double_lock"}
    changed = set()
    for _ in range(60):
        before = replace(stimulus.start(dice), el=Planes.constant(el))
        now = stimulus.change(dice, before)
        names = [field.name for field in fields(before)]
        changed |= {n for n in names if (getattr(before, n) != getattr(now, n)).any()}
    assert changed == may


def test_a_change_comes_in_some_lanes_only(dice):
    before = replace(stimulus.start(dice), el=Planes.constant(EL.EL3))
    for _ in range(20):
        now = stimulus.change(dice, before)
        for name in ("oslsr_el1", "mdcr_el2", "hcr_el2", "mdcr_el3", "sder32_el3", "scr_el3"):
            assert (getattr(before, name) == getattr(now, name)).any()


@pytest.mark.parametrize(
    ("have_el2", "have_el3", "have_sel2", "ns", "eel2", "usable"),
    [
        (1, 1, 1, 1, 0, [0, 1, 2, 3]),
        (1, 0, 1, 0, 0, [0, 1, 2]),
        (0, 1, 1, 1, 0, [0, 1, 3]),
        (0, 0, 1, 1, 1, [0, 1]),
        (1, 1, 1, 0, 0, [0, 1, 3]),
        (1, 1, 1, 0, 1, [0, 1, 2, 3]),
        (1, 1, 0, 0, 1, [0, 1, 3]),
    ],
)
def test_els_are_those_that_can_be_used(dice, have_el2, have_el3, have_sel2, ns, eel2, usable):
    found, targets = set(), set()
    for _ in range(60):
        pe = stimulus.start(dice)
        lanes = (pe.have_el2 == have_el2) & (pe.have_el3 == have_el3) & (pe.have_sel2 == have_sel2)
        lanes &= (SCR_EL3.NS.is_set(pe.scr_el3) == ns) & (SCR_EL3.EEL2.is_set(pe.scr_el3) == eel2)
        here = lanes.values(LANES).astype(bool)
        found |= set(pe.el.values(LANES)[here].tolist())
        targets |= set(stimulus.event(dice, pe).target_el.values(LANES)[here].tolist())
    assert sorted(found) == usable
    assert sorted(targets) == usable[1:]


def test_an_spsr_names_every_mode_that_exists_and_some_that_do_not(moves):
    modes = everything(moves, "given", "spsr") & (SPSR_ELx.M.mask | SPSR_ELx.nRW.mask)
    found = set(modes.tolist())
    assert found == set(range(32))
    exist = np.isin(modes, [*Mode, *Mode32])
    assert 0.85 < exist.mean() < 0.99


def test_the_same_seed_draws_the_same_and_another_seed_something_else(seed):
    def drawn(seed, **more):
        return [flat(move) for move in sequence(seed, 128, 10, **CHANCES | more)]

    first = drawn(seed)
    assert first == drawn(seed)
    assert first != drawn(seed + 1)
    assert first[0] == drawn(seed, idle=0, changes=0)[0]


def test_no_two_lanes_are_the_same(moves):
    rows = [row for move in moves[:8] for planes in move.ports.values() for row in planes.rows]
    whole = np.stack([np.broadcast_to(row, (LANES // 64,)) for row in rows])
    bits = np.unpackbits(whole.view(np.uint8), axis=1, bitorder="little")
    assert len(np.unique(np.packbits(bits, axis=0), axis=1).T) == LANES
