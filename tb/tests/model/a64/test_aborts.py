"""Faults of the reference PE: alignment, aborts, fetches, and Illegal Execution state."""

from typing import Any

import pytest

from model.a64.decode import Row as InstructionRow
from model.a64.loads_stores import ROWS as LOADS_STORES
from model.arch import Event, Retire
from tb.tests.model.a64.pe import (
    BRK,
    CODE,
    DATA,
    EA,
    EEL2,
    ERET,
    LDR_X0_X1,
    LDXR_X0_X1,
    NOP,
    NS,
    RAM_END,
    SA,
    SA0,
    SCTLR_A,
    SPSR_IL,
    STR_X0_X1,
    SVC,
    TGE,
    UNDEFINED,
    VM,
    WINDOW,
    completes,
    has,
    pe_at,
    step,
    taken,
)

# Alignment

LDR_X0_SP = 0xF940_03E0  # ldr x0, [sp]
STP_X0_X1_SP = 0xA9BF_07E0  # stp x0, x1, [sp, #-16]!
LDAXR_X0_SP = 0xC85F_FFE0
PRFM_SP = 0xF980_03E0
LDR_LITERAL = 0x5800_001F  # ldr xzr, .


@pytest.mark.parametrize("word", [LDR_X0_SP, STP_X0_X1_SP, LDAXR_X0_SP])
@pytest.mark.parametrize(
    ("el", "controls"),
    [
        (0, {"SCTLR_EL1": SA0}),
        (1, {"SCTLR_EL1": SA}),
        (2, {"SCTLR_EL2": SA}),
        (3, {"SCTLR_EL3": SA}),
    ],
)
def test_an_access_by_a_misaligned_sp(word, el, controls):
    sctlrs = {"SCTLR_EL1": 0, "SCTLR_EL2": 0, "SCTLR_EL3": 0, **controls}
    row = step(el, word, x={31: DATA + 8}, **sctlrs)
    assert taken(row, max(el, 1), 0x9A00_0000, sets_far=0, x2_en=0)
    row = step(el, word, x={31: DATA + 16}, **sctlrs)
    assert completes(row)


@pytest.mark.parametrize(
    ("el", "controls"),
    [
        (0, {"SCTLR_EL1": SA}),
        (1, {"SCTLR_EL1": SA0}),
        (2, {"SCTLR_EL1": SA | SA0, "SCTLR_EL3": SA}),
    ],
)
def test_the_sp_is_checked_by_the_bit_of_its_el_alone(el, controls):
    sctlrs = {"SCTLR_EL1": 0, "SCTLR_EL2": 0, "SCTLR_EL3": 0, **controls}
    assert completes(step(el, LDR_X0_SP, x={31: DATA + 8}, **sctlrs))


@pytest.mark.parametrize("word", [PRFM_SP, LDR_LITERAL, 0x9100_23FF])  # add sp, sp, #8
def test_a_prefetch_a_literal_and_arithmetic_do_not_check_the_sp(word):
    assert completes(step(1, word, x={31: DATA + 8}))


def test_a_misaligned_sp_at_el0_goes_to_el2_with_tge():
    assert taken(step(0, LDR_X0_SP, x={31: 8}, HCR_EL2=TGE), 2, 0x9A00_0000)


@pytest.mark.parametrize(
    ("word", "alignment", "write"),
    [
        (LDR_X0_X1, 8, 0),
        (STR_X0_X1, 8, 1),
        (0xB940_0020, 4, 0),  # ldr w0, [x1]
        (0x7900_0020, 2, 1),  # strh w0, [x1]
        (0x7980_0020, 2, 0),  # ldrsh x0, [x1]
        (0xA940_0820, 8, 0),  # ldp x0, x2, [x1]
        (0x2900_0820, 4, 1),  # stp w0, w2, [x1]
        (0x6940_0820, 4, 0),  # ldpsw x0, x2, [x1]
    ],
)
def test_an_access_with_sctlr_a_must_be_aligned_to_its_element(word, alignment, write):
    for offset in (1, alignment // 2, alignment, 3 * alignment):
        address = DATA + offset
        row = step(1, word, x={1: address}, SCTLR_EL1=SCTLR_A)
        if offset % alignment:
            esr = 0x9600_0021 | write << 6
            assert taken(row, 1, esr, sets_far=1, far=address, sets_hpfar=0, mem=0)
        else:
            assert completes(row)
        assert completes(step(1, word, x={1: address}, SCTLR_EL1=0))


@pytest.mark.parametrize(
    ("word", "alignment", "write"),
    [
        (LDXR_X0_X1, 8, 0),
        (0xC803_7C22, 8, 1),  # stxr w3, x2, [x1]
        (0x085F_7C20, 1, 0),  # ldxrb w0, [x1]
        (0x485F_7C20, 2, 0),  # ldxrh w0, [x1]
        (0xC87F_0820, 16, 0),  # ldxp x0, x2, [x1]
        (0x887F_0820, 8, 0),  # ldxp w0, w2, [x1]
        (0xC823_0820, 16, 1),  # stxp w3, x0, x2, [x1]
        (0xC8DF_FC20, 8, 0),  # ldar x0, [x1]
        (0x88DF_FC20, 4, 0),  # ldar w0, [x1]
        (0x489F_FC20, 2, 1),  # stlrh w0, [x1]
    ],
)
def test_an_exclusive_or_ordered_access_must_be_aligned_to_all_of_it(word, alignment, write):
    for offset in (1, 8, alignment // 2, 3 * alignment):
        address = DATA + offset
        row = step(1, word, x={1: address}, SCTLR_EL1=0)
        if offset % alignment:
            assert taken(row, 1, 0x9600_0021 | write << 6, sets_far=1, far=address)
        else:
            assert completes(row)


@pytest.mark.parametrize(
    ("el", "hcr", "target", "ec"),
    [(0, 0, 1, 0x24), (0, TGE, 2, 0x24), (1, VM, 1, 0x25), (2, 0, 2, 0x25), (3, 0, 3, 0x25)],
)
def test_an_alignment_fault_goes_to_the_default_target(el, hcr, target, ec):
    row = step(el, LDXR_X0_X1, x={1: DATA + 1}, HCR_EL2=hcr, SCR_EL3=NS | EA)
    assert taken(row, target, ec << 26 | 0x0200_0021, far=DATA + 1)


def test_el0_is_checked_by_the_sctlr_of_el1():
    others = {"SCTLR_EL2": SCTLR_A, "SCTLR_EL3": SCTLR_A}
    assert completes(step(0, LDR_X0_X1, x={1: DATA + 1}, **others))
    row = step(0, LDR_X0_X1, x={1: DATA + 1}, SCTLR_EL1=SCTLR_A)
    assert taken(row, 1, 0x9200_0021)


def test_the_sp_is_checked_first_then_the_alignment_then_the_memory():
    sctlr = {"SCTLR_EL1": SA | SCTLR_A}
    assert step(1, LDR_X0_SP, x={31: WINDOW + 1}, **sctlr).esr == 0x9A00_0000
    assert step(1, LDR_X0_X1, x={1: WINDOW + 1}, **sctlr).esr == 0x9600_0021
    assert step(1, LDXR_X0_X1, x={1: WINDOW & ~7}, **sctlr).esr == 0x9600_0010


# Aborts


@pytest.mark.parametrize(
    ("el", "scr", "hcr", "target", "ec"),
    [
        (0, NS, 0, 1, 0x24),
        (0, NS, TGE, 2, 0x24),
        (1, NS, 0, 1, 0x25),
        (2, NS, 0, 2, 0x25),
        (2, NS, VM, 2, 0x25),
        (3, NS, VM, 3, 0x25),
        (0, NS | EA, 0, 3, 0x24),
        (1, NS | EA, 0, 3, 0x24),
        (2, NS | EA, 0, 3, 0x24),
        (3, NS | EA, 0, 3, 0x25),
        (1, 0, VM, 1, 0x25),
        (1, EA, VM, 3, 0x24),
    ],
)
@pytest.mark.parametrize(("word", "write"), [(LDR_X0_X1, 0), (STR_X0_X1, 1)])
def test_without_stage_2_an_access_outside_ram_is_an_external_abort(
    el, scr, hcr, target, ec, word, write
):
    row = step(el, word, x={1: WINDOW}, SCR_EL3=scr, HCR_EL2=hcr)
    esr = ec << 26 | 0x0200_0010 | write << 6
    assert taken(row, target, esr, sets_far=1, far=WINDOW, sets_hpfar=0, hpfar=0, mem=0)


@pytest.mark.parametrize(("el", "scr"), [(0, NS), (1, NS), (1, EEL2), (1, NS | EA), (0, EEL2 | EA)])
def test_with_stage_2_an_access_outside_ram_is_a_translation_fault(el, scr):
    pe = pe_at(el, LDR_X0_X1, x={1: WINDOW}, SCR_EL3=scr, HCR_EL2=VM)
    row = pe.step()
    assert taken(row, 2, 0x93C0_8007, sets_far=1, far=WINDOW, sets_hpfar=1)
    assert row.hpfar == 0x87_6543_2100  # bits 47:12 at 39:4
    assert pe.state.sysregs["FAR_EL2"] == WINDOW
    assert pe.state.sysregs["HPFAR_EL2"] == row.hpfar


def test_hpfar_has_bits_47_to_12_of_the_address():
    row = step(1, LDR_X0_X1, x={1: 0xFFFF_FFFF_FFFF_F000}, HCR_EL2=VM)
    assert has(row, far=0xFFFF_FFFF_FFFF_F000, hpfar=0xFF_FFFF_FFF0)


@pytest.mark.parametrize(
    ("address", "far"),
    [
        (RAM_END - 8, None),
        (RAM_END - 7, RAM_END),
        (RAM_END - 1, RAM_END),
        (RAM_END, RAM_END),
        (0x4000_0000, None),
        (0x3FFF_FFFF, 0x3FFF_FFFF),
        (0x3FFF_FFF9, 0x3FFF_FFF9),
        (0, 0),
        ((1 << 64) - 1, (1 << 64) - 1),
    ],
)
@pytest.mark.parametrize("hcr", [0, VM])
@pytest.mark.parametrize("word", [LDR_X0_X1, STR_X0_X1])
def test_far_is_the_first_byte_outside_ram(address, far, hcr, word):
    row = step(1, word, x={1: address}, HCR_EL2=hcr)
    if far is None:
        assert completes(row)
    else:
        assert has(row, sets_far=1, far=far, kind=Retire.SYNCHRONOUS)


def test_a_pair_is_one_access():
    ldp, stp = 0xA940_0820, 0xA900_0820  # x0, x2, [x1]
    assert step(1, ldp, x={1: RAM_END - 8}).far == RAM_END
    pe = pe_at(1, stp, x={0: 5, 2: 6, 1: RAM_END - 8})
    assert pe.step().far == RAM_END
    assert pe.read_memory(RAM_END - 8, 8) == bytes(8)


@pytest.mark.parametrize(
    "word",
    [
        0xF840_8C20,  # ldr x0, [x1, #8]!
        0xF800_8420,  # str x0, [x1], #8
        0xA8C1_0820,  # ldp x0, x2, [x1], #16
        0xC85F_7C20,  # ldxr x0, [x1]
    ],
)
def test_what_faults_writes_nothing(word):
    pe = pe_at(1, word, x={0: 0xAA, 1: WINDOW & ~7, 2: 0xBB})
    before = pe.state.x.copy()
    row = pe.step()
    assert pe.state.x == before
    assert has(row, x0_en=0, x1_en=0, x2_en=0, mem=0, exclusive_after=0, kind=Retire.SYNCHRONOUS)


def test_a_store_exclusive_whose_monitor_is_open_makes_no_access():
    row = step(1, 0xC803_7C22, x={1: WINDOW & ~7})
    assert completes(row)
    assert has(row, x0_en=1, x0_reg=3, x0_value=1, mem=0)


@pytest.mark.parametrize("word", [0xF980_0020, 0xF880_0020, 0xF8A2_6820, 0xD800_0000])
def test_a_prefetch_never_faults(word):
    assert completes(step(1, word, x={1: WINDOW}, SCTLR_EL1=SCTLR_A))


# What a stage 2 abort says of the instruction: SAS, SSE, SF and AR, or nothing

SINGLE: dict[str, tuple[Any, ...]] = {
    "STRB": (0, 0, 0, 0),
    "LDRB": (0, 0, 0, 0),
    "LDRSB": (0, 1, "X", 0),
    "STRH": (1, 0, 0, 0),
    "LDRH": (1, 0, 0, 0),
    "LDRSH": (1, 1, "X", 0),
    "STR": ("W", 0, "W", 0),
    "LDR": ("W", 0, "W", 0),
    "LDRSW": (2, 1, 1, 0),
}
NO_SYNDROME = {
    *("STXR", "LDXR", "STXP", "LDXP", "STLXR", "LDAXR", "STLXP", "LDAXP", "STNP", "LDNP"),
    *(f"{pair} ({mode})" for pair in ("STP", "LDP", "LDPSW") for mode in ("offset", "pre-index")),
    *(f"{pair} (post-index)" for pair in ("STP", "LDP", "LDPSW")),
    *(f"{name} ({mode})" for name in SINGLE for mode in ("pre-index", "post-index")),
}
NO_ACCESS = {"PRFM (literal)", "PRFUM", "PRFM (unsigned offset)", "PRFM (register)"}
STAGE_2_ROWS = [row for row in LOADS_STORES if row.name not in NO_ACCESS]

#: The fields that an access needs to be at WINDOW: x1 is the base, x2 the offset of 0.
_FIXED = {"Rn": 1, "Rt": 5, "Rt2": 6, "Rs": 7, "Rm": 2, "option": 0b011, "S": 0}


def variants(row: InstructionRow):
    """The fields of each width and size that the row has."""
    choices: list[dict[str, int]] = [{}]
    for name in row.fields.keys() & {"sz", "sf", "narrow"}:
        choices = [{**choice, name: bit} for choice in choices for bit in (0, 1)]
    if "size" in row.fields:
        choices = [{**choice, "size": size} for choice in choices for size in range(4)]
    return choices


def expected_syndrome(name: str, fields: dict[str, int]) -> int:
    """ISS<24:14>."""
    if name in NO_SYNDROME:
        return 0
    if name in ("LDAR", "STLR"):
        size = fields["size"]
        sas, sse, sf, ar = size, 0, int(size == 3), 1
    else:
        stem = name.split()[0]
        stem = stem[:2] + stem[2:].removeprefix("U")  # LDUR and so on
        sas, sse, sf, ar = SINGLE[stem]
        if sas == "W":
            sas, sf = 2 + fields["sz"], fields["sz"]
        if sf == "X":
            sf = 1 - fields["narrow"]
    return 1 << 24 | sas << 22 | sse << 21 | 5 << 16 | sf << 15 | ar << 14


@pytest.mark.parametrize("row", STAGE_2_ROWS, ids=lambda row: row.name)
def test_a_stage_2_abort_says_what_the_instruction_was(row):
    write = int(row.name.startswith("ST"))
    address = WINDOW & ~0xF
    for choice in variants(row):
        fields = {name: value for name, value in _FIXED.items() if name in row.fields} | choice
        pc = CODE
        if "imm19" in row.fields:  # a literal: from the end of RAM to what is after it
            pc, address, fields["imm19"] = RAM_END - 8, RAM_END + 0x100 - 8, 0x100 // 4
        word = row.value | sum(row.fields[name].put(value) for name, value in fields.items())
        pe = pe_at(1, word, pc=pc, x={1: address, 2: 0}, HCR_EL2=VM)
        if row.name.startswith("ST") and "Rs" in row.fields:
            size = 1 << fields["size"] if "size" in fields else 8 << fields["sz"]
            pe.state.exclusive = (address, size)
        iss = expected_syndrome(row.name, fields) | write << 6 | 0b000111
        assert taken(pe.step(), 2, 0x9200_0000 | iss, far=address, elr=pc, word=word), fields


def test_a_load_to_xzr_has_register_31_in_its_syndrome():
    assert step(1, 0xF940_003F, x={1: WINDOW}, HCR_EL2=VM).esr == 0x93DF_8007


# Fetch


@pytest.mark.parametrize("pc", [CODE + 1, CODE + 2, CODE + 3, WINDOW | 2])
@pytest.mark.parametrize(
    ("el", "hcr", "target"), [(0, 0, 1), (0, TGE, 2), (1, VM, 1), (2, 0, 2), (3, 0, 3)]
)
def test_a_pc_that_is_no_multiple_of_4(pc, el, hcr, target):
    pe = pe_at(el, NOP, HCR_EL2=hcr, SCR_EL3=NS | EA)
    pe.state.pc = pc
    row = pe.step()
    assert taken(row, target, 0x8A00_0000, elr=pc, far=pc, sets_far=1, sets_hpfar=0, word=0)


@pytest.mark.parametrize("pc", [RAM_END, 0, 0x3FFF_FFFC, (1 << 64) - 4])
@pytest.mark.parametrize(
    ("el", "scr", "hcr", "target", "ec"),
    [
        (0, NS, 0, 1, 0x20),
        (0, NS, TGE, 2, 0x20),
        (1, NS, 0, 1, 0x21),
        (2, NS, VM, 2, 0x21),
        (3, NS, VM, 3, 0x21),
        (1, NS | EA, 0, 3, 0x20),
        (3, EA, 0, 3, 0x21),
        (1, 0, VM, 1, 0x21),
    ],
)
def test_without_stage_2_a_fetch_outside_ram_is_an_external_abort(pc, el, scr, hcr, target, ec):
    pe = pe_at(el, SCR_EL3=scr, HCR_EL2=hcr)
    pe.state.pc = pc
    esr = ec << 26 | 0x0200_0010
    row = pe.step()
    assert taken(row, target, esr, elr=pc, far=pc, sets_far=1, sets_hpfar=0, word=0)


@pytest.mark.parametrize(("el", "scr"), [(0, NS), (1, NS), (1, NS | EA), (1, EEL2)])
def test_with_stage_2_a_fetch_outside_ram_is_a_translation_fault(el, scr):
    pe = pe_at(el, SCR_EL3=scr, HCR_EL2=VM)
    pe.state.pc = 0x5432_1000
    row = pe.step()
    assert taken(row, 2, 0x8200_0007, elr=0x5432_1000, far=0x5432_1000, hpfar=0x54_3210)
    assert has(row, sets_far=1, sets_hpfar=1)


# Illegal Execution state


@pytest.mark.parametrize("word", [NOP, SVC, ERET, UNDEFINED, BRK, LDR_X0_X1])
@pytest.mark.parametrize(
    ("el", "hcr", "target"), [(0, 0, 1), (0, TGE, 2), (1, 0, 1), (2, 0, 2), (3, 0, 3)]
)
def test_illegal_execution_state_comes_before_whatever_the_word_says(word, el, hcr, target):
    pe = pe_at(el, word, HCR_EL2=hcr)
    pe.state.il = 1
    row = pe.step()
    assert taken(row, target, 0x3A00_0000, event=Event.EXECUTE, word=word, sets_far=0)
    assert has(row, il_after=0, spsr=SPSR_IL | el << 2 | (1 if el else 0))


@pytest.mark.parametrize(("pc", "esr"), [(CODE + 2, 0x8A00_0000), (RAM_END, 0x8600_0010)])
def test_a_fetch_that_fails_comes_before_illegal_execution_state(pc, esr):
    pe = pe_at(1)
    pe.state.il, pe.state.pc = 1, pc
    row = pe.step()
    assert taken(row, 1, esr, elr=pc, word=0)
    assert row.spsr & SPSR_IL
