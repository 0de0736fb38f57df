import pytest

from model.a64.decode import UndefinedWord
from model.a64.exceptions import MisalignedAccess, UnmappedAccess
from model.a64.interpreter import step
from model.a64.state import State
from model.arch import Event

DATA = 0x2000

LDXR_X0 = 0xC85F_7C20  # ldxr x0, [x1]
LDXR_W0 = 0x885F_7C20  # ldxr w0, [x1]
STXR_X3 = 0xC803_7C22  # stxr w3, x2, [x1]
LDXP_X0_X4 = 0xC87F_1020  # ldxp x0, x4, [x1]
STXP_X0_X4 = 0xC823_1020  # stxp w3, x0, x4, [x1]
LDAR_X0 = 0xC8DF_FC20  # ldar x0, [x1]
STLR_X0 = 0xC89F_FC20  # stlr x0, [x1]
CLREX = 0xD503_3F5F
ADD_X1_8 = 0x9100_2021  # add x1, x1, #8
STR_X2_X1 = 0xF900_0022  # str x2, [x1]


def executed(word: int, **fields) -> State:
    """The state after one word at 0x1000, from a state with these fields."""
    state = State(pc=0x1000, **fields)
    state.memory.map(0x1000, word.to_bytes(4, "little"))
    step(state)
    return state


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


def after(*words: int, base: int = DATA) -> State:
    """The state after words, from x1 = base, x2 = 0x22 and memory of bytes 0, 1, 2 ..."""
    state = State(pc=0x1000)
    state.x[1], state.x[2] = base, 0x22
    state.memory.map(0x1000, b"".join(word.to_bytes(4, "little") for word in words))
    state.memory.map(DATA, bytes(range(32)))
    for _ in words:
        step(state)
    return state


def test_a_store_exclusive_after_its_load_exclusive_stores():
    state = after(LDXR_X0, STXR_X3)
    assert (state.x[3], state.load(DATA, 8), state.exclusive) == (0, 0x22, None)


def test_a_load_exclusive_marks_what_it_loads():
    assert after(LDXR_X0).exclusive == (DATA, 8)
    assert after(LDXR_W0).exclusive == (DATA, 4)
    assert after(LDXP_X0_X4).exclusive == (DATA, 16)


@pytest.mark.parametrize(
    "words",
    [
        (STXR_X3,),
        (LDXR_X0, CLREX, STXR_X3),
        (LDXR_X0, STXR_X3, STXR_X3),
        (LDXR_W0, STXR_X3),
        (LDXP_X0_X4, STXR_X3),
        (LDXR_X0, ADD_X1_8, STXR_X3),
    ],
    ids=["alone", "cleared", "again", "other size", "pair", "other address"],
)
def test_a_store_exclusive_without_its_mark_fails(words):
    state = after(*words)
    assert (state.x[3], state.exclusive) == (1, None)
    assert state.load(DATA + 8, 8) == 0x0F0E_0D0C_0B0A_0908


def test_a_plain_store_leaves_the_mark():
    assert after(LDXR_X0, STR_X2_X1, STXR_X3).x[3] == 0


def test_a_load_exclusive_is_an_event_of_its_own():
    state = State(pc=0x1000)
    state.x[1] = DATA
    state.memory.map(0x1000, LDXR_X0.to_bytes(4, "little"))
    state.memory.map(DATA, bytes(8))
    assert step(state) is Event.LOAD_EXCLUSIVE


@pytest.mark.parametrize(
    ("word", "base", "size"),
    [
        (LDXR_X0, DATA + 4, 8),
        (LDXR_W0, DATA + 2, 4),
        (STXR_X3, DATA + 1, 8),
        (LDXP_X0_X4, DATA + 8, 16),
        (STXP_X0_X4, DATA + 8, 16),
        (LDAR_X0, DATA + 7, 8),
        (STLR_X0, DATA + 7, 8),
    ],
)
def test_a_misaligned_exclusive_or_ordered_access_is_refused(word, base, size):
    with pytest.raises(MisalignedAccess) as error:
        after(word, base=base)
    expected = f"pc 0x1000: exclusive or ordered access of {size} bytes at {base:#x}"
    assert str(error.value) == expected


def test_a_pair_whose_second_half_is_not_mapped_loads_nothing():
    state = State(pc=0x1000)
    state.x[1] = DATA
    state.memory.map(0x1000, (0xA940_1020).to_bytes(4, "little"))  # ldp x0, x4, [x1]
    state.memory.map(DATA, bytes([0xFF] * 8))
    with pytest.raises(UnmappedAccess):
        step(state)
    assert state.x[:5] == [0, DATA, 0, 0, 0]


def test_a_prefetch_where_no_memory_is_does_nothing():
    assert executed(0xF980_0000).pc == 0x1004  # prfm pldl1keep, [x0]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (0xA940_0020, "two loads to register 0 are CONSTRAINED UNPREDICTABLE"),
        (0xA9C1_0821, "writeback to x1, which it transfers, is CONSTRAINED UNPREDICTABLE"),
        (0xA981_0422, "writeback to x1, which it transfers, is CONSTRAINED UNPREDICTABLE"),
        (0xC802_7C22, "status in register 2, which it uses, is CONSTRAINED UNPREDICTABLE"),
        (0xC801_7C22, "status in register 1, which it uses, is CONSTRAINED UNPREDICTABLE"),
        (0xC87F_0020, "two loads to register 0 are CONSTRAINED UNPREDICTABLE"),
        (0xF862_0820, "option=0b000: an offset has 32 or 64 bits"),
    ],
)
def test_a_reserved_load_or_store_is_refused_with_its_reason(word, message):
    with pytest.raises(UndefinedWord, match=message):
        executed(word)
