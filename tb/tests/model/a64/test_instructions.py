"""Unicorn, which shares nothing with the model, executes the same words on the same states."""

from random import Random

import pytest
from unicorn import UC_ARCH_ARM64, UC_MODE_ARM, Uc
from unicorn import arm64_const as uc

from model.a64.decode import Decoder, Row, UndefinedWord
from model.a64.instructions import ROWS, AddWithCarry, ConditionHolds, DecodeBitMasks, Reserved
from model.a64.interpreter import step
from model.a64.state import MASK64, State, SystemRegisterError, UnmappedAccess
from model.arch import EL, OSLSR_EL1, SYSREGS, Event

WORDS_PER_ROW = 300

TEXT = 0x1000_0000
REACH = 0x800_1000  # a branch reaches 128 MB, and unicorn wants memory where it lands
DATA = 0x4000_0000
DATA_SIZE = 0x10000

#: What unicorn judges: all but the system registers and ERET, where EL and traps come in.
JUDGED = [row for row in ROWS if row.name not in ("MRS", "MSR (register)", "ERET")]

UC_X = [getattr(uc, f"UC_ARM64_REG_X{n}") for n in range(31)]

#: Values that sit on the edges of signs, carries and widths.
EDGES = [0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 63, (1 << 63) - 1, MASK64]


@pytest.fixture(scope="module")
def unicorn() -> Uc:
    machine = Uc(UC_ARCH_ARM64, UC_MODE_ARM)
    machine.mem_map(TEXT - REACH, 2 * REACH)
    machine.mem_map(DATA, DATA_SIZE)
    return machine


def word_of(row: Row, **fields: int) -> int:
    return row.value | sum(row.fields[name].put(value) for name, value in fields.items())


def random_word(row: Row, rng: Random) -> int:
    """A word of the row that is not reserved."""
    while True:
        fields = {name: rng.getrandbits(field.width) for name, field in row.fields.items()}
        word = word_of(row, **fields)
        try:
            Decoder([row]).decode(word, 0)
        except UndefinedWord:
            continue
        return word


def random_state(word: int, rng: Random) -> State:
    """Random registers; the one that a load or store is based on points into the data."""
    state = State(pc=TEXT, nzcv=rng.getrandbits(4))
    for register in range(32):  # 31 is SP
        state.x[register] = rng.choice([*EDGES, *(rng.getrandbits(64) for _ in EDGES)])
    if word >> 25 & 0b101 == 0b100:  # loads and stores
        state.x[word >> 5 & 0b11111] = DATA + rng.randrange(0x200, 0x400)
    state.memory.map(TEXT, word.to_bytes(4, "little"))
    state.memory.map(DATA, rng.randbytes(DATA_SIZE))
    return state


def execute_in_unicorn(machine: Uc, word: int, state: State) -> tuple[list[int], int, int, bytes]:
    """Registers with SP, NZCV, pc and data after the word, from the state before it."""
    machine.mem_write(TEXT, word.to_bytes(4, "little"))
    machine.ctl_remove_cache(TEXT, TEXT + 4)
    mapped = state.memory.find(DATA, 1)
    assert mapped is not None
    machine.mem_write(DATA, bytes(mapped.contents))
    for register, value in zip(UC_X, state.x, strict=False):
        machine.reg_write(register, value)
    machine.reg_write(uc.UC_ARM64_REG_SP, state.sp)
    machine.reg_write(uc.UC_ARM64_REG_NZCV, state.nzcv << 28)
    machine.emu_start(TEXT, MASK64, count=1)
    x = [machine.reg_read(register) for register in (*UC_X, uc.UC_ARM64_REG_SP)]
    nzcv = machine.reg_read(uc.UC_ARM64_REG_NZCV) >> 28
    data = bytes(machine.mem_read(DATA, DATA_SIZE))
    return x, nzcv, machine.reg_read(uc.UC_ARM64_REG_PC), data


@pytest.mark.parametrize("row", JUDGED, ids=lambda row: row.name)
def test_unicorn_agrees_on_random_words_and_states(row, unicorn, rng):
    for _ in range(WORDS_PER_ROW):
        word = random_word(row, rng)
        state = random_state(word, rng)
        before = state.x.copy()
        expected = execute_in_unicorn(unicorn, word, state)
        event = step(state)
        data = bytes(state.memory.find(DATA, 1).contents)
        found = (state.x[:32], state.nzcv, state.pc, data)
        assert found == expected, f"{row.name}: {word:#010x} on {before}"
        assert event is (Event.ISB if row.name == "ISB" else Event.EXECUTE)


def executed(word: int, **fields) -> State:
    """The state after one word at 0x1000, from a state with these fields."""
    state = State(pc=0x1000, **fields)
    state.memory.map(0x1000, word.to_bytes(4, "little"))
    step(state)
    return state


def mrs(name: str, register: int) -> int:
    return msr(name, register) | 1 << 21


def msr(name: str, register: int) -> int:
    r = SYSREGS[name]
    encoding = r.op0 << 19 | r.op1 << 16 | r.crn << 12 | r.crm << 8 | r.op2 << 5
    return 0xD500_0000 | encoding | register


READABLE = sorted(set(SYSREGS) - {"OSLAR_EL1"})
WRITABLE = sorted(set(SYSREGS) - {"OSLAR_EL1", "OSLSR_EL1"})


def test_the_words_of_mrs_and_msr_are_those_of_the_assembler():
    assert mrs("SPSR_EL2", 1) == 0xD53C_4001
    assert msr("MDSCR_EL1", 2) == 0xD510_0242


@pytest.mark.parametrize("name", READABLE)
def test_mrs_reads_all_64_bits(name):
    state = State(el=EL.EL3, pc=0x1000)
    state.sysregs[name] = 0xFEDC_BA98_7654_3210
    state.memory.map(0x1000, mrs(name, 7).to_bytes(4, "little"))
    step(state)
    assert state.x[7] == 0xFEDC_BA98_7654_3210
    assert state.pc == 0x1004


@pytest.mark.parametrize("name", WRITABLE)
def test_msr_writes_all_64_bits_of_that_register_alone(name):
    x = State().x
    x[7] = 0xFEDC_BA98_7654_3210
    state = executed(msr(name, 7), el=EL.EL3, x=x)
    assert state.sysregs == {**State().sysregs, name: 0xFEDC_BA98_7654_3210}


def test_msr_from_register_31_writes_0():
    assert executed(msr("MDSCR_EL1", 31)).sysregs["MDSCR_EL1"] == 0


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize("el", EL)
def test_a_register_is_accessible_from_the_el_in_its_name_upwards(name, el):
    if el >= int(name[-1]):
        executed(mrs(name, 0), el=el)
        return
    with pytest.raises(SystemRegisterError) as error:
        executed(mrs(name, 0), el=el)
    assert str(error.value) == f"pc 0x1000: {el.name} cannot access {name}"


def test_a_write_from_too_low_an_el_is_refused():
    with pytest.raises(SystemRegisterError) as error:
        executed(msr("SPSR_EL2", 0), el=EL.EL1)
    assert str(error.value) == "pc 0x1000: EL1 cannot access SPSR_EL2"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            msr("OSLSR_EL1", 0),
            "0xd5101180 at 0x1000 is a reserved MSR (register): OSLSR_EL1 is read-only",
        ),
        (mrs("OSLAR_EL1", 0), "0xd5301080 at 0x1000 is a reserved MRS: OSLAR_EL1 is write-only"),
        (
            0xD538_1000,
            "0xd5381000 at 0x1000 is a reserved MRS: the system register S3_0_C1_C0_0 is not known"
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
    with pytest.raises(SystemRegisterError) as error:
        executed(0xD69F_03E0, el=EL.EL0)
    assert str(error.value) == "pc 0x1000: ERET is undefined at EL0"


def test_a_load_where_no_memory_is_names_address_and_pc():
    with pytest.raises(UnmappedAccess) as error:
        executed(0xF940_2003)  # ldr x3, [x0, #0x40]
    assert str(error.value) == "pc 0x1000: load of 8 bytes at 0x40: no memory is mapped there"


def test_writeback_does_not_happen_when_the_load_fails():
    state = State(pc=0x1000)
    state.memory.map(0x1000, (0xF840_8C20).to_bytes(4, "little"))  # ldr x0, [x1, #8]!
    with pytest.raises(UnmappedAccess):
        step(state)
    assert state.x[1] == 0
    assert state.pc == 0x1000


def test_every_logical_immediate_is_a_rotated_run_of_ones():
    masks = {}
    for word in range(1 << 13):
        fields = (word >> 12, word & 0x3F, word >> 6 & 0x3F)
        try:
            masks[fields] = DecodeBitMasks(*fields, 64)
        except Reserved:
            continue
    # The count that the manual's table of immediates comes to for 64 bits.
    assert len(set(masks.values())) == 5334
    assert all(0 < mask < MASK64 for mask in masks.values())


@pytest.mark.parametrize(
    ("x", "y", "carry", "result", "nzcv"),
    [
        (0, 0, 0, 0, 0b0100),
        (0xFF, 1, 0, 0, 0b0110),
        (0x7F, 1, 0, 0x80, 0b1001),
        (0x80, 0x80, 0, 0, 0b0111),
        (5, 5 ^ 0xFF, 1, 0, 0b0110),
        (0x7F, 0x7F, 1, 0xFF, 0b1001),
    ],
)
def test_add_with_carry_sets_each_flag(x, y, carry, result, nzcv):
    assert AddWithCarry(x, y, carry, 8) == (result, nzcv)


def test_conditions_come_in_opposite_pairs_but_for_always():
    for nzcv in range(16):
        for cond in range(0, 14, 2):
            assert ConditionHolds(cond, nzcv) != ConditionHolds(cond + 1, nzcv)
        assert ConditionHolds(14, nzcv)
        assert ConditionHolds(15, nzcv)
