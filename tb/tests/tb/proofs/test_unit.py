"""The claims about the step unit: each is proved, and each is broken by a fault in the hardware."""

import pytest

from tb import failures, prove
from tb.harness import ROW
from tb.proofs import counterexample
from tb.proofs.claims import CLAIMS, Method, Status
from tb.proofs.property import RULES, Rule
from tb.tests.tb.proofs.faults import FAULTS, MISTAKES
from tb.tests.tb.proofs.planted import planted

LIMIT = 120

prove.load()


def _with_fault(tmp_path, claim, *edits):
    return RULES[claim].prove(tmp_path, LIMIT, planted(*edits).step.StepUnit)


def _is_refuted(outcome):
    """There is a counterexample, it says where, and its waveform is kept."""
    assert outcome.status is Status.REFUTED
    assert outcome.differences
    assert all(each.hardware != each.expected for each in outcome.differences)
    assert {each.field for each in outcome.differences} <= ROW.keys()
    assert outcome.history[0].startswith("cycle 0: ")
    assert outcome.waves.is_file()
    assert outcome.waves.with_suffix(".gtkw").is_file()


@pytest.mark.parametrize("name", RULES)
def test_claim_is_without_bound_and_says_where_it_is_from(name):
    claim = CLAIMS[name]
    assert claim.method is Method.INDUCTION
    assert claim.sentence.endswith(".")
    assert claim.source


@pytest.mark.parametrize("name", list(RULES)[::10])
def test_claim_is_proved(name, tmp_path):
    """`python -m tb.prove` proves them all."""
    outcome = CLAIMS[name].prove(tmp_path, LIMIT)
    assert outcome.status is Status.PROVED, outcome.reason
    assert outcome.depth


def test_each_claim_has_a_fault():
    assert FAULTS.keys() | {claim for _, _, claim in MISTAKES} == RULES.keys()


def test_each_of_the_twelve_mistakes_is_a_claim_and_a_fault():
    numbers = [str(number) for number in range(1, 13)]
    ours = [name for name in RULES if name.startswith("mistakes.")]
    assert [CLAIMS[name].sentence.partition(".")[0] for name in ours] == numbers
    assert list(dict.fromkeys(what.partition(".")[0] for what, _, _ in MISTAKES)) == numbers


@pytest.mark.parametrize(("what", "edits", "claim"), MISTAKES, ids=[m[0] for m in MISTAKES])
def test_mistake_breaks_its_claim(what, edits, claim, tmp_path):
    assert CLAIMS[claim].sentence.partition(".")[0] == what.partition(".")[0]
    _is_refuted(_with_fault(tmp_path, claim, *edits))


@pytest.mark.parametrize("claim", FAULTS)
def test_fault_breaks_the_claim(claim, tmp_path):
    _is_refuted(_with_fault(tmp_path, claim, FAULTS[claim]))


def test_unchanged_copy_keeps_the_claims(tmp_path):
    outcome = _with_fault(tmp_path, "equality.unit_is_the_model")
    assert outcome.status is Status.PROVED


def test_counterexample_is_the_table_of_differences_and_the_cycles(tmp_path):
    edits = next(edits for what, edits, _ in MISTAKES if what.startswith("1. "))
    outcome = _with_fault(tmp_path, "mistakes.eret_keeps_the_ss_it_loaded", *edits)
    rows = [
        (field, failures.value_text(field, is_), failures.value_text(field, must))
        for field, is_, must in outcome.differences
    ]
    assert rows == [
        ("ss_after", "0", "1"),
        ("state_after", "active-pending", "active-not-pending"),
    ]
    assert outcome.reason == "ss_after, state_after: not as the specification says"
    start, eret, state, *controls = outcome.history
    assert "start at EL" in start
    assert eret.startswith("cycle 1: EL")
    assert " eret (spsr=0x" in eret
    assert "active-pending" in eret
    assert state.startswith("there, PSTATE el=")
    assert "MDSCR_EL1" in state
    assert controls[0].startswith("with ")


def test_waveform_shows_the_cycles_and_what_was_expected(tmp_path):
    edits = next(edits for what, edits, _ in MISTAKES if what.startswith("1. "))
    outcome = _with_fault(tmp_path, "mistakes.eret_keeps_the_ss_it_loaded", *edits)
    vcd = outcome.waves.read_text()
    for name in ("stimulus_event__kind", "row_ss_after", "expected_ss_after"):
        assert f" {name} " in vcd
    assert "sERET" in vcd  # by name
    assert "sACTIVE_NOT_PENDING" in vcd
    save = outcome.waves.with_suffix(".gtkw").read_text()
    assert "expected_ss_after" in save
    assert "softstep.state_after" in save
    assert str(tmp_path) not in save


def test_waveform_that_cannot_be_written_is_not_proved(tmp_path, monkeypatch):
    def full(vcd, cycles):
        raise OSError(28, "No space left on device", str(vcd))

    monkeypatch.setattr(counterexample, "write", full)
    outcome = _with_fault(tmp_path, "state.table", FAULTS["state.table"])
    assert outcome.status is Status.NOT_PROVED
    assert outcome.reason.endswith("state.table.vcd: No space left on device")


def test_claim_about_nothing_is_not_proved(tmp_path, monkeypatch):
    rule = Rule("nothing", lambda u: u.expect(u.happens & ~u.happens, ss=1))
    outcome = rule.prove(tmp_path, LIMIT)
    assert outcome.status is Status.NOT_PROVED
    assert outcome.reason == "nothing meets cover 0 of 1 in 3 cycles"
