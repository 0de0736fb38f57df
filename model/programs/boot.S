// From reset at EL3 to EL2, or straight to EL1: as the loader has patched the words at boot_*.
//
// All general-purpose registers are 0 there, the OS Lock is unlocked, and any exception that nobody
// else takes parks at the label of its EL.
#include "layout.h"
#include "vectors.h"

	.section .text.start, "ax"
	.globl	_start
_start:
	mov	x0, #(SCR_NS | SCR_HCE | SCR_RW)
	msr	scr_el3, x0
	msr	oslar_el1, xzr

	adr	x0, el3_vectors
	msr	vbar_el3, x0
	adr	x0, el2_vectors
	msr	vbar_el2, x0
	adr	x0, el1_vectors
	msr	vbar_el1, x0

	ldr	x0, boot_hcr
	msr	hcr_el2, x0
	msr	mdcr_el2, xzr
	msr	mdcr_el3, xzr
	msr	mdscr_el1, xzr
	mov	x0, xzr
	mov	sp, x0
	msr	sp_el2, xzr
	ldr	x0, boot_sp_el1
	msr	sp_el1, x0
	msr	sp_el0, xzr

	ldr	x0, boot_target
	msr	elr_el3, x0
	ldr	x0, boot_spsr
	msr	spsr_el3, x0

	.irp	n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30
	mov	x\n, xzr
	.endr
	isb
	.globl	boot_eret
boot_eret:
	eret

	.globl	el3_park, el2_park, el1_park
el3_park:
	b	.
el2_park:
	b	.
el1_park:
	b	.

	.balign	8
	.globl	boot_target, boot_spsr, boot_sp_el1, boot_hcr
boot_target:
	.quad	HYPERVISOR_BASE
boot_spsr:
	.quad	SPSR_EL2h | SPSR_D | SPSR_AIF
boot_sp_el1:
	.quad	0
boot_hcr:
	.quad	0x80000000	// RW

	vectors	el3_vectors, el3_park
	vectors	el2_vectors, el2_park
	vectors	el1_vectors, el1_park
