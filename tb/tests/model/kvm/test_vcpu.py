from dataclasses import replace

import pytest

from model.arch import MDCR_EL2
from model.kvm.uapi import KVM_GUESTDBG_ENABLE as ENABLE
from model.kvm.uapi import KVM_GUESTDBG_SINGLESTEP as SINGLESTEP
from model.kvm.vcpu import ASSEMBLER_CONSTANTS, Vcpu, kvm_setup_guest_debug, set_guest_debug

TDE = MDCR_EL2.TDE.mask
ONES = (1 << 64) - 1
SPSR_SS = 1 << 21
MDSCR_SS = 1 << 0


@pytest.mark.parametrize("mdcr_el2", [0, TDE, ONES, ONES & ~TDE])
@pytest.mark.parametrize(
    ("control", "guest_debug", "tde"),
    [
        (0, 0, 0),
        (SINGLESTEP, 0, 0),
        (ENABLE, ENABLE, 0),
        (ENABLE | SINGLESTEP, ENABLE | SINGLESTEP, 1),
        (ENABLE | 0x1_0000, ENABLE | 0x1_0000, 0),
        (SINGLESTEP | 0x1_0000, 0, 0),
    ],
)
def test_set_guest_debug_stores_control_and_routes_single_steps_to_el2(
    control, guest_debug, tde, mdcr_el2
):
    vcpu = Vcpu(guest_debug=0x3, spsr=1, mdscr_el1=2, mdcr_el2=mdcr_el2)
    set_guest_debug(vcpu, control)
    expected_mdcr = mdcr_el2 & ~TDE | MDCR_EL2.TDE.put(tde)
    assert vcpu == Vcpu(guest_debug, spsr=1, mdscr_el1=2, mdcr_el2=expected_mdcr)


@pytest.mark.parametrize("control", [-1, 1 << 32])
def test_a_control_of_more_than_32_bits_is_refused(control):
    with pytest.raises(ValueError) as error:
        set_guest_debug(Vcpu(), control)
    assert str(error.value) == f"control is {control:#x}: it has 32 bits"


@pytest.mark.parametrize("guest_debug", [0, SINGLESTEP])
def test_setup_leaves_a_guest_that_is_not_debugged_alone(guest_debug):
    vcpu = Vcpu(guest_debug, spsr=0x1234_5678, mdscr_el1=0x9ABC, mdcr_el2=0xDE)
    before = replace(vcpu)
    kvm_setup_guest_debug(vcpu)
    assert vcpu == before


@pytest.mark.parametrize("value", [0, ONES, SPSR_SS, MDSCR_SS])
def test_setup_makes_both_ss_bits_follow_single_step(value):
    vcpu = Vcpu(ENABLE | SINGLESTEP, spsr=value, mdscr_el1=value)
    kvm_setup_guest_debug(vcpu)
    assert vcpu == Vcpu(ENABLE | SINGLESTEP, spsr=value | SPSR_SS, mdscr_el1=value | MDSCR_SS)

    vcpu.guest_debug = ENABLE
    kvm_setup_guest_debug(vcpu)
    assert vcpu == Vcpu(ENABLE, spsr=value & ~SPSR_SS, mdscr_el1=value & ~MDSCR_SS)


def test_assembly_gets_the_masks_of_the_kernel_and_an_aligned_offset():
    assert ASSEMBLER_CONSTANTS["DBG_SPSR_SS"] == SPSR_SS
    assert ASSEMBLER_CONSTANTS["DBG_MDSCR_SS"] == MDSCR_SS
    assert ASSEMBLER_CONSTANTS["GUEST_DEBUG"] % 8 == 0
