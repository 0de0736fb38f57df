// What every world switch does with the guest's registers. x0 is the vcpu.

// Two system registers, and where they are in the vcpu, one behind the other.
	.macro	restore, first, second, offset
	ldp	x1, x2, [x0, #\offset]
	msr	\first, x1
	msr	\second, x2
	.endm

	.macro	save, first, second, offset
	mrs	x1, \first
	mrs	x2, \second
	stp	x1, x2, [x0, #\offset]
	.endm

	.macro	save_os_lock
	mrs	x1, oslsr_el1
	ubfx	x1, x1, #1, #1	// OSLK
	str	x1, [x0, #VCPU_OS_LOCK]
	.endm

	.macro	push, a, b
	stp	\a, \b, [sp, #-16]!
	.endm

	.macro	pop, a, b
	ldp	\a, \b, [sp], #16
	.endm

// All but x0 to x3, which are pushed: a sequence comes before they are popped, and may use x1 to x3.
	.macro	restore_general_registers
	ldp	x1, x2, [x0, #VCPU_X]
	push	x1, x2
	ldp	x1, x2, [x0, #VCPU_X + 8 * 2]
	push	x1, x2
	ldp	x4, x5, [x0, #VCPU_X + 8 * 4]
	ldp	x6, x7, [x0, #VCPU_X + 8 * 6]
	ldp	x8, x9, [x0, #VCPU_X + 8 * 8]
	ldp	x10, x11, [x0, #VCPU_X + 8 * 10]
	ldp	x12, x13, [x0, #VCPU_X + 8 * 12]
	ldp	x14, x15, [x0, #VCPU_X + 8 * 14]
	ldp	x16, x17, [x0, #VCPU_X + 8 * 16]
	ldp	x18, x19, [x0, #VCPU_X + 8 * 18]
	ldp	x20, x21, [x0, #VCPU_X + 8 * 20]
	ldp	x22, x23, [x0, #VCPU_X + 8 * 22]
	ldp	x24, x25, [x0, #VCPU_X + 8 * 24]
	ldp	x26, x27, [x0, #VCPU_X + 8 * 26]
	ldp	x28, x29, [x0, #VCPU_X + 8 * 28]
	ldr	x30, [x0, #VCPU_X + 8 * 30]
	.endm

// The same the other way round: x0 to x3 have been pushed.
	.macro	save_general_registers
	stp	x4, x5, [x0, #VCPU_X + 8 * 4]
	stp	x6, x7, [x0, #VCPU_X + 8 * 6]
	stp	x8, x9, [x0, #VCPU_X + 8 * 8]
	stp	x10, x11, [x0, #VCPU_X + 8 * 10]
	stp	x12, x13, [x0, #VCPU_X + 8 * 12]
	stp	x14, x15, [x0, #VCPU_X + 8 * 14]
	stp	x16, x17, [x0, #VCPU_X + 8 * 16]
	stp	x18, x19, [x0, #VCPU_X + 8 * 18]
	stp	x20, x21, [x0, #VCPU_X + 8 * 20]
	stp	x22, x23, [x0, #VCPU_X + 8 * 22]
	stp	x24, x25, [x0, #VCPU_X + 8 * 24]
	stp	x26, x27, [x0, #VCPU_X + 8 * 26]
	stp	x28, x29, [x0, #VCPU_X + 8 * 28]
	str	x30, [x0, #VCPU_X + 8 * 30]
	pop	x1, x2
	stp	x1, x2, [x0, #VCPU_X + 8 * 2]
	pop	x1, x2
	stp	x1, x2, [x0, #VCPU_X]
	.endm
