"""Claims about the step unit: exception returns, and what they write to PSTATE.SS.

Sections 5 and 9 of the specification. A return synchronises the context first: it is judged by
MDSCR_EL1 as written and by the controls as they are after it. It comes from AArch64 state.
"""

from amaranth.hdl import Const, Mux, Value

from model.arch import EL, Event, StepState
from tb.proofs.manual import either, shared
from tb.proofs.property import Unit, rule

_5 = "section 5; D2.12.4"
_9 = "section 9; D1.11"


class Return:
    """An exception return or Debug exit, in the words of the specification."""

    def __init__(self, u: Unit):
        self.c = c = u.controls_after
        self.spsr = spsr = u.spsr
        self._u = u
        self.happens = u.returns & ~u.row.nrw
        target = spsr.el
        width = Mux(target == EL.EL2, c.el2_aarch32, c.el1_aarch32)  # EL0 goes by EL1's
        self.no_such_mode = spsr.no_such_mode
        self.wrong_width_64 = ~spsr.nrw & (target != EL.EL3) & width
        self.wrong_width_32 = spsr.nrw & (target != EL.EL0) & ~width
        self.hyp_in_secure_state = spsr.nrw & (target == EL.EL2) & c.have_el3 & ~c.ns
        self.not_implemented = either(
            (target == EL.EL2) & ~c.have_el2, (target == EL.EL3) & ~c.have_el3
        )
        self.above = target > u.row.el
        self.el2_not_enabled = (target == EL.EL2) & c.have_el3 & ~c.ns & ~c.secure_el2
        self.el1_under_tge = (target == EL.EL1) & c.el2_enabled & c.tge
        illegal = either(
            self.no_such_mode,
            self.wrong_width_64,
            self.wrong_width_32,
            self.hyp_in_secure_state,
            self.not_implemented,
            self.above,
            self.el2_not_enabled,
            self.el1_under_tge,
        )
        self.illegal = shared(u.m, illegal)
        self.destination = shared(u.m, Mux(self.illegal, u.row.el, target))  # an illegal one: here

    @property
    def enabled_at_source(self) -> Value:
        """Debug exceptions are enabled at the source; in Debug state they are not."""
        row, u = self._u.row, self._u
        return self.c.enabled(row.el, u.written.kde, row.d, u.halted)

    @property
    def enabled_at_destination(self) -> Value:
        """They are enabled at the destination, in its security state, outside Debug state."""
        kde = self._u.written.kde
        return self.c.enabled(self.destination, kde, self.spsr.d, Const(0))

    @property
    def eld_aarch64(self) -> Value:
        """ELd, for the destination's security state, uses AArch64."""
        return ~self.c.eld_aarch32(self.destination)


@rule("return", _5)
def copies_ss_if_all_hold(u: Unit) -> None:
    """PSTATE.SS := SPSR.SS if MDSCR_EL1.SS is 1, ELd uses AArch64, and debug exceptions are
    disabled at the source and enabled at the destination."""
    r = Return(u)
    at_both = ~r.enabled_at_source & r.enabled_at_destination
    all_hold = r.happens & u.written.ss & r.eld_aarch64 & at_both
    u.expect(all_hold & r.spsr.ss, ss_after=1, state_after=StepState.ACTIVE_NOT_PENDING)
    u.expect(all_hold & ~r.spsr.ss, ss_after=0, state_after=StepState.ACTIVE_PENDING)


@rule("return", _5)
def writes_0_without_mdscr_ss(u: Unit) -> None:
    """With MDSCR_EL1.SS = 0 a return writes 0 to PSTATE.SS."""
    u.expect(Return(u).happens & ~u.written.ss, ss_after=0)


@rule("return", _5)
def writes_0_under_an_aarch32_eld(u: Unit) -> None:
    """With ELd using AArch32 a return writes 0 to PSTATE.SS."""
    r = Return(u)
    u.expect(r.happens & ~r.eld_aarch64, ss_after=0, state_after=StepState.INACTIVE)


@rule("return", _5)
def writes_0_if_enabled_at_the_source(u: Unit) -> None:
    """With debug exceptions enabled at the source a return writes 0 to PSTATE.SS."""
    r = Return(u)
    u.expect(r.happens & r.enabled_at_source, ss_after=0)
    u.cover(r.happens & r.enabled_at_source & r.enabled_at_destination & u.written.ss & r.spsr.ss)


@rule("return", _5)
def writes_0_if_disabled_at_the_destination(u: Unit) -> None:
    """With debug exceptions disabled at the destination a return writes 0 to PSTATE.SS."""
    r = Return(u)
    u.expect(r.happens & ~r.enabled_at_destination, ss_after=0)
    u.cover(r.happens & ~r.enabled_at_destination & u.written.ss & r.spsr.ss)


@rule("return", _5)
def debug_exit_comes_from_where_they_are_disabled(u: Unit) -> None:
    """On leaving Debug state they count as disabled at the source, whatever KDE and PSTATE.D say;
    the destination is judged outside Debug state."""
    r = Return(u)
    leaves = r.happens & u.is_(Event.DEBUG_EXIT) & u.halted
    good = leaves & u.written.ss & r.eld_aarch64 & r.enabled_at_destination
    u.expect(good, ss_after=r.spsr.ss)
    u.cover(good & r.spsr.ss & r.c.enabled(u.row.el, u.written.kde, u.row.d, Const(0)))


@rule("return", _5)
def illegal_return_counts_as_one_to_the_current_el(u: Unit) -> None:
    """The rule applies to an illegal return with the current EL as destination: it can set SS."""
    r, el, c = Return(u), u.row.el, u.controls_after
    at_home = c.enabled(el, u.written.kde, r.spsr.d, Const(0)) & ~c.eld_aarch32(el)
    good = r.happens & r.illegal & u.written.ss & ~r.enabled_at_source & at_home
    u.expect(good, ss_after=r.spsr.ss, el_after=el, il_after=1)
    u.cover(good & r.spsr.ss)


@rule("return", _5)
def double_lock_at_the_destination_writes_0(u: Unit) -> None:
    """Where the double lock disables the destination, this project writes 0 to PSTATE.SS."""
    u.expect(Return(u).happens & u.controls_after.double_lock, ss_after=0)


@rule("return", _5)
def synchronises_first(u: Unit) -> None:
    """A return is judged by MDSCR_EL1 and by the controls as they were written, seen or not."""
    r = Return(u)
    good = r.eld_aarch64 & ~r.enabled_at_source & r.enabled_at_destination & r.spsr.ss & r.happens
    u.expect(good & ~u.seen.ss & u.written.ss, ss_after=1)
    u.expect(good & u.seen.ss & ~u.written.ss, ss_after=0)
    u.expect(good & u.written.ss & u.controls.oslk, ss_after=1)


# Legal and illegal


def _stays(u: Unit, r: Return, clause: Value) -> None:
    """It is illegal: EL and width stay, PSTATE.IL becomes 1."""
    u.expect(r.happens & clause, el_after=u.row.el, nrw_after=u.row.nrw, il_after=1)


@rule("legality", _9)
def no_such_mode(u: Unit) -> None:
    """A return is illegal if SPSR.M names no mode: M<1> = 1 or 0b0001 of AArch64, or none of
    AArch32's eight."""
    r = Return(u)
    _stays(u, r, r.no_such_mode & ~r.spsr.nrw)
    _stays(u, r, r.no_such_mode & r.spsr.nrw)


@rule("legality", _9)
def target_of_the_other_width(u: Unit) -> None:
    """A return is illegal to AArch64 where the EL, or EL1 above EL0, uses AArch32; and to AArch32
    EL1 or EL2 where that uses AArch64."""
    r = Return(u)
    for el in (EL.EL0, EL.EL1, EL.EL2):
        _stays(u, r, r.wrong_width_64 & (r.spsr.el == el))
    for el in (EL.EL1, EL.EL2):
        _stays(u, r, r.wrong_width_32 & (r.spsr.el == el))


@rule("legality", _9)
def hyp_mode_in_secure_state(u: Unit) -> None:
    """A return to AArch32 EL2 is illegal with EL3 and NS = 0."""
    r = Return(u)
    _stays(u, r, r.hyp_in_secure_state)


@rule("legality", _9)
def target_not_implemented(u: Unit) -> None:
    """A return to an EL that is not implemented is illegal."""
    r = Return(u)
    _stays(u, r, r.not_implemented & (r.spsr.el == EL.EL2))
    _stays(u, r, r.not_implemented & (r.spsr.el == EL.EL3))


@rule("legality", _9)
def target_above(u: Unit) -> None:
    """A return to an EL above the current one is illegal."""
    r = Return(u)
    _stays(u, r, r.above)


@rule("legality", _9)
def el2_not_enabled(u: Unit) -> None:
    """A return to EL2 is illegal with EL3, NS = 0 and Secure EL2 not enabled."""
    r = Return(u)
    _stays(u, r, r.el2_not_enabled & ~r.spsr.nrw)


@rule("legality", _9)
def el1_under_tge(u: Unit) -> None:
    """A return to EL1 is illegal with EL2 enabled and HCR_EL2.TGE = 1."""
    r = Return(u)
    _stays(u, r, r.el1_under_tge)


@rule("legality", _9)
def all_others_are_legal(u: Unit) -> None:
    """A legal return takes EL and width from SPSR.M and PSTATE.IL from SPSR.IL."""
    r = Return(u)
    legal = r.happens & ~r.illegal
    u.expect(legal, el_after=r.spsr.el, nrw_after=r.spsr.nrw, il_after=r.spsr.il)
    for el in EL:
        u.cover(legal & (r.spsr.el == el))
    u.cover(legal & r.spsr.nrw)


@rule("legality", _9)
def d_comes_from_the_spsr(u: Unit) -> None:
    """Legal or not, a return takes PSTATE.D from the SPSR; to AArch32 it leaves it alone."""
    r = Return(u)
    u.expect(r.happens & ~u.row.nrw_after, d_after=r.spsr.d)
    u.expect(r.happens & u.row.nrw_after, d_after=u.row.d)


@rule("legality", _9)
def return_takes_no_exception(u: Unit) -> None:
    """A return, legal or not, saves no SPSR: an illegal one has its exception at the next
    instruction."""
    r = Return(u)
    u.expect(r.happens, spsr_saved=0, spsr_ss=0, step_exception=0, illegal_state=0)
    left_illegal = u.was(r.happens & r.illegal & ~u.given.load__enable)
    u.expect(left_illegal & u.is_(Event.EXECUTE) & ~u.pending, illegal_state=1)
