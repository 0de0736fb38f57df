// A guest that steps itself: its EL1 steps EL1, with KDE = 1 and PSTATE.D = 0 in what is stepped.
//
// The handler is not stepped: exception entry sets PSTATE.D.
#include "step_log.h"

#define STEPS	12

	.section .text.start, "ax"
	.globl	_start
_start:
	ldr	x0, =GUEST_STACK
	mov	sp, x0
	adr	x0, table
	msr	vbar_el1, x0
	msr	daifset, #8
	mov	x0, #(MDSCR_SS | MDSCR_KDE)
	msr	mdscr_el1, x0
	adr	x0, stepped
	msr	elr_el1, x0
	ldr	x0, =(SPSR_EL1h | SPSR_AIF | SPSR_SS)
	msr	spsr_el1, x0
	isb
	eret

	stepped_code b .

handler:
	step_handler EC_SOFTSTEP_SAME, STEPS
	step_end
	.ltorg
	step_data

	.balign	0x800, 0
table:
	.rept	4	// with SP_EL0
	b	end_of_run
	.balign	0x80, 0
	.endr
	b	handler	// synchronous, from EL1 itself
	.balign	0x80, 0
	.rept	11
	b	end_of_run
	.balign	0x80, 0
	.endr
