import pytest

from model.a64.decode import UndefinedWord
from model.a64.exceptions import Trapped, Undefined
from model.a64.interpreter import fetch, step
from model.a64.state import MASK64, State
from model.arch import EL, OSLSR_EL1, SCR_EL3, SYSREGS, Event, SCTLR_ELx
from tb.tests.model.a64.pe import mrs, msr


def executed(word: int, **fields) -> State:
    """The state after one word at 0x1000, from a state with these fields."""
    state = State(pc=0x1000, **fields)
    state.memory.map(0x1000, word.to_bytes(4, "little"))
    step(state)
    return state


NEVER = None

#: Register to the lowest EL that may read it, and that may write it.
ACCESS = {
    **dict.fromkeys(("MDSCR_EL1", "OSDLR_EL1", "SCTLR_EL1", "SPSR_EL1", "ELR_EL1"), (1, 1)),
    **dict.fromkeys(("ESR_EL1", "FAR_EL1", "VBAR_EL1", "TPIDR_EL1"), (1, 1)),
    **dict.fromkeys(("SCTLR_EL2", "HCR_EL2", "MDCR_EL2", "SPSR_EL2", "ELR_EL2"), (2, 2)),
    **dict.fromkeys(("ESR_EL2", "FAR_EL2", "HPFAR_EL2", "VBAR_EL2", "TPIDR_EL2"), (2, 2)),
    **dict.fromkeys(("SCTLR_EL3", "SCR_EL3", "SDER32_EL3", "MDCR_EL3", "SPSR_EL3"), (3, 3)),
    **dict.fromkeys(("ELR_EL3", "ESR_EL3", "FAR_EL3", "VBAR_EL3", "TPIDR_EL3"), (3, 3)),
    "OSLAR_EL1": (NEVER, 1),
    **dict.fromkeys(("OSLSR_EL1", "MIDR_EL1", "MPIDR_EL1", "CurrentEL"), (1, NEVER)),
    **dict.fromkeys(("SP_EL0", "SPSel"), (1, 1)),
    "SP_EL1": (2, 2),
    "SP_EL2": (3, 3),
    **dict.fromkeys(("NZCV", "DAIF", "TPIDR_EL0"), (0, 0)),
    "TPIDRRO_EL0": (0, 1),
    "PMCCNTR_EL0": (1, 1),
}
READABLE = sorted(name for name, (read, _) in ACCESS.items() if read is not NEVER)
WRITABLE = sorted(name for name, (_, write) in ACCESS.items() if write is not NEVER)
#: What keeps 64 bits as they are written, in a place of its own.
PLAIN = sorted(set(READABLE) & set(State().sysregs))

VALUE = 0xFEDC_BA98_7654_3210


def state_at(word: int, **fields) -> State:
    state = State(pc=0x1000, **fields)
    state.memory.map(0x1000, word.to_bytes(4, "little"))
    state.sysregs["SCTLR_EL1"] |= SCTLR_ELx.UMA.mask
    return state


def test_every_register_has_its_access_said_here():
    assert set(ACCESS) == set(SYSREGS)


def test_the_words_of_mrs_and_msr_are_those_of_the_assembler():
    assert mrs("SPSR_EL2", 1) == 0xD53C_4001
    assert msr("MDSCR_EL1", 2) == 0xD510_0242


@pytest.mark.parametrize("name", PLAIN)
def test_mrs_reads_all_64_bits(name):
    state = state_at(mrs(name, 7), el=EL.EL3)
    state.sysregs[name] = VALUE
    step(state)
    assert state.x[7] == VALUE
    assert state.pc == 0x1004


@pytest.mark.parametrize("name", sorted(set(PLAIN) & set(WRITABLE)))
def test_msr_writes_all_64_bits_of_that_register_alone(name):
    state = state_at(msr(name, 7), el=EL.EL3)
    before = state.sysregs.copy()
    state.x[7] = VALUE
    step(state)
    assert state.sysregs == {**before, name: VALUE}


def test_msr_from_register_31_writes_0():
    assert executed(msr("MDSCR_EL1", 31)).sysregs["MDSCR_EL1"] == 0


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize("el", EL)
def test_a_register_can_be_read_from_its_lowest_el_upwards(name, el):
    state = state_at(mrs(name, 0), el=el)
    if el >= ACCESS[name][0]:
        step(state)
        return
    with pytest.raises(Undefined if name != "PMCCNTR_EL0" else Trapped):
        step(state)


@pytest.mark.parametrize("name", WRITABLE)
@pytest.mark.parametrize("el", EL)
def test_a_register_can_be_written_from_its_lowest_el_upwards(name, el):
    state = state_at(msr(name, 0), el=el)
    if el >= ACCESS[name][1]:
        step(state)
        return
    with pytest.raises(Undefined if name != "PMCCNTR_EL0" else Trapped):
        step(state)


@pytest.mark.parametrize("name", sorted(set(ACCESS) - set(READABLE)))
def test_a_write_only_register_cannot_be_read(name):
    with pytest.raises(UndefinedWord, match=f"{name} is write-only"):
        executed(mrs(name, 0), el=EL.EL3)


@pytest.mark.parametrize("name", sorted(set(ACCESS) - set(WRITABLE)))
def test_a_read_only_register_cannot_be_written(name):
    with pytest.raises(UndefinedWord, match=f"{name} is read-only"):
        executed(msr(name, 0), el=EL.EL3)


def test_an_access_from_too_low_an_el_says_where_it_is():
    with pytest.raises(Undefined) as error:
        executed(msr("SPSR_EL2", 0), el=EL.EL1)
    assert str(error.value) == "pc 0x1000: access to SPSR_EL2 is undefined at EL1"


def test_a_trap_says_where_it_goes():
    with pytest.raises(Trapped) as error:
        executed(mrs("DAIF", 0), el=EL.EL0)
    assert str(error.value) == "pc 0x1000: access to DAIF at EL0 is trapped to EL1"


@pytest.mark.parametrize(
    ("name", "fields", "value"),
    [
        ("NZCV", {"nzcv": 0b1010}, 0xA000_0000),
        ("DAIF", {"daif": 0b0101}, 0x140),
        ("SPSel", {"spsel": 1}, 1),
        ("SPSel", {"spsel": 0}, 0),
        ("CurrentEL", {"el": EL.EL1}, 0b0100),
        ("CurrentEL", {"el": EL.EL2}, 0b1000),
        ("CurrentEL", {"el": EL.EL3}, 0b1100),
    ],
)
def test_mrs_reads_pstate(name, fields, value):
    assert executed(mrs(name, 7), **fields).x[7] == value


@pytest.mark.parametrize(
    ("name", "field", "value", "expected"),
    [
        ("NZCV", "nzcv", 0xA000_0000, 0b1010),
        ("NZCV", "nzcv", 0x5FFF_FFFF, 0b0101),
        ("DAIF", "daif", 0x280, 0b1010),
        ("DAIF", "daif", MASK64 & ~0x280, 0b0101),
        ("SPSel", "spsel", MASK64, 1),
        ("SPSel", "spsel", MASK64 - 1, 0),
    ],
)
def test_msr_writes_pstate(name, field, value, expected):
    state = state_at(msr(name, 7))
    state.x[7] = value
    step(state)
    assert getattr(state, field) == expected


@pytest.mark.parametrize(
    ("name", "el"), [("SP_EL0", 1), ("SP_EL0", 3), ("SP_EL1", 2), ("SP_EL1", 3), ("SP_EL2", 3)]
)
def test_msr_and_mrs_reach_the_stack_pointers_of_lower_els(name, el):
    state = State(el=EL(el), pc=0x1000)
    words = msr(name, 7), mrs(name, 8)
    state.memory.map(0x1000, b"".join(word.to_bytes(4, "little") for word in words))
    state.x[7] = VALUE
    step(state)
    assert state.stack_pointers() == [VALUE if name == f"SP_EL{n}" else 0 for n in range(4)]
    step(state)
    assert state.x[8] == VALUE


@pytest.mark.parametrize("word", [mrs("SP_EL0", 0), msr("SP_EL0", 0)])
@pytest.mark.parametrize("el", [EL.EL1, EL.EL2, EL.EL3])
def test_sp_el0_is_undefined_while_it_is_the_sp_in_use(word, el):
    with pytest.raises(Undefined):
        executed(word, el=el, spsel=0)


@pytest.mark.parametrize("name", ["MDSCR_EL1", "MDCR_EL2", "HCR_EL2"])
def test_a_write_that_is_seen_late_is_read_at_once(name):
    state = state_at(msr(name, 7), el=EL.EL3, write_seen=0)
    before = state.sysregs[name]
    state.x[7] = VALUE
    step(state)
    assert (state.sysregs[name], state.seen(name)) == (VALUE, before)
    state.pc, state.write_seen, state.x[7] = 0x1000, 1, 3
    step(state)
    assert (state.sysregs[name], state.seen(name), state.late) == (3, 3, {})


def test_of_two_writes_seen_late_the_value_before_both_is_seen():
    state = state_at(msr("HCR_EL2", 7), el=EL.EL2, write_seen=0)
    for value in (1, 2):
        state.x[7], state.pc = value, 0x1000
        step(state)
    assert (state.sysregs["HCR_EL2"], state.seen("HCR_EL2")) == (2, 0)


def test_the_os_lock_may_be_seen_late():
    state = state_at(msr("OSLAR_EL1", 31), write_seen=0)
    step(state)
    assert (state.sysregs["OSLSR_EL1"], state.seen("OSLSR_EL1")) == (0x8, 0xA)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            msr("OSLSR_EL1", 0),
            "0xd5101180 at 0x1000 is a reserved MSR (register): OSLSR_EL1 is read-only",
        ),
        (mrs("OSLAR_EL1", 0), "0xd5301080 at 0x1000 is a reserved MRS: OSLAR_EL1 is write-only"),
        (
            0xD538_1020,
            "0xd5381020 at 0x1000 is a reserved MRS: the system register S3_0_C1_C0_1 is not known"
            " here",
        ),
        (
            0x1280_0000 | 2 << 21,
            "0x12c00000 at 0x1000 is a reserved MOVN: hw=2 is above 32 bits",
        ),
        (
            0xF840_8421,
            "0xf8408421 at 0x1000 is a reserved LDR (post-index): writeback to x1, which it"
            " transfers, is CONSTRAINED UNPREDICTABLE",
        ),
        (
            0x0A00_8000,
            "0x0a008000 at 0x1000 is a reserved AND (shifted register): shift of 32 bits by 32",
        ),
    ],
)
def test_a_reserved_word_is_refused_with_its_reason(word, message):
    with pytest.raises(UndefinedWord) as error:
        executed(word)
    assert str(error.value) == message


@pytest.mark.parametrize(("value", "locked"), [(0, 0), (1, 1), (2, 0), (MASK64, 1)])
def test_oslar_bit_0_is_the_os_lock(value, locked):
    x = State().x
    x[3] = value
    sysregs = {**State().sysregs, "OSLSR_EL1": 0b1010}
    state = executed(msr("OSLAR_EL1", 3), x=x, sysregs=sysregs)
    assert OSLSR_EL1.OSLK.get(state.sysregs["OSLSR_EL1"]) == locked
    assert state.sysregs["OSLSR_EL1"] | OSLSR_EL1.OSLK.mask == 0b1010


@pytest.mark.parametrize("el", [EL.EL1, EL.EL2, EL.EL3])
def test_eret_goes_to_the_elr_of_its_el_and_leaves_pstate_to_the_caller(el):
    state = State(el=el, pc=0x1000, nzcv=0b1010)
    state.sysregs[f"ELR_{el.name}"] = 0x8000
    state.memory.map(0x1000, (0xD69F_03E0).to_bytes(4, "little"))
    assert step(state) is Event.ERET
    assert (state.pc, state.el, state.nzcv) == (0x8000, el, 0b1010)


def test_eret_at_el0_is_an_error():
    with pytest.raises(Undefined) as error:
        executed(0xD69F_03E0, el=EL.EL0)
    assert str(error.value) == "pc 0x1000: ERET is undefined at EL0"


def test_eret_clears_the_exclusive_monitor():
    assert executed(0xD69F_03E0, exclusive=(0x2000, 8)).exclusive is None


def test_clrex_clears_the_exclusive_monitor():
    assert executed(0xD503_305F, exclusive=(0x2000, 8)).exclusive is None


@pytest.mark.parametrize("before", range(16))
@pytest.mark.parametrize("bits", range(16))
def test_daifset_and_daifclr_change_the_named_bits_alone(before, bits):
    daifset, daifclr = 0xD503_40DF | bits << 8, 0xD503_40FF | bits << 8
    assert executed(daifset, daif=before).daif == before | bits
    assert executed(daifclr, daif=before).daif == before & ~bits


def test_spsel_selects_the_stack_pointer():
    state = State(el=EL.EL2, pc=0x1000, unused_sps=[0xA0, 0xA1, 0xA2, 0xA3])
    state.sp = 0x1230
    state.memory.map(0x1000, bytes.fromhex("bf4000d5 bf4100d5"))  # msr spsel, #0; msr spsel, #1
    step(state)
    assert (state.sp, state.spsel, state.unused_sps[2]) == (0xA0, 0, 0x1230)
    state.sp = 0xB0
    step(state)
    assert (state.sp, state.spsel, state.unused_sps[0]) == (0x1230, 1, 0xB0)


@pytest.mark.parametrize("word", [0xD503_40DF, 0xD503_40FF])
def test_el0_can_write_daif_with_uma_alone(word):
    with pytest.raises(Trapped) as error:
        executed(word, el=EL.EL0)
    assert str(error.value) == "pc 0x1000: access to DAIF at EL0 is trapped to EL1"
    state = state_at(word, el=EL.EL0)
    step(state)
    assert state.pc == 0x1004


def test_el0_cannot_choose_its_stack_pointer():
    with pytest.raises(Undefined) as error:
        executed(0xD500_40BF, el=EL.EL0)
    assert str(error.value) == "pc 0x1000: MSR SPSel is undefined at EL0"


FIRMWARE = {**State().sysregs, "SCR_EL3": SCR_EL3.NS.mask | SCR_EL3.HCE.mask}


@pytest.mark.parametrize(
    ("word", "event", "pc"),
    [
        (0xD402_4681, Event.SVC, 0x1004),
        (0xD402_4682, Event.HVC, 0x1004),
        (0xD402_4683, Event.SMC, 0x1004),
        (0xD422_4680, Event.EXCEPTION, 0x1000),
    ],
)
def test_an_exception_leaves_its_return_address_and_the_immediate(word, event, pc):
    state = state_at(word, sysregs=FIRMWARE.copy())
    assert fetch(state).fields["imm16"] == 0x1234
    assert step(state) is event
    assert (state.pc, state.el) == (pc, EL.EL1)


@pytest.mark.parametrize(("word", "name"), [(0xD400_0002, "HVC"), (0xD400_0003, "SMC")])
def test_hvc_and_smc_are_undefined_at_el0(word, name):
    with pytest.raises(Undefined) as error:
        executed(word, el=EL.EL0, sysregs=FIRMWARE.copy())
    assert str(error.value) == f"pc 0x1000: {name} is undefined at EL0"
    assert executed(0xD400_0001, el=EL.EL0).pc == 0x1004  # SVC is not
