// What the programs know about the machine, in C and in assembly.
//
// HYPERVISOR_BASE and GUEST_BASE come from the command line of the compiler.
#pragma once

#define HYPERVISOR_STACK	0x40090000	// the end: it grows down
#define GUEST_STACK	0x40200000	// the end, of EL1
#define USER_STACK	0x401f0000	// the end, of EL0

#define SCR_NS	(1 << 0)
#define SCR_HCE	(1 << 8)
#define SCR_RW	(1 << 10)
#define HCR_VM	(1 << 0)
#define HCR_RW	(1 << 31)
#define MDSCR_SS	(1 << 0)
#define MDSCR_KDE	(1 << 13)

#define SPSR_SS	(1 << 21)
#define SPSR_D	(1 << 9)
#define SPSR_AIF	(7 << 6)
#define SPSR_EL0t	0
#define SPSR_EL1h	5
#define SPSR_EL2h	9

#define ESR_EC_SHIFT	26
#define EC_SVC64	0x15
#define EC_HVC64	0x16
#define EC_SOFTSTEP_LOWER	0x32
#define EC_SOFTSTEP_SAME	0x33

// struct vcpu. GUEST_DEBUG comes from the compiler's command line, as it does for the sequences.
#define VCPU_SPSR	0x00
#define VCPU_ELR	0x08
#define VCPU_MDSCR	0x10
#define VCPU_MDCR	0x18
#define VCPU_SP_EL0	0x20
#define VCPU_SP_EL1	0x28
#define VCPU_ESR	0x30
#define VCPU_STEPS	0x38
#define VCPU_X	0x50	// x0 to x30
