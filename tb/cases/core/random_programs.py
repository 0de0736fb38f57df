"""Constrained-random programs in lockstep: exceptions, returns, steps, interrupts, late writes."""

from collections.abc import Sequence
from dataclasses import replace

from tb.cases import case
from tb.core import rows as trace
from tb.core.lockstep import Mismatch
from tb.core.random_program import RandomProgram, generate
from tb.core.rows import Rows
from tb.core.shrink import Shrunk, shrink
from tb.core.testbench import CoreTestbench
from tb.harness import CORE

PROGRAMS = 40
ROWS = 2600  #: of each: 104,000 in all

#: Runs that a failing program is shrunk in, where a run takes no time, and elsewhere.
SHRINK_RUNS, FEW_RUNS = 200, 40


async def _run(tb: CoreTestbench, program: RandomProgram, seen: list[Rows]) -> None:
    """Run a program; what is right of it is then in `seen`. Mismatch."""
    segments, given = program.program.segments(), trace.packed(program.inputs)
    batches = tb.batches(segments, given, max_rows=program.length, at_self_branch=False)
    async for rows in batches:
        seen.append(rows)


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
        seen: list[Rows] = []
        try:
            await _run(tb, program, seen)
        except Mismatch as error:
            least = await _shrunk(tb, _as_counted(program, [*seen, error.rows]))
            tb.say(least.lines(f"python -m tb.run {tb.name} --seed {tb.seed}"))
            await _run(tb, least.program, [])  # the table and the waveform are to be of this one
            raise


def _as_counted(program: RandomProgram, seen: Sequence[Rows]) -> RandomProgram:
    """The program with what the core's cycle counter gave: the reference does not count."""
    counts: dict[int, int] = {}
    for rows in seen:
        counts |= enumerate(rows["cycle_count"].tolist(), rows.first)
    inputs = (
        given._replace(cycle_count=counts.get(n, 0)) for n, given in enumerate(program.inputs)
    )
    return replace(program, inputs=tuple(inputs))


async def _shrunk(tb: CoreTestbench, program: RandomProgram) -> Shrunk:
    async def first_difference(candidate: RandomProgram) -> int | None:
        try:
            await _run(tb, candidate, [])
        except Mismatch as error:
            return int(error.rows.row(error.at).number)
        return None

    runs = SHRINK_RUNS if tb.most_rows > PROGRAMS * ROWS else FEW_RUNS
    return await shrink(program, first_difference, runs)
