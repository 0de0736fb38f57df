"""The proofs about the core: each is of something, and a fault in the core breaks it."""

import pytest

from hw.core.decode import Group
from hw.core.exceptions import Cause
from hw.core.timing import TimingClass
from model.arch import EL, Event, StepState
from tb.proofs import core
from tb.proofs.claims import CLAIMS, Status
from tb.proofs.yosys import Verdict

# Faults: in the core, whose module is `top`, or in its control side's


def elr_is_after_the_instruction(_core, top, control):
    entry = control.submodules.registers.entry
    control.d.comb += entry.elr.eq(top.submodules.fetch.pc + 4)


def esr_has_ex(_core, top, control):
    parts = control.submodules
    control.d.comb += parts.syndrome.step_esr.eq(parts.step_unit.esr.as_value() | 1 << 6)


def esr_has_isv(_core, top, control):
    parts = control.submodules
    control.d.comb += parts.syndrome.step_esr.eq(parts.step_unit.esr.as_value() | 1 << 24)


def spsr_has_ss(_core, top, control):
    control.d.comb += control.submodules.saved.ss.eq(1)


def goes_to_el1(_core, top, control):
    control.d.comb += control.submodules.router.step_target.eq(EL.EL1)


def stepped_instruction_is_untold(_core, top, control):
    step = control.submodules.step_unit
    control.d.comb += step.event.valid.eq(top.submodules.sequencer.retires & ~step.pstate.ss)


def load_exclusive_is_any_instruction(_core, top, control):
    event = control.submodules.step_unit.event
    with control.If(top.submodules.decoder.operation.group == Group.MEMORY):
        control.d.comb += event.kind.eq(Event.EXECUTE)


def steps_where_it_is_inactive(_core, top, control):
    step = control.submodules.step_unit
    control.d.comb += control.submodules.decide.step.eq(step.state != StepState.ACTIVE_NOT_PENDING)


def steps_what_is_armed(_core, top, control):
    step = control.submodules.step_unit
    control.d.comb += control.submodules.decide.step.eq(step.state != StepState.INACTIVE)


def ss_stays(_core, top, control):
    step, state = control.submodules.step_unit, control.submodules.state
    control.d.comb += state.step_after.ss.eq(step.pstate.ss)


def step_is_forgotten(_core, top, control):
    control.d.comb += control.submodules.decide.step.eq(0)


def asks_memory_at_once(core, top, control):
    parts = top.submodules
    is_memory = parts.decoder.operation.group == Group.MEMORY
    top.d.comb += core.data.request.valid.eq(parts.sequencer.begins & is_memory)


def writes_system_registers_at_once(_core, top, control):
    parts = top.submodules
    is_msr = parts.decoder.operation.group == Group.MSR
    write = control.submodules.registers.write
    control.d.comb += write.eq(parts.sequencer.retires & is_msr)


def writes_the_base_at_once(_core, top, control):
    parts = top.submodules
    operation = parts.decoder.operation
    base = (operation.group == Group.MEMORY) & operation.writeback
    top.d.comb += parts.registers.w2.enable.eq(parts.sequencer.retires & base)


def registers_miss_the_step(_core, top, control):
    parts = control.submodules
    no_step = (parts.decide.cause != Cause.NONE) & (parts.decide.cause != Cause.STEP)
    control.d.comb += parts.registers.entry.valid.eq(top.submodules.sequencer.retires & no_step)


def exceptions_take_a_cycle(_core, top, control):
    parts = top.submodules
    is_exception = parts.control.cause != Cause.NONE
    timing = parts.sequencer.timing
    with top.If(is_exception):
        top.d.comb += timing.eq(TimingClass.ALU)


FAULTS = [
    ("core.steps_one_row", elr_is_after_the_instruction),
    ("core.steps_one_row", esr_has_ex),
    ("core.steps_one_row", spsr_has_ss),
    ("core.steps_one_row", goes_to_el1),
    ("core.steps_one_row", load_exclusive_is_any_instruction),
    ("core.one_row_is_stepped", stepped_instruction_is_untold),
    ("core.unstepped_step_exception", esr_has_isv),
    ("core.step_exception_is_in_the_registers", registers_miss_the_step),
    ("core.unarmed_takes_no_step_exception", steps_where_it_is_inactive),
    ("core.unarmed_takes_no_step_exception", steps_what_is_armed),
    ("core.ss_is_0_after_every_row", ss_stays),
    ("core.pending_executes_nothing", step_is_forgotten),
    ("core.pending_executes_nothing", asks_memory_at_once),
    ("core.pending_executes_nothing", writes_the_base_at_once),
    ("core.pending_executes_nothing", writes_system_registers_at_once),
    ("core.pending_keeps_system_registers", writes_system_registers_at_once),
    ("core.rows_end", exceptions_take_a_cycle),
]

IDS = [f"{name}-{fault.__name__}" for name, fault in FAULTS]


@pytest.mark.parametrize(("name", "fault"), FAULTS, ids=IDS)
def test_a_fault_refutes_the_claim(name, fault, tmp_path):
    outcome = core.RULES[name].prove(tmp_path, 60, fault)
    assert outcome.status is Status.REFUTED
    assert outcome.depth == len(outcome.history) or outcome.depth > len(outcome.history) > 0
    assert outcome.differences and "not as the specification says" in outcome.reason
    assert all(each.hardware != each.expected for each in outcome.differences)


def test_each_claim_has_a_fault():
    assert {name for name, _ in FAULTS} == set(core.RULES)
    assert set(core.RULES) == {name for name in CLAIMS if name.startswith("core.")}


@pytest.mark.parametrize("name", core.RULES)
def test_the_programs_meet_each_precondition(name):
    assert core.RULES[name].run() == ([], ())


@pytest.mark.parametrize(("name", "fault"), [FAULTS[1], FAULTS[11]], ids=[IDS[1], IDS[11]])
def test_the_solver_alone_finds_no_proof_of_what_is_not_so(name, fault, tmp_path):
    assert core.RULES[name].ask(tmp_path, 120, fault, depth=1).verdict is not Verdict.HOLDS


def test_a_claim_is_proved(tmp_path):
    outcome = core.prove("core.steps_one_row", tmp_path, 120)
    assert (outcome.status, outcome.depth) == (Status.PROVED, 1)


def test_a_claim_about_nothing_is_not_proved(tmp_path):
    def nothing(c):
        c.expect(c.pending & c.inactive, pc=(c.row.pc, 0))

    outcome = core.Rule("nothing", nothing).prove(tmp_path, 60)
    assert outcome.status is Status.NOT_PROVED
    assert outcome.reason == "no program meets cover 0"


def test_time_that_is_over(tmp_path):
    outcome = core.prove("core.rows_end", tmp_path, 0.1)
    assert outcome.status is Status.NOT_PROVED
    assert "not done" in outcome.reason
