"""One event on one PE, held against "First match wins" and sections 4 to 7 of the specification."""

from dataclasses import fields, replace

import numpy as np
import pytest

from model.arch import Event, Last, StepState
from model.columns import to_lines
from model.machine import PE, Effect, Input, after, take

SS, KDE = 1 << 0, 1 << 13  # MDSCR_EL1
TDE = 1 << 8  # MDCR_EL2
TGE = 1 << 27  # HCR_EL2
NS, EEL2 = 1 << 0, 1 << 18  # SCR_EL3
SDD = 1 << 16  # MDCR_EL3
OSLK = 1 << 1  # OSLSR_EL1
EL0T, EL1H, EL2H, EL3H = 0b0000, 0b0101, 0b1001, 0b1101  # SPSR.M
USER32, SVC32 = 0b10000, 0b10011  # SPSR.M with nRW
SPSR_D, SPSR_IL, SPSR_SS = 1 << 9, 1 << 20, 1 << 21

INACTIVE, ACTIVE, PENDING = (
    StepState.INACTIVE,
    StepState.ACTIVE_NOT_PENDING,
    StepState.ACTIVE_PENDING,
)

# A hypervisor steps its guest: ELd is EL2, above EL0 and EL1; EL2 itself is off by KDE = 0.
GUEST = {"mdscr_el1": SS, "mdcr_el2": TDE}
# A kernel steps itself: ELd is EL1, enabled there by KDE and PSTATE.D = 0.
KERNEL = {"mdscr_el1": SS | KDE}

COMPLETING = [Event.EXECUTE, Event.LOAD_EXCLUSIVE, Event.ISB]
CALLS = [Event.SVC, Event.HVC, Event.SMC]
TAKEN = [Event.EXCEPTION, Event.INTERRUPT]


def lines(**given):
    """The columns of a line of the vector file as a PE and an event."""
    return to_lines(given)


def effect(**given):
    line = lines(**given)
    return take(line.pe, line.given)


def holds(said, **expected):
    """Compare members of an Effect, as ints, all at once."""
    assert {name: int(getattr(said, name)) for name in expected} == expected
    return True


def start(**given):
    """A PE; `went` makes its events happen, one after another."""
    return lines(**given).pe


def event(kind, **given):
    return lines(event=kind, **given).given


def went(pe, *events):
    """(the PE after all events, the last effect)."""
    said = None
    for given in events:
        said = take(pe, given)
        pe = after(pe, said)
    return pe, said


# First match wins


@pytest.mark.parametrize("kind", list(Event)[:-1])
@pytest.mark.parametrize("il", [0, 1])
def test_pending_step_comes_before_every_event(kind, il):
    said = effect(**GUEST, il=il, event=kind, target_el=1, spsr=EL0T | SPSR_SS)
    assert holds(said, state=PENDING, step_exception=1, illegal_state=0, el_after=2, esr=0xCA000022)
    assert holds(said, d_after=1, ss_after=0, il_after=0, spsr_saved=1, spsr_ss=0)


@pytest.mark.parametrize("kind", [kind for kind in Event if kind != Event.INTERRUPT])
def test_async_first_is_for_interrupts_alone(kind):
    assert effect(**GUEST, event=kind, target_el=1, async_first=1).step_exception


def test_pending_step_lets_no_write_happen():
    said = effect(**GUEST, event=Event.EXECUTE, d_write=0)
    assert holds(said, step_exception=1, d_after=1)
    said = effect(**GUEST, event=Event.EXECUTE, mdscr_write=0)
    assert holds(said, step_exception=1, mdscr_el1_after=SS, mdscr_el1_written_after=SS)


@pytest.mark.parametrize("kind", [*COMPLETING, *CALLS, Event.ERET])
@pytest.mark.parametrize(
    ("el", "given", "to"),
    [
        (0, {}, 1),
        (1, {}, 1),
        (2, {}, 2),
        (3, {}, 3),
        (0, {"hcr_el2": TGE}, 2),
        (0, {"hcr_el2": TGE, "scr_el3": 0}, 1),
        (1, {"hcr_el2": TGE}, 1),
    ],
)
@pytest.mark.parametrize("ss", [0, 1])
def test_illegal_execution_state_comes_before_an_instruction(kind, el, given, to, ss):
    said = effect(el=el, il=1, ss=ss, event=kind, target_el=3, spsr=EL0T | SPSR_SS, **given)
    assert holds(said, illegal_state=1, step_exception=0, el_after=to, spsr_saved=1, spsr_ss=ss)
    assert holds(said, d_after=1, ss_after=0, il_after=0, esr=0)


def test_illegal_execution_state_lets_no_write_happen():
    said = effect(il=1, event=Event.EXECUTE, d_write=0)
    assert holds(said, illegal_state=1, d_after=1)
    said = effect(il=1, event=Event.EXECUTE, mdscr_write=SS)
    assert holds(said, illegal_state=1, mdscr_el1_after=0, mdscr_el1_written_after=0)


@pytest.mark.parametrize("kind", TAKEN)
def test_exception_and_interrupt_are_taken_with_il_set(kind):
    said = effect(il=1, ss=1, event=kind, target_el=2)
    assert holds(said, illegal_state=0, el_after=2, il_after=0, spsr_saved=1, spsr_ss=1)


def test_debug_exit_happens_with_il_set():
    said = effect(il=1, el=2, halted=1, event=Event.DEBUG_EXIT, spsr=EL1H)
    assert holds(said, illegal_state=0, el_after=1, il_after=0, spsr_saved=0)


@pytest.mark.parametrize("kind", COMPLETING)
@pytest.mark.parametrize("el", [0, 1, 2, 3])
@pytest.mark.parametrize("d", [0, 1])
def test_completed_instruction_clears_ss_and_keeps_the_rest(kind, el, d):
    said = effect(el=el, d=d, ss=1, event=kind)
    assert holds(said, el_after=el, d_after=d, ss_after=0, il_after=0, spsr_saved=0, esr=0)


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("to", [1, 2, 3])
@pytest.mark.parametrize("d", [0, 1])
def test_call_enters_its_target(kind, to, d):
    said = effect(ss=1, d=d, event=kind, target_el=to)
    assert holds(said, el_after=to, d_after=1, ss_after=0, il_after=0, spsr_saved=1, esr=0)


@pytest.mark.parametrize("kind", TAKEN)
@pytest.mark.parametrize("to", [1, 2, 3])
@pytest.mark.parametrize("il", [0, 1])
def test_exception_enters_its_target(kind, to, il):
    said = effect(ss=1, il=il, event=kind, target_el=to)
    assert holds(said, el_after=to, d_after=1, ss_after=0, il_after=0, spsr_saved=1, esr=0)


# 4. The state machine


@pytest.mark.parametrize(
    ("given", "state"),
    [
        (GUEST | {"ss": 1}, ACTIVE),
        (GUEST | {"ss": 0}, PENDING),
        (GUEST | {"ss": 0, "d": 1}, PENDING),
        (GUEST | {"ss": 0, "el": 2}, INACTIVE),
        (GUEST | {"ss": 0, "el": 0}, PENDING),
        (GUEST | {"mdscr_el1": KDE}, INACTIVE),
        (GUEST | {"oslsr_el1": OSLK}, INACTIVE),
        (GUEST | {"double_lock": 1}, INACTIVE),
        (GUEST | {"el1_aarch32": 1}, PENDING),
        (GUEST | {"el1_aarch32": 1, "el2_aarch32": 1}, INACTIVE),
        (KERNEL | {"el1_aarch32": 1, "el": 0}, INACTIVE),
        (KERNEL | {"ss": 1}, ACTIVE),
        (KERNEL, PENDING),
        (KERNEL | {"d": 1}, INACTIVE),
        (KERNEL | {"d": 1, "el": 0}, PENDING),
        (KERNEL | {"el": 2}, INACTIVE),
        (KERNEL | {"el": 3}, INACTIVE),
    ],
)
def test_state_is_derived_from_the_controls(given, state):
    assert effect(event=Event.EXECUTE, **given).state == state


def test_outputs_say_where_debug_exceptions_go_and_whether_they_are_enabled():
    assert holds(effect(**GUEST, event=Event.EXECUTE), eld=2, enabled=1)
    assert holds(effect(**KERNEL, d=1, event=Event.EXECUTE), eld=1, enabled=0)
    assert holds(effect(**GUEST, el=3, event=Event.EXECUTE), eld=1, enabled=0)
    assert holds(effect(**GUEST, el=3, scr_el3=NS | EEL2, event=Event.EXECUTE), eld=2, enabled=0)


def test_halted_disables_debug_exceptions_before_the_event():
    said = effect(**KERNEL, halted=1, event=Event.DEBUG_EXIT, spsr=EL1H)
    assert holds(said, enabled=0, state=INACTIVE, step_exception=0, state_after=PENDING)


@pytest.mark.parametrize(
    "given",
    [
        GUEST | {"el": 1},  # active
        GUEST | {"el": 2},  # inactive, as are the rest
        GUEST | {"el": 1, "oslsr_el1": OSLK},
        KERNEL | {"el": 1, "d": 1},
        {"el": 1},
        {"el": 0, "el1_aarch32": 1, "mdscr_el1": SS},
    ],
)
@pytest.mark.parametrize("kind", COMPLETING)
def test_ss_is_cleared_on_completion_in_every_state(given, kind):
    assert holds(effect(ss=1, event=kind, **given), step_exception=0, ss_after=0)


@pytest.mark.parametrize("write", [0, SS, KDE, SS | KDE])
@pytest.mark.parametrize("seen", [0, 1])
def test_ss_is_cleared_whatever_mdscr_then_reads(write, seen):
    said = effect(**KERNEL, ss=1, event=Event.EXECUTE, mdscr_write=write, mdscr_seen=seen)
    assert holds(said, ss_after=0)


def test_stepped_instruction_leaves_the_step_pending():
    said = effect(**GUEST, ss=1, event=Event.EXECUTE)
    assert holds(said, state=ACTIVE, ss_after=0, state_after=PENDING)


def test_stepped_set_of_d_at_the_target_makes_the_machine_inactive():
    said = effect(**KERNEL, ss=1, event=Event.EXECUTE, d_write=1)
    assert holds(said, state=ACTIVE, d_after=1, state_after=INACTIVE)


def test_stepped_set_of_d_below_the_target_has_no_effect_on_the_step():
    said = effect(**GUEST, ss=1, event=Event.EXECUTE, d_write=1)
    assert holds(said, state=ACTIVE, d_after=1, state_after=PENDING)


def test_clear_of_d_at_the_target_makes_the_step_pending():
    said = effect(**KERNEL, d=1, ss=1, event=Event.EXECUTE, d_write=0)
    assert holds(said, state=INACTIVE, d_after=0, ss_after=0, state_after=PENDING)


def test_interrupt_from_pending_is_taken_first_if_so_chosen():
    given = GUEST | {"event": Event.INTERRUPT, "target_el": 2}
    assert holds(effect(async_first=0, **given), step_exception=1, el_after=2, esr=0xCA000022)
    said = effect(async_first=1, **given)
    assert holds(said, state=PENDING, step_exception=0, el_after=2, spsr_saved=1, spsr_ss=0, esr=0)


# Writes to MDSCR_EL1


@pytest.mark.parametrize(
    ("old", "new", "state_if_unseen", "state_if_seen"),
    [
        (KDE, SS | KDE, INACTIVE, PENDING),
        (SS, SS | KDE, INACTIVE, PENDING),  # KDE included
        (SS | KDE, KDE, PENDING, INACTIVE),
        (SS | KDE, SS, PENDING, INACTIVE),
    ],
)
def test_mdscr_write_is_seen_at_once_or_not_as_chosen(old, new, state_if_unseen, state_if_seen):
    given = {"mdscr_el1": old, "ss": 1, "event": Event.EXECUTE, "mdscr_write": new}
    unseen, seen = effect(mdscr_seen=0, **given), effect(mdscr_seen=1, **given)
    assert holds(unseen, state_after=state_if_unseen, mdscr_el1_after=old)
    assert holds(seen, state_after=state_if_seen, mdscr_el1_after=new)
    assert holds(unseen, mdscr_el1_written_after=new)
    assert holds(seen, mdscr_el1_written_after=new)


def test_stepped_write_that_turns_step_off_unseen_still_leaves_the_step_pending():
    _, said = went(
        start(**KERNEL, ss=1), event(Event.EXECUTE, mdscr_write=KDE, mdscr_seen=0), event(Event.SVC)
    )
    assert holds(said, step_exception=1, esr=0xCF000022)


UNSEEN = event(Event.EXECUTE, mdscr_write=SS | KDE, mdscr_seen=0)


def test_unseen_write_stays_unseen_over_plain_instructions():
    pe, said = went(start(mdscr_el1=KDE), UNSEEN, event(Event.EXECUTE), event(Event.LOAD_EXCLUSIVE))
    assert holds(said, state=INACTIVE, state_after=INACTIVE)
    assert holds(pe, mdscr_el1=KDE, mdscr_el1_written=SS | KDE)


def test_isb_makes_an_unseen_write_seen():
    pe, said = went(start(mdscr_el1=KDE), UNSEEN, event(Event.ISB))
    assert holds(said, state=INACTIVE, state_after=PENDING)
    assert holds(pe, mdscr_el1=SS | KDE)


@pytest.mark.parametrize("kind", [*CALLS, *TAKEN])
def test_exception_entry_makes_an_unseen_write_seen(kind):
    start_pe = start(mdscr_el1=0, mdcr_el2=TDE)
    pe, said = went(start_pe, UNSEEN, event(kind, target_el=1))
    assert holds(said, state=INACTIVE, state_after=PENDING)
    assert holds(pe, mdscr_el1=SS | KDE)


def test_step_exception_makes_an_unseen_write_seen():
    turn_off = event(Event.EXECUTE, mdscr_write=KDE, mdscr_seen=0)
    _, said = went(start(**KERNEL, ss=1), turn_off, event(Event.EXECUTE))
    assert holds(said, step_exception=1, mdscr_el1_after=KDE)


def test_illegal_state_exception_makes_an_unseen_write_seen():
    pe, _ = went(start(mdscr_el1=KDE), UNSEEN)
    said = take(replace(pe, il=np.bool_(True)), event(Event.EXECUTE))
    assert holds(said, illegal_state=1, mdscr_el1_after=SS | KDE)


def test_eret_makes_an_unseen_write_seen_before_its_own_ss_decision():
    _, said = went(start(el=2, d=1, mdcr_el2=TDE), UNSEEN, event(Event.ERET, spsr=EL1H | SPSR_SS))
    assert holds(said, el_after=1, ss_after=1, state_after=ACTIVE, mdscr_el1_after=SS | KDE)


def test_eret_judges_its_source_too_by_the_write_that_it_makes_seen():
    # With KDE = 1 and D = 0 debug exceptions are enabled at EL2, so SS is not loaded.
    _, said = went(start(el=2, mdcr_el2=TDE), UNSEEN, event(Event.ERET, spsr=EL1H | SPSR_SS))
    assert holds(said, state=INACTIVE, el_after=1, ss_after=0, state_after=PENDING)


def test_eret_after_an_unseen_write_that_turned_step_off_loads_no_ss():
    turn_off = event(Event.EXECUTE, mdscr_write=0, mdscr_seen=0)
    _, said = went(start(el=2, **GUEST), turn_off, event(Event.ERET, spsr=EL1H | SPSR_SS))
    assert holds(said, ss_after=0, state_after=INACTIVE)


def test_later_write_replaces_an_unseen_one():
    back = event(Event.EXECUTE, mdscr_write=KDE, mdscr_seen=0)
    _, said = went(start(mdscr_el1=KDE), UNSEEN, back, event(Event.ISB))
    assert holds(said, state_after=INACTIVE, mdscr_el1_after=KDE)


# Other control registers that are written late


def seen_late(pe_columns, after_columns, kind, **given):
    """An event at which a PE with some control bits comes to see others."""
    line = lines(**pe_columns, event=kind, **given)
    return take(line.pe, line.given, lines(**after_columns).pe.controls())


def test_eret_is_armed_by_a_tde_that_it_makes_seen():
    said = seen_late({"el": 2, "mdscr_el1": SS}, GUEST, Event.ERET, spsr=EL1H | SPSR_SS)
    assert holds(said, eld=1, state=INACTIVE, el_after=1, ss_after=1, state_after=ACTIVE)


def test_eret_is_not_armed_by_a_tde_that_it_makes_unseen():
    said = seen_late(
        {"el": 2, **GUEST}, {"mdscr_el1": SS}, Event.ERET, d=1, spsr=EL1H | SPSR_D | SPSR_SS
    )
    assert holds(said, eld=2, el_after=1, ss_after=0, state_after=INACTIVE)


@pytest.mark.parametrize(("before", "after_it", "illegal"), [(0, TGE, 1), (TGE, 0, 0)])
def test_eret_is_legal_by_the_tge_that_it_makes_seen(before, after_it, illegal):
    said = seen_late(
        {"el": 2, "hcr_el2": before}, {"hcr_el2": after_it}, Event.ERET, spsr=EL1H | SPSR_D
    )
    assert holds(said, il_after=illegal, el_after=2 if illegal else 1)


@pytest.mark.parametrize("kind", [*CALLS, *TAKEN])
def test_the_state_after_an_entry_is_by_the_os_lock_that_it_makes_seen(kind):
    locked = {**GUEST, "oslsr_el1": OSLK}
    said = seen_late(locked, GUEST, kind, target_el=1)
    assert holds(said, enabled=0, state=INACTIVE, el_after=1, state_after=PENDING)
    said = seen_late(GUEST, locked, kind, ss=1, target_el=1)
    assert holds(said, enabled=1, state=ACTIVE, el_after=1, state_after=INACTIVE)


def test_a_step_exception_goes_where_the_pe_has_seen_that_it_goes():
    said = seen_late(GUEST, {"mdscr_el1": SS}, Event.EXECUTE)
    assert holds(said, step_exception=1, el_after=2, esr=0xCA000022, state_after=INACTIVE)


def test_an_illegal_state_exception_goes_where_the_pe_has_seen_that_it_goes():
    said = seen_late({"hcr_el2": TGE}, {}, Event.EXECUTE, el=0, il=1)
    assert holds(said, illegal_state=1, el_after=2)


def test_mdscr_is_no_part_of_the_controls_after():
    said = seen_late(GUEST, {"mdcr_el2": TDE, "mdscr_el1": 0}, Event.EXECUTE, ss=1)
    assert holds(said, state_after=PENDING)


# 5. Exception return


@pytest.mark.parametrize("mode", [EL0T, EL1H])
@pytest.mark.parametrize("ss", [0, 1])
def test_eret_from_el2_loads_ss_for_the_guest(mode, ss):
    said = effect(**GUEST, el=2, event=Event.ERET, spsr=mode | SPSR_SS * ss)
    assert holds(said, el_after=mode >> 2, ss_after=ss, state_after=ACTIVE if ss else PENDING)
    assert holds(said, spsr_saved=0, spsr_ss=0, step_exception=0, illegal_state=0)


def test_eret_does_not_clear_the_ss_it_has_just_loaded():
    assert holds(effect(**KERNEL, d=1, event=Event.ERET, spsr=EL0T | SPSR_SS), ss_after=1)


def test_eret_keeps_no_ss_of_its_own():
    assert holds(effect(el=2, ss=1, **GUEST, event=Event.ERET, spsr=EL1H), ss_after=0)


def test_eret_loads_no_ss_where_debug_was_already_enabled():
    said = effect(**KERNEL, ss=1, event=Event.ERET, spsr=EL0T | SPSR_SS)
    assert holds(said, state=ACTIVE, enabled=1, ss_after=0, state_after=PENDING)


def test_eret_judges_the_mask_of_the_destination_by_spsr_d():
    given = KERNEL | {"d": 1, "event": Event.ERET}
    assert holds(effect(spsr=EL1H | SPSR_SS, **given), d_after=0, ss_after=1, state_after=ACTIVE)
    said = effect(spsr=EL1H | SPSR_SS | SPSR_D, **given)
    assert holds(said, d_after=1, ss_after=0, state_after=INACTIVE)


def test_eret_from_el3_uses_the_security_state_of_the_destination():
    # Non-secure EL1 below an EL3 that forbids Secure debug; TDE reaches EL2 from there alone.
    said = effect(el=3, **GUEST, mdcr_el3=SDD, event=Event.ERET, spsr=EL1H | SPSR_SS)
    assert holds(said, eld=1, el_after=1, ss_after=1, state_after=ACTIVE)
    secure = {"scr_el3": 0, "mdcr_el3": SDD}
    said = effect(el=3, **GUEST, **secure, event=Event.ERET, spsr=EL1H | SPSR_SS)
    assert holds(said, el_after=1, ss_after=0, state_after=INACTIVE)


@pytest.mark.parametrize("d", [0, 1])
@pytest.mark.parametrize("spsr_d", [0, SPSR_D])
def test_legal_eret_takes_d_and_il_from_the_spsr(d, spsr_d):
    said = effect(el=2, d=d, event=Event.ERET, spsr=EL1H | spsr_d)
    assert holds(said, el_after=1, d_after=int(spsr_d > 0), il_after=0, nrw_after=0)
    said = effect(el=2, d=d, event=Event.ERET, spsr=EL1H | spsr_d | SPSR_IL)
    assert holds(said, el_after=1, d_after=int(spsr_d > 0), il_after=1)


@pytest.mark.parametrize("d", [0, 1])
@pytest.mark.parametrize("spsr_d", [0, SPSR_D])
def test_eret_to_aarch32_leaves_d_as_it_is(d, spsr_d):
    said = effect(el=2, d=d, event=Event.ERET, spsr=USER32 | spsr_d)
    assert holds(said, el_after=0, d_after=d, il_after=0, nrw_after=1)
    said = effect(el=2, d=d, el1_aarch32=1, event=Event.ERET, spsr=SVC32 | spsr_d)
    assert holds(said, el_after=1, d_after=d, il_after=0, nrw_after=1)


def test_eret_to_aarch32_loads_ss():
    said = effect(**GUEST, el=2, el1_aarch32=1, event=Event.ERET, spsr=SVC32 | SPSR_SS)
    assert holds(said, el_after=1, nrw_after=1, ss_after=1, state_after=ACTIVE)


ILLEGAL = 0b0010  # M<1> is 1


def test_illegal_return_stays_and_sets_il():
    for spsr_il in (0, SPSR_IL):
        said = effect(el=2, event=Event.ERET, spsr=ILLEGAL | spsr_il)
        assert holds(said, el_after=2, il_after=1, nrw_after=0, spsr_saved=0, illegal_state=0)


def test_illegal_return_to_aarch32_stays_in_aarch64():
    said = effect(el=2, event=Event.ERET, spsr=SVC32 | SPSR_D)  # EL1 uses AArch64
    assert holds(said, el_after=2, il_after=1, nrw_after=0, d_after=1)


@pytest.mark.parametrize("d", [0, 1])
@pytest.mark.parametrize("spsr_d", [0, SPSR_D])
def test_illegal_return_takes_d_from_the_spsr(d, spsr_d):
    said = effect(el=2, d=d, event=Event.ERET, spsr=ILLEGAL | spsr_d)
    assert holds(said, d_after=int(spsr_d > 0), il_after=1)


def test_illegal_return_can_still_set_ss():
    said = effect(**KERNEL, d=1, event=Event.ERET, spsr=ILLEGAL | SPSR_SS)
    assert holds(said, el_after=1, il_after=1, d_after=0, ss_after=1, state_after=ACTIVE)


def test_illegal_return_where_debug_is_enabled_loads_no_ss():
    said = effect(**KERNEL, ss=1, event=Event.ERET, spsr=ILLEGAL | SPSR_SS)
    assert holds(said, el_after=1, il_after=1, ss_after=0, state_after=PENDING)


def test_illegal_return_judges_the_current_el_and_not_the_one_it_names():
    said = effect(**GUEST, hcr_el2=TGE, el=2, event=Event.ERET, spsr=EL1H | SPSR_SS)
    assert holds(said, el_after=2, il_after=1, ss_after=0, state_after=INACTIVE)


def test_debug_exit_loads_ss_although_debug_would_be_enabled_at_the_source():
    given = KERNEL | {"halted": 1, "event": Event.DEBUG_EXIT}
    assert holds(effect(spsr=EL0T | SPSR_SS, **given), enabled=0, ss_after=1, state_after=ACTIVE)
    assert holds(effect(spsr=EL0T, **given), ss_after=0, state_after=PENDING)


def test_debug_exit_under_the_double_lock_writes_0():
    said = effect(**KERNEL, halted=1, double_lock=1, event=Event.DEBUG_EXIT, spsr=EL0T | SPSR_SS)
    assert holds(said, el_after=0, ss_after=0, state_after=INACTIVE)


def test_debug_exit_obeys_the_rules_of_a_return():
    given = KERNEL | {"halted": 1, "event": Event.DEBUG_EXIT}
    said = effect(spsr=EL2H | SPSR_SS | SPSR_D, **given)  # above the current EL
    assert holds(said, el_after=1, il_after=1, d_after=1, ss_after=0, spsr_saved=0)
    said = effect(spsr=ILLEGAL | SPSR_SS, **given)
    assert holds(said, el_after=1, il_after=1, d_after=0, ss_after=1, state_after=ACTIVE)
    said = effect(d=1, spsr=USER32, **given)
    assert holds(said, el_after=0, nrw_after=1, d_after=1)


def test_debug_exit_leaves_debug_state():
    pe, _ = went(start(**GUEST, halted=1), event(Event.DEBUG_EXIT, spsr=EL1H | SPSR_SS))
    assert holds(pe, halted=0, ss=1, el=1)


# 6. Exception entry


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("given", [GUEST, KERNEL, {}, GUEST | {"oslsr_el1": OSLK}])
def test_call_saves_ss_0(kind, given):
    said = effect(ss=1, event=kind, target_el=2, **given)
    assert holds(said, spsr_saved=1, spsr_ss=0)


@pytest.mark.parametrize("kind", TAKEN)
@pytest.mark.parametrize("given", [GUEST, KERNEL, {}, GUEST | {"oslsr_el1": OSLK}])
def test_trapped_call_or_interrupt_saves_ss_1(kind, given):
    said = effect(ss=1, event=kind, target_el=2, **given)
    assert holds(said, spsr_saved=1, spsr_ss=1)


@pytest.mark.parametrize("kind", TAKEN)
def test_exception_saves_ss_0_where_it_was_0(kind):
    assert holds(effect(event=kind, target_el=2), spsr_saved=1, spsr_ss=0)


@pytest.mark.parametrize("kind", [*CALLS, *TAKEN])
@pytest.mark.parametrize("el", [0, 1])
def test_exception_to_el1_while_the_target_is_el2_lands_in_active_pending(kind, el):
    said = effect(**GUEST, el=el, ss=1, event=kind, target_el=1)
    assert holds(said, state=ACTIVE, el_after=1, d_after=1, state_after=PENDING)


@pytest.mark.parametrize("kind", [*CALLS, *TAKEN])
def test_exception_to_the_target_lands_in_inactive(kind):
    said = effect(**KERNEL, ss=1, event=kind, target_el=1)
    assert holds(said, state=ACTIVE, el_after=1, d_after=1, state_after=INACTIVE)


def test_step_exception_comes_before_the_first_instruction_of_the_vector():
    _, said = went(start(**GUEST, ss=1), event(Event.EXCEPTION, target_el=1), event(Event.EXECUTE))
    assert holds(said, step_exception=1, el_after=2, spsr_ss=0)


@pytest.mark.parametrize("kind", [*CALLS, *TAKEN])
@pytest.mark.parametrize("d", [0, 1])
def test_exception_to_el1_using_aarch32_has_no_spsr_ss(kind, d):
    said = effect(**GUEST, el=0, d=d, el1_aarch32=1, ss=1, event=kind, target_el=1)
    assert holds(said, state=ACTIVE, el_after=1, nrw_after=1, ss_after=0, state_after=PENDING)
    assert holds(said, spsr_saved=0, spsr_ss=0, d_after=d)  # AArch32 state has no PSTATE.D


# 7. The Software Step exception itself


@pytest.mark.parametrize(
    ("given", "to"),
    [
        (KERNEL | {"el": 0}, 1),
        (KERNEL | {"el": 1}, 1),
        (GUEST | {"el": 0}, 2),
        (GUEST | {"el": 1}, 2),
        ({"mdscr_el1": SS, "hcr_el2": TGE, "el": 0}, 2),
        (GUEST | {"mdscr_el1": SS | KDE, "el": 2}, 2),
        (GUEST | {"el": 0, "scr_el3": 0}, 1),
        (GUEST | {"el": 0, "scr_el3": EEL2}, 2),
        (GUEST | {"el": 0, "have_el2": 0}, 1),
    ],
)
def test_step_exception_goes_to_el2_where_it_is_usable_and_routed(given, to):
    said = effect(event=Event.EXECUTE, **given)
    assert holds(said, step_exception=1, el_after=to, eld=to)
    assert said.esr == (0xCE000022 if given["el"] == to else 0xCA000022)


@pytest.mark.parametrize(
    ("last", "choice", "same", "lower"),
    [
        (Last.NOTHING, 0, 0xCE000022, 0xCA000022),
        (Last.NOTHING, 1, 0xCE000022, 0xCA000022),
        (Last.INSTRUCTION, 0, 0xCF000022, 0xCB000022),
        (Last.INSTRUCTION, 1, 0xCF000022, 0xCB000022),
        (Last.LOAD_EXCLUSIVE, 0, 0xCF000062, 0xCB000062),
        (Last.LOAD_EXCLUSIVE, 1, 0xCF000062, 0xCB000062),
        (Last.ERET_OR_ISB, 0, 0xCE000022, 0xCA000022),
        (Last.ERET_OR_ISB, 1, 0xCF000022, 0xCB000022),
        (Last.OTHER_EXCEPTION, 0, 0xCE000022, 0xCA000022),
        (Last.OTHER_EXCEPTION, 1, 0xCF000022, 0xCB000022),
        (Last.OTHER_EXCEPTION_EX, 0, 0xCE000022, 0xCA000022),
        (Last.OTHER_EXCEPTION_EX, 1, 0xCF000062, 0xCB000062),
    ],
)
def test_step_syndrome_says_what_was_stepped(last, choice, same, lower):
    given = {"last": last, "isv_choice": choice, "event": Event.EXECUTE}
    assert effect(**KERNEL, **given).esr == same
    assert effect(**GUEST, **given).esr == lower


# One event after another

ARM = event(Event.ERET, spsr=EL1H | SPSR_SS)
HYPERVISOR = start(el=2, **GUEST)


@pytest.mark.parametrize(
    ("stepped", "esr"),
    [
        (event(Event.EXECUTE), 0xCB000022),
        (event(Event.EXECUTE, d_write=1), 0xCB000022),
        (event(Event.LOAD_EXCLUSIVE), 0xCB000062),
        (event(Event.ISB), 0xCB000022),
        (event(Event.SVC, target_el=1), 0xCB000022),
        (event(Event.EXCEPTION, target_el=1), 0xCB000022),
        (event(Event.INTERRUPT, target_el=1), 0xCB000022),
        (event(Event.ERET, spsr=EL0T | SPSR_SS), 0xCB000022),
    ],
)
def test_armed_by_eret_one_instruction_then_the_step_exception(stepped, esr):
    armed, said = went(HYPERVISOR, ARM)
    assert holds(said, state=INACTIVE, state_after=ACTIVE)
    done, said = went(armed, stepped)
    assert holds(said, state=ACTIVE, step_exception=0, state_after=PENDING)
    _, said = went(done, event(Event.EXECUTE))
    assert holds(said, step_exception=1, el_after=2, esr=esr, spsr_ss=0, state_after=INACTIVE)


@pytest.mark.parametrize(
    "stepped",
    [
        event(Event.ISB),
        event(Event.ERET, spsr=EL0T | SPSR_SS),
        event(Event.SVC, target_el=1),
        event(Event.EXCEPTION, target_el=1),
        event(Event.INTERRUPT, target_el=1),
    ],
)
def test_isv_is_a_free_choice_after_isb_eret_and_other_exceptions(stepped):
    _, said = went(HYPERVISOR, ARM, stepped, event(Event.EXECUTE, isv_choice=0))
    assert holds(said, step_exception=1, esr=0xCA000022)


@pytest.mark.parametrize("stepped", [Event.EXECUTE, Event.LOAD_EXCLUSIVE])
def test_isv_is_no_choice_after_a_stepped_instruction(stepped):
    _, said = went(HYPERVISOR, ARM, event(stepped), event(Event.EXECUTE, isv_choice=0))
    assert int(said.esr) in (0xCB000022, 0xCB000062)


def test_eret_with_ss_0_steps_nothing():
    _, said = went(HYPERVISOR, event(Event.ERET, spsr=EL1H), event(Event.EXECUTE))
    assert holds(said, step_exception=1, esr=0xCA000022)


def test_last_becomes_nothing_where_nothing_was_stepped():
    pe, _ = went(start(last=Last.LOAD_EXCLUSIVE, el=2, **GUEST), event(Event.EXECUTE))
    assert pe.last == Last.NOTHING
    pe, _ = went(start(last=Last.LOAD_EXCLUSIVE, **GUEST), event(Event.EXECUTE))
    assert pe.last == Last.NOTHING  # the step exception itself


def test_ex_is_not_left_over_in_the_next_step():
    step = event(Event.EXECUTE)
    exclusive = [ARM, event(Event.LOAD_EXCLUSIVE), step]
    pe, said = went(HYPERVISOR, *exclusive)
    assert said.esr == 0xCB000062
    pe, said = went(pe, ARM, step, step)
    assert said.esr == 0xCB000022
    _, said = went(pe, event(Event.ERET, spsr=EL1H), step)
    assert said.esr == 0xCA000022


def test_daifset_then_daifclr_reports_that_nothing_was_stepped():
    set_d, clear_d = event(Event.EXECUTE, d_write=1), event(Event.EXECUTE, d_write=0)
    pe, said = went(start(**KERNEL, ss=1), set_d)
    assert holds(said, state=ACTIVE, state_after=INACTIVE)
    pe, said = went(pe, clear_d)
    assert holds(said, step_exception=0, state_after=PENDING)
    _, said = went(pe, event(Event.EXECUTE))
    assert holds(said, step_exception=1, esr=0xCE000022)


@pytest.mark.parametrize(
    ("stepped", "esr"),
    [(Event.EXECUTE, 0xCB000022), (Event.LOAD_EXCLUSIVE, 0xCB000062)],
)
def test_interrupt_to_el1_taken_first_keeps_what_was_stepped(stepped, esr):
    interrupt = event(Event.INTERRUPT, target_el=1, async_first=1)
    pe, said = went(HYPERVISOR, ARM, event(stepped), interrupt)
    assert holds(said, state=PENDING, spsr_ss=0, el_after=1, state_after=PENDING)
    _, said = went(pe, event(Event.EXECUTE, isv_choice=1))
    assert holds(said, step_exception=1, esr=esr)
    _, said = went(pe, event(Event.EXECUTE, isv_choice=0))
    assert holds(said, step_exception=1, esr=0xCA000022)


def test_interrupt_taken_first_where_nothing_was_stepped_reports_nothing():
    interrupt = event(Event.INTERRUPT, target_el=1, async_first=1)
    _, said = went(start(**GUEST), interrupt, event(Event.EXECUTE, isv_choice=1))
    assert holds(said, step_exception=1, esr=0xCA000022)


def test_interrupted_step_is_armed_again_by_its_spsr():
    pe, said = went(HYPERVISOR, ARM, event(Event.INTERRUPT, target_el=2))
    assert holds(said, state=ACTIVE, spsr_ss=1, el_after=2, state_after=INACTIVE)
    _, said = went(pe, ARM, event(Event.EXECUTE), event(Event.EXECUTE))
    assert holds(said, step_exception=1, esr=0xCB000022)


def test_illegal_return_then_the_illegal_state_exception_saves_the_armed_ss():
    illegal = event(Event.ERET, spsr=ILLEGAL | SPSR_SS)
    _, said = went(start(**KERNEL, d=1), illegal, event(Event.EXECUTE))
    assert holds(said, state=ACTIVE, illegal_state=1, el_after=1, spsr_ss=1, state_after=INACTIVE)


def test_illegal_return_with_ss_0_takes_the_step_before_the_illegal_state():
    _, said = went(start(**KERNEL, d=1), event(Event.ERET, spsr=ILLEGAL), event(Event.EXECUTE))
    assert holds(said, step_exception=1, illegal_state=0, il_after=0, esr=0xCE000022)


def test_after_changes_nothing_but_what_the_effect_says():
    pe = start(**GUEST, el=2, hcr_el2=5, oslsr_el1=8, mdcr_el3=3, sder32_el3=7, have_sel2=0)
    moved, _ = went(pe, ARM)
    same = {f.name for f in fields(PE)} - {"el", "nrw", "d", "ss", "il", "last"}
    assert {name: getattr(moved, name) for name in same} == {
        name: getattr(pe, name) for name in same
    }


# One PE and many


def random_columns(rng, n):
    def flag():
        return rng.integers(0, 2, n)

    return {
        **{name: flag() for name in ("d", "ss", "il", "double_lock", "halted", "isv_choice")},
        **{name: flag() for name in ("el1_aarch32", "el2_aarch32", "mdscr_seen", "async_first")},
        **{name: flag() for name in ("have_el2", "have_el3", "have_sel2", "d_write")},
        "el": rng.integers(0, 4, n),
        "mdscr_el1": flag() * KDE | flag(),
        "mdcr_el2": flag() * TDE,
        "hcr_el2": flag() * TGE,
        "scr_el3": flag() * NS | flag() * EEL2,
        "mdcr_el3": flag() * SDD,
        "sder32_el3": flag(),
        "oslsr_el1": flag() * OSLK,
        "last": rng.integers(0, 6, n),
        "event": rng.integers(0, 10, n),
        "target_el": rng.integers(0, 4, n),
        "spsr": rng.integers(0, 1 << 22, n),
        "mdscr_write": flag() * KDE | flag(),
    }


def test_one_pe_and_many_have_the_same_effects_in_the_same_shape(seed):
    rng = np.random.default_rng(seed)
    n = 300
    columns = random_columns(rng, n)
    present = {"d_write": rng.random(n) < 0.5, "mdscr_write": rng.random(n) < 0.5}
    many = to_lines(columns, present)
    effects = take(many.pe, many.given)
    moved = after(many.pe, effects)
    for at in range(n):
        pe = PE(**{f.name: getattr(many.pe, f.name)[at] for f in fields(PE)})
        given = Input(**{f.name: getattr(many.given, f.name)[at] for f in fields(Input)})
        one = take(pe, given)
        assert {getattr(one, f.name).shape for f in fields(Effect)} == {()}
        assert one == Effect(**{f.name: getattr(effects, f.name)[at] for f in fields(Effect)})
        assert after(pe, one) == PE(**{f.name: getattr(moved, f.name)[at] for f in fields(PE)})


def test_shape_of_the_lines_is_the_shape_of_the_effect():
    columns = {"el": np.ones((4, 5), dtype=np.uint8), "event": Event.EXECUTE}
    said = effect(**columns)
    assert {getattr(said, f.name).shape for f in fields(Effect)} == {(4, 5)}
