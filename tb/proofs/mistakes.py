"""Claims about the step unit: none of the mistakes that implementers make (section 8).

Each is the property that the mistake would break, over the cycles in which it would show.
"""

from amaranth.hdl import Cat, Const, Mux, Value

from model.arch import EL, Event, StepState
from tb.proofs.entries import LOWER, SAME, esr, target_aarch32
from tb.proofs.manual import one_of
from tb.proofs.property import Unit, rule
from tb.proofs.returns import Return


def _source(number: int) -> str:
    return f"section 8, mistake {number}"


def _good_return(u: Unit, r: Return) -> Value:
    """All that section 5 asks for, but for the source."""
    return r.happens & u.written.ss & r.eld_aarch64 & r.enabled_at_destination


@rule("mistakes", _source(1))
def eret_keeps_the_ss_it_loaded(u: Unit) -> None:
    """1. The exception return's own SS = 1 is not eaten by the advance that follows it: it is there
    at the next instruction, which is stepped."""
    r = Return(u)
    loads = _good_return(u, r) & ~r.enabled_at_source & r.spsr.ss & u.instruction(Event.ERET)
    u.expect(loads, ss_after=1, state_after=StepState.ACTIVE_NOT_PENDING)
    u.expect(u.was(loads & ~u.given.load__enable), ss=1)
    stepped = u.was(loads & ~u.given.load__enable) & u.not_pending & u.instruction(Event.EXECUTE)
    u.expect(stepped, step_exception=0, ss_after=0)


@rule("mistakes", _source(2))
def no_ss_from_where_debug_is_enabled(u: Unit) -> None:
    """2. SS does not load when debug exceptions were already enabled at the source."""
    r = Return(u)
    u.expect(_good_return(u, r) & r.enabled_at_source & r.spsr.ss, ss_after=0)


@rule("mistakes", _source(3))
def illegal_return_keeps_ss(u: Unit) -> None:
    """3. An illegal return does not drop SS."""
    r = Return(u)
    u.expect(_good_return(u, r) & ~r.enabled_at_source & r.illegal & r.spsr.ss, ss_after=1)


@rule("mistakes", _source(4))
def d_and_kde_do_not_count_below_eld(u: Unit) -> None:
    """4. Neither PSTATE.D nor KDE is consulted below ELd."""
    c, el = u.controls, u.row.el
    free = ~(c.locked() | u.halted | c.secure_debug_disabled(el))
    below = free & (el < c.eld(el))
    u.expect(below & u.row.d, enabled=1)
    u.expect(below & ~u.seen.kde, enabled=1)


@rule("mistakes", _source(5))
def state_is_derived(u: Unit) -> None:
    """5. The state is no register of its own: in every cycle it is what PSTATE, MDSCR_EL1 and the
    controls of that cycle make, after a DAIFClr, an MDSCR write, an entry, or a change of them."""
    c, row = u.controls, u.row
    enabled = c.enabled(row.el, u.seen.kde, row.d, u.halted)
    active = enabled & u.seen.ss & ~c.eld_aarch32(row.el)
    now = Mux(row.ss, StepState.ACTIVE_NOT_PENDING, StepState.ACTIVE_PENDING)
    state = Mux(active, now, StepState.INACTIVE)
    u.expect(Const(1), state=state, out_pending=state == StepState.ACTIVE_PENDING)
    becomes = u.was(row.state == StepState.INACTIVE) & u.pending
    daifclr = u.completes & u.given.event__d_write & ~u.given.event__d_value
    for event in (daifclr, u.writes_mdscr, u.enters, ~u.happens):
        u.cover(u.was(event & ~u.given.load__enable) & becomes)


@rule("mistakes", _source(6))
def os_lock_is_bit_1(u: Unit) -> None:
    """6. The OS Lock is OSLSR_EL1 bit 1 and no other, and does not block a BRK."""
    c, el, oslsr = u.controls, u.row.el, u.given.controls__oslsr_el1
    free = ~(c.double_lock | u.halted | c.secure_debug_disabled(el)) & (el < c.eld(el))
    u.expect(free & oslsr[1] & ~oslsr[0], enabled=0)
    u.expect(free & ~oslsr[1] & oslsr[0] & (oslsr[2:] == (1 << 62) - 1), enabled=1)
    brk = u.is_(Event.EXCEPTION) & oslsr[1]
    u.expect(brk, step_exception=0, el_after=u.given.event__target_el, ss_after=0)


@rule("mistakes", _source(7))
def stepped_daifset_raises_nothing(u: Unit) -> None:
    """7. A stepped write of PSTATE.D = 1 at ELd makes the machine inactive: no step exception
    follows."""
    writes = u.completes & u.not_pending & u.given.event__d_write & u.given.event__d_value
    stepped = writes & (u.row.el == u.controls_after.eld(u.row.el))
    u.expect(stepped, state_after=StepState.INACTIVE, ss_after=0)
    still_eld = u.row.el == u.controls.eld(u.row.el)
    followed = u.was(stepped & ~u.given.load__enable) & still_eld & u.happens
    u.expect(followed, state=StepState.INACTIVE, step_exception=0)


@rule("mistakes", _source(8))
def calls_save_0_and_trapped_ones_1(u: Unit) -> None:
    """8. A stepped SVC, HVC or SMC saves SS = 0; trapped, it is an exception that returns to the
    same instruction, and saves 1."""
    stepped = u.not_pending & ~target_aarch32(u)
    for call in (Event.SVC, Event.HVC, Event.SMC):
        u.expect(stepped & u.instruction(call), spsr_saved=1, spsr_ss=0)
    u.expect(stepped & u.is_(Event.EXCEPTION), spsr_saved=1, spsr_ss=1)


@rule("mistakes", _source(9))
def ec_goes_by_the_el_at_the_exception(u: Unit) -> None:
    """9. EC's choice of same or lower EL is made by the EL that the step ended at."""
    came_down = u.was(u.returns & u.not_pending & ~u.given.load__enable) & u.pending
    lower = u.row.el < u.controls.eld(u.row.el)
    was_there = u.was(u.row.el) == u.controls.eld(u.row.el)
    u.expect(came_down & was_there & lower, out_esr=esr(u, EC=LOWER))
    u.expect(came_down & ~lower, out_esr=esr(u, EC=SAME))


@rule("mistakes", _source(10))
def nothing_synchronous_beats_the_step(u: Unit) -> None:
    """10. An instruction abort, a PC alignment fault, the illegal state or any instruction does not
    come before a pending step exception."""
    before = u.happens & u.pending & (u.kind != Event.INTERRUPT)
    target = u.controls.eld(u.row.el)
    u.expect(before & (u.kind == Event.EXCEPTION), step_exception=1, el_after=target)
    u.expect(before & u.row.il, step_exception=1, illegal_state=0, el_after=target)
    instruction = ~one_of(u.kind, Event.EXCEPTION, Event.DEBUG_EXIT)
    u.expect(before & instruction, step_exception=1, el_after=target)


@rule("mistakes", _source(11))
def destination_has_its_own_security_state(u: Unit) -> None:
    """11. A return from EL3, which is Secure, is judged in the destination's security state: with
    that Non-secure, neither SDD nor the source's ELd counts; with it Secure, SDD does."""
    r, c = Return(u), u.controls_after
    from_el3 = r.happens & (u.row.el == EL.EL3) & c.have_el3 & ~r.illegal & (r.spsr.el != EL.EL3)
    below = r.destination < Mux(c.have_el2 & (c.tge | c.tde), 2, 1)
    aarch64 = ~c.el1_aarch32 & ~c.el2_aarch32
    good = from_el3 & u.written.ss & aarch64 & ~c.locked() & r.spsr.ss
    u.expect(good & c.ns & c.sdd & below, ss_after=1)
    u.expect(good & ~c.ns & c.sdd, ss_after=0)


@rule("mistakes", _source(12))
def ex_is_of_the_last_step(u: Unit) -> None:
    """12. EX tells of the last step only, and is never 1 with ISV = 0."""
    pending = u.pending
    for kind, isv, ex in ((Event.EXECUTE, 1, 0), (Event.LOAD_EXCLUSIVE, 1, 1)):
        stepped = u.was(u.instruction(kind) & u.not_pending & ~u.given.load__enable)
        u.expect(stepped & pending, out_esr=esr(u, ISV=isv, EX=ex))
    unstepped = u.was(u.happens & (u.row.state == StepState.INACTIVE) & ~u.given.load__enable)
    u.expect(unstepped & pending, out_esr=esr(u, ISV=0, EX=0))
    u.expect(pending & ~u.row.out_esr[24], out_esr=esr(u, EX=0))
    u.cover(Cat(u.row.out_esr[6], u.row.out_esr[24]).all())
