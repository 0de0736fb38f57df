"""Rows as columns, and inputs row by row."""

import numpy as np
import pytest

from model.a64.trace import Inputs as Given
from tb.core import rows
from tb.core.rows import HIGH, INPUTS, TRACE, Rows, chunks, input_values, inputs, joined, packed
from tb.harness import CORE, pack, unpack

COUNT = 50


@pytest.fixture
def words(rng):
    return [
        pack(CORE.row, {name: rng.getrandbits(slot.width) for name, slot in CORE.row.items()})
        for _ in range(COUNT)
    ]


def rows_of(words, first=0):
    size = chunks(CORE.row)
    raw = np.frombuffer(b"".join(word.to_bytes(8 * size, "little") for word in words), np.uint64)
    return Rows(raw.reshape(-1, size), np.arange(len(words), dtype=np.uint64), first)


def test_a_column_has_the_member_of_every_row(words):
    found = rows_of(words)
    assert len(found) == COUNT
    for name, slot in TRACE.items():
        values = [unpack(CORE.row, word)[name] for word in words]
        assert found[name].tolist() == [value & (1 << 64) - 1 for value in values], name
        if slot.width > 64:
            assert found[name + HIGH].tolist() == [value >> 64 for value in values]
    assert found.columns.keys() == TRACE.keys() | {"mem_data_high"}


def test_a_row_has_its_members_as_numbers(words):
    rows = rows_of(words, first=100)
    for found in (rows.row(7), rows.row(7 - COUNT), list(rows)[7]):
        right = unpack(CORE.row, words[7])
        where = {"number": 107, "cycle": 7, "rows": rows, "at": 7}
        assert vars(found) == {name: right[name] for name in TRACE} | where
    assert rows.tail(3).row(0).number == 100 + COUNT - 3
    assert len(rows.tail(COUNT + 1)) == COUNT


def test_the_trace_is_the_cores():
    assert list(TRACE)[:2] == ["valid", "irq"]
    assert not [name for name in TRACE if name.startswith("out_")]
    assert TRACE.keys() >= {"pc", "mem_data", "event_after"}


def test_no_rows_have_empty_columns():
    found = rows_of([])
    assert len(found) == len(found["pc"]) == 0


def test_parts_are_joined_in_order(words):
    whole = rows_of(words, first=10)
    parts = [
        Rows(whole.raw[at : at + 20], whole.cycles[at : at + 20], 10 + at) for at in (0, 20, 40)
    ]
    again = joined(parts)
    assert again.first == 10
    assert np.array_equal(again.raw, whole.raw)
    assert np.array_equal(again.cycles, whole.cycles)


def test_inputs_are_a_bit_each_and_quiet_where_nothing_is_said():
    made = inputs(irq=[0, 1, 1], write_seen=[1, 0, 1], serror=1)
    values = [rows.input_values(bits) for bits in made.tolist()]
    assert [each["irq"] for each in values] == [0, 1, 1]
    assert [each["write_seen"] for each in values] == [1, 0, 1]
    quiet = {"fiq": 0, "serror": 1, "async_first": 0, "isv_choice": 1, "wfx_ends": 1}
    assert all(each.items() >= quiet.items() for each in values)
    assert [rows.input_values(bits) for bits in inputs().tolist()] == [
        dict.fromkeys(INPUTS, 0) | rows.QUIET
    ]


def test_inputs_are_those_of_the_core():
    assert set(INPUTS.values()) < CORE.stimulus.keys()
    assert INPUTS.keys() < TRACE.keys()
    with pytest.raises(TypeError, match=r"^no such input: nmi$"):
        inputs(nmi=1)


def test_each_row_has_its_own_inputs(rng):
    given = [Given(*(rng.getrandbits(1) for _ in INPUTS), cycle_count=n) for n in range(COUNT)]
    assert len(set(given)) > COUNT // 4
    for each, bits in zip(given, packed(given).tolist(), strict=True):
        assert input_values(bits) == {name: getattr(each, name) for name in INPUTS}
