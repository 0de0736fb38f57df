"""What the host injects is what the reference PE takes by itself, from the same state."""

from functools import partial

import pytest

from model.arch import EL, ExceptionClass
from model.kvm import inject
from model.kvm.vcpu import Vcpu
from tb.tests.model.a64.pe import (
    BRK,
    CODE,
    LDR_X0_X1,
    NOP,
    SMC,
    UNDEFINED,
    WINDOW,
    pe_at,
)
from tb.tests.model.kvm.bare import pstate, set_pstate, vcpu_of
from tb.tests.model.kvm.guests import EL0T, EL1H, EL1T, LOWER_EL, MASKED, SAME_EL, SS, VECTORS

STATES = 20
MODES = pytest.mark.parametrize("mode", [EL0T, EL1T, EL1H], ids=["EL0t", "EL1t", "EL1h"])


def random_guest(rng, mode, *words, pc=CODE):
    """A PE at words in some state of a mode, that takes no step exception."""
    registers = {name: rng.getrandbits(64) for name in ("ELR_EL1", "SPSR_EL1", "ESR_EL1")}
    vbar = VECTORS | rng.getrandbits(11)  # its low bits are not part of the address
    there = {"FAR_EL1": rng.getrandbits(64), "VBAR_EL1": vbar, "SCTLR_EL1": 0, **registers}
    pe = pe_at(1, *words, x={1: WINDOW}, **there)
    pe.state.pc = pc
    set_pstate(pe, mode | rng.getrandbits(4) << 6 | rng.getrandbits(1) << 21)
    pe.state.nzcv = rng.getrandbits(4)
    return pe


def same_as_the_pe(pe, act):
    """Act on the vcpu, and have the PE take its exception."""
    vcpu = vcpu_of(pe)
    act(vcpu)
    row = pe.step()
    assert row.target_el == EL.EL1
    expected = vcpu_of(pe)
    registers = ("spsr", "elr", "spsr_el1", "elr_el1", "esr_el1", "far_el1")
    assert {name: hex(getattr(vcpu, name)) for name in registers} == {
        name: hex(getattr(expected, name)) for name in registers
    }
    assert vcpu == expected
    return True


@MODES
def test_an_undefined_instruction(rng, mode):
    for _ in range(STATES):
        pe = random_guest(rng, mode, UNDEFINED)
        assert same_as_the_pe(pe, inject.inject_undefined)


@MODES
def test_an_external_abort_of_a_load(rng, mode):
    for _ in range(STATES):
        pe = random_guest(rng, mode, LDR_X0_X1)
        assert same_as_the_pe(pe, partial(inject.inject_external_abort, far=WINDOW))


@MODES
def test_an_external_abort_of_a_fetch(rng, mode):
    for _ in range(STATES):
        pe = random_guest(rng, mode, NOP, pc=WINDOW)
        abort = partial(inject.inject_external_abort, far=WINDOW, instruction=True)
        assert same_as_the_pe(pe, abort)


@MODES
def test_a_brk_with_its_immediate(rng, mode):
    for _ in range(STATES):
        pe = random_guest(rng, mode, BRK)
        brk = partial(inject.inject, ec=ExceptionClass.BRK64, iss=0x1234)
        assert same_as_the_pe(pe, brk)


@pytest.mark.parametrize("mode", [EL1T, EL1H])
def test_an_smc_where_there_is_none(rng, mode):
    pe = random_guest(rng, mode, SMC)
    pe.state.sysregs["SCR_EL3"] |= 1 << 7  # SMD
    assert same_as_the_pe(pe, inject.inject_undefined)


def test_the_whole_syndrome_is_taken_as_it_is():
    vcpu = Vcpu(spsr=EL0T | SS, elr=0x1000, vbar_el1=VECTORS, far_el1=7)
    inject.inject_esr(vcpu, 0xCB00_0062)
    expected = Vcpu(
        spsr=EL1H | MASKED,
        elr=VECTORS + LOWER_EL,
        vbar_el1=VECTORS,
        far_el1=7,
        esr_el1=0xCB00_0062,
        spsr_el1=EL0T | SS,
        elr_el1=0x1000,
    )
    assert vcpu == expected


def test_vectors_at_the_end_of_the_address_space_wrap_as_the_pe_has_them():
    top = (1 << 64) - 0x800
    pe = pe_at(1, UNDEFINED, VBAR_EL1=top)
    vcpu = vcpu_of(pe)
    inject.inject_undefined(vcpu)
    pe.step()
    assert vcpu.elr == pe.state.pc == top + SAME_EL


@pytest.mark.parametrize("spsr", [EL0T, EL1T, EL1H])
def test_the_el_of_an_spsr_is_in_its_mode(spsr):
    assert inject.current_el(spsr | MASKED | SS) == (EL.EL1 if spsr else EL.EL0)


def test_pstate_of_a_pe_is_read_as_it_is_set(rng):
    for _ in range(STATES):
        pe = random_guest(rng, EL1H, NOP)
        spsr = pstate(pe)
        set_pstate(pe, spsr)
        assert pstate(pe) == spsr
