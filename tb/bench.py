"""`python -m tb.bench`: how fast things are, side by side in one run.

Machines are shared and noisy, so what counts are the ratios: every round measures everything once,
one after the other, and each line gives the median of the rounds with the lowest and the highest.
The core on the slow simulators is measured in the first round alone.
Then cycles, lanes and seeds grow on the compiled simulator.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress, TextColumn

from model.columns import COLUMNS, Kind, Lines, to_lines
from model.machine import PE, derive, take
from model.planes import Planes
from tb import growth, plot, qemu, report, runner, work
from tb.arguments import Parser, UsageError, check_writable, stop, stop_at
from tb.core import speed
from tb.core.speed import Measure
from tb.growth import Series
from tb.sims import SimulatorError, compiled
from tb.sims.builds import SIM_BUILD
from tb.timed import Process, Timed

ROUNDS = 5
LANES = compiled.Adapter.lanes  #: of the sequence that all simulators play
STEPS = 32  #: of it that the compiled simulator plays in one round
SOME, FEW = 512, 4  #: lanes and steps of it that the others play in one round
STATES = 1 << 15  #: of an array: its intermediate results stay in the cache
REPEATED = 20  #: times that arrays and planes are evaluated in one round
SINGLES = 300  #: states evaluated one at a time in one round
TENFOLD = 4  #: times that everything grows
PICTURES = SIM_BUILD / "bench"


# The rules


def _random_lines(count: int) -> Lines:
    """Lines with every column random, legal or not."""
    rng = np.random.default_rng(1)
    high = {Kind.EVENT: 10, Kind.LAST: 6, Kind.EL: 4, Kind.FLAG: 2}
    values: dict[str, Any] = {}
    for column in COLUMNS:
        if column.kind is Kind.REGISTER:
            values[column.name] = rng.integers(0, 1 << 63, count).astype(np.uint64)
        else:
            values[column.name] = rng.integers(0, high[column.kind], count)
    return to_lines(values)


def _each(part: Any, make: Callable[[Any], Any]) -> Any:
    return replace(part, **{f.name: make(getattr(part, f.name)) for f in fields(part)})


def _planes(values: Any) -> Planes:
    return Planes.of(values, int(values.max()).bit_length())


def _state(pe: PE) -> object:
    """ELd, enables and step state, from whole registers."""
    return derive(pe.controls(), pe.el, pe.d, pe.ss)


def _rate(work_done: int, do: Callable[[], object]) -> float:
    start = time.perf_counter()
    do()
    return work_done / (time.perf_counter() - start)


def _rules() -> dict[str, Measure]:
    """States and events, in one thread."""
    lines, more = _random_lines(STATES), _random_lines(LANES)
    of = [itemgetter(at) for at in range(SINGLES)]
    singles = [(_each(lines.pe, one), _each(lines.given, one)) for one in of]
    pe, given = _each(more.pe, _planes), _each(more.given, _planes)

    def all_of(size: int, function: Callable[..., object], *arguments: Any) -> Measure:
        return lambda: _rate(
            size * REPEATED, lambda: [function(*arguments) for _ in range(REPEATED)]
        )

    return {
        "states/s, one at a time": lambda: _rate(
            SINGLES, lambda: [_state(pe) for pe, _ in singles]
        ),
        "states/s, arrays": all_of(STATES, _state, lines.pe),
        "states/s, planes": all_of(LANES, _state, pe),
        "events/s, one at a time": lambda: _rate(
            SINGLES, lambda: [take(*each) for each in singles]
        ),
        "events/s, arrays": all_of(STATES, take, lines.pe, lines.given),
        "events/s, planes": all_of(LANES, take, pe, given),
    }


# The simulators


def _simulators() -> dict[str, Measure]:
    """Those that are installed: checked cycles of the same sequence."""
    names = [name for name in work.SIMULATORS if not work.adapter(name).missing()]
    return {f"cycles/s, {name}": _simulator(name) for name in names}


def _simulator(name: str) -> Measure:
    task = _whole() if name == "compiled" else Timed(1, LANES, FEW, min(SOME, LANES))
    return lambda: float(work.adapter(name).run(task, None).rate)


def _whole() -> Timed:
    return Timed(1, LANES, STEPS, LANES)


def _a_core(processes: Sequence[Process]) -> float:
    """What the compiled simulator has on each core while it runs on all of them."""
    for process in processes:
        process.start(_whole())
    return statistics.mean(process.result()[0].rate for process in processes)


# The lines

COMPILED, SIDE_BY_SIDE = "cycles/s, compiled", "cycles/s a core, compiled"

#: what each line is compared with
REFERENCES = {
    "states/s, arrays": ["states/s, one at a time"],
    "states/s, planes": ["states/s, arrays"],
    "events/s, arrays": ["events/s, one at a time"],
    "events/s, planes": ["events/s, arrays"],
    "cycles/s, icarus": ["cycles/s, pysim"],
    "cycles/s, verilator": ["cycles/s, pysim", "cycles/s, icarus"],
    COMPILED: ["cycles/s, pysim", "cycles/s, icarus"],
    SIDE_BY_SIDE: [COMPILED],
    **speed.REFERENCES,
}


@dataclass(frozen=True, slots=True)
class Line:
    """What the rounds gave for one measurement."""

    name: str
    rates: list[float]
    ratios: dict[str, list[float]]  #: to its references, round by round

    def text(self) -> str:
        """As it is printed: a line for each reference."""
        rate = f"{self.name:27} {_spread(self.rates):32}"
        compared = [
            f"x {_spread(ratios)} {name.partition(', ')[2]}" for name, ratios in self.ratios.items()
        ]
        first, *others = compared or [""]
        return "\n".join([f"{rate} {first}".rstrip(), *(f"{'':60} {other}" for other in others)])


def _spread(values: Sequence[float]) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    if len(values) == 1:
        return _short(middle)
    return f"{_short(middle)} ({_short(low)} to {_short(high)})"


def _short(value: float) -> str:
    """Three digits of a number, or what is before its point."""
    if value >= 1e6:
        return f"{_short(value / 1e6)} M"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def lines(rates: Mapping[str, list[float]]) -> list[Line]:
    """With the ratios of what was measured in the same rounds, the first ones."""
    return [
        Line(
            name,
            values,
            {
                reference: [a / b for a, b in zip(values, rates[reference], strict=False)]
                for reference in REFERENCES.get(name, [])
                if reference in rates
            },
        )
        for name, values in rates.items()
    ]


# The run


def measure(rounds: int, step: Callable[[str], None]) -> list[Line]:
    """Measure everything `rounds` times, in turn. SimulatorError if a simulator cannot run."""
    functions = _rules() | _simulators()
    with contextlib.ExitStack() as stack:
        if COMPILED in functions:
            processes = [stack.enter_context(Process()) for _ in range(runner.cores())]
            functions[SIDE_BY_SIDE] = lambda: _a_core(processes)
        functions |= speed.measures()
        rates: dict[str, list[float]] = {name: [] for name in functions}
        for number in range(rounds):
            for name, once in functions.items():
                if number and name in speed.FIRST_ROUND:
                    continue
                step(name)
                rates[name].append(once())
    return lines(rates)


def grow(every: Sequence[Series], step: Callable[[str], None]) -> None:
    """Measure every size. SimulatorError if one cannot be measured."""
    for each in every:
        for size in each.tasks:
            step(f"{each.name}: {size:,}")
            growth.measure(each, size)


def _run(step: Callable[[str], None]) -> dict[str, Any]:
    """Measure and print; returns all that was measured."""
    missing = _missing()
    found = measure(ROUNDS, step)
    print(f"median of {ROUNDS} rounds (lowest to highest), on {runner.cores()} cores")
    for line in found:
        print(line.text())
    for name, why in missing.items():
        print(f"not run: {name}: {why}")
    compiles = any(line.name == COMPILED for line in found)
    every = growth.series(TENFOLD, LANES) if compiles else []
    grow(every, step)
    for each in every:
        print("\n".join(each.lines()))
    if every:
        print(_plotted(every))
    return {
        "rounds": {line.name: {"rates": line.rates, "ratios": line.ratios} for line in found},
        "growth": {each.name: [asdict(point) for point in each.points] for each in every},
        "not run": missing,
    }


def _missing() -> dict[str, str]:
    """What is not measured as it is not installed, and why."""
    said = {
        "qemu": qemu.missing(),
        **{name: work.adapter(name).missing() for name in work.SIMULATORS},
    }
    return {name: why for name, why in said.items() if why}


def _plotted(every: Sequence[Series]) -> str:
    if why := plot.missing():
        return f"not plotted: {why}"
    return "plotted: " + " ".join(os.path.relpath(path) for path in plot.write(every, PICTURES))


@contextlib.contextmanager
def _steps() -> Iterator[Callable[[str], None]]:
    """Says on a terminal what is being measured."""
    console = Console()
    shown = Progress(
        TextColumn("{task.description}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        auto_refresh=False,  # a thread would be measured, too
    )
    with shown:
        task = shown.add_task("")
        yield lambda name: shown.update(task, description=f"measuring {name}", refresh=True)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = Parser(
        prog="python -m tb.bench",
        description="How fast everything is, side by side, and how time and memory grow.",
        epilog="Exit code: 0 done, 2 it could not run.",
    )
    p.add_argument("--json", type=Path, metavar="FILE", help="write all that is measured")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each measurement; 0, or 2 if it could not run."""
    options = parser().parse_args(argv)
    try:
        check_writable(options.json)
        with _steps() as step:
            found = _run(step)
        if options.json:
            report.write(options.json, json.dumps(found, indent=2) + "\n")
        print(end="", flush=True)
    except (UsageError, SimulatorError) as error:
        return stop(str(error))
    except OSError as error:
        return stop_at(error)
    except KeyboardInterrupt:
        return stop("interrupted")
    return 0


if __name__ == "__main__":
    sys.exit(main())
