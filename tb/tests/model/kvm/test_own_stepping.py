"""The guest's own stepping, kept by a host that steps it, against the PE that runs it alone.

Two PEs are at the same instruction in the same state: on one the guest is alone, the other one is
stepped by a host. What `OwnStepping` makes of the second must be what is on the first.
"""

from dataclasses import replace

import pytest

from model.a64.processor import Processor
from model.arch import EL, Event, Last, Retire, StepState
from model.kvm.own_stepping import OwnStepping, stepped_event, view
from model.kvm.vcpu import Vcpu
from tb.tests.model.a64.pe import (
    ADD_X0_1,
    CODE,
    DAIFCLR_D,
    DAIFSET_D,
    DATA,
    ERET,
    IMO,
    ISB,
    KDE,
    LDXR_X0_X1,
    NOP,
    SVC,
    TDE,
    UNDEFINED,
    VI,
    WINDOW,
    code,
    mrs,
    msr,
    pe_at,
)
from tb.tests.model.kvm.bare import set_pstate, vcpu_of
from tb.tests.model.kvm.guests import EL0T, EL1H, EL1T, MASKED, SS, VECTORS

B_ON = 0x1400_0002  # b .+8
CBZ_ON = 0xB400_0048  # cbz x8, .+8
BR_X5 = 0xD61F_00A0
LDAXP_X0_X2 = 0xC87F_8820  # ldaxp x0, x2, [x1]
MSR_DAIF = msr("DAIF", 3)
MSR_SPSR = msr("SPSR_EL1", 4)
MDSCR_SS = 1 << 0

KINDS = {
    "plain": (ADD_X0_1, NOP, mrs("SPSR_EL1", 6)),
    "load-exclusive": (LDXR_X0_X1, LDAXP_X0_X2),
    "isb": (ISB,),
    "svc": (SVC,),
    "undefined": (UNDEFINED,),
    "eret": (ERET,),
    "msr daif": (MSR_DAIF, DAIFSET_D, DAIFCLR_D),
    "msr spsr": (MSR_SPSR,),
    "branch": (B_ON, CBZ_ON, BR_X5),
}
EVERY_WORD = [word for words in KINDS.values() for word in words]


def random_spsr(rng):
    """What an ERET of EL1 finds: mostly what it can return to."""
    mode = rng.choice([EL0T, EL1T, EL1H] * 4 + [0b1001, 0b0010, 0b1_0000])
    il = rng.random() < 0.1
    return mode | rng.getrandbits(4) << 6 | il << 20 | rng.getrandbits(1) << 21


def random_address(rng):
    """Where it goes on: mostly where something can be fetched."""
    return rng.choice([CODE + 4 * rng.randrange(64)] * 8 + [CODE + 2, WINDOW])


def random_guest(rng) -> Processor:
    """Alone at EL0 or EL1, with control bits of any kind."""
    mdscr = rng.getrandbits(1) | KDE * rng.getrandbits(1)
    locked = rng.random() < 0.2
    x = {
        1: DATA,
        3: rng.getrandbits(4) << 6,
        4: random_spsr(rng),
        5: random_address(rng) & ~3,
        8: rng.getrandbits(1),
    }
    pe = pe_at(
        1,
        NOP,
        x=x,
        MDSCR_EL1=mdscr,
        OSLSR_EL1=0xA if locked else 0x8,
        VBAR_EL1=VECTORS | rng.getrandbits(11),  # its low bits are not part of the address
        SCTLR_EL1=1 << 9 if rng.getrandbits(1) else 0,  # UMA
        SPSR_EL1=random_spsr(rng),
        ELR_EL1=random_address(rng),
    )
    mode = rng.choice([EL0T, EL1T, EL1H])
    il = rng.random() < 0.05
    set_pstate(pe, mode | rng.getrandbits(4) << 6 | il << 20 | rng.getrandbits(1) << 21)
    return pe


def put(pe: Processor, word: int) -> int | None:
    """A word at the PC, if there is memory."""
    if pe.state.pc % 4 or pe.state.pc == WINDOW:
        return None
    pe.write_memory(pe.state.pc, code(word))
    return word


def stepped_by_host(before: Vcpu, word: int | None, hcr: int) -> Vcpu:
    """The registers that the host has saved after a step of a guest that is at a word."""
    pe = pe_at(
        1,
        MDSCR_EL1=before.mdscr_el1 | MDSCR_SS,
        MDCR_EL2=TDE,
        HCR_EL2=hcr,
        OSLSR_EL1=0x8,
        VBAR_EL1=before.vbar_el1,
        SCTLR_EL1=before.sctlr_el1,
        SPSR_EL1=before.spsr_el1,
        ELR_EL1=before.elr_el1,
        ESR_EL1=before.esr_el1,
        FAR_EL1=before.far_el1,
        x=dict(enumerate(before.x)),
    )
    set_pstate(pe, before.spsr | SS)
    pe.state.pc = before.elr
    if word is not None:
        pe.write_memory(before.elr, code(word))
    rows = pe.run(max_rows=2, stop=lambda row: row.target_el == EL.EL2)
    assert rows[-1].state == StepState.ACTIVE_PENDING
    after = vcpu_of(pe)
    sysregs = pe.state.sysregs
    after.spsr, after.elr, after.esr_el2 = (sysregs[f"{n}_EL2"] for n in ("SPSR", "ELR", "ESR"))
    after.mdscr_el1, after.os_lock = before.mdscr_el1, before.os_lock
    return after


def describe(vcpu: Vcpu) -> dict[str, str]:
    registers = ("spsr", "elr", "spsr_el1", "elr_el1", "esr_el1", "far_el1", "mdscr_el1")
    return {name: hex(getattr(vcpu, name)) for name in registers}


def follow(pe: Processor, own: OwnStepping, word: int) -> Retire:
    """One event of the guest, on the PE and as the host has it. Says what it was."""
    there = put(pe, word)
    before = vcpu_of(pe)
    row = pe.step()
    if own.pending(before):
        assert row.state == StepState.ACTIVE_PENDING
        found = replace(before, x=before.x)
        own.take(found)
    else:
        assert row.state != StepState.ACTIVE_PENDING
        found = stepped_by_host(before, there, pe.state.sysregs["HCR_EL2"])
        ss = own.completed(before, found, stepped_event(before, found, there))
        found.spsr = found.spsr & ~SS | ss * SS
    where = f"word {word:#010x}, before {describe(before)}"
    assert describe(found) == describe(vcpu_of(pe)), where
    assert own.last == pe.last, where
    return Retire(row.kind)


# One instruction, and what comes after it


@pytest.mark.parametrize("kind", KINDS)
def test_what_one_instruction_leaves_and_the_exception_after_it_are_those_of_the_pe(rng, kind):
    for _ in range(150):
        pe, own = random_guest(rng), OwnStepping()
        for _ in range(2):
            follow(pe, own, rng.choice(KINDS[kind]))


def test_what_many_instructions_leave_is_what_they_leave_on_the_pe(rng):
    for _ in range(150):
        pe, own = random_guest(rng), OwnStepping()
        for _ in range(8):
            follow(pe, own, rng.choice(EVERY_WORD))


def test_a_virtual_interrupt_leaves_what_it_leaves_on_the_pe(rng):
    seen = 0
    for _ in range(300):
        pe, own = random_guest(rng), OwnStepping()
        for _ in range(3):
            pe.state.sysregs["HCR_EL2"] = IMO | (VI if rng.getrandbits(1) else 0)
            seen += follow(pe, own, rng.choice(EVERY_WORD)) == Retire.VIRQ
    assert seen > 50


@pytest.mark.parametrize(
    ("word", "esr"),
    [(ADD_X0_1, 0xCB00_0022), (LDXR_X0_X1, 0xCB00_0062), (ISB, 0xCB00_0022)],
)
def test_an_el0_that_is_stepped_by_its_el1_gives_the_syndrome_of_what_was_stepped(word, esr):
    before = Vcpu(spsr=EL0T | SS, elr=CODE, mdscr_el1=MDSCR_SS, vbar_el1=VECTORS, x=[DATA] * 31)
    own = OwnStepping()
    assert not own.pending(before)
    found = stepped_by_host(before, word, 0)
    found.spsr &= ~SS
    assert own.completed(before, found, stepped_event(before, found, word)) == 0
    assert own.pending(found)
    own.take(found)
    assert (found.esr_el1, found.elr_el1, found.spsr_el1) == (esr, CODE + 4, EL0T)
    assert (found.elr, found.spsr) == (VECTORS + 0x400, EL1H | MASKED)


def test_a_step_exception_that_nothing_came_before_says_so():
    vcpu = Vcpu(spsr=EL0T, elr=CODE, mdscr_el1=MDSCR_SS, vbar_el1=VECTORS)
    own = OwnStepping()
    assert own.pending(vcpu)
    own.take(vcpu)
    assert vcpu.esr_el1 == 0xCA00_0022
    assert own.last == Last.NOTHING


@pytest.mark.parametrize(
    "changed",
    [
        {"mdscr_el1": 0},
        {"os_lock": 1},
        {"spsr": EL0T | SS},
        {"spsr": EL1H},  # without KDE
        {"spsr": EL1H | 1 << 9, "mdscr_el1": MDSCR_SS | KDE},
    ],
)
def test_nothing_is_pending_without_all_that_it_takes(changed):
    vcpu = replace(Vcpu(spsr=EL0T, mdscr_el1=MDSCR_SS), **changed)
    assert not OwnStepping().pending(vcpu)


def test_an_el1_that_steps_itself_is_pending_with_kde_and_d_clear():
    vcpu = Vcpu(spsr=EL1H, elr=CODE, mdscr_el1=MDSCR_SS | KDE, vbar_el1=VECTORS)
    own = OwnStepping()
    assert own.pending(vcpu)
    own.take(vcpu)
    assert (vcpu.elr, vcpu.esr_el1) == (VECTORS + 0x200, 0xCE00_0022)


def test_the_bits_of_the_host_are_not_in_the_guests_own_view():
    vcpu = Vcpu(mdscr_el1=MDSCR_SS, mdcr_el2=TDE, hcr_el2=1 << 27, os_lock=1)
    assert (view(vcpu).mdcr_el2, view(vcpu).hcr_el2, view(vcpu).oslsr_el1) == (0, 0, 2)


# What has been stepped


def stepped(word, spsr=EL1H | MASKED, **there):
    """The event that the host sees in one step of a word."""
    before = Vcpu(spsr=spsr, elr=CODE, vbar_el1=VECTORS, x=[DATA] * 31, **there)
    return stepped_event(before, stepped_by_host(before, word, 0), word)


@pytest.mark.parametrize(
    ("word", "event"),
    [
        (ADD_X0_1, Event.EXECUTE),
        (LDXR_X0_X1, Event.LOAD_EXCLUSIVE),
        (ISB, Event.ISB),
        (SVC, Event.SVC),
        (UNDEFINED, Event.EXCEPTION),
        (B_ON, Event.EXECUTE),
    ],
)
@pytest.mark.parametrize("spsr", [EL0T, EL1T, EL1H, EL1H | MASKED])
def test_a_step_is_the_event_that_it_is_on_the_pe(word, event, spsr):
    assert stepped(word, spsr) == event


def test_an_eret_is_one():
    assert stepped(ERET, spsr_el1=EL0T, elr_el1=CODE) == Event.ERET


def test_an_eret_of_el0_is_undefined():
    assert stepped(ERET, EL0T, spsr_el1=EL0T, elr_el1=CODE) == Event.EXCEPTION


def test_a_fetch_without_memory_is_an_exception():
    before = Vcpu(spsr=EL1H, elr=WINDOW, vbar_el1=VECTORS)
    assert stepped_event(before, stepped_by_host(before, None, 0), None) == Event.EXCEPTION


def test_an_svc_in_illegal_state_is_an_exception_that_returns_to_it():
    assert stepped(SVC, EL1H | 1 << 20) == Event.EXCEPTION


@pytest.mark.parametrize("word", [B_ON, BR_X5, CBZ_ON, ERET])
def test_a_branch_in_illegal_state_is_an_exception_that_returns_to_it(word):
    assert stepped(word, EL1H | 1 << 20) == Event.EXCEPTION


def interrupted(word, mode):
    """The event that the host sees in a step with a virtual interrupt before a word."""
    before = Vcpu(spsr=mode, elr=CODE, vbar_el1=VECTORS, x=[DATA] * 31)
    after = stepped_by_host(before, word, IMO | VI)
    assert after.elr & 0xFFF in (0x080, 0x280, 0x480)
    return stepped_event(before, after, word)


@pytest.mark.parametrize("word", [ADD_X0_1, SVC, LDXR_X0_X1, UNDEFINED])
@pytest.mark.parametrize("mode", [EL0T, EL1T, EL1H])
def test_a_virtual_interrupt_before_an_instruction_is_an_exception(word, mode):
    assert interrupted(word, mode) in (Event.EXCEPTION, Event.INTERRUPT)


@pytest.mark.parametrize("word", [B_ON, BR_X5, CBZ_ON, ERET])
@pytest.mark.parametrize("mode", [EL0T, EL1T, EL1H])
def test_a_virtual_interrupt_before_a_branch_is_an_exception(word, mode):
    assert interrupted(word, mode) in (Event.EXCEPTION, Event.INTERRUPT)


@pytest.mark.parametrize("spsr_el1", [EL1H | MASKED, EL1H | MASKED | SS])
def test_a_branch_to_a_vector_is_none_though_all_is_as_one_leaves_it(spsr_el1):
    there = {"spsr_el1": spsr_el1, "elr_el1": CODE}
    before = Vcpu(spsr=EL1H | MASKED, elr=CODE, vbar_el1=VECTORS, x=[VECTORS + 0x80] * 31, **there)
    after = stepped_by_host(before, BR_X5, 0)
    assert after.elr == VECTORS + 0x80
    assert stepped_event(before, after, BR_X5) == Event.EXECUTE
