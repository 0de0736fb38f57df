"""A run from its plan to its report: on this machine or on a cluster, afresh or resumed."""

import argparse
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from rich.console import Console

from tb import plan as planning
from tb import report, runner, totals, work
from tb.cases import CASES
from tb.cluster import Cluster
from tb.journal import Journal
from tb.last import Failed, Last, as_kept
from tb.plan import Plan, UsageError
from tb.progress import Progress
from tb.report import Report
from tb.runner import Processes, Task
from tb.work import PASSED, Job, Result, Unit

#: where waveforms and other generated files go
SIM_BUILD = Path("sim_build")
WAVES = SIM_BUILD / "waves"
#: what the tests gave when they last ran
LAST = SIM_BUILD / "last.json"

DEFAULT_SEED = 1


_ONLY_COMPILED = "it takes the compiled simulator (--sim compiled; apt-get install g++)"


def plan(names: Sequence[str], options: argparse.Namespace, not_run: list[tuple[str, str]]) -> Plan:
    """What the options ask for. UsageError if that is nothing, or cannot run."""
    shard, shards = options.shard
    only = failed(names, options) if options.rerun_failed else None
    if only:
        names = list(dict.fromkeys(case for _, case, _ in only))
    asked = Plan(
        tuple(_simulators_of(only) if only else simulators(options.sim, not_run)),
        tuple(names),
        only[0][2] if only else options.seed,
        options.seeds,
        options.hyp,
        planning.sequence_digest(options.hyp),
        options.elf,
        planning.program_digest(options.elf),
        not (options.patterns or options.hyp or options.elf or only),
        only=only,
    )
    asked = replace(asked, tests=len(asked.jobs()), shard=shard, shards=shards)
    bulk = [name for name in names if CASES[name].bulk]
    if work.COMPILED not in asked.simulators:
        not_run += [(name, _ONLY_COMPILED) for name in bulk]
    if bulk and not asked.tests:
        raise UsageError(f"{bulk[0]} cannot run: {_ONLY_COMPILED}")
    if not asked.share:
        most = f"there are {asked.tests} tests, so give at most so many shards"
        raise UsageError(f"--shard {shard}/{shards}: nothing to run: {most}")
    return asked


def failed(names: Sequence[str], options: argparse.Namespace) -> tuple[tuple[str, str, int], ...]:
    """(simulator, case, seed) of what failed when it last ran. UsageError if nothing did."""
    if options.resume or options.shard != (1, 1):
        raise UsageError("--rerun-failed is for what is left: leave out --resume and --shard")
    if (options.seed, options.seeds) != (DEFAULT_SEED, 1):
        raise UsageError("--rerun-failed takes the seeds that failed: leave out --seed and --seeds")
    everything = Last(LAST).failed
    found = tuple(
        (job.simulator, job.case, job.seed)
        for job in everything
        if job.case in names
        and job.file in (None, options.hyp, options.elf)
        and options.sim in (None, "all", job.simulator)
    )
    if not found:
        why = "none of these tests failed when it last ran here"
        raise UsageError(f"nothing to run: {why}; {_others(everything)}leave out --rerun-failed")
    return found


def _others(jobs: Iterable[Failed]) -> str:
    """Failures that were not asked for, in a few words."""
    names = [f"{job.case} ({job.file or job.simulator})" for job in jobs]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"ask for {', '.join(names[:3])}{more}, or " if names else ""


def _simulators_of(only: Sequence[tuple[str, str, int]]) -> list[str]:
    return [one for name in dict.fromkeys(each[0] for each in only) for one in simulators(name, [])]


def simulators(asked: str | None, not_run: list[tuple[str, str]]) -> list[str]:
    """The simulators to run: by default the one that is there and is the fastest.

    UsageError if one that is asked for by its name is not there.
    """
    asked = asked or work.default_simulator()
    if asked != "all":
        missing = work.adapter(asked).missing()
        if missing:
            raise UsageError(f"{asked} cannot run: {missing}")
        return [asked]
    missing_of = {name: work.adapter(name).missing() for name in work.SIMULATORS}
    not_run += [(name, why) for name, why in missing_of.items() if why]
    return [name for name, why in missing_of.items() if not why]


@contextlib.contextmanager
def run(
    asked: Plan, options: argparse.Namespace, console: Console, not_run: list[tuple[str, str]]
) -> Iterator[Report]:
    """Run it all, or up to Ctrl-C, or with -x to the first failure.

    The journal stays until the block has ended well: its results may be on no other file.
    """
    totals.prepare()  # before the workers start, so that they inherit it
    found = Report(asked, not_run=not_run)
    header = {**asked.record(), "waves": options.waves}
    journal = Journal(SIM_BUILD / "journal", header, options.resume)
    finished = False
    try:
        _run(found, options, console, journal)
        yield found
        finished = len(found.results) == asked.share
    finally:
        # What is left of a rerun is known without it.
        journal.close(finished or asked.only is not None)


def _run(found: Report, options: argparse.Namespace, console: Console, journal: Journal) -> None:
    start = time.perf_counter()
    last = Last(LAST)
    try:
        _go(found, options, console, journal, last)
    except KeyboardInterrupt:
        found.interrupted = True
    finally:
        _keep(last, found)
    found.seconds = time.perf_counter() - start
    found.results = report.by_name(found.results)


def _keep(last: Last, found: Report) -> None:
    try:
        last.write()
    except OSError as error:  # the results are all there, and worth more
        why = f"{error.filename or LAST}: {error.strerror}"
        found.notes.append(f"--rerun-failed will not know of this run: {why}")


def _go(
    found: Report, options: argparse.Namespace, console: Console, journal: Journal, last: Last
) -> None:
    """What is left to do, after what the journal has."""
    done = {(each.simulator, Job(each.name, each.seed)) for each in journal.done}
    if options.resume and not options.quiet:
        console.print(f"resumed: {len(done)} of {found.plan.share} tests were done before")
    for result in journal.done:
        last.add(result, found.plan)
        found.add(result)
        if result.status != PASSED:
            report.print_failure(console, result, found.plan)
    left = [job for job in found.plan.jobs() if job not in done]
    parts: tuple[list[tuple[str, Job]], list[tuple[str, Job]]] = ([], [])
    for job in left:
        parts[as_kept(*job, found.plan) not in last.failed].append(job)
    if all(parts) and not options.quiet:
        console.print(f"first: {len(parts[0])} that failed when they last ran")
    if left and not (found.bad and options.first):
        _run_jobs(parts, found, options, console, journal, last)


def _run_jobs(
    left: Sequence[list[tuple[str, Job]]],
    found: Report,
    options: argparse.Namespace,
    console: Console,
    journal: Journal,
    last: Last,
) -> None:
    progress = Progress(console, found.plan.share, len(found.results), options.quiet)
    jobs = sum(map(len, left))
    with contextlib.closing(_crew(found.plan, options, jobs)) as crew, progress:
        for result in _results(crew, found.plan, left, options, progress.tick):
            failed = result.status != PASSED
            if failed and not result.waves and not result.killed:
                _run_for_waves(result, found.plan, options)
            journal.add(result)
            last.add(result, found.plan)
            found.add(result)
            progress.advance(result.cycles)
            if not options.quiet:
                report.print_result(console, result)
            if failed:
                report.print_failure(console, result, found.plan)
            if failed and options.first:
                return


def _crew(asked: Plan, options: argparse.Namespace, jobs: int) -> Cluster | Processes[Unit]:
    if options.dask is not None:
        return Cluster(options.dask, asked)
    if options.timeout is None:
        return Processes(work.run_unit, min(options.j, jobs))
    waves = WAVES if options.waves == "all" else None
    designs = dict.fromkeys(CASES[name].design.name for name in asked.cases)
    _build(
        [Unit(simulator, (), waves=waves, design=design)
         for simulator in asked.simulators for design in designs],
        options,
    )  # fmt: skip
    return Processes(work.run_unit, min(options.j, jobs), options.timeout)


def _build(units: list[Unit], options: argparse.Namespace) -> None:
    """Build what units need and is not there yet: that takes its time, but not the tests'."""
    for _ in runner.over_processes(work.build, units, options.j):
        pass


def _results(
    crew: Cluster | Processes[Unit],
    asked: Plan,
    left: Sequence[list[tuple[str, Job]]],
    options: argparse.Namespace,
    tick: Callable[[], None],
) -> Iterator[Result]:
    """As they come, of the first jobs first. Ends when there is one for every job."""
    waves = WAVES if options.waves == "all" else None
    alone = options.timeout is not None  # then its time is that of one test
    units = (planning.units(asked, jobs, crew.size, options.first, waves, alone) for jobs in left)
    queue = deque(map(Task, chain.from_iterable(units)))

    def take() -> Task[Unit] | None:
        return queue.popleft() if queue else None

    for task, results in runner.as_done(crew, take, tick):
        if isinstance(results, runner.TookTooLong):
            results = [work.too_long(task.item, options.timeout)]
        if isinstance(results, BaseException):
            raise results
        yield from _after_death(task, queue) if results is None else results


def _after_death(task: Task[Unit], queue: deque[Task[Unit]]) -> list[Result]:
    """The unit's jobs go back into the queue, one by one: then it is known which one kills."""
    if len(task.item.jobs) > 1:
        queue += [Task(unit, task.deaths) for unit in work.singles(task.item)]
    elif task.deaths < runner.DEATHS:
        queue.append(task)
    else:
        return [work.killed(task.item, task.deaths)]
    return []


def _run_for_waves(result: Result, plan: Plan, options: argparse.Namespace) -> None:
    """Run the same test again, for its waveform; it may take as long, and kill its process."""
    job, design = Job(result.name, result.seed), CASES[result.name].design.name
    unit = Unit(result.simulator, (job,), plan.hyp, plan.elf, waves=WAVES, design=design)
    if options.timeout:
        _build([replace(unit, jobs=())], options)
    tasks = [Task(unit)]
    with contextlib.closing(Processes(work.run_unit, 1, options.timeout or math.inf)) as crew:
        ((_, again),) = runner.as_done(crew, lambda: tasks.pop() if tasks else None)
    if again is None or isinstance(again, runner.TookTooLong):
        what = "took too long" if again else "killed its process"
        result.notes.append(f"no waveform of {result.name}: it {what} when it ran for that")
        return
    if isinstance(again, BaseException):
        raise again
    result.waves, result.notes = again[0].waves, again[0].notes
