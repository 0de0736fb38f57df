"""What user space writes to `kvm_guest_debug.control`, a 32-bit word (KVM_SET_GUEST_DEBUG)."""

KVM_GUESTDBG_ENABLE_SHIFT = 0  #: the bit that switches guest debugging on
KVM_GUESTDBG_SINGLESTEP_SHIFT = 1  #: the bit that asks for single steps; without ENABLE, nothing

KVM_GUESTDBG_ENABLE = 1 << KVM_GUESTDBG_ENABLE_SHIFT
KVM_GUESTDBG_SINGLESTEP = 1 << KVM_GUESTDBG_SINGLESTEP_SHIFT
