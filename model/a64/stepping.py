"""The rules of software step (`model.machine`, `model.rules`) for the PE that executes A64.

The rules are written over numpy values; this PE has ints, and one instruction after the other. So
each answer is worked out once, for the few bits that it depends on, and kept.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from model import machine, rules
from model.arch import (
    EL,
    HCR_EL2,
    MDCR_EL2,
    MDCR_EL3,
    MDSCR_EL1,
    OSDLR_EL1,
    OSLSR_EL1,
    SCR_EL3,
    Event,
    Last,
    SPSR_ELx,
)
from model.rules import Bool, Controls, u8, u64

if TYPE_CHECKING:
    from model.a64.state import State

#: Answers kept of each kind: more than a long run of random code asks for at a time.
_KEPT = 1 << 17

#: The bits of SCR_EL3 that choose the security state and enable EL2 in it.
SCR_SECURITY = SCR_EL3.NS.mask | SCR_EL3.EEL2.mask

_MDSCR = MDSCR_EL1.SS.mask | MDSCR_EL1.KDE.mask
_MDCR = MDCR_EL2.TDE.mask
_HCR = HCR_EL2.TGE.mask
_MDCR_EL3 = MDCR_EL3.SDD.mask
_OSLSR = OSLSR_EL1.OSLK.mask
_OSDLR = OSDLR_EL1.DLK.mask

_SPSR = SPSR_ELx.M.mask | SPSR_ELx.nRW.mask | SPSR_ELx.D.mask | SPSR_ELx.IL.mask | SPSR_ELx.SS.mask


@cache
def _flag(value: int) -> Bool:
    return cast(Bool, np.bool_(value))


class View(NamedTuple):
    """The control registers as the PE sees them, but for the bits that the rules do not read."""

    mdscr_el1: int
    mdcr_el2: int
    hcr_el2: int
    scr_el3: int
    mdcr_el3: int
    oslsr_el1: int
    osdlr_el1: int

    @classmethod
    def of(cls, state: State) -> View:
        """What a PE sees now."""
        sysregs = state.sysregs | state.late if state.late else state.sysregs
        return cls(
            sysregs["MDSCR_EL1"] & _MDSCR,
            sysregs["MDCR_EL2"] & _MDCR,
            sysregs["HCR_EL2"] & _HCR,
            sysregs["SCR_EL3"] & SCR_SECURITY,
            sysregs["MDCR_EL3"] & _MDCR_EL3,
            sysregs["OSLSR_EL1"] & _OSLSR,
            sysregs["OSDLR_EL1"] & _OSDLR,
        )


class Before(NamedTuple):
    """Software step before an event."""

    eld: int
    enabled: int  #: debug exceptions are
    state: int  #: a StepState


class Outcome(NamedTuple):
    """What an event does, as far as the rules say."""

    step_exception: bool  #: the Software Step exception is taken instead
    illegal_state: bool  #: the Illegal Execution state exception is taken instead
    illegal_return: bool  #: it is an exception return, and an illegal one
    el: EL
    d: int
    ss: int
    il: int
    state: int  #: the StepState after it
    last: int  #: a Last
    esr: int  #: of the Software Step exception
    spsr_ss: int  #: of the SPSR saved


@cache
def EL2Enabled(scr_el3: int) -> bool:
    """EL2 can be used below EL3, by the bits of SCR_EL3 under SCR_SECURITY."""
    return bool(rules.EL2Enabled(_controls(View(0, 0, 0, scr_el3, 0, 0, 0))))


@lru_cache(_KEPT)
def before(view: View, el: int, d: int, ss: int) -> Before:
    """ELd, the enables and the StepState at an EL, by PSTATE.D and PSTATE.SS."""
    eld, enabled, state = machine.derive(_controls(view), u8(el), _flag(d), _flag(ss))
    return Before(int(eld), int(enabled), int(state))


def spsr_bits(spsr: int) -> int:
    """The bits of an SPSR that `outcome` reads.

    The rules of an exception return take AArch32 at EL0 as implemented. Here it is not: a mode that
    is none of AArch64 becomes one of EL1, which the rules know to use AArch64.
    """
    if spsr & SPSR_ELx.nRW.mask:
        spsr |= SPSR_ELx.M.mask
    return spsr & _SPSR


@lru_cache(_KEPT)
def outcome(
    view: View,
    view_after: View,
    el: int,
    d: int,
    ss: int,
    il: int,
    last: int,
    event: int,
    target: int,
    spsr: int,
    d_after: int,
    async_first: int,
    isv_choice: int,
) -> Outcome:
    """The effect of an event (see `machine.take`).

    `view_after` is what the PE sees once it has happened. `target` is an exception's, `spsr` the
    `spsr_bits` of a return; `d_after` is PSTATE.D as the instruction leaves it.
    """
    pe = _pe(view, view_after, el, d, ss, il, last)
    given = machine.Input(
        event=u8(event),
        target_el=u8(target),
        spsr=u64(spsr),
        d_write=_flag(1),
        d_value=_flag(d_after),
        # Whether a write is seen has been decided: what is seen afterwards is seen at once.
        mdscr_write=_flag(1),
        mdscr_value=u64(view_after.mdscr_el1),
        mdscr_seen=_flag(1),
        async_first=_flag(async_first),
        isv_choice=_flag(isv_choice),
    )
    after = _controls(view_after)
    effect = machine.take(pe, given, after)
    returns = event == Event.ERET
    illegal = returns and bool(rules.IllegalExceptionReturn(after, pe.el, given.spsr)[0])
    return Outcome(
        step_exception=bool(effect.step_exception),
        illegal_state=bool(effect.illegal_state),
        illegal_return=illegal,
        el=EL(int(effect.el_after)),
        d=int(effect.d_after),
        ss=int(effect.ss_after),
        il=int(effect.il_after),
        state=int(effect.state_after),
        last=int(effect.last_after),
        esr=int(effect.esr),
        spsr_ss=int(effect.spsr_ss),
    )


@lru_cache(_KEPT)
def _controls(view: View) -> Controls:
    return _pe(view, view, EL.EL3, 0, 0, 0, Last.NOTHING).controls()


def _pe(view: View, written: View, el: int, d: int, ss: int, il: int, last: int) -> machine.PE:
    """All of EL0 to EL3 and Secure EL2 are implemented, and AArch64 alone."""
    return machine.PE(
        el=u8(el),
        nrw=_flag(0),
        d=_flag(d),
        ss=_flag(ss),
        il=_flag(il),
        mdscr_el1=u64(view.mdscr_el1),
        mdscr_el1_written=u64(written.mdscr_el1),
        mdcr_el2=u64(view.mdcr_el2),
        hcr_el2=u64(view.hcr_el2),
        scr_el3=u64(view.scr_el3),
        mdcr_el3=u64(view.mdcr_el3),
        sder32_el3=u64(0),  # it is about EL1 in AArch32
        oslsr_el1=u64(view.oslsr_el1),
        double_lock=_flag(view.osdlr_el1),
        halted=_flag(0),
        el1_aarch32=_flag(0),
        el2_aarch32=_flag(0),
        have_el2=_flag(1),
        have_el3=_flag(1),
        have_sel2=_flag(1),
        last=u8(last),
    )
