// What the programs know about the machine, in C and in assembly.
//
// HYPERVISOR_BASE, GUEST_BASE, RAM_BASE, RAM_SIZE, KVM_GUESTDBG_* and the offsets in struct vcpu
// (VCPU_<FIELD>, and GUEST_DEBUG as the sequences have it) come from the command line of the compiler:
// model/programs/build.py has them from where each is stated.
#pragma once

#define VCPU_OWN_SIZE	0x38	// struct own of vcpu.h, behind VCPU_SIZE

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
#define MDCR_TDE	(1 << 8)
#define MDCR_TDOSA	(1 << 10)

#define SPSR_SS	(1 << 21)
#define SPSR_IL	(1 << 20)
#define SPSR_NZCV	0xf0000000
#define SPSR_D	(1 << 9)
#define SPSR_AIF	(7 << 6)
#define SPSR_nRW	(1 << 4)
#define SPSR_M	0xf
#define SPSR_EL0t	0
#define SPSR_EL1h	5
#define SPSR_EL2h	9

#define ESR_EC_SHIFT	26
#define EC_SVC64	0x15
#define EC_HVC64	0x16
#define EC_SOFTSTEP_LOWER	0x32
#define EC_SOFTSTEP_SAME	0x33
