"""Clock, drive, sample: the one place that decides what happens in a cycle.

A case is a coroutine that takes a `Testbench`, as cocotb's take a `dut`. It starts the PE somewhere
(`start`), makes events happen (`do`), and may say what it expects (`expect`). Whatever it does,
each cycle is kept, and held against the reference model in the end (`finish`).

Names are the vector file's columns (`model.columns`) and the retire trace's members (`hw.trace`).
"""

import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from types import SimpleNamespace
from typing import Any, Protocol, TypeVar

from model.arch import Event
from model.columns import COLUMNS, Lines
from model.machine import PE, Input
from tb import coverage, scoreboard
from tb.core.machine import Machine
from tb.coverage import Counts
from tb.harness import CORE, ROW, STIMULUS, Design, Rows, Step, pack, unpack
from tb.scoreboard import Cycle, Move

#: every input column's default, as the vector file has it
DEFAULTS = {column.name: column.default or 0 for column in COLUMNS}

#: column names to the harness's ports: control registers, what is implemented, `halted`
CONTROLS = {
    name: port for port in STIMULUS if (name := port.removeprefix("controls__")) in DEFAULTS
}
LOAD = {
    "el": "load__pstate__el",
    "nrw": "load__pstate__nrw",
    "d": "load__pstate__d",
    "ss": "load__pstate__ss",
    "il": "load__pstate__il",
    "mdscr_el1": "load__mdscr_el1",
    "mdscr_el1_written": "load__mdscr_el1_written",
    "last": "load__last",
}
EVENT = {
    "event": "event__kind",
    "pc": "event__pc",
    "target_el": "event__target_el",
    "spsr": "event__spsr",
    "async_first": "choice__async_first",
    "isv_choice": "choice__isv_choice",
    "mdscr_seen": "choice__mdscr_seen",
}
WRITES = {
    "d_write": ("event__d_write", "event__d_value"),
    "mdscr_write": ("event__mdscr_write", "event__mdscr_value"),
}

ALONE = 4  #: steps of `Testbench.play` that lane 0 goes through again, cycle by cycle

#: the free choices where nothing else is said, as in the vector file
CHOICES = {EVENT[name]: DEFAULTS[name] for name in ("async_first", "isv_choice", "mdscr_seen")}


S = TypeVar("S", bound=Step)


class Simulator(Protocol):
    """What an adapter in `tb.sims` gives: the harness, clocked."""

    lanes: int  #: how many lanes a random sequence has here ...
    steps: int  #: ... and how many steps
    rows: int  #: how many rows of the core's trace a long program is run for

    async def reset(self) -> None:
        """Bring the design to its reset state."""

    async def cycle(self, stimulus: int) -> int:
        """Drive the stimulus word, sample the row when it has settled, pass one clock edge."""

    def play(self, steps: Iterable[S]) -> AsyncIterator[tuple[S, Rows]]:
        """Steps of many lanes, each with its rows, which are gone when the next is asked for.

        What a lane was in before the first step is not known: that step loads a state.
        """

    def machine(self, design: Design = CORE) -> Machine:
        """The core, or a design with its ports, with memory around it."""


@dataclass(frozen=True, slots=True)
class Table:
    """What a test found out, to print and to keep in the report: not whether it passed."""

    title: str
    header: list[str]
    rows: list[list[str]]


class Failure(Exception):
    """What a test found wrong, in a sentence of its own."""


class Testbench:
    """One test on one simulator."""

    __test__ = False  # for pytest: not a test class

    def __init__(self, simulator: Simulator, name: str, seed: int):
        self.rng = random.Random(f"{name} {seed}")
        self.cycles: list[Cycle] = []
        self.controls = {name: DEFAULTS[name] for name in CONTROLS}
        self.remarks: list[str] = []  #: printed when the test fails
        self.counts = coverage.none()  #: of the steps of many lanes that were checked
        self.played = 0  #: cycles of these: lanes times steps
        self.inputs = 0  #: of a block, where a case goes through all of them; they cover nothing
        self.tables: list[Table] = []  #: none: it finds out nothing but whether all is right
        self.marked: int | None = None  #: see `tb.core.testbench`: no case marks a cycle
        self.simulator = simulator
        self._pc = 0

    @property
    def now(self) -> SimpleNamespace:
        """What the last cycle leads to, as the hardware says: el, nrw, d, ss, il, state.

        The state is None after a load: the hardware has not shown it yet.
        """
        last = self.cycles[-1]
        if last.loaded is not None:
            return SimpleNamespace(**last.loaded, state=None)
        after = "_after" if last.given is not None else ""
        names = (*scoreboard.PSTATE, "state")
        return SimpleNamespace(**{name: getattr(last.row, name + after) for name in names})

    async def start(self, **columns: int) -> None:
        """Put the PE somewhere: PSTATE, registers and what is implemented, in vector file columns.

        The columns not given take the vector file's defaults; `nrw` follows from `el`, and
        `mdscr_el1_written` is `mdscr_el1`: every write has been seen.
        """
        self.controls, state = _split(columns)
        await self._cycle({}, None, state)

    def change(self, **controls: int) -> None:
        """Change control registers or `halted` from the next event on."""
        self.controls = self.controls | controls

    async def do(
        self, event: Event, then: Mapping[str, int] | None = None, **columns: int
    ) -> SimpleNamespace:
        """Make one event happen; returns the retire trace's row.

        `then` is a PE as `start` takes it, to be in from the next cycle on.
        """
        given = {"event": int(event), "pc": self._pc, **columns}
        controls, state = _split(then) if then else (self.controls | {"halted": 0}, None)
        row = await self._cycle(_happen(given), given, state)
        self.controls = controls
        self._pc = (self._pc + 4) & (1 << 64) - 1
        return row

    async def idle(self) -> None:
        """Let one cycle pass in which nothing happens."""
        await self._cycle({}, None, None)

    def say(self, remarks: Iterable[str]) -> None:
        """Explain: what is said is printed when the test fails."""
        self.remarks += remarks

    def expect(self, row: SimpleNamespace, **fields: int) -> None:
        """Hold the last row against values that the case states itself."""
        scoreboard.expect(self.cycles, row, fields)

    async def play(self, moves: Callable[[], Iterator[Move]], cover: bool = True) -> None:
        """Hold many lanes against the model, as `moves()` has them each time that it is called.

        Without `cover` they do not count as coverage: they may be where no PE can be.

        One lane is gone through again, cycle by cycle: the first that differs, for the table of
        differences; if none does, the first steps of lane 0, for the waveform.
        """
        wrong = await self._all_lanes(moves(), cover)
        lane, steps = wrong or (0, ALONE)
        await self.simulator.reset()
        ports: dict[str, int] = {}  # they hold their values
        for move in islice(moves(), steps):
            ports |= {name: planes.at(lane) for name, planes in move.ports.items()}
            await self._one_lane(move, lane, ports)
        if wrong:
            scoreboard.check(self.cycles)
            raise Failure(f"lane {lane} is wrong in step {steps} among the others, but not alone")

    async def _all_lanes(self, moves: Iterator[Move], cover: bool) -> tuple[int, int] | None:
        """(lane, steps up to there) where hardware and model part, if they do."""
        steps = 0
        async for move, rows in self.simulator.play(moves):
            steps += 1
            lane = scoreboard.wrong_lane(move, rows)
            if lane is not None:
                return lane, steps
            self.played += move.lanes
            if cover:
                self.counts += coverage.of_step(move)
        return None

    async def _one_lane(self, move: Move, lane: int, ports: dict[str, int]) -> None:
        """One lane of a step as a cycle. Also what must not matter is driven as it was there."""
        pe, state = move.pe or move.load, None
        self.controls = {name: getattr(pe, name).at(lane) for name in CONTROLS}
        if move.load:
            state = {name: getattr(move.load, name).at(lane) for name in LOAD}
        given = _given(move, lane) if move.happens else None
        await self._cycle(ports if given else ports | CHOICES, given, state)

    async def finish(self) -> Counts:
        """Hold every cycle against the model; returns the coverage. Raises scoreboard.Mismatch."""
        await self.idle()
        checked = scoreboard.check(self.cycles)
        return self.counts + (coverage.none() if self.inputs else coverage.count(checked))

    @property
    def clocked(self) -> int:
        """Clock cycles, in all lanes."""
        return len(self.cycles) + self.played

    async def _cycle(
        self, ports: dict[str, int], given: dict[str, int] | None, state: dict[str, int] | None
    ) -> SimpleNamespace:
        """One cycle with an event or none, at the end of which a state may be loaded."""
        ports = CHOICES | ports | {port: self.controls[name] for name, port in CONTROLS.items()}
        if state:
            ports |= {"load__enable": 1} | {port: state[name] for name, port in LOAD.items()}
        word = await self.simulator.cycle(pack(STIMULUS, ports))
        row = SimpleNamespace(**unpack(ROW, word))
        self.cycles.append(Cycle(self.controls, given, row, state))
        return row


def _split(columns: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """(controls, what the unit loads) of a PE. TypeError for a name that is no column."""
    unknown = columns.keys() - DEFAULTS.keys() - {"nrw", "mdscr_el1_written"}
    if unknown:
        raise TypeError(f"no such column: {', '.join(sorted(unknown))}")
    values = {**DEFAULTS, **columns}
    widths = (values["el1_aarch32"], values["el1_aarch32"], values["el2_aarch32"], 0)
    values.setdefault("nrw", widths[values["el"]])
    values.setdefault("mdscr_el1_written", values["mdscr_el1"])
    controls = {name: int(values[name]) for name in CONTROLS}
    return controls, {name: int(values[name]) for name in LOAD}


def columns_of(lines: Lines, at: Any = ()) -> tuple[dict[str, int], dict[str, int]]:
    """One line as columns: what `start` takes, and what `do` takes with `event` among it."""
    pe, given = lines.pe, lines.given
    state = {name: int(getattr(pe, name)[at]) for name in DEFAULTS if hasattr(pe, name)}
    state |= {name: int(getattr(pe, name)[at]) for name in ("nrw", "mdscr_el1_written")}
    happens = {name: int(getattr(given, name)[at]) for name in EVENT if hasattr(given, name)}
    for name in WRITES:
        if getattr(given, name)[at]:
            happens[name] = int(getattr(given, name.replace("write", "value"))[at])
    return state, happens


def control_ports(pe: PE) -> dict[str, Any]:
    """Port to value of what is driven all the time; values are in whatever form the PE has them."""
    return {port: getattr(pe, name) for name, port in CONTROLS.items()}


def load_ports(pe: PE) -> dict[str, Any]:
    """Port to value of the state to load."""
    return {port: getattr(pe, name) for name, port in LOAD.items()}


def event_ports(given: Input) -> dict[str, Any]:
    """Port to value of an event and its choices, but for the pc."""
    ports = {EVENT[name]: getattr(given, name) for name in EVENT if name != "pc"}
    for name, (write, data) in WRITES.items():
        ports[write] = getattr(given, name)
        ports[data] = getattr(given, name.replace("write", "value"))
    return ports


def _given(move: Move, lane: int) -> dict[str, int]:
    """The event of one lane, as `do` takes it."""
    columns = {name: getattr(move.given, name).at(lane) for name in EVENT if name != "pc"}
    for name in WRITES:
        if getattr(move.given, name).at(lane):
            columns[name] = getattr(move.given, name.replace("write", "value")).at(lane)
    return columns | {"pc": move.pc.at(lane)}


def _happen(given: dict[str, int]) -> dict[str, int]:
    ports = {"event__valid": 1}
    for name, value in given.items():
        if name in WRITES:
            write, data = WRITES[name]
            ports |= {write: 1, data: int(value)}
        else:
            ports[EVENT[name]] = int(value)
    return ports
