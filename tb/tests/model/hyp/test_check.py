import pytest

from model.a64.decode import UndefinedWord
from model.arch import MDSCR_EL1, SPSR_ELx
from model.hyp.check import (
    MAX_FAILURES,
    SETUP,
    check,
    check_known,
    corner_scenarios,
    random_scenarios,
)
from model.hyp.entry import statement, statement_of
from model.hyp.sequences import load
from model.hyp.words import Sequence
from model.kvm.uapi import KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, KVM_GUESTDBG_USE_SW_BP
from model.kvm.vcpu import Vcpu

MILLION = 1_000_000
NAMES = ("v1", "bic", "callout", "upstream")

NOP = 0xD503_201F
OPPOSITE = 1 << 24  # what TBZ and TBNZ differ in


def mutant(*changes: tuple[int, int, str], of: str = "v1") -> Sequence:
    """A sequence of ours with words replaced: (index, word, source)."""
    original = load(of)
    words, listing = list(original.words), list(original.listing)
    for index, word, source in changes:
        words[index], listing[index] = word, source
    return Sequence("mutant", tuple(words), tuple(listing))


def index_of(source: str) -> int:
    return load("v1").listing.index(source)


V1 = load("v1").words
ENABLE_TEST = index_of("tbz x3, #KVM_GUESTDBG_ENABLE_SHIFT, 2f")
STEP_TEST = index_of("tbnz x3, #KVM_GUESTDBG_SINGLESTEP_SHIFT, 1f")
ORR_SPSR = index_of("orr x1, x1, #DBG_SPSR_SS")
ORR_MDSCR = index_of("orr x2, x2, #DBG_MDSCR_SS")
EOR_SPSR = index_of("eor x1, x1, #DBG_SPSR_SS")
EOR_MDSCR = index_of("eor x2, x2, #DBG_MDSCR_SS")


CONTROLS = {0: "off", 1: "enable", 2: "singlestep", 3: "enable+singlestep"}


def found(sequence: Sequence) -> dict[tuple[str, str, int | None], str]:
    """(field, control, index of the word to blame) to explanation."""
    return {
        (f.field, CONTROLS[f.scenario.guest_debug & 3], f.instruction): str(f)
        for f in check(sequence, values=2000)
    }


@pytest.mark.parametrize("name", NAMES)
def test_our_sequences_hold_over_a_million_random_values(name, seed):
    assert check(load(name), values=MILLION, seed=seed) == []


def test_v1_without_its_eor_is_caught_and_orr_named():
    findings = found(mutant((EOR_SPSR, NOP, "nop"), (EOR_MDSCR, NOP, "nop")))
    assert {control for _, control, _ in findings} == {"enable"}
    spsr = findings["SPSR_EL2.SS", "enable", ORR_SPSR]
    assert spsr.startswith("mutant: SPSR_EL2.SS is 1 and must be 0")
    assert "last changed by +0x10: 0xb26b0021  orr x1, x1, #DBG_SPSR_SS" in spsr
    assert "written by +0x24: 0xd51c4001  msr spsr_el2, x1" in spsr
    mdscr = findings["MDSCR_EL1.SS", "enable", ORR_MDSCR]
    assert "last changed by +0x14: 0xb2400042  orr x2, x2, #DBG_MDSCR_SS" in mdscr


def test_v1_with_its_enable_test_swapped_is_caught_and_the_branch_named():
    source = "tbnz x3, #KVM_GUESTDBG_ENABLE_SHIFT, 2f"
    findings = found(mutant((ENABLE_TEST, V1[ENABLE_TEST] ^ OPPOSITE, source)))
    for field in ("SPSR_EL2.SS", "MDSCR_EL1.SS"):
        # With ENABLE all is skipped; without it, the guest's own bits are overwritten.
        for control in ("enable", "enable+singlestep"):
            text = findings[field, control, ENABLE_TEST]
            assert f"no instruction wrote it; branched at +0x4: 0x37000143  {source}" in text
        assert any(key[:2] == (field, "off") for key in findings)
        assert any(key[:2] == (field, "singlestep") for key in findings)


def test_v1_with_its_step_test_swapped_is_caught_and_named():
    source = "tbz x3, #KVM_GUESTDBG_SINGLESTEP_SHIFT, 1f"
    findings = found(mutant((STEP_TEST, V1[STEP_TEST] ^ OPPOSITE, source)))
    assert {control for _, control, _ in findings} == {"enable", "enable+singlestep"}
    stepping = findings["SPSR_EL2.SS", "enable+singlestep", EOR_SPSR]
    assert stepping.startswith("mutant: SPSR_EL2.SS is 0 and must be 1")
    assert "last changed by +0x1c: 0xd26b0021  eor x1, x1, #DBG_SPSR_SS" in stepping
    assert ("SPSR_EL2.SS", "enable", ORR_SPSR) in findings
    assert ("MDSCR_EL1.SS", "enable", ORR_MDSCR) in findings


@pytest.mark.parametrize(
    ("index", "word", "source", "field"),
    [
        (ORR_SPSR, 0xB26A_0021, "orr x1, x1, #DBG_SPSR_SS << 1", "SPSR_EL2<22>"),
        (EOR_SPSR, 0xD26C_0021, "eor x1, x1, #DBG_SPSR_SS >> 1", "SPSR_EL2.IL"),
        (ORR_MDSCR, 0xB27F_0042, "orr x2, x2, #DBG_MDSCR_SS << 1", "MDSCR_EL1<1>"),
        (EOR_MDSCR, 0xD27F_0042, "eor x2, x2, #DBG_MDSCR_SS << 1", "MDSCR_EL1<1>"),
    ],
)
def test_v1_with_a_neighbouring_bit_is_caught_and_named(index, word, source, field):
    findings = found(mutant((index, word, source)))
    text = findings[field, "enable", index]
    assert f"last changed by +{4 * index:#x}: {word:#010x}  {source}" in text


@pytest.mark.parametrize("shift", [2, 16, 31, 32, 33, 63])
def test_a_look_at_another_bit_than_enable_is_caught(shift):
    b5, b40 = shift >> 5, shift & 0x1F
    tbz = V1[ENABLE_TEST] & ~(1 << 31 | 0x1F << 19) | b5 << 31 | b40 << 19
    assert check(mutant((ENABLE_TEST, tbz, f"tbz x3, #{shift}, 2f")), values=0)


def test_a_look_at_the_whole_doubleword_is_caught():
    cbz = 0xB400_0143  # cbz x3, 2f
    assert check(mutant((ENABLE_TEST, cbz, "cbz x3, 2f")), values=0)


@pytest.mark.parametrize("cond", range(14))
def test_a_look_at_flags_that_no_instruction_set_is_caught(cond):
    b_cond = 0x5400_0140 | cond
    assert check(mutant((ENABLE_TEST, b_cond, "b.cond 2f")), values=0)


@pytest.mark.parametrize("index", range(len(V1)))
def test_v1_needs_each_of_its_instructions(index):
    assert check(mutant((index, NOP, "nop")), values=0)


@pytest.mark.parametrize("index", range(len(V1)))
def test_bic_needs_each_of_its_instructions(index):
    assert check(mutant((index, NOP, "nop"), of="bic"), values=0)


def test_callout_needs_its_setup():
    empty = Sequence("another name", (), ())
    assert {finding.field for finding in check(empty, values=0)} == {"SPSR_EL2.SS", "MDSCR_EL1.SS"}


def test_a_finding_counts_the_runs_that_showed_it():
    findings = check(Sequence("x5", (0x9100_04A5,), ("add x5, x5, #1",)), values=0)
    x5_runs = sum(finding.count for finding in findings if finding.field == "x5")
    assert x5_runs == len(list(corner_scenarios()))


def test_the_check_of_a_broken_sequence_ends_early():
    broken = Sequence("broken", (0x9100_04A5,), ("add x5, x5, #1",))
    findings = check(broken, values=100 * MILLION)
    assert sum(finding.count for finding in findings if finding.field == "x5") == MAX_FAILURES
    assert len(list(corner_scenarios())) < MAX_FAILURES


def test_a_word_the_interpreter_does_not_know_is_an_error():
    with pytest.raises(UndefinedWord, match="0x00000000 at 0x40080000 is no instruction"):
        check(Sequence("zero", (0,), ("",)))


def test_a_word_that_is_come_to_must_be_known_and_another_need_not():
    over = Sequence("over", (0x1400_0002, 0), ("b . + 8", ".word 0"))  # and it does nothing
    check_known(over)
    with pytest.raises(UndefinedWord, match="0x00000000 at 0x40080004 is no instruction"):
        check_known(Sequence("through", (NOP, 0), ("nop", ".word 0")))


def test_corner_scenarios_hold_every_combination_once():
    corners = list(corner_scenarios())
    combined = corners[: -4 * 64 * 2]
    assert len(set(combined)) == len(combined) == 4 * 6 * 8 * 16


def test_one_seed_gives_the_same_values(rng):
    state = rng.getstate()
    once = list(random_scenarios(rng, 10))
    rng.setstate(state)
    assert list(random_scenarios(rng, 10)) == once
    assert len(set(once)) == 10


def test_upstream_leaves_the_guest_its_own_bits_when_it_does_not_step():
    assert SETUP["upstream"] is not None
    kept = Vcpu(KVM_GUESTDBG_ENABLE, spsr=SPSR_ELx.SS.mask, mdscr_el1=MDSCR_EL1.SS.mask)
    SETUP["upstream"](kept)
    assert (kept.spsr, kept.mdscr_el1) == (SPSR_ELx.SS.mask, MDSCR_EL1.SS.mask)


def test_the_guests_own_bits_are_to_be_seen_with_upstream_alone():
    """With ENABLE, and neither steps nor software breakpoints."""
    own = SPSR_ELx.SS.mask, MDSCR_EL1.SS.mask
    for name in NAMES:
        kept = name == "upstream"
        assert statement_of(name, KVM_GUESTDBG_ENABLE, *own) == (own if kept else (0, 0))
        for more in (KVM_GUESTDBG_SINGLESTEP, KVM_GUESTDBG_USE_SW_BP):
            control = KVM_GUESTDBG_ENABLE | more
            assert statement_of(name, control, *own) == statement(control, *own)
            assert statement_of(name, more, *own) == own
