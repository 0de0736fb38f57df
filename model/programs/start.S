// Where a guest begins, at EL1: run() in C, its value kept, and the hypercall that ends it.
#include "layout.h"

	.section .text.start, "ax"
	.globl	_start
_start:
	ldr	x0, =GUEST_STACK
	mov	sp, x0
	mov	x29, xzr
	bl	run
	adrp	x1, result
	str	x0, [x1, #:lo12:result]
	.globl	end_of_run
end_of_run:
	hvc	#0
	.globl	end
end:
	b	.

	.data
	.balign	8
	.globl	result
result:
	.quad	0
