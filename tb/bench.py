"""`python -m tb.bench`: how fast things are, side by side in one run.

Machines are shared and noisy, so what counts are the ratios: every round measures everything once,
one after the other, and each line gives the median of the rounds with the lowest and the highest.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from model.columns import COLUMNS, Kind, Lines, to_lines
from model.files import writing
from model.machine import PE, derive, take
from tb import work
from tb.lines import TimedDrive
from tb.sims import SimulatorError

ROUNDS = 5
CYCLES = 4000  #: of a simulator in one round
STATES = 1 << 15  #: of an array: its intermediate results stay in the cache
ARRAYS = 20  #: evaluated in one round
SINGLES = 300  #: states evaluated one at a time in one round


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


def _at(part: Any, index: int) -> Any:
    return type(part)(*(getattr(part, f.name)[index] for f in fields(part)))


def _state(pe: PE) -> object:
    """ELd, enables and step state, from whole registers."""
    return derive(pe.controls(), pe.el, pe.d, pe.ss)


def _rate(work_done: int, do: Callable[[], object]) -> float:
    start = time.perf_counter()
    do()
    return work_done / (time.perf_counter() - start)


def measurements() -> dict[str, Callable[[], float]]:
    """Name to a function that measures once, in units a second."""
    lines = _random_lines(STATES)
    singles = [(_at(lines.pe, at), _at(lines.given, at)) for at in range(SINGLES)]
    many, few = STATES * ARRAYS, SINGLES
    return {
        "states/s, one at a time": lambda: _rate(few, lambda: [_state(pe) for pe, _ in singles]),
        "states/s, arrays": lambda: _rate(many, lambda: [_state(lines.pe) for _ in range(ARRAYS)]),
        "events/s, one at a time": lambda: _rate(few, lambda: [take(*each) for each in singles]),
        "events/s, arrays": lambda: _rate(
            many, lambda: [take(lines.pe, lines.given) for _ in range(ARRAYS)]
        ),
        **{
            f"cycles/s, {name}": _simulator(name)
            for name in work.SIMULATORS
            if not work.adapter(name).missing()
        },
    }


def _simulator(name: str) -> Callable[[], float]:
    return lambda: float(work.adapter(name).run(TimedDrive(CYCLES), None))


#: what each line is compared with
REFERENCES = {
    "states/s, arrays": "states/s, one at a time",
    "events/s, arrays": "events/s, one at a time",
    "cycles/s, verilator": "cycles/s, pysim",
    "cycles/s, icarus": "cycles/s, pysim",
}


@dataclass(frozen=True, slots=True)
class Line:
    """What the rounds gave for one measurement."""

    name: str
    rates: list[float]
    ratios: list[float]  #: to its reference, round by round; empty if it has none

    def text(self) -> str:
        """The line as it is printed."""
        line = f"{self.name:26} {_spread(self.rates, ',.0f')}"
        if self.ratios:
            line += f"   x {_spread(self.ratios, ',.2f')} {REFERENCES[self.name]}"
        return line


def _spread(values: Sequence[float], spec: str) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:{spec}} ({low:{spec}} to {high:{spec}})"


def measure(rounds: int) -> list[Line]:
    """Measure everything `rounds` times, in turn. SimulatorError if a simulator cannot run."""
    functions = measurements()
    rates: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, once in functions.items():
            rates[name].append(once())
    ratios = {
        name: [a / b for a, b in zip(rates[name], rates[reference], strict=True)]
        for name, reference in REFERENCES.items()
        if name in rates
    }
    return [Line(name, values, ratios.get(name, [])) for name, values in rates.items()]


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each measurement; 0, or 2 if it could not run."""
    parser = argparse.ArgumentParser(prog="python -m tb.bench", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rates and ratios")
    options = parser.parse_args(argv)
    try:
        lines = measure(ROUNDS)
        if options.json:
            content = {each.name: {"rates": each.rates, "ratios": each.ratios} for each in lines}
            with writing(options.json) as file:
                file.write(json.dumps(content, indent=2) + "\n")
    except SimulatorError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 2
    print(f"median of {ROUNDS} rounds (lowest to highest)")
    for line in lines:
        print(line.text())
    for name in work.SIMULATORS:
        missing = work.adapter(name).missing()
        if missing:
            print(f"not run: {name}: {missing}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
