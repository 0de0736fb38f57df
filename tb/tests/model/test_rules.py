"""The rules, held against the sentences of the specification. Every bit is typed here again."""

import itertools
from dataclasses import fields

import numpy as np
import pytest

from model import rules
from model.rules import Controls

SS, KDE = 1 << 0, 1 << 13  # MDSCR_EL1
TDE = 1 << 8  # MDCR_EL2
TGE = 1 << 27  # HCR_EL2
NS, EEL2 = 1 << 0, 1 << 18  # SCR_EL3
SDD = 1 << 16  # MDCR_EL3
SUIDEN = 1 << 0  # SDER32_EL3
OSLK = 1 << 1  # OSLSR_EL1

FLAGS = ["have_el2", "have_el3", "have_sel2", "el1_aarch32", "el2_aarch32", "double_lock", "halted"]

# All is implemented and uses AArch64; Non-secure; nothing is locked, stepped or routed to EL2.
PLAIN = {
    "have_el2": 1,
    "have_el3": 1,
    "have_sel2": 1,
    "el1_aarch32": 0,
    "el2_aarch32": 0,
    "mdscr_el1": 0,
    "mdcr_el2": 0,
    "hcr_el2": 0,
    "scr_el3": NS,
    "mdcr_el3": 0,
    "sder32_el3": 0,
    "oslsr_el1": 0,
    "double_lock": 0,
    "halted": 0,
}


def controls(**given):
    values = {**PLAIN, **given}
    return Controls.from_registers(
        **{
            name: np.asarray(value, dtype=np.bool_ if name in FLAGS else np.uint64)[()]
            for name, value in values.items()
        }
    )


def target(secure=False, **given):
    return int(rules.DebugTargetFrom(controls(**given), np.bool_(secure)))


def enabled(el, mask=0, **given):
    c = controls(**given)
    secure = rules.IsSecureAtEL(c, np.uint8(el))
    return bool(rules.GenerateDebugExceptionsFrom(c, np.uint8(el), secure, np.bool_(mask)))


def illegal(from_el, spsr, **given):
    verdict, _ = rules.IllegalExceptionReturn(controls(**given), np.uint8(from_el), np.uint64(spsr))
    return bool(verdict)


def returned(from_el, spsr, **given):
    """The EL of a legal return."""
    verdict, el = rules.IllegalExceptionReturn(
        controls(**given), np.uint8(from_el), np.uint64(spsr)
    )
    assert not verdict
    return int(el)


# 10. Security state


@pytest.mark.parametrize(
    ("el", "scr", "secure"),
    [(0, 0, 1), (1, 0, 1), (2, EEL2, 1), (3, 0, 1), (0, NS, 0), (1, NS, 0), (2, NS, 0), (3, NS, 1)],
)
def test_el3_is_secure_and_below_it_ns_decides(el, scr, secure):
    assert rules.IsSecureAtEL(controls(scr_el3=scr), np.uint8(el)) == secure


@pytest.mark.parametrize("el", range(3))
@pytest.mark.parametrize("scr", [0, NS, EEL2])
def test_without_el3_the_pe_is_non_secure(el, scr):
    assert not rules.IsSecureAtEL(controls(have_el3=0, scr_el3=scr), np.uint8(el))


@pytest.mark.parametrize("ns", [0, NS])
def test_secure_el2_is_enabled_by_eel2_whatever_ns_is(ns):
    assert rules.IsSecureEL2Enabled(controls(scr_el3=EEL2 | ns))
    assert not rules.IsSecureEL2Enabled(controls(scr_el3=ns))


@pytest.mark.parametrize("absent", ["have_el2", "have_el3", "have_sel2"])
def test_secure_el2_is_not_enabled_without(absent):
    assert not rules.IsSecureEL2Enabled(controls(scr_el3=EEL2, **{absent: 0}))


@pytest.mark.parametrize(
    ("given", "is_enabled"),
    [
        ({"scr_el3": NS}, True),
        ({"scr_el3": 0}, False),
        ({"scr_el3": EEL2}, True),
        ({"scr_el3": EEL2, "have_sel2": 0}, False),
        ({"scr_el3": 0, "have_el3": 0}, True),
        ({"scr_el3": NS, "have_el2": 0}, False),
        ({"scr_el3": 0, "have_el2": 0, "have_el3": 0}, False),
    ],
)
def test_el2_enabled(given, is_enabled):
    assert rules.EL2Enabled(controls(**given)) == is_enabled


# 2. Where debug exceptions go


@pytest.mark.parametrize(
    ("hcr", "mdcr", "eld"), [(0, 0, 1), (TGE, 0, 2), (0, TDE, 2), (TGE, TDE, 2)]
)
def test_target_is_el2_with_tge_or_tde(hcr, mdcr, eld):
    assert target(hcr_el2=hcr, mdcr_el2=mdcr) == eld


def test_target_is_read_from_no_other_bit():
    every_bit = (1 << 64) - 1
    assert target(hcr_el2=every_bit ^ TGE, mdcr_el2=every_bit ^ TDE) == 1


@pytest.mark.parametrize(
    ("secure", "given", "eld"),
    [
        (True, {"scr_el3": 0}, 1),
        (True, {"scr_el3": EEL2}, 2),
        (True, {"scr_el3": EEL2, "have_sel2": 0}, 1),
        (False, {"scr_el3": NS}, 2),
        (False, {"scr_el3": NS, "have_sel2": 0}, 2),
        (False, {"have_el3": 0, "scr_el3": 0}, 2),
        (False, {"have_el2": 0}, 1),
    ],
)
def test_target_is_el2_only_where_el2_is_usable(secure, given, eld):
    assert target(secure, hcr_el2=TGE, mdcr_el2=TDE, **given) == eld


@pytest.mark.parametrize(("scr", "eld"), [(NS, 1), (NS | EEL2, 2), (0, 1), (EEL2, 2)])
def test_target_at_el3_is_that_of_secure_state_whatever_ns_is(scr, eld):
    c = controls(mdcr_el2=TDE, scr_el3=scr)
    secure = rules.IsSecureAtEL(c, np.uint8(3))
    assert rules.DebugTargetFrom(c, secure) == eld


# 3. Are they enabled from here?


@pytest.mark.parametrize("lock", [{"oslsr_el1": OSLK}, {"double_lock": 1}, {"halted": 1}])
@pytest.mark.parametrize("el", range(4))
def test_locks_and_debug_state_disable_every_el(lock, el):
    assert not enabled(el, mdscr_el1=KDE, **lock)
    assert not enabled(el, mdscr_el1=KDE, mdcr_el2=TDE, **lock)


def test_os_lock_is_not_bit_0_of_oslsr():
    assert enabled(0, oslsr_el1=0b1001)  # OSLM
    assert not enabled(0, oslsr_el1=0b1010)


@pytest.mark.parametrize(
    ("kde", "mask", "answer"), [(0, 0, 0), (0, 1, 0), (KDE, 0, 1), (KDE, 1, 0)]
)
@pytest.mark.parametrize(("el", "mdcr"), [(1, 0), (2, TDE)])
def test_at_the_target_kde_must_be_1_and_the_mask_0(el, mdcr, kde, mask, answer):
    assert enabled(el, mask, mdscr_el1=kde, mdcr_el2=mdcr) == answer


@pytest.mark.parametrize(("kde", "mask"), [(0, 0), (0, 1), (KDE, 0), (KDE, 1)])
@pytest.mark.parametrize(("el", "mdcr"), [(0, 0), (0, TDE), (1, TDE)])
def test_below_the_target_kde_and_mask_have_no_effect(el, mdcr, kde, mask):
    assert enabled(el, mask, mdscr_el1=kde, mdcr_el2=mdcr)


@pytest.mark.parametrize("scr", [0, NS, EEL2, EEL2 | NS])
@pytest.mark.parametrize("mdcr", [0, TDE])
def test_never_from_el3(scr, mdcr):
    assert not enabled(3, mdscr_el1=KDE | SS, mdcr_el2=mdcr, scr_el3=scr)


def test_never_from_el2_when_the_target_is_el1():
    assert not enabled(2, mdscr_el1=KDE)


def test_mdscr_ss_and_mde_do_not_enable_anything():
    assert not enabled(1, mdscr_el1=SS | 1 << 15)


@pytest.mark.parametrize(
    ("scr", "sdd", "answer"), [(0, 0, 1), (0, SDD, 0), (NS, 0, 1), (NS, SDD, 1)]
)
@pytest.mark.parametrize("el", [0, 1])
def test_sdd_disables_secure_state_alone(el, scr, sdd, answer):
    assert enabled(el, mdscr_el1=KDE, scr_el3=scr, mdcr_el3=sdd) == answer


@pytest.mark.parametrize(("sdd", "answer"), [(0, 1), (SDD, 0)])
def test_sdd_disables_secure_el2(sdd, answer):
    assert enabled(2, mdscr_el1=KDE, scr_el3=EEL2, mdcr_el2=TDE, mdcr_el3=sdd) == answer


@pytest.mark.parametrize("el", [0, 1])
def test_without_el3_sdd_has_no_effect(el):
    assert enabled(el, mdscr_el1=KDE, have_el3=0, scr_el3=0, mdcr_el3=SDD)


@pytest.mark.parametrize(
    ("el", "aarch32", "suiden", "answer"),
    [
        (0, 1, SUIDEN, 1),
        (0, 1, 0, 0),
        (0, 0, SUIDEN, 0),
        (1, 1, SUIDEN, 0),
        (1, 0, SUIDEN, 0),
    ],
)
def test_suiden_enables_secure_el0_where_el1_uses_aarch32(el, aarch32, suiden, answer):
    given = {"scr_el3": 0, "mdcr_el3": SDD, "mdscr_el1": KDE}
    assert enabled(el, el1_aarch32=aarch32, sder32_el3=suiden, **given) == answer


@pytest.mark.parametrize("lock", [{"oslsr_el1": OSLK}, {"double_lock": 1}, {"halted": 1}])
def test_suiden_does_not_open_a_lock(lock):
    assert not enabled(0, scr_el3=0, mdcr_el3=SDD, el1_aarch32=1, sder32_el3=SUIDEN, **lock)


def test_without_el2_its_registers_read_as_0():
    given = {"have_el2": 0, "hcr_el2": TGE, "mdcr_el2": TDE}
    assert target(**given) == 1
    assert enabled(1, mdscr_el1=KDE, **given)
    assert not enabled(1, **given)
    assert returned(1, 0b0101, **given) == 1  # TGE makes no return to EL1 illegal


# 4. The state machine


@pytest.mark.parametrize(
    ("aarch32", "is_enabled", "mdscr_ss", "pstate_ss", "state"),
    [
        *[(1, *x, 0) for x in itertools.product([0, 1], repeat=3)],
        *[(0, 0, *x, 0) for x in itertools.product([0, 1], repeat=2)],
        (0, 1, 0, 0, 0),
        (0, 1, 0, 1, 0),
        (0, 1, 1, 1, 1),
        (0, 1, 1, 0, 2),
    ],
)
@pytest.mark.parametrize("eld", [1, 2])
def test_state_machine(eld, aarch32, is_enabled, mdscr_ss, pstate_ss, state):
    width = {f"el{eld}_aarch32": aarch32, f"el{3 - eld}_aarch32": 1 - aarch32}
    c = controls(mdscr_el1=SS * mdscr_ss, **width)
    values = np.uint8(eld), np.bool_(is_enabled), np.bool_(pstate_ss)
    assert rules.SoftwareStepState(c, *values) == state


# 5. What an exception return writes to PSTATE.SS


def loaded(dest, mask=0, enabled_at_source=False, spsr_ss=True, **given):
    c = controls(**{"mdscr_el1": SS | KDE, **given})
    values = np.bool_(enabled_at_source), np.uint8(dest), np.bool_(mask), np.bool_(spsr_ss)
    return bool(rules.DebugExceptionReturnSS(c, *values))


@pytest.mark.parametrize("dest", [0, 1])
def test_return_loads_ss_if_all_holds(dest):
    assert loaded(dest)
    assert loaded(dest, mdcr_el2=TDE)
    assert not loaded(dest, spsr_ss=False)


def test_return_loads_no_ss_if_mdscr_ss_is_0():
    assert not loaded(0, mdscr_el1=KDE)


def test_return_loads_no_ss_if_the_source_is_enabled():
    assert not loaded(0, enabled_at_source=True)


def test_return_loads_no_ss_if_the_target_of_debug_exceptions_uses_aarch32():
    assert not loaded(0, el1_aarch32=1)
    assert loaded(0, el1_aarch32=1, mdcr_el2=TDE)
    assert not loaded(0, el1_aarch32=1, el2_aarch32=1, mdcr_el2=TDE)


@pytest.mark.parametrize(("kde", "mask", "ss"), [(0, 0, 0), (0, 1, 0), (KDE, 0, 1), (KDE, 1, 0)])
@pytest.mark.parametrize(("dest", "mdcr"), [(1, 0), (2, TDE)])
def test_return_to_the_target_loads_ss_if_kde_and_spsr_d_let_it(dest, mdcr, kde, mask, ss):
    assert loaded(dest, mask, mdscr_el1=SS | kde, mdcr_el2=mdcr) == ss


@pytest.mark.parametrize(
    ("dest", "mdcr", "scr"), [(2, 0, NS), (3, 0, NS), (3, TDE, NS), (3, TDE, EEL2)]
)
def test_return_above_the_target_loads_no_ss(dest, mdcr, scr):
    assert not loaded(dest, mdcr_el2=mdcr, scr_el3=scr)


@pytest.mark.parametrize("lock", [{"oslsr_el1": OSLK}, {"double_lock": 1}])
def test_locked_destination_loads_no_ss(lock):
    assert not loaded(0, **lock)
    assert not loaded(0, halted=1, **lock)


def test_leaving_debug_state_the_destination_is_judged_as_not_halted():
    assert loaded(0, halted=1)


def test_return_judges_the_destination_in_its_own_security_state():
    # From EL3, which is Secure: a Non-secure EL1 is not disabled by SDD, and TDE reaches it.
    assert loaded(1, mdcr_el3=SDD)
    assert not loaded(1, mdcr_el3=SDD, scr_el3=0)
    assert loaded(1, mask=1, mdcr_el2=TDE, mdcr_el3=SDD)
    assert not loaded(1, mask=1, mdcr_el2=TDE, scr_el3=0)


# 7. The exceptions themselves


@pytest.mark.parametrize(
    ("el", "eld", "to"), [(0, 1, 1), (1, 1, 1), (0, 2, 2), (1, 2, 2), (2, 2, 2)]
)
def test_step_exception_goes_to_the_debug_target(el, eld, to):
    assert rules.SoftwareStepTarget(np.uint8(eld), np.uint8(el)) == to


@pytest.mark.parametrize(
    ("same", "isv", "ex", "esr"),
    [
        (1, 0, 0, 0xCE000022),
        (1, 1, 0, 0xCF000022),
        (1, 1, 1, 0xCF000062),
        (0, 0, 0, 0xCA000022),
        (0, 1, 0, 0xCB000022),
        (0, 1, 1, 0xCB000062),
    ],
)
def test_step_syndrome(same, isv, ex, esr):
    assert rules.SoftwareStepSyndrome(np.bool_(same), np.bool_(isv), np.bool_(ex)) == esr


@pytest.mark.parametrize(
    ("last", "choice", "isv", "ex"),
    [
        (0, 0, 0, 0),  # nothing
        (0, 1, 0, 0),
        (1, 0, 1, 0),  # instruction
        (1, 1, 1, 0),
        (2, 0, 1, 1),  # load_exclusive
        (2, 1, 1, 1),
        (3, 0, 0, 0),  # eret_or_isb
        (3, 1, 1, 0),
        (4, 0, 0, 0),  # other_exception
        (4, 1, 1, 0),
        (5, 0, 0, 0),  # other_exception_ex
        (5, 1, 1, 1),
    ],
)
def test_step_syndrome_says_what_was_stepped(last, choice, isv, ex):
    said = rules.SoftwareStepISVEX(np.uint8(last), np.bool_(choice))
    assert tuple(map(int, said)) == (isv, ex)


@pytest.mark.parametrize(
    ("el", "given", "to"),
    [
        (0, {}, 1),
        (1, {}, 1),
        (2, {}, 2),
        (3, {}, 3),
        (0, {"hcr_el2": TGE}, 2),
        (1, {"hcr_el2": TGE}, 1),
        (0, {"mdcr_el2": TDE}, 1),
        (0, {"hcr_el2": TGE, "scr_el3": 0}, 1),
        (0, {"hcr_el2": TGE, "scr_el3": EEL2}, 2),
        (0, {"hcr_el2": TGE, "have_el2": 0}, 1),
    ],
)
def test_illegal_state_exception_goes_to_the_current_el_but_from_el0_up(el, given, to):
    assert rules.IllegalStateTarget(controls(**given), np.uint8(el)) == to


# 9. Exception returns, legal and illegal


@pytest.mark.parametrize(
    ("mode", "el"),
    [(0b0000, 0), (0b0100, 1), (0b0101, 1), (0b1000, 2), (0b1001, 2), (0b1100, 3), (0b1101, 3)],
)
def test_return_to_aarch64_modes_is_legal_from_el3(mode, el):
    assert returned(3, mode) == el


@pytest.mark.parametrize("from_el", [1, 2, 3])
@pytest.mark.parametrize("mode", [m for m in range(16) if m & 0b0010])
def test_m1_set_is_illegal(from_el, mode):
    assert illegal(from_el, mode)


@pytest.mark.parametrize("from_el", [1, 2, 3])
def test_el0_with_its_own_stack_pointer_is_illegal(from_el):
    assert illegal(from_el, 0b0001)


@pytest.mark.parametrize("mode", [0b0100, 0b0101])
def test_aarch64_el1_is_illegal_where_el1_uses_aarch32(mode):
    assert illegal(3, mode, el1_aarch32=1)


@pytest.mark.parametrize("mode", [0b1000, 0b1001])
def test_aarch64_el2_is_illegal_where_el2_uses_aarch32(mode):
    assert illegal(3, mode, el1_aarch32=1, el2_aarch32=1)
    assert returned(3, mode, el1_aarch32=1) == 2


def test_aarch64_el0_is_illegal_where_el1_uses_aarch32():
    assert illegal(2, 0b0000, el1_aarch32=1)


LEGAL32 = {
    0b10000: 0,
    0b10001: 1,
    0b10010: 1,
    0b10011: 1,
    0b10111: 1,
    0b11011: 1,
    0b11111: 1,
    0b11010: 2,
}


@pytest.mark.parametrize("mode", range(0b10000, 0b100000))
def test_aarch32_mode_is_legal_or_not(mode):
    given = {"el1_aarch32": 1, "el2_aarch32": 1}
    if mode in LEGAL32:
        assert returned(3, mode, **given) == LEGAL32[mode]
    else:
        assert illegal(3, mode, **given)


def test_aarch32_el0_is_legal_under_either_width_of_el1():
    assert returned(1, 0b10000) == 0
    assert returned(2, 0b10000, el1_aarch32=1) == 0


@pytest.mark.parametrize("mode", [m for m, el in LEGAL32.items() if el == 1])
def test_aarch32_el1_is_illegal_where_el1_uses_aarch64(mode):
    assert illegal(3, mode)


def test_aarch32_el2_is_illegal_where_el2_uses_aarch64():
    assert illegal(3, 0b11010, el1_aarch32=1)


@pytest.mark.parametrize("scr", [0, EEL2])
def test_aarch32_el2_is_illegal_in_secure_state(scr):
    assert illegal(3, 0b11010, el1_aarch32=1, el2_aarch32=1, scr_el3=scr)


def test_aarch32_el2_is_legal_without_el3_whatever_ns_is():
    # From AArch64 EL2 there is no such return; the rule alone is asked.
    assert returned(2, 0b11010, el1_aarch32=1, el2_aarch32=1, have_el3=0, scr_el3=0) == 2


@pytest.mark.parametrize(
    ("mode", "given"),
    [
        (0b1001, {"have_el2": 0}),
        (0b1000, {"have_el2": 0}),
        (0b11010, {"have_el2": 0, "el1_aarch32": 1, "el2_aarch32": 1}),
        (0b1101, {"have_el3": 0}),
        (0b1100, {"have_el3": 0}),
    ],
)
def test_target_that_is_not_implemented_is_illegal(mode, given):
    assert illegal(3, mode, **given)


@pytest.mark.parametrize(
    ("from_el", "mode"), [(1, 0b1000), (1, 0b1001), (1, 0b1100), (2, 0b1100), (2, 0b1101)]
)
def test_target_above_the_current_el_is_illegal(from_el, mode):
    assert illegal(from_el, mode)


@pytest.mark.parametrize(("from_el", "mode"), [(1, 0b0101), (2, 0b1001), (3, 0b1101)])
def test_return_to_the_same_el_is_legal(from_el, mode):
    assert returned(from_el, mode) == mode >> 2


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        ({"scr_el3": 0}, True),
        ({"scr_el3": EEL2}, False),
        ({"scr_el3": EEL2, "have_sel2": 0}, True),
        ({"scr_el3": NS}, False),
        ({"scr_el3": NS, "have_sel2": 0}, False),
    ],
)
def test_el2_in_secure_state_is_illegal_unless_it_is_enabled(given, verdict):
    assert illegal(3, 0b1001, **given) == verdict


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        ({}, True),
        ({"scr_el3": EEL2}, True),
        ({"scr_el3": 0}, False),
        ({"have_el3": 0, "scr_el3": 0}, True),
        ({"have_el2": 0}, False),
    ],
)
def test_el1_with_tge_is_illegal_where_el2_is_enabled(given, verdict):
    assert illegal(2, 0b0101, hcr_el2=TGE, **given) == verdict


def test_el1_using_aarch32_with_tge_is_illegal():
    assert illegal(2, 0b10011, hcr_el2=TGE, el1_aarch32=1)


@pytest.mark.parametrize("mode", [0b0000, 0b1001])
def test_tge_and_tde_do_not_make_other_targets_illegal(mode):
    assert returned(2, mode, hcr_el2=TGE) == mode >> 2
    assert returned(2, 0b0101, mdcr_el2=TDE) == 1


def test_bits_of_the_spsr_outside_the_mode_do_not_make_a_return_illegal():
    every_other = (1 << 64) - 1 ^ 0b11111
    assert returned(2, every_other | 0b0101) == 1


# One state and many go through the same lines


def random_controls(rng, shape):
    """Controls in which every combination of bits can come, possible for a PE or not."""
    bits = {f.name: rng.random(shape) < 0.5 for f in fields(Controls)}
    return Controls(**bits)


def element(c, at):
    return Controls(**{f.name: getattr(c, f.name)[at] for f in fields(Controls)})


def every_rule(c, el, secure, a, b, last, spsr):
    """All answers of all rules, in the order of the module."""
    eld = rules.DebugTargetFrom(c, secure)
    return [
        rules.IsSecureEL2Enabled(c),
        rules.EL2Enabled(c),
        rules.IsSecureAtEL(c, el),
        rules.ELUsingAArch32(c, el),
        eld,
        rules.GenerateDebugExceptionsFrom(c, el, secure, a),
        rules.SoftwareStepState(c, eld, a, b),
        *rules.ELFromSPSR(c, spsr),
        *rules.IllegalExceptionReturn(c, el, spsr),
        rules.DebugExceptionReturnSS(c, a, el, b, secure),
        rules.IllegalStateTarget(c, el),
        rules.SoftwareStepTarget(eld, el),
        *rules.SoftwareStepISVEX(last, a),
        rules.SoftwareStepSyndrome(secure, a, b),
    ]


@pytest.mark.parametrize("shape", [(1,), (300,), (5, 6, 10), (0,)])
def test_one_state_and_many_have_the_same_answers_in_the_same_shape(seed, shape):
    rng = np.random.default_rng(seed)
    c = random_controls(rng, shape)
    inputs = (
        rng.integers(0, 4, shape, dtype=np.uint8),
        *(rng.random(shape) < 0.5 for _ in range(3)),
        rng.integers(0, 6, shape, dtype=np.uint8),
        rng.integers(0, 1 << 22, shape, dtype=np.uint64),
    )
    many = every_rule(c, *inputs)
    assert [answer.shape for answer in many] == [shape] * len(many)
    for at in np.ndindex(shape):
        one = every_rule(element(c, at), *(value[at] for value in inputs))
        assert [answer.shape for answer in one] == [()] * len(one)
        assert [answer.dtype for answer in one] == [answer.dtype for answer in many]
        assert one == [answer[at] for answer in many]


def test_registers_of_any_shape_make_controls_of_that_shape():
    c = controls(**{name: np.full((2, 3), value) for name, value in PLAIN.items()})
    assert {getattr(c, f.name).shape for f in fields(Controls)} == {(2, 3)}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint64])
def test_select_takes_either_value(dtype):
    condition = np.array([True, False])
    yes, no = np.array([255, 255], dtype=dtype), np.array([0, 7], dtype=dtype)
    assert rules.select(condition, yes, no).tolist() == [255, 7]
    assert rules.select(condition, yes, no).dtype == dtype


def test_choose_takes_either_value():
    condition = np.array([True, True, False, False])
    yes, no = np.array([True, False, True, False]), np.array([False, True, False, True])
    assert rules.choose(condition, yes, no).tolist() == [True, False, False, True]
