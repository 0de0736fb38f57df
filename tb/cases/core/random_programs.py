"""Constrained-random programs in lockstep: exceptions, returns, steps, interrupts, late writes."""

from model.a64.trace import Inputs
from tb.cases import case
from tb.core import rows as trace
from tb.core.lockstep import Mismatch
from tb.core.random_program import RandomProgram, generate
from tb.core.shrink import shrink
from tb.core.testbench import CoreTestbench
from tb.harness import CORE

PROGRAMS = 40
ROWS = 2600  #: of each: 104,000 in all

#: Runs that a failing program is shrunk in, where a run takes no time, and elsewhere.
SHRINK_RUNS, FEW_RUNS = 600, 40


async def _run(tb: CoreTestbench, program: RandomProgram) -> None:
    segments = program.program.segments()
    given: tuple[Inputs, ...] = program.inputs
    await tb.run(segments, trace.packed(given), max_rows=program.length, at_self_branch=False)


@case("random programs", random=True, design=CORE)
async def random_programs(tb: CoreTestbench) -> None:
    """Programs of random instructions and states, with random interrupts and choices.

    One that fails is reduced to the instructions that matter.
    """
    count, rows = PROGRAMS, ROWS
    if tb.most_rows < PROGRAMS * ROWS:  # a slow simulator
        count, rows = 2, tb.most_rows // 2
    for _ in range(count):
        program = generate(tb.rng.getrandbits(32), rows)
        try:
            await _run(tb, program)
        except Mismatch:
            tb.say(await _shrunk(tb, program))
            raise


async def _shrunk(tb: CoreTestbench, program: RandomProgram) -> list[str]:
    async def first_difference(candidate: RandomProgram) -> int | None:
        try:
            await _run(tb, candidate)
        except Mismatch as error:
            return int(error.rows.row(error.at).number)
        return None

    runs = SHRINK_RUNS if tb.most_rows > PROGRAMS * ROWS else FEW_RUNS
    least = await shrink(program, first_difference, runs)
    return least.lines(f"python -m tb.run {tb.name} --seed {tb.seed}")
