"""`python -m tb.mutate`: how many small changes of the netlist the regression's tests find.

Exit code: 0 nearly all are killed by a test or proved equivalent (THRESHOLD), 1 they are not, 2 it
could not run (being interrupted counts as that).
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from tb import report, runner
from tb.arguments import (
    COULD_NOT_RUN,
    OutputConsole,
    Parser,
    UsageError,
    bar,
    check_writable,
    count,
    stop,
    stop_at,
)
from tb.mutation import bench, core, equivalence, unit
from tb.mutation.mutants import CORE_TARGET, TARGETS, TOP, UNIT_TARGET, Mutant, draw
from tb.sims import SimulatorError, cxx

P = TypeVar("P")

ENOUGH, TOO_FEW = 0, 1

THRESHOLD = 0.98  #: of the mutants
COUNT = 100  #: if no other is given
SEED = 1

TOGETHER = 250  #: mutants in one netlist: more take longer to compile, and each cycle longer
CHUNKS = {UNIT_TARGET.name: 32, CORE_TARGET.name: 8}  #: mutants of one piece of work
ASKED = 4  #: mutants that the solver is asked about in one

KILLED, EQUIVALENT, SURVIVES, OPEN = "killed", "equivalent", "survives", "not run"


@dataclass(slots=True)
class Fate:
    """What became of a mutant."""

    mutant: Mutant
    build: Path  #: the directory with its netlist
    status: str = OPEN
    by: str = ""  #: the test that killed it


@dataclass(slots=True)
class Found:
    """A run."""

    count: int
    seed: int
    fates: list[Fate] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False

    def of(self, *statuses: str) -> list[Fate]:
        """The mutants of which one of these is said."""
        return [fate for fate in self.fates if fate.status in statuses]

    @property
    def score(self) -> float:
        """The share that is killed or proved equivalent, of those that have been decided."""
        decided = len(self.of(KILLED, EQUIVALENT, SURVIVES))
        return len(self.of(KILLED, EQUIVALENT)) / decided if decided else 0.0

    @property
    def enough(self) -> bool:
        """Whether all have been decided, and as well as they have to be."""
        return not self.interrupted and not self.of(OPEN) and self.score >= THRESHOLD


# The stages: what one process does about some mutants of one build

Piece = tuple[str, Path, tuple[Mutant, ...]]
Test = tuple[Piece, str]  #: the same with a test of the core
Answers = dict[Mutant, str | None]


def _build(piece: Piece) -> Path:
    target, _, mutants = piece
    return (unit if target == UNIT_TARGET.name else core).build(mutants)


def _first(piece: Piece) -> Answers:
    target, place, mutants = piece
    if target == UNIT_TARGET.name:
        return unit.in_lanes(place, mutants, unit.FIRST)
    return dict(core.first(place, mutants))


def _ask(piece: Piece) -> dict[Mutant, bool]:
    _, _, mutants = piece
    return dict(zip(mutants, equivalence.proved(mutants, whole=False), strict=True))


def _ask_whole(piece: Piece) -> dict[Mutant, bool]:
    _, _, mutants = piece
    return dict(zip(mutants, equivalence.proved(mutants), strict=True))


def _last(test: Test) -> Answers:
    (target, place, mutants), name = test
    if target == CORE_TARGET.name:
        return core.later(place, mutants, name)
    answers = unit.in_lanes(place, mutants, unit.LATER)
    return {mutant: by or unit.alone(place, mutant) for mutant, by in answers.items()}


def _tests(fates: Iterable[Fate]) -> Iterator[Test]:
    """The last stage: of the core a test at a time, as it is first run on the core itself."""
    for piece in _pieces(fates, _last_size):
        names = core.others() if piece[0] == CORE_TARGET.name else ["all"]
        yield from ((piece, name) for name in names)


def _pieces(fates: Iterable[Fate], sizes: Callable[[str], int]) -> Iterator[Piece]:
    groups: dict[tuple[str, Path], list[Mutant]] = {}
    for fate in fates:
        groups.setdefault((fate.mutant.target, fate.build), []).append(fate.mutant)
    for (target, place), mutants in groups.items():
        size = sizes(target)
        for at in range(0, len(mutants), size):
            yield target, place, tuple(mutants[at : at + size])


def _together(target: str) -> int:
    return TOGETHER


def _chunk(target: str) -> int:
    return CHUNKS[target]


def _asked(target: str) -> int:
    return ASKED


def _one(target: str) -> int:
    return 1


def _last_size(target: str) -> int:
    return CHUNKS[target] if target == UNIT_TARGET.name else TOGETHER


# The run


def run(found: Found, targets: Sequence[str], workers: int, bar: "_Bar") -> None:
    """Draw the mutants, build them, and find out what becomes of each. SimulatorError."""
    found.fates += [Fate(mutant, Path()) for mutant in _draw(found, targets)]
    of = {fate.mutant: fate for fate in found.fates}
    for piece, place in _work(_build, _pieces(found.fates, _together), workers, bar, "building"):
        for mutant in piece[2]:
            of[mutant].build = place
    first = _pieces(found.of(OPEN), _chunk)
    for _, answers in _work(_first, first, workers, bar, "first tests"):
        _kill(of, answers)
    asked = _pieces(found.of(OPEN), _asked)
    for _, answers in _work(_ask, asked, workers, bar, "the solver"):
        _prove(of, answers)
    for _, answers in _work(_last, _tests(found.of(OPEN)), workers, bar, "other tests"):
        _kill(of, answers)
    hard = _pieces([fate for fate in found.of(OPEN) if _is_part(fate.mutant)], _one)
    for _, answers in _work(_ask_whole, hard, workers, bar, "the solver"):
        _prove(of, answers)
    for fate in found.of(OPEN):
        fate.status = SURVIVES


def _is_part(mutant: Mutant) -> bool:
    """Whether there is more to the design than what the solver has been asked about."""
    return equivalence.PARTS[mutant.target] != TOP


def _prove(of: Mapping[Mutant, Fate], answers: Mapping[Mutant, bool]) -> None:
    for mutant, same in answers.items():
        if same:
            of[mutant].status = EQUIVALENT


def _kill(of: Mapping[Mutant, Fate], answers: Answers) -> None:
    for mutant, by in answers.items():
        if by and of[mutant].status == OPEN:
            of[mutant].status, of[mutant].by = KILLED, by


def _draw(found: Found, targets: Sequence[str]) -> Iterator[Mutant]:
    for at, name in enumerate(targets):
        count = found.count // len(targets) + (at < found.count % len(targets))
        yield from draw(TARGETS[name], count, found.seed)


def _work(
    do: Callable[[P], Any], pieces: Iterable[P], workers: int, bar: "_Bar", name: str
) -> Iterator[tuple[P, Any]]:
    every = list(pieces)
    bar.begin(name, len(every))
    if every:
        for each in runner.over_processes(do, every, min(workers, len(every))):
            bar.advance()
            yield each


class _Bar:
    """How far the run is: on a terminal only."""

    def __init__(self, console: Console):
        self._bar = bar(console)
        self._task = self._bar.add_task("drawing", total=None)

    def __enter__(self) -> "_Bar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, name: str, total: int) -> None:
        """A stage with so many pieces of work begins."""
        self._bar.reset(self._task, description=name, total=total)
        self._bar.refresh()

    def advance(self) -> None:
        """One more is done."""
        self._bar.advance(self._task)
        self._bar.refresh()


# The report


def _where(mutant: Mutant) -> str:
    return ", ".join(mutant.places) or "no line of its own"


def print_report(console: Console, found: Found) -> None:
    """What kills, the survivors with their places, and the verdict as the last line."""
    for target in TARGETS:
        fates = [fate for fate in found.fates if fate.mutant.target == target]
        if fates:
            counts = {s: sum(f.status == s for f in fates) for s in (KILLED, EQUIVALENT, SURVIVES)}
            said = ", ".join(f"{count} {status}" for status, count in counts.items())
            console.print(f"{target}: {len(fates)} mutants: {said}", markup=False)
    for fate in found.of(SURVIVES):
        console.print(f"survives: {_where(fate.mutant)}: {fate.mutant.what}", markup=False)
    console.print(_verdict(found))


def _verdict(found: Found) -> str:
    good, bad = ("[bold green]PASS[/]", "[bold red]FAIL[/]")
    word = good if found.enough else bad
    killed, same = len(found.of(KILLED)), len(found.of(EQUIVALENT))
    survive, undecided = len(found.of(SURVIVES)), len(found.of(OPEN))
    left = f", {undecided} not decided" if undecided else ""
    stopped = "interrupted: " if found.interrupted else ""
    return (
        f"{word}: {stopped}{100 * found.score:.1f} % of {len(found.fates)} mutants: "
        f"{killed} killed, {same} proved equivalent, {survive} survive{left}, "
        f"seed {found.seed}, {found.seconds:.1f} s"
    )


def as_json(found: Found) -> dict[str, Any]:
    """The report for programs. What it says of one seed is the same each time, but for seconds."""
    return {
        "verdict": "pass" if found.enough else "fail",
        "interrupted": found.interrupted,
        "score": found.score,
        "seed": found.seed,
        "seconds": found.seconds,
        "mutants": [
            {
                "target": fate.mutant.target,
                "number": fate.mutant.number,
                "places": fate.mutant.places,
                "what": fate.mutant.what,
                "command": fate.mutant.command,
                "status": fate.status,
                "by": fate.by,
            }
            for fate in found.fates
        ],
    }


# The command


def _seed(text: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2^31 - 1")
    return value


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = Parser(
        prog="python -m tb.mutate",
        description="Change the hardware a little, many times, and see whether a test finds it.",
        epilog=f"Exit code: 0 at least {100 * THRESHOLD:.0f} % are killed or proved equivalent, "
        "1 fewer, 2 it could not run.",
    )
    p.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"{' or '.join(TARGETS)} (default: both)"
    )
    p.add_argument("-n", type=count, default=COUNT, metavar="N", help="mutants")
    p.add_argument("--seed", type=_seed, default=SEED, metavar="S", help="which ones")
    p.add_argument("-j", type=count, default=runner.cores(), metavar="N", help="processes")
    p.add_argument("--json", type=Path, metavar="FILE", help="write JSON")
    return p


def _check(options: argparse.Namespace) -> list[str]:
    """The targets. UsageError; SimulatorError if a tool is missing."""
    for name in options.targets:
        if name not in TARGETS:
            raise UsageError(f"{name!r} is no target: there are {' and '.join(TARGETS)}")
    check_writable(options.json)
    if why := cxx.missing():
        raise SimulatorError(why)
    return [name for name in TARGETS if not options.targets or name in options.targets]


def _run(options: argparse.Namespace, console: Console) -> int:
    targets = _check(options)
    found = Found(options.n, options.seed)
    start = time.perf_counter()
    try:
        with _Bar(console) as bar:
            run(found, targets, options.j, bar)
    except KeyboardInterrupt:
        found.interrupted = True
    found.seconds = time.perf_counter() - start
    if options.json:
        report.write(options.json, json.dumps(as_json(found), indent=1) + "\n")
    print_report(console, found)
    if found.interrupted:
        return COULD_NOT_RUN
    return ENOUGH if found.enough else TOO_FEW


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = parser().parse_args(argv)
    try:
        return _run(options, OutputConsole(highlight=False, soft_wrap=True))
    except (UsageError, SimulatorError, bench.BrokenDesign, runner.WorkerDied) as error:
        return stop(str(error))
    except OSError as error:
        return stop_at(error)
    except KeyboardInterrupt:
        return stop("interrupted")


if __name__ == "__main__":
    sys.exit(main())
