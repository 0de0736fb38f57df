"""The rows of the retire trace, typed again."""

from amaranth.hdl import Shape

from hw.core.trace import CoreTrace
from model.a64.processor import Processor
from model.a64.trace import WIDTHS, Inputs, Row
from tb.tests.model.a64.pe import pe_at

FIELDS = """
irq 1, fiq 1, serror 1, async_first 1, isv_choice 1, write_seen 1, wfx_ends 1, cycle_count 64,
pc 64, el 2, eld 2, enabled 1, state 2, last 3,
kind 3, word 32, event 4,
target_el 2, esr 64, elr 64, spsr 64, far 64, hpfar 64, sets_esr 1, sets_far 1, sets_hpfar 1,
x0_en 1, x0_reg 5, x0_value 64, x1_en 1, x1_reg 5, x1_value 64, x2_en 1, x2_reg 5, x2_value 64,
sys_en 1, sys_reg 15, sys_value 64,
mem 2, mem_address 64, mem_size 3, mem_data 128,
pc_after 64, el_after 2, sp_after 1, nzcv_after 4, daif_after 4, ss_after 1, il_after 1,
state_after 2, exclusive_after 1, event_after 1
"""


def test_fields_and_widths_in_their_order():
    expected = [tuple(field.split()) for field in FIELDS.replace("\n", " ").split(",")]
    assert [(name, str(width)) for name, width in WIDTHS.items()] == expected
    assert tuple(WIDTHS) == Row._fields


def test_the_core_retires_the_same_fields():
    members = CoreTrace.members
    hardware = {name: Shape.cast(members[name].shape).width for name in members if name != "valid"}
    assert list(hardware.items()) == list(WIDTHS.items())


def test_the_inputs_are_the_first_fields_of_a_row():
    assert Row._fields[: len(Inputs._fields)] == Inputs._fields


def test_without_inputs_nothing_interrupts_and_nothing_is_late():
    assert Inputs() == Inputs(0, 0, 0, 0, 1, 1, 1, 0)


def test_a_row_is_of_ints_that_fit(rng):
    pe = pe_at(1, *(rng.getrandbits(32) for _ in range(64)))
    rows = [pe.step(Inputs(irq=rng.getrandbits(1))) for _ in range(200)]
    rows += [Processor().step()]
    assert {type(value) for row in rows for value in row} == {int}
    for row in rows:
        assert all(0 <= getattr(row, name) < 1 << width for name, width in WIDTHS.items())
