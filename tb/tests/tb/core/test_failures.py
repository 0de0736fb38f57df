"""What a failing test of the core says."""

import asyncio
from types import SimpleNamespace

import pytest

from model.arch import RAM_BASE, Retire
from tb.core import failures
from tb.core.failures import BEFORE
from tb.core.lockstep import Mismatch
from tb.core.rows import inputs
from tb.core.testbench import CoreTestbench
from tb.testbench import Failure
from tb.tests.tb.core.reference import ReferenceSimulator
from tb.tests.tb.core.test_lockstep import image

NOP, SVC, BRANCH_BACK = 0xD503201F, 0xD4000001, 0x17FFFFFF


def told(body, **faults):
    """What is said when a body fails."""
    tb = CoreTestbench(ReferenceSimulator(**faults), "toy", 1)
    try:
        asyncio.run(body(tb))
    except Mismatch as error:
        return failures.mismatch(tb, error).splitlines(), tb
    except Failure as error:
        return failures.failure(tb, error).splitlines(), tb
    raise AssertionError("nothing has failed")


async def plain(tb):
    tb.say(["one", "two"])
    await tb.run(image(), inputs(irq=[0] * 6 + [1]))


TABLE = """\
  field            hardware          model
  pc               0x40000008        0x40000008
  el               EL3               EL3
  state            inactive          inactive
  kind             instruction       instruction
  word             0xf8008420        0xf8008420
  event            execute           execute
  sys_reg          0x4212 CurrentEL  0x0          !!!
  mem              3 (no Access)     store        !!!
  pc_after         0x4000000c        0x4000000c
  el_after         EL3               EL3
  sp_after         1                 1
  nzcv_after       0x9               0x2          !!!
  daif_after       0xf               0xf
  ss_after         0                 0
  il_after         0                 0
  state_after      inactive          inactive
  exclusive_after  0                 0
  event_after      0                 0"""


def test_a_mismatch_has_the_instruction_the_table_and_the_rows_before():
    lines, _ = told(plain, faults={8: {"nzcv_after": 9, "sys_reg": 0x4212, "mem": 3}})
    assert lines[:2] == [
        "cycle 26, row 8: the core is not as the model says",
        "  EL3 0x40000008 0xf8008420 STR (post-index) sz=1 imm9=8 Rn=1 Rt=0",
    ]
    table = TABLE.splitlines()
    assert [line.rstrip() for line in lines[2 : 2 + len(table)]] == table
    rest = lines[2 + len(table) :]
    assert rest[0] == "the rows before it:"
    assert rest[1] == (
        "  row 2, cycle 8: EL3 0x40000008 0xf8008420 STR (post-index) sz=1 imm9=8 Rn=1 Rt=0; "
        "inactive -> inactive"
    )
    assert rest[BEFORE + 1] == (
        "  row 8, cycle 26: EL3 0x40000008 0xf8008420 STR (post-index) sz=1 imm9=8 Rn=1 Rt=0 "
        "(irq high); inactive -> inactive"
    )
    assert rest[BEFORE + 2 :] == ["one", "two"]


def test_the_first_row_has_none_before_it():
    lines, _ = told(plain, faults={0: {"el": 0}})
    at = lines.index("the rows before it:")
    assert lines[at + 1].startswith("  row 0, cycle 2: EL0 0x40000000 0xd28000a0 MOVZ")
    assert lines[at + 2 :] == ["one", "two"]


def test_what_the_test_states_is_not_called_the_model():
    async def body(tb):
        rows = await tb.run(image())
        tb.expect(rows.row(3), state_after=1, el=3)

    lines, _ = told(body)
    assert lines[0] == "cycle 11, row 3: the core is not as the test says"
    rows = [line.split() for line in lines if "inactive" in line]
    assert ["state_after", "inactive", "active-not-pending", "!!!"] in rows
    assert ["state", "inactive"] in rows


def test_a_failure_has_its_sentence_and_the_last_rows():
    async def body(tb):
        tb.say(["a remark"])
        await tb.run(image([NOP, BRANCH_BACK]), max_cycles=100)

    lines, tb = told(body)
    assert lines[:2] == [
        "the program has not ended after 100 cycles and 33 rows: it is at 0x40000004",
        "the last rows:",
    ]
    assert [line.split()[1] for line in lines[2:-1]] == [f"{n}," for n in range(27, 33)]
    assert lines[-1] == "a remark"
    assert failures.last_cycle(tb) == 98


def test_a_failure_before_anything_ran_is_its_sentence():
    async def body(tb):
        raise Failure("nothing to do")

    lines, tb = told(body)
    assert lines == ["nothing to do"]
    assert failures.last_cycle(tb) is None


def exceptions():
    """The text of each row of a program with exceptions, by its kind."""
    texts = []

    async def body(tb):
        # msr daifclr, #15 is not needed: at EL3, an interrupt for EL3 is masked from the reset on.
        words = [0xD51E1100, SVC]  # msr scr_el3, x0; x0 is 0
        rows = await tb.run(image(words), max_rows=3)
        texts.extend(failures.row_text(row) for row in rows)

    asyncio.run(body(CoreTestbench(ReferenceSimulator(), "toy", 1)))
    return texts


def test_a_row_with_an_exception_says_which_and_where_to():
    texts = exceptions()
    assert texts[1] == (
        f"row 1, cycle 5: EL3 {RAM_BASE + 4:#x} 0xd4000001 SVC imm16=0 "
        "-> synchronous (svc64) to EL3; inactive -> inactive"
    )
    assert texts[2].startswith(
        "row 2, cycle 8: EL3 0x200 no instruction -> synchronous (iabt_same) to EL3"
    )


def row(**members):
    plain = {"number": 1, "cycle": 2, "el": 1, "pc": 4, "word": 0, "target_el": 2, "esr": 0}
    plain |= {"sets_esr": 0, "irq": 0, "fiq": 0, "serror": 0, "state": 0, "state_after": 0}
    return SimpleNamespace(**plain | members)


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"kind": Retire.IRQ, "irq": 1}, "no instruction -> irq to EL2 (irq high)"),
        (
            {"kind": Retire.SYNCHRONOUS, "sets_esr": 1, "esr": 0x3F << 26},
            "no instruction -> synchronous (EC 0x3f) to EL2",
        ),
        ({"kind": Retire.INSTRUCTION, "word": 1}, "0x00000001 UNDEFINED"),
    ],
)
def test_other_rows(members, text):
    assert failures.row_text(row(**members)) == f"row 1, cycle 2: EL1 0x4 {text}; " + (
        "inactive -> inactive"
    )
