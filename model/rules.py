"""The architecture's rules for software step, under Arm's own function names.

Source: DDI 0487, D2.12 (Software Step exceptions), D1 (exception entry and return, illegal
exception returns) and the shared pseudocode.

Every rule is written once over numpy values of any shape: a `Bool`, `U8` or `U64` is an array, a
numpy scalar (`np.bool_`, `np.uint8`, `np.uint64`) for one PE state, or `model.planes.Planes`. One
state and ten million go through the same lines. ELs are `U8`, 0 to 3.
"""

from dataclasses import dataclass, replace
from functools import cache, reduce
from operator import or_
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt

from model.arch import (
    EL,
    HCR_EL2,
    IFSC_DEBUG,
    MDCR_EL2,
    MDCR_EL3,
    MDSCR_EL1,
    OSLSR_EL1,
    SCR_EL3,
    SDER32_EL3,
    ESR_ELx,
    ExceptionClass,
    Last,
    Mode,
    Mode32,
    SPSR_ELx,
    StepISS,
    StepState,
)

Bool = npt.NDArray[np.bool_]
U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]

_T = TypeVar("_T", U8, U64)


@cache
def u8(value: int) -> U8:
    """A constant, to select or to compare with: as an enumeration's member, numpy would take it
    for 64 bits wide, and the values beside it would be made so, too."""
    return cast(U8, np.uint8(value))


def u64(value: int) -> U64:
    """A constant to `select`."""
    return cast(U64, np.uint64(value))


def select(condition: Bool, yes: _T, no: _T) -> _T:
    """`yes` where the condition holds, else `no`: np.where, but many times faster."""
    return no ^ ((yes ^ no) * condition)


def choose(condition: Bool, yes: Bool, no: Bool) -> Bool:
    """`select` for booleans."""
    return (condition & yes) | (~condition & no)


@dataclass(frozen=True, slots=True)
class Controls:
    """What the rules read besides PSTATE: what is implemented, the widths, the control bits.

    Every member is a Bool. Build it with `from_registers`, which also applies what an absent EL
    makes of the registers.
    """

    have_el2: Bool
    have_el3: Bool
    have_sel2: Bool  #: Secure EL2 is implemented
    el1_aarch32: Bool
    el2_aarch32: Bool
    ss: Bool  #: MDSCR_EL1.SS
    kde: Bool  #: MDSCR_EL1.KDE
    tde: Bool  #: MDCR_EL2.TDE
    tge: Bool  #: HCR_EL2.TGE
    ns: Bool  #: SCR_EL3.NS
    eel2: Bool  #: SCR_EL3.EEL2
    sdd: Bool  #: MDCR_EL3.SDD
    suiden: Bool  #: SDER32_EL3.SUIDEN
    oslk: Bool  #: OSLSR_EL1.OSLK
    double_lock: Bool  #: DoubleLockStatus() but for its not-halted term
    halted: Bool  #: the PE is in Debug state

    @classmethod
    def from_registers(
        cls,
        *,
        have_el2: Bool,
        have_el3: Bool,
        have_sel2: Bool,
        el1_aarch32: Bool,
        el2_aarch32: Bool,
        mdscr_el1: U64,
        mdcr_el2: U64,
        hcr_el2: U64,
        scr_el3: U64,
        mdcr_el3: U64,
        sder32_el3: U64,
        oslsr_el1: U64,
        double_lock: Bool,
        halted: Bool,
    ) -> "Controls":
        """Take the bits out of whole registers.

        Without EL2 its registers read as 0; without EL3 the PE is Non-secure and EL3's registers
        have no effect (D1.1, and section 10 of the specification this project restates).
        """
        return cls(
            have_el2=have_el2,
            have_el3=have_el3,
            have_sel2=have_sel2,
            el1_aarch32=el1_aarch32,
            el2_aarch32=el2_aarch32,
            ss=MDSCR_EL1.SS.is_set(mdscr_el1),
            kde=MDSCR_EL1.KDE.is_set(mdscr_el1),
            tde=MDCR_EL2.TDE.is_set(mdcr_el2) & have_el2,
            tge=HCR_EL2.TGE.is_set(hcr_el2) & have_el2,
            ns=SCR_EL3.NS.is_set(scr_el3) | ~have_el3,
            eel2=SCR_EL3.EEL2.is_set(scr_el3) & have_el3 & have_sel2,
            sdd=MDCR_EL3.SDD.is_set(mdcr_el3) & have_el3,
            suiden=SDER32_EL3.SUIDEN.is_set(sder32_el3) & have_el3,
            oslk=OSLSR_EL1.OSLK.is_set(oslsr_el1),
            double_lock=double_lock,
            halted=halted,
        )

    def with_mdscr(self, mdscr_el1: U64) -> "Controls":
        """The same with another MDSCR_EL1."""
        return replace(self, ss=MDSCR_EL1.SS.is_set(mdscr_el1), kde=MDSCR_EL1.KDE.is_set(mdscr_el1))

    def not_halted(self) -> "Controls":
        """The same outside Debug state."""
        return replace(self, halted=self.halted & False)


# Security state (D1.1.4)


def IsSecureEL2Enabled(c: Controls) -> Bool:
    """Secure EL2 is implemented and SCR_EL3.EEL2 is 1, whatever NS is."""
    return c.have_el2 & c.have_el3 & c.have_sel2 & c.eel2


def EL2Enabled(c: Controls) -> Bool:
    """EL2 can be used below EL3 in the security state that SCR_EL3 selects."""
    return c.have_el2 & (~c.have_el3 | c.ns | IsSecureEL2Enabled(c))


def IsSecureAtEL(c: Controls, el: U8) -> Bool:
    """An EL's security state: EL3 is Secure, below it SCR_EL3.NS decides; never without EL3."""
    at_el3: Bool = el == u8(EL.EL3)
    return c.have_el3 & (at_el3 | ~c.ns)


def ELUsingAArch32(c: Controls, el: U8) -> Bool:
    """Whether EL1 or EL2 uses AArch32. EL3 never does; at EL0 PSTATE.nRW says."""
    at_el1: Bool = el == u8(EL.EL1)
    at_el2: Bool = el == u8(EL.EL2)
    return (at_el1 & c.el1_aarch32) | (at_el2 & c.el2_aarch32)


# Debug exceptions (D2.4, D2.5)


def DebugTargetFrom(c: Controls, secure: Bool) -> U8:
    """ELd, the EL that debug exceptions from a security state go to: EL1 or EL2."""
    usable = c.have_el2 & (~secure | IsSecureEL2Enabled(c))
    return select(usable & (c.tge | c.tde), u8(EL.EL2), u8(EL.EL1))


def GenerateDebugExceptionsFrom(c: Controls, from_el: U8, secure: Bool, mask: Bool) -> Bool:
    """Whether debug exceptions are enabled from an EL and security state with PSTATE.D = mask."""
    target = DebugTargetFrom(c, secure)
    at_el0: Bool = from_el == u8(EL.EL0)
    at_target: Bool = from_el == target
    below_target: Bool = from_el < target
    locked = c.oslk | c.double_lock | c.halted
    allowed = ~secure | ~c.sdd | (at_el0 & c.el1_aarch32 & c.suiden)
    return ~locked & allowed & (below_target | (at_target & c.kde & ~mask))


# The state machine (D2.12.3)


def SoftwareStepState(c: Controls, eld: U8, enabled: Bool, ss: Bool) -> U8:
    """The StepState that ELd, the enables, MDSCR_EL1.SS and PSTATE.SS make."""
    active = ~ELUsingAArch32(c, eld) & enabled & c.ss
    when_active = select(ss, u8(StepState.ACTIVE_NOT_PENDING), u8(StepState.ACTIVE_PENDING))
    return select(active, when_active, u8(StepState.INACTIVE))


# Exception return (D1.11, D2.12.4)

#: SPSR.M<4:0> to the EL that it names. Bit 4 is nRW.
_EL_OF_MODE = {mode.value: mode >> 2 for mode in Mode}
_EL_OF_MODE |= {mode.value: EL.EL1 for mode in Mode32}
_EL_OF_MODE |= {Mode32.USER.value: EL.EL0, Mode32.HYP.value: EL.EL2}


def ELOfMode(spsr: U64) -> tuple[Bool, U8]:
    """(exists, EL) of the mode that SPSR.M<4:0> names; if there is no such mode, EL is 0."""
    mode = (spsr & u64(SPSR_ELx.M.mask | SPSR_ELx.nRW.mask)).astype(np.uint8)
    modes = [(mode == u8(number), u8(el)) for number, el in _EL_OF_MODE.items()]
    exists = reduce(or_, (is_it for is_it, _ in modes))
    return exists, reduce(or_, (is_it * el for is_it, el in modes))


def ELFromSPSR(c: Controls, spsr: U64) -> tuple[Bool, U8]:
    """(valid, EL) of the mode that an SPSR names: it exists, is implemented, and its width fits.

    If it does not exist, EL means nothing. AArch32 at EL0 is taken as implemented.
    """
    exists, el = ELOfMode(spsr)
    nrw: Bool = SPSR_ELx.nRW.is_set(spsr)
    implemented = (
        (el <= u8(EL.EL1)) | ((el == u8(EL.EL2)) & c.have_el2) | ((el == u8(EL.EL3)) & c.have_el3)
    )
    # Below AArch64 anything goes at EL0; below AArch32 nothing is AArch64.
    wrong_el0 = (el == u8(EL.EL0)) & ~nrw & c.el1_aarch32
    wrong_el1_el2 = ((el == u8(EL.EL1)) | (el == u8(EL.EL2))) & (nrw ^ ELUsingAArch32(c, el))
    return exists & implemented & ~wrong_el0 & ~wrong_el1_el2, el


def IllegalExceptionReturn(c: Controls, from_el: U8, spsr: U64) -> tuple[Bool, U8]:
    """(illegal, target EL) of an exception return or Debug exit; if illegal, EL means nothing."""
    valid, target = ELFromSPSR(c, spsr)
    hyp32 = SPSR_ELx.nRW.is_set(spsr) & (target == u8(EL.EL2))
    no_el2 = (target == u8(EL.EL2)) & c.have_el3 & ~c.ns & (hyp32 | ~IsSecureEL2Enabled(c))
    no_el1 = (target == u8(EL.EL1)) & EL2Enabled(c) & c.tge
    return ~valid | (target > from_el) | no_el2 | no_el1, target


def DebugExceptionReturnSS(
    c: Controls, enabled_at_source: Bool, dest: U8, mask: Bool, spsr_ss: Bool
) -> Bool:
    """What an exception return or Debug exit writes to PSTATE.SS.

    `dest` is the EL returned to (the current one if the return is illegal), `mask` SPSR.D. The
    destination is judged in its own security state and outside Debug state.
    """
    c = c.not_halted()
    secure = IsSecureAtEL(c, dest)
    stepping = c.ss & ~ELUsingAArch32(c, DebugTargetFrom(c, secure))
    enabled_at_dest = GenerateDebugExceptionsFrom(c, dest, secure, mask)
    return spsr_ss & stepping & ~enabled_at_source & enabled_at_dest


# The exceptions themselves (D1.10, D2.12.5)


def IllegalStateTarget(c: Controls, el: U8) -> U8:
    """The EL that an Illegal Execution state exception from `el` is taken to."""
    route_to_el2 = (el == u8(EL.EL0)) & EL2Enabled(c) & c.tge
    at_least_el1 = select(el == u8(EL.EL0), u8(EL.EL1), el)
    return select(route_to_el2, u8(EL.EL2), at_least_el1)


def SoftwareStepTarget(eld: U8, el: U8) -> U8:
    """The EL that a Software Step exception from `el` (EL0 to EL2) is taken to."""
    return select(el == u8(EL.EL2), u8(EL.EL2), eld)


def SoftwareStepISVEX(last: U8, isv_choice: Bool) -> tuple[Bool, Bool]:
    """(ISV, EX) of a Software Step exception, from what was stepped (a `Last`) and the choice."""
    exclusive = last == u8(Last.LOAD_EXCLUSIVE)
    exclusive_first = last == u8(Last.OTHER_EXCEPTION_EX)
    free = (last == u8(Last.ERET_OR_ISB)) | (last == u8(Last.OTHER_EXCEPTION)) | exclusive_first
    isv = (last == u8(Last.INSTRUCTION)) | exclusive | (free & isv_choice)
    return isv, isv & (exclusive | exclusive_first)


def SoftwareStepSyndrome(same_el: Bool, isv: Bool, ex: Bool) -> U64:
    """ESR_ELx of a Software Step exception."""
    lower = ESR_ELx.EC.put(ExceptionClass.SOFTSTEP_LOWER)
    same = ESR_ELx.EC.put(ExceptionClass.SOFTSTEP_SAME)
    fixed = u64(ESR_ELx.IL.put(1) | StepISS.IFSC.put(IFSC_DEBUG))
    ec = select(same_el, u64(same), u64(lower))
    return fixed | ec | isv * u64(StepISS.ISV.mask) | ex * u64(StepISS.EX.mask)
