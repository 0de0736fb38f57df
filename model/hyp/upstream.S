// Guest entry with guest debugging in C on both sides of the world switch: empty.
// kvm_setup_guest_debug() has put the host's bits into the saved state, and kvm_finish_guest_debug()
// will take the guest's own back.
