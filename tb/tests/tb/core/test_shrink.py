"""A fault planted in a copy of the reference, and the few instructions that show it."""

import asyncio
import functools

import pytest

from model.a64.processor import Processor
from model.arch import EL, Access, Event, StepState
from tb.core import shrink as shrinker
from tb.core.program import NOP, text
from tb.core.random_program import generate
from tb.core.shrink import _begun_at, _ran

ROWS = 1500


class WrongResult(Processor):
    """An instruction whose result has a wrong bit."""

    FORM = "MADD"

    def step(self, given):
        row = super().step(given)
        if row.word and row.x0_en and text(row.word, row.pc).startswith(self.FORM):
            self.state.x[row.x0_reg] ^= 1
            return row._replace(x0_value=row.x0_value ^ 1)
        return row


class EatsStep(Processor):
    """The SS that an exception return has loaded is cleared by its own advance."""

    def step(self, given):
        row = super().step(given)
        if row.event == Event.ERET and row.ss_after:
            self.state.ss = 0
        return row


class ForgetsStore(Processor):
    """A byte store is lost: seen only when the byte is loaded."""

    def step(self, given):
        before = self.state.memory.find(0x4000_0000, 1).contents
        row = super().step(given)
        if row.mem == Access.STORE and row.mem_size == 0:
            before[row.mem_address - 0x4000_0000] ^= 0x80
        return row


class WrongOrder(Processor):
    """An interrupt never comes before a pending step exception."""

    def step(self, given):
        return super().step(given._replace(async_first=0))._replace(async_first=given.async_first)


def first_difference(faulty, runs=None):
    """Runs a program on the reference and on a faulty copy, side by side."""

    def run(program):
        if runs is not None:
            runs.append(program)
        pair = Processor(), faulty()
        for address, content in program.program.segments():
            for processor in pair:
                processor.write_memory(address, content)
        for number, given in enumerate(program.inputs):
            right, wrong = (processor.step(given) for processor in pair)
            if right != wrong:
                return number
        return None

    return run


def shrink(program, run, **limits):
    """The shrinker, with a way to run programs that waits for nothing."""

    async def runs(candidate):
        return run(candidate)

    return asyncio.run(shrinker.shrink(program, runs, **limits))


@functools.cache
def failing(faulty):
    """The first random program that shows a fault."""
    run = first_difference(faulty)
    programs = (generate(seed, ROWS) for seed in range(1, 40))
    return next(program for program in programs if run(program) is not None)


def forms(shrunk):
    return [text(word, at) for at, word in sorted(shrunk.instructions.items())]


def test_a_wrong_result_is_reduced_to_the_instruction():
    program = failing(WrongResult)
    shrunk = shrink(program, first_difference(WrongResult))
    left = forms(shrunk)
    assert len(left) <= 5  # to where it is takes four
    assert any(line.startswith("MADD ") for line in left)
    assert first_difference(WrongResult)(shrunk.program) == shrunk.row
    assert len(shrunk.program.inputs) == shrunk.row + 1 <= 6


def test_a_lost_step_keeps_what_makes_it_a_step():
    shrunk = shrink(failing(EatsStep), first_difference(EatsStep))
    left = forms(shrunk)
    assert len(left) <= 14
    assert sum(line == "ERET" for line in left) >= 1
    assert any(line.startswith("MSR (register) MDSCR_EL1") for line in left)
    assert any(line.startswith("MSR (register) SPSR_EL") for line in left)


def test_a_difference_that_shows_later_keeps_its_cause():
    shrunk = shrink(failing(ForgetsStore), first_difference(ForgetsStore))
    left = forms(shrunk)
    assert len(left) <= 10
    assert any(line.startswith(("ST", "LD")) for line in left)


def test_inputs_that_matter_stay_and_no_others():
    shrunk = shrink(failing(WrongOrder), first_difference(WrongOrder))
    noted = [line for line in shrunk.lines("run") if line.startswith("before row")]
    assert len(noted) == 1
    assert "async_first=1" in noted[0]
    pins = [name for name in ("irq=1", "fiq=1", "serror=1") if name in noted[0]]
    assert len(pins) <= 1  # none, if the interrupt is virtual
    assert len(forms(shrunk)) <= 20


def test_the_number_of_runs_is_bounded():
    runs = []
    program = failing(WrongResult)
    shrunk = shrink(program, first_difference(WrongResult, runs), max_runs=20)
    assert shrunk.runs == len(runs) == 20
    assert first_difference(WrongResult)(shrunk.program) == shrunk.row


def test_a_program_that_does_not_fail_is_an_error():
    with pytest.raises(ValueError, match="does not fail"):
        shrink(generate(1, 50), lambda program: None)


def test_a_shrunk_program_is_listed_with_a_command():
    shrunk = shrink(failing(WrongResult), first_difference(WrongResult))
    lines = shrunk.lines("python -m tb.run core.random --seed 3")
    count = len(shrunk.instructions)
    seed = shrunk.program.seed
    assert (
        lines[0]
        == f"{count} instructions of the program of seed {seed}; row {shrunk.row} is wrong:"
    )
    assert lines[-1] == "the whole program: python -m tb.run core.random --seed 3"
    assert sum(" MADD " in line for line in lines) == 1
    assert f"{NOP:08x}" not in " ".join(lines)


def test_a_fault_that_depends_on_the_whole_history_is_cut_off_at_least():
    """Nothing can be dropped where every change hides the fault."""
    program = generate(2, 60)

    def run(candidate):
        return 40 if candidate.program == program.program else None

    shrunk = shrink(program, run)
    assert shrunk.program.program == program.program
    assert len(shrunk.program.inputs) == 41


def test_the_state_is_that_of_the_row_where_it_begins():
    """Begun anew, a program goes on as it did, where nothing but registers and memory matters."""
    program = generate(8, 800)
    _, rows = _ran(program)
    compared = 0
    for row in range(150, 750, 25):
        if (
            rows[row].state != StepState.INACTIVE
            or rows[row - 1].state == StepState.ACTIVE_NOT_PENDING
        ):
            continue  # what was stepped before is not known to the program
        if rows[row].el == EL.EL3:
            continue  # its ELR_EL3 was needed to begin there
        again, boot = _begun_at(program, row)
        _, found = _ran(again)
        assert [each.pc for each in found[boot : boot + 5]] == [
            each.pc for each in rows[row : row + 5]
        ]
        compared += 1
    assert compared > 10
