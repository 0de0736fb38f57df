"""Values of registers follow the theme's chances."""

from random import Random

import pytest

from model.arch import EL, HCR_EL2, SCTLR_ELx, SPSR_ELx
from tb.core.random_registers import CONTROLS, Values
from tb.core.random_themes import Theme

MANY = range(400)


def values(**chances):
    return Values(
        Random(1), Theme("test", {name.replace("__", "."): of for name, of in chances.items()})
    )


def test_a_bit_is_1_as_often_as_the_theme_says():
    drawn = values(HCR_EL2__VM=1.0, HCR_EL2__TGE=0.0, HCR_EL2__TSC=0.5)
    found = [drawn.control("HCR_EL2") for _ in MANY]
    assert all(HCR_EL2.VM.is_set(value) for value in found)
    assert not any(HCR_EL2.TGE.is_set(value) for value in found)
    assert 100 < sum(HCR_EL2.TSC.is_set(value) for value in found) < 300


def test_the_three_sctlr_share_their_chances():
    drawn = values(SCTLR_ELx__A=1.0)
    for n in (1, 2, 3):
        assert all(SCTLR_ELx.A.is_set(drawn.control(f"SCTLR_EL{n}")) for _ in MANY)


@pytest.mark.parametrize("name", CONTROLS)
def test_bits_without_a_meaning_are_0_or_noise(name):
    found = [values().control(name) for _ in MANY] + [Values(Random(2), Theme("")).control(name)]
    assert all(0 <= value < 1 << 64 for value in found)
    drawn = Values(Random(3), Theme(""))
    top = [drawn.control(name) >> 60 for _ in MANY]
    assert 0.5 < top.count(0) / len(top) < 0.9


@pytest.mark.parametrize("el", [EL.EL1, EL.EL2, EL.EL3])
def test_an_spsr_names_an_el_that_can_be_returned_to(el):
    drawn = values(SPSR_ELx__SS=1.0, SPSR_ELx__IL=0.0)
    legal = 0
    for _ in MANY:
        spsr, to = drawn.spsr(el)
        assert to <= el
        assert SPSR_ELx.SS.is_set(spsr)
        assert not SPSR_ELx.IL.is_set(spsr)
        legal += not spsr & 0b10010 and spsr >> 2 & 3 == to
    assert 0.9 * len(MANY) < legal < len(MANY)


def test_numbers_are_small_special_and_any():
    drawn = values()
    found = [drawn.number() for _ in MANY]
    assert {0, (1 << 64) - 1, 1 << 63} <= set(found)
    assert sum(value >> 20 == 0 for value in found) > 80
    assert sum(value >> 32 != 0 for value in found) > 150
