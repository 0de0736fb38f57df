// Guest entry with guest debugging, as first posted: set both SS bits, and take them back again
// when not stepping.
//
// x0 is the vcpu, to be kept. x1 to x3 are free: the guest's own are restored after this.
	ldr	x3, [x0, #GUEST_DEBUG]
	tbz	x3, #KVM_GUESTDBG_ENABLE_SHIFT, 2f	// not debugged: leave all as the guest has it

	mrs	x1, spsr_el2
	mrs	x2, mdscr_el1

	orr	x1, x1, #DBG_SPSR_SS
	orr	x2, x2, #DBG_MDSCR_SS
	tbnz	x3, #KVM_GUESTDBG_SINGLESTEP_SHIFT, 1f

	// Debugged, not stepped: nor may the guest step itself. Both bits are 1 here, so eor clears.
	eor	x1, x1, #DBG_SPSR_SS
	eor	x2, x2, #DBG_MDSCR_SS
1:
	msr	spsr_el2, x1
	msr	mdscr_el1, x2
2:
