"""Claims about the step unit: exceptions taken, and the Software Step exception itself.

Sections 6 and 7 of the specification. An exception goes where the PE, as it is, sends it; the
context is synchronised with it, so that what comes next is judged by the controls after it.
"""

from amaranth.hdl import Cat, Const, Mux, Value

from model.arch import EL, Event, Last, StepState
from tb.proofs.manual import either, one_of
from tb.proofs.property import Unit, rule

_6 = "section 6; D1.10"
_7 = "section 7; D2.12.5"
_ISS = "section 7; D2.12.6"

LOWER, SAME = 0x32, 0x33  #: EC
IFSC = 0b100010

# Exception entry


def target_aarch32(u: Unit) -> Value:
    """The EL that the exception is taken to uses AArch32."""
    c, el = u.controls, u.row.el_after
    return either((el == EL.EL1) & c.el1_aarch32, (el == EL.EL2) & c.el2_aarch32)


@rule("entry", _6)
def masks_and_clears(u: Unit) -> None:
    """Exception entry sets PSTATE.D to 1 and PSTATE.SS and PSTATE.IL to 0."""
    for enters in (u.step, u.interrupted, u.illegal_state, u.calls):
        u.expect(enters & ~target_aarch32(u), ss_after=0, d_after=1, il_after=0, nrw_after=0)


@rule("entry", _6)
def saves_ss(u: Unit) -> None:
    """An exception taken instead of an instruction saves the old PSTATE.SS in SPSR.SS."""
    for instead in (u.interrupted, u.illegal_state):
        u.expect(instead & ~target_aarch32(u), spsr_saved=1, spsr_ss=u.row.ss)
        u.cover(instead & u.not_pending & ~target_aarch32(u))


@rule("entry", _6)
def calls_save_0(u: Unit) -> None:
    """SVC, HVC and SMC complete first, and so save SPSR.SS = 0, in every state."""
    for call in (Event.SVC, Event.HVC, Event.SMC):
        u.expect(u.instruction(call) & ~target_aarch32(u), spsr_saved=1, spsr_ss=0)
        u.cover(u.instruction(call) & u.not_pending & ~target_aarch32(u))


@rule("entry", _6)
def step_exception_saves_0(u: Unit) -> None:
    """When a step exception is taken the step has completed: SPSR.SS is 0."""
    u.expect(u.step & ~target_aarch32(u), spsr_saved=1, spsr_ss=0)


@rule("entry", _6)
def interrupt_before_the_step_saves_0(u: Unit) -> None:
    """An asynchronous exception taken while active-pending saves SPSR.SS = 0."""
    u.expect(u.interrupted & u.pending & ~target_aarch32(u), spsr_saved=1, spsr_ss=0)


@rule("entry", _6)
def to_aarch32_saves_no_ss(u: Unit) -> None:
    """An exception to an EL using AArch32 has no SPSR.SS and leaves PSTATE.D alone."""
    to_aarch32 = u.enters & target_aarch32(u)
    u.expect(to_aarch32, spsr_saved=0, spsr_ss=0, ss_after=0, nrw_after=1, d_after=u.row.d)


@rule("entry", _6)
def goes_where_it_is_sent(u: Unit) -> None:
    """An exception or a call is taken to the EL that it is routed to."""
    u.expect(u.interrupted | u.calls, el_after=u.given.event__target_el, step_exception=0)


@rule("entry", "section 6; D1.12")
def illegal_state_goes_up_from_el0_alone(u: Unit) -> None:
    """PSTATE.IL = 1 makes an instruction the Illegal Execution state exception, which is taken to
    the current EL, from EL0 to EL1, or to EL2 if that is enabled with TGE = 1."""
    c, el = u.controls, u.row.el
    to_el2 = c.el2_enabled & c.tge
    u.expect(u.illegal_state & (el != EL.EL0), illegal_state=1, el_after=el)
    u.expect(u.illegal_state & (el == EL.EL0) & to_el2, illegal_state=1, el_after=EL.EL2)
    u.expect(u.illegal_state & (el == EL.EL0) & ~to_el2, illegal_state=1, el_after=EL.EL1)
    u.expect(u.happens & ~u.row.il, illegal_state=0)


def _steps_from_el2(u: Unit) -> Value:
    """A hypervisor steps EL1: ELd is EL2 using AArch64, enabled, MDSCR_EL1.SS = 1."""
    c, el1 = u.controls_after, Const(EL.EL1, 2)
    enabled = c.enabled(el1, Const(0), Const(1), Const(0))
    return u.written_after.ss & c.goes_to_el2(el1) & ~c.el2_aarch32 & enabled


@rule("entry", _6)
def to_el1_is_pending_at_once(u: Unit) -> None:
    """An exception taken to EL1 while ELd is EL2 lands in active-pending."""
    for width in (target_aarch32(u), ~target_aarch32(u)):
        lands = u.enters & (u.row.el_after == EL.EL1) & _steps_from_el2(u)
        u.expect(lands & width, state_after=StepState.ACTIVE_PENDING)


@rule("entry", _6)
def step_comes_before_the_vectors_first_instruction(u: Unit) -> None:
    """There the step exception comes before the first instruction of the vector, to EL2."""
    lands = u.enters & (u.row.el_after == EL.EL1) & _steps_from_el2(u) & ~u.given.load__enable
    same_controls = Cat(
        port == u.was(u.given.__dict__[name.replace("controls__", "controls_after__")])
        for name, port in u.inputs.items()
        if name.startswith("controls__")
    ).all()
    first = u.was(lands) & same_controls & ~u.halted & u.is_(Event.EXECUTE, Event.EXCEPTION)
    u.expect(first, step_exception=1, el_after=EL.EL2, pc=u.given.event__pc)


# The Software Step exception


@rule("step", _7)
def target(u: Unit) -> None:
    """It is taken to EL2 from EL2, and from EL0 and EL1 with EL2 usable and TGE or TDE; else to
    EL1; never from EL3."""
    c, el = u.controls, u.row.el
    to_el2 = c.el2_enabled & (c.tge | c.tde)
    u.expect(u.pending & (el == EL.EL2), out_target_el=EL.EL2)
    u.expect(u.pending & (el <= EL.EL1) & to_el2, out_target_el=EL.EL2)
    u.expect(u.pending & (el <= EL.EL1) & ~to_el2, out_target_el=EL.EL1)
    u.expect(u.happens & (el == EL.EL3), step_exception=0)


@rule("step", _7)
def is_taken_to_its_target(u: Unit) -> None:
    """It is taken to its target, and reports the instruction that was not executed, and its ESR."""
    row = u.row
    u.expect(u.step, el_after=row.out_target_el, esr=row.out_esr, pc=u.given.event__pc)


def esr(u: Unit, **fields: Value | int) -> Value:
    """The ESR that the unit reports, some of its fields as they must be."""
    whole = u.row.out_esr
    parts = {
        "IFSC": whole[:6],
        "EX": whole[6],
        "RES0": whole[7:24],
        "ISV": whole[24],
        "IL": whole[25],
        "EC": whole[26:32],
        "ISS2": whole[32:],
    }
    for name, value in fields.items():
        parts[name] = Const(value, len(parts[name])) if isinstance(value, int) else value
    return Cat(parts.values())


@rule("step", _7)
def esr_is_a_steps(u: Unit) -> None:
    """IL is 1, IFSC 0b100010, and every bit but EC, ISV and EX is 0."""
    u.expect(u.pending, out_esr=esr(u, IL=1, IFSC=IFSC, RES0=0, ISS2=0))


@rule("step", _7)
def ec_is_of_the_el_it_comes_from(u: Unit) -> None:
    """EC is 0x33 when the exception is taken to the current EL, else 0x32."""
    same = u.row.out_target_el == u.row.el
    u.expect(u.pending & same, out_esr=esr(u, EC=SAME))
    u.expect(u.pending & ~same, out_esr=esr(u, EC=LOWER))


@rule("step", _ISS)
def isv_and_ex_of_what_was_stepped(u: Unit) -> None:
    """ISV is 0 when nothing was stepped, else 1; EX is 1 for a load-exclusive only. After an ISB,
    an exception return or another exception taken first, ISV is a free choice."""
    last, choice = u.row.last, u.given.choice__isv_choice
    u.expect(u.pending & (last == Last.NOTHING), out_esr=esr(u, ISV=0, EX=0))
    u.expect(u.pending & (last == Last.INSTRUCTION), out_esr=esr(u, ISV=1, EX=0))
    u.expect(u.pending & (last == Last.LOAD_EXCLUSIVE), out_esr=esr(u, ISV=1, EX=1))
    free = one_of(last, Last.ERET_OR_ISB, Last.OTHER_EXCEPTION)
    u.expect(u.pending & free, out_esr=esr(u, ISV=choice, EX=0))
    exclusive = last == Last.OTHER_EXCEPTION_EX
    u.expect(u.pending & exclusive, out_esr=esr(u, ISV=choice, EX=choice))


@rule("step", _ISS)
def ex_needs_isv(u: Unit) -> None:
    """EX is 0 whenever ISV is 0."""
    u.expect(~u.row.out_esr[24], out_esr=esr(u, EX=0))


# What it can say of what was stepped


def _then(u: Unit, event: Value, last: Value | int) -> None:
    """After this event, this is what was stepped."""
    u.expect(u.was(event & ~u.given.load__enable), last=last)


@rule("stepped", _ISS)
def instruction(u: Unit) -> None:
    """An instruction that completes in active-not-pending was stepped, whichever it is."""
    stepped = u.completes & u.not_pending
    _then(u, stepped & (u.kind == Event.EXECUTE), Last.INSTRUCTION)
    _then(u, stepped & (u.kind == Event.LOAD_EXCLUSIVE), Last.LOAD_EXCLUSIVE)
    _then(u, stepped & (u.kind == Event.ISB), Last.ERET_OR_ISB)


@rule("stepped", _ISS)
def exception_return(u: Unit) -> None:
    """An exception return in active-not-pending was stepped: ISV is a free choice."""
    _then(u, u.returns & u.not_pending, Last.ERET_OR_ISB)


@rule("stepped", _ISS)
def exception_taken_first(u: Unit) -> None:
    """In active-not-pending, another exception comes first: ISV is a free choice, EX is 0."""
    for enters in (u.interrupted, u.illegal_state, u.calls):
        _then(u, enters & u.not_pending, Last.OTHER_EXCEPTION)


@rule("stepped", _ISS)
def nothing(u: Unit) -> None:
    """What happens while inactive is not stepped, and a step exception ends the step."""
    _then(u, u.happens & (u.row.state == StepState.INACTIVE), Last.NOTHING)
    _then(u, u.step, Last.NOTHING)


@rule("stepped", _ISS)
def not_forgotten_by_an_interrupt(u: Unit) -> None:
    """An interrupt before the step exception leaves known what was stepped: a load-exclusive, or
    another instruction, or nothing."""
    first = u.interrupted & u.pending
    was = u.row.last
    exclusive = one_of(was, Last.LOAD_EXCLUSIVE, Last.OTHER_EXCEPTION_EX)
    nothing_was = was == Last.NOTHING
    last = Mux(exclusive, Last.OTHER_EXCEPTION_EX, Last.OTHER_EXCEPTION)
    _then(u, first & nothing_was, Last.NOTHING)
    u.expect(u.was(first & ~nothing_was & ~u.given.load__enable), last=u.was(last))
