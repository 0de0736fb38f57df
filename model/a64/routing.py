"""Where exceptions go: each exception's target EL, and the interrupts that are taken.

Source: DDI 0487 D1.10 to D1.14. The control registers are as the PE sees them: see `State.seen`.
"""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING

from model.a64 import stepping
from model.arch import EL, HCR_EL2, MDCR_EL2, SCR_EL3, Field, Retire

if TYPE_CHECKING:
    from model.a64.state import State

# PSTATE's masks in `State.daif`.
DAIF_A = 0b0100
DAIF_I = 0b0010
DAIF_F = 0b0001

_TGE = HCR_EL2.TGE.mask
_VFIQ = HCR_EL2.VF.mask | HCR_EL2.FMO.mask
_VIRQ = HCR_EL2.VI.mask | HCR_EL2.IMO.mask


def EL2Enabled(state: State) -> bool:
    """EL2 can be used below EL3."""
    return stepping.EL2Enabled(state.sysregs["SCR_EL3"] & stepping.SCR_SECURITY)


def below_el2(state: State) -> bool:
    """Whether EL2 controls what is executed now: EL0 or EL1, with EL2 enabled."""
    return state.el <= EL.EL1 and EL2Enabled(state)


def default_target(state: State) -> EL:
    """Of a synchronous exception that nothing routes elsewhere: the current EL, or above EL0."""
    if state.el != EL.EL0:
        return state.el
    to_el2 = EL2Enabled(state) and bool(state.seen("HCR_EL2") & _TGE)
    return EL.EL2 if to_el2 else EL.EL1


def external_abort_target(state: State) -> EL:
    """Of a synchronous external abort."""
    return EL.EL3 if SCR_EL3.EA.is_set(state.sysregs["SCR_EL3"]) else default_target(state)


def stage_2(state: State) -> bool:
    """Whether accesses are translated by stage 2."""
    return below_el2(state) and bool(HCR_EL2.VM.is_set(state.seen("HCR_EL2")))


def breakpoint_target(state: State) -> EL:
    """Of a BRK."""
    route_to_el2 = below_el2(state) and (
        state.seen("HCR_EL2") & _TGE or MDCR_EL2.TDE.is_set(state.seen("MDCR_EL2"))
    )
    return EL.EL2 if route_to_el2 else default_target(state)


# Interrupts, which here includes SErrors


#: Which, what of SCR_EL3 and of HCR_EL2 routes it, and PSTATE's mask of it; by priority.
_PHYSICAL = (
    (Retire.SERROR, SCR_EL3.EA, HCR_EL2.AMO, DAIF_A),
    (Retire.FIQ, SCR_EL3.FIQ, HCR_EL2.FMO, DAIF_F),
    (Retire.IRQ, SCR_EL3.IRQ, HCR_EL2.IMO, DAIF_I),
)


def _physical_target(state: State, to_el3: Field, to_el2: Field) -> EL:
    if to_el3.is_set(state.sysregs["SCR_EL3"]):
        return EL.EL3
    routed = to_el2.mask | _TGE
    return EL.EL2 if EL2Enabled(state) and state.seen("HCR_EL2") & routed else EL.EL1


def _taken(state: State, target: EL, mask: int) -> bool:
    """Whether a pending interrupt is taken to its target: never down; the mask holds up to EL1."""
    if target > max(state.el, EL.EL1):
        return True
    return target >= state.el and not state.daif & mask


def virtual_pending(state: State) -> tuple[bool, bool]:
    """Whether a virtual FIQ and a virtual IRQ are pending, for EL1 and EL0."""
    hcr = state.seen("HCR_EL2")
    fiq, irq = hcr & _VFIQ == _VFIQ, hcr & _VIRQ == _VIRQ
    if not (fiq or irq) or hcr & _TGE or not EL2Enabled(state):
        return False, False
    return fiq, irq


def interrupt(state: State, irq: int, fiq: int, serror: int) -> tuple[Retire, EL] | None:
    """(which, its target) of the interrupt that is taken now, by the levels of the pins; or None.

    Of several, the first of SError, FIQ, IRQ, virtual FIQ, virtual IRQ.
    """
    pins = (serror, fiq, irq)
    for kind, to_el3, to_el2, mask in compress(_PHYSICAL, pins):
        target = _physical_target(state, to_el3, to_el2)
        if _taken(state, target, mask):
            return kind, target
    if state.el > EL.EL1:
        return None
    vfiq, virq = virtual_pending(state)
    if vfiq and not state.daif & DAIF_F:
        return Retire.VFIQ, EL.EL1
    if virq and not state.daif & DAIF_I:
        return Retire.VIRQ, EL.EL1
    return None
