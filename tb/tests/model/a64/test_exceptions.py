"""Synchronous exceptions of the reference PE: when, where to, and what they write."""

import pytest

from model.a64.trace import Inputs
from model.arch import EL, Event, Retire
from tb.tests.model.a64.pe import (
    BRK,
    CODE,
    DAIFCLR_D,
    DAIFSET_D,
    DATA,
    EEL2,
    ERET,
    FMO,
    HCE,
    HVC,
    IMO,
    NOP,
    NS,
    NTWE,
    NTWI,
    SMC,
    SMD,
    SPSR_IL,
    SPSR_SS,
    SVC,
    TDA,
    TDE,
    TDOSA,
    TGE,
    TSC,
    TVM,
    TWE,
    TWI,
    UMA,
    UNDEFINED,
    VECTORS,
    VF,
    VI,
    VM,
    WFE,
    WFI,
    completes,
    has,
    mrs,
    msr,
    pe_at,
    step,
    taken,
    undefined,
)

SECURE = HCE  # SCR_EL3: Secure, without Secure EL2
SECURE_EL2 = HCE | EEL2


# Entry

SAME_SP0, SAME_SPX, LOWER = 0x000, 0x200, 0x400


@pytest.mark.parametrize(
    ("el", "spsel", "word", "target", "offset"),
    [
        (0, 0, SVC, 1, LOWER),
        (1, 0, SVC, 1, SAME_SP0),
        (1, 1, SVC, 1, SAME_SPX),
        (2, 0, SVC, 2, SAME_SP0),
        (2, 1, SVC, 2, SAME_SPX),
        (3, 0, SVC, 3, SAME_SP0),
        (3, 1, SVC, 3, SAME_SPX),
        (1, 0, HVC, 2, LOWER),
        (1, 1, HVC, 2, LOWER),
        (1, 1, SMC, 3, LOWER),
        (2, 0, SMC, 3, LOWER),
    ],
)
def test_the_vector_is_by_where_the_exception_comes_from(el, spsel, word, target, offset):
    pe = pe_at(el, word, spsel=spsel)
    row = pe.step()
    assert has(row, target_el=target, el_after=target, sp_after=1)
    assert has(row, pc_after=VECTORS[EL(target)] + offset)


def test_the_low_bits_of_vbar_are_ignored():
    assert step(1, SVC, VBAR_EL1=0x4020_07FF).pc_after == 0x4020_0200
    top = step(1, SVC, VBAR_EL1=(1 << 64) - 1)
    assert top.pc_after == (1 << 64) - 0x800 + 0x200


@pytest.mark.parametrize(
    ("el", "spsel", "m"),
    [(0, 0, 0b0000), (1, 0, 0b0100), (1, 1, 0b0101), (2, 0, 0b1000), (2, 1, 0b1001)],
)
def test_spsr_has_the_mode(el, spsel, m):
    pe = pe_at(el, UNDEFINED, spsel=spsel)
    row = pe.step()
    assert row.spsr & 0x1F == m
    assert pe.state.sysregs[f"SPSR_EL{row.target_el}"] == row.spsr


@pytest.mark.parametrize("daif", range(16))
def test_spsr_has_the_masks_and_entry_masks_everything(daif):
    row = step(1, UNDEFINED, daif=daif)
    assert row.spsr == daif << 6 | 0b0101
    assert row.daif_after == 0b1111


def test_spsr_has_the_flags_and_the_illegal_execution_state_that_entry_clears():
    pe = pe_at(1, NOP)
    pe.state.nzcv, pe.state.il = 0b1010, 1
    row = pe.step()
    assert row.spsr == 0xA000_0000 | SPSR_IL | 0b0101
    assert has(row, il_after=0, nzcv_after=0b1010)


@pytest.mark.parametrize(
    ("word", "ss"), [(SVC, 0), (HVC, 0), (SMC, 0), (BRK, 1), (UNDEFINED, 1), (mrs("HCR_EL2", 0), 1)]
)
def test_spsr_has_ss_unless_the_instruction_completed(word, ss):
    pe = pe_at(1, word)
    pe.state.ss = 1
    row = pe.step()
    assert has(row, spsr=SPSR_SS * ss | 0b0101, ss_after=0)


def test_an_exception_writes_the_registers_of_its_target_alone():
    pe = pe_at(1, SVC)
    before = pe.state.sysregs.copy()
    pe.step()
    written = {name: value for name, value in pe.state.sysregs.items() if value != before[name]}
    assert written == {"ESR_EL1": 0x5600_1234, "ELR_EL1": CODE + 4, "SPSR_EL1": 0b0101}


def test_entry_goes_to_the_stack_pointer_of_the_target():
    pe = pe_at(0, SVC)
    pe.state.sp, pe.state.unused_sps[1] = 0xA0, 0xA1
    pe.step()
    assert (pe.state.sp, pe.state.stack_pointers()) == (0xA1, [0xA0, 0xA1, 0, 0])


def test_entry_keeps_the_exclusive_monitor_and_the_event_register():
    pe = pe_at(1, SVC)
    pe.state.exclusive, pe.state.event_register = (DATA, 8), 1
    assert has(pe.step(), exclusive_after=1, event_after=1)
    assert has(step(1, SVC), exclusive_after=0, event_after=0)


# Calls


@pytest.mark.parametrize(
    ("el", "hcr", "scr", "target"),
    [
        (0, 0, NS, 1),
        (0, TGE, NS, 2),
        (0, TGE, 0, 1),
        (0, TGE, EEL2, 2),
        (1, 0, NS, 1),
        (2, 0, NS, 2),
        (3, 0, NS, 3),
    ],
)
def test_svc_goes_to_the_default_target(el, hcr, scr, target):
    row = step(el, SVC, HCR_EL2=hcr, SCR_EL3=scr)
    assert taken(row, target, 0x5600_1234, event=Event.SVC, elr=CODE + 4, word=SVC)


@pytest.mark.parametrize(
    ("el", "scr", "target"),
    [(1, NS | HCE, 2), (1, SECURE_EL2, 2), (2, NS | HCE, 2), (3, HCE, 3), (3, NS | HCE, 3)],
)
def test_hvc_goes_to_el2_and_from_el3_to_el3(el, scr, target):
    row = step(el, HVC, SCR_EL3=scr)
    assert taken(row, target, 0x5A00_1234, event=Event.HVC, elr=CODE + 4)


@pytest.mark.parametrize(
    ("el", "scr", "target"),
    [
        (0, NS | HCE, 1),
        (1, NS, 1),
        (1, SECURE, 1),
        (2, NS, 2),
        (3, NS, 3),
    ],
)
def test_hvc_is_undefined_at_el0_without_hce_and_without_el2(el, scr, target):
    assert undefined(step(el, HVC, SCR_EL3=scr), target)


@pytest.mark.parametrize("el", [1, 2, 3])
def test_smc_goes_to_el3(el):
    assert taken(step(el, SMC), 3, 0x5E00_1234, event=Event.SMC, elr=CODE + 4)


@pytest.mark.parametrize(
    ("el", "scr", "hcr", "target"),
    [(0, NS, 0, 1), (0, NS, TSC, 1), (0, NS, TGE, 2), (1, NS | SMD, 0, 1), (2, NS | SMD, TSC, 2)],
)
def test_smc_is_undefined_at_el0_and_with_smd(el, scr, hcr, target):
    assert undefined(step(el, SMC, SCR_EL3=scr, HCR_EL2=hcr), target)


@pytest.mark.parametrize("scr", [NS, NS | SMD, EEL2])
def test_tsc_traps_smc_at_el1_before_smd_is_looked_at(scr):
    assert taken(step(1, SMC, SCR_EL3=scr, HCR_EL2=TSC), 2, 0x5E00_1234)


@pytest.mark.parametrize(("el", "scr"), [(1, 0), (2, NS), (3, NS)])
def test_tsc_traps_no_smc_from_elsewhere(el, scr):
    row = step(el, SMC, SCR_EL3=scr, HCR_EL2=TSC)
    assert taken(row, 3, 0x5E00_1234, event=Event.SMC, elr=CODE + 4)


@pytest.mark.parametrize(
    ("el", "hcr", "mdcr", "scr", "target"),
    [
        (0, 0, 0, NS, 1),
        (0, TGE, 0, NS, 2),
        (0, 0, TDE, NS, 2),
        (0, 0, TDE, 0, 1),
        (1, 0, 0, NS, 1),
        (1, 0, TDE, NS, 2),
        (1, 0, TDE, 0, 1),
        (1, 0, TDE, EEL2, 2),
        (2, 0, 0, NS, 2),
        (2, 0, TDE, NS, 2),
        (3, TGE, TDE, NS, 3),
    ],
)
@pytest.mark.parametrize("oslk", [0, 2])
def test_brk_goes_where_debug_exceptions_go_whatever_the_os_lock(el, hcr, mdcr, scr, target, oslk):
    row = step(el, BRK, HCR_EL2=hcr, MDCR_EL2=mdcr, SCR_EL3=scr, OSLSR_EL1=8 | oslk)
    assert taken(row, target, 0xF200_1234, word=BRK)


# UNDEFINED

RESERVED = 0x12C0_0000  # movn w0, #0, lsl #32


@pytest.mark.parametrize("word", [UNDEFINED, 0xFFFF_FFFF, RESERVED, 0xD538_1020])
@pytest.mark.parametrize(
    ("el", "hcr", "target"), [(0, 0, 1), (0, TGE, 2), (1, 0, 1), (2, 0, 2), (3, TGE, 3)]
)
def test_a_word_that_is_no_instruction_is_undefined(word, el, hcr, target):
    row = step(el, word, HCR_EL2=hcr)
    assert undefined(row, target)
    assert row.word == word


@pytest.mark.parametrize(
    ("el", "word"),
    [
        (0, ERET),
        (0, 0xD500_41BF),  # msr spsel, #1
        (0, mrs("CurrentEL", 0)),
        (0, msr("TPIDRRO_EL0", 0)),
        (1, mrs("HCR_EL2", 0)),
        (1, msr("SP_EL1", 0)),
        (2, mrs("SCR_EL3", 0)),
        (3, msr("MIDR_EL1", 0)),
        (3, mrs("OSLAR_EL1", 0)),
    ],
)
def test_what_an_el_may_not_do_is_undefined(el, word):
    assert undefined(step(el, word), max(el, 1))


def test_sp_el0_is_undefined_while_it_is_in_use():
    assert undefined(step(2, mrs("SP_EL0", 0), spsel=0), 2)
    assert completes(step(2, mrs("SP_EL0", 0), spsel=1))


@pytest.mark.parametrize("word", [msr("OSLSR_EL1", 3), mrs("OSLAR_EL1", 3), msr("HCR_EL2", 3)])
def test_undefined_comes_before_a_trap(word):
    row = step(1, word, MDCR_EL2=TDE | TDA | TDOSA, HCR_EL2=TVM)
    assert undefined(row, 1)


def test_undefined_at_el0_comes_before_the_trap_to_el2():
    assert undefined(step(0, mrs("MDSCR_EL1", 3), MDCR_EL2=TDE | TDA), 1)


# Traps of system registers to EL2

DEBUG_ACCESSES = [
    (mrs("MDSCR_EL1", 3), TDA, 0x6224_0065),
    (msr("MDSCR_EL1", 3), TDA, 0x6224_0064),
    (msr("OSLAR_EL1", 3), TDOSA, 0x6228_0460),
    (mrs("OSLSR_EL1", 3), TDOSA, 0x6228_0463),
    (mrs("OSDLR_EL1", 3), TDOSA, 0x6228_0467),
    (msr("OSDLR_EL1", 3), TDOSA, 0x6228_0466),
]


@pytest.mark.parametrize(("word", "enable", "esr"), DEBUG_ACCESSES)
@pytest.mark.parametrize("scr", [NS, EEL2, NS | EEL2])
def test_accesses_to_debug_registers_trap_by_their_enable_and_by_tde(word, enable, esr, scr):
    assert taken(step(1, word, MDCR_EL2=enable, SCR_EL3=scr), 2, esr, word=word)
    assert taken(step(1, word, MDCR_EL2=TDE, SCR_EL3=scr), 2, esr)
    assert taken(step(1, word, HCR_EL2=TGE, SCR_EL3=scr), 2, esr)


@pytest.mark.parametrize(("word", "enable", "_esr"), DEBUG_ACCESSES)
def test_the_other_enable_traps_no_access_to_a_debug_register(word, enable, _esr):
    assert completes(step(1, word, MDCR_EL2=(TDA | TDOSA) & ~enable, HCR_EL2=TVM | TSC))


@pytest.mark.parametrize(("word", "enable", "_esr"), DEBUG_ACCESSES)
@pytest.mark.parametrize(("el", "scr"), [(1, 0), (2, NS), (3, NS), (3, 0)])
def test_accesses_to_debug_registers_trap_from_el1_below_an_enabled_el2_alone(
    word, enable, _esr, el, scr
):
    assert completes(step(el, word, MDCR_EL2=enable | TDE, HCR_EL2=TGE, SCR_EL3=scr))


WRITES_OF_VM_REGISTERS = [
    ("SCTLR_EL1", 0x6230_0460),
    ("ESR_EL1", 0x6230_1464),
    ("FAR_EL1", 0x6230_1860),
]


@pytest.mark.parametrize(("name", "esr"), WRITES_OF_VM_REGISTERS)
def test_tvm_traps_writes_of_virtual_memory_registers(name, esr):
    assert taken(step(1, msr(name, 3), HCR_EL2=TVM), 2, esr)
    assert completes(step(1, msr(name, 3), HCR_EL2=VM | TSC | TWI | TWE))
    assert completes(step(1, mrs(name, 3), HCR_EL2=TVM))
    assert completes(step(1, msr(name, 3), HCR_EL2=TVM, SCR_EL3=0))
    assert completes(step(2, msr(name, 3), HCR_EL2=TVM))


@pytest.mark.parametrize("name", ["VBAR_EL1", "ELR_EL1", "SPSR_EL1", "TPIDR_EL1"])
def test_tvm_traps_no_other_write(name):
    assert completes(step(1, msr(name, 3), HCR_EL2=TVM))


def test_a_trapped_write_writes_nothing():
    pe = pe_at(1, msr("MDSCR_EL1", 3), x={3: 7}, MDCR_EL2=TDE)
    assert has(pe.step(), sys_en=0, sys_reg=0, sys_value=0)
    assert pe.state.sysregs["MDSCR_EL1"] == 0


def test_a_trapped_read_reads_nothing():
    pe = pe_at(1, mrs("MDSCR_EL1", 3), x={3: 7}, MDCR_EL2=TDE, MDSCR_EL1=9)
    assert has(pe.step(), x0_en=0, x0_reg=0, x0_value=0)
    assert pe.state.x[3] == 7


# Traps from EL0

EL0_DAIF = [
    (mrs("DAIF", 3), 0x6232_D065),
    (msr("DAIF", 3), 0x6232_D064),
    (0xD503_42DF, 0x620C_D3E4),  # msr daifset, #2
    (0xD503_42FF, 0x620E_D3E4),  # msr daifclr, #2
    (DAIFSET_D, 0x620C_D3F0),
    (DAIFCLR_D, 0x620E_D3F0),
]


@pytest.mark.parametrize(("word", "esr"), EL0_DAIF)
def test_el0_accesses_to_daif_trap_without_uma(word, esr):
    assert taken(step(0, word), 1, esr)
    assert taken(step(0, word, HCR_EL2=TGE), 2, esr)
    assert taken(step(0, word, HCR_EL2=TGE, SCR_EL3=0), 1, esr)
    assert completes(step(0, word, SCTLR_EL1=UMA))
    assert completes(step(1, word))


@pytest.mark.parametrize(
    ("word", "esr"), [(mrs("PMCCNTR_EL0", 3), 0x6230_E47B), (msr("PMCCNTR_EL0", 3), 0x6230_E47A)]
)
def test_el0_accesses_to_the_cycle_counter_trap(word, esr):
    assert taken(step(0, word, SCTLR_EL1=UMA), 1, esr)
    assert taken(step(0, word, HCR_EL2=TGE), 2, esr)
    assert completes(step(1, word))


# WFI and WFE

WFX = [(WFI, 0x07E0_0000, NTWI, TWI), (WFE, 0x07E0_0001, NTWE, TWE)]


@pytest.mark.parametrize(("word", "esr", "allow", "trap"), WFX)
def test_waiting_at_el0_traps_to_el1_then_to_el2(word, esr, allow, trap):
    other = (NTWI | NTWE) & ~allow
    assert taken(step(0, word, SCTLR_EL1=other, HCR_EL2=trap), 1, esr)
    assert taken(step(0, word, SCTLR_EL1=other, HCR_EL2=TGE), 2, esr)
    assert taken(step(0, word, SCTLR_EL1=allow, HCR_EL2=trap), 2, esr)
    assert completes(step(0, word, SCTLR_EL1=allow, HCR_EL2=(TWI | TWE) & ~trap))
    assert completes(step(0, word, SCTLR_EL1=allow, HCR_EL2=trap, SCR_EL3=0))


@pytest.mark.parametrize(("word", "esr", "_allow", "trap"), WFX)
def test_waiting_at_el1_traps_to_el2(word, esr, _allow, trap):
    assert taken(step(1, word, SCTLR_EL1=0, HCR_EL2=trap), 2, esr)
    assert completes(step(1, word, SCTLR_EL1=0, HCR_EL2=(TWI | TWE) & ~trap))
    assert completes(step(1, word, HCR_EL2=trap, SCR_EL3=0))


@pytest.mark.parametrize("word", [WFI, WFE])
@pytest.mark.parametrize("el", [2, 3])
def test_waiting_at_el2_and_el3_does_not_trap(word, el):
    assert completes(step(el, word, SCTLR_EL1=0, HCR_EL2=TWI | TWE))


@pytest.mark.parametrize("word", [WFI, WFE])
@pytest.mark.parametrize("pins", [{"irq": 1}, {"fiq": 1}, {"serror": 1}])
def test_what_need_not_wait_for_a_pin_does_not_trap(word, pins):
    row = step(1, word, Inputs(**pins), daif=0b1111, HCR_EL2=TWI | TWE)
    assert completes(row)


@pytest.mark.parametrize("word", [WFI, WFE])
@pytest.mark.parametrize(
    ("hcr", "waits"),
    [(VI | IMO, 0), (VF | FMO, 0), (VI, 1), (VF, 1), (VI | FMO, 1), (IMO | FMO, 1)],
)
def test_a_pending_virtual_interrupt_ends_the_wait(word, hcr, waits):
    row = step(1, word, daif=0b1111, HCR_EL2=TWI | TWE | hcr)
    assert row.kind == (Retire.SYNCHRONOUS if waits else Retire.INSTRUCTION)


def test_wfe_takes_the_event_and_does_not_trap_then():
    pe = pe_at(1, WFE, WFE, HCR_EL2=TWE)
    pe.state.event_register = 1
    row = pe.step()
    assert completes(row)
    assert row.event_after == 0
    assert taken(pe.step(), 2, 0x07E0_0001, elr=CODE + 4)


def test_wfi_leaves_the_event():
    pe = pe_at(1, WFI, HCR_EL2=TWI)
    pe.state.event_register = 1
    assert taken(pe.step(), 2, 0x07E0_0000, event_after=1)
