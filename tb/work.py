"""The unit of work: some jobs on one simulator. One pure function runs it, in any process."""

import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from tb import cases, dump, failures, sims, totals, waves
from tb.bins import Counts
from tb.cases import hyp, kvm
from tb.cases.core import elf
from tb.core import failures as core_failures
from tb.core.testbench import CoreTestbench
from tb.core.waves import CORE_SHOWN
from tb.harness import CORE, DESIGNS, UNIT
from tb.scoreboard import Mismatch
from tb.shown import FAILURE, TEST
from tb.testbench import Failure, Simulator, Table, Testbench

COMPILED = "compiled"

#: names of adapter modules, the fastest first
SIMULATORS = (COMPILED, "pysim", "verilator", "icarus")

PASSED, FAILED, ERROR = "passed", "failed", "error"


@dataclass(frozen=True, slots=True)
class Job:
    """One run of one case."""

    case: str
    seed: int


@dataclass(frozen=True, slots=True)
class Unit:
    """Jobs to run one after the other on one simulation of a design."""

    simulator: str
    jobs: tuple[Job, ...]
    hyp: str | None = None  #: the file of the user's own sequence, if any
    elf: str | None = None  #: the file of the user's own program, if any
    first: bool = False  #: leave out the jobs after one that fails
    waves: Path | None = None  #: directory for a waveform; then there is one job
    design: str = UNIT.name  #: what all of its jobs test


@dataclass(slots=True)
class Result:
    """What became of a job."""

    name: str
    simulator: str
    seed: int
    status: str  #: PASSED, FAILED or ERROR
    cycles: int
    seconds: float
    counts: Counts = field(repr=False)  #: coverage
    failure: str = ""  #: what is wrong, in full: several lines
    mismatch: int | None = None  #: the cycle where it failed: hardware and model part, if they do
    marked: int | None = None  #: the cycle that the test itself marks in its waveform
    waves: Path | None = None
    inputs: int = 0  #: of a block, where the case goes through all of them
    killed: bool = False  #: it ended the process that ran it: it is not to be run again
    tables: list[Table] = field(default_factory=list)  #: what it found out
    notes: list[str] = field(default_factory=list)  #: what was left undone beside the test, and why


@dataclass(frozen=True, slots=True)
class RunJobs:
    """The task (`tb.sims.Task`) that runs jobs, on whatever simulator it is given."""

    simulator: str
    jobs: tuple[Job, ...]
    hyp: str | None
    elf: str | None
    first: bool

    async def __call__(self, simulator: Simulator) -> list[Result]:
        """Run them all, or up to the first that fails: a failure ends its job, not the others."""
        load_cases(self.hyp, self.elf)
        results: list[Result] = []
        for job in self.jobs:
            results.append(await _run_job(simulator, job, self.simulator))
            if self.first and results[-1].status != PASSED:
                break
        return results


#: Design to its testbench, and to what that says when a test fails.
_BENCHES: dict[str, tuple[Any, Any]] = {
    UNIT.name: (Testbench, failures),
    CORE.name: (CoreTestbench, core_failures),
}
_SHOWN = {shown.lanes.design.name: shown for shown in (waves.UNIT_SHOWN, CORE_SHOWN)}


def load_cases(user_sequence: str | None, user_program: str | None = None) -> None:
    """Make sure that all cases are known, the user's own among them."""
    cases.load()
    for topic in (hyp, kvm):
        if user_sequence and topic.USER not in cases.CASES:
            topic.register_user(user_sequence)
    if user_program and elf.USER not in cases.CASES:
        elf.register_user(user_program)


async def _run_job(simulator: Simulator, job: Job, name: str) -> Result:
    case = cases.CASES[job.case]
    made, says = _BENCHES[case.design.name]
    tb = made(simulator, job.case, job.seed)
    counts, mismatch = totals.none(), None
    status, failure = PASSED, ""
    start = time.perf_counter()
    try:
        await simulator.reset()
        await case.body(tb)
        counts = totals.of(case.design.name, await tb.finish())
    except Mismatch as error:
        status, failure, mismatch = FAILED, says.mismatch(tb, error), error.cycle
    except Failure as error:
        status, failure = FAILED, says.failure(tb, error)
        mismatch = says.last_cycle(tb)
    except Exception as error:  # a defect of the case or of the model: reported, not thrown
        status, failure = ERROR, failures.unexpected(error)
    seconds = time.perf_counter() - start
    return Result(
        job.case,
        name,
        job.seed,
        status,
        tb.clocked,
        seconds,
        counts,
        failure,
        mismatch,
        tb.marked,
        inputs=tb.inputs,
        tables=tb.tables,
    )


def adapter(simulator: str) -> sims.Adapter:
    """The adapter module of a simulator."""
    return cast(sims.Adapter, import_module(f"tb.sims.{simulator}"))


def default_simulator() -> str:
    """The fastest that needs nothing which is missing, of those that start at once."""
    return "pysim" if adapter(COMPILED).missing() else COMPILED


def run_unit(unit: Unit) -> list[Result]:
    """Run a unit. SimulatorError if the simulator itself cannot be built or run."""
    task = RunJobs(unit.simulator, unit.jobs, unit.hyp, unit.elf, unit.first)
    design = DESIGNS[unit.design]
    if unit.waves is None:
        return adapter(unit.simulator).run(task, None, design)
    (job,) = unit.jobs
    vcd = waves.path(unit.waves, job.case, unit.simulator, job.seed)
    (result,) = adapter(unit.simulator).run(task, vcd, design)
    load_cases(unit.hyp, unit.elf)  # the task may have run in another process
    listing = cases.CASES[job.case].listing()
    noted = {TEST: result.marked, FAILURE: result.mismatch}
    result.waves = waves.write_views(vcd, unit.simulator, noted, _SHOWN[unit.design], listing)
    if why_not := dump.write_fst(vcd):
        result.notes.append(why_not)
    return [result]


def build(unit: Unit) -> Unit:
    """Build what a unit is simulated with, if it is not there; returns the unit. SimulatorError."""
    task = RunJobs(unit.simulator, (), None, None, False)
    with tempfile.TemporaryDirectory() as directory:
        vcd = Path(directory) / "none.vcd" if unit.waves else None
        adapter(unit.simulator).run(task, vcd, DESIGNS[unit.design])
    return unit


def singles(unit: Unit) -> list[Unit]:
    """The unit's jobs, each a unit of its own."""
    return [replace(unit, jobs=(job,)) for job in unit.jobs]


def killed(unit: Unit, times: int) -> Result:
    """What became of the job of a unit whose every worker died."""
    failure = f"it killed its worker process {times} times"
    return _ended(unit, f"{failure}; did it run out of memory?", 0.0)


def too_long(unit: Unit, seconds: float) -> Result:
    """What became of the job of a unit that was ended when its time was over."""
    failure = f"it had not ended after {seconds:g} s, and was ended"
    return _ended(unit, f"{failure}; give more with --timeout, if it only needs longer", seconds)


def _ended(unit: Unit, failure: str, seconds: float) -> Result:
    (job,) = unit.jobs
    return Result(
        job.case,
        unit.simulator,
        job.seed,
        ERROR,
        cycles=0,
        seconds=seconds,
        counts=totals.none(),
        failure=failure,
        killed=True,
    )


def deal(jobs: Iterable[Job], count: int) -> list[tuple[Job, ...]]:
    """Deal the jobs out to at most `count` hands."""
    hands: list[list[Job]] = [[] for _ in range(count)]
    for at, job in enumerate(jobs):
        hands[at % count].append(job)
    return [tuple(hand) for hand in hands if hand]
