// The state of the guest while it does not run. hypervisor.S holds the one vcpu there is.
#include <stddef.h>
#include <stdint.h>

#include "layout.h"

// What the guest's own step exception would know of what was stepped: model.arch.Last.
enum last {
	LAST_NOTHING,
	LAST_INSTRUCTION,
	LAST_LOAD_EXCLUSIVE,
	LAST_ERET_OR_ISB,
	LAST_OTHER_EXCEPTION,
};

// What upstream.c keeps of the guest's own while the PE has the host's bits.
struct own {
	uint64_t mdscr_el1;
	uint64_t os_lock;
	uint64_t spsr;
	uint64_t elr;
	uint64_t spsr_el1;
	uint32_t word;	// the instruction at elr ...
	uint32_t has_word;	// ... if there is one
	uint32_t last;	// enum last
	uint32_t stepped;	// an instruction has completed, or an exception has been taken
};

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
	// From here on upstream's hypervisor.S alone has room.
	uint64_t exit;	// what kind of exit: 0 is a synchronous one
	uint64_t far_el2;
	uint64_t hpfar_el2;
	uint64_t os_lock;	// OSLSR_EL1.OSLK
	uint64_t sctlr_el1;
	uint64_t vbar_el1;
	uint64_t elr_el1;
	uint64_t spsr_el1;
	uint64_t esr_el1;
	uint64_t far_el1;
	uint64_t tpidr_el0;
	uint64_t tpidrro_el0;
	uint64_t tpidr_el1;
	struct own own;
};

_Static_assert(offsetof(struct vcpu, spsr) == VCPU_SPSR, "as in model/kvm/vcpu.py");
_Static_assert(offsetof(struct vcpu, mdscr_el1) == VCPU_MDSCR_EL1, "as in model/kvm/vcpu.py");
_Static_assert(offsetof(struct vcpu, steps) == VCPU_STEPS, "as in model/kvm/vcpu.py");
_Static_assert(offsetof(struct vcpu, guest_debug) == GUEST_DEBUG, "as the sequences have it");
_Static_assert(offsetof(struct vcpu, x) == VCPU_X, "as in model/kvm/vcpu.py");
_Static_assert(offsetof(struct vcpu, exit) == VCPU_EXIT, "as in model/kvm/vcpu.py");
_Static_assert(offsetof(struct vcpu, os_lock) == VCPU_OS_LOCK, "as in model/kvm/vcpu.py");
_Static_assert(offsetof(struct vcpu, vbar_el1) == VCPU_VBAR_EL1, "as in model/kvm/vcpu.py");
_Static_assert(offsetof(struct vcpu, elr_el1) == VCPU_ELR_EL1, "as in model/kvm/vcpu.py");
_Static_assert(offsetof(struct vcpu, spsr_el1) == VCPU_SPSR_EL1, "as in model/kvm/vcpu.py");
_Static_assert(offsetof(struct vcpu, own) == VCPU_SIZE, "behind what model/kvm/vcpu.py has");
_Static_assert(sizeof(struct own) == VCPU_OWN_SIZE, "as hypervisor.S has room");
