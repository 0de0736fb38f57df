"""The blocks against the reference model: every input, and a fault in each block."""

import pytest

from hw import emit
from tb.proofs import equality
from tb.proofs.claims import CLAIMS, Method, Status
from tb.proofs.equality import BLOCKS, Parts, prove_block
from tb.tests.tb.proofs.planted import planted

LIMIT = 60

#: Block to how many inputs it has, and to a fault in it.
COUNTS = {
    "debug_routing": 1 << 18,
    "exception_return": 1 << 15,
    "illegal_state_target": 1 << 10,
    "step_state": 1 << 4,
    "syndrome": 6 * 2 * 2,
}
FAULTS = {
    "debug_routing": ("hw/routing.py", "el2_usable & (e.tge | e.tde)", "el2_usable & e.tde"),
    "exception_return": ("hw/routing.py", "no_mode.eq(1)", "no_mode.eq(0)"),
    "illegal_state_target": (
        "hw/routing.py",
        "self.effective.el2_enabled & self.effective.tge",
        "self.effective.tge",
    ),
    "step_state": ("hw/step.py", "m.Elif(self.pstate_ss)", "m.Elif(~self.pstate_ss)"),
    "syndrome": ("hw/syndrome.py", "esr.EX.eq(self.isv_choice)", "esr.EX.eq(1)"),
}


def _parts(*edits):
    made = planted(*edits)
    return Parts(
        made.routing.ControlDecoder,
        made.routing.DebugRouting,
        made.routing.ExceptionReturn,
        made.routing.IllegalStateTarget,
        made.step.StepStateMachine,
        made.syndrome.SoftwareStepSyndrome,
    )


@pytest.mark.parametrize("name", BLOCKS)
def test_block_is_the_model_for_every_input(name, tmp_path):
    claim = CLAIMS[f"equality.{name}"]
    assert claim.method is Method.EXHAUSTIVE
    outcome = claim.prove(tmp_path / "new", LIMIT)
    assert (outcome.status, outcome.inputs) == (Status.PROVED, COUNTS[name])


@pytest.mark.parametrize("name", BLOCKS)
def test_fault_in_a_block_is_found(name, tmp_path):
    outcome = prove_block(name, tmp_path, LIMIT, _parts(FAULTS[name]))
    assert outcome.status is Status.REFUTED
    assert outcome.differences
    assert all(each.hardware != each.expected for each in outcome.differences)
    (given,) = outcome.history
    assert all(f"{size}=0x" in given for size in BLOCKS[name].sizes)


def test_counterexample_is_in_the_blocks_words(tmp_path):
    outcome = prove_block("syndrome", tmp_path, LIMIT, _parts(FAULTS["syndrome"]))
    assert outcome.differences == [("esr", 0xCA000062, 0xCA000022)]
    assert outcome.history == ["given last=0x5, same_el=0x0, isv_choice=0x0"]
    assert outcome.reason == "esr: not as the model says"


def test_illegal_return_has_no_target(tmp_path):
    # Where the SPSR names no mode, hardware and model need not agree on the target.
    fault = (
        "hw/routing.py",
        "m.d.comb += no_mode.eq(1)",
        "m.d.comb += [no_mode.eq(1), self.target.eq(2)]",
    )
    assert prove_block("exception_return", tmp_path, LIMIT, _parts(fault)).status is Status.PROVED


def test_without_pyosys_nothing_is_proved(tmp_path, monkeypatch):
    monkeypatch.setattr(emit, "find_spec", lambda name: None)
    outcome = prove_block("syndrome", tmp_path, LIMIT)
    assert outcome.status is Status.NOT_PROVED
    assert outcome.reason == "pyosys is not installed (pip install pyosys)"


def test_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    outcome = prove_block("syndrome", tmp_path / "file" / "place", LIMIT)
    assert outcome.status is Status.NOT_PROVED
    assert "file" in outcome.reason


def test_blocks_are_all_that_is_combinational():
    assert equality.BLOCKS.keys() == COUNTS.keys() == FAULTS.keys()
