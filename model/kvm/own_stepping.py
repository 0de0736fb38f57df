"""The guest's own software step, kept by a host that steps the guest itself.

While the host steps, the PE's MDSCR_EL1.SS and PSTATE.SS are the host's, and MDCR_EL2.TDE has all
debug exceptions go to EL2. What the guest's own bits would have done is worked out here, an
instruction at a time, by the rules that the reference PE steps by (`model.a64.stepping`).
"""

from dataclasses import dataclass

from model.a64 import stepping
from model.a64.stepping import View
from model.arch import (
    EL,
    MDSCR_EL1,
    OSLSR_EL1,
    SCR_EL3,
    Event,
    Last,
    SPSR_ELx,
    StepState,
    VBAR_ELx,
)
from model.kvm.inject import current_el, inject_esr
from model.kvm.vcpu import Vcpu

_ERET, _ISB, _ISB_MASK = 0xD69F03E0, 0xD50330DF, 0xFFFFF0FF
_LOAD_EXCLUSIVE, _LOAD_EXCLUSIVE_MASK = 0x08400000, 0x3FC00000  #: LDXR to LDAXP
_VECTORS = 0x800  #: bytes of a vector table
_VECTOR = 0x80  #: bytes of a vector

ISV_CHOICE = 1  #: where the architecture leaves ISV open


def view(vcpu: Vcpu) -> View:
    """The control registers as they are for the guest's own debugging: nothing goes to EL2."""
    mdscr = vcpu.mdscr_el1 & (MDSCR_EL1.SS.mask | MDSCR_EL1.KDE.mask)
    return View(mdscr, 0, 0, SCR_EL3.NS.mask, 0, OSLSR_EL1.OSLK.put(vcpu.os_lock), 0)


@dataclass(slots=True)
class OwnStepping:
    """What a vcpu's own step exception would know of what was stepped."""

    last: Last = Last.NOTHING

    def pending(self, vcpu: Vcpu) -> bool:
        """Whether the guest's own Software Step exception comes before its next instruction."""
        el, d, ss = _pstate(vcpu.spsr)
        return stepping.before(view(vcpu), el, d, ss).state == StepState.ACTIVE_PENDING

    def take(self, vcpu: Vcpu) -> None:
        """Take it: to EL1, as no debug exception of a guest goes elsewhere."""
        outcome = self._outcome(vcpu, vcpu, Event.EXECUTE, EL.EL1)
        self.last = Last(outcome.last)
        inject_esr(vcpu, outcome.esr)

    def completed(self, before: Vcpu, vcpu: Vcpu, event: Event) -> int:
        """PSTATE.SS after an instruction or exception that the host has stepped, or emulated.

        `before` is the vcpu before it, with the guest's own SS; SPSR_EL1.SS of an exception that
        was taken to EL1, where the PE has put the host's SS, becomes the guest's.
        """
        outcome = self._outcome(before, vcpu, event, EL.EL1)
        self.last = Last(outcome.last)
        if event in (Event.EXCEPTION, Event.INTERRUPT):
            vcpu.spsr_el1 = _with_ss(vcpu.spsr_el1, outcome.spsr_ss)
        return outcome.ss

    def _outcome(self, before: Vcpu, after: Vcpu, event: Event, target: EL) -> stepping.Outcome:
        el, d, ss = _pstate(before.spsr)
        return stepping.outcome(
            view(before),
            view(after),
            el,
            d,
            ss,
            SPSR_ELx.IL.get(before.spsr),
            self.last,
            event,
            target,
            stepping.spsr_bits(before.spsr_el1) if event is Event.ERET else 0,
            SPSR_ELx.D.get(after.spsr),
            0,
            ISV_CHOICE,
        )


def stepped_event(before: Vcpu, after: Vcpu, word: int | None) -> Event:
    """What a guest has done between two states with a step of the host between them.

    `word` is the instruction at the PC before, None where there is no memory.
    """
    if _took_exception(before, after, word):
        call = word is not None and word & 0xFFE0001F == 0xD4000001  # SVC
        fault = after.elr_el1 == before.elr
        return Event.SVC if call and not fault else Event.EXCEPTION
    if word is not None and word & _LOAD_EXCLUSIVE_MASK == _LOAD_EXCLUSIVE:
        return Event.LOAD_EXCLUSIVE
    if word == _ERET:
        return Event.ERET
    return Event.ISB if word is not None and word & _ISB_MASK == _ISB else Event.EXECUTE


def _took_exception(before: Vcpu, after: Vcpu, word: int | None) -> bool:
    """An exception was taken to EL1: PC, PSTATE, ELR_EL1 and SPSR_EL1 are as one leaves them.

    A branch of EL1 to a vector of its own, where these are so by chance, is none: it leaves PSTATE
    as it is. An interrupt or an Illegal Execution state exception before one does not.
    """
    masks = SPSR_ELx.D.mask | SPSR_ELx.A.mask | SPSR_ELx.I.mask | SPSR_ELx.F.mask
    offset = after.elr - (after.vbar_el1 & VBAR_ELx.BASE.mask)
    at_vector = 0 <= offset < _VECTORS and offset % _VECTOR == 0
    entered = after.spsr & masks == masks and current_el(after.spsr) == EL.EL1
    saved = _with_ss(after.spsr_el1, 0) == _with_ss(before.spsr, 0)
    returns_here = after.elr_el1 in (before.elr, before.elr + 4)
    flags_and_ss = SPSR_ELx.SS.mask | 0xF << SPSR_ELx.V.lsb
    same_pstate = not (before.spsr ^ after.spsr) & ~flags_and_ss
    branched = _branches(word) and same_pstate
    return at_vector and entered and saved and returns_here and not branched


def _branches(word: int | None) -> bool:
    """Whether an instruction is a branch or exception return (DDI 0487 C4.1.66)."""
    if word is None:
        return False
    immediate = word & 0x7C00_0000 == 0x1400_0000 or word & 0x7E00_0000 == 0x3400_0000
    conditional = word & 0xFF00_0010 == 0x5400_0000
    test = word & 0x7E00_0000 == 0x3600_0000
    return immediate or conditional or test or word & 0xFE00_0000 == 0xD600_0000


def _pstate(spsr: int) -> tuple[int, int, int]:
    """(EL, D, SS) of an SPSR."""
    return current_el(spsr), SPSR_ELx.D.get(spsr), SPSR_ELx.SS.get(spsr)


def _with_ss(spsr: int, ss: int) -> int:
    return spsr & ~SPSR_ELx.SS.mask | SPSR_ELx.SS.put(ss)
