"""Execute: results, flags and branches are the reference's."""

from hw.core.decode import Group
from model.a64 import branches, data_processing
from model.a64.interpreter import step
from model.a64.state import MASK64, SP, State
from model.arch import EL
from tb.tests.hw.core.datapath import (
    EDGES,
    Answer,
    Case,
    answers,
    random_cases,
)

PC = 0xFFFF_0000_8000_1FFC
DIVIDES = ("UDIV", "SDIV")  # test_divide has them
ROWS = [row for row in (*data_processing.ROWS, *branches.ROWS) if row.name not in DIVIDES]


def check(case: Case, answer: Answer) -> None:
    """One case against the reference, which executes it."""
    operation, seen = answer
    state = case.state
    found, nzcv = state.x.copy(), state.nzcv
    if operation.writes_rd and (operation.rd != SP or operation.rd_sp):
        found[operation.rd] = seen.result
    if operation.sets_flags:
        nzcv = seen.nzcv_after
    pc = seen.target if seen.taken else state.pc + 4
    step(state)
    assert found[: SP + 1] == state.x[: SP + 1], case
    assert nzcv == state.nzcv, case
    assert pc == state.pc, case


def check_all(cases: list[Case]) -> None:
    for case, answer in zip(cases, answers(cases), strict=True):
        check(case, answer)


def case_of(word: int, registers: dict[int, int], nzcv: int = 0) -> Case:
    """A word on given registers, at PC."""
    state = State(el=EL.EL1, pc=PC, nzcv=nzcv)
    for n, value in registers.items():
        state.x[n] = value
    row = next(row for row in ROWS if row.matches(word))
    return Case(row, word, state)


def test_every_row_on_random_words_and_states(rng):
    check_all(random_cases(ROWS, rng))


def test_every_row_where_carries_signs_and_widths_end(rng):
    cases = random_cases(ROWS, rng, count=10)
    for case in cases:
        case.state.x[: SP + 1] = [rng.choice(EDGES) for _ in range(SP + 1)]
    check_all(cases)


#: Of X0, X1 and X2; of W registers with bit 31 cleared.
ADDITIONS = {
    "adds": 0xAB02_0020,
    "subs": 0xEB02_0020,
    "adcs": 0xBA02_0020,
    "sbcs": 0xFA02_0020,
}
SHIFTS = {"lslv": 0x9AC2_2020, "lsrv": 0x9AC2_2420, "asrv": 0x9AC2_2820, "rorv": 0x9AC2_2C20}
NARROW = 0x7FFF_FFFF


def test_flags_of_additions_at_every_pair_of_edges():
    check_all(
        [
            case_of(word & width, {1: x, 2: y}, nzcv=carry << 1)
            for word in ADDITIONS.values()
            for width in (NARROW, MASK64)
            for x in EDGES
            for y in EDGES
            for carry in (0, 1)
        ]
    )


def test_shifts_by_every_amount():
    check_all(
        [
            case_of(word & width, {1: 0x8123_4567_89AB_CDEF, 2: amount})
            for word in SHIFTS.values()
            for width in (NARROW, MASK64)
            for amount in (*range(65), 127, MASK64)
        ]
    )


def test_every_condition_on_all_flags():
    forward = 2 << 5
    cases = [
        case_of(0x5400_0000 | forward | condition, {}, nzcv)
        for condition in range(16)
        for nzcv in range(16)
    ]
    check_all(cases)
    assert {case.state.pc for case in cases} == {PC + 4, PC + 8}


def test_branches_on_every_bit_of_a_register():
    cbz, tbz, to_x1 = 0x3400_0001, 0x3600_0001, 2 << 5
    compares = [
        case_of(cbz | to_x1 | sf << 31 | op << 24, {1: 1 << bit})
        for bit in range(65)  # with the last of them none is set: a register has 64
        for sf in (0, 1)
        for op in (0, 1)
    ]
    for case in compares:
        case.state.x[1] &= MASK64
    tests = [
        case_of(tbz | to_x1 | bit >> 5 << 31 | op << 24 | (bit & 0x1F) << 19, {1: value})
        for bit in range(64)
        for op in (0, 1)
        for value in (1 << bit, MASK64 ^ 1 << bit)
    ]
    check_all(compares + tests)
    assert {case.state.pc for case in compares + tests} == {PC + 4, PC + 8}


def test_a_32_bit_result_has_no_upper_half(rng):
    cases = [case for case in random_cases(ROWS, rng, count=5) if not case.word >> 31]
    for case, answer in zip(cases, answers(cases), strict=True):
        if answer.operation.group != Group.BRANCH and case.row.name != "ADR":
            assert answer.seen.result >> 32 == 0, case
