// The loop at EL2: run the guest, count its steps, run it again, until it makes a hypercall.
//
// SEQUENCE is the guest debugging code at guest entry, "v1.S", "bic.S", "callout.S" or "upstream.S".
// With the last two CALLOUT is defined, and C prepares the saved state; with the last one FINISH is,
// too, and C takes the guest's own state back. The loader patches vcpu_guest_debug and vcpu_mdcr_el2,
// and hypervisor_hcr where stage 2 is not this project's.
#include "layout.h"
#include "vectors.h"
#include "world_switch.h"

	.section .text.start, "ax"
	.globl	_start
_start:
	adr	x0, el2_table
	msr	vbar_el2, x0
	ldr	x0, =HYPERVISOR_STACK
	mov	sp, x0
	ldr	x0, hypervisor_hcr
	msr	hcr_el2, x0
	isb

// The host's side: the vcpu is about to run.
	.globl	guest_enter
guest_enter:
	adr	x0, vcpu
#ifdef CALLOUT
	bl	kvm_setup_guest_debug
	adr	x0, vcpu
#endif

// The world switch.
	.globl	world_switch
world_switch:
	restore	mdscr_el1, mdcr_el2, VCPU_MDSCR_EL1
	restore	spsr_el2, elr_el2, VCPU_SPSR
	restore	sp_el0, sp_el1, VCPU_SP_EL0
#ifdef FINISH
	ldr	x1, [x0, #VCPU_SPSR_EL1]
	msr	spsr_el1, x1
	ldr	x1, [x0, #VCPU_OS_LOCK]
	msr	oslar_el1, x1
#endif

	restore_general_registers

	.globl	sequence, sequence_end
sequence:
#include SEQUENCE
sequence_end:
	pop	x2, x3
	pop	x0, x1
	.globl	guest_eret
guest_eret:
	eret

// An exception from the guest: save all that it has, then see what it was.
	.globl	guest_exit
guest_exit:
	push	x0, x1
	push	x2, x3
	adr	x0, vcpu
	save_general_registers

	save	spsr_el2, elr_el2, VCPU_SPSR
	mrs	x1, mdscr_el1
	str	x1, [x0, #VCPU_MDSCR_EL1]
	save	sp_el0, sp_el1, VCPU_SP_EL0
	mrs	x1, esr_el2
	str	x1, [x0, #VCPU_ESR_EL2]
#ifdef FINISH
	save	vbar_el1, elr_el1, VCPU_VBAR_EL1
	mrs	x1, spsr_el1
	str	x1, [x0, #VCPU_SPSR_EL1]
	save_os_lock
	bl	kvm_finish_guest_debug
	adr	x0, vcpu
	ldr	x1, [x0, #VCPU_ESR_EL2]
#endif

	lsr	x2, x1, #ESR_EC_SHIFT
	cmp	x2, #EC_SOFTSTEP_LOWER
	b.ne	1f
	ldr	x2, [x0, #VCPU_STEPS]
	add	x2, x2, #1
	str	x2, [x0, #VCPU_STEPS]
	b	guest_enter
1:
	cmp	x2, #EC_HVC64
	b.ne	failed_with_esr

// The guest has called: it is done.
	.globl	done
done:
	b	.

// Anything else parks at failed, with ESR_EL2 in x0.
unexpected:
	mrs	x1, esr_el2
failed_with_esr:
	mov	x0, x1
	.globl	failed
failed:
	b	.

	.ltorg
	.balign	8
	.globl	hypervisor_hcr
hypervisor_hcr:
	.quad	(HCR_RW | HCR_VM) & 0xffffffff

	.balign	0x800, 0
el2_table:
	.rept	8	// from EL2 itself
	b	unexpected
	.balign	0x80, 0
	.endr
	b	guest_exit	// synchronous, from a lower EL
	.balign	0x80, 0
	.rept	7
	b	unexpected
	.balign	0x80, 0
	.endr

	.data
	.balign	16
	.globl	vcpu, vcpu_spsr, vcpu_elr, vcpu_mdscr_el1, vcpu_mdcr_el2, vcpu_sp_el0, vcpu_sp_el1
	.globl	vcpu_esr, steps, vcpu_guest_debug, vcpu_x
vcpu:
vcpu_spsr:
	.quad	SPSR_EL1h | SPSR_D | SPSR_AIF
vcpu_elr:
	.quad	GUEST_BASE
vcpu_mdscr_el1:
	.quad	0
vcpu_mdcr_el2:
	.quad	0
vcpu_sp_el0:
	.quad	0
vcpu_sp_el1:
	.quad	0
vcpu_esr:
	.quad	0
steps:
	.quad	0
	.org	vcpu + GUEST_DEBUG
vcpu_guest_debug:
	.quad	0
	.org	vcpu + VCPU_X
vcpu_x:
	.fill	31, 8, 0
#ifdef FINISH
	.org	vcpu + VCPU_SIZE + VCPU_OWN_SIZE
#endif
