"""Branches (manual C4.1.93), as rows."""

from collections.abc import Callable

from model.a64.decode import LINK, Operation, Row, row
from model.a64.pseudocode import Ones, SignExtend, conditions, read_slot
from model.a64.state import MASK64, State


def b(imm26: int) -> Operation:
    """B: branch."""
    offset = SignExtend(imm26, 26) * 4
    return lambda state: state.pc + offset & MASK64


def bl(imm26: int) -> Operation:
    """BL: branch with link."""
    offset = SignExtend(imm26, 26) * 4

    def execute(state: State) -> int:
        state.x[LINK] = state.pc + 4 & MASK64
        return state.pc + offset & MASK64

    return execute


def br(Rn: int) -> Operation:
    """BR and RET: branch to a register. They differ in what they tell a predictor."""
    n = read_slot(Rn)
    return lambda state: state.x[n]


def blr(Rn: int) -> Operation:
    """BLR: branch with link to a register, which may be the link register itself."""
    n = read_slot(Rn)

    def execute(state: State) -> int:
        target = state.x[n]
        state.x[LINK] = state.pc + 4 & MASK64
        return target

    return execute


def b_cond(imm19: int, cond: int) -> Operation:
    """B.cond: branch conditionally."""
    offset = SignExtend(imm19, 19) * 4
    taken = conditions(cond)
    return lambda state: state.pc + offset & MASK64 if taken[state.nzcv] else None


def _compare_and_branch(nonzero: bool) -> Callable[..., Operation]:
    def build(sf: int, imm19: int, Rt: int) -> Operation:
        return _branch_if(Ones(64 if sf else 32), nonzero, Rt, SignExtend(imm19, 19) * 4)

    return build


def _test_and_branch(nonzero: bool) -> Callable[..., Operation]:
    def build(b5: int, b40: int, imm14: int, Rt: int) -> Operation:
        return _branch_if(1 << (b5 << 5 | b40), nonzero, Rt, SignExtend(imm14, 14) * 4)

    return build


def _branch_if(mask: int, nonzero: bool, Rt: int, offset: int) -> Operation:
    """Branch if the register's bits under the mask are not all 0 (nonzero), or are."""
    t = read_slot(Rt)

    def execute(state: State) -> int | None:
        if (state.x[t] & mask != 0) is nonzero:
            return state.pc + offset & MASK64
        return None

    return execute


ROWS: tuple[Row, ...] = (
    row("B", "0 00101 imm26:26", b),
    row("BL", "1 00101 imm26:26", bl, writes="X30"),
    row("BR", "1101011 0 0 00 11111 0000 00 Rn:5 00000", br),
    row("BLR", "1101011 0 0 01 11111 0000 00 Rn:5 00000", blr, writes="X30"),
    row("RET", "1101011 0 0 10 11111 0000 00 Rn:5 00000", br),
    row("B.cond", "01010100 imm19:19 0 cond:4", b_cond),
    row("CBZ", "sf 011010 0 imm19:19 Rt:5", _compare_and_branch(nonzero=False)),
    row("CBNZ", "sf 011010 1 imm19:19 Rt:5", _compare_and_branch(nonzero=True)),
    row("TBZ", "b5 011011 0 b40:5 imm14:14 Rt:5", _test_and_branch(nonzero=False)),
    row("TBNZ", "b5 011011 1 b40:5 imm14:14 Rt:5", _test_and_branch(nonzero=True)),
)
