// Guest entry with guest debugging called out to C: empty. kvm_setup_guest_debug() has put both SS
// bits into the saved state on the KVM_RUN path, and the world switch restores them as it does all
// the rest.
