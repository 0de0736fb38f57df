// The world switch of a host whose C code runs elsewhere: it puts the address of a vcpu at `doorbell`,
// and has it back, with the guest's state in it, when EL2 waits again at `host_wait`.
//
// The loader puts the sequence at `sequence` and a branch to `sequence_end` after it.
#include "layout.h"
#include "world_switch.h"

#define EXIT_SYNC	0	// model.kvm.exits.Exit
#define EXIT_IRQ	1
#define EXIT_FIQ	2
#define EXIT_SERROR	3
#define EXIT_PANIC	4

#define SEQUENCE_SIZE	0x400

	.section .text.start, "ax"
	.globl	_start
_start:
	adr	x0, el2_table
	msr	vbar_el2, x0
	ldr	x0, =HYPERVISOR_STACK
	mov	sp, x0
	isb

	.globl	host_wait
host_wait:
	ldr	x0, doorbell
	cbz	x0, host_wait
	adr	x1, doorbell
	stp	xzr, x0, [x1]	// current is behind it

	.globl	world_switch
world_switch:
	restore	mdscr_el1, mdcr_el2, VCPU_MDSCR_EL1
	restore	spsr_el2, elr_el2, VCPU_SPSR
	restore	sp_el0, sp_el1, VCPU_SP_EL0
	restore	sctlr_el1, vbar_el1, VCPU_SCTLR_EL1
	restore	elr_el1, spsr_el1, VCPU_ELR_EL1
	restore	esr_el1, far_el1, VCPU_ESR_EL1
	restore	tpidr_el0, tpidrro_el0, VCPU_TPIDR_EL0
	ldr	x1, [x0, #VCPU_TPIDR_EL1]
	msr	tpidr_el1, x1
	ldr	x1, [x0, #VCPU_OS_LOCK]
	msr	oslar_el1, x1
	ldr	x1, [x0, #VCPU_HCR_EL2]
	msr	hcr_el2, x1
	restore_general_registers

	.globl	sequence, sequence_end
sequence:
	.skip	SEQUENCE_SIZE
sequence_end:
	pop	x2, x3
	pop	x0, x1
	.globl	guest_eret
guest_eret:
	eret

// An exception from the guest, of the kind in x0: x0 and x1 have been pushed.
guest_exit:
	push	x2, x3
	mov	x1, x0
	ldr	x0, current
	str	x1, [x0, #VCPU_EXIT]
	save_general_registers

	save	spsr_el2, elr_el2, VCPU_SPSR
	mrs	x1, mdscr_el1
	str	x1, [x0, #VCPU_MDSCR_EL1]
	save	sp_el0, sp_el1, VCPU_SP_EL0
	save	sctlr_el1, vbar_el1, VCPU_SCTLR_EL1
	save	elr_el1, spsr_el1, VCPU_ELR_EL1
	save	esr_el1, far_el1, VCPU_ESR_EL1
	save	tpidr_el0, tpidrro_el0, VCPU_TPIDR_EL0
	mrs	x1, tpidr_el1
	str	x1, [x0, #VCPU_TPIDR_EL1]
	save_os_lock
	mrs	x1, esr_el2
	str	x1, [x0, #VCPU_ESR_EL2]
	save	far_el2, hpfar_el2, VCPU_FAR_EL2
	b	host_wait

// An exception from EL2 itself: the sequence has gone wrong, and nothing is known of the guest.
hyp_panic:
	ldr	x0, =HYPERVISOR_STACK
	mov	sp, x0
	ldr	x0, current
	mov	x1, #EXIT_PANIC
	str	x1, [x0, #VCPU_EXIT]
	save	spsr_el2, elr_el2, VCPU_SPSR
	mrs	x1, esr_el2
	str	x1, [x0, #VCPU_ESR_EL2]
	b	host_wait

	.ltorg
	.balign	16
	.globl	doorbell
doorbell:
	.quad	0
current:
	.quad	0

	.macro	exit, kind
	push	x0, x1
	mov	x0, #\kind
	b	guest_exit
	.balign	0x80, 0
	.endm

	.balign	0x800, 0
el2_table:
	.rept	8	// from EL2 itself
	b	hyp_panic
	.balign	0x80, 0
	.endr
	exit	EXIT_SYNC
	exit	EXIT_IRQ
	exit	EXIT_FIQ
	exit	EXIT_SERROR
	.rept	4	// from AArch32: there is none
	b	hyp_panic
	.balign	0x80, 0
	.endr

	.data
	.balign	16
	.globl	vcpus
vcpus:
	.skip	2 * VCPU_SIZE
