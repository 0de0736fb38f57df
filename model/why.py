"""Why the step fires or does not, and the fewest bits to change so that it does.

`model.machine` says what happens, `model.conditions` which bits made it so; the changes are found
by running the model on every combination of the bits that a debugger could change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Any, cast

import numpy as np

from model.arch import (
    EL,
    HCR_EL2,
    MDCR_EL2,
    MDCR_EL3,
    MDSCR_EL1,
    OSDLR_EL1,
    OSLSR_EL1,
    SDER32_EL3,
    Event,
    Field,
    SPSR_ELx,
    StepState,
)
from model.columns import BY_NAME, Lines, problems, to_lines
from model.conditions import (
    Rule,
    enabled_rules,
    legal_rules,
    ss_rules,
    state_rules,
    target_rules,
)
from model.dump import spsr_used
from model.machine import PE, Effect, Input, after, take
from model.rules import (
    U8,
    Bool,
    DebugTargetFrom,
    ELUsingAArch32,
    GenerateDebugExceptionsFrom,
    IllegalExceptionReturn,
    IsSecureAtEL,
    SoftwareStepISVEX,
)

# Does it fire?


def is_return(event: U8) -> Bool:
    """The event is an exception return or a Debug exit."""
    return cast(Bool, (event == Event.ERET) | (event == Event.DEBUG_EXIT))


def fires(given: Input, effect: Effect) -> Bool:
    """One instruction is executed and the Software Step exception is taken after it.

    For eret and debug_exit that is the first instruction at the destination; with PSTATE.IL = 1
    that one would not execute. For any other event it is the event's own instruction.
    """
    returns = is_return(given.event)
    steps_next: Bool = (effect.state_after == StepState.ACTIVE_NOT_PENDING) & ~effect.il_after
    before: Bool = effect.state == StepState.ACTIVE_NOT_PENDING
    stepped: Bool = before & (effect.state_after == StepState.ACTIVE_PENDING)
    return (returns & steps_next) | (~returns & stepped & ~effect.illegal_state)


# What would make it fire


@dataclass(frozen=True, slots=True)
class Bit:
    """A bit that a debugger or hypervisor can change, and where the vector file has it."""

    name: str
    column: str
    field: Field
    to: int | None  #: the only value that can help, or None: either can


@dataclass(frozen=True, slots=True)
class Change:
    """A bit to change. `value` is what its whole column then holds, the other changes included."""

    bit: Bit
    to: int
    value: int


#: The bits to change whatever the event, the ones to be preferred first.
_CONTROLS = (
    Bit("MDSCR_EL1.SS", "mdscr_el1", MDSCR_EL1.SS, 1),
    Bit("MDCR_EL2.TDE", "mdcr_el2", MDCR_EL2.TDE, None),
    Bit("MDSCR_EL1.KDE", "mdscr_el1", MDSCR_EL1.KDE, None),
    Bit("PSTATE.D", "d", Field(0), None),  # 1 helps at the source of a return
    Bit("PSTATE.IL", "il", Field(0), 0),
    Bit("OSLSR_EL1.OSLK", "oslsr_el1", OSLSR_EL1.OSLK, 0),
    Bit("OSDLR_EL1.DLK", "double_lock", OSDLR_EL1.DLK, 0),
    Bit("MDCR_EL3.SDD", "mdcr_el3", MDCR_EL3.SDD, 0),
    Bit("SDER32_EL3.SUIDEN", "sder32_el3", SDER32_EL3.SUIDEN, 1),
    # TDE routes debug exceptions as TGE does, and leaves EL1 in use.
    Bit("HCR_EL2.TGE", "hcr_el2", HCR_EL2.TGE, 0),
)


def _value(values: Mapping[str, Any], column: str) -> Any:
    return values.get(column, BY_NAME[column].default or 0)


def _bits(values: Mapping[str, int], spsr_name: str) -> list[Bit]:
    """The bits worth trying, the ones to be preferred first."""
    loads = [Bit("PSTATE.SS", "ss", Field(0), 1)]
    if spsr_name:
        loads = [
            Bit(f"{spsr_name}.SS", "spsr", SPSR_ELx.SS, 1),
            Bit(f"{spsr_name}.D", "spsr", SPSR_ELx.D, 0),
            Bit(f"{spsr_name}.IL", "spsr", SPSR_ELx.IL, 0),
        ]
    bits = [*loads, *_CONTROLS]
    return [bit for bit in bits if bit.to != bit.field.get(_value(values, bit.column))]


def _with_changes(values: Mapping[str, int], bits: Sequence[Bit], chosen: Any) -> dict[str, Any]:
    """The columns with the bits flipped that `chosen` (a number, or an array) has a 1 for."""
    changed: dict[str, Any] = dict(values)
    for place, bit in enumerate(bits):
        flip = (chosen >> place & 1) * bit.field.mask
        changed[bit.column] = _value(changed, bit.column) ^ flip
    return changed


def _smallest(working: list[int], most: int) -> list[int]:
    """At most so many of some sets of bits, none of which holds another; the smallest first."""
    kept: list[int] = []
    while working and len(kept) < most:
        best = min(working, key=lambda chosen: (chosen.bit_count(), chosen))
        kept.append(best)
        working = [chosen for chosen in working if chosen & best != best]
    return kept


def changes(
    values: Mapping[str, int], spsr_name: str, most: int = 3
) -> tuple[list[list[Change]], str]:
    """(alternatives, why there is none): the smallest sets of bits to change so that it fires.

    `values` are columns of the vector file; `spsr_name` is the SPSR that the event returns with,
    or "". Every subset of the bits that can help is tried; one that breaks a rule of the format
    is not offered.
    """
    bits = _bits(values, spsr_name)
    subsets = np.arange(1 << len(bits), dtype=np.uint64)
    lines = to_lines(_with_changes(values, bits, subsets))
    effect = take(lines.pe, lines.given)
    wrong = reduce(or_, (wrong for wrong, _, _ in problems(lines)))
    working = subsets[fires(lines.given, effect) & ~wrong].tolist()
    if not working:
        return [], _never(lines, effect)

    def listed(chosen: int) -> list[Change]:
        new = _with_changes(values, bits, chosen)
        return [
            Change(bit, int(bit.field.get(new[bit.column])), new[bit.column])
            for place, bit in enumerate(bits)
            if chosen >> place & 1
        ]

    return [listed(chosen) for chosen in _smallest(working, most)], ""


def _never(lines: Lines, effect: Effect) -> str:
    """Why none of the lines, which differ only in the bits tried, fires."""
    pe, given = lines.pe, lines.given
    c = pe.controls()
    eld, el = effect.eld, pe.el
    returns = is_return(given.event).all()
    if returns:
        illegal, el = IllegalExceptionReturn(c, el, given.spsr)
        if illegal.all():
            return "the return is illegal whatever these bits are"
        eld = DebugTargetFrom(c, IsSecureAtEL(c, el))
    if (el == EL.EL3).all():
        return "from EL3 debug exceptions are never enabled"
    if ELUsingAArch32(c, eld).all():
        return "the debug target uses AArch32, where there is no software step"
    if (given.d_write | given.mdscr_write).all():
        return "the instruction itself ends the step with what it writes"
    return "debug exceptions are disabled at the EL that the exception is taken to"


# One PE explained


@dataclass(frozen=True, slots=True)
class Return:
    """An exception return or Debug exit that happened."""

    legal: bool
    secure: bool  #: the destination's security state
    eld: int  #: the debug target from there
    enabled: bool  #: debug exceptions are enabled there
    legal_rules: list[Rule]
    destination_rules: list[Rule]
    ss_rules: list[Rule]
    spsr_il: Rule  #: the next instruction can execute


@dataclass(frozen=True, slots=True)
class Follows:
    """What follows the event, if the next instruction is an ordinary one."""

    instruction: Effect  #: of the next instruction
    step: Effect | None  #: the Software Step exception, if one comes before or after it
    isv_is_choice: bool  #: the ISV of that exception is the implementation's choice


@dataclass(frozen=True, slots=True)
class Why:
    """What one event does to one PE, and why. Values are numpy scalars."""

    pe: PE
    given: Input
    effect: Effect
    spsr_name: str  #: the SPSR that the event returns with, or ""
    secure: bool  #: the current EL's security state
    eld_aarch32: bool
    target_rules: list[Rule]
    enabled_rules: list[Rule]
    state_rules: list[Rule]
    returned: Return | None  #: None if the event is no return, or an exception came first
    follows: Follows
    fires: bool
    blockers: list[Rule]  #: every condition that keeps it from firing
    changes: list[list[Change]]
    never: str  #: why there are no changes, or ""


def explain(values: Mapping[str, int]) -> Why:
    """The explanation of one line, by column; columns left out take their defaults.

    The line must break no rule of the format (`columns.problems`).
    """
    lines = to_lines(values)
    pe, given = lines.pe, lines.given
    effect = take(pe, given)
    c = pe.controls()
    secure = IsSecureAtEL(c, pe.el)
    spsr_name = spsr_used(int(given.event), int(pe.el))
    fire = bool(fires(given, effect))
    returned = _returned(pe, given, effect, spsr_name)
    alternatives, never = ([], "") if fire else changes(values, spsr_name)
    return Why(
        pe=pe,
        given=given,
        effect=effect,
        spsr_name=spsr_name,
        secure=bool(secure),
        eld_aarch32=bool(ELUsingAArch32(c, effect.eld)),
        target_rules=target_rules(c, secure),
        enabled_rules=enabled_rules(c, pe.el, secure, pe.d, "PSTATE.D"),
        state_rules=state_rules(c, effect.eld, effect.enabled, pe.ss),
        returned=returned,
        follows=_follows(pe, effect, given),
        fires=fire,
        blockers=[] if fire else _blockers(pe, given, effect, returned),
        changes=alternatives,
        never=never,
    )


def _returned(pe: PE, given: Input, effect: Effect, spsr_name: str) -> Return | None:
    if not spsr_name or effect.step_exception or effect.illegal_state:
        return None
    c = pe.controls()
    running = c.not_halted()
    dest = effect.el_after
    secure = IsSecureAtEL(running, dest)
    mask: Bool = SPSR_ELx.D.is_set(given.spsr)
    illegal, _ = IllegalExceptionReturn(c, pe.el, given.spsr)
    ss: Bool = SPSR_ELx.SS.is_set(given.spsr)
    il: Bool = SPSR_ELx.IL.is_set(given.spsr)
    return Return(
        legal=not illegal,
        secure=bool(secure),
        eld=int(DebugTargetFrom(running, secure)),
        enabled=bool(GenerateDebugExceptionsFrom(running, dest, secure, mask)),
        legal_rules=legal_rules(c, pe.el, given.spsr, spsr_name),
        destination_rules=enabled_rules(running, dest, secure, mask, f"{spsr_name}.D"),
        ss_rules=ss_rules(c, effect.enabled, dest, mask, ss, spsr_name),
        spsr_il=Rule("spsr_il", "the SPSR leaves PSTATE.IL 0", ~il, {f"{spsr_name}.IL": il}),
    )


def _follows(pe: PE, effect: Effect, given: Input) -> Follows:
    """Run the model on: the next instruction, and the one after it."""
    ordinary = to_lines({"event": Event.EXECUTE, "isv_choice": given.isv_choice}).given
    pe = after(pe, effect)
    first = effect = take(pe, ordinary)
    if not first.step_exception:
        pe = after(pe, first)
        effect = take(pe, ordinary)
    if not effect.step_exception:
        return Follows(first, None, isv_is_choice=False)
    without, _ = SoftwareStepISVEX(pe.last, cast(Bool, np.False_))
    with_isv, _ = SoftwareStepISVEX(pe.last, cast(Bool, np.True_))
    return Follows(first, effect, isv_is_choice=bool(with_isv != without))


def _blockers(pe: PE, given: Input, effect: Effect, returned: Return | None) -> list[Rule]:
    """The conditions that fail. What only sums up others is left out."""
    rules = [Rule("pstate_il", "PSTATE.IL is 0", ~effect.illegal_state, {"PSTATE.IL": pe.il})]
    if returned:
        rules += [*returned.legal_rules, *returned.destination_rules, *returned.ss_rules]
        rules.append(returned.spsr_il)
    elif is_return(given.event):
        pending = {"PSTATE.SS": pe.ss}
        rules.append(Rule("not_pending", "no step is pending", ~effect.step_exception, pending))
    else:
        rules += _step_rules(pe)
    failing = _failing(rules)
    if failing or returned:
        return failing
    # The step was well set up: what is in the way is what the event made of the PE, where
    # PSTATE.SS = 0 is as it should be.
    return [
        replace(rule, reads={f"{name} after": value for name, value in rule.reads.items()})
        for rule in _failing(_step_rules(after(pe, effect)))
        if rule.name != "pstate_ss"
    ]


def _step_rules(pe: PE) -> list[Rule]:
    """The conditions for a PE to be in active-not-pending."""
    c = pe.controls()
    secure = IsSecureAtEL(c, pe.el)
    enabled = GenerateDebugExceptionsFrom(c, pe.el, secure, pe.d)
    states = state_rules(c, DebugTargetFrom(c, secure), enabled, pe.ss)
    return [*enabled_rules(c, pe.el, secure, pe.d, "PSTATE.D"), *states]


def _failing(rules: Sequence[Rule]) -> list[Rule]:
    sums = ("enabled", "destination_enabled")
    return [rule for rule in rules if not rule.holds and rule.name not in sums]
