"""Functional coverage of the step unit's trace: which of the things that can happen did happen.

A bin is one combination of a group's dimensions. Which bins are legal is not written down here: it
is computed, by giving the model every combination of the bits that decide (`_everything`). A legal
bin that no test hit is a hole; a hit in a bin that is not legal means that something is wrong.
Counts are arrays of shape (BINS,), and merge by adding.
"""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import replace
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from model.arch import (
    EL,
    HCR_EL2,
    MDCR_EL2,
    MDSCR_EL1,
    SCR_EL3,
    Event,
    Last,
    Mode,
    Mode32,
    SPSR_ELx,
    StepState,
)
from model.columns import Lines, problems, to_lines
from model.machine import take
from model.planes import Planes
from model.rules import select, u8
from tb import bins
from tb.bins import Counts, Group
from tb.scoreboard import Checked, Move


class Outcome(IntEnum):
    """What was done about an event."""

    EVENT = 0
    STEP_EXCEPTION = 1
    ILLEGAL_STATE = 2


class Choice(IntEnum):
    """The free choice that decided, if any. A pending step exception can meet two of them."""

    NONE = 0
    ISV_0 = 1
    ISV_1 = 2
    STEP_FIRST = 3
    ASYNC_FIRST = 4
    MDSCR_SEEN_LATER = 5
    MDSCR_SEEN_AT_ONCE = 6


_STATES = [state.text for state in StepState]
_ELS = [el.name for el in EL]
_EVENTS = [event.text for event in Event]

GROUPS = (
    Group(
        "event",
        {
            "state": _STATES,
            "event": _EVENTS,
            "el": _ELS,
            "target": _ELS,
            "choice": [choice.name.lower() for choice in Choice],
        },
    ),
    Group(
        "transition",
        {
            "state": _STATES,
            "event": _EVENTS,
            "outcome": [outcome.name.lower() for outcome in Outcome],
            "state_after": _STATES,
        },
    ),
    Group(
        "syndrome",
        {"last": [last.text for last in Last], "isv_choice": ["0", "1"], "el": _ELS, "eld": _ELS},
    ),
    Group(
        "return",
        {
            "event": ["eret", "debug_exit"],
            "return": ["legal", "illegal"],
            "el": _ELS,
            "target": _ELS,
            "enabled": ["0", "1"],
            "spsr_ss": ["0", "1"],
            "ss_after": ["0", "1"],
        },
    ),
)

BINS = sum(group.size for group in GROUPS)


def none() -> Counts:
    """Nothing was hit."""
    return np.zeros(BINS, dtype=np.int64)


def count(checked: Checked) -> Counts:
    """How often each bin was hit by some events."""
    return np.bincount(_indices(checked)[0], minlength=BINS)


def _indices(checked: Checked) -> tuple[Any, Any]:
    """(bins, the events that hit them): each event hits one bin of each group at most."""
    hits, events, base = [], [], 0
    for group, (where, values) in zip(GROUPS, _columns(checked), strict=True):
        dimensions = [value[where].astype(np.intp) for value in values]
        hits.append(base + np.ravel_multi_index(dimensions, group.shape))
        events.append(np.flatnonzero(where))
        base += group.size
    return np.concatenate(hits), np.concatenate(events)


def of_step(move: Move) -> Counts:
    """How often each bin was hit in the lanes of a step."""
    if not (move.happens and move.pe and move.given and move.effect):
        return none()
    columns = _columns(Checked(move.pe, move.given, move.effect))
    counts = [
        _of_group(group, where, values, move.lanes)
        for group, (where, values) in zip(GROUPS, columns, strict=True)
    ]
    return np.concatenate(counts)


def _of_group(group: Group, where: Any, values: list[Any], lanes: int) -> Counts:
    """The dimensions side by side, each in bits of its own, make an index; bit 0 is `where`."""
    rows = list(where.rows)
    for size, value in zip(group.shape, values, strict=True):
        rows += [value.row(n) for n in range(_bits(size))]
    hits = np.bincount(Planes(rows).values(lanes), minlength=1 << len(rows))[1::2]
    counts = np.zeros(group.size, dtype=np.int64)
    index = np.flatnonzero(hits)
    dimensions, at = [], index
    for size in group.shape:
        dimensions.append(at & ((1 << _bits(size)) - 1))
        at = at >> _bits(size)
    counts[np.ravel_multi_index(dimensions, group.shape)] = hits[index]
    return counts


def _bits(size: int) -> int:
    """How many bits hold a number below `size`."""
    return (size - 1).bit_length()


def _columns(checked: Checked) -> Iterator[tuple[Any, list[Any]]]:
    """For each group: the events that it is about, and a value for each dimension."""
    pe, given, effect = checked.pe, checked.given, checked.effect
    kind, state = given.event, effect.state
    always = (kind & u8(0)) == u8(0)
    yield always, [state, kind, pe.el, effect.el_after, _choice(checked)]

    outcome = select(effect.step_exception, u8(Outcome.STEP_EXCEPTION), u8(Outcome.EVENT))
    outcome = select(effect.illegal_state, u8(Outcome.ILLEGAL_STATE), outcome)
    yield always, [state, kind, outcome, effect.state_after]

    yield effect.step_exception, [pe.last, given.isv_choice, pe.el, effect.eld]

    is_exit = kind == u8(Event.DEBUG_EXIT)
    returned = (is_exit | (kind == u8(Event.ERET))) & (outcome == u8(Outcome.EVENT))
    illegal = effect.il_after & ~SPSR_ELx.IL.is_set(given.spsr)
    yield (
        # An illegal return can only be told from a legal one that sets IL where SPSR.IL is 0.
        returned & ~SPSR_ELx.IL.is_set(given.spsr),
        [
            is_exit,
            illegal,
            pe.el,
            effect.el_after,
            effect.enabled,
            SPSR_ELx.SS.is_set(given.spsr),
            effect.ss_after,
        ],
    )


def _choice(checked: Checked) -> Any:
    pe, given, effect = checked.pe, checked.given, checked.effect
    pending = effect.state == u8(StepState.ACTIVE_PENDING)
    free = (pe.last >= u8(Last.ERET_OR_ISB)) & effect.step_exception
    isv = select(given.isv_choice, u8(Choice.ISV_1), u8(Choice.ISV_0))
    choice = select(free, isv, u8(Choice.NONE))
    writes = given.mdscr_write & ~effect.step_exception & ~effect.illegal_state
    at_once, later = u8(Choice.MDSCR_SEEN_AT_ONCE), u8(Choice.MDSCR_SEEN_LATER)
    choice = select(writes, select(given.mdscr_seen, at_once, later), choice)
    interrupt = pending & (given.event == u8(Event.INTERRUPT))
    first = select(given.async_first, u8(Choice.ASYNC_FIRST), u8(Choice.STEP_FIRST))
    return select(interrupt, first, choice)


# What is legal

_MDSCRS = [0, MDSCR_EL1.SS.mask, MDSCR_EL1.SS.mask | MDSCR_EL1.KDE.mask]

_PES = {
    "el": list(EL),
    "d": [0, 1],
    "ss": [0, 1],
    "il": [0, 1],
    "mdscr_el1": _MDSCRS,
    "mdscr_el1_written": _MDSCRS,
    "mdcr_el2": [0, MDCR_EL2.TDE.mask],
    "hcr_el2": [0, HCR_EL2.TGE.mask],
    "scr_el3": [SCR_EL3.NS.mask, 0, SCR_EL3.EEL2.mask],
    "el1_aarch32": [0, 1],
    "el2_aarch32": [0, 1],
}

_BOTH = (0, 1)
_TAKEN = (Event.SVC, Event.HVC, Event.SMC, Event.EXCEPTION)
_MODES = (*(m for m in Mode if m & 1 or not m), Mode32.USER, Mode32.SVC, Mode32.HYP, 0b0010)


def _events() -> Iterator[dict[str, int]]:
    """Every event, with every value of its columns that makes a difference."""
    for last, isv in ((Last.NOTHING, 0), (Last.ERET_OR_ISB, 0), (Last.ERET_OR_ISB, 1)):
        stepped = {"last": last, "isv_choice": isv}
        for event in (Event.EXECUTE, Event.LOAD_EXCLUSIVE, Event.ISB):
            yield {"event": event, **stepped}
        for event, target in itertools.product(_TAKEN, (1, 2, 3)):
            yield {"event": event, "target_el": target, **stepped}
        for target, first in itertools.product((1, 2, 3), _BOTH):
            given = {"target_el": target, "async_first": first}
            yield {"event": Event.INTERRUPT, **given, **stepped}
        yield {"event": Event.ERET, **stepped}
    for d in _BOTH:
        yield {"event": Event.EXECUTE, "d_write": d}
    for value, seen in itertools.product(_MDSCRS, _BOTH):
        yield {"event": Event.EXECUTE, "mdscr_write": value, "mdscr_seen": seen}
    for mode, d, ss in itertools.product(_MODES, _BOTH, _BOTH):
        spsr = mode | SPSR_ELx.D.put(d) | SPSR_ELx.SS.put(ss)
        yield {"event": Event.ERET, "spsr": spsr}
        yield {"event": Event.DEBUG_EXIT, "spsr": spsr, "halted": 1}
    for last, isv in itertools.product(Last, _BOTH):
        yield {"event": Event.EXECUTE, "last": last, "isv_choice": isv}


def _everything() -> Iterator[Lines]:
    """Every legal combination of what decides the bins."""
    grids = np.meshgrid(*(np.array(v, dtype=np.uint64) for v in _PES.values()), indexing="ij")
    states = dict(zip(_PES, (grid.ravel() for grid in grids), strict=True))
    written = states.pop("mdscr_el1_written")
    for event in _events():
        lines = to_lines(states | event)
        lines = replace(lines, pe=replace(lines.pe, mdscr_el1_written=written))
        legal = np.ones(len(states["el"]), dtype=np.bool_)
        for wrong, _, _ in problems(lines):
            legal &= ~wrong
        yield _select(lines, legal)


def _select(lines: Lines, where: Any) -> Lines:
    def part(values: Any) -> Any:
        names = values.__dataclass_fields__
        return type(values)(**{name: getattr(values, name)[where] for name in names})

    return Lines(part(lines.pe), part(lines.given), lines.has_target[where])


@functools.cache
def witnesses() -> dict[int, Lines]:
    """Each legal bin, with a line that hits it (of shape ())."""
    found: dict[int, Lines] = {}
    for lines in _everything():
        indices, where = _indices(Checked(lines.pe, lines.given, take(lines.pe, lines.given)))
        at = np.full(BINS, -1)
        at[indices] = where
        for index in np.flatnonzero(at >= 0).tolist():
            if index not in found:
                found[index] = _select(lines, at[index])
    return found


def legal() -> npt.NDArray[np.bool_]:
    """Which bins the model can hit."""
    hit = np.zeros(BINS, dtype=np.bool_)
    hit[list(witnesses())] = True
    return hit


# Names


def name(index: int) -> str:
    """A bin, as the report writes it."""
    return bins.name(GROUPS, index)


def holes(counts: Counts) -> list[str]:
    """Legal bins that nothing hit."""
    return [name(int(at)) for at in np.flatnonzero(legal() & (counts == 0))]


def illegal_hits(counts: Counts) -> list[str]:
    """Bins that were hit though the model never hits them."""
    return [name(int(at)) for at in np.flatnonzero(~legal() & (counts > 0))]
