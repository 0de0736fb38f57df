"""Holds the cycles of a test against the reference model.

The retire trace holds the whole state before each event, so the model checks all cycles of a test
in one go, as arrays: that each event's effect is the model's, and that each state is the one which
the model makes of the event before. Together, the two hold what lockstep holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from model.arch import StepState
from model.columns import to_lines
from model.machine import PE, Effect, Input, after, take
from model.planes import Planes
from model.rules import SoftwareStepISVEX, SoftwareStepSyndrome, SoftwareStepTarget, u8
from tb.harness import ROW, Rows

#: PE state that the trace shows before the event
PSTATE = ("el", "nrw", "d", "ss", "il")
STATE = (*PSTATE, "mdscr_el1", "mdscr_el1_written", "last")
#: what the trace shows at all times
DERIVED = ("eld", "enabled", "state")
#: what the trace shows of an event
EFFECT = (
    "step_exception",
    "illegal_state",
    "esr",
    "spsr_saved",
    "spsr_ss",
    "el_after",
    "nrw_after",
    "d_after",
    "ss_after",
    "il_after",
    "state_after",
)
_OPTIONAL = ("target_el", "d_write", "mdscr_write")


class Cycle(NamedTuple):
    """One clock cycle of a test."""

    controls: Mapping[str, int]  #: control registers, what is implemented, `halted`
    given: Mapping[str, int] | None  #: the event and its columns; None if nothing happened
    row: SimpleNamespace  #: the trace
    loaded: Mapping[str, int] | None  #: the state that was loaded at the end of the cycle


class Difference(NamedTuple):
    """A field of the trace that is not as it should be."""

    field: str
    hardware: int
    expected: int


class Mismatch(Exception):
    """Hardware and model part. The members say where; `tb.report` prints them."""

    def __init__(self, cycle: int, differences: Sequence[Difference], other: str = "model"):
        super().__init__(f"cycle {cycle}: {', '.join(d.field for d in differences)}")
        self.cycle = cycle
        self.differences = differences
        self.other = other  #: who said what was expected: the model, or the test itself


@dataclass(frozen=True, slots=True)
class Move:
    """One clock cycle of many lanes (`tb.harness.Step`), with what the model says of it: planes."""

    lanes: int
    pe: PE | None  #: None in the first step: it is not known
    given: Input | None
    effect: Effect | None
    pc: Any
    happens: bool  #: `given` does; otherwise the cycle is idle
    load: PE | None  #: the PEs to be in from the next step on
    ports: Mapping[str, Planes]


@dataclass(frozen=True, slots=True)
class Checked:
    """The events of a test, as the model has them: arrays of shape (n,)."""

    pe: PE
    given: Input
    effect: Effect


def expect(cycles: Sequence[Cycle], row: SimpleNamespace, fields: Mapping[str, int]) -> None:
    """Mismatch if fields of a row are not what the test says."""
    found = [
        Difference(name, getattr(row, name), int(value))
        for name, value in fields.items()
        if getattr(row, name) != int(value)
    ]
    if found:
        cycle = next(at for at, each in enumerate(cycles) if each.row is row)
        raise Mismatch(cycle, found, other="test")


# What the model says of the outputs, in arrays or planes: field to values


def _always(pe: PE, effect: Effect) -> dict[str, Any]:
    """Of any cycle."""
    return {
        **{name: getattr(effect, name) for name in DERIVED},
        "out_pending": effect.state == u8(StepState.ACTIVE_PENDING),
        "out_state": effect.state,
        "out_mdscr_el1": pe.mdscr_el1_written,
        **{f"out_pstate__{name}": getattr(pe, name) for name in PSTATE},
    }


def _of_event(effect: Effect) -> dict[str, Any]:
    """Of a cycle in which something happens."""
    return {name: getattr(effect, name) for name in EFFECT}


def _if_pending(pe: PE, given: Input, effect: Effect) -> dict[str, Any]:
    """Of a cycle before which a step exception is pending."""
    target = SoftwareStepTarget(effect.eld, pe.el)
    isv, ex = SoftwareStepISVEX(pe.last, given.isv_choice)
    esr = SoftwareStepSyndrome(target == pe.el, isv, ex)
    return {"out_target_el": target, "out_esr": esr}


def wrong_lane(move: Move, rows: Rows) -> int | None:
    """The first lane in which a step's rows are not what the model says; every field is compared.

    Nothing is expected of the first step, before which no state is known.
    """
    if move.pe is None or move.given is None or move.effect is None:
        return None
    pe, effect = move.pe, move.effect
    said = _always(pe, effect) | {name: getattr(pe, name) for name in STATE}
    said |= {"valid": move.happens}
    if move.happens:
        said |= _of_event(effect) | {"event": move.given.event, "pc": move.pc}
    wrong = Planes.constant(0)
    for name, values in said.items():
        wrong |= rows[name] != values
    pending: Any = effect.state == u8(StepState.ACTIVE_PENDING)
    for name, values in _if_pending(pe, move.given, effect).items():
        wrong |= (rows[name] != values) & pending
    return int(wrong.values(move.lanes).argmax()) if wrong.any() else None


# One lane, cycle by cycle


def check(cycles: Sequence[Cycle]) -> Checked:
    """Hold every cycle against the model; the first one that differs is a Mismatch.

    A test in which nothing happened has compared nothing, and fails with ValueError.
    """
    happens = np.array([cycle.given is not None for cycle in cycles])
    if not happens.any():
        raise ValueError("the test compared nothing: no event happened")
    pe, given = _arrays(cycles)
    effect = take(pe, given)
    always = np.ones_like(happens)
    #: field to (expected values, cycles in which they are expected)
    said = {name: (values, always) for name, values in _always(pe, effect).items()}
    said |= {name: (values, happens) for name, values in _of_event(effect).items()}
    pending = effect.state == u8(StepState.ACTIVE_PENDING)
    said |= {name: (values, pending) for name, values in _if_pending(pe, given, effect).items()}
    said |= {"valid": (happens, always)}
    said |= {name: (_given(cycles, name), happens) for name in ("event", "pc")}
    said |= _state_before(cycles, happens, pe, effect)
    seen = {name: _column(cycles, name) for name in said}
    wrong = {n: (seen[n] != values) & where for n, (values, where) in said.items()}

    at = min((int(w.argmax()) for w in wrong.values() if w.any()), default=None)
    if at is not None:
        raise Mismatch(
            at,
            [
                Difference(name, int(seen[name][at]), int(said[name][0][at]))
                for name in ROW
                if name in wrong and wrong[name][at]
            ],
        )
    return Checked(*(_where(part, happens) for part in (pe, given, effect)))


def _where(part: Any, mask: Any) -> Any:
    names = part.__dataclass_fields__
    return replace(part, **{name: getattr(part, name)[mask] for name in names})


def _given(cycles: Sequence[Cycle], name: str) -> Any:
    return np.array([(cycle.given or {}).get(name, 0) for cycle in cycles], dtype=np.uint64)


def _column(cycles: Sequence[Cycle], name: str) -> Any:
    return np.array([getattr(cycle.row, name) for cycle in cycles], dtype=np.uint64)


def _arrays(cycles: Sequence[Cycle]) -> tuple[PE, Input]:
    """What the model needs of each cycle. The state before comes from the trace."""
    events: list[Mapping[str, int]] = [cycle.given or {"event": 0} for cycle in cycles]
    defaults = {"isv_choice": 1, "mdscr_seen": 1}
    names = {name for event in events for name in event} - {"pc"}
    values = {n: [event.get(n, defaults.get(n, 0)) for event in events] for n in names}
    values |= {n: [cycle.controls[n] for cycle in cycles] for n in cycles[0].controls}
    present = {n: [n in event for event in events] for n in _OPTIONAL if n in names}
    lines = to_lines(values, present)
    state = {name: _column(cycles, name) for name in STATE}
    for name in ("nrw", "d", "ss", "il"):
        state[name] = state[name].astype(np.bool_)
    for name in ("el", "last"):
        state[name] = state[name].astype(np.uint8)
    return replace(lines.pe, **state), lines.given


def _shift(values: Any) -> Any:
    """The same one cycle later; nothing is known of the first."""
    return np.concatenate([np.zeros(1, values.dtype), values[:-1]])


def _state_before(
    cycles: Sequence[Cycle], happens: Any, pe: PE, effect: Effect
) -> dict[str, tuple[Any, Any]]:
    """State name to (expected values, where they are known): not before the first load."""
    made = after(pe, effect)
    loads = [cycle.loaded for cycle in cycles]
    loaded = np.array([load is not None for load in loads])
    known = np.maximum.accumulate(loaded)
    result = {}
    for name in STATE:
        next_value = np.where(happens, getattr(made, name), getattr(pe, name)).astype(np.uint64)
        next_value[loaded] = [load[name] for load in loads if load is not None]
        result[name] = (_shift(next_value), _shift(known))
    return result
