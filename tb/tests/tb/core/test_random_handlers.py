"""Handlers and their tables: each exception uses an entry, and returns as it says."""

from random import Random

import pytest

from model.a64.processor import Processor
from model.arch import EL, ExceptionClass, SPSR_ELx
from tb.core import random_handlers
from tb.core.program import Program
from tb.core.random_body import Pool
from tb.core.random_handlers import ELS, Handlers, entries, table_bytes, tables
from tb.core.random_layout import BODY, VECTORS, Roles
from tb.core.random_registers import CONTROLS, Values
from tb.core.random_themes import Theme

ROWS = 400
POOL = {name: [0] for name in CONTROLS}


def values(seed=1, **chances):
    return Values(Random(seed), Theme("test", chances))


def test_tables_follow_one_another_and_have_whole_entries():
    starts = tables(ROWS)
    written = dict(entries(values(), POOL, ROWS, lambda el, to: BODY))
    assert sorted(written) == list(range(starts[EL.EL1], starts[EL.EL3] + table_bytes(ROWS), 8))


def test_an_entry_returns_to_where_its_spsr_says():
    asked = []

    def elr(el, to):
        asked.append((el, to))
        return BODY + 4 * to

    for at, value in entries(values(), POOL, ROWS, elr):
        if at % 64 == 0:
            el, to = asked[-1]
            assert value == BODY + 4 * to
            assert to <= el
    assert {to for el, to in asked if el == EL.EL2} == {EL.EL0, EL.EL1, EL.EL2}


@pytest.mark.parametrize("el", ELS)
def test_every_vector_of_every_el_has_code(el):
    rng = values()
    handlers = Handlers(rng, Roles.drawn(rng.rng), Pool({}), el)
    image = handlers.image()
    for vector in range(VECTORS[el], VECTORS[el] + 0x800, 0x80):
        assert vector in image
    assert all(VECTORS[el] <= at < VECTORS[el] + 0x800 for at in image)


def handled(seed, entry, esr, spsr):
    """The reference after EL2's handler of an exception from a lower EL, at its ERET."""
    rng = values(seed)
    roles = Roles.drawn(rng.rng)
    image = Handlers(rng, roles, Pool({}), EL.EL2).image()
    processor = Processor()
    for address, content in Program(image).segments():
        processor.write_memory(address, content)
    table = 0x4010_0000
    for n, value in enumerate(entry):
        processor.write_memory(table + 8 * n, value.to_bytes(8, "little"))
    state = processor.state
    state.select_sp(EL.EL2, 1)
    state.sysregs |= {"ESR_EL2": esr, "SPSR_EL2": spsr, "ELR_EL2": BODY, "SCR_EL3": 1}
    state.x[roles.cursors[EL.EL2]] = table
    state.pc = VECTORS[EL.EL2] + 0x400
    rows = processor.run(max_rows=40, stop=lambda row: row.el_after != EL.EL2)
    assert state.x[roles.cursors[EL.EL2]] == table + 64
    return rows[-1]


STEP = ExceptionClass.SOFTSTEP_LOWER << 26
STEP_ON = random_handlers._STEP_ON.mask


def test_a_step_goes_on_or_ends():
    elsewhere = BODY + 0x100
    at_el1 = 0b0101
    found = {handled(seed, (elsewhere, STEP_ON | 0), STEP, at_el1).pc_after for seed in range(8)}
    assert found == {BODY, elsewhere}  # some vectors do not look at ESR_EL2
    for seed in range(8):
        assert handled(seed, (elsewhere, 0), STEP, at_el1).pc_after == elsewhere


def test_another_exception_returns_elsewhere_or_to_the_next_instruction():
    elsewhere = BODY + 0x100
    svc = ExceptionClass.SVC64 << 26
    for seed in range(8):
        row = handled(seed, (elsewhere, STEP_ON | SPSR_ELx.Z.mask), svc, 0)
        assert (row.pc_after, row.el_after, row.nzcv_after) == (elsewhere, EL.EL0, 0b0100)
    skip = random_handlers._SKIP.mask | STEP_ON
    found = {handled(seed, (elsewhere, skip), svc, 0).pc_after for seed in range(8)}
    assert BODY + 4 in found
