// The state of the guest while it does not run. hypervisor.S holds the one vcpu there is.
#include <stddef.h>
#include <stdint.h>

#include "layout.h"

struct vcpu {
	uint64_t spsr;
	uint64_t elr;
	uint64_t mdscr_el1;
	uint64_t mdcr_el2;
	uint64_t sp_el0;
	uint64_t sp_el1;
	uint64_t esr;	// of the last exit
	uint64_t steps;	// Software Step exceptions so far
	uint32_t guest_debug;	// KVM_GUESTDBG_*
	uint32_t unused;
	uint64_t hcr_el2;
	uint64_t x[31];
};

_Static_assert(offsetof(struct vcpu, spsr) == VCPU_SPSR, "as in model/kvm/vcpu.py");
_Static_assert(offsetof(struct vcpu, mdscr_el1) == VCPU_MDSCR_EL1, "as in model/kvm/vcpu.py");
_Static_assert(offsetof(struct vcpu, steps) == VCPU_STEPS, "as in model/kvm/vcpu.py");
_Static_assert(offsetof(struct vcpu, guest_debug) == GUEST_DEBUG, "as the sequences have it");
_Static_assert(offsetof(struct vcpu, x) == VCPU_X, "as in model/kvm/vcpu.py");
