"""model.planes: values of many lanes, a row a bit."""

import operator
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from model.arch import EL
from model.columns import COLUMNS, Kind, to_lines
from model.machine import PE, Effect, Input, after, take
from model.planes import Planes

LANES = 4096
_HIGH = {Kind.EVENT: 10, Kind.LAST: 6, Kind.EL: 4, Kind.FLAG: 2}


def _draw(rng: np.random.Generator, width: int) -> Any:
    return rng.integers(0, 1 << width, LANES, dtype=np.uint64)


OPERATORS = ("and_", "or_", "xor", "eq", "ne", "lt", "le", "gt", "ge")


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("widths", [(4, 4), (4, 2), (1, 6), (64, 64)])
def test_an_operator_does_in_each_lane_what_it_does_to_a_number(name, widths, np_rng):
    a, b = (_draw(np_rng, width) for width in widths)
    a[:64] = b[:64] & ((1 << widths[0]) - 1)
    do = getattr(operator, name)
    found = do(Planes.of(a, widths[0]), Planes.of(b, widths[1]))
    assert np.array_equal(found.values(LANES), do(a, b).astype(np.uint64))


@pytest.mark.parametrize("name", OPERATORS)
def test_a_constant_may_stand_on_either_side(name, np_rng):
    a = _draw(np_rng, 3)
    do, planes = getattr(operator, name), Planes.of(a, 3)
    for number in (0, 1, 5, 7):
        for constant in (number, np.uint8(number), np.uint64(number)):
            right = do(planes, constant).values(LANES)
            left = do(constant, planes).values(LANES)
            assert np.array_equal(right, do(a, np.uint64(number)).astype(np.uint64))
            assert np.array_equal(left, do(np.uint64(number), a).astype(np.uint64))
    assert np.array_equal((planes == EL.EL2).values(LANES), a == 2)


def test_a_product_with_one_bit_selects(np_rng):
    value, bit = _draw(np_rng, 20), _draw(np_rng, 1)
    found = Planes.of(value, 20) * Planes.of(bit, 1)
    assert np.array_equal(found.values(LANES), value * bit)
    assert np.array_equal((np.uint64(77) * Planes.of(bit, 1)).values(LANES), 77 * bit)


def test_a_product_of_two_wide_values_is_refused(np_rng):
    value = Planes.of(_draw(np_rng, 2), 2)
    with pytest.raises(ValueError):
        value * value


def test_shifts(np_rng):
    value = _draw(np_rng, 9)
    planes = Planes.of(value, 9)
    assert np.array_equal((planes >> 4).values(LANES), value >> np.uint64(4))
    assert np.array_equal((planes << 4).values(LANES), value << np.uint64(4))


def test_the_complement_is_of_one_bit(np_rng):
    value = _draw(np_rng, 1)
    assert np.array_equal((~Planes.of(value, 1)).values(LANES), value ^ np.uint64(1))
    for nothing in (
        Planes.constant(0),
        Planes(()),
        Planes.constant(5) & 0,
        Planes.constant(1) >> 1,
    ):
        assert (~nothing).values(LANES).all()
    with pytest.raises(ValueError):
        ~Planes.of(_draw(np_rng, 2), 2)


def test_a_lane_can_be_read_alone(np_rng):
    value = _draw(np_rng, 64)
    planes = Planes.of(value, 64)
    assert [planes.at(lane) for lane in range(200)] == value[:200].tolist()
    assert Planes.constant(6).at(123) == 6
    assert Planes.constant(6).values(64).tolist() == [6] * 64


def _lines(rng: np.random.Generator) -> tuple[PE, Input]:
    """Every column random, legal or not."""
    values: dict[str, Any] = {}
    for column in COLUMNS:
        if column.kind is Kind.REGISTER:
            values[column.name] = _draw(rng, 64)
        else:
            values[column.name] = rng.integers(0, _HIGH[column.kind], LANES)
    lines = to_lines(values)
    return replace(lines.pe, mdscr_el1_written=_draw(rng, 64)), lines.given


def _in_planes(part: Any) -> Any:
    def convert(values: Any) -> Planes:
        width = {np.dtype(np.bool_): 1, np.dtype(np.uint8): 4}.get(values.dtype, 64)
        return Planes.of(values.astype(np.uint64), width)

    return replace(part, **{f.name: convert(getattr(part, f.name)) for f in fields(part)})


def test_the_rules_say_of_planes_what_they_say_of_arrays(np_rng):
    pe, given = _lines(np_rng)
    expected = take(pe, given)
    found = take(_in_planes(pe), _in_planes(given))
    pairs = [(f.name, getattr(found, f.name), getattr(expected, f.name)) for f in fields(Effect)]
    new, next_pe = after(_in_planes(pe), found), after(pe, expected)
    pairs += [(f.name, getattr(new, f.name), getattr(next_pe, f.name)) for f in fields(PE)]
    for name, planes, values in pairs:
        assert np.array_equal(planes.values(LANES), values), name
