"""The numbers are those of include/uapi/linux/kvm.h and of arm64's kvm.h, typed by hand."""

from model.kvm import uapi
from model.kvm.uapi import DebugExit, ExitReason, KvmGuestDebug, KvmRun


def test_the_control_bits_are_those_of_the_kernel():
    assert uapi.KVM_GUESTDBG_ENABLE == 0x1
    assert uapi.KVM_GUESTDBG_SINGLESTEP == 0x2
    assert uapi.KVM_GUESTDBG_USE_SW_BP == 0x1_0000
    assert uapi.KVM_GUESTDBG_USE_HW_BP == 0x2_0000


def test_hardware_breakpoints_are_all_that_is_known_and_not_valid():
    assert uapi.KVM_GUESTDBG_VALID == 0x1_0003


def test_the_masks_are_made_from_the_shifts():
    assert 1 << uapi.KVM_GUESTDBG_ENABLE_SHIFT == uapi.KVM_GUESTDBG_ENABLE
    assert 1 << uapi.KVM_GUESTDBG_SINGLESTEP_SHIFT == uapi.KVM_GUESTDBG_SINGLESTEP


def test_the_exit_reasons_are_those_of_the_kernel():
    assert {reason.name: int(reason) for reason in ExitReason} == {
        "UNKNOWN": 0,
        "DEBUG": 4,
        "MMIO": 6,
        "INTR": 10,
        "SYSTEM_EVENT": 24,
    }


def test_a_debug_exit_of_no_type_is_no_single_step():
    assert [int(each) for each in DebugExit] == [0, 1, 2]
    assert KvmRun().debug.exit_type == DebugExit.NONE


def test_a_new_page_says_nothing():
    run = KvmRun()
    assert not run.immediate_exit
    assert run.exit_reason == ExitReason.UNKNOWN
    assert (run.debug.address, run.mmio.len, run.mmio.data) == (0, 0, bytes(8))


def test_two_pages_share_nothing():
    one, other = KvmRun(), KvmRun()
    one.debug.address = one.mmio.phys_addr = 4
    assert (other.debug.address, other.mmio.phys_addr) == (0, 0)


def test_guest_debugging_is_off_where_nothing_is_asked_for():
    assert KvmGuestDebug().control == 0
