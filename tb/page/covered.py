"""The coverage as the page shows it: states and their transitions, matrices, holes, reasons."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.arch import EL, Event, StepState
from tb import bins, coverage, totals
from tb.bins import Counts, Group
from tb.core import coverage as core_coverage
from tb.core.groups import GROUPS as CORE_GROUPS
from tb.core.impossible import IMPOSSIBLE
from tb.harness import CORE, UNIT

HOLES = 200  #: of a group that are listed by name

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cell:
    """A place of a matrix."""

    hits: int
    legal: int  #: bins that are possible
    hit: int  #: bins of these that were hit
    reason: str = ""  #: of an impossible one

    @property
    def kind(self) -> str:
        """What it looks like."""
        if not self.legal:
            return "illegal" if self.hits else "impossible"
        if self.hit == self.legal:
            return "full"
        return "part" if self.hit else "hole"


@dataclass(frozen=True, slots=True)
class Matrix:
    """Bins by two or three dimensions: the first one or two go down, the last goes right."""

    title: str
    corner: str
    columns: list[str]
    rows: list[tuple[str, list[Cell]]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A group of bins."""

    name: str
    hits: int
    hit: int
    legal: int
    impossible: list[tuple[str, int]]  #: reason, and how many bins it rules out
    holes: list[str]
    more: int  #: holes that are not listed


def unit(counts: Counts) -> Counts | None:
    """The bins of the step unit, if any was hit."""
    part = totals.part(counts, UNIT.name)
    return part if part.any() else None


def core(counts: Counts) -> Counts | None:
    """The bins of the core, if any was hit."""
    part = totals.part(counts, CORE.name)
    return part if part.any() else None


# Transitions of the step unit


@dataclass(frozen=True, slots=True)
class Arrow:
    """A transition: how often it was taken, and by what."""

    source: str
    target: str
    count: int
    events: str
    path: str  #: of the SVG
    x: float  #: where its count stands
    y: float
    width: float


@dataclass(frozen=True, slots=True)
class Node:
    """A state."""

    name: str
    x: float
    y: float
    count: int  #: events in this state


_WIDTH, _HEIGHT = 170, 52  #: of a node
_PLACES = {
    StepState.INACTIVE: (95.0, 190.0),
    StepState.ACTIVE_NOT_PENDING: (435.0, 85.0),
    StepState.ACTIVE_PENDING: (435.0, 295.0),
}
_BEND = 26  #: how far an arrow is from the straight line


def states(counts: Counts) -> tuple[list[Node], list[Arrow]]:
    """The state machine, from the group "transition"."""
    hits, legal = _group(coverage.GROUPS, "transition", counts, coverage.legal())
    nodes = [Node(state.text, *_PLACES[state], int(hits[state].sum())) for state in StepState]
    arrows = []
    for source in StepState:
        for target in StepState:
            if not legal[source, ..., target].any():
                continue
            taken = hits[source, ..., target]
            count = int(taken.sum())
            width = 1.2 + (math.log10(count) * 0.25 if count else 0)
            path, x, y = _path(source, target)
            arrow = Arrow(
                source.text, target.text, count, _events(taken), path, x, y, round(width, 2)
            )
            arrows.append(arrow)
    return nodes, arrows


def _events(taken: Counts) -> str:
    """Of (event, outcome): the events by how often they did it."""
    found: list[tuple[int, str]] = []
    for event, outcome in zip(*np.nonzero(taken), strict=True):
        name = Event(event).text.replace("_", "-")
        if outcome != coverage.Outcome.EVENT:
            instead = coverage.Outcome(outcome).name.lower().replace("_", " ")
            name = f"{instead} before {name}"
        found.append((int(taken[event, outcome]), name))
    return ", ".join(f"{name} {count:,}" for count, name in sorted(found, reverse=True))


def _path(source: StepState, target: StepState) -> tuple[str, float, float]:
    """An arrow's path, and the middle of it."""
    x, y = _PLACES[source]
    if source == target:
        up = -1 if source != StepState.ACTIVE_PENDING else 1
        edge, far = y + up * _HEIGHT / 2, y + up * (_HEIGHT / 2 + 46)
        path = f"M{x - 26:.0f} {edge:.0f} C{x - 46:.0f} {far:.0f} {x + 46:.0f} {far:.0f}"
        return f"{path} {x + 26:.0f} {edge + up * 3:.0f}", x, y + up * (_HEIGHT / 2 + 42)
    to_x, to_y = _PLACES[target]
    length = math.hypot(to_x - x, to_y - y)
    across = (-(to_y - y) / length * _BEND, (to_x - x) / length * _BEND)
    middle = ((x + to_x) / 2 + across[0], (y + to_y) / 2 + across[1])
    start, end = _border(x, y, *middle, 0), _border(to_x, to_y, *middle, 4)
    path = f"M{start[0]:.1f} {start[1]:.1f} Q{middle[0]:.1f} {middle[1]:.1f}"
    label = ((start[0] + 2 * middle[0] + end[0]) / 4, (start[1] + 2 * middle[1] + end[1]) / 4)
    return f"{path} {end[0]:.1f} {end[1]:.1f}", *label


def _border(x: float, y: float, to_x: float, to_y: float, gap: float) -> tuple[float, float]:
    """Where the line from a node's middle leaves it."""
    across, down = to_x - x, to_y - y
    sides = [(_WIDTH / 2 + gap) / abs(across)] if across else []
    sides += [(_HEIGHT / 2 + gap) / abs(down)] if down else []
    share = min(sides)
    return x + across * share, y + down * share


# Matrices


def unit_matrix(counts: Counts) -> Matrix:
    """State and event by EL, of the group "event"."""
    hits, legal = _group(coverage.GROUPS, "event", counts, coverage.legal())
    rows = []
    for event in Event:
        for state in StepState:
            cells = [
                _cell(hits[state, event, el], legal[state, event, el], _reason(state, event, el))
                for el in EL
            ]
            rows.append((f"{event.text.replace('_', '-')}, {state.text}", cells))
    return Matrix(
        "The step unit: event and state, by exception level",
        "event, state",
        [el.name for el in EL],
        rows,
        "In a cell: how often, and how many of its bins (where the PE goes, the free choice that "
        "decided) were hit of those that are possible.",
    )


#: Why the model, given every combination of what decides, never gets there. The first that fits.
_REASONS = (
    (lambda state, event, el: event == Event.DEBUG_EXIT and state != StepState.INACTIVE,
     "in Debug state, which it leaves, debug exceptions are disabled"),
    (lambda state, event, el: event == Event.ERET and el == EL.EL0, "ERET is UNDEFINED at EL0"),
    (lambda state, event, el: el == EL.EL3 and state != StepState.INACTIVE,
     "debug exceptions are never enabled at EL3"),
)  # fmt: skip


def _reason(state: StepState, event: Event, el: EL) -> str:
    fits = (reason for test, reason in _REASONS if test(state, event, el))
    return next(fits, "the model never does this, whatever it is given")


def core_matrices(counts: Counts) -> Iterator[Matrix]:
    """The core's groups of two dimensions, the second of them an EL."""
    for group in CORE_GROUPS:
        if len(group.dimensions) != 2 or "el" not in group.dimensions:
            continue
        hits, legal = _group(CORE_GROUPS, group.name, counts, core_coverage.legal())
        why = _core_reasons(group)
        (down, names), (_, columns) = group.dimensions.items()
        rows = [
            (name, [_cell(hits[at, n], legal[at, n], why[at][n]) for n in range(len(columns))])
            for at, name in enumerate(names)
        ]
        yield Matrix(f"The core: {group.name}, by exception level", down, columns, rows)


def _core_reasons(group: Group) -> list[list[str]]:
    found = [["" for _ in range(group.shape[1])] for _ in range(group.shape[0])]
    for each in IMPOSSIBLE:
        if each.group == group.name:
            for at, n in np.argwhere(each.bins(core_coverage.values(group))):
                found[at][n] = found[at][n] or each.reason
    return found


def _cell(hits: Counts, legal: Bools, reason: str) -> Cell:
    possible = int(legal.sum())
    hit = int((legal & (hits > 0)).sum())
    return Cell(int(hits.sum()), possible, hit, "" if possible else reason)


# Groups


def parts(counts: Counts) -> Iterator[tuple[str, list[Part]]]:
    """The groups of each design that anything was covered of."""
    if (part := unit(counts)) is not None:
        yield "the step unit", list(_parts(coverage.GROUPS, part, coverage.legal(), False))
    if (part := core(counts)) is not None:
        yield "the core", list(_parts(CORE_GROUPS, part, core_coverage.legal(), True))


def _parts(
    groups: tuple[Group, ...], counts: Counts, legal: Bools, of_core: bool
) -> Iterator[Part]:
    base = 0
    for group in groups:
        own, possible = (each[base : base + group.size] for each in (counts, legal))
        holes = np.flatnonzero(possible & (own == 0))
        names = [bins.name([group], int(at)).partition(": ")[2] for at in holes[:HOLES]]
        impossible = [
            (each.reason, int(each.bins(core_coverage.values(group)).sum()))
            for each in (IMPOSSIBLE if of_core else ())
            if each.group == group.name
        ]
        ruled_out = int((~possible).sum())
        if ruled_out and not of_core:
            impossible = [("the model never does it, whatever it is given", ruled_out)]
        legal_bins = int(possible.sum())
        yield Part(
            group.name,
            int(own.sum()),
            legal_bins - len(holes),
            legal_bins,
            impossible,
            names,
            len(holes) - len(names),
        )
        base += group.size


def _group(
    groups: tuple[Group, ...], name: str, counts: Counts, legal: Bools
) -> tuple[Counts, Bools]:
    """A group's hits, and which of its bins are possible, by dimension."""
    base = 0
    for group in groups:
        if group.name == name:
            own = slice(base, base + group.size)
            return counts[own].reshape(group.shape), legal[own].reshape(group.shape)
        base += group.size
    raise LookupError(name)
