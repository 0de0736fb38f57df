// What the host of `upstream` does in C around the world switch, and nothing in it. The same as
// model/kvm/upstream.py (setup, finish) and model/kvm/own_stepping.py (completed), function by
// function: a test holds the two together.
#include <stdbool.h>

#include "vcpu.h"

// What the guest has done: the events of model.arch that can be told from outside.
enum event { EXECUTE, LOAD_EXCLUSIVE, ISB, SVC, EXCEPTION, ERET };

#define SVC_WORD	0xd4000001
#define SVC_MASK	0xffe0001f
#define ISB_WORD	0xd50330df
#define ISB_MASK	0xfffff0ff
#define ERET_WORD	0xd69f03e0

#define LOAD_EXCLUSIVE_WORD	0x08400000
#define LOAD_EXCLUSIVE_MASK	0x3fc00000	// LDXR to LDAXP
#define VECTORS	0x800	// bytes of a vector table
#define VECTOR	0x80	// bytes of a vector

void kvm_setup_guest_debug(struct vcpu *vcpu);
void kvm_finish_guest_debug(struct vcpu *vcpu);

static bool is_stepping(const struct vcpu *vcpu)
{
	uint32_t both = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;

	return (vcpu->guest_debug & both) == both;
}

static unsigned int el_of(uint64_t spsr)
{
	return (spsr & SPSR_M) >> 2;
}

static uint64_t with_ss(uint64_t spsr, bool ss)
{
	return (spsr & ~(uint64_t)SPSR_SS) | (ss ? SPSR_SS : 0);
}

// The instruction that is about to be stepped; not in RAM, there is none.
static void keep_word(struct vcpu *vcpu)
{
	uint64_t pc = vcpu->elr;

	vcpu->own.has_word = !(pc % 4) && pc - RAM_BASE < RAM_SIZE;
	if (vcpu->own.has_word)
		vcpu->own.word = *(const volatile uint32_t *)pc;
}

// Before the world switch: keep what is the guest's, and put the host's bits in its place.
void kvm_setup_guest_debug(struct vcpu *vcpu)
{
	struct own *own = &vcpu->own;
	bool stepping = is_stepping(vcpu);

	own->stepped = 0;
	vcpu->mdcr_el2 = MDCR_TDOSA;
	if (!stepping) {
		own->last = LAST_NOTHING;
		if (!(vcpu->guest_debug & KVM_GUESTDBG_USE_SW_BP))
			return;
	}

	vcpu->mdcr_el2 |= MDCR_TDE;
	own->mdscr_el1 = vcpu->mdscr_el1;
	own->os_lock = vcpu->os_lock;
	own->spsr = vcpu->spsr;
	own->elr = vcpu->elr;
	own->spsr_el1 = vcpu->spsr_el1;

	vcpu->os_lock = 0;
	vcpu->mdscr_el1 &= ~(uint64_t)MDSCR_SS;
	vcpu->spsr &= ~(uint64_t)SPSR_SS;
	if (stepping) {
		vcpu->mdscr_el1 |= MDSCR_SS;
		vcpu->spsr |= SPSR_SS;
		keep_word(vcpu);
	}
}

// Branches and exception returns (DDI 0487 C4.1.66).
static bool is_branch(uint32_t word)
{
	return (word & 0x7c000000) == 0x14000000	// B, BL
	    || (word & 0x7e000000) == 0x34000000	// CBZ, CBNZ
	    || (word & 0xff000010) == 0x54000000	// B.cond
	    || (word & 0x7e000000) == 0x36000000	// TBZ, TBNZ
	    || (word & 0xfe000000) == 0xd6000000;	// to a register, ERET
}

// Whether PC, PSTATE, ELR_EL1 and SPSR_EL1 are as an exception that is taken to EL1 leaves them.
static bool took_exception(const struct vcpu *vcpu)
{
	const struct own *own = &vcpu->own;
	uint64_t masks = SPSR_D | SPSR_AIF;
	uint64_t table = vcpu->vbar_el1 & ~(uint64_t)(VECTORS - 1);
	uint64_t offset = vcpu->elr - table;

	if (vcpu->elr < table || offset >= VECTORS || offset % VECTOR)
		return false;
	if ((vcpu->spsr & masks) != masks || el_of(vcpu->spsr) != 1)
		return false;
	if (with_ss(vcpu->spsr_el1, false) != with_ss(own->spsr, false))
		return false;
	if (vcpu->elr_el1 != own->elr && vcpu->elr_el1 != own->elr + 4)
		return false;
	// A branch to a vector of the guest's own leaves PSTATE as it is.
	if ((own->spsr ^ vcpu->spsr) & ~(uint64_t)(SPSR_SS | SPSR_NZCV))
		return true;
	return !(own->has_word && is_branch(own->word));
}

static enum event stepped_event(const struct vcpu *vcpu)
{
	const struct own *own = &vcpu->own;

	if (took_exception(vcpu)) {
		bool call = own->has_word && (own->word & SVC_MASK) == SVC_WORD;

		return call && vcpu->elr_el1 != own->elr ? SVC : EXCEPTION;
	}
	if (own->has_word && (own->word & LOAD_EXCLUSIVE_MASK) == LOAD_EXCLUSIVE_WORD)
		return LOAD_EXCLUSIVE;
	if (own->has_word && own->word == ERET_WORD)
		return ERET;
	return own->has_word && (own->word & ISB_MASK) == ISB_WORD ? ISB : EXECUTE;
}

// Whether the guest's own debug exceptions are enabled (GenerateDebugExceptionsFrom): ELd is EL1.
static bool is_enabled(const struct own *own, unsigned int el, bool d)
{
	if (own->os_lock)
		return false;
	return el == 0 || (el == 1 && own->mdscr_el1 & MDSCR_KDE && !d);
}

// What the guest's exception return, from an EL with PSTATE.D = d, writes to its PSTATE.SS
// (DebugExceptionReturnSS). To EL0 or not is all that counts: an illegal return stays at the EL.
static bool returned_ss(const struct own *own, unsigned int el, bool d)
{
	uint64_t spsr = own->spsr_el1;
	unsigned int dest = (spsr & (SPSR_nRW | SPSR_M)) == SPSR_EL0t ? 0 : el;

	return spsr & SPSR_SS && own->mdscr_el1 & MDSCR_SS && !is_enabled(own, el, d)
	    && is_enabled(own, dest, spsr & SPSR_D);
}

static enum last last_of(enum event event)
{
	switch (event) {
	case EXECUTE:
		return LAST_INSTRUCTION;
	case LOAD_EXCLUSIVE:
		return LAST_LOAD_EXCLUSIVE;
	case ISB:
	case ERET:
		return LAST_ERET_OR_ISB;
	default:
		return LAST_OTHER_EXCEPTION;
	}
}

// PSTATE.SS of the guest's own after an event, by the rules that model.a64.stepping has.
static bool completed(struct vcpu *vcpu, enum event event)
{
	struct own *own = &vcpu->own;
	unsigned int el = el_of(own->spsr);
	bool d = own->spsr & SPSR_D, ss = own->spsr & SPSR_SS;
	bool active = own->mdscr_el1 & MDSCR_SS && is_enabled(own, el, d);
	bool illegal = own->spsr & SPSR_IL;	// the Illegal Execution state exception comes instead

	own->last = LAST_NOTHING;
	if (active && ss)
		own->last = illegal ? LAST_OTHER_EXCEPTION : last_of(event);
	if (event == EXCEPTION)
		vcpu->spsr_el1 = with_ss(vcpu->spsr_el1, ss);
	return event == ERET && !illegal && returned_ss(own, el, d);
}

// After the world switch: the guest's own state, from what the PE has made of the host's.
void kvm_finish_guest_debug(struct vcpu *vcpu)
{
	struct own *own = &vcpu->own;
	bool ss = own->spsr & SPSR_SS;

	if (!(vcpu->mdcr_el2 & MDCR_TDE))
		return;
	vcpu->mdscr_el1 = own->mdscr_el1;
	vcpu->os_lock = own->os_lock;
	own->stepped = is_stepping(vcpu) && !(vcpu->spsr & SPSR_SS);
	if (own->stepped)
		ss = completed(vcpu, stepped_event(vcpu));
	vcpu->spsr = with_ss(vcpu->spsr, ss);
}
