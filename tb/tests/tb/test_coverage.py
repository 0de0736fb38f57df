"""Bins: which are legal, what hits them, and that counts add up."""

from dataclasses import replace

import numpy as np
import pytest

from model.arch import Event, Last, StepState
from model.columns import to_lines
from model.machine import take
from model.planes import Planes
from tb import coverage, stimulus
from tb.coverage import BINS, GROUPS
from tb.scoreboard import Checked

LEGAL = [
    "event: state=inactive event=eret el=EL2 target=EL1 choice=none",
    "event: state=active-not-pending event=execute el=EL0 target=EL0 choice=none",
    "event: state=active-pending event=execute el=EL1 target=EL2 choice=none",
    "event: state=active-pending event=interrupt el=EL1 target=EL3 choice=async_first",
    "event: state=active-pending event=isb el=EL1 target=EL1 choice=isv_0",
    "event: state=inactive event=execute el=EL3 target=EL3 choice=mdscr_seen_later",
    "transition: state=active-pending event=eret outcome=step_exception state_after=inactive",
    "transition: state=inactive event=eret outcome=event state_after=active-not-pending",
    "transition: state=active-not-pending event=execute outcome=event state_after=active-pending",
    "transition: state=inactive event=execute outcome=illegal_state state_after=inactive",
    "syndrome: last=load_exclusive isv_choice=0 el=EL1 eld=EL2",
    "return: event=eret return=legal el=EL2 target=EL1 enabled=0 spsr_ss=1 ss_after=1",
    "return: event=debug_exit return=illegal el=EL1 target=EL1 enabled=0 spsr_ss=0 ss_after=0",
]

IMPOSSIBLE = [
    "state=inactive event=execute el=EL1 target=EL1 choice=isv_0",  # there is no syndrome
    "state=active-pending event=execute el=EL0 target=EL1 choice=mdscr_seen_later",  # nor a write
    "state=inactive event=interrupt el=EL0 target=EL2 choice=async_first",  # nothing to come before
    "state=active-pending event=eret outcome=event",  # the step exception comes instead
    "state=active-pending event=execute outcome=illegal_state",  # ... before IL is looked at
    "outcome=step_exception state_after=active-not-pending",  # an exception entry clears SS
    "state=active-not-pending event=execute outcome=step_exception",
    "state=inactive event=load_exclusive outcome=step_exception",
    "event=eret el=EL0",
    "event=debug_exit outcome=illegal_state",
    "event=execute outcome=event state_after=active-not-pending",  # completing clears SS
    "eld=EL0",
    "eld=EL3",
    "event=debug_exit return=legal el=EL1 target=EL1 enabled=1",  # never in Debug state
    "enabled=0 spsr_ss=0 ss_after=1",
]


def line(**columns):
    """One event, as the scoreboard gives it."""
    return as_checked(to_lines({name: [value] for name, value in columns.items()}))


def as_checked(lines):
    """The same events as the scoreboard gives them."""
    return Checked(lines.pe, lines.given, take(lines.pe, lines.given))


def some(checked, where):
    def part(values):
        names = values.__dataclass_fields__
        return replace(values, **{name: getattr(values, name)[where] for name in names})

    return Checked(*(part(getattr(checked, name)) for name in ("pe", "given", "effect")))


def legal_names():
    return [coverage.name(int(at)) for at in np.flatnonzero(coverage.legal())]


def test_each_bin_has_a_name_of_its_own():
    assert len({coverage.name(at) for at in range(BINS)}) == BINS
    with pytest.raises(IndexError):
        coverage.name(BINS)


def test_every_legal_bin_has_a_witness_that_hits_exactly_it():
    ends = np.cumsum([group.size for group in GROUPS])
    for index, witness in coverage.witnesses().items():
        one = some(Checked(witness.pe, witness.given, take(witness.pe, witness.given)), np.newaxis)
        counts = coverage.count(one)
        assert counts[index] == 1, coverage.name(index)
        group = np.split(counts, ends)[np.searchsorted(ends, index, side="right")]
        assert group.sum() == 1, coverage.name(index)


def test_an_event_hits_one_bin_of_each_group_that_it_is_about():
    counts = coverage.count(
        line(el=1, mdscr_el1=1, mdcr_el2=0x100, event=Event.EXECUTE, last=Last.INSTRUCTION)
    )
    assert [coverage.name(int(at)) for at in np.flatnonzero(counts)] == [
        "event: state=active-pending event=execute el=EL1 target=EL2 choice=none",
        "transition: state=active-pending event=execute outcome=step_exception "
        "state_after=inactive",
        "syndrome: last=instruction isv_choice=1 el=EL1 eld=EL2",
    ]
    assert counts.max() == 1


def test_a_return_hits_the_return_group():
    counts = coverage.count(
        line(el=2, mdscr_el1=1, mdcr_el2=0x100, event=Event.ERET, spsr=0x2003C5)
    )
    assert [coverage.name(int(at)) for at in np.flatnonzero(counts)] == [
        "event: state=inactive event=eret el=EL2 target=EL1 choice=none",
        "transition: state=inactive event=eret outcome=event state_after=active-not-pending",
        "return: event=eret return=legal el=EL2 target=EL1 enabled=0 spsr_ss=1 ss_after=1",
    ]


def test_counts_merge_by_adding_in_any_order(rng, seed, drawn):
    checked = as_checked(drawn(seed, 448))
    whole = coverage.count(checked)
    cuts = np.sort(np.array([rng.randrange(448) for _ in range(6)]))
    parts = [coverage.count(some(checked, at)) for at in np.split(np.arange(448), cuts)]
    for _ in range(3):
        rng.shuffle(parts)
        assert np.array_equal(sum(parts, coverage.none()), whole)
    assert whole.sum() >= 2 * 448
    assert coverage.illegal_hits(whole) == []


def test_a_step_counts_what_its_events_count_one_by_one(seed, lines_of):
    total, steps = coverage.none(), 0
    for move in stimulus.sequence(seed, 1024, 60, idle=0.2, changes=0.3):
        counts = coverage.of_step(move)
        if not move.happens:
            assert not counts.any()
            continue
        assert np.array_equal(counts, coverage.count(as_checked(lines_of(move))))
        total, steps = total + counts, steps + 1
    assert coverage.illegal_hits(total) == []
    in_group = np.split(total, np.cumsum([group.size for group in GROUPS]))
    assert [counts.sum() for counts in in_group[:2]] == [1024 * steps] * 2  # of every event
    assert all(counts.any() for counts in in_group[2:-1])


def test_every_bin_is_counted_by_a_step_as_by_an_event():
    """Also those that no sequence comes to: each legal bin's witness, in a lane of its own."""
    witnesses = list(coverage.witnesses().values())
    lanes = -(-len(witnesses) // 64) * 64
    witnesses += witnesses[: lanes - len(witnesses)]
    pe, given = (_stacked([getattr(each, part) for each in witnesses]) for part in ("pe", "given"))
    planes = [in_planes(part) for part in (pe, given)]
    zero = Planes.constant(0)
    move = stimulus.move(lanes, *planes, zero, happens=True, load=None)
    counts = coverage.of_step(move)
    assert np.array_equal(counts, coverage.count(Checked(pe, given, take(pe, given))))
    assert coverage.holes(counts) == []


def _stacked(parts):
    names = parts[0].__dataclass_fields__
    return type(parts[0])(**{n: np.array([getattr(part, n) for part in parts]) for n in names})


def in_planes(part):
    """A PE or an Input of arrays, in planes."""
    widths = {np.dtype(np.bool_): 1, np.dtype(np.uint8): 4, np.dtype(np.uint64): 64}
    values = {name: getattr(part, name) for name in part.__dataclass_fields__}
    planes = {n: Planes.of(v.astype(np.uint64), widths[v.dtype]) for n, v in values.items()}
    return replace(part, **planes)


def test_nothing_hit_leaves_every_legal_bin_a_hole():
    assert coverage.holes(coverage.none()) == legal_names()
    assert coverage.illegal_hits(coverage.none()) == []


def test_a_hole_and_an_illegal_hit_are_named():
    counts = coverage.legal().astype(np.int64)
    assert coverage.holes(counts) == []
    assert coverage.illegal_hits(counts) == []
    hole = int(np.flatnonzero(coverage.legal())[7])
    illegal = int(np.flatnonzero(~coverage.legal())[11])
    counts[[hole, illegal]] = [0, 3]
    assert coverage.holes(counts) == [coverage.name(hole)]
    assert coverage.illegal_hits(counts) == [coverage.name(illegal)]


@pytest.mark.parametrize("name", LEGAL)
def test_legal(name):
    assert name in legal_names()


@pytest.mark.parametrize("part", IMPOSSIBLE)
def test_impossible(part):
    assert any(f" {part}" in coverage.name(at) for at in range(BINS)), "no such bin"
    assert [name for name in legal_names() if f" {part}" in f"{name} "] == []


def test_el3_is_never_stepped():
    stepped = [f"state={state.text} " for state in StepState if state != StepState.INACTIVE]
    at_el3 = [name for name in legal_names() if " el=EL3 " in name]
    assert at_el3
    assert [name for name in at_el3 if any(state in name for state in stepped)] == []
