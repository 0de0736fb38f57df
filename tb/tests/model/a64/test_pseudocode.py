import pytest

from model.a64.decode import Reserved
from model.a64.pseudocode import AddWithCarry, ConditionHolds, DecodeBitMasks
from model.a64.state import MASK64


def test_every_logical_immediate_is_a_rotated_run_of_ones():
    masks = {}
    for word in range(1 << 13):
        fields = (word >> 12, word & 0x3F, word >> 6 & 0x3F)
        try:
            masks[fields] = DecodeBitMasks(*fields, True, 64)[0]
        except Reserved:
            continue
    # The count that the manual's table of immediates comes to for 64 bits.
    assert len(set(masks.values())) == 5334
    assert all(0 < mask < MASK64 for mask in masks.values())


@pytest.mark.parametrize(
    ("x", "y", "carry", "result", "nzcv"),
    [
        (0, 0, 0, 0, 0b0100),
        (0xFF, 1, 0, 0, 0b0110),
        (0x7F, 1, 0, 0x80, 0b1001),
        (0x80, 0x80, 0, 0, 0b0111),
        (5, 5 ^ 0xFF, 1, 0, 0b0110),
        (0x7F, 0x7F, 1, 0xFF, 0b1001),
    ],
)
def test_add_with_carry_sets_each_flag(x, y, carry, result, nzcv):
    assert AddWithCarry(x, y, carry, 8) == (result, nzcv)


def test_conditions_come_in_opposite_pairs_but_for_always():
    for nzcv in range(16):
        for cond in range(0, 14, 2):
            assert ConditionHolds(cond, nzcv) != ConditionHolds(cond + 1, nzcv)
        assert ConditionHolds(14, nzcv)
        assert ConditionHolds(15, nzcv)
