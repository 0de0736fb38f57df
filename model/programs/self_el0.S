// A guest that steps itself: its EL1 steps its EL0, with KDE = 0.
#include "step_log.h"

	.section .text.start, "ax"
	.globl	_start
_start:
	ldr	x0, =GUEST_STACK
	mov	sp, x0
	adr	x0, table
	msr	vbar_el1, x0
	mov	x0, #MDSCR_SS
	msr	mdscr_el1, x0
	ldr	x0, =USER_STACK
	msr	sp_el0, x0
	adr	x0, stepped
	msr	elr_el1, x0
	mov	x0, #(SPSR_EL0t | SPSR_SS)
	msr	spsr_el1, x0
	isb
	eret

	stepped_code svc #7

handler:
	step_handler EC_SOFTSTEP_LOWER, LOG_ENTRIES
	step_end
	.ltorg
	step_data

	.balign	0x800, 0
table:
	.rept	8
	b	end_of_run
	.balign	0x80, 0
	.endr
	b	handler	// synchronous, from EL0
	.balign	0x80, 0
	.rept	7
	b	end_of_run
	.balign	0x80, 0
	.endr
