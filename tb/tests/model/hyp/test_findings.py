"""What a finding says, for one defect of each kind. Their discovery is tested with `check`."""

import pytest

from model.hyp.check import check
from model.hyp.sequences import load
from model.hyp.words import Sequence

LDR, TBZ = load("v1").words[:2]
MSR_SPSR_X1, MSR_MDSCR_X2 = load("v1").words[-2:]
MRS_SPSR_X1 = load("v1").words[2]


def texts(*words: int) -> list[str]:
    """The findings of a sequence whose source is not known."""
    return [str(finding) for finding in check(Sequence("raw", words, ("",) * len(words)), values=0)]


def test_a_bit_that_no_instruction_wrote():
    text = texts(0xD503_201F)[0]
    assert text == (
        "raw: MDSCR_EL1.SS is 1 and must be 0 (in 448 runs)\n"
        "  given    guest_debug = 0x1 (ENABLE), SPSR_EL2 = 0x0, MDSCR_EL1 = 0x1 (SS=1)\n"
        "  expected MDSCR_EL1 = 0x0\n"
        "  found    MDSCR_EL1 = 0x1 (SS=1)\n"
        "  no instruction wrote it"
    )


def test_a_bit_that_a_branch_led_past():
    text = texts(LDR, TBZ | 1 << 24)[0]  # tbnz ENABLE, over nothing that exists
    assert "does not run to its end" in text
    text = texts(0x1400_0002, 0xD503_201F)[0]
    assert "no instruction wrote it; branched at +0x0: 0x14000002  B" in text


def test_a_register_with_many_wrong_fields_is_one_finding():
    text = texts(MSR_MDSCR_X2)[0]
    assert text.startswith("raw: MDSCR_EL1 is wrong (in ")
    assert (
        "written by +0x0: 0xd5100242  MSR (register), and no instruction before it changed" in text
    )


def test_a_bit_without_a_name_is_told_by_its_number():
    set_bit_22 = 0xB26A_0021  # orr x1, x1, #1 << 22
    found = next(text for text in texts(MRS_SPSR_X1, set_bit_22, MSR_SPSR_X1) if "<22>" in text)
    assert found.startswith("raw: SPSR_EL2<22> is 1 and must be 0")
    assert "last changed by +0x4: 0xb26a0021  ORR (immediate)" in found
    assert "written by +0x8: 0xd51c4001  MSR (register)" in found


@pytest.mark.parametrize(
    ("word", "name", "row"),
    [
        (0x9100_04A5, "x5", "ADD (immediate)"),
        (0xD51C_4020, "ELR_EL2", "MSR (register)"),
        (0xD51C_4100, "SP_EL1", "MSR (register)"),
        (0xD51B_D040, "TPIDR_EL0", "MSR (register)"),
        (0xD100_43FF, "sp", "SUB (immediate)"),
        (0xD503_48DF, "daif", "MSR DAIFSet"),
    ],
)
def test_a_register_that_must_survive(word, name, row):
    found = next(text for text in texts(word) if text.startswith(f"raw: {name} is wrong"))
    assert f"last changed by +0x0: {word:#010x}  {row}" in found


@pytest.mark.parametrize(
    ("word", "row"),
    [
        (0xF900_2000, "STR (unsigned offset)"),
        (0xA904_0400, "STP (offset)"),
        (0xC89F_FC00, "STLR"),
    ],
)
def test_a_store_into_the_vcpu(word, row):
    found = next(text for text in texts(word) if text.startswith("raw: vcpu+0x"))
    assert f"last stored by +0x0: {word:#010x}  {row}" in found


def test_a_sequence_that_takes_an_exception():
    text = texts(0xD400_00A2)[0]  # hvc #5
    assert "does not run to its end: pc 0x40080000: HVC #0x5 takes an exception" in text
    assert text.splitlines()[-1] == "  at +0x0: 0xd40000a2"


def test_a_sequence_that_does_not_end():
    text = texts(0x1400_0000)[0]
    assert text.splitlines()[0] == (
        "raw: does not run to its end: pc 0x40080000: the end, 0x40080004, is not reached after"
        " 1000 instructions (in 896 runs)"
    )
    assert text.splitlines()[-1] == "  at +0x0: 0x14000000"


def test_guest_debug_is_told_by_its_bits():
    givens = "\n".join(texts(0x9100_04A5))
    for controls in ("(not ENABLE)", "(ENABLE)", "(SINGLESTEP)", "(ENABLE | SINGLESTEP)"):
        assert controls in givens
