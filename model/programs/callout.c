// What the callout sequence does in C, on the KVM_RUN path before the world switch.
#include "vcpu.h"

void kvm_setup_guest_debug(struct vcpu *vcpu);

void kvm_setup_guest_debug(struct vcpu *vcpu)
{
	if (!(vcpu->guest_debug & KVM_GUESTDBG_ENABLE))
		return;

	vcpu->spsr &= ~(uint64_t)DBG_SPSR_SS;
	vcpu->mdscr_el1 &= ~(uint64_t)DBG_MDSCR_SS;
	if (vcpu->guest_debug & KVM_GUESTDBG_SINGLESTEP) {
		vcpu->spsr |= DBG_SPSR_SS;
		vcpu->mdscr_el1 |= DBG_MDSCR_SS;
	}
}
