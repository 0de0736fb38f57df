// Boot on QEMU's `virt` machine, at EL2 with PSCI by SMC, to time the loop: `done` and `failed` of the
// hypervisor are patched to come back here. The guest runs virt_rounds times, then the machine goes
// off. What is told on the serial line: BEGUN; then DONE, the steps and the guest's x0, or FAILED, 0
// and ESR_EL2, 8 bytes each. The core never runs this: it has neither of the two.
#include "layout.h"

#define UART	0x09000000	// PL011: what is stored there is sent
#define PSCI_SYSTEM_OFF	0x84000008

	.macro	send, register
	ldr	x9, =UART
	str	\register, [x9]
	.endm

	.section .text.start, "ax"
	.globl	_start
_start:
	msr	oslar_el1, xzr
	mov	w0, #'B'
	send	w0
	ldr	x1, virt_hypervisor
	br	x1

// The guest is done; x0 is the vcpu.
	.globl	virt_done
virt_done:
	ldr	x1, virt_rounds
	subs	x1, x1, #1
	adr	x2, virt_rounds
	str	x1, [x2]
	b.eq	1f
	ldr	x1, virt_spsr
	ldr	x2, virt_entry
	stp	x1, x2, [x0, #VCPU_SPSR]
	ldr	x1, virt_guest_enter
	br	x1
1:
	mov	w4, #'D'
	ldr	x5, [x0, #VCPU_STEPS]
	ldr	x6, [x0, #VCPU_X]
	b	2f

// It has failed; x0 is ESR_EL2.
	.globl	virt_failed
virt_failed:
	mov	w4, #'F'
	mov	x5, #0
	mov	x6, x0
2:
	send	w4
	bl	send_doubleword
	mov	x5, x6
	bl	send_doubleword
	ldr	x0, =PSCI_SYSTEM_OFF
	smc	#0
	b	.

// Sends x5, the low byte first.
send_doubleword:
	mov	w7, #8
1:
	and	w8, w5, #0xff
	send	w8
	lsr	x5, x5, #8
	subs	w7, w7, #1
	b.ne	1b
	ret

	.ltorg
	.balign	8
	.globl	virt_rounds, virt_hypervisor, virt_guest_enter, virt_entry
virt_rounds:
	.quad	1
virt_hypervisor:
	.quad	HYPERVISOR_BASE
virt_guest_enter:
	.quad	0
virt_entry:
	.quad	GUEST_BASE
virt_spsr:
	.quad	SPSR_EL1h | SPSR_D | SPSR_AIF
