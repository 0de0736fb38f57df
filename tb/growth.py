"""Time and memory of the compiled simulator as cycles, lanes and seeds grow tenfold."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from tb.timed import Process, Timed

WORDS = 157  #: of lanes, where these stay as they are: ten thousand lanes
_WARM = Timed(seeds=1, lanes=64, steps=1, played=64)


@dataclass(frozen=True, slots=True)
class Point:
    """What one size took, in a process of its own."""

    size: int
    seconds: float
    peak: float  #: MiB


@dataclass(frozen=True, slots=True)
class Series:
    """One thing grows tenfold, again and again; the others stay as they are."""

    name: str
    unit: str  #: what grows
    tasks: dict[int, Timed]  #: size to task
    points: list[Point] = field(default_factory=list)

    def ratios(self) -> list[float | None]:
        """Time for one of the unit, as a multiple of what it was at the size before."""
        each = [point.seconds / point.size for point in self.points]
        return [None, *(b / a for a, b in pairwise(each))]

    def lines(self) -> Iterator[str]:
        """As it is printed: a line a size."""
        yield self.name
        for point, ratio in zip(self.points, self.ratios(), strict=True):
            total, each = _time(point.seconds), _time(point.seconds / point.size)
            linear = f"x {ratio:.2f} linear" if ratio else ""
            line = f"{point.size:13,} {total:>9} {each:>9} a {self.unit:5} {linear:13}"
            yield f"{line} {point.peak:6,.0f} MiB"


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:,.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def series(times: int, lanes: int) -> list[Series]:
    """What is measured: everything grows tenfold so many times; `lanes` are those of a test."""
    sizes = [10**n for n in range(times + 1)]
    few = 64 * WORDS
    return [
        Series(
            f"cycles, in {few:,} lanes",
            "cycle",
            {few * n: Timed(seeds=1, lanes=few, steps=n, played=few) for n in sizes},
        ),
        Series(
            f"cycles, in {lanes:,} lanes",
            "cycle",
            {4 * lanes * n: Timed(1, lanes, 4 * n, lanes) for n in sizes[:-2]},
        ),
        Series("lanes, 16 steps", "lane", {64 * n: Timed(1, 64 * n, 16, 64 * n) for n in sizes}),
        Series("seeds, 64 lanes, 1 step", "seed", {n: Timed(n, 64, 1, 64) for n in sizes}),
    ]


def measure(each: Series, size: int) -> None:
    """Add a point. SimulatorError if it cannot be measured."""
    with Process() as process:
        process.start(_WARM)  # what a process does once is not of any size
        process.result()
        process.start(each.tasks[size])
        timing, peak = process.result()
    each.points.append(Point(size, timing.seconds, peak))
