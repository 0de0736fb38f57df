// Guest entry with guest debugging, as the review suggests: clear both SS bits, and set them only
// when stepping.
//
// x0 is the vcpu, to be kept. x1 to x3 are free: the guest's own are restored after this.
	ldr	x3, [x0, #GUEST_DEBUG]
	tbz	x3, #KVM_GUESTDBG_ENABLE_SHIFT, 2f	// not debugged: leave all as the guest has it

	mrs	x1, spsr_el2
	mrs	x2, mdscr_el1

	bic	x1, x1, #DBG_SPSR_SS
	bic	x2, x2, #DBG_MDSCR_SS
	tbz	x3, #KVM_GUESTDBG_SINGLESTEP_SHIFT, 1f

	orr	x1, x1, #DBG_SPSR_SS
	orr	x2, x2, #DBG_MDSCR_SS
1:
	msr	spsr_el2, x1
	msr	mdscr_el1, x2
2:
