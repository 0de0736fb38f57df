"""Interrupts of the reference PE: which is taken, where to, and what it writes."""

from itertools import product

import pytest

from model.a64.trace import Inputs
from model.arch import EL, Event, Retire
from tb.tests.model.a64.pe import (
    AMO,
    CODE,
    EA,
    EEL2,
    FMO,
    IMO,
    NOP,
    NS,
    RAM_END,
    SCR_FIQ,
    SCR_IRQ,
    TGE,
    UNDEFINED,
    VECTORS,
    VF,
    VI,
    completes,
    has,
    msr,
    pe_at,
    step,
)

# Pin to what routes it to EL3, what to EL2, its mask in DAIF, its kind and its vector.
PINS = {
    "irq": (SCR_IRQ, IMO, 0b0010, Retire.IRQ, 0x080),
    "fiq": (SCR_FIQ, FMO, 0b0001, Retire.FIQ, 0x100),
    "serror": (EA, AMO, 0b0100, Retire.SERROR, 0x180),
}

ALWAYS, BY_MASK, NEVER = "always", "by mask", "never"

#: Target EL to whether an interrupt is taken from EL0, EL1, EL2 and EL3 (D1.13, asynchronous
#: exception masking).
TAKEN = {
    1: (BY_MASK, BY_MASK, NEVER, NEVER),
    2: (ALWAYS, ALWAYS, BY_MASK, NEVER),
    3: (ALWAYS, ALWAYS, ALWAYS, BY_MASK),
}

#: SCR_EL3 besides the routing bit, whether that is set, HCR_EL2's bit, TGE; the target EL. With the
#: ELs where the PE can be so.
ROUTES = [
    (NS, 0, 0, 0, 1, (0, 1, 2, 3)),
    (NS, 0, 1, 0, 2, (0, 1, 2, 3)),
    (NS, 0, 0, 1, 2, (0, 2, 3)),
    (NS, 0, 1, 1, 2, (0, 2, 3)),
    (NS, 1, 0, 0, 3, (0, 1, 2, 3)),
    (NS, 1, 1, 1, 3, (0, 2, 3)),
    (0, 0, 0, 0, 1, (0, 1, 3)),
    (0, 0, 1, 1, 1, (0, 1, 3)),
    (0, 1, 1, 0, 3, (0, 1, 3)),
    (EEL2, 0, 0, 0, 1, (0, 1, 2, 3)),
    (EEL2, 0, 1, 0, 2, (0, 1, 2, 3)),
    (EEL2, 0, 0, 1, 2, (0, 2, 3)),
    (EEL2, 1, 1, 0, 3, (0, 1, 2, 3)),
]


@pytest.mark.parametrize("pin", PINS)
@pytest.mark.parametrize(("scr", "to_el3", "to_el2", "tge", "target", "els"), ROUTES)
def test_routing_and_masking(pin, scr, to_el3, to_el2, tge, target, els):
    scr_bit, hcr_bit, mask, kind, vector = PINS[pin]
    for el, masked in product(els, (0, 1)):
        daif = mask if masked else 0b1111 & ~mask  # the other masks make no difference
        row = step(
            el,
            NOP,
            Inputs(**{pin: 1}),
            daif=daif,
            SCR_EL3=scr | scr_bit * to_el3,
            HCR_EL2=hcr_bit * to_el2 | TGE * tge,
        )
        rule = TAKEN[target][el]
        if rule == NEVER or (rule == BY_MASK and masked):
            assert completes(row), (el, masked)
            continue
        offset = vector + (0x400 if target > el else 0x200)
        assert has(row, kind=kind, target_el=target, el_after=target, event=Event.INTERRUPT)
        assert has(row, pc_after=VECTORS[EL(target)] + offset, elr=CODE, word=0)


@pytest.mark.parametrize("pin", PINS)
def test_nothing_else_routes_a_pin(pin):
    scr_bit, hcr_bit, _, _, _ = PINS[pin]
    others = (SCR_IRQ | SCR_FIQ | EA) & ~scr_bit, (IMO | FMO | AMO) & ~hcr_bit
    row = step(1, NOP, Inputs(**{pin: 1}), SCR_EL3=NS | others[0], HCR_EL2=others[1])
    assert row.target_el == 1


def test_an_interrupt_writes_elr_and_spsr_and_no_syndrome():
    pe = pe_at(1, NOP, daif=0b1001, ESR_EL1=7, FAR_EL1=8)
    pe.state.nzcv, pe.state.ss = 0b0110, 1
    row = pe.step(Inputs(irq=1))
    assert has(row, spsr=0x6020_0245, elr=CODE, sets_esr=0, esr=0, sets_far=0, sets_hpfar=0)
    assert has(row, daif_after=0b1111, ss_after=0, irq=1)
    sysregs = pe.state.sysregs
    assert (sysregs["ESR_EL1"], sysregs["FAR_EL1"]) == (7, 8)
    assert (sysregs["SPSR_EL1"], sysregs["ELR_EL1"]) == (0x6020_0245, CODE)


def test_an_serror_writes_its_syndrome():
    pe = pe_at(1, NOP, FAR_EL1=8)
    assert has(pe.step(Inputs(serror=1)), sets_esr=1, esr=0xBE00_0000, sets_far=0)
    assert pe.state.sysregs["FAR_EL1"] == 8


ALL = {"irq": 1, "fiq": 1, "serror": 1}


@pytest.mark.parametrize(
    ("pins", "daif", "kind"),
    [
        (ALL, 0b0000, Retire.SERROR),
        ({"irq": 1, "fiq": 1}, 0b0000, Retire.FIQ),
        ({"irq": 1, "serror": 1}, 0b0000, Retire.SERROR),
        (ALL, 0b0100, Retire.FIQ),
        (ALL, 0b0101, Retire.IRQ),
        (ALL, 0b0111, Retire.INSTRUCTION),
    ],
)
def test_the_first_that_is_not_masked_wins(pins, daif, kind):
    assert step(1, NOP, Inputs(**pins), daif=daif).kind == kind


def test_an_interrupt_to_a_higher_el_waits_for_a_first_one_to_a_lower():
    # The FIQ goes to EL1, where it is not masked, the IRQ to EL3, where nothing can mask it.
    row = step(1, NOP, Inputs(irq=1, fiq=1), SCR_EL3=NS | SCR_IRQ)
    assert has(row, kind=Retire.FIQ, target_el=1)


@pytest.mark.parametrize(
    ("virtual", "enable", "mask", "kind", "vector"),
    [(VI, IMO, 0b0010, Retire.VIRQ, 0x080), (VF, FMO, 0b0001, Retire.VFIQ, 0x100)],
)
def test_a_virtual_interrupt_goes_to_el1_from_below_el2(virtual, enable, mask, kind, vector):
    pending = {"HCR_EL2": virtual | enable}
    for el, offset in ((0, 0x400), (1, 0x200)):
        row = step(el, NOP, daif=0b1111 & ~mask, **pending)
        assert has(row, kind=kind, target_el=1, elr=CODE, sets_esr=0, event=Event.INTERRUPT)
        assert row.pc_after == VECTORS[EL.EL1] + offset + vector
        assert completes(step(el, NOP, daif=mask, **pending))
        assert completes(step(el, NOP, SCR_EL3=0, **pending))
        assert step(el, NOP, SCR_EL3=EEL2, **pending).kind == kind
        for hcr in (virtual, enable):
            assert completes(step(el, NOP, HCR_EL2=hcr))
    assert completes(step(0, NOP, HCR_EL2=virtual | enable | TGE))
    for el in (2, 3):
        assert completes(step(el, NOP, **pending))


def test_a_virtual_fiq_comes_before_a_virtual_irq_and_after_every_pin():
    pending = {"HCR_EL2": VI | IMO | VF | FMO}
    assert step(1, NOP, **pending).kind == Retire.VFIQ
    assert step(1, NOP, daif=0b0001, **pending).kind == Retire.VIRQ
    assert has(step(1, NOP, Inputs(irq=1), **pending), kind=Retire.IRQ, target_el=2)
    assert has(step(1, NOP, Inputs(serror=1), **pending), kind=Retire.SERROR, target_el=1)


@pytest.mark.parametrize("pc", [CODE + 2, RAM_END])
def test_an_interrupt_comes_before_a_fetch(pc):
    pe = pe_at(1)
    pe.state.pc = pc
    assert has(pe.step(Inputs(irq=1)), kind=Retire.IRQ, elr=pc)


def test_an_interrupt_comes_before_illegal_execution_state_and_saves_it():
    pe = pe_at(1, UNDEFINED)
    pe.state.il = 1
    row = pe.step(Inputs(irq=1))
    assert has(row, kind=Retire.IRQ, spsr=1 << 20 | 0b0101, il_after=0, word=0)


def test_an_interrupt_is_routed_by_the_hcr_that_the_pe_sees():
    pe = pe_at(2, msr("HCR_EL2", 0), NOP, NOP, x={0: IMO}, daif=0)
    pe.step(Inputs(write_seen=0))
    assert completes(pe.step(Inputs(irq=1)))  # to EL1, as far as the PE has seen: not from EL2
    pe = pe_at(2, msr("HCR_EL2", 0), NOP, x={0: IMO}, daif=0)
    pe.step(Inputs(write_seen=1))
    assert pe.step(Inputs(irq=1)).kind == Retire.IRQ


def test_a_level_that_goes_away_interrupts_nothing():
    pe = pe_at(1, NOP, NOP, daif=0b0010)
    assert completes(pe.step(Inputs(irq=1)))
    pe.state.daif = 0
    assert completes(pe.step(Inputs(irq=0)))
