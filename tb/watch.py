"""`python -m tb.watch SEQUENCE.S`: the verdict on a guest-entry sequence, anew after each change.

On a terminal it is one screen, drawn again; elsewhere the lines of one verdict follow those of the
other. The verdict is that of `python -m tb.run --hyp SEQUENCE.S`. What the file includes is not
watched.

It goes on until Ctrl-C. Exit code: that of the last verdict, 0 pass, 1 a mismatch, 2 it could not
be checked; 2 as well before the first verdict, and if there is nothing to begin with.
"""

import argparse
import contextlib
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console
from rich.control import Control
from rich.markup import escape
from rich.segment import ControlType
from rich.text import Text
from watchfiles import watch as changes_in

from model.a64 import A64Error
from model.hyp import SequenceError
from model.hyp.assemble import NAMES, NO_ASSEMBLER, find_assemblers
from tb import cases, failures, report, runner, work
from tb.arguments import COULD_NOT_RUN, OutputConsole, Parser, UsageError, stop, stop_at
from tb.cases import hyp
from tb.plan import Plan
from tb.report import Report
from tb.run import MISMATCH, PASS
from tb.runner import Processes, Task
from tb.sims import SimulatorError
from tb.testbench import Simulator
from tb.work import Job, Result, Unit

#: Milliseconds: without a new event a change counts as done, or at the latest after SETTLED; and
#: the file is looked at every LOOK, whether there are events or not. A link's target has none here.
STEP, SETTLED, LOOK = 20, 100, 500

#: Rows of the screen that the lines of the failure, the command to reproduce and the verdict do not
#: have: the file, a blank line, the test's name, a blank line, what is being waited for.
FRAME = 5


class Stamp(NamedTuple):
    """What of a file is another when it has been written, replaced or allowed to be read."""

    inode: int
    mode: int
    size: int
    changed: int  #: when, in ns


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one state of the file."""

    code: int  #: the exit code, if it is the last
    text: str  #: one line, in Rich's markup
    found: Report | None = None  #: if it could be checked


class _Changed(Exception):
    """The file is not what is being checked any more."""


# The file


def stamp(path: Path) -> Stamp | None:
    """None if there is no such file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return Stamp(found.st_ino, found.st_mode, found.st_size, found.st_ctime_ns)


def _require_file(file: str, seen: Stamp | None) -> Stamp:
    if seen is None:
        raise SequenceError(f"{file}: no such file")
    if not stat.S_ISREG(seen.mode):
        raise SequenceError(f"{file}: not a file; a sequence is source, words or an ELF object")
    return seen


def wait_for_change(path: Path, seen: Stamp | None) -> None:
    """Come back when the file is not as it was. Its directory is watched: editors replace files."""
    while stamp(path) == seen:
        # Where nothing tells of changes (the directory is gone, too many are watched): look.
        with contextlib.suppress(OSError, RuntimeError):
            _wait_for_events(path, seen)
            return
        time.sleep(LOOK / 1000)


def _wait_for_events(path: Path, seen: Stamp | None) -> None:
    events = changes_in(
        path.parent,
        watch_filter=None,  # its own leaves out directories by their names
        debounce=SETTLED,
        step=STEP,
        rust_timeout=LOOK,
        yield_on_timeout=True,
        recursive=False,
    )
    with contextlib.closing(events):
        for _ in events:
            if stamp(path) != seen:
                return


# The verdict


def check(file: str, simulator: str, seen: Stamp | None) -> Verdict:
    """The verdict on a file. _Changed if it is another one before there is any."""
    try:
        if _require_file(file, seen).size == 0:
            raise SequenceError(f"{file}: the file is empty: write the sequence there")
        plan = Plan((simulator,), (hyp.USER,), hyp=file, tests=1)
        result = _run(Unit(simulator, (Job(hyp.USER, plan.seed),), file), Path(file), seen)
    except (SequenceError, A64Error, SimulatorError, runner.WorkerDied, OSError) as error:
        return Verdict(COULD_NOT_RUN, f"[bold red]error[/]: {escape(str(error))}")
    found = Report(plan, seconds=result.seconds)
    found.add(result)
    return Verdict(PASS if found.passed else MISMATCH, report.verdict(found), found)


def _run(unit: Unit, path: Path, seen: Stamp | None) -> Result:
    """In a process of its own: it has all that is loaded here, and nothing of an earlier file."""
    queue = [Task(unit)]

    def take() -> Task[Unit] | None:
        return queue.pop() if queue else None

    def tick() -> None:
        if stamp(path) != seen:
            raise _Changed

    with contextlib.closing(Processes(work.run_unit, 1)) as crew:
        for _, results in runner.as_done(crew, take, tick):
            if isinstance(results, BaseException):
                raise results
            return results[0] if results else work.killed(unit, 1)
    raise AssertionError("one task gives one result")


async def _nothing(simulator: Simulator) -> None:
    await simulator.reset()


def prepare() -> str:
    """Load what every check needs, once for all. The simulator."""
    cases.load()
    simulator = work.default_simulator()
    with contextlib.suppress(SimulatorError):  # it says so at each check
        work.adapter(simulator).run(_nothing)
    return simulator


# The screen


class Screen:
    """Where verdicts go: drawn in place on a terminal, else one after the other."""

    def __init__(self, console: Console, file: str):
        self._console, self._file = console, file
        self._drawn = console.file.isatty()

    def show(self, verdict: Verdict, seen: Stamp | None) -> None:
        """A verdict, and what it is of."""
        changed = time.strftime("%H:%M:%S", time.localtime(seen and seen.changed / 1e9))
        if self._drawn:
            self._console.clear()
        self._console.print(f"{self._file}, changed {changed}", markup=False)
        self._console.print(verdict.text)
        if verdict.found:
            self._failures(verdict.found)
        self._console.print()
        self._last_line("waiting for a change; Ctrl-C ends")

    def checking(self) -> None:
        """The file is another one than what is shown."""
        if self._drawn:
            erase = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))
            self._console.control(erase)
        self._last_line(f"checking {self._file}")

    def end(self) -> None:
        """Leave the last line."""
        if self._drawn:
            self._console.print()

    def _last_line(self, text: str) -> None:
        if self._drawn:
            self._console.print(
                text,
                end="",
                style="dim",
                markup=False,
                no_wrap=True,
                overflow="ellipsis",
                soft_wrap=False,
            )

    def _failures(self, found: Report) -> None:
        for result in found.bad:
            shown = fitted(self._console, result, found) if self._drawn else result
            report.print_failure(self._console, shown, found.plan)


def fitted(console: Console, result: Result, found: Report) -> Result:
    """A failing result with as much of what it says as the screen has room for, the findings first.

    What is cut is counted; the command to reproduce, which is under it, shows all.
    """
    command = f"  reproduce: {report.reproduce(result, found.plan)}"
    wrapped = (command, Text.from_markup(report.verdict(found)).plain)  # by the terminal
    room = console.height - FRAME - sum(-(-cell_len(line) // console.width) for line in wrapped)
    rows = [row for line in _findings_first(result.failure) for row in _rows(console, line)]
    if len(rows) > room:
        kept = rows[: max(0, room - 1)]
        rows = [*kept, f"... {len(rows) - len(kept)} more lines; this shows all:"]
    return replace(result, failure="\n".join(rows))


def _findings_first(failure: str) -> list[str]:
    lines = failure.splitlines()
    if failures.BEFORE_IT not in lines:
        return lines
    at = lines.index(failures.BEFORE_IT)
    events = list(takewhile(lambda line: line.startswith(" "), lines[at + 1 :]))
    findings = lines[at + 1 + len(events) :]
    return [*lines[:at], *findings, lines[at], *events]


def _rows(console: Console, line: str) -> Iterator[str]:
    """A line in rows of the screen, which `report.print_failure` indents by two."""
    text = line.lstrip()
    indent = " " * (len(line) - len(text))
    width = max(20, console.width - len(indent) - 4)
    for at, row in enumerate(Text(text).wrap(console, width)):
        yield f"{indent}{'  ' if at else ''}{row.plain}"


# The command


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = Parser(
        prog="python -m tb.watch",
        description="Check a guest-entry sequence each time that its file changes.",
        epilog="Exit code, after Ctrl-C: that of the last verdict, 0 pass, 1 a mismatch, "
        "2 it could not be checked.",
    )
    p.add_argument("file", metavar="SEQUENCE", help="as of tb.run --hyp: .S, words, ELF")
    return p


def _require_start(file: str) -> None:
    """UsageError or SequenceError if no change of the file alone can mend it."""
    if file in NAMES:
        raise UsageError(f"{file} is a sequence of the project's: for a file give ./{file}")
    _require_file(file, stamp(Path(file)))
    if Path(file).suffix in (".S", ".s") and not find_assemblers():
        raise UsageError(f"{file}: {NO_ASSEMBLER}")


def watch(file: str, console: Console) -> int:
    """Show verdicts until Ctrl-C; the code of the last one."""
    screen, code, path = Screen(console, file), COULD_NOT_RUN, Path(file)
    with contextlib.suppress(KeyboardInterrupt):
        screen.checking()
        simulator = prepare()
        while True:
            seen = stamp(path)
            try:
                verdict = check(file, simulator, seen)
            except _Changed:
                continue
            code = verdict.code
            screen.show(verdict, seen)
            wait_for_change(path, seen)
            screen.checking()
    screen.end()
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = parser().parse_args(argv)
    if sys.stdout is None:
        return stop("standard output is closed: there is nothing to show the verdict on")
    try:
        _require_start(options.file)
        return watch(options.file, OutputConsole(highlight=False, soft_wrap=True))
    except (UsageError, SequenceError) as error:
        return stop(str(error))
    except OSError as error:
        return stop_at(error)


if __name__ == "__main__":
    sys.exit(main())
