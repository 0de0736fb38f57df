"""What viewers show of a waveform: groups of signals, colours, marks. The same for all of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from vcd.gtkw import GTKWColor as Colour

from tb.dump import Lanes, Timeline, Variable, Variables, lane_of, variable_of

TEST = "marked by the test"
FAILURE = "failure"  #: where the test failed: where hardware and model part, if they do
NOTED = (TEST, FAILURE)  #: marks of cycles that are known without the VCD

_PREFIXES = ("event__", "choice__", "controls__", "pins__", "out_")


@dataclass(frozen=True)
class Shown:
    """What is shown of a design."""

    lanes: Lanes
    #: Group to what it shows: lanes, the clock, the reset, ports, and fields as `port.FIELD`.
    groups: Mapping[str, Sequence[str]]
    closed: frozenset[str]  #: groups shown only when opened
    colours: Mapping[str, Colour]  #: what the eye should find first; the rest is green
    cycle_width: int  #: pixels: enough for what most lanes say in a cycle

    @cached_property
    def texts(self) -> frozenset[str]:
        """The names of the lanes that are text."""
        return frozenset(self.lanes.texts({}))


def fields_of(groups: Mapping[str, Sequence[str]]) -> list[str]:
    """The registers' fields in groups."""
    return [signal for signals in groups.values() for signal in signals if "." in signal]


class Line(NamedTuple):
    """A signal in a viewer's window."""

    label: str
    variable: Variable
    colour: Colour | None


@dataclass(frozen=True)
class View:
    """What is shown of one VCD."""

    vcd: Path
    simulator: str
    shown: Shown
    variables: Variables
    timeline: Timeline
    noted: Mapping[str, int | None]  #: of `NOTED`: a cycle of `Testbench.cycles`

    @property
    def is_empty(self) -> bool:
        """The test broke off before anything happened."""
        return len(self.timeline.cycles) < 2

    @property
    def moment(self) -> int:
        """The time to look at."""
        last = [cycle for name in NOTED if (cycle := self.noted.get(name)) is not None][-1:]
        return self.timeline.cycles[self.timeline.moment(*last)]

    @property
    def period(self) -> int:
        """Of the clock."""
        return self.timeline.cycles[1] - self.timeline.cycles[0]

    @property
    def marks(self) -> dict[str, int]:
        """What is marked to its time; of all that is in one cycle, the most interesting."""
        if self.is_empty:
            return {}
        cycles = dict(self.timeline.marks)
        for name in NOTED:
            cycle = self.noted.get(name)
            if cycle is not None:
                cycles[name] = self.timeline.moment(cycle)
        names = {cycle: name for name, cycle in cycles.items()}
        return {name: self.timeline.cycles[cycle] for cycle, name in names.items()}

    def lines(self, group: str) -> Iterator[Line]:
        """The signals of a group that the VCD has."""
        for signal in self.shown.groups[group]:
            if variable := self._variable(signal):
                yield Line(_label(signal), variable, self.shown.colours.get(signal))

    def _variable(self, signal: str) -> Variable | None:
        if signal in self.shown.texts or "." in signal:
            return lane_of(self.variables, signal)
        return variable_of(self.variables, signal, self.shown.lanes)


def _label(signal: str) -> str:
    """How a signal is called. GTKWave would drop what is before a dot."""
    for prefix in _PREFIXES:
        signal = signal.removeprefix(prefix)
    return signal.replace("__", " ").replace(".", ":")
