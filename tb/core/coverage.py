"""Functional coverage of the core's retire trace: which of the things that can happen did.

Every bin is legal but those that `IMPOSSIBLE` rules out: there is a reason beside each family. The
reasons are the architecture's routing, syndromes and access rules, not what was seen to happen.
"""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from model.a64.instructions import ROWS
from model.arch import (
    EL,
    SYSREGS,
    AbortISS,
    ESR_ELx,
    Event,
    ExceptionClass,
    FaultStatus,
    Retire,
    SPSR_ELx,
    StepISS,
    StepState,
)
from tb.bins import Counts, Group
from tb.core.groups import FORMS, GROUPS, INTERRUPTS, LATE, STEPPED, SYNCHRONOUS
from tb.core.impossible import IMPOSSIBLE

Columns = Mapping[str, npt.NDArray[np.uint64]]  #: members of the trace, by row

_EC = ExceptionClass

BINS = sum(group.size for group in GROUPS)


def none() -> Counts:
    """Nothing was hit."""
    return np.zeros(BINS, dtype=np.int64)


def count(rows: Columns) -> Counts:
    """How often each bin was hit by rows that follow one another."""
    hits, base = [], 0
    for group, (where, values) in zip(GROUPS, _columns(rows), strict=True):
        dimensions = [
            np.broadcast_to(value, where.shape)[where].astype(np.intp) for value in values
        ]
        hits.append(base + np.ravel_multi_index(dimensions, group.shape))
        base += group.size
    return np.bincount(np.concatenate(hits), minlength=BINS)


def _columns(rows: Columns) -> Iterator[tuple[Any, list[Any]]]:
    """For each group: the rows that it is about, and a value for each dimension."""
    el, kind, event, state = rows["el"], rows["kind"], rows["event"], rows["state"]
    ec, iss = ESR_ELx.EC.get(rows["esr"]), ESR_ELx.ISS.get(rows["esr"])
    completes = kind == Retire.INSTRUCTION
    synchronous = kind == Retire.SYNCHRONOUS
    form = _forms(rows["word"])

    yield completes | _of_itself(synchronous, event, ec), [form]
    yield ~completes, [_classes(kind, ec), el, rows["target_el"]]
    yield kind == kind, [state, el]

    stepped = state == StepState.ACTIVE_NOT_PENDING
    illegal_state = synchronous & (ec == _EC.ILLEGAL_STATE)
    yield stepped, [np.where(illegal_state, len(STEPPED) - 1, event), el]

    same = ec == _EC.SOFTSTEP_SAME
    step_exception = synchronous & (same | (ec == _EC.SOFTSTEP_LOWER))
    yield step_exception, [rows["last"], StepISS.ISV.get(iss), StepISS.EX.get(iss), same]

    yield from _choices(rows, step_exception)
    yield (
        completes & (event == Event.ERET),
        [el, rows["el_after"], rows["il_after"], rows["ss_after"]],
    )
    yield from _aborts(synchronous, ec, iss)
    yield from _system_registers(rows, form, ec)


def _forms(words: Any) -> Any:
    """The number of each word's row; that of a word of no row means nothing."""
    different, where = np.unique(words, return_inverse=True)
    masks, values = (
        np.array([getattr(row, n) for row in ROWS], np.uint64) for n in ("mask", "value")
    )
    return ((different[:, None] & masks) == values).argmax(axis=1)[where]


def _of_itself(synchronous: Any, event: Any, ec: Any) -> Any:
    """Whether the exception is what the instruction is for."""
    calls = (event >= Event.SVC) & (event <= Event.SMC)
    return synchronous & (calls | (ec == _EC.BRK64))


def _classes(kind: Any, ec: Any) -> Any:
    """Index of what is taken, where something is."""
    of_ec, of_kind = np.zeros(64, np.intp), np.zeros(8, np.intp)
    of_ec[list(SYNCHRONOUS)] = np.arange(len(SYNCHRONOUS))
    of_kind[list(INTERRUPTS)] = len(SYNCHRONOUS) + np.arange(len(INTERRUPTS))
    return np.where(kind == Retire.SYNCHRONOUS, of_ec[ec], of_kind[kind])


def _choices(rows: Columns, step_exception: Any) -> Iterator[tuple[Any, list[Any]]]:
    el, spsr, kind = rows["el"], rows["spsr"], rows["kind"]
    # At EL0 and EL1, an interrupt that PSTATE does not mask is taken, wherever to.
    below_el2 = el <= EL.EL1
    unmasked = (rows["serror"] > SPSR_ELx.A.get(spsr)) | (rows["fiq"] > SPSR_ELx.F.get(spsr))
    unmasked |= rows["irq"] > SPSR_ELx.I.get(spsr)
    step_first = step_exception & unmasked
    async_first = (rows["state"] == StepState.ACTIVE_PENDING) & (kind >= Retire.SERROR)
    yield below_el2 & (step_first | async_first), [async_first, el]

    late, seen = _late_writes(rows), rows["write_seen"]
    yield late >= 0, [late, seen, el]
    yield from _synchronised(rows, np.where(seen == 0, late, -1))


def _late_writes(rows: Columns) -> Any:
    """Index of the register whose write may be seen later, by row; -1 where there is none."""
    of_number = np.full(1 << 15, -1)
    of_number[[SYSREGS[name].number for name in LATE]] = np.arange(len(LATE))
    return np.where(rows["sys_en"] == 1, of_number[rows["sys_reg"]], -1)


def _synchronised(rows: Columns, late: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Context synchronisation events that find a late write to make visible."""
    entry = rows["kind"] != Retire.INSTRUCTION
    isb, eret = (~entry & (rows["event"] == event) for event in (Event.ISB, Event.ERET))
    event = entry | isb | eret
    before = _last_before(event)
    found = np.stack([event & (_last_before(late == n) > before) for n in range(len(LATE))])
    which, _ = np.indices(found.shape)
    by = np.select([isb, entry], [0, 1], 2)
    yield found.ravel(), [which.ravel(), np.tile(by, len(LATE))]


def _last_before(happened: Any) -> Any:
    """For each row, the number of the last row before it where something happened; or -1."""
    up_to = np.maximum.accumulate(np.where(happened, np.arange(len(happened)), -1))
    return np.concatenate([[-1], up_to])[:-1]


def _aborts(synchronous: Any, ec: Any, iss: Any) -> Iterator[tuple[Any, list[Any]]]:
    fetch = synchronous & ((ec == _EC.IABT_LOWER) | (ec == _EC.IABT_SAME))
    data = synchronous & ((ec == _EC.DABT_LOWER) | (ec == _EC.DABT_SAME))
    wnr, isv = AbortISS.WnR.get(iss), AbortISS.ISV.get(iss)
    faults = (FaultStatus.TRANSLATION_LEVEL_3, FaultStatus.EXTERNAL, FaultStatus.ALIGNMENT)
    fault = np.select([AbortISS.FSC.get(iss) == each for each in faults], [0, 1, 2], 0)
    yield fetch | data, [np.where(fetch, 0, 1 + wnr), fault, isv]
    fields = (AbortISS.SAS, AbortISS.SSE, AbortISS.SF, AbortISS.AR, AbortISS.WnR)
    yield data & (isv == 1), [field.get(iss) for field in fields]


def _system_registers(rows: Columns, form: Any, ec: Any) -> Iterator[tuple[Any, list[Any]]]:
    word = rows["word"]
    mrs = form == FORMS.index("MRS")
    of_number = np.full(1 << 15, -1)
    of_number[[register.number for register in SYSREGS.values()]] = np.arange(len(SYSREGS))
    register = of_number[word >> np.uint64(5) & np.uint64(0x7FFF)]
    completes = rows["kind"] == Retire.INSTRUCTION
    outcome = np.select([completes, ec == _EC.UNKNOWN, ec == _EC.SYS64], [0, 1, 2], -1)
    accesses = (word != 0) & (mrs | (form == FORMS.index("MSR (register)")))
    yield accesses & (register >= 0) & (outcome >= 0), [register, mrs, rows["el"], outcome]


# What is legal


@functools.cache
def legal() -> npt.NDArray[np.bool_]:
    """Which bins are possible."""
    return np.concatenate([_legal(group) for group in GROUPS])


def _legal(group: Group) -> npt.NDArray[np.bool_]:
    possible = np.ones(group.shape, dtype=np.bool_)
    for each in IMPOSSIBLE:
        if each.group == group.name:
            possible &= ~each.bins(values(group)).astype(np.bool_)
    return possible.ravel()


def values(group: Group) -> dict[str, npt.NDArray[Any]]:
    """What a group's dimensions are in each bin: numbers, or booleans where they are 0 and 1."""
    grids = np.indices(group.shape)
    return {
        name: grid.astype(np.bool_) if names == ["0", "1"] else grid
        for (name, names), grid in zip(group.dimensions.items(), grids, strict=True)
    }


def by_group(counts: Counts) -> Iterator[tuple[str, int, int]]:
    """(group, legal bins that were hit, legal bins)."""
    ends = np.cumsum([group.size for group in GROUPS])[:-1]
    parts = (np.split(each, ends) for each in (legal() & (counts > 0), legal()))
    for group, hit, possible in zip(GROUPS, *parts, strict=True):
        yield group.name, int(hit.sum()), int(possible.sum())
