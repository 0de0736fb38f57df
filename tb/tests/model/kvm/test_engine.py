"""The reference PE as an engine: from the reset to the wait, and from one wait to the next."""

import struct

import pytest

from model.a64.trace import Inputs
from model.arch import RAM_BASE, RAM_SIZE, RESET_VECTOR, SCR_EL3, Retire
from model.kvm.engine import MAX_ROWS, NoExit, ReferenceEngine
from model.programs.image import Image
from tb.core.program import ERET, NOP, Code, mov, msr, word
from tb.tests.model.a64.pe import code
from tb.tests.model.kvm.guests import now

DATA = RESET_VECTOR + 0x8000  #: the doorbell, and behind it what came of it
VECTORS = RESET_VECTOR + 0x4000
ENDLESS = 99  #: in the doorbell


def program() -> Image:
    """It waits for the doorbell, and stores what it held, times 2, behind it. IRQs go on after."""
    c = Code(RESET_VECTOR)
    c.put(*mov(1, DATA), *mov(0, VECTORS), msr("VBAR_EL3", 0))
    c.put(*mov(0, SCR_EL3.IRQ.mask), msr("SCR_EL3", 0), word("MSR DAIFClr", CRm=0b0010))
    c.label("host_wait")
    c.add("LDR (unsigned offset)", sz=1, Rn=1, Rt=0)
    c.branch("CBZ", "host_wait", sf=1, Rt=0)
    c.add("SUBS (immediate)", sf=1, imm12=ENDLESS, Rn=0, Rd=31)
    c.label("endless")
    c.branch("B.cond", "endless", cond=0)
    c.add("ADD (shifted register)", sf=1, Rm=0, Rn=0, Rd=2)
    c.add("STP (offset)", sf=1, Rn=1, Rt=31, Rt2=2)
    c.branch("B", "host_wait")
    segments = [(address, code(value)) for address, value in c.image().items()]
    segments.append((VECTORS + 0x280, code(ERET)))
    wait = c.address_of("host_wait")
    return Image(tuple(segments), {"host_wait": wait}, RESET_VECTOR)


WAIT = program().symbols["host_wait"]
ROUND = 7  #: rows from the wait to the wait


def started(max_rows=MAX_ROWS):
    engine = ReferenceEngine(max_rows)
    return engine, now(engine.start(program()))


def ring(engine, value):
    engine.write(DATA, struct.pack("<Q", value))


def test_start_comes_from_the_reset_to_the_wait():
    _, ran = started()
    assert ran.rows[0].pc == RESET_VECTOR
    assert ran.rows[-1].pc_after == WAIT
    assert WAIT not in [row.pc_after for row in ran.rows[:-1]]


def test_the_reference_has_no_clock():
    engine, ran = started()
    assert ran.cycles == []
    ring(engine, 1)
    assert now(engine.run()).cycles == []


def test_a_run_goes_from_the_wait_to_the_wait_with_what_the_host_wrote():
    engine, _ = started()
    for value in (5, 7):
        ring(engine, value)
        ran = now(engine.run())
        assert (ran.rows[0].pc, ran.rows[-1].pc_after, len(ran.rows)) == (WAIT, WAIT, ROUND)
        assert struct.unpack("<2Q", engine.read(DATA, 16)) == (0, 2 * value)


def test_a_wait_that_nobody_ends_is_a_run_of_its_own():
    engine, _ = started()
    assert len(now(engine.run()).rows) == 2


def test_each_row_meets_its_pins_and_later_rows_the_last_of_them():
    engine, _ = started()
    pins = [Inputs(cycle_count=n, isv_choice=n & 1) for n in range(3)]
    ring(engine, 1)
    ran = now(engine.run(pins))
    assert [row.isv_choice for row in ran.rows] == [0, 1, 0, 0, 0, 0, 0]


def test_an_interrupt_at_a_row_is_taken_at_that_row():
    engine, _ = started()
    ring(engine, 1)
    ran = now(engine.run([Inputs(), Inputs(), Inputs(), Inputs(irq=1), Inputs()]))
    kinds = [row.kind for row in ran.rows]
    assert kinds == [Retire.INSTRUCTION] * 3 + [Retire.IRQ] + [Retire.INSTRUCTION] * 5


def test_pins_are_low_in_the_next_run():
    engine, _ = started()
    ring(engine, 1)
    now(engine.run([Inputs(fiq=1)]))
    ring(engine, 1)
    assert not any(row.fiq for row in now(engine.run()).rows)


def test_a_run_that_does_not_come_back_says_where_it_is():
    engine, _ = started()
    engine._max_rows = 1500
    ring(engine, ENDLESS)
    with pytest.raises(NoExit) as error:
        now(engine.run())
    assert str(error.value) == f"no exit to the host in 1,500 rows: at {WAIT + 12:#x}"


def test_a_program_that_does_not_come_to_its_wait_says_where_it_is():
    image = Image(((RESET_VECTOR, code(NOP, NOP, NOP)),), {"host_wait": RESET_VECTOR}, 0)
    with pytest.raises(NoExit) as error:
        now(ReferenceEngine(max_rows=2).start(image))
    assert str(error.value) == f"no exit to the host in 2 rows: at {RESET_VECTOR + 8:#x}"


def test_a_program_without_a_wait_is_none():
    with pytest.raises(KeyError):
        now(ReferenceEngine().start(Image((), {}, RESET_VECTOR)))


def test_an_engine_started_anew_knows_nothing_of_before():
    engine, first = started()
    ring(engine, 5)
    now(engine.run())
    again = now(engine.start(program()))
    assert again.rows == first.rows
    assert engine.read(DATA, 16) == bytes(16)


@pytest.mark.parametrize(
    ("address", "size"), [(RAM_BASE - 1, 1), (RAM_BASE + RAM_SIZE - 4, 8), (0, 8)]
)
def test_what_is_not_all_in_ram_is_neither_read_nor_written(address, size):
    engine, _ = started()
    text = f"{size} bytes at {address:#x} are not all in RAM"
    with pytest.raises(ValueError, match=text):
        engine.read(address, size)
    with pytest.raises(ValueError, match=text):
        engine.write(address, bytes(size))


def test_all_of_ram_is_read_and_written():
    engine, _ = started()
    for address in (RAM_BASE, RAM_BASE + RAM_SIZE - 8):
        engine.write(address, b"software")
        assert engine.read(address, 8) == b"software"
