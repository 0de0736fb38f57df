"""`python -m tb.run`: the regression.

Exit code: 0 all passed, 1 a mismatch, 2 it could not run (nothing selected counts as that).
"""

import argparse
import fnmatch
import functools
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.markup import escape

from model import vectors
from model.a64 import A64Error
from model.hyp import SequenceError
from model.vectors import Chunk, Outputs, VectorError
from tb import coverage, lines, report, runner, work
from tb.cases import CASES, hyp
from tb.report import Report
from tb.sims import SimulatorError
from tb.work import Job, Result, Unit

PASS, MISMATCH, COULD_NOT_RUN = 0, 1, 2

#: where waveforms and other generated files go
SIM_BUILD = Path("sim_build")

DEFAULT_SEED = 1


class UsageError(Exception):
    """The run was asked for something that cannot be: one line that says what and the mend."""


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return value


def _seed(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(COULD_NOT_RUN, f"error: {message}; {self.prog} -h lists the options\n")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = _Parser(
        prog="python -m tb.run",
        description="Hold the hardware against the reference model, cycle by cycle.",
        epilog="Exit code: 0 all passed, 1 a mismatch, 2 it could not run.",
    )
    p.add_argument("patterns", nargs="*", metavar="PATTERN", help="tests: directed, 'hyp.*', v1")
    p.add_argument("-l", "--list", action="store_true", help="list the tests and stop")
    p.add_argument("-j", type=_count, default=runner.cores(), metavar="N", help="processes")
    p.add_argument("--seed", type=_seed, default=DEFAULT_SEED, metavar="S", help="first seed")
    p.add_argument("--seeds", type=_count, default=1, metavar="N", help="seeds a random test runs")
    p.add_argument("--sim", choices=(*work.SIMULATORS, "all"), default=work.SIMULATORS[0])
    p.add_argument(
        "-w",
        dest="waves",
        choices=("fail", "all"),
        default="fail",
        help="waveforms: of failing tests (the default), or -w: of all",
    )
    p.add_argument("-v", action="store_true", dest="verbose", help="list every hole")
    p.add_argument("-q", action="store_true", dest="quiet", help="failures and verdict only")
    p.add_argument("-x", action="store_true", dest="first", help="stop at the first failure")
    p.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML")
    p.add_argument("--json", type=Path, metavar="FILE", help="write JSON")
    p.add_argument("--vectors", type=Path, metavar="IN", help="run a vector file")
    p.add_argument("-o", type=Path, dest="output", metavar="OUT", help="its answers")
    p.add_argument("--hyp", metavar="FILE", help="test a guest-entry sequence: .S, words, ELF")
    return p


# What to run


def select(patterns: Sequence[str]) -> list[str]:
    """The cases that match any pattern: a name, a part of one between dots, or with * and ?."""
    if not patterns:
        return list(CASES)
    for pattern in patterns:
        if not any(_matches(name, pattern) for name in CASES):
            raise UsageError(f"no test matches {pattern!r}; python -m tb.run -l lists them")
    return [name for name in CASES if any(_matches(name, pattern) for pattern in patterns)]


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) or f".{pattern}." in f".{name}."


def _jobs(names: Sequence[str], seed: int, seeds: int) -> list[Job]:
    """Random cases run with every seed, the others once."""
    return [
        Job(name, seed + more)
        for name in names
        for more in range(seeds if CASES[name].random else 1)
    ]


def _simulators(asked: str, not_run: list[tuple[str, str]]) -> list[str]:
    """The simulators to run. One that is asked for by its name must be there."""
    if asked != "all":
        missing = work.adapter(asked).missing()
        if missing:
            raise UsageError(f"{asked} cannot run: {missing}")
        return [asked]
    missing_of = {name: work.adapter(name).missing() for name in work.SIMULATORS}
    not_run += [(name, why) for name, why in missing_of.items() if why]
    return [name for name, why in missing_of.items() if not why]


def _units(options: argparse.Namespace, names: list[str], simulators: list[str]) -> list[Unit]:
    # The short and certain ones first: with -x, a fault shows at once.
    jobs = _jobs(sorted(names, key=lambda n: CASES[n].random), options.seed, options.seeds)
    if options.waves == "all":
        hands, directory = work.deal(jobs, len(jobs)), SIM_BUILD / "waves"
    else:
        # Several units a process, so that none waits long for the last; one simulator start each.
        count = options.j * (3 if len(simulators) == 1 else 1)
        hands, directory = work.deal(jobs, count), None
    return [
        Unit(simulator, hand, options.hyp, options.first, directory)
        for simulator in simulators
        for hand in hands
    ]


# Running


def run_tests(options: argparse.Namespace, console: Console) -> int:
    """Run what the options select; print, write, return the exit code."""
    if options.output is not None:
        raise UsageError("-o OUT goes with --vectors IN")
    if options.hyp == "":
        raise UsageError("--hyp needs the name of a file")
    work.load_cases(options.hyp)
    names = [hyp.USER] if options.hyp and not options.patterns else select(options.patterns)
    if options.list:
        for name in names:
            case = CASES[name]
            print(f"{name:60} {case.source}{' (random)' if case.random else ''}")
        return PASS
    _check_writable(options.json, options.junit)
    found = Report(options.seed, whole=not options.patterns and not options.hyp)
    simulators = _simulators(options.sim, found.not_run)
    units = _units(options, names, simulators)
    coverage.legal()  # before the workers start, so that they inherit it
    found.total = sum(len(unit.jobs) for unit in units)
    start = time.perf_counter()
    try:
        _run_units(units, options, console, found)
    except KeyboardInterrupt:
        found.interrupted = True
    found.seconds = time.perf_counter() - start
    found.results = report.by_name(found.results)
    if options.json:
        report.write_json(options.json, found)
    if options.junit:
        report.write_junit(options.junit, found)
    report.print_summary(console, found, options.verbose)
    if found.interrupted:
        return COULD_NOT_RUN
    return PASS if found.passed else MISMATCH


def _check_writable(*paths: Path | None) -> None:
    """A run is not to be lost for a wrong path."""
    for path in paths:
        if path is not None and (path.is_dir() or not os.access(path.absolute().parent, os.W_OK)):
            raise UsageError(f"{path}: cannot be written; give a file in an existing directory")


def _run_units(
    units: list[Unit], options: argparse.Namespace, console: Console, found: Report
) -> None:
    with report.progress(console, found.total) as bar:
        workers = min(options.j, len(units))
        for _, results in runner.over_processes(work.run_unit, units, workers):
            for result in results:
                found.results.append(result)
                bar.advance(bar.task_ids[0])
                _show(bar.console, result, options)
                if result.status != work.PASSED and options.first:
                    return


def _show(console: Console, result: Result, options: argparse.Namespace) -> None:
    if not options.quiet:
        report.print_result(console, result)
    if result.status != work.PASSED:
        if result.waves is None:
            result.waves = _second_run(result, options.hyp)
        report.print_failure(console, result, options.hyp)


def _second_run(result: Result, user_sequence: str | None) -> Path | None:
    """The same test again, for its waveform."""
    job = Job(result.name, result.seed)
    unit = Unit(result.simulator, (job,), user_sequence, waves=SIM_BUILD / "waves")
    return work.run_unit(unit)[0].waves


# Vector files


def run_vectors(options: argparse.Namespace, console: Console) -> int:
    """The hardware's answers to a vector file, each held against the model's."""
    if options.output is None:
        raise UsageError("--vectors needs -o OUT, the file for the answers")
    if options.patterns or options.hyp or options.list or options.json or options.junit:
        raise UsageError("--vectors runs a file: leave out tests, -l, --hyp, --json and --junit")
    simulator = work.SIMULATORS[0] if options.sim == "all" else options.sim
    _simulators(simulator, [])
    wrong: list[str] = []
    answer = functools.partial(_hardware, simulator, options.j, wrong)
    start = time.perf_counter()
    count = vectors.run(options.vectors, options.output, answer)
    seconds = time.perf_counter() - start
    for line in wrong[:10]:
        console.print(line, markup=False)
    figures = f"{count:,} lines on {simulator}, {seconds:.1f} s: {escape(str(options.output))}"
    if wrong:
        console.print(f"[bold red]FAIL[/]: {len(wrong)} differences from the model, {figures}")
        return MISMATCH
    console.print(f"[bold green]PASS[/]: {figures}")
    return PASS


def _hardware(
    simulator: str, workers: int, wrong: list[str], chunks: Iterator[Chunk]
) -> Iterator[tuple[Chunk, Outputs]]:
    drive = functools.partial(lines.drive, simulator)
    for chunk, rows in runner.over_processes(drive, chunks, workers):
        answers = lines.outputs(rows)
        wrong += lines.differences(chunk, answers)
        yield chunk, answers


# The command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    # -w takes a value only with "=": what follows it is a test.
    options = parser().parse_intermixed_args(["-w=all" if word == "-w" else word for word in words])
    console = Console(highlight=False, soft_wrap=True)
    try:
        return run_vectors(options, console) if options.vectors else run_tests(options, console)
    except _COULD_NOT_RUN as error:
        return _stop(str(error))
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return COULD_NOT_RUN
    except OSError as error:
        return _stop(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        return _stop("interrupted")


_COULD_NOT_RUN = (
    UsageError,
    VectorError,
    SequenceError,
    A64Error,
    SimulatorError,
    runner.WorkerDied,
)


def _stop(why: str) -> int:
    print(f"error: {why}", file=sys.stderr)
    return COULD_NOT_RUN


if __name__ == "__main__":
    sys.exit(main())
