import struct
from dataclasses import fields, replace

import pytest

from model.arch import MDCR_EL2
from model.kvm.uapi import KVM_GUESTDBG_ENABLE as ENABLE
from model.kvm.uapi import KVM_GUESTDBG_SINGLESTEP as SINGLESTEP
from model.kvm.vcpu import (
    ASSEMBLER_CONSTANTS,
    OFFSETS,
    SIZE,
    Vcpu,
    kvm_setup_guest_debug,
    set_guest_debug,
)

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
        (ENABLE | 0x1_0000, ENABLE | 0x1_0000, 1),
        (SINGLESTEP | 0x1_0000, 0, 0),
    ],
)
def test_set_guest_debug_stores_control_and_routes_steps_and_software_breakpoints_to_el2(
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


def test_assembly_gets_the_numbers_of_the_kernel_and_the_offset_of_guest_debug():
    assert {
        "GUEST_DEBUG": OFFSETS["guest_debug"],
        "KVM_GUESTDBG_ENABLE_SHIFT": 0,
        "KVM_GUESTDBG_SINGLESTEP_SHIFT": 1,
        "KVM_GUESTDBG_ENABLE": 1,
        "KVM_GUESTDBG_SINGLESTEP": 2,
        "DBG_SPSR_SS": SPSR_SS,
        "DBG_MDSCR_SS": MDSCR_SS,
    } == ASSEMBLER_CONSTANTS


# The structure in memory


def random_vcpu(rng) -> Vcpu:
    values = {name: rng.getrandbits(64) for name in OFFSETS if name != "x"}
    return Vcpu(**values, x=[rng.getrandbits(64) for _ in range(31)])


def test_what_is_packed_is_unpacked(rng):
    for _ in range(200):
        vcpu, other = random_vcpu(rng), random_vcpu(rng)
        other.unpack(vcpu.pack())
        assert other == vcpu


def test_each_field_is_a_doubleword_at_its_offset(rng):
    vcpu = random_vcpu(rng)
    content = vcpu.pack()
    assert len(content) == SIZE
    for name, offset in OFFSETS.items():
        if name != "x":
            assert struct.unpack_from("<Q", content, offset) == (getattr(vcpu, name),), name
    assert list(struct.unpack_from("<31Q", content, OFFSETS["x"])) == vcpu.x


def test_the_fields_fill_the_structure_without_overlap():
    taken = [
        offset + 8 * n for name, offset in OFFSETS.items() for n in range(31 if name == "x" else 1)
    ]
    assert sorted(taken) == list(range(0, SIZE, 8))
    assert OFFSETS.keys() == {each.name for each in fields(Vcpu)}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("mdscr_el1", "mdcr_el2"),
        ("spsr", "elr"),
        ("sp_el0", "sp_el1"),
        ("sctlr_el1", "vbar_el1"),
        ("elr_el1", "spsr_el1"),
        ("esr_el1", "far_el1"),
        ("tpidr_el0", "tpidrro_el0"),
        ("far_el2", "hpfar_el2"),
    ],
)
def test_what_the_world_switch_takes_in_pairs_lies_together(first, second):
    assert OFFSETS[second] == OFFSETS[first] + 8


@pytest.mark.parametrize("size", [0, SIZE - 8, SIZE + 8])
def test_a_structure_of_another_size_is_refused(size):
    with pytest.raises(struct.error):
        Vcpu().unpack(bytes(size))


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_a_register_of_more_than_64_bits_does_not_get_into_memory(value):
    with pytest.raises(struct.error):
        Vcpu(elr=value).pack()


def test_two_vcpus_have_registers_of_their_own():
    one, other = Vcpu(), Vcpu()
    one.x[0] = 1
    assert other.x[0] == 0
