"""The whole core: rows of its trace held against facts of the architecture."""

import pytest

from model.arch import EL, RESET_VECTOR, Access, Event, Last, Mode, Retire, StepState
from tb.core.program import ERET, ISB, NOP, distance, mov, mrs, msr, word

GUEST = 0x4001_0000
VECTORS = {EL.EL1: 0x4002_0000, EL.EL2: 0x4003_0000, EL.EL3: 0x4004_0000}
DATA = 0x4005_0000
NOWHERE = 0x0900_0008

SCR_NS, SCR_IRQ, SCR_FIQ, SCR_EA, SCR_SMD, SCR_HCE, SCR_EEL2 = (
    1 << n for n in (0, 1, 2, 3, 7, 8, 18)
)
HCR_VM, HCR_FMO, HCR_IMO, HCR_AMO, HCR_VF, HCR_VI = (1 << n for n in (0, 3, 4, 5, 6, 7))
HCR_TWI, HCR_TWE, HCR_TSC, HCR_TVM, HCR_TGE = (1 << n for n in (13, 14, 19, 26, 27))
MDCR_TDE, MDCR_TDA, MDCR_TDOSA = (1 << n for n in (8, 9, 10))
SCTLR_A, SCTLR_SA, SCTLR_SA0, SCTLR_UMA, SCTLR_NTWI, SCTLR_NTWE = (
    1 << n for n in (1, 3, 4, 9, 16, 18)
)
MDSCR_SS, MDSCR_KDE = 1 << 0, 1 << 13
SPSR_SS, SPSR_IL, SPSR_DAIF = 1 << 21, 1 << 20, 0xF << 6

USUAL = SCR_NS | SCR_HCE

MODES = {EL.EL0: Mode.EL0t, EL.EL1: Mode.EL1h, EL.EL2: Mode.EL2h, EL.EL3: Mode.EL3h}

WFE, WFI, SEV = word("WFE"), word("WFI"), word("SEV")


def setting(**registers):
    """Words that set system registers, by X0."""
    return [w for name, value in registers.items() for w in (*mov(0, value), msr(name, 0))]


def descent(el, spsr=SPSR_DAIF, scr=USUAL, **registers):
    """Words from reset at EL3 to GUEST at an EL, with vectors at each EL."""
    vectors = {f"VBAR_EL{target}": address for target, address in VECTORS.items()}
    registers = {"SCR_EL3": scr, **vectors, **registers}
    registers |= {"SPSR_EL3": spsr | MODES[el], "ELR_EL3": GUEST}
    return [*setting(**registers), ERET]


@pytest.fixture
def guest(machine):
    """Runs words at GUEST from an EL on: `guest(el, words, rows, ...)` returns those rows."""

    def run(el, words, rows, more=None, spsr=SPSR_DAIF, scr=USUAL, inputs=None, **registers):
        boot = descent(el, spsr, scr, **registers)
        programs = {RESET_VECTOR: boot, GUEST: words, **(more or {})}
        # Nothing from outside before the guest runs.
        late = {name: after(len(boot), value) for name, value in (inputs or {}).items()}
        done = machine(programs, len(boot) + rows, **{"write_seen": 1, **late})
        return done.trace[len(boot) :]

    return run


def after(boot, value):
    """An input that is 0 before row `boot`, from which it counts."""
    return lambda n: 0 if n < boot else value if isinstance(value, int) else value(n - boot)


def syndrome(ec, iss=0):
    return ec << 26 | 1 << 25 | iss


def shows(row, **expected):
    """AssertionError, which names the fields, if a row differs."""
    wrong = {name: (row[name], value) for name, value in expected.items() if row[name] != value}
    assert not wrong, {name: tuple(map(hex, values)) for name, values in wrong.items()}


def takes(row, target, ec, iss=0, elr=None, vector=0x400):
    """A row takes a synchronous exception."""
    shows(
        row,
        kind=Retire.SYNCHRONOUS,
        target_el=target,
        esr=syndrome(ec, iss),
        sets_esr=1,
        elr=row["pc"] if elr is None else elr,
        pc_after=VECTORS[target] + vector,
        el_after=target,
        daif_after=0b1111,
        sp_after=1,
        ss_after=0,
        il_after=0,
    )


# Straight on


def test_reset(machine):
    (row,) = machine([NOP], 1).trace
    shows(
        row,
        pc=RESET_VECTOR,
        el=EL.EL3,
        kind=Retire.INSTRUCTION,
        event=Event.EXECUTE,
        word=NOP,
        state=StepState.INACTIVE,
        last=Last.NOTHING,
        pc_after=RESET_VECTOR + 4,
        el_after=EL.EL3,
        sp_after=1,
        nzcv_after=0,
        daif_after=0b1111,
        ss_after=0,
        il_after=0,
        exclusive_after=0,
        event_after=0,
    )
    assert not any(row[name] for name in ("x0_en", "x1_en", "x2_en", "sys_en", "mem", "sets_esr"))


def test_one_row_follows_another_with_its_results(machine):
    trace = machine(
        [
            word("MOVZ", sf=1, imm16=7, Rd=1),
            word("SUBS (immediate)", sf=1, imm12=7, Rn=1, Rd=2),
            word("B.cond", cond=0, **distance("B.cond", 2)),  # EQ
            NOP,
            word("BL", **distance("BL", 2)),
            NOP,
            word("RET", Rn=30),
        ],
        6,
    ).trace
    base = RESET_VECTOR
    assert [row["pc"] - base for row in trace] == [0, 4, 8, 16, 24, 20]
    shows(trace[0], x0_en=1, x0_reg=1, x0_value=7)
    shows(trace[1], x0_en=1, x0_reg=2, x0_value=0, nzcv_after=0b0110)
    shows(trace[2], x0_en=0, nzcv_after=0b0110)
    shows(trace[3], x0_en=1, x0_reg=30, x0_value=base + 20, pc_after=base + 24)


def test_a_pair_is_one_access_and_writes_three_registers(machine):
    words = [
        *mov(1, DATA + 8),
        *mov(2, 0x0123_4567_89AB_CDEF),
        word("STP (pre-index)", sf=1, imm7=-1 & 0x7F, Rn=1, Rt=2, Rt2=2),
        word("LDP (post-index)", sf=1, imm7=2, Rn=1, Rt=3, Rt2=4),
    ]
    store, load = machine(words, len(words)).trace[-2:]
    pair = 0x0123_4567_89AB_CDEF << 64 | 0x0123_4567_89AB_CDEF
    shows(store, mem=Access.STORE, mem_address=DATA, mem_size=4, mem_data=pair)
    shows(store, x0_en=0, x1_en=0, x2_en=1, x2_reg=1, x2_value=DATA)
    shows(load, mem=Access.LOAD, mem_address=DATA, mem_size=4, mem_data=pair)
    shows(load, x0_en=1, x0_reg=3, x0_value=0x0123_4567_89AB_CDEF)
    shows(load, x1_en=1, x1_reg=4, x1_value=0x0123_4567_89AB_CDEF)
    shows(load, x2_en=1, x2_reg=1, x2_value=DATA + 16)


def test_a_word_stored_is_executed_by_the_next_row(machine):
    words = [
        word("ADR", immhi=4, Rd=1),
        *mov(2, word("MOVZ", sf=1, imm16=99, Rd=3)),
        word("STR (unsigned offset)", sz=0, Rn=1, Rt=2),
        NOP,  # at RESET_VECTOR + 16: stored over
    ]
    trace = machine(words, 5).trace
    shows(trace[-1], pc=RESET_VECTOR + 16, x0_en=1, x0_reg=3, x0_value=99)


def test_31_is_the_stack_pointer_in_use_or_nothing(machine):
    words = [
        *mov(1, DATA),
        word("ADD (immediate)", sf=1, Rn=1, Rd=31),  # MOV SP, X1
        word("ADD (shifted register)", sf=1, Rm=1, Rn=1, Rd=31),  # to XZR
        word("MSR SPSel", CRm=0),
        word("ADD (immediate)", sf=1, imm12=16, Rn=31, Rd=31),  # SP_EL0 was 0
        word("MSR SPSel", CRm=1),
        word("ADD (immediate)", sf=1, Rn=31, Rd=2),
        mrs(3, "SP_EL0"),
        word("LDR (post-index)", sz=1, imm9=16, Rn=31, Rt=31),
    ]
    trace = machine(words, len(words)).trace[len(mov(1, DATA)) :]
    shows(trace[0], x0_en=1, x0_reg=31, x0_value=DATA)
    shows(trace[1], x0_en=0, x0_reg=0, x0_value=0)
    shows(trace[3], x0_en=1, x0_reg=31, x0_value=16, sp_after=0)
    shows(trace[5], x0_value=DATA)
    shows(trace[6], x0_value=16)
    shows(trace[7], x0_en=0, x2_en=1, x2_reg=31, x2_value=DATA + 16)


def test_a_store_exclusive_passes_once_after_a_load_exclusive(machine):
    words = [
        *mov(1, DATA),
        word("STXR", size=3, Rs=4, Rn=1, Rt=1),
        word("LDXR", size=3, Rn=1, Rt=2),
        word("STXR", size=3, Rs=4, Rn=1, Rt=1),
        word("STXR", size=3, Rs=4, Rn=1, Rt=1),
        word("LDXR", size=3, Rn=1, Rt=2),
        word("CLREX", CRm=15),
    ]
    early, load, passed, late, again, clrex = machine(words, len(words)).trace[-6:]
    shows(early, x0_en=1, x0_reg=4, x0_value=1, mem=Access.NONE, exclusive_after=0)
    shows(load, event=Event.LOAD_EXCLUSIVE, mem=Access.LOAD, exclusive_after=1)
    shows(passed, x0_en=1, x0_reg=4, x0_value=0, mem=Access.STORE, exclusive_after=0)
    shows(late, x0_value=1, mem=Access.NONE)
    shows(again, x0_value=DATA, exclusive_after=1)
    shows(clrex, exclusive_after=0)


# System registers


def test_msr_and_mrs_move_registers_and_pstate(machine):
    words = [
        *mov(1, 0xA000_0000),
        msr("NZCV", 1),
        mrs(2, "NZCV"),
        word("MSR DAIFClr", CRm=0b1010),
        mrs(2, "DAIF"),
        word("MSR DAIFSet", CRm=0b0010),
        mrs(2, "DAIF"),
        msr("TPIDR_EL0", 1),
        mrs(2, "TPIDR_EL0"),
        mrs(2, "CurrentEL"),
        mrs(2, "OSLSR_EL1"),
        mrs(2, "MPIDR_EL1"),
    ]
    trace = machine(words, len(words)).trace[len(mov(1, 0xA000_0000)) :]
    shows(trace[0], nzcv_after=0b1010, sys_en=1, sys_value=0xA000_0000)
    shows(trace[1], x0_value=0xA000_0000)
    shows(trace[2], daif_after=0b0101, sys_en=0)
    shows(trace[3], x0_value=0b0101 << 6)
    shows(trace[4], daif_after=0b0111)
    shows(trace[5], x0_value=0b0111 << 6)
    assert [row["x0_value"] for row in trace[7:]] == [0xA000_0000, 0xC, 0xA, 0x8000_0000]


def test_the_cycle_counter_is_in_the_row_that_reads_it(machine):
    run = machine([mrs(1, "PMCCNTR_EL0"), NOP, mrs(2, "PMCCNTR_EL0")], 3)
    first, between, second = run.trace
    assert first["cycle_count"] == first["x0_value"] == run.cycles[0]
    assert between["cycle_count"] == 0
    assert second["x0_value"] == run.cycles[2]


@pytest.mark.parametrize("el", [EL.EL0, EL.EL1])
def test_a_register_of_a_higher_el_is_undefined(guest, el):
    (row,) = guest(el, [mrs(1, "HCR_EL2")], 1)
    vector = 0x200 if el == EL.EL1 else 0x400
    takes(row, EL.EL1, 0x00, vector=vector)
    shows(row, x0_en=0, event=Event.EXCEPTION, word=mrs(1, "HCR_EL2"))


@pytest.mark.parametrize(
    "name, write, el, registers, iss",
    [
        # op0, op2, op1, CRn, Rt = 5, CRm, read
        ("MDSCR_EL1", 0, EL.EL1, {"MDCR_EL2": MDCR_TDA}, 2 << 20 | 2 << 17 | 5 << 5 | 2 << 1 | 1),
        ("MDSCR_EL1", 1, EL.EL1, {"MDCR_EL2": MDCR_TDE}, 2 << 20 | 2 << 17 | 5 << 5 | 2 << 1),
        ("OSLAR_EL1", 1, EL.EL1, {"MDCR_EL2": MDCR_TDOSA}, 2 << 20 | 4 << 17 | 1 << 10 | 5 << 5),
        ("SCTLR_EL1", 1, EL.EL1, {"HCR_EL2": HCR_TVM}, 3 << 20 | 1 << 10 | 5 << 5),
    ],
)
def test_el2_traps_registers_of_el1(guest, name, write, el, registers, iss):
    instruction = msr(name, 5) if write else mrs(5, name)
    (row,) = guest(el, [instruction], 1, **registers)
    takes(row, EL.EL2, 0x18, iss)
    shows(row, sys_en=0, x0_en=0, sets_far=0)


def test_daif_at_el0_traps_to_el1_unless_uma(guest):
    instruction = word("MSR DAIFSet", CRm=0b1111)
    (row,) = guest(EL.EL0, [instruction], 1, spsr=0)
    # Op1 = 3, CRn = 4, CRm = 15, Op2 = 6, Rt = 31
    takes(row, EL.EL1, 0x18, 6 << 17 | 3 << 14 | 4 << 10 | 31 << 5 | 15 << 1)
    (row,) = guest(EL.EL0, [instruction], 1, spsr=0, SCTLR_EL1=SCTLR_UMA)
    shows(row, kind=Retire.INSTRUCTION, daif_after=0b1111)


def test_spsel_at_el0_is_undefined(guest):
    (row,) = guest(EL.EL0, [word("MSR SPSel", CRm=1)], 1)
    takes(row, EL.EL1, 0x00)


@pytest.mark.parametrize("seen", [0, 1])
def test_a_write_of_hcr_is_seen_at_once_or_at_the_next_isb(guest, seen):
    words = [msr("HCR_EL2", 1), mrs(2, "HCR_EL2"), ISB, NOP]
    # TGE shows in the debug target of each row.
    rows = guest(EL.EL2, [*mov(1, HCR_TGE), *words], 5, inputs={"write_seen": seen})
    shows(rows[2], x0_value=HCR_TGE)
    unseen = EL.EL2 if seen else EL.EL1
    assert [row["eld"] for row in rows] == [EL.EL1, EL.EL1, unseen, unseen, EL.EL2]


@pytest.mark.parametrize("seen", [0, 1])
def test_a_write_of_mdcr_traps_el1_at_the_return_to_it_at_the_latest(guest, seen):
    words = [*setting(MDCR_EL2=MDCR_TDA, SPSR_EL2=Mode.EL1h, ELR_EL2=GUEST + 0x100), ERET]
    more = {GUEST + 0x100: [mrs(1, "MDSCR_EL1")]}
    *_, row = guest(EL.EL2, words, len(words) + 1, more, inputs={"write_seen": seen})
    takes(row, EL.EL2, 0x18, 2 << 20 | 2 << 17 | 1 << 5 | 2 << 1 | 1)


# Calls and returns


@pytest.mark.parametrize("el", EL)
def test_svc_goes_to_el1_or_stays(guest, el):
    (row,) = guest(el, [word("SVC", imm16=0x1234)], 1)
    target = max(el, EL.EL1)
    same = el >= EL.EL1
    takes(row, target, 0x15, 0x1234, elr=GUEST + 4, vector=0x200 if same else 0x400)
    shows(row, event=Event.SVC, spsr=SPSR_DAIF | MODES[el])


def test_svc_at_el0_goes_to_el2_with_tge(guest):
    (row,) = guest(EL.EL0, [word("SVC")], 1, HCR_EL2=HCR_TGE)
    takes(row, EL.EL2, 0x15, elr=GUEST + 4)


@pytest.mark.parametrize(
    "el, scr, target",
    [
        (EL.EL0, USUAL, None),
        (EL.EL1, USUAL, EL.EL2),
        (EL.EL1, SCR_HCE, None),  # Secure, and EL2 not enabled there
        (EL.EL1, SCR_HCE | SCR_EEL2, EL.EL2),
        (EL.EL1, SCR_NS, None),
        (EL.EL2, USUAL, EL.EL2),
        (EL.EL2, SCR_NS, None),
        (EL.EL3, USUAL, EL.EL3),
    ],
)
def test_hvc_goes_to_el2_if_it_may(guest, el, scr, target):
    (row,) = guest(el, [word("HVC", imm16=7)], 1, scr=scr)
    if target is None:
        undefined_at = max(el, EL.EL1)
        takes(row, undefined_at, 0x00, vector=0x200 if el == undefined_at else 0x400)
    else:
        takes(row, target, 0x16, 7, elr=GUEST + 4, vector=0x200 if el == target else 0x400)
        shows(row, event=Event.HVC)


@pytest.mark.parametrize(
    "el, scr, hcr, ec, target",
    [
        (EL.EL0, USUAL, 0, 0x00, EL.EL1),
        (EL.EL1, USUAL, 0, 0x17, EL.EL3),
        (EL.EL1, USUAL | SCR_SMD, 0, 0x00, EL.EL1),
        (EL.EL1, USUAL | SCR_SMD, HCR_TSC, 0x17, EL.EL2),  # the trap comes first
        (EL.EL1, SCR_HCE, HCR_TSC, 0x17, EL.EL3),  # there is no EL2 to trap it
        (EL.EL2, USUAL, HCR_TSC, 0x17, EL.EL3),
        (EL.EL3, USUAL, HCR_TSC, 0x17, EL.EL3),
    ],
)
def test_smc_goes_to_el3_unless_el2_traps_it(guest, el, scr, hcr, ec, target):
    (row,) = guest(el, [word("SMC", imm16=9)], 1, scr=scr, HCR_EL2=hcr)
    trapped = target == EL.EL2
    elr = GUEST if trapped or not ec else GUEST + 4
    vector = 0x200 if el == target else 0x400
    takes(row, target, ec, 9 if ec else 0, elr=elr, vector=vector)
    shows(row, event=Event.SMC if ec and not trapped else Event.EXCEPTION)


@pytest.mark.parametrize(
    "el, registers, target",
    [
        (EL.EL0, {}, EL.EL1),
        (EL.EL1, {}, EL.EL1),
        (EL.EL1, {"MDCR_EL2": MDCR_TDE}, EL.EL2),
        (EL.EL0, {"HCR_EL2": HCR_TGE}, EL.EL2),
        (EL.EL2, {}, EL.EL2),
        (EL.EL3, {"MDCR_EL2": MDCR_TDE}, EL.EL3),
    ],
)
def test_brk_goes_where_debug_exceptions_go_and_returns_to_itself(guest, el, registers, target):
    (row,) = guest(el, [word("BRK", imm16=0xF000)], 1, **registers)
    takes(row, target, 0x3C, 0xF000, vector=0x200 if el == target else 0x400)
    shows(row, event=Event.EXCEPTION)


@pytest.mark.parametrize("el", EL)
def test_eret_goes_down_with_the_saved_state(machine, el):
    words = descent(el, spsr=0xA000_0000 | 0b0101 << 6)
    row = machine({RESET_VECTOR: words}, len(words)).trace[-1]
    shows(
        row,
        kind=Retire.INSTRUCTION,
        event=Event.ERET,
        pc_after=GUEST,
        el_after=el,
        sp_after=el != EL.EL0,
        nzcv_after=0b1010,
        daif_after=0b0101,
        il_after=0,
        event_after=1,
    )


@pytest.mark.parametrize(
    "mode",
    [
        0b0010,  # M<1>
        0b0001,
        0b10000,  # AArch32, EL0
        0b10011,  # AArch32, EL1
        Mode.EL3h,  # above
    ],
)
def test_an_illegal_return_stays_and_the_next_row_says_so(guest, mode):
    words = [*setting(SPSR_EL2=mode | 0x6000_0000, ELR_EL2=GUEST + 0x80), ERET]
    *_, row, illegal = guest(EL.EL2, words, len(words) + 1, more={GUEST + 0x80: [NOP]})
    shows(row, el_after=EL.EL2, pc_after=GUEST + 0x80, il_after=1, nzcv_after=0b0110)
    shows(row, sp_after=1, daif_after=0, kind=Retire.INSTRUCTION)
    takes(illegal, EL.EL2, 0x0E, vector=0x200)
    shows(illegal, word=NOP, event=Event.EXECUTE, spsr=0x6000_0000 | SPSR_IL | Mode.EL2h)


def test_a_return_to_el1_is_illegal_with_tge(guest):
    words = [*setting(SPSR_EL2=Mode.EL1h, HCR_EL2=HCR_TGE), ERET]
    # Not seen before the return, which synchronises first.
    rows = guest(EL.EL2, words, len(words), inputs={"write_seen": 0})
    shows(rows[-1], el_after=EL.EL2, il_after=1)


def test_eret_at_el0_is_undefined(guest):
    (row,) = guest(EL.EL0, [ERET], 1)
    takes(row, EL.EL1, 0x00)


def test_eret_clears_the_monitor(guest):
    words = [*mov(1, DATA), word("LDXR", size=3, Rn=1, Rt=2), *setting(SPSR_EL2=Mode.EL2h), ERET]
    *_, row = guest(EL.EL2, words, len(words))
    shows(row, exclusive_after=0)


def test_an_undefined_word(guest):
    (row,) = guest(EL.EL1, [0], 1)
    takes(row, EL.EL1, 0x00, vector=0x200)
    shows(row, word=0, event=Event.EXCEPTION)


def test_the_vector_group_is_the_first_with_sp_el0(guest):
    rows = guest(EL.EL1, [word("MSR SPSel", CRm=0), word("SVC")], 2)
    takes(rows[-1], EL.EL1, 0x15, elr=GUEST + 8, vector=0)
    shows(rows[-1], spsr=SPSR_DAIF | Mode.EL1t)


# Aborts and alignment


def test_a_stage_2_abort_describes_the_access(guest):
    ldrsh = word("LDRSH (unsigned offset)", narrow=0, Rn=1, Rt=7)
    words = [*mov(1, NOWHERE), ldrsh]
    *_, row = guest(EL.EL1, words, len(words), HCR_EL2=HCR_VM)
    # ISV, SAS = 1, SSE, SRT = 7, SF
    takes(row, EL.EL2, 0x24, 1 << 24 | 1 << 22 | 1 << 21 | 7 << 16 | 1 << 15 | 0b000111)
    shows(row, far=NOWHERE, sets_far=1, hpfar=NOWHERE >> 12 << 4, sets_hpfar=1)
    shows(row, x0_en=0, mem=Access.NONE, word=ldrsh)


def test_a_store_release_aborts_with_wnr_and_ar(guest):
    words = [*mov(1, NOWHERE), word("STLR", size=2, Rn=1, Rt=30)]
    *_, row = guest(EL.EL0, words, len(words), HCR_EL2=HCR_VM)
    takes(row, EL.EL2, 0x24, 1 << 24 | 2 << 22 | 30 << 16 | 1 << 14 | 1 << 6 | 0b000111)


def test_a_pair_that_aborts_is_not_described_and_writes_nothing(guest):
    end = 0x4040_0000  # of RAM
    words = [*mov(1, end - 8), word("LDP (post-index)", sf=1, imm7=2, Rn=1, Rt=3, Rt2=4)]
    *_, row = guest(EL.EL1, words, len(words), HCR_EL2=HCR_VM)
    takes(row, EL.EL2, 0x24, 0b000111)
    shows(row, far=end, hpfar=end >> 12 << 4, x0_en=0, x1_en=0, x2_en=0)


@pytest.mark.parametrize(
    "el, registers, scr, target, ec",
    [
        (EL.EL0, {}, USUAL, EL.EL1, 0x24),
        (EL.EL1, {}, USUAL, EL.EL1, 0x25),
        (EL.EL1, {}, USUAL | SCR_EA, EL.EL3, 0x24),
        (EL.EL2, {"HCR_EL2": HCR_VM}, USUAL, EL.EL2, 0x25),
        (EL.EL0, {"HCR_EL2": HCR_TGE}, USUAL, EL.EL2, 0x24),
        (EL.EL1, {"HCR_EL2": HCR_VM}, SCR_HCE, EL.EL1, 0x25),
    ],
)
def test_an_external_abort(guest, el, registers, scr, target, ec):
    words = [*mov(1, NOWHERE), word("STR (unsigned offset)", sz=1, Rn=1, Rt=2)]
    *_, row = guest(el, words, len(words), scr=scr, **registers)
    takes(row, target, ec, 1 << 6 | 0b010000, vector=0x200 if el == target else 0x400)
    shows(row, far=NOWHERE, sets_far=1, sets_hpfar=0, hpfar=0)


def test_the_stack_pointer_is_checked_before_the_address(guest):
    words = [
        *mov(1, NOWHERE + 1),
        word("ADD (immediate)", sf=1, Rn=1, Rd=31),
        word("LDR (unsigned offset)", sz=1, Rn=31, Rt=2),
    ]
    *_, row = guest(EL.EL1, words, len(words), SCTLR_EL1=SCTLR_A | SCTLR_SA)
    takes(row, EL.EL1, 0x26, vector=0x200)
    shows(row, sets_far=0, far=0)
    *_, row = guest(EL.EL1, words, len(words), SCTLR_EL1=SCTLR_A | SCTLR_SA0)
    takes(row, EL.EL1, 0x25, 0b100001, vector=0x200)
    shows(row, far=NOWHERE + 1, sets_far=1)
    *_, row = guest(EL.EL0, words, len(words), SCTLR_EL1=SCTLR_SA0)
    takes(row, EL.EL1, 0x26)
    *_, row = guest(EL.EL1, words, len(words), SCTLR_EL1=0)
    takes(row, EL.EL1, 0x25, 0b010000, vector=0x200)


@pytest.mark.parametrize("form", ["LDXR", "LDAR", "STXR"])
def test_exclusive_and_ordered_accesses_are_always_to_be_aligned(guest, form):
    status = {"Rs": 4} if form == "STXR" else {}
    words = [*mov(1, DATA + 4), word(form, size=3, Rn=1, Rt=2, **status)]
    *_, row = guest(EL.EL1, words, len(words), SCTLR_EL1=0)
    takes(row, EL.EL1, 0x25, (form == "STXR") << 6 | 0b100001, vector=0x200)


def test_a_prefetch_never_faults(guest):
    words = [*mov(1, NOWHERE + 1), word("PRFM (unsigned offset)", Rn=1)]
    *_, row = guest(EL.EL1, words, len(words), SCTLR_EL1=SCTLR_A)
    shows(row, kind=Retire.INSTRUCTION, mem=Access.NONE, x0_en=0)


def test_a_branch_to_where_nothing_is(guest):
    words = [*mov(1, NOWHERE), word("BR", Rn=1)]
    *_, row = guest(EL.EL1, words, len(words) + 1)
    takes(row, EL.EL1, 0x21, 0b010000, vector=0x200)
    shows(row, pc=NOWHERE, far=NOWHERE, sets_far=1, word=0, event=Event.EXCEPTION)
    *_, row = guest(EL.EL1, words, len(words) + 1, HCR_EL2=HCR_VM)
    takes(row, EL.EL2, 0x20, 0b000111)
    shows(row, far=NOWHERE, hpfar=NOWHERE >> 12 << 4, sets_hpfar=1)


def test_a_branch_to_no_multiple_of_4(guest):
    words = [*mov(1, NOWHERE + 2), word("BR", Rn=1)]
    *_, row = guest(EL.EL0, words, len(words) + 1)
    takes(row, EL.EL1, 0x22)
    shows(row, pc=NOWHERE + 2, far=NOWHERE + 2, sets_far=1, word=0)


# Interrupts and waiting


@pytest.mark.parametrize(
    "pin, scr_bit, hcr_bit, kind, offset",
    [
        ("irq", SCR_IRQ, HCR_IMO, Retire.IRQ, 0x080),
        ("fiq", SCR_FIQ, HCR_FMO, Retire.FIQ, 0x100),
        ("serror", SCR_EA, HCR_AMO, Retire.SERROR, 0x180),
    ],
)
@pytest.mark.parametrize("route", [EL.EL1, EL.EL2, EL.EL3])
def test_an_interrupt_comes_before_the_instruction(
    guest, pin, scr_bit, hcr_bit, kind, offset, route
):
    registers = {"HCR_EL2": hcr_bit if route == EL.EL2 else 0}
    scr = USUAL | (scr_bit if route == EL.EL3 else 0)
    first, row, second = guest(
        EL.EL0,
        [NOP, SEV, SEV],
        3,
        spsr=0,
        scr=scr,
        inputs={pin: lambda n: n == 1},
        more={VECTORS[route] + 0x400 + offset: [NOP]},
        **registers,
    )
    shows(first, kind=Retire.INSTRUCTION, **{pin: 0})
    shows(row, kind=kind, event=Event.INTERRUPT, target_el=route, elr=GUEST + 4, word=0)
    shows(row, pc=GUEST + 4, spsr=Mode.EL0t, pc_after=VECTORS[route] + 0x400 + offset, **{pin: 1})
    shows(row, el_after=route, daif_after=0b1111, sets_far=0, far=0)
    serror = kind == Retire.SERROR
    shows(row, sets_esr=serror, esr=syndrome(0x2F) if serror else 0)
    shows(second, kind=Retire.INSTRUCTION, el=route)


def test_a_masked_interrupt_waits_until_it_is_unmasked(guest):
    words = [NOP, word("MSR DAIFClr", CRm=0b0010), NOP]
    rows = guest(EL.EL1, words, 3, inputs={"irq": 1})
    assert [row["kind"] for row in rows] == [0, 0, Retire.IRQ]
    shows(rows[-1], elr=GUEST + 8, pc_after=VECTORS[EL.EL1] + 0x280)


def test_a_virtual_interrupt_goes_to_el1(guest):
    (row,) = guest(EL.EL0, [NOP], 1, spsr=0, HCR_EL2=HCR_VI | HCR_IMO)
    shows(row, kind=Retire.VIRQ, target_el=EL.EL1, pc_after=VECTORS[EL.EL1] + 0x480)
    (row,) = guest(EL.EL1, [NOP], 1, spsr=0, HCR_EL2=HCR_VF | HCR_VI | HCR_IMO | HCR_FMO)
    shows(row, kind=Retire.VFIQ, pc_after=VECTORS[EL.EL1] + 0x300)


def test_wfi_waits_until_an_interrupt_even_if_it_is_masked(machine):
    run = machine([WFI, NOP], 2, irq=lambda n: n == 1, wfx_ends=lambda n: n == 0)
    assert run.cycles[1] - run.cycles[0] == 1
    assert [row["kind"] for row in run.trace] == [0, 0]
    run = machine([NOP, WFI], 2, irq=1)
    assert run.cycles[1] - run.cycles[0] == 1


@pytest.mark.parametrize("pin", ["irq", "fiq", "serror"])
def test_a_pin_that_comes_late_ends_the_waiting(machine, pin):
    def late(n):
        nonlocal asked
        asked += n == 1
        return int(asked > 20)

    asked = 0
    run = machine([NOP, WFE, NOP], 3, **{pin: late})
    assert run.cycles[1] - run.cycles[0] == 21
    # The row shows the pins as they were when it began.
    assert [row[pin] for row in run.trace] == [0, 0, 1]


def test_wfe_takes_the_event_that_sev_and_eret_leave(machine):
    words = [SEV, WFE, *setting(SPSR_EL3=Mode.EL3h | SPSR_DAIF, ELR_EL3=GUEST), ERET]
    trace = machine({RESET_VECTOR: words, GUEST: [WFE]}, len(words) + 1).trace
    assert [row["event_after"] for row in trace] == [1] + [0] * (len(words) - 2) + [1, 0]


@pytest.mark.parametrize(
    "instruction, el, registers, target",
    [
        (WFI, EL.EL0, {}, EL.EL1),
        (WFI, EL.EL0, {"SCTLR_EL1": SCTLR_NTWI}, None),
        (WFI, EL.EL0, {"SCTLR_EL1": SCTLR_NTWI, "HCR_EL2": HCR_TWI}, EL.EL2),
        (WFI, EL.EL0, {"HCR_EL2": HCR_TWI}, EL.EL1),  # EL1's trap comes first
        (WFI, EL.EL0, {"HCR_EL2": HCR_TGE}, EL.EL2),
        (WFI, EL.EL1, {"HCR_EL2": HCR_TWI}, EL.EL2),
        (WFI, EL.EL1, {"HCR_EL2": HCR_TWE}, None),
        (WFI, EL.EL2, {"HCR_EL2": HCR_TWI}, None),
        (WFE, EL.EL0, {}, EL.EL1),
        (WFE, EL.EL0, {"SCTLR_EL1": SCTLR_NTWE}, None),
        (WFE, EL.EL1, {"HCR_EL2": HCR_TWE}, EL.EL2),
        (WFE, EL.EL1, {"HCR_EL2": HCR_TWI}, None),
    ],
)
def test_a_wait_is_trapped(guest, instruction, el, registers, target):
    registers = {"SCTLR_EL1": 0, **registers}
    # The return from EL3 has set the event register: a first WFE takes it.
    _, row = guest(el, [WFE, instruction], 2, inputs={"wfx_ends": 1}, **registers)
    if target is None:
        shows(row, kind=Retire.INSTRUCTION, pc_after=GUEST + 8)
    else:
        takes(row, target, 0x01, 1 << 24 | 0xE << 20 | (instruction == WFE))


# Software step


def stepped(words=(NOP, NOP), rows=2, spsr=SPSR_DAIF | SPSR_SS, start=GUEST + 0x100):
    """EL2, at GUEST, steps words at EL1: (words of EL2, rows with so many of EL1, memory)."""
    begin = [
        msr("OSLAR_EL1", 31),
        *setting(
            MDCR_EL2=MDCR_TDE,
            MDSCR_EL1=MDSCR_SS,
            SPSR_EL2=spsr | Mode.EL1h,
            ELR_EL2=start,
        ),
        ERET,
    ]
    return begin, len(begin) + rows, {GUEST + 0x100: words}


def test_a_stepped_guest_runs_exactly_one_instruction(guest):
    begin, rows, more = stepped(words=[word("MOVZ", sf=1, imm16=1, Rd=3), NOP])
    *_, eret, first, second = guest(EL.EL2, begin, rows, more)
    shows(eret, ss_after=1, state_after=StepState.ACTIVE_NOT_PENDING, el_after=EL.EL1)
    shows(first, pc=GUEST + 0x100, state=StepState.ACTIVE_NOT_PENDING, x0_en=1, ss_after=0)
    shows(first, state_after=StepState.ACTIVE_PENDING, kind=Retire.INSTRUCTION, enabled=1, eld=2)
    shows(second, state=StepState.ACTIVE_PENDING, last=Last.INSTRUCTION, word=0)
    # ISV, IFSC
    takes(second, EL.EL2, 0x32, 1 << 24 | 0b100010)
    shows(second, elr=GUEST + 0x104, event=Event.EXECUTE, spsr=SPSR_DAIF | Mode.EL1h)


def test_a_stepped_load_exclusive_is_told(guest):
    begin, rows, more = stepped(words=[word("LDXR", size=3, Rn=30, Rt=2)])
    *_, row = guest(EL.EL2, [*mov(30, DATA), *begin], len(mov(30, DATA)) + rows, more)
    takes(row, EL.EL2, 0x32, 1 << 24 | 1 << 6 | 0b100010)


def test_a_stepped_svc_lands_in_active_pending_at_the_vector(guest):
    begin, rows, more = stepped(words=[word("SVC")])
    *_, svc, step = guest(EL.EL2, begin, rows, more)
    takes(svc, EL.EL1, 0x15, elr=GUEST + 0x104, vector=0x200)
    shows(svc, spsr=SPSR_DAIF | Mode.EL1h, state_after=StepState.ACTIVE_PENDING)
    takes(step, EL.EL2, 0x32, 0b100010)  # ISV by choice: 0
    shows(step, elr=VECTORS[EL.EL1] + 0x200, last=Last.OTHER_EXCEPTION)


def test_a_stepped_instruction_that_faults_saves_ss(guest):
    begin, rows, more = stepped(words=[0], rows=1)
    *_, row = guest(EL.EL2, begin, rows, more)
    takes(row, EL.EL1, 0x00, vector=0x200)
    shows(row, spsr=SPSR_DAIF | SPSR_SS | Mode.EL1h)


@pytest.mark.parametrize("async_first", [0, 1])
def test_an_interrupt_and_a_step_exception_come_in_the_order_of_the_choice(guest, async_first):
    begin, rows, more = stepped()
    inputs = {"async_first": async_first, "irq": lambda n: n == rows - 1}
    *_, row = guest(EL.EL2, begin, rows, more, scr=USUAL | SCR_IRQ, inputs=inputs)
    if async_first:
        shows(row, kind=Retire.IRQ, target_el=EL.EL3, event=Event.INTERRUPT)
        shows(row, spsr=SPSR_DAIF | Mode.EL1h)
    else:
        takes(row, EL.EL2, 0x32, 1 << 24 | 0b100010)


@pytest.mark.parametrize("start", [NOWHERE, GUEST + 2])
def test_a_step_exception_comes_before_a_fetch_that_fails(guest, start):
    # With SPSR.SS = 0 it is pending at once.
    begin, rows, more = stepped(rows=1, spsr=SPSR_DAIF, start=start)
    *_, row = guest(EL.EL2, begin, rows, more)
    takes(row, EL.EL2, 0x32, 0b100010)
    shows(row, pc=start, word=0, last=Last.NOTHING, sets_far=0)


def test_el1_steps_el0_and_itself(guest):
    # EL1 at GUEST steps EL0, its own debug exceptions enabled by KDE and masked by D.
    begin = [
        msr("OSLAR_EL1", 31),
        *setting(MDSCR_EL1=MDSCR_SS, SPSR_EL1=SPSR_SS | Mode.EL0t, ELR_EL1=GUEST + 0x100),
        ERET,
    ]
    more = {GUEST + 0x100: [NOP, NOP]}
    *_, first, second = guest(EL.EL1, begin, len(begin) + 2, more)
    shows(first, el=EL.EL0, kind=Retire.INSTRUCTION)
    takes(second, EL.EL1, 0x32, 1 << 24 | 0b100010)
    begin[-1:] = [*setting(MDSCR_EL1=MDSCR_SS | MDSCR_KDE, SPSR_EL1=SPSR_SS | Mode.EL1h), ERET]
    *_, first, second = guest(EL.EL1, begin, len(begin) + 2, more)
    shows(first, el=EL.EL1, kind=Retire.INSTRUCTION)
    takes(second, EL.EL1, 0x33, 1 << 24 | 0b100010, vector=0x200)
