"""Claims about the step unit: where debug exceptions go, the enables, the states, MDSCR_EL1.

Sections are those of the specification that this project restates (2 to 4), with the manual's.
The others: `tb.proofs.returns`, `tb.proofs.entries`, `tb.proofs.mistakes`.
"""

from amaranth.hdl import Const, Mux, Value

from model.arch import EL, Event, Last, StepState
from tb.proofs.manual import either
from tb.proofs.property import Unit, rule

_2 = "section 2; D2.4"
_3 = "section 3; D2.5"
_4 = "section 4; D2.12.3"

ALWAYS = Const(1)

# Where they go


@rule("routing", _2)
def eld_is_el2(u: Unit) -> None:
    """ELd is EL2 when EL2 is implemented and usable in the security state and TGE or TDE is 1."""
    c, el = u.controls, u.row.el
    usable = c.have_el2 & (~c.secure(el) | c.secure_el2)
    u.expect(usable & c.tge, eld=EL.EL2)
    u.expect(usable & c.tde, eld=EL.EL2)


@rule("routing", _2)
def eld_is_el1(u: Unit) -> None:
    """Otherwise ELd is EL1: without EL2, in Secure state without Secure EL2, with neither bit."""
    c, el = u.controls, u.row.el
    u.expect(~c.have_el2, eld=EL.EL1)
    u.expect(c.secure(el) & ~c.secure_el2, eld=EL.EL1)
    u.expect(~c.tge & ~c.tde, eld=EL.EL1)


@rule("routing", "sections 2 and 10; D1.1.4")
def el3_is_secure_whatever_ns_is(u: Unit) -> None:
    """EL3's own state is Secure: without Secure EL2, ELd from there is EL1, NS = 1 or not."""
    c = u.controls
    u.expect((u.row.el == EL.EL3) & c.have_el3 & ~c.secure_el2 & c.ns, eld=EL.EL1)


# Whether they are enabled


@rule("enables", _3)
def locks_disable(u: Unit) -> None:
    """Debug exceptions are disabled while the OS Lock is locked or the double lock is in force."""
    u.expect(u.controls.oslk, enabled=0, state=StepState.INACTIVE)
    u.expect(u.controls.double_lock, enabled=0, state=StepState.INACTIVE)


@rule("enables", _3)
def halted_disables(u: Unit) -> None:
    """Debug exceptions are disabled while the PE is in Debug state."""
    u.expect(u.halted, enabled=0, state=StepState.INACTIVE)


@rule("enables", _3)
def sdd_disables_secure_state(u: Unit) -> None:
    """In Secure state SDD = 1 disables them, but at EL0 with EL1 using AArch32 and SUIDEN = 1."""
    c, el = u.controls, u.row.el
    secure = c.secure(el) & c.sdd
    u.expect(secure & (el != EL.EL0), enabled=0)
    u.expect(secure & ~c.el1_aarch32, enabled=0)
    u.expect(secure & ~c.suiden, enabled=0)


@rule("enables", _3)
def suiden_enables_secure_el0(u: Unit) -> None:
    """In Secure state SUIDEN = 1 enables them from EL0 with EL1 using AArch32, SDD = 1 or not."""
    c = u.controls
    user = (u.row.el == EL.EL0) & c.secure(u.row.el) & c.el1_aarch32 & c.suiden
    u.expect(user & c.sdd & ~c.locked() & ~u.halted, enabled=1)


def _allowed(u: Unit) -> Value:
    """No lock, no Debug state, no SDD stands in the way."""
    c = u.controls
    return ~either(c.locked(), u.halted, c.secure_debug_disabled(u.row.el))


@rule("enables", _3)
def at_eld_kde_and_d_decide(u: Unit) -> None:
    """At ELd they are enabled with KDE = 1 and PSTATE.D = 0, and with nothing else."""
    at_eld = _allowed(u) & (u.row.el == u.controls.eld(u.row.el))
    u.expect(at_eld & u.seen.kde & ~u.row.d, enabled=1)
    u.expect(at_eld & ~u.seen.kde, enabled=0)
    u.expect(at_eld & u.row.d, enabled=0)


@rule("enables", _3)
def below_eld_they_are_enabled(u: Unit) -> None:
    """Below ELd they are enabled, whatever KDE and PSTATE.D are."""
    below = _allowed(u) & (u.row.el < u.controls.eld(u.row.el))
    u.expect(below, enabled=1)
    u.cover(below & ~u.seen.kde & u.row.d)


@rule("enables", _3)
def above_eld_they_are_disabled(u: Unit) -> None:
    """From EL3 they are never enabled, and from EL2 never while ELd is EL1."""
    u.expect(u.row.el == EL.EL3, enabled=0, out_pending=0)
    u.expect((u.row.el == EL.EL2) & (u.controls.eld(u.row.el) == EL.EL1), enabled=0)


# The states


@rule("state", _4)
def table(u: Unit) -> None:
    """The state is the table's, of ELd's width, the enables, MDSCR_EL1.SS and PSTATE.SS."""
    c, row = u.controls, u.row
    wide = ~Mux(row.eld == EL.EL2, c.el2_aarch32, c.el1_aarch32)
    u.expect(~wide, state=StepState.INACTIVE)
    u.expect(wide & ~row.enabled, state=StepState.INACTIVE)
    u.expect(wide & row.enabled & ~u.seen.ss, state=StepState.INACTIVE)
    stepping = wide & row.enabled & u.seen.ss
    u.expect(stepping & row.ss, state=StepState.ACTIVE_NOT_PENDING)
    u.expect(stepping & ~row.ss, state=StepState.ACTIVE_PENDING)


@rule("state", _4)
def pending_asks_for_the_exception(u: Unit) -> None:
    """A step exception is asked for in active-pending, and in no other state."""
    u.expect(ALWAYS, out_state=u.row.state, out_pending=u.row.state == StepState.ACTIVE_PENDING)


@rule("state", _4)
def step_comes_before_the_instruction(u: Unit) -> None:
    """In active-pending the step exception comes, whatever the event, but for an interrupt."""
    u.expect(u.happens & u.pending & (u.kind != Event.INTERRUPT), step_exception=1)


@rule("state", _4)
def interrupt_may_come_first(u: Unit) -> None:
    """The order of the step exception and an asynchronous exception is a choice from outside."""
    both = u.is_(Event.INTERRUPT) & u.pending
    first = u.given.choice__async_first
    u.expect(both & first, step_exception=0, el_after=u.given.event__target_el)
    u.expect(both & ~first, step_exception=1)


@rule("state", _4)
def no_step_exception_otherwise(u: Unit) -> None:
    """Inactive or active-not-pending, no Software Step exception is taken."""
    u.expect(u.happens & ~u.pending, step_exception=0, esr=0)


@rule("state", _4)
def stepped_over_instruction_does_nothing(u: Unit) -> None:
    """The instruction that a step exception comes before is not executed: it writes nothing."""
    wrote = u.was(u.step & u.given.event__mdscr_write & ~u.given.load__enable)
    u.expect(wrote, mdscr_el1_written=u.was(u.row.mdscr_el1_written))
    u.expect(u.step, d_after=1, il_after=0, illegal_state=0)


@rule("state", _4)
def completion_clears_ss(u: Unit) -> None:
    """When an instruction completes, PSTATE.SS becomes 0, in every state."""
    u.expect(u.completes, ss_after=0)
    u.cover(u.completes & u.row.ss & u.not_pending)
    u.cover(u.completes & u.row.ss & (u.row.state == StepState.INACTIVE))
    u.cover(u.completes & u.row.ss & u.writes_mdscr)


@rule("state", _4)
def only_a_return_sets_ss(u: Unit) -> None:
    """Only an exception return or Debug exit leaves PSTATE.SS = 1."""
    u.expect(u.happens & ~u.returns, ss_after=0)


@rule("state", _4)
def completion_keeps_the_rest(u: Unit) -> None:
    """An instruction that completes changes neither EL nor width, and takes no exception."""
    row = u.row
    u.expect(u.completes, el_after=row.el, nrw_after=row.nrw, il_after=row.il)
    u.expect(u.completes, spsr_saved=0, spsr_ss=0, illegal_state=0, step_exception=0)


@rule("state", _4)
def d_is_written_by_an_instruction(u: Unit) -> None:
    """DAIFSet and DAIFClr write PSTATE.D; an instruction that does not leaves it alone."""
    u.expect(u.completes & u.given.event__d_write, d_after=u.given.event__d_value)
    u.expect(u.completes & ~u.given.event__d_write, d_after=u.row.d)


@rule("state", _4)
def d_synchronises_itself(u: Unit) -> None:
    """What a write of PSTATE.D enables or masks is so from the next instruction on."""
    wrote = u.was(u.completes & u.given.event__d_write & ~u.given.load__enable)
    at_eld = u.row.el == u.controls.eld(u.row.el)
    allowed = _allowed(u) & wrote & at_eld & u.seen.kde
    u.expect(allowed & u.was(u.given.event__d_value), enabled=0)
    u.expect(allowed & ~u.was(u.given.event__d_value), enabled=1)


@rule("state", _4)
def state_after_is_the_tables(u: Unit) -> None:
    """The state after an event is the table's, of PSTATE, MDSCR_EL1 and the controls after it."""
    c, row = u.controls_after, u.row
    enabled = c.enabled(row.el_after, u.seen_after.kde, row.d_after, Const(0))
    active = enabled & u.seen_after.ss & ~c.eld_aarch32(row.el_after)
    u.expect(u.happens & ~active, state_after=StepState.INACTIVE)
    u.expect(u.happens & active & row.ss_after, state_after=StepState.ACTIVE_NOT_PENDING)
    u.expect(u.happens & active & ~row.ss_after, state_after=StepState.ACTIVE_PENDING)


# MDSCR_EL1


@rule("mdscr", _4)
def written_by_an_instruction_alone(u: Unit) -> None:
    """MDSCR_EL1 holds what the last instruction to write it wrote; nothing else writes it."""
    row, given = u.row, u.given
    wrote = u.was(u.writes_mdscr & ~given.load__enable)
    u.expect(wrote, mdscr_el1_written=u.was(given.event__mdscr_value))
    other = u.was(u.happens & ~u.writes_mdscr & ~given.load__enable)
    u.expect(other, mdscr_el1_written=u.was(row.mdscr_el1_written))
    u.expect(ALWAYS, out_mdscr_el1=row.mdscr_el1_written)


@rule("mdscr", _4)
def write_is_seen_at_once_or_late(u: Unit) -> None:
    """Before a context synchronisation event the PE sees the old or the new value, by choice."""
    wrote = u.was(u.writes_mdscr & ~u.synchronises & ~u.given.load__enable)
    at_once = u.was(u.given.choice__mdscr_seen)
    u.expect(wrote & at_once, mdscr_el1=u.was(u.given.event__mdscr_value))
    u.expect(wrote & ~at_once, mdscr_el1=u.was(u.row.mdscr_el1))


@rule("mdscr", _4)
def entry_isb_and_return_synchronise(u: Unit) -> None:
    """Exception entry, exception return and ISB make what was written seen."""
    for synchronises in (u.enters, u.returns, u.instruction(Event.ISB)):
        done = u.was(synchronises & ~u.given.load__enable)
        u.expect(done, mdscr_el1=u.row.mdscr_el1_written)


@rule("mdscr", _4)
def nothing_else_changes_the_view(u: Unit) -> None:
    """With neither a write nor a synchronisation, the PE sees the value that it saw."""
    neither = u.happens & ~u.writes_mdscr & ~u.synchronises & ~u.given.load__enable
    u.expect(u.was(neither), mdscr_el1=u.was(u.row.mdscr_el1))
    u.cover(u.was(neither) & (u.seen.ss != u.written.ss))


# The unit's own interface

STATE = ("el", "nrw", "d", "ss", "il")


@rule("unit", "hw.step")
def starts_at_el3_masked(u: Unit) -> None:
    """After reset the PE is at EL3 with debug exceptions masked, and nothing is stepped."""
    first = ~u.was(ALWAYS)
    u.expect(first, el=EL.EL3, nrw=0, d=1, ss=0, il=0, last=Last.NOTHING)
    u.expect(first, mdscr_el1=0, mdscr_el1_written=0, state=StepState.INACTIVE)


@rule("unit", "hw.step")
def loads_what_it_is_told(u: Unit) -> None:
    """A state that is loaded is the state of the next cycle, whatever the event."""
    loaded = u.was(u.given.load__enable)
    u.expect(loaded, **{name: u.was(u.load[name]) for name in STATE})
    u.expect(
        loaded,
        mdscr_el1=u.was(u.given.load__mdscr_el1),
        mdscr_el1_written=u.was(u.given.load__mdscr_el1_written),
        last=u.was(u.given.load__last),
    )


@rule("unit", "hw.step")
def goes_on_from_what_the_event_left(u: Unit) -> None:
    """What the trace shows after an event is what it shows before the next."""
    u.expect(u.continues, **{name: u.was(getattr(u.row, f"{name}_after")) for name in STATE})


@rule("unit", "hw.step")
def rests_without_an_event(u: Unit) -> None:
    """Without an event nothing changes that the unit holds."""
    rested = u.was(~u.happens & ~u.given.load__enable)
    held = (*STATE, "mdscr_el1", "mdscr_el1_written", "last")
    u.expect(rested, **{name: u.was(getattr(u.row, name)) for name in held})


@rule("unit", "hw.trace")
def trace_shows_the_event(u: Unit) -> None:
    """The trace has a row for each event, with its address, and the outputs show the state."""
    row, given = u.row, u.given
    u.expect(
        ALWAYS, valid=given.event__valid, **{f"out_pstate__{n}": getattr(row, n) for n in STATE}
    )
    u.expect(u.happens, event=given.event__kind, pc=given.event__pc)
