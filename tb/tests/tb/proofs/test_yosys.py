"""The engine, on a counter: what it proves, refutes and leaves open, and all that can go wrong."""

import sys
import time

import pytest
from amaranth.hdl import Assert, Assume, Cover, Elaboratable, Module, Signal

from tb.proofs import yosys
from tb.proofs.claims import Status
from tb.proofs.yosys import Check, EngineError, Problem, Verdict, ask, settle

LIMIT = 60


class Counter(Elaboratable):
    """Counts, while it is told to, from `first` up to 9 and then again from 0."""

    def __init__(self, claim, first=0):
        self.go = Signal()
        self.count = Signal(4, init=first)
        self._claim = claim

    def elaborate(self, platform):
        m = Module()
        with m.If(self.go):
            m.d.sync += self.count.eq(self.count + 1)
            with m.If(self.count == 9):
                m.d.sync += self.count.eq(0)
        self._claim(m, self)
        return m


def _problem(claim, first=0):
    counter = Counter(claim, first)
    return Problem(counter, {"go": counter.go}, {"count": counter.count})


def _claims(*statements):
    """What the counter claims: functions of it that give Assert, Assume or Cover."""

    def add(m, counter):
        m.d.comb += [statement(counter) for statement in statements]

    return add


def _settled(tmp_path, *statements, depth=12, first=0):
    return settle(_problem(_claims(*statements), first), depth, tmp_path, LIMIT)


BELOW_10 = [lambda c: Assert(c.count < 10), lambda c: Cover(c.count == 3)]


def test_induction_proves_and_says_its_length(tmp_path):
    outcome, cycles = _settled(tmp_path, *BELOW_10)
    assert outcome.status is Status.PROVED
    assert (outcome.depth, cycles) == (1, ())


def test_counterexample_is_the_values_of_each_cycle_from_reset(tmp_path):
    outcome, cycles = _settled(tmp_path, lambda c: Assert(c.count < 4), BELOW_10[1], first=2)
    assert outcome.status is Status.REFUTED
    assert [cycle["count"] for cycle in cycles] == [2, 3, 4]
    assert [cycle["go"] for cycle in cycles[:2]] == [1, 1]
    assert outcome.depth == 3


def test_assumption_is_relied_on(tmp_path):
    held = [lambda c: Assume(~c.go), lambda c: Assert(c.count == 2), lambda c: Cover(c.count == 2)]
    outcome, _ = _settled(tmp_path, *held, first=2)
    assert outcome.status is Status.PROVED
    outcome, _ = _settled(tmp_path, *held[1:], first=2)
    assert outcome.status is Status.REFUTED


def test_contradictory_assumptions_prove_nothing(tmp_path):
    never = [lambda c: Assume(c.go), lambda c: Assume(~c.go)]
    outcome, _ = _settled(tmp_path, *never, lambda c: Assert(0), lambda c: Cover(1))
    assert outcome.status is Status.NOT_PROVED
    assert outcome.reason == "nothing meets cover 0 of 1 in 12 cycles"


def test_each_cover_must_be_met(tmp_path):
    def out_of_reach(c):
        return Cover(c.count == 12)

    outcome, _ = _settled(tmp_path, *BELOW_10, out_of_reach, out_of_reach)
    assert outcome.status is Status.NOT_PROVED
    assert outcome.reason == "nothing meets covers 1, 2 of 3 in 12 cycles"


def test_claim_without_a_cover_is_not_proved(tmp_path):
    outcome, _ = _settled(tmp_path, BELOW_10[0])
    assert outcome.status is Status.NOT_PROVED
    assert "no cover" in outcome.reason


def test_induction_that_is_too_short_proves_nothing(tmp_path):
    # From 12 on, which it does not come to, the counter comes to 15 in three steps.
    outcome, cycles = _settled(
        tmp_path, lambda c: Assert(c.count != 15), lambda c: Cover(c.go), depth=2
    )
    assert outcome.status is Status.NOT_PROVED
    assert outcome.reason == "no counterexample from reset, and no induction of length 2"
    assert cycles == ()


def test_bounded_check_from_reset_and_from_any_state(tmp_path):
    text = _problem(_claims(*BELOW_10)).rtlil()
    checks = [Check("reset", 3), Check("any", 3, anywhere=True)]
    from_reset, from_any = ask(text, checks, tmp_path, LIMIT)
    assert (from_reset.verdict, from_reset.depth) == (Verdict.HOLDS, 3)
    assert (from_any.verdict, from_any.depth) == (Verdict.FOUND, 1)
    assert from_any.cycles[0]["count"] >= 10


def test_witness_is_what_meets_the_cover(tmp_path):
    text = _problem(_claims(*BELOW_10)).rtlil()
    (met,) = ask(text, [Check("cover", 5, cover=0)], tmp_path, LIMIT)
    assert met.verdict is Verdict.FOUND
    assert [cycle["count"] for cycle in met.cycles] == [0, 1, 2, 3]
    (unmet,) = ask(text, [Check("cover", 2, cover=0)], tmp_path, LIMIT)
    assert (unmet.verdict, unmet.cycles) == (Verdict.HOLDS, ())


# What goes wrong: one line each, never a traceback


def _reason(tmp_path, limit=LIMIT):
    outcome, cycles = settle(_problem(_claims(*BELOW_10)), 12, tmp_path, limit)
    assert (outcome.status, cycles) == (Status.NOT_PROVED, ())
    assert "\n" not in outcome.reason
    return outcome.reason


def test_missing_pyosys(tmp_path, monkeypatch):
    monkeypatch.setattr(yosys, "find_spec", lambda name: None)
    assert _reason(tmp_path) == "pyosys is not installed (pip install pyosys)"


def test_time_is_over_and_the_process_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(yosys, "RUN", "import time; time.sleep(60)")
    start = time.monotonic()
    assert _reason(tmp_path, limit=0.5) == "Yosys was not done after 0 s"
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "Yosys was ended by SIGSEGV"),
        ("print('ERROR: out of luck'); exit(3)", "Yosys stopped with status 3. ERROR: out of luck"),
        ("exit(3)", "Yosys stopped with status 3."),
        ("pass", "Yosys left no answer to proof"),
        (
            "open('proof.log', 'w').write('42')",
            "Yosys' answer to proof is none that is known",
        ),
        ("open('proof.log', 'wb').write(b'\\xff')", "Yosys left no answer to proof"),
        (
            "open('proof.log', 'w').write('model found for base case: FAIL!');"
            "open('proof.json', 'w').write('{')",
            "Yosys' counterexample in proof.json cannot be read",
        ),
        (
            "open('proof.log', 'w').write('model found for base case: FAIL!');"
            "open('proof.json', 'w').write('{\"signal\": []}')",
            "Yosys' counterexample in proof.json is empty",
        ),
    ],
)
def test_crash_and_garbage(tmp_path, monkeypatch, run, reason):
    monkeypatch.setattr(yosys, "RUN", run)
    assert _reason(tmp_path) == reason


def test_answer_of_an_earlier_run_is_not_taken_for_this_ones(tmp_path, monkeypatch):
    assert _settled(tmp_path, *BELOW_10)[0].status is Status.PROVED
    monkeypatch.setattr(yosys, "RUN", "pass")
    assert _reason(tmp_path) == "Yosys left no answer to proof"


def test_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    assert "file" in _reason(tmp_path / "file" / "place")


def test_python_that_does_not_start(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    with pytest.raises(EngineError, match="nothing: No such file"):
        ask("", [], tmp_path, LIMIT)
