"""A PE and the effect of one event on it: the row of the vector file, and one cycle of lockstep.

Source: DDI 0487 D2.12, D1.10 (exception entry), D1.11 (exception return); the order in which the
cases are tried is that of the vector file's definition. Values are numpy arrays of one shape, or
numpy scalars for one PE (see `model.rules`).
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

from model.arch import Event, Last, SPSR_ELx, StepState
from model.rules import (
    U8,
    U64,
    Bool,
    Controls,
    DebugExceptionReturnSS,
    DebugTargetFrom,
    ELUsingAArch32,
    GenerateDebugExceptionsFrom,
    IllegalExceptionReturn,
    IllegalStateTarget,
    IsSecureAtEL,
    SoftwareStepISVEX,
    SoftwareStepState,
    SoftwareStepSyndrome,
    SoftwareStepTarget,
    choose,
    select,
    u8,
)


@dataclass(frozen=True, slots=True)
class PE:
    """The state of a PE that software step can see, and what is implemented."""

    el: U8
    nrw: Bool  #: PSTATE.nRW: AArch32
    d: Bool
    ss: Bool
    il: Bool
    mdscr_el1: U64  #: MDSCR_EL1 as the PE sees it now
    mdscr_el1_written: U64  #: MDSCR_EL1 as last written: seen from the next synchronisation on
    mdcr_el2: U64
    hcr_el2: U64
    scr_el3: U64
    mdcr_el3: U64
    sder32_el3: U64
    oslsr_el1: U64
    double_lock: Bool
    halted: Bool
    el1_aarch32: Bool
    el2_aarch32: Bool
    have_el2: Bool
    have_el3: Bool
    have_sel2: Bool
    last: U8  #: a `Last`

    def controls(self) -> Controls:
        """The bits of the registers, with MDSCR_EL1 as the PE sees it now."""
        return Controls.from_registers(
            have_el2=self.have_el2,
            have_el3=self.have_el3,
            have_sel2=self.have_sel2,
            el1_aarch32=self.el1_aarch32,
            el2_aarch32=self.el2_aarch32,
            mdscr_el1=self.mdscr_el1,
            mdcr_el2=self.mdcr_el2,
            hcr_el2=self.hcr_el2,
            scr_el3=self.scr_el3,
            mdcr_el3=self.mdcr_el3,
            sder32_el3=self.sder32_el3,
            oslsr_el1=self.oslsr_el1,
            double_lock=self.double_lock,
            halted=self.halted,
        )


@dataclass(frozen=True, slots=True)
class Input:
    """One event and its free choices. A value that the event does not use is ignored."""

    event: U8  #: an `Event`
    target_el: U8  #: where svc, hvc, smc, exception and interrupt are taken to
    spsr: U64  #: SPSR_ELx for eret, DSPSR for debug_exit
    d_write: Bool  #: the instruction executed writes PSTATE.D ...
    d_value: Bool  #: ... with this
    mdscr_write: Bool  #: the instruction executed writes MDSCR_EL1 ...
    mdscr_value: U64  #: ... with this
    mdscr_seen: Bool  #: choice: the write is seen at once, not at the next synchronisation
    async_first: Bool  #: choice: the interrupt is taken before a pending step exception
    isv_choice: Bool  #: choice: ISV where `Last` leaves it open


@dataclass(frozen=True, slots=True)
class Effect:
    """What happened. The members up to `spsr_ss` are the output columns of the vector file."""

    eld: U8
    enabled: Bool
    state: U8  #: the StepState before the event
    step_exception: Bool  #: the Software Step exception was taken instead of the event
    el_after: U8
    d_after: Bool
    ss_after: Bool
    il_after: Bool
    state_after: U8
    esr: U64  #: of the step exception; 0 if there was none
    spsr_ss: Bool  #: bit 21 of the SPSR saved; 0 if none was
    spsr_saved: Bool  #: an exception was taken, to an EL that uses AArch64
    illegal_state: Bool  #: the Illegal Execution state exception was taken instead of the event
    nrw_after: Bool
    mdscr_el1_after: U64
    mdscr_el1_written_after: U64
    last_after: U8


class _Case(NamedTuple):
    """Which of the things that can happen does happen. At most one of a row is True."""

    step: Bool  #: the Software Step exception
    illegal_state: Bool  #: the Illegal Execution state exception
    completes: Bool  #: execute, load_exclusive, isb
    calls: Bool  #: svc, hvc, smc
    interrupted: Bool  #: exception, interrupt
    returns: Bool  #: eret, debug_exit

    @property
    def entry(self) -> Bool:
        """An exception is taken."""
        return self.step | self.illegal_state | self.calls | self.interrupted


def _case(pe: PE, given: Input, state: U8) -> _Case:
    """CheckSoftwareStep first, then the Illegal Execution state check, then the event itself."""
    event = given.event
    interrupt: Bool = event == u8(Event.INTERRUPT)
    interrupted: Bool = interrupt | (event == u8(Event.EXCEPTION))
    debug_exit: Bool = event == u8(Event.DEBUG_EXIT)
    step: Bool = (state == u8(StepState.ACTIVE_PENDING)) & ~(interrupt & given.async_first)
    illegal_state = ~step & pe.il & ~interrupted & ~debug_exit
    happens = ~step & ~illegal_state
    return _Case(
        step=step,
        illegal_state=illegal_state,
        completes=happens & (event <= u8(Event.ISB)),
        calls=happens & (event >= u8(Event.SVC)) & (event <= u8(Event.SMC)),
        interrupted=happens & interrupted,
        returns=happens & (debug_exit | (event == u8(Event.ERET))),
    )


def _mdscr_after(pe: PE, given: Input, case: _Case) -> tuple[U64, U64]:
    """MDSCR_EL1 after the event: (as the PE sees it, as written).

    Exception entry and return synchronise the context before they change PSTATE; an ISB does when
    it completes. So all three see what was written.
    """
    writes = case.completes & given.mdscr_write
    written = select(writes, given.mdscr_value, pe.mdscr_el1_written)
    isb: Bool = case.completes & (given.event == u8(Event.ISB))
    sees = case.entry | case.returns | isb | (writes & given.mdscr_seen)
    return select(sees, written, pe.mdscr_el1), written


class _Pstate(NamedTuple):
    el: U8
    nrw: Bool
    d: Bool
    ss: Bool
    il: Bool


def _exception_return(c: Controls, pe: PE, spsr: U64) -> _Pstate:
    """SetPSTATEFromPSR: PSTATE after an exception return or Debug exit, legal or not."""
    illegal, target = IllegalExceptionReturn(c, pe.el, spsr)
    dest = select(illegal, pe.el, target)
    nrw = choose(illegal, pe.nrw, SPSR_ELx.nRW.is_set(spsr))
    mask: Bool = SPSR_ELx.D.is_set(spsr)
    enabled = GenerateDebugExceptionsFrom(c, pe.el, IsSecureAtEL(c, pe.el), pe.d)
    return _Pstate(
        el=dest,
        nrw=nrw,
        d=choose(nrw, pe.d, mask),
        ss=DebugExceptionReturnSS(c, enabled, dest, mask, SPSR_ELx.SS.is_set(spsr)),
        il=illegal | SPSR_ELx.IL.is_set(spsr),
    )


def _pstate_after(
    c: Controls, pe: PE, given: Input, case: _Case, target: U8, ret: _Pstate
) -> _Pstate:
    """PSTATE after whatever happened: `target` is an exception's EL, `ret` what a return gives."""
    to_aarch32 = case.entry & ELUsingAArch32(c, target)
    # There is no PSTATE.D in AArch32 state: an entry to it leaves the bit alone.
    sets_d = case.entry & ~to_aarch32
    writes_d = case.completes & given.d_write
    d = choose(case.returns, ret.d, choose(writes_d, given.d_value, pe.d | sets_d))
    return _Pstate(
        el=select(case.entry, target, select(case.returns, ret.el, pe.el)),
        nrw=choose(case.entry, to_aarch32, choose(case.returns, ret.nrw, pe.nrw)),
        d=d,
        ss=case.returns & ret.ss,
        il=case.returns & ret.il,
    )


def _last_after(pe: PE, given: Input, state: U8, case: _Case) -> U8:
    """What a Software Step exception that comes next can say of what was stepped (D2.12.6).

    Only an instruction that starts in active-not-pending is stepped. An interrupt taken first from
    active-pending keeps what was stepped before it, as another exception taken first.
    """
    exclusive = case.completes & (given.event == u8(Event.LOAD_EXCLUSIVE))
    free = case.returns | (case.completes & (given.event == u8(Event.ISB)))
    kind = select(exclusive, u8(Last.LOAD_EXCLUSIVE), u8(Last.INSTRUCTION))
    kind = select(free, u8(Last.ERET_OR_ISB), kind)
    kind = select(case.entry, u8(Last.OTHER_EXCEPTION), kind)
    stepped: Bool = state == u8(StepState.ACTIVE_NOT_PENDING)

    ex = (pe.last == u8(Last.LOAD_EXCLUSIVE)) | (pe.last == u8(Last.OTHER_EXCEPTION_EX))
    first = select(ex, u8(Last.OTHER_EXCEPTION_EX), u8(Last.OTHER_EXCEPTION))
    pending: Bool = state == u8(StepState.ACTIVE_PENDING)
    passed_over = pending & case.interrupted & (pe.last != u8(Last.NOTHING))
    return select(stepped, kind, select(passed_over, first, u8(Last.NOTHING)))


def derive(c: Controls, el: U8, d: Bool, ss: Bool) -> tuple[U8, Bool, U8]:
    """(ELd, debug exceptions enabled, StepState) at an EL with these PSTATE.D and PSTATE.SS."""
    secure = IsSecureAtEL(c, el)
    eld = DebugTargetFrom(c, secure)
    enabled = GenerateDebugExceptionsFrom(c, el, secure, d)
    return eld, enabled, SoftwareStepState(c, eld, enabled, ss)


def take(pe: PE, given: Input, controls_after: Controls | None = None) -> Effect:
    """The effect of one event on a PE.

    `controls_after` is what the PE sees of the control registers once the event has happened, where
    writes are seen late; its MDSCR_EL1 is not used. What synchronises the context does so before it
    changes PSTATE, so that an exception return is judged by them; an exception's target is not.
    """
    before = pe.controls()
    eld, enabled, state = derive(before, pe.el, pe.d, pe.ss)
    case = _case(pe, given, state)

    target = select(case.step, SoftwareStepTarget(eld, pe.el), given.target_el)
    target = select(case.illegal_state, IllegalStateTarget(before, pe.el), target)
    seen, written = _mdscr_after(pe, given, case)
    after_event = before if controls_after is None else controls_after
    synchronised = after_event.with_mdscr(seen)
    returned = _exception_return(synchronised, pe, given.spsr)
    new = _pstate_after(before, pe, given, case, target, returned)

    _, _, state_after = derive(synchronised.not_halted(), new.el, new.d, new.ss)

    isv, ex = SoftwareStepISVEX(pe.last, given.isv_choice)
    saved = case.entry & ~new.nrw
    return Effect(
        eld=eld,
        enabled=enabled,
        state=state,
        step_exception=case.step,
        el_after=new.el,
        d_after=new.d,
        ss_after=new.ss,
        il_after=new.il,
        state_after=state_after,
        esr=SoftwareStepSyndrome(target == pe.el, isv, ex) * case.step,
        # SVC, HVC and SMC complete first, and completing clears PSTATE.SS.
        spsr_ss=saved & ~case.calls & pe.ss,
        spsr_saved=saved,
        illegal_state=case.illegal_state,
        nrw_after=new.nrw,
        mdscr_el1_after=seen,
        mdscr_el1_written_after=written,
        last_after=_last_after(pe, given, state, case),
    )


def after(pe: PE, effect: Effect) -> PE:
    """The PE after the effect. It is out of Debug state: leaving it is the one event there."""
    return replace(
        pe,
        el=effect.el_after,
        nrw=effect.nrw_after,
        d=effect.d_after,
        ss=effect.ss_after,
        il=effect.il_after,
        mdscr_el1=effect.mdscr_el1_after,
        mdscr_el1_written=effect.mdscr_el1_written_after,
        halted=pe.halted & False,
        last=effect.last_after,
    )
