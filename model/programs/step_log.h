// A guest's own debugger at EL1: what it has seen, in a log.
#include "layout.h"

#define LOG_ENTRIES	32

// Takes a Software Step exception of class \class: log ELR_EL1 and ESR_EL1 and go on with the next
// instruction, until \steps of them are logged. Any other exception ends it, too.
	.macro	step_handler class, steps
	stp	x0, x1, [sp, #-16]!
	stp	x2, x3, [sp, #-16]!
	mrs	x0, esr_el1
	lsr	x1, x0, #ESR_EC_SHIFT
	cmp	x1, #\class
	b.ne	end_of_run
	adr	x1, logged
	ldr	x2, [x1]
	adr	x3, log
	add	x3, x3, x2, lsl #4
	mrs	x1, elr_el1
	stp	x1, x0, [x3]
	adr	x1, logged
	add	x2, x2, #1
	str	x2, [x1]
	cmp	x2, #\steps
	b.hs	end_of_run
	mrs	x0, spsr_el1
	orr	x0, x0, #SPSR_SS
	msr	spsr_el1, x0
	ldp	x2, x3, [sp], #16
	ldp	x0, x1, [sp], #16
	eret
	.endm

// ESR_EL1 of what ended it is in `result`.
	.macro	step_end
	.globl	end_of_run
end_of_run:
	mrs	x0, esr_el1
	adr	x1, result
	str	x0, [x1]
	.globl	end
end:
	b	.
	.endm

	.macro	step_data
	.data
	.balign	8
	.globl	result, logged, log, scratch
result:
	.quad	0
logged:	// number of entries
	.quad	0
log:	// ELR_EL1, ESR_EL1
	.fill	2 * LOG_ENTRIES, 8, 0
scratch:
	.quad	0x1122334455667788, 0
	.section .text.start, "ax"
	.endm

// Ten instructions of every kind, to be stepped; \last is one more.
	.macro	stepped_code last:vararg
	.globl	stepped
stepped:
	mov	x4, #40
	add	x4, x4, #2
	adr	x5, scratch
	ldr	x6, [x5]
	str	x4, [x5, #8]
	subs	x7, x4, #42
	b.eq	1f
	brk	#1	// not reached
1:
	ldxr	x8, [x5]
	stxr	w9, x8, [x5]	// fails: the exception return has cleared the monitor
	cbnz	w9, 2f
	brk	#2	// not reached
2:
	isb
	nop
	.globl	stepped_end
stepped_end:
	\last
	.endm
