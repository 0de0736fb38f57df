import struct

import pytest

from model.a64.decode import UndefinedWord
from model.a64.exceptions import MisalignedAccess, UnmappedAccess
from model.a64.interpreter import StepLimit, UntakenException, last_change, record, run, step
from model.a64.state import State
from model.arch import EL, SCR_EL3, Event

MOVZ_X1_5 = 0xD280_00A1
SUBS_X1_1 = 0xF100_0421  # subs x1, x1, #1
B_NE_BACK = 0x54FF_FFE1  # b.ne to the word before
MSR_MDSCR_X1 = 0xD510_0241
NOP = 0xD503_201F
ISB = 0xD503_3FDF
ERET = 0xD69F_03E0
B_SELF = 0x1400_0000

START = 0x1000


def state_with(*words: int, writable: bool = False) -> State:
    state = State(el=EL.EL1, pc=START)
    state.memory.map(START, struct.pack(f"<{len(words)}I", *words), writable)
    return state


def test_step_returns_the_event_that_completed():
    state = state_with(NOP, ISB, ERET)
    assert [step(state) for _ in range(3)] == [Event.EXECUTE, Event.ISB, Event.ERET]


def test_run_stops_at_the_end():
    state = state_with(MOVZ_X1_5, SUBS_X1_1, B_NE_BACK, NOP)
    run(state, START + 12, max_steps=11)
    assert state.pc == START + 12
    assert state.x[1] == 0


def test_run_stops_after_an_eret():
    state = state_with(NOP, ERET, NOP)
    state.sysregs["ELR_EL1"] = 0x8000
    run(state, START + 12, max_steps=10)
    assert state.pc == 0x8000


@pytest.mark.parametrize("runner", [run, record])
@pytest.mark.parametrize(
    ("word", "name"),
    [(0xD402_4681, "SVC"), (0xD402_4682, "HVC"), (0xD402_4683, "SMC"), (0xD422_4680, "BRK")],
)
def test_an_exception_that_nobody_takes_ends_a_run(runner, word, name):
    state = state_with(NOP, word, NOP)
    state.sysregs["SCR_EL3"] = SCR_EL3.NS.mask | SCR_EL3.HCE.mask
    with pytest.raises(UntakenException) as error:
        runner(state, START + 12, max_steps=10)
    assert str(error.value) == f"pc 0x1004: {name} #0x1234 takes an exception"
    assert state.pc == START + 4


def test_record_tells_what_became_of_pstate():
    (retired,) = record(state_with(0xD503_48DF), START + 4, max_steps=1)  # msr daifset, #8
    assert retired.registers == {"daif": (0, 8)}


def test_run_at_the_end_executes_nothing():
    state = state_with(NOP)
    run(state, START, max_steps=0)
    assert state.pc == START


@pytest.mark.parametrize("runner", [run, record])
def test_code_that_does_not_end_is_stopped(runner):
    with pytest.raises(StepLimit) as error:
        runner(state_with(NOP, B_SELF), 0x2000, max_steps=100)
    assert str(error.value) == "pc 0x1004: the end, 0x2000, is not reached after 100 instructions"


@pytest.mark.parametrize(
    ("pc", "kind", "why"),
    [
        (0x5000, UnmappedAccess, "no memory is mapped there"),
        (START + 2, MisalignedAccess, "it is not a multiple of 4"),
    ],
)
def test_a_pc_where_nothing_can_be_fetched_is_named(pc, kind, why):
    state = state_with(NOP, NOP)
    state.pc = pc
    with pytest.raises(kind) as error:
        step(state)
    assert str(error.value) == f"pc {pc:#x}: no instruction can be fetched: {why}"


def test_an_undefined_word_is_named_with_its_address():
    with pytest.raises(UndefinedWord, match="0xffffffff at 0x1000"):
        step(state_with(0xFFFF_FFFF))


def test_code_in_writable_memory_may_change():
    state = state_with(NOP, writable=True)
    step(state)
    state.store(START, 4, MOVZ_X1_5)
    state.pc = START
    step(state)
    assert state.x[1] == 5


def test_record_and_run_come_to_the_same_state():
    words = (MOVZ_X1_5, SUBS_X1_1, B_NE_BACK, MSR_MDSCR_X1)
    recorded, ran = state_with(*words), state_with(*words)
    record(recorded, START + 16, max_steps=100)
    run(ran, START + 16, max_steps=100)
    assert (recorded.x, recorded.sysregs, recorded.nzcv) == (ran.x, ran.sysregs, ran.nzcv)


def test_record_tells_what_each_instruction_changed():
    state = state_with(MOVZ_X1_5, SUBS_X1_1, MSR_MDSCR_X1, B_SELF | 2)
    retired = record(state, START + 20, max_steps=10)
    assert [r.pc for r in retired] == [START, START + 4, START + 8, START + 12]
    assert [r.word for r in retired] == [MOVZ_X1_5, SUBS_X1_1, MSR_MDSCR_X1, B_SELF | 2]
    assert retired[0].registers == {"x1": (0, 5)}
    assert retired[1].registers == {"x1": (5, 4), "nzcv": (0, 0b0010)}
    assert retired[2].registers == {}
    assert retired[2].sysregs == {"MDSCR_EL1": (0, 4)}
    assert [r.branched for r in retired] == [False, False, False, True]


def test_the_last_instruction_that_changed_a_bit_is_found():
    retired = record(state_with(MOVZ_X1_5, SUBS_X1_1, MSR_MDSCR_X1), START + 12, max_steps=10)
    assert last_change(retired, "x1", 0b001) is retired[1]
    assert last_change(retired, "x1", 0b100) is retired[0]
    assert last_change(retired, "x1", 0b010) is None
    assert last_change(retired, "MDSCR_EL1", 0b100) is retired[2]
    assert last_change(retired, "SPSR_EL2", 1) is None
