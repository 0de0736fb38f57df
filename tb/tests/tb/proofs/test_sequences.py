"""The claims about guest-entry sequences: what is proved, and what is refuted, in whose words."""

import sys
from dataclasses import replace

import pytest
import z3

from model.arch import MDSCR_EL1, SPSR_ELx
from model.hyp.entry import run_entry, statement, statement_of
from model.hyp.sequences import load
from model.hyp.words import Sequence
from model.kvm.vcpu import OFFSETS, Vcpu
from tb.kvm.catalogue import CATALOGUE
from tb.proofs import sequences
from tb.proofs.claims import CLAIMS, Status
from tb.proofs.sequences import prove_duty, prove_equal, prove_statement, stated

SECONDS = 120.0

NOP = 0xD503_201F
ADD_X4 = 0x9100_0484  # add x4, x4, #1
ADD_X4_X4_XZR = 0x8B1F_0084  # add x4, x4, xzr
STR_X1 = 0xF900_0401  # str x1, [x0, #8]
LDR_FAR = 0xF940_8001  # ldr x1, [x0, #0x100]
LDR_X1_X2 = 0xF862_6801  # ldr x1, [x0, x2]
B_SELF = 0x1400_0000
RET = 0xD65F_03C0
ERET = 0xD69F_03E0
LDAR = 0xC8DF_FC01
HVC = 0xD400_0002
MSR_SCTLR = 0xD51C_1001  # msr sctlr_el2, x1
DAIFCLR = 0xD503_48FF  # msr daifclr, #8
SPSEL = 0xD500_40BF  # msr spsel, #0
TBZ_X0_63 = 0xB6F8_0040  # tbz x0, #63, . + 8
TBZ_X0_0 = 0x3600_0040  # tbz x0, #0, . + 8
CBNZ_X4 = 0xB500_0044  # cbnz x4, . + 8

OURS = [
    *("sequences.v1", "sequences.bic", "sequences.v1_is_bic"),
    *("sequences.callout", "sequences.upstream"),
    *("sequences.callout_setup", "sequences.upstream_setup"),
]


def sequence(*words, name="test"):
    return Sequence(name, tuple(words), ("",) * len(words))


def with_word(name, index, word):
    posted = load(name)
    words = list(posted.words)
    words[index] = word
    return replace(posted, words=tuple(words))


def proved(*words):
    return prove_statement(sequence(*words), SECONDS)


@pytest.mark.parametrize("name", OURS)
def test_a_claim_is_proved_and_shows_that_each_path_is_taken(name, tmp_path):
    outcome = CLAIMS[name].prove(tmp_path, SECONDS)
    assert (outcome.status, outcome.reason) == (Status.PROVED, "")
    assert outcome.history
    assert all(" is taken with guest_debug = 0x" in line for line in outcome.history)


def test_each_way_through_the_sequence_is_a_path(tmp_path):
    """The lengths are those that `test_entry` has."""
    outcome = CLAIMS["sequences.v1"].prove(tmp_path, SECONDS)
    assert outcome.depth == 11
    lengths = [line.partition(", of ")[2].partition(", is taken")[0] for line in outcome.history]
    assert sorted(lengths) == ["11 instructions", "2 instructions", "9 instructions"]


@pytest.mark.parametrize("name", ["v1", "upstream"])
def test_what_is_stated_of_terms_is_what_is_stated_of_numbers(name, rng):
    terms = [z3.BitVec("guest_debug", 32), z3.BitVec("spsr", 64), z3.BitVec("mdscr", 64)]
    ways = list(stated(name, *terms))
    assert len(ways) > 2
    for _ in range(50):
        low = rng.choice((0, 1, 2, 3, 0x10001, 0x10000, rng.getrandbits(32)))
        values = (low, rng.getrandbits(64), rng.getrandbits(64))
        given = [
            (term, z3.BitVecVal(value, term.size()))
            for term, value in zip(terms, values, strict=True)
        ]

        def of(term, given=given):
            return z3.simplify(z3.substitute(term, *given))

        (found,) = [
            result for conditions, result in ways if all(z3.is_true(of(c)) for c in conditions)
        ]
        numbers = tuple(of(term).as_long() for term in found)
        assert numbers == statement_of(name, *values)


# Sequences with a fault


#: Defect of the catalogue to what its first finding says, and of it what is wrong.
FAULTY = {
    "M1": ("ENABLE | SINGLESTEP", 0),
    "M4": ("ENABLE", 1),
    "M5": ("ENABLE | SINGLESTEP", 0),
    "M7": ("ENABLE | SINGLESTEP", 0),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_sequence_is_refuted_with_what_the_interpreter_finds_too(name):
    (defect,) = [defect for defect in CATALOGUE if defect.name == name]
    faulty = defect.faulty().sequence
    assert faulty.words != load("v1").words
    outcome = prove_statement(faulty, SECONDS)
    assert outcome.status is Status.REFUTED
    asked, bit = FAULTY[name]
    findings = "\n".join(outcome.history).split("v1: ")[1:]
    here = [finding for finding in findings if f"({asked})" in finding]
    for register in ("SPSR_EL2", "MDSCR_EL1"):
        problem = f"{register}.SS is {bit} and must be {1 - bit} (in 1 run)"
        assert any(finding.startswith(problem) for finding in here)
    shown = {difference.field for difference in outcome.differences}
    assert shown and shown <= {"SPSR_EL2", "MDSCR_EL1"}
    assert outcome.reason == f"v1: {outcome.history[0][4:].removesuffix(' (in 1 run)')}"
    # The first of them, run: it is as told.
    given, expected, found = outcome.history[1:4]
    words = given.replace(",", "").split()
    debug, spsr, mdscr = (
        int(words[words.index(name) + 2], 16) for name in ("guest_debug", "SPSR_EL2", "MDSCR_EL1")
    )
    entry = run_entry(faulty, Vcpu(debug, spsr, mdscr_el1=mdscr))
    made = {"SPSR_EL2": entry.spsr, "MDSCR_EL1": entry.mdscr}
    right = dict(zip(made, statement(debug, spsr, mdscr), strict=True))
    register = expected.split()[1]
    assert found.split()[1:4] == [register, "=", f"{made[register]:#x}"]
    assert expected.split()[1:4] == [register, "=", f"{right[register]:#x}"]
    assert made[register] != right[register]


def test_the_masks_of_m7_are_wrong_in_the_bit_above_too():
    (defect,) = [defect for defect in CATALOGUE if defect.name == "M7"]
    outcome = prove_statement(defect.faulty().sequence, SECONDS)
    told = "\n".join(outcome.history)
    assert "v1: SPSR_EL2<22> is 1 and must be 0" in told or "SPSR_EL2.PAN is 1" in told
    (spsr,) = [d for d in outcome.differences if d.field == "SPSR_EL2"]
    assert spsr.hardware ^ spsr.expected == SPSR_ELx.SS.mask | SPSR_ELx.SS.mask << 1
    (mdscr,) = [d for d in outcome.differences if d.field == "MDSCR_EL1"]
    assert mdscr.hardware ^ mdscr.expected == MDSCR_EL1.SS.mask | MDSCR_EL1.SS.mask << 1


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ((ADD_X4,), "x4"),
        ((STR_X1,), "vcpu+0x8"),
        ((MSR_SCTLR,), "SCTLR_EL2"),
        ((DAIFCLR,), "daif"),
        ((SPSEL,), "spsel"),
    ],
)
def test_what_is_not_the_sequences_to_change_is_left_alone(words, field):
    faulty = replace(load("v1"), words=(*words, *load("v1").words), listing=("",) * 12)
    outcome = prove_statement(faulty, SECONDS)
    assert outcome.status is Status.REFUTED
    assert field in {difference.field for difference in outcome.differences}


def test_a_change_by_nothing_is_none():
    words = (ADD_X4_X4_XZR, *load("v1").words, ERET)
    outcome = prove_statement(replace(load("v1"), words=words, listing=("",) * 13), SECONDS)
    assert outcome.status is Status.PROVED
    assert outcome.depth == 13


@pytest.mark.parametrize(("guard", "where"), [(TBZ_X0_63, 1 << 63), (CBNZ_X4, None)])
def test_a_fault_for_few_values_is_found(guard, where):
    words = (guard, ADD_X4, *load("v1").words)
    faulty = replace(load("v1"), words=words, listing=("",) * 13)
    outcome = prove_statement(faulty, SECONDS)
    assert outcome.status is Status.REFUTED
    (difference,) = outcome.differences
    assert (difference.field, difference.hardware) == ("x4", 1)


def test_the_vcpu_is_where_a_structure_can_be():
    """It is aligned to 8 bytes, so that bit 0 of its address is never 1."""
    words = (TBZ_X0_0, ADD_X4, *load("v1").words)
    outcome = prove_statement(replace(load("v1"), words=words, listing=("",) * 13), SECONDS)
    assert outcome.status is Status.PROVED
    assert len(outcome.history) == 3


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((LDR_FAR,), "no memory is mapped"),
        ((LDR_X1_X2,), "no memory is mapped"),
        ((RET,), "no instruction can be fetched"),
        ((HVC,), "HVC is undefined at EL2"),
    ],
)
def test_code_that_cannot_run_to_its_end_is_refuted(words, why):
    outcome = proved(*words)
    assert outcome.status is Status.REFUTED
    assert outcome.reason.startswith("test: does not run to its end: ")
    assert why in outcome.reason


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((NOP, LDAR), "test, at +0x4: LDAR is not known to the symbolic execution"),
        ((B_SELF,), "test, at +0x0: it has not ended after 1000 instructions"),
    ],
)
def test_what_cannot_be_followed_is_not_proved(words, reason):
    outcome = proved(*words)
    assert (outcome.status, outcome.reason) == (Status.NOT_PROVED, reason)


def test_many_paths_are_too_many():
    # tbz x4, #n, . + 4 goes to the same place either way: 2 to the 10th paths.
    outcome = proved(*(0x3600_0024 | n << 19 for n in range(10)))
    assert (outcome.status, outcome.reason) == (
        Status.NOT_PROVED,
        f"it has more than {sequences.MAX_PATHS} paths",
    )


def test_a_wrong_symbolic_execution_does_not_prove(monkeypatch):
    """What it finds wrong must be so on the interpreter, and all paths must end as there."""
    from tb.proofs import symbolic

    monkeypatch.setitem(symbolic.OPERATIONS, "NOP", lambda e, m, f: m.write(4, z3.BitVecVal(0, 64)))
    outcome = prove_statement(with_word("v1", 0, NOP), SECONDS)
    assert outcome.status is Status.NOT_PROVED
    assert outcome.reason.startswith("the interpreter does otherwise with vcpu+0x40 = ")
    monkeypatch.setitem(symbolic.OPERATIONS, "NOP", lambda e, m, f: m.write(1, z3.BitVecVal(5, 64)))
    words = (*load("v1").words, NOP)
    outcome = prove_statement(replace(load("v1"), words=words, listing=("",) * 12), SECONDS)
    assert outcome.status is Status.NOT_PROVED
    assert outcome.reason.startswith("the interpreter does otherwise with vcpu+0x40 = ")


# The other claims


def test_sequences_that_differ_are_told_with_what_they_leave():
    outcome = prove_equal(with_word("v1", 6, NOP), load("bic"), SECONDS)
    assert outcome.status is Status.REFUTED
    assert outcome.reason.startswith("v1 does not leave what bic does in ")
    assert {"SPSR_EL2", "MDSCR_EL1"} & {difference.field for difference in outcome.differences}
    assert outcome.history[0].startswith("given vcpu+0x40 = ")
    assert "+0x0: 0xf9402003  LDR (unsigned offset)" in outcome.history[1]


def test_nothing_is_what_an_empty_sequence_alone_does():
    setting = sequences._setting(sequence(ADD_X4))
    outcome = prove_duty(setting, sequences._nothing, SECONDS)
    assert outcome.status is Status.REFUTED
    assert outcome.reason == "test does not leave what it must in x4"
    (difference,) = outcome.differences
    assert difference == ("x4", 1, 0)


@pytest.mark.parametrize("index", range(14))
def test_each_instruction_of_the_compiled_c_is_needed(index):
    setting = sequences._function("hypervisor_callout", "kvm_setup_guest_debug", 0x1B0)
    words = list(setting.words)
    words[index] = NOP
    duty, free = sequences._callout_duty, sequences.FREE_IN_C
    outcome = prove_duty(replace(setting, words=tuple(words)), duty, SECONDS, free)
    assert outcome.status is Status.REFUTED
    if outcome.differences:
        saved = {f"vcpu+{OFFSETS[name]:#x}" for name in ("spsr", "mdscr_el1")}
        assert {difference.field for difference in outcome.differences} <= saved


def test_an_assumption_that_is_never_so_proves_nothing():
    setting = sequences._setting(sequence())
    outcome = prove_duty(
        setting, sequences._nothing, SECONDS, assumed=lambda before: [before["x1"] != before["x1"]]
    )
    assert (outcome.status, outcome.reason) == (
        Status.NOT_PROVED,
        "what is assumed is never so",
    )


# The solver


def test_without_z3_nothing_is_proved(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "z3", None)
    outcome = CLAIMS["sequences.v1"].prove(tmp_path, SECONDS)
    assert (outcome.status, outcome.reason) == (Status.NOT_PROVED, sequences.NO_SOLVER)


def test_a_solver_that_gives_up_proves_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(z3.Solver, "check", lambda self: z3.unknown)
    monkeypatch.setattr(z3.Solver, "reason_unknown", lambda self: "timeout")
    outcome = CLAIMS["sequences.v1"].prove(tmp_path, SECONDS)
    assert outcome.status is Status.NOT_PROVED
    assert outcome.reason == "z3 gives no answer: timeout"


def test_a_solver_that_breaks_proves_nothing(monkeypatch, tmp_path):
    def breaks(self):
        raise z3.Z3Exception("out of memory")

    monkeypatch.setattr(z3.Solver, "check", breaks)
    outcome = CLAIMS["sequences.v1"].prove(tmp_path, SECONDS)
    assert (outcome.status, outcome.reason) == (Status.NOT_PROVED, "out of memory")
