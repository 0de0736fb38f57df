"""The coverage of a run: the bins of all designs, one after the other."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tb import bins, coverage
from tb.bins import Counts
from tb.core import coverage as core_coverage
from tb.core.groups import GROUPS as CORE_GROUPS
from tb.harness import CORE, UNIT

_SIZES = {UNIT.name: coverage.BINS, CORE.name: core_coverage.BINS}
#: design to what gives its possible bins
_LEGAL: dict[str, Callable[[], Any]] = {UNIT.name: coverage.legal, CORE.name: core_coverage.legal}


def none() -> Counts:
    """Nothing was hit."""
    return np.zeros(sum(_SIZES.values()), dtype=np.int64)


def of(design: str, counts: Counts) -> Counts:
    """The counts of one design's bins, among the others', which nothing hit."""
    total = none()
    part(total, design)[:] = counts
    return total


def part(total: Counts, design: str) -> Counts:
    """The counts of one design's bins."""
    parts = np.split(total, np.cumsum(list(_SIZES.values())))
    return dict(zip(_SIZES, parts, strict=False))[design]


def _designs(counts: Counts) -> Iterator[tuple[str, Counts]]:
    """Those that anything was covered of, with their counts; or the step unit."""
    parts = [(design, part(counts, design)) for design in _SIZES]
    hit = [(design, part) for design, part in parts if part.any()]
    yield from hit or parts[:1]


def legal(counts: Counts) -> int:
    """How many bins there are to be hit, in the designs that anything was covered of."""
    return sum(int(_LEGAL[design]().sum()) for design, _ in _designs(counts))


def holes(counts: Counts) -> list[str]:
    """Legal bins that nothing hit, in the same designs."""
    return [
        _name(design, int(at))
        for design, part in _designs(counts)
        for at in np.flatnonzero(_LEGAL[design]() & (part == 0))
    ]


def illegal_hits(counts: Counts) -> list[str]:
    """Bins that were hit though that should be impossible."""
    return [
        _name(design, int(at))
        for design, part in _designs(counts)
        for at in np.flatnonzero(~_LEGAL[design]() & (part > 0))
    ]


def of_core_by_group(counts: Counts) -> list[tuple[str, int, int]]:
    """(group, legal bins that were hit, legal bins) of the core, if anything was covered of it."""
    of_core = part(counts, CORE.name)
    return list(core_coverage.by_group(of_core)) if of_core.any() else []


def name(at: int) -> str:
    """One bin, by its place among those of all designs."""
    for design, size in _SIZES.items():
        if at < size:
            return _name(design, at)
        at -= size
    raise IndexError(at)


def _name(design: str, index: int) -> str:
    if design == UNIT.name:
        return coverage.name(index)
    return f"{design}, {bins.name(CORE_GROUPS, index)}"


def prepare() -> None:
    """Compute what is legal, which takes its time: before other processes do so again."""
    for each in _LEGAL.values():
        each()
