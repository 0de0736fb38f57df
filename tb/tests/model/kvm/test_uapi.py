from model.kvm import uapi


def test_the_control_bits_are_those_of_the_kernel():
    assert uapi.KVM_GUESTDBG_ENABLE == 0x1
    assert uapi.KVM_GUESTDBG_SINGLESTEP == 0x2
