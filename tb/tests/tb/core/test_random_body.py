"""The body of random programs: every form, and branches that stay inside."""

from random import Random

import pytest

from model.a64.pseudocode import SignExtend
from model.arch import EL, SYSREGS
from tb.core.program import ERET, FORMS, mrs, msr, text
from tb.core.random_body import WORDS, Body, Pool, lowest_el
from tb.core.random_layout import BODY, POOL, Roles
from tb.core.random_registers import CONTROLS
from tb.core.random_themes import Theme

NAMES = (*CONTROLS, WORDS, "SCR_EL3 with EA", *(f"SPSR from EL{n}" for n in (1, 2, 3)))
LENGTH = 6000


def body(el=EL.EL1, seed=1, length=LENGTH):
    rng = Random(seed)
    pool = Pool({name: [POOL + 8 * n] for n, name in enumerate(NAMES)})
    made = Body(rng, Theme("test"), Roles.drawn(rng), pool, el, BODY)
    made.fill(length)
    return made


def forms(made):
    return [text(value, at) for at, value in made.image().items()]


@pytest.mark.parametrize("el", EL)
def test_it_has_every_form_and_as_many_words_as_asked_for(el):
    made = body(el)
    assert len(made.words) == len(made.image()) == LENGTH
    listed = forms(made)
    for name in FORMS:
        assert any(line == name or line.startswith(f"{name} ") for line in listed), name
    assert listed.count("UNDEFINED") > 5
    assert listed[-1].startswith("SVC ")


@pytest.mark.parametrize("length", [1, 2, 64])
def test_short_ones_end_in_an_exception_too(length):
    made = body(length=length)
    assert len(made.words) == length
    assert forms(made)[-1].startswith("SVC ")


def test_direct_branches_go_to_pieces():
    made = body()
    starts, inside = set(made.pieces), 0
    for at, value in made.image().items():
        for name in ("B", "BL", "B.cond", "CBZ", "CBNZ", "TBZ", "TBNZ"):
            row = FORMS[name]
            if not row.matches(value):
                continue
            (distance,) = row.fields.keys() & {"imm26", "imm19", "imm14"}
            words = SignExtend(row.fields[distance].get(value), row.fields[distance].width)
            target = at + 4 * words
            # A few skip a word or an ERET; all others go to where a piece begins.
            assert target in starts or 0 < words < 12
            inside += target in starts
    assert inside > 200


def test_pointers_and_cursors_are_not_written():
    made = body()
    roles = made.roles
    reserved = {*roles.aligned, *roles.cursors.values(), roles.factor}
    for at, value in made.image().items():
        line = text(value, at)
        if " Rd=" in line:
            assert int(line.partition(" Rd=")[2], 0) not in reserved, line


def test_an_eret_follows_its_elr_at_each_el():
    for el in (EL.EL1, EL.EL2, EL.EL3):
        made = body(el)
        image = made.image()
        assert len(made.returns) > 5
        for at in made.returns:
            assert image[at] == ERET
            before = [image[at - 4 * n] for n in range(1, 6)]
            assert any(word & ~0x1F == msr(f"ELR_{el.name}", 0) for word in before)


def test_every_register_is_read_and_written():
    words = {word & ~0x1F for word in body().words}
    for name in SYSREGS:
        assert {mrs(0, name), msr(name, 0)} <= words, name


def test_lowest_el_of_a_write():
    found = {name: lowest_el(name) for name in SYSREGS}
    assert [name for name, el in found.items() if el == EL.EL0] == ["NZCV", "DAIF", "TPIDR_EL0"]
    assert (found["SP_EL0"], found["SP_EL1"], found["SP_EL2"]) == (EL.EL1, EL.EL2, EL.EL3)
    assert (found["SPSel"], found["TPIDRRO_EL0"], found["PMCCNTR_EL0"]) == (EL.EL1,) * 3
    assert (found["MDSCR_EL1"], found["HCR_EL2"], found["SCR_EL3"]) == (EL.EL1, EL.EL2, EL.EL3)
