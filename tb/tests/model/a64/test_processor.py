"""The reference PE from reset on: its rows, its memory, and what its instructions leave."""

import pytest

from model.a64.decode import Reserved
from model.a64.instructions import ROWS
from model.a64.interpreter import step as interpreter_step
from model.a64.processor import Processor
from model.a64.state import MASK64
from model.a64.trace import Inputs
from model.arch import EL, Access, Event, Last, Retire, StepState
from tb.tests.model.a64.pe import (
    ADD_X0_1,
    B_SELF,
    CLREX,
    CODE,
    DATA,
    ERET,
    ISB,
    LDR_X0_X1,
    LDXR_X0_X1,
    NOP,
    NS,
    RAM_END,
    SEV,
    SEVL,
    SVC,
    UNDEFINED,
    WFE,
    WFI,
    code,
    completes,
    has,
    mov,
    mrs,
    msr,
    pe_at,
    step,
)

# Reset


def test_the_state_after_reset():
    pe = Processor()
    pe.write_memory(0x4000_0000, code(NOP))
    row = pe.step()
    assert has(row, pc=0x4000_0000, el=3, eld=1, enabled=0, state=StepState.INACTIVE, last=0)
    assert has(row, kind=Retire.INSTRUCTION, word=NOP, event=Event.EXECUTE)
    assert has(row, pc_after=0x4000_0004, el_after=3, sp_after=1, nzcv_after=0, daif_after=0b1111)
    assert has(row, ss_after=0, il_after=0, exclusive_after=0, event_after=0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SCTLR_EL1", 0x00C5_0838),
        ("SCTLR_EL2", 0x30C5_0838),
        ("SCTLR_EL3", 0x00C5_0838),
        ("OSLSR_EL1", 0xA),
        ("MIDR_EL1", 0x000F_0000),
        ("MPIDR_EL1", 0x8000_0000),
        ("CurrentEL", 0xC),
        ("SPSel", 1),
        ("DAIF", 0x3C0),
        ("SCR_EL3", 0),
        ("VBAR_EL3", 0),
        ("SP_EL0", 0),
    ],
)
def test_system_registers_after_reset(name, value):
    pe = Processor()
    pe.write_memory(0x4000_0000, code(mrs(name, 5)))
    assert has(pe.step(), x0_en=1, x0_reg=5, x0_value=value)


# Memory and runs


def test_memory_is_written_and_read_by_address():
    pe = Processor()
    assert pe.read_memory(RAM_END - 4, 4) == bytes(4)
    pe.write_memory(RAM_END - 3, b"abc")
    assert pe.read_memory(RAM_END - 4, 4) == b"\0abc"


@pytest.mark.parametrize(
    ("address", "size"), [(0x3FFF_FFFF, 1), (RAM_END - 1, 2), (RAM_END + 1, 0), (0, 4)]
)
def test_bytes_outside_ram_are_refused(address, size):
    pe = Processor()
    message = f"{size} bytes at {address:#x} are not all in RAM"
    with pytest.raises(ValueError, match=message):
        pe.write_memory(address, bytes(size))
    with pytest.raises(ValueError, match=message):
        pe.read_memory(address, size)


def test_a_run_ends_with_a_branch_to_itself():
    pe = pe_at(3, NOP, NOP, B_SELF)
    rows = pe.run()
    assert [row.pc for row in rows] == [CODE, CODE + 4, CODE + 8]


def test_an_exception_that_returns_to_its_own_vector_ends_no_run():
    pe = pe_at(1, pc=CODE + 0x200, VBAR_EL1=CODE)
    assert [row.pc for row in pe.run(max_rows=3)] == [CODE + 0x200] * 3


def test_a_run_ends_after_its_rows_its_inputs_or_where_it_is_told():
    nops = [NOP] * 10
    assert len(pe_at(3, *nops).run(max_rows=4)) == 4
    assert len(pe_at(3, *nops).run([Inputs()] * 3)) == 3
    rows = pe_at(3, *nops).run(stop=lambda row: row.pc_after == CODE + 20)
    assert len(rows) == 5


def test_a_run_has_an_input_a_row():
    pe = pe_at(1, NOP, NOP, NOP)
    rows = pe.run([Inputs(), Inputs(irq=1, wfx_ends=0), Inputs(isv_choice=0)])
    assert [row.kind for row in rows] == [Retire.INSTRUCTION, Retire.IRQ, Retire.SYNCHRONOUS]
    assert [(row.irq, row.wfx_ends, row.isv_choice) for row in rows] == [
        (0, 1, 1),
        (1, 0, 1),
        (0, 1, 0),
    ]


def test_a_word_that_was_stored_is_executed():
    store = 0xB900_0022  # str w2, [x1]
    pe = pe_at(1, NOP, store, 0x17FF_FFFE, x={1: CODE, 2: ADD_X0_1})  # b to the first word
    words = [row.word for row in pe.run(max_rows=4)]
    assert words == [NOP, store, 0x17FF_FFFE, ADD_X0_1]


# General-purpose registers in a row


@pytest.mark.parametrize(
    ("word", "written"),
    [
        (ADD_X0_1, [(0, 1), None, None]),
        (0x9100_07FF, [(31, 0x4018_0001), None, None]),  # add sp, sp, #1
        (0xB100_07FF, [None, None, None]),  # adds xzr, sp, #1
        (0x8B02_003F, [None, None, None]),  # add xzr, x1, x2
        (0x8B22_603F, [(31, DATA + 3), None, None]),  # add sp, x1, x2
        (0xAB22_603F, [None, None, None]),  # adds xzr, x1, x2 (extended)
        (0xB240_003F, [(31, DATA + 1), None, None]),  # orr sp, x1, #1
        (0xF240_003F, [None, None, None]),  # ands xzr, x1, #1
        (0x9400_0000, [(30, CODE + 4), None, None]),  # bl .
        (0xD63F_0020, [(30, CODE + 4), None, None]),  # blr x1
        (0x1400_0000, [None, None, None]),  # b .
        (0xD61F_0020, [None, None, None]),  # br x1
        (0xFA41_0000, [None, None, None]),  # ccmp x0, x1, #0, eq
        (mrs("CurrentEL", 9), [(9, 4), None, None]),
        (mrs("CurrentEL", 31), [None, None, None]),
        (msr("TPIDR_EL1", 9), [None, None, None]),
        (LDR_X0_X1, [(0, 0x0706_0504_0302_0100), None, None]),
        (0xF840_8420, [(0, 0x0706_0504_0302_0100), None, (1, DATA + 8)]),  # ldr x0, [x1], #8
        (0xF840_8C20, [(0, 0x0F0E_0D0C_0B0A_0908), None, (1, DATA + 8)]),  # ldr x0, [x1, #8]!
        (0xF840_87E0, [(0, 0x0706_0504_0302_0100), None, (31, DATA + 8)]),  # ldr x0, [sp], #8
        (0xF800_843F, [None, None, (1, DATA + 8)]),  # str xzr, [x1], #8
        (0xA940_0C20, [(0, 0x0706_0504_0302_0100), (3, 0x0F0E_0D0C_0B0A_0908), None]),  # ldp
        (0x28C1_0C20, [(0, 0x0302_0100), (3, 0x0706_0504), (1, DATA + 8)]),  # ldp w0, w3, [x1], #8
        (0xA940_7C20, [(0, 0x0706_0504_0302_0100), None, None]),  # ldp x0, xzr, [x1]
        (0xA940_003F, [None, (0, 0x0F0E_0D0C_0B0A_0908), None]),  # ldp xzr, x0, [x1]
        (0xA981_0C20, [None, None, (1, DATA + 16)]),  # stp x0, x3, [x1, #16]!
        (LDXR_X0_X1, [(0, 0x0706_0504_0302_0100), None, None]),
        (0xC87F_0C20, [(0, 0x0706_0504_0302_0100), (3, 0x0F0E_0D0C_0B0A_0908), None]),  # ldxp
        (0xC804_7C20, [(4, 1), None, None]),  # stxr w4, x0, [x1]
        (0xC81F_7C20, [None, None, None]),  # stxr wzr, x0, [x1]
        (0xC824_0C20, [(4, 1), None, None]),  # stxp w4, x0, x3, [x1]
        (0xC8DF_FC20, [(0, 0x0706_0504_0302_0100), None, None]),  # ldar x0, [x1]
        (0xC89F_FC20, [None, None, None]),  # stlr x0, [x1]
        (0x5800_0000, [(0, 0x5800_0000), None, None]),  # ldr x0, .
        (0xF980_0020, [None, None, None]),  # prfm pldl1keep, [x1]
    ],
)
def test_a_row_shows_the_registers_written(word, written):
    pe = pe_at(1, word, x={1: DATA, 2: 3, 31: DATA})
    pe.write_memory(DATA, bytes(range(32)))
    row = pe.step()
    assert completes(row)
    found = [
        (row.x0_en, row.x0_reg, row.x0_value),
        (row.x1_en, row.x1_reg, row.x1_value),
        (row.x2_en, row.x2_reg, row.x2_value),
    ]
    assert found == [(1, *each) if each else (0, 0, 0) for each in written]


MOVABLE = [row for row in ROWS if row.name not in ("HVC", "SMC", "SVC", "BRK", "ERET")]


@pytest.mark.parametrize("row", MOVABLE, ids=lambda row: row.name)
def test_a_row_shows_every_register_that_an_instruction_changes(row, rng):
    pe = pe_at(3, daif=0b1111)
    state = pe.state
    for _ in range(60):
        word = row.value | rng.getrandbits(32) & ~row.mask
        for register in range(32):
            state.x[register] = rng.choice((DATA + 16 * rng.randrange(64), rng.getrandbits(64)))
        state.sp &= ~0xF
        state.nzcv = rng.getrandbits(4)
        state.pc = CODE
        pe.write_memory(CODE, code(word))
        before = state.x[:32]
        retired = pe.step(Inputs(cycle_count=rng.getrandbits(64)))
        if retired.kind != Retire.INSTRUCTION:
            assert state.x[:31] == before[:31]
        elif not (word & 0xFFF0_0000 == 0xD510_0000 or word >> 12 == 0xD5004):  # may change the SP
            shown = before.copy()
            for number in range(3):
                parts = (getattr(retired, f"x{number}_{part}") for part in ("en", "reg", "value"))
                enabled, register, value = parts
                if enabled:
                    shown[register] = value
            assert state.x[:32] == shown, f"{word:#010x}"
        state.select_sp(EL.EL3, 1)


# System registers in a row


def test_a_row_shows_the_system_register_written_and_what_was_in_the_general_register():
    row = step(1, msr("MDSCR_EL1", 9), x={9: 0x1234_5678_9ABC_DEF0})
    assert has(row, sys_en=1, sys_reg=0b0_000_0000_0010_010, sys_value=0x1234_5678_9ABC_DEF0)
    row = step(1, msr("DAIF", 9), x={9: MASK64})
    assert has(row, sys_en=1, sys_reg=0b1_011_0100_0010_001, sys_value=MASK64, daif_after=0b1111)
    row = step(1, msr("OSLAR_EL1", 9), x={9: 3})
    assert has(row, sys_en=1, sys_reg=0b0_000_0001_0000_100, sys_value=3)


@pytest.mark.parametrize("word", [0xD503_42DF, 0xD500_40BF, mrs("MDSCR_EL1", 9), NOP])
def test_msr_immediate_and_mrs_write_no_system_register(word):
    assert has(step(1, word), sys_en=0, sys_reg=0, sys_value=0)


def test_the_cycle_counter_reads_what_it_is_told():
    count = 0x1234_5678_9ABC
    pe = pe_at(1, mrs("PMCCNTR_EL0", 9), mrs("PMCCNTR_EL0", 31), NOP)
    given = Inputs(cycle_count=count)
    assert has(pe.step(given), cycle_count=count, x0_en=1, x0_reg=9, x0_value=count)
    assert has(pe.step(given), cycle_count=count, x0_en=0)
    assert has(pe.step(given), cycle_count=0)


def test_a_cycle_counter_that_is_not_read_is_not_in_the_row():
    given = Inputs(cycle_count=5)
    assert step(0, mrs("PMCCNTR_EL0", 9), given).cycle_count == 0
    assert step(1, msr("PMCCNTR_EL0", 9), given).cycle_count == 0


# Memory in a row


@pytest.mark.parametrize(
    ("word", "access", "size", "data"),
    [
        (0x3940_0020, Access.LOAD, 0, 0x80),  # ldrb
        (0x7980_0020, Access.LOAD, 1, 0x8180),  # ldrsh: as loaded, not as extended
        (0xB940_0020, Access.LOAD, 2, 0x8382_8180),
        (LDR_X0_X1, Access.LOAD, 3, 0x8786_8584_8382_8180),
        (0x2940_0C20, Access.LOAD, 3, 0x8786_8584_8382_8180),  # ldp w0, w3
        (0x6940_0C20, Access.LOAD, 3, 0x8786_8584_8382_8180),  # ldpsw
        (0xA940_0C20, Access.LOAD, 4, 0x8F8E_8D8C_8B8A_8988_8786_8584_8382_8180),
        (0xC87F_0C20, Access.LOAD, 4, 0x8F8E_8D8C_8B8A_8988_8786_8584_8382_8180),
        (0x3900_0022, Access.STORE, 0, 0xF0),  # strb w2
        (0x7900_0022, Access.STORE, 1, 0xDEF0),
        (0xB900_0022, Access.STORE, 2, 0x9ABC_DEF0),
        (0xF900_0022, Access.STORE, 3, 0x1234_5678_9ABC_DEF0),
        (0x2900_0822, Access.STORE, 3, 0x9ABC_DEF0_9ABC_DEF0),  # stp w2, w2
        (0xA900_0822, Access.STORE, 4, 0x1234_5678_9ABC_DEF0_1234_5678_9ABC_DEF0),
    ],
)
def test_a_row_shows_the_access(word, access, size, data):
    pe = pe_at(1, word, x={1: DATA + 1, 2: 0x1234_5678_9ABC_DEF0}, SCTLR_EL1=0)
    pe.write_memory(DATA + 1, bytes(range(0x80, 0x90)))
    if word == 0xC87F_0C20:  # an exclusive is aligned
        pe.state.x[1] = DATA
        pe.write_memory(DATA, bytes(range(0x80, 0x90)))
    row = pe.step()
    assert has(row, mem=access, mem_size=size, mem_data=data, mem_address=pe.state.x[1])
    if access is Access.STORE:
        assert pe.read_memory(DATA + 1, 1 << size) == data.to_bytes(1 << size, "little")


@pytest.mark.parametrize("word", [NOP, 0xF980_0020, 0xC803_7C22, UNDEFINED, SVC])
def test_a_row_without_an_access_shows_none(word):
    pe = pe_at(1, LDR_X0_X1, word, x={1: DATA})
    pe.step()
    assert has(pe.step(), mem=Access.NONE, mem_address=0, mem_size=0, mem_data=0)


# The exclusive monitor and the event register

STXR = 0xC803_7C22  # stxr w3, x2, [x1]


def test_the_monitor_is_marked_until_a_store_exclusive_or_clrex():
    pe = pe_at(1, LDXR_X0_X1, NOP, LDR_X0_X1, STXR, LDXR_X0_X1, CLREX, x={1: DATA})
    assert [pe.step().exclusive_after for _ in range(6)] == [1, 1, 1, 0, 1, 0]


def test_a_store_exclusive_that_passes_stores_and_says_0():
    pe = pe_at(1, LDXR_X0_X1, STXR, x={1: DATA, 2: 0x22, 3: 7})
    pe.step()
    row = pe.step()
    assert has(row, x0_en=1, x0_reg=3, x0_value=0, mem=Access.STORE, mem_size=3, mem_data=0x22)
    assert has(row, mem_address=DATA, event=Event.EXECUTE)


def test_an_eret_clears_the_monitor_and_sets_the_event_register():
    for spsr in (0b0101, 0b1111):  # the second is no mode: an illegal return
        pe = pe_at(1, LDXR_X0_X1, ERET, x={1: DATA}, SPSR_EL1=spsr, ELR_EL1=CODE)
        assert has(pe.step(), exclusive_after=1, event_after=0)
        assert has(pe.step(), exclusive_after=0, event_after=1)


def test_an_exception_in_between_leaves_the_monitor():
    pe = pe_at(1, LDXR_X0_X1, UNDEFINED, x={1: DATA})
    assert [pe.step().exclusive_after for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("word", [SEV, SEVL])
def test_an_event_is_taken_by_the_next_wfe(word):
    pe = pe_at(1, word, NOP, WFI, WFE, WFE)
    assert [pe.step().event_after for _ in range(5)] == [1, 1, 1, 0, 0]


@pytest.mark.parametrize("word", [WFI, WFE])
@pytest.mark.parametrize("given", [Inputs(wfx_ends=1), Inputs(wfx_ends=0, irq=1)])
def test_waiting_ends(word, given):
    row = step(1, word, given, daif=0b1111)
    assert completes(row)
    assert has(row, event=Event.EXECUTE, pc_after=CODE + 4, wfx_ends=given.wfx_ends)


# Exception return


@pytest.mark.parametrize(
    ("el", "m", "el_after", "sp_after"),
    [
        (1, 0b0000, 0, 0),
        (1, 0b0100, 1, 0),
        (1, 0b0101, 1, 1),
        (2, 0b0000, 0, 0),
        (2, 0b0101, 1, 1),
        (2, 0b1000, 2, 0),
        (2, 0b1001, 2, 1),
        (3, 0b0000, 0, 0),
        (3, 0b0100, 1, 0),
        (3, 0b1001, 2, 1),
        (3, 0b1100, 3, 0),
        (3, 0b1101, 3, 1),
    ],
)
def test_a_return_goes_where_the_spsr_says(el, m, el_after, sp_after):
    pe = pe_at(el, ERET, daif=0b1111)
    pe.state.sysregs[f"SPSR_EL{el}"] = 0x9000_0000 | 0b0101 << 6 | m
    pe.state.sysregs[f"ELR_EL{el}"] = 0x1234_5678_9ABC_DEF1
    row = pe.step()
    assert completes(row)
    assert has(row, event=Event.ERET, pc_after=0x1234_5678_9ABC_DEF1, il_after=0)
    assert has(row, el_after=el_after, sp_after=sp_after, nzcv_after=0b1001, daif_after=0b0101)


def test_a_return_goes_to_the_stack_pointer_of_its_el():
    pe = pe_at(2, ERET, SPSR_EL2=0b0101)
    pe.state.unused_sps = [0xA0, 0xA1, 0xA2, 0xA3]
    pe.state.sp = 0xB2
    pe.step()
    assert pe.state.stack_pointers() == [0xA0, 0xA1, 0xB2, 0xA3]
    assert pe.state.sp == 0xA1


def test_a_return_may_set_illegal_execution_state():
    assert has(step(2, ERET, SPSR_EL2=1 << 20 | 0b0101), el_after=1, il_after=1)


ILLEGAL = [
    (1, 0b0001, {}),
    (1, 0b0110, {}),
    (1, 0b1111, {}),
    (1, 0b1001, {}),  # up
    (2, 0b1101, {}),
    (3, 0b1001, {"SCR_EL3": 0}),  # EL2, which is not enabled in Secure state
    (2, 0b0101, {"HCR_EL2": 1 << 27}),  # EL1 with TGE
    (3, 0b0101, {"HCR_EL2": 1 << 27}),
    (1, 0b1_0000, {}),  # AArch32, of which there is nothing here: User
    (3, 0b1_0000, {}),
    (2, 0b1_0011, {}),  # Supervisor
    (3, 0b1_1010, {}),  # Hyp
    (3, 0b1_1111, {}),
]


@pytest.mark.parametrize(("el", "m", "controls"), ILLEGAL)
@pytest.mark.parametrize("spsel", [0, 1])
def test_an_illegal_return_stays_and_sets_il(el, m, controls, spsel):
    pe = pe_at(el, ERET, spsel=spsel, daif=0b1111, **controls)
    pe.state.sysregs[f"SPSR_EL{el}"] = 0x6000_0000 | 0b0101 << 6 | m
    pe.state.sysregs[f"ELR_EL{el}"] = CODE + 0x100
    row = pe.step()
    assert completes(row)
    assert has(row, event=Event.ERET, el_after=el, sp_after=spsel, il_after=1)
    assert has(row, pc_after=CODE + 0x100, nzcv_after=0b0110, daif_after=0b0101)


@pytest.mark.parametrize(("scr", "hcr"), [(0, 1 << 27), (NS, 0)])
def test_tge_makes_no_return_to_el1_illegal_where_el2_is_not_enabled(scr, hcr):
    assert has(step(3, ERET, SPSR_EL3=0b0101, SCR_EL3=scr, HCR_EL2=hcr), el_after=1, il_after=0)


def test_secure_el2_can_be_returned_to():
    assert has(step(3, ERET, SPSR_EL3=0b1001, SCR_EL3=1 << 18), el_after=2, il_after=0)


# A program, and the interpreter beside it


def test_from_reset_to_el0_and_back():
    user = (*mov(1, 7), SVC)
    boot = (
        *mov(0, 0x4000_1000),
        msr("VBAR_EL1", 0),
        *mov(0, NS | 1 << 8),
        msr("SCR_EL3", 0),
        *mov(0, 0x4000_2000),
        msr("ELR_EL3", 0),
        msr("SPSR_EL3", 31),
        ERET,
    )
    pe = Processor()
    pe.write_memory(0x4000_0000, code(*boot))
    pe.write_memory(0x4000_2000, code(*user))
    pe.write_memory(0x4000_1400, code(mrs("ESR_EL1", 2), ISB, B_SELF))
    rows = pe.run()
    assert len(rows) == len(boot) + len(user) + 3
    assert [row.el for row in rows[-8:]] == [0] * 5 + [1] * 3
    assert (pe.state.x[1], pe.state.x[2]) == (7, 0x5600_1234)


def random_words(rng, count):
    words = []
    while len(words) < count:
        row = rng.choice(MOVABLE)
        fields = {name: rng.getrandbits(field.width) for name, field in row.fields.items()}
        try:
            row.build(**fields)
        except Reserved:
            continue
        words.append(row.value | sum(row.fields[name].put(at) for name, at in fields.items()))
    return words


def place(pe, word, x):
    """A PE at EL1, at the word, with these values in x0 to x30 and SP."""
    state = pe.state
    state.select_sp(EL.EL1, 1)
    state.x[:32] = x
    state.daif, state.nzcv, state.exclusive, state.pc = 0, 0b0101, None, CODE
    pe.write_memory(CODE, code(word))


def test_the_processor_leaves_what_the_interpreter_leaves(rng):
    pe, twin_pe = pe_at(1), pe_at(1)
    state, twin = pe.state, twin_pe.state
    sysregs = state.sysregs.copy()
    compared = 0
    for word in random_words(rng, 5000):
        x = [rng.choice((DATA + 16 * rng.randrange(64), rng.getrandbits(64))) for _ in range(32)]
        for each in (pe, twin_pe):
            place(each, word, x)
            each.state.sysregs.update(sysregs)
        if pe.step().kind != Retire.INSTRUCTION:
            continue
        compared += 1
        interpreter_step(twin)
        assert (state.x, state.pc, state.nzcv) == (twin.x, twin.pc, twin.nzcv), f"{word:#010x}"
        assert (state.sysregs, state.daif) == (twin.sysregs, twin.daif), f"{word:#010x}"
    assert compared > 2000


def test_without_stepping_nothing_is_said_of_what_was_stepped():
    pe = pe_at(1, NOP, LDXR_X0_X1, ISB, x={1: DATA})
    assert [pe.step().last for _ in range(3)] == [Last.NOTHING] * 3
