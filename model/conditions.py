"""The rules of `model.rules` cut into their conditions, each with the bits that decide it.

Each list of `Rule`s is one function of `model.rules`: `all_hold` of the list is what the function
says (the tests hold the two together). Like the functions they work on values of any shape; a
reader of `reads` wants numpy scalars.

Source: DDI 0487, D2.4 (routing), D2.5 (enables), D1.11 (illegal exception returns), D2.12.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Any, cast

import numpy as np

from model.arch import EL, SPSR_ELx
from model.rules import (
    U8,
    U64,
    Bool,
    Controls,
    DebugTargetFrom,
    EL2Enabled,
    ELOfMode,
    ELUsingAArch32,
    GenerateDebugExceptionsFrom,
    IsSecureAtEL,
    IsSecureEL2Enabled,
    u64,
)

_ALWAYS = cast(Bool, np.True_)


@dataclass(frozen=True, slots=True)
class Rule:
    """One condition, and the bits that decide it."""

    name: str  #: for programs: does not change
    says: str  #: what has to hold
    ok: Bool  #: whether it does
    reads: Mapping[str, Any]  #: register bit ("MDSCR_EL1.SS") or input ("halted"), and its value
    applies: Bool = _ALWAYS  #: where it does not, it counts as held ...
    otherwise: str = ""  #: ... for this reason

    @property
    def holds(self) -> Bool:
        """The condition is met, or does not apply."""
        return self.ok | ~self.applies


def all_hold(rules: Sequence[Rule]) -> Bool:
    """Every condition is met, or does not apply."""
    return reduce(and_, (rule.holds for rule in rules))


def target_rules(c: Controls, secure: Bool) -> list[Rule]:
    """DebugTargetFrom: ELd is EL2 if these hold, else EL1."""
    usable = ~secure | IsSecureEL2Enabled(c)
    where = {"Secure": secure, "SCR_EL3.EEL2": c.eel2, "have_sel2": c.have_sel2}
    routes = {"MDCR_EL2.TDE": c.tde, "HCR_EL2.TGE": c.tge}
    return [
        Rule("have_el2", "EL2 is implemented", c.have_el2, {"have_el2": c.have_el2}),
        Rule("el2_usable", "EL2 is usable in this security state", usable, where),
        Rule("routed", "TDE or TGE is 1", c.tde | c.tge, routes),
    ]


def enabled_rules(c: Controls, el: U8, secure: Bool, mask: Bool, mask_name: str) -> list[Rule]:
    """GenerateDebugExceptionsFrom: enabled if these hold. `mask_name` is the bit `mask` is."""
    target = DebugTargetFrom(c, secure)
    at_target: Bool = el == target
    at_el0: Bool = el == EL.EL0
    allowed = ~c.sdd | (at_el0 & c.el1_aarch32 & c.suiden)
    not_at_target = "no effect: this EL is not ELd"
    return [
        Rule("os_lock", "the OS Lock is unlocked", ~c.oslk, {"OSLSR_EL1.OSLK": c.oslk}),
        Rule(
            "double_lock",
            "the OS Double Lock is not in force",
            ~c.double_lock,
            {"OSDLR_EL1.DLK": c.double_lock},
        ),
        Rule("not_halted", "the PE is not in Debug state", ~c.halted, {"halted": c.halted}),
        Rule(
            "secure",
            "SDD is 0, or SUIDEN 1 at AArch32 EL0",
            allowed,
            {"MDCR_EL3.SDD": c.sdd, "SDER32_EL3.SUIDEN": c.suiden},
            applies=secure,
            otherwise="no effect: Non-secure",
        ),
        Rule("level", "the EL is not above ELd", el <= target, {"EL": el, "ELd": target}),
        Rule("kde", "KDE is 1", c.kde, {"MDSCR_EL1.KDE": c.kde}, at_target, not_at_target),
        Rule("mask", "D is 0", ~mask, {mask_name: mask}, at_target, not_at_target),
    ]


def state_rules(c: Controls, eld: U8, enabled: Bool, ss: Bool) -> list[Rule]:
    """SoftwareStepState: active if the first three hold, active-not-pending if all do."""
    aarch32 = ELUsingAArch32(c, eld)
    return [
        Rule("eld_aarch64", "ELd uses AArch64", ~aarch32, {"ELd": eld, "AArch32": aarch32}),
        Rule("enabled", "debug exceptions are enabled", enabled, {"enabled": enabled}),
        Rule("mdscr_ss", "software step is turned on", c.ss, {"MDSCR_EL1.SS": c.ss}),
        Rule("pstate_ss", "the instruction is yet to be stepped", ss, {"PSTATE.SS": ss}),
    ]


def legal_rules(c: Controls, from_el: U8, spsr: U64, spsr_name: str) -> list[Rule]:
    """IllegalExceptionReturn: the return is legal if these hold."""
    named, el = ELOfMode(spsr)
    nrw: Bool = SPSR_ELx.nRW.is_set(spsr)
    to_el0 = named & (el == EL.EL0)
    to_el1: Bool = el == EL.EL1
    to_el2: Bool = el == EL.EL2
    to_el3: Bool = el == EL.EL3
    uses_aarch32 = ELUsingAArch32(c, el) | (to_el0 & c.el1_aarch32)
    enabled = EL2Enabled(c)
    mode = {f"{spsr_name}.M<4:0>": spsr & u64(SPSR_ELx.M.mask | SPSR_ELx.nRW.mask)}
    return [
        Rule("mode", "M names a mode", named, mode),
        Rule(
            "implemented",
            "the EL is implemented",
            ~(to_el2 & ~c.have_el2) & ~(to_el3 & ~c.have_el3),
            {"to EL": el, "have_el2": c.have_el2, "have_el3": c.have_el3},
            applies=named,
            otherwise="M names no mode",
        ),
        Rule(
            "width",
            "the EL uses the width that nRW says",
            (nrw ^ ~uses_aarch32) | (to_el0 & nrw),
            {f"{spsr_name}.nRW": nrw, "that EL uses AArch32": uses_aarch32},
            applies=named,
            otherwise="M names no mode",
        ),
        Rule(
            "not_above",
            "the EL is not above the current one",
            el <= from_el,
            {"to EL": el, "EL": from_el},
            applies=named,
            otherwise="M names no mode",
        ),
        Rule(
            "el2_usable",
            "EL2 is usable in that security state",
            ~c.have_el3 | c.ns | (IsSecureEL2Enabled(c) & ~nrw),
            {"Secure": c.have_el3 & ~c.ns, "SCR_EL3.EEL2": c.eel2, "nRW": nrw},
            applies=to_el2,
            otherwise="the return is not to EL2",
        ),
        Rule(
            "not_tge",
            "TGE does not close EL1",
            ~(enabled & c.tge),
            {"HCR_EL2.TGE": c.tge, "EL2 enabled": enabled},
            applies=to_el1,
            otherwise="the return is not to EL1",
        ),
    ]


def ss_rules(
    c: Controls, enabled_at_source: Bool, dest: U8, mask: Bool, spsr_ss: Bool, spsr_name: str
) -> list[Rule]:
    """DebugExceptionReturnSS: PSTATE.SS becomes 1 if these hold, else 0."""
    running = c.not_halted()
    secure = IsSecureAtEL(running, dest)
    eld = DebugTargetFrom(running, secure)
    aarch32 = ELUsingAArch32(running, eld)
    enabled = GenerateDebugExceptionsFrom(running, dest, secure, mask)
    return [
        Rule("spsr_ss", "the SPSR asks for a step", spsr_ss, {f"{spsr_name}.SS": spsr_ss}),
        Rule("mdscr_ss", "software step is turned on", c.ss, {"MDSCR_EL1.SS": c.ss}),
        Rule("eld_aarch64", "ELd uses AArch64", ~aarch32, {"ELd": eld, "AArch32": aarch32}),
        Rule(
            "source_disabled",
            "debug exceptions are disabled before",
            ~enabled_at_source,
            {"enabled at the source": enabled_at_source},
        ),
        Rule(
            "destination_enabled",
            "debug exceptions are enabled after",
            enabled,
            {"enabled at the destination": enabled},
        ),
    ]
