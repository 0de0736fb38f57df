"""`python -m tb.run`: the regression.

Exit code: 0 all passed, 1 a mismatch, 2 it could not run (nothing selected counts as that).
"""

import argparse
import functools
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from model import vectors
from model.a64 import A64Error
from model.hyp import SequenceError
from model.programs import ProgramError
from model.vectors import Chunk, Outputs, VectorError
from tb import lines, merge, regression, report, runner, testplan, viewer, work
from tb.arguments import (
    COULD_NOT_RUN,
    OutputConsole,
    Parser,
    UsageError,
    check_writable,
    count,
    seconds,
    stop,
    stop_at,
)
from tb.cases import hyp
from tb.cases.core import elf
from tb.cluster import ClusterError
from tb.journal import JournalError
from tb.last import Last
from tb.merge import MergeError
from tb.page import page
from tb.plan import select
from tb.report import Report
from tb.sims import SimulatorError

PASS, MISMATCH = 0, 1


def _seed(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _shard(text: str) -> tuple[int, int]:
    shard, slash, shards = text.partition("/")
    if not (slash and shard.isdecimal() and shards.isdecimal() and 1 <= int(shard) <= int(shards)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N with I from 1 to N")
    return int(shard), int(shards)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = Parser(
        prog="python -m tb.run",
        description="Hold the hardware against the reference model, cycle by cycle.",
        epilog="Exit code: 0 all passed, 1 a mismatch, 2 it could not run.",
    )
    p.add_argument("patterns", nargs="*", metavar="PATTERN", help="tests: directed, 'hyp.*', v1")
    p.add_argument(
        "-l",
        "--list",
        action="store_true",
        help="the test plan: requirement, tests, bins they hit, last result; -v names the bins",
    )
    p.add_argument("-j", type=count, default=runner.cores(), metavar="N", help="processes")
    p.add_argument(
        "--seed", type=_seed, default=regression.DEFAULT_SEED, metavar="S", help="first seed"
    )
    p.add_argument("--seeds", type=count, default=1, metavar="N", help="seeds a random test runs")
    p.add_argument(
        "--sim",
        choices=(*work.SIMULATORS, "all"),
        help="default: compiled, or pysim where there is no C++ compiler",
    )
    p.add_argument(
        "-w",
        dest="waves",
        choices=("fail", "all"),
        default="fail",
        help="waveforms: of failing tests (the default), or -w: of all",
    )
    p.add_argument(
        "-g",
        action="store_true",
        dest="view",
        help="open the waveform of the first test that failed, or of the first; keeps all, as -w",
    )
    p.add_argument("-v", action="store_true", dest="verbose", help="list every hole")
    p.add_argument("-q", action="store_true", dest="quiet", help="failures and verdict only")
    p.add_argument("-x", action="store_true", dest="first", help="stop at the first failure")
    p.add_argument("--rerun-failed", action="store_true", help="only what failed when it last ran")
    p.add_argument("--timeout", type=seconds, metavar="S", help="seconds that a test may take")
    p.add_argument("--resume", action="store_true", help="go on with the run that was stopped")
    p.add_argument("--dask", metavar="ADDRESS", help="run on the workers of a Dask scheduler")
    p.add_argument(
        "--shard", type=_shard, default=(1, 1), metavar="I/N", help="the I-th of N parts"
    )
    p.add_argument(
        "--merge", type=Path, nargs="+", metavar="FILE", help="all shards' --json files, as one run"
    )
    p.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML")
    p.add_argument("--json", type=Path, metavar="FILE", help="write JSON")
    p.add_argument("--report", action="store_true", help=f"write {page.PATH}, as any failure does")
    p.add_argument("--vectors", type=Path, metavar="IN", help="run a vector file")
    p.add_argument("-o", type=Path, dest="output", metavar="OUT", help="its answers")
    p.add_argument("--hyp", metavar="FILE", help="test a guest-entry sequence: .S, words, ELF")
    p.add_argument("--elf", metavar="FILE", help="run a program on the core: a static ELF")
    return p


# Running


def run_tests(options: argparse.Namespace, console: Console) -> int:
    """Run what the options select; print, write, return the exit code."""
    if options.output is not None:
        raise UsageError("-o OUT goes with --vectors IN")
    for option in ("hyp", "elf"):
        if getattr(options, option) == "":
            raise UsageError(f"--{option} needs the name of a file")
    if options.elf and options.dask:
        raise UsageError("--elf runs here: give it without --dask")
    work.load_cases(options.hyp, options.elf)
    own = [user for user, file in ((hyp.USER, options.hyp), (elf.USER, options.elf)) if file]
    names = own if own and not options.patterns else select(options.patterns)
    if options.list:
        why = "-l lists tests: give only tests, --hyp, --elf, --rerun-failed and -v with it"
        _only(options, why, "list", "patterns", "hyp", "elf", "rerun_failed", "verbose", "j")
        if options.rerun_failed:
            names = list(dict.fromkeys(case for _, case, _ in regression.failed(names, options)))
        testplan.show(console, names, Last(regression.LAST), options.verbose)
        return PASS
    if options.dask and options.timeout:
        raise UsageError("--timeout ends processes of this machine: leave it out with --dask")
    check_writable(options.json, options.junit)
    if options.view:
        _prepare_view(options)
    not_run: list[tuple[str, str]] = []
    plan = regression.plan(names, options, not_run)
    with regression.run(plan, options, console, not_run) as found:
        code = _end(found, options, console)
    if options.view and not found.interrupted:
        _view(found)
    return code


def _prepare_view(options: argparse.Namespace) -> None:
    """A run is not to be lost for a viewer that is not there. UsageError."""
    if why := viewer.missing():
        raise UsageError(f"-g: {why}")
    options.waves = "all"


def _view(found: Report) -> None:
    """Open the waveform of the first test that failed, or of the first."""
    waves = [result.waves for result in found.bad or found.results if result.waves]
    if not waves:
        print("-g: the tests that failed have left no waveform", file=sys.stderr)
        return
    viewer.show(waves[0])


def merge_shards(options: argparse.Namespace, console: Console) -> int:
    """The report of the whole run from those of its shards; returns its exit code."""
    why = "--merge reads files: give only --json, --junit, --report, -v and -q with it"
    _only(options, why, "merge", "json", "junit", "report", "verbose", "quiet", "j")
    check_writable(options.json, options.junit)
    found = merge.merge(options.merge)
    for result in found.bad:
        report.print_failure(console, result, found.plan)
    return _end(found, options, console)


def _end(found: Report, options: argparse.Namespace, console: Console) -> int:
    if options.json:
        report.write_json(options.json, found)
    if options.junit:
        report.write_junit(options.junit, found)
    if not options.quiet:
        report.print_tables(console, found)
    wrong = found.bad or found.illegal
    written = page.write(found) if options.report or wrong else None
    report.print_summary(console, found, options.verbose, written)
    if found.interrupted:
        return COULD_NOT_RUN
    return PASS if found.passed else MISMATCH


def _only(options: argparse.Namespace, why: str, *allowed: str) -> None:
    """UsageError if there are options beside those allowed."""
    plain = vars(parser().parse_args([]))
    if any(getattr(options, name) != plain[name] for name in plain.keys() - set(allowed)):
        raise UsageError(why)


# Vector files


def run_vectors(options: argparse.Namespace, console: Console) -> int:
    """The hardware's answers to a vector file, each held against the model's."""
    if options.output is None:
        raise UsageError("--vectors needs -o OUT, the file for the answers")
    why = "--vectors runs a file: give only -o, --sim, -j and -q with it"
    _only(options, why, "vectors", "output", "sim", "j", "quiet")
    (simulator,) = regression.simulators(None if options.sim == "all" else options.sim, [])
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
    for chunk, answers in runner.over_processes(drive, chunks, workers):
        wrong += lines.differences(chunk, answers)
        yield chunk, answers


# The command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    # -w takes a value only with "=": what follows it is a test.
    options = parser().parse_intermixed_args(["-w=all" if word == "-w" else word for word in words])
    console = OutputConsole(highlight=False, soft_wrap=True)
    try:
        if options.vectors:
            return run_vectors(options, console)
        if options.merge:
            return merge_shards(options, console)
        return run_tests(options, console)
    except _COULD_NOT_RUN as error:
        return stop(str(error))
    except OSError as error:
        return stop_at(error)
    except KeyboardInterrupt:
        return stop("interrupted")


_COULD_NOT_RUN = (
    UsageError,
    ClusterError,
    JournalError,
    MergeError,
    VectorError,
    SequenceError,
    ProgramError,
    A64Error,
    SimulatorError,
    runner.WorkerDied,
)


if __name__ == "__main__":
    sys.exit(main())
