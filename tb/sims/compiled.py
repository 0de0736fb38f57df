"""The design as C++ (CXXRTL), compiled: one call passes one clock edge in any number of lanes.

Stimulus and rows cross as numpy arrays, a row a bit (`model.planes`). A case that goes cycle by
cycle has a lane to itself. Waveforms come from a second build, of one design with all its names.
"""

import ctypes
import inspect
import pickle
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import hw.lanes
from hw.emit import EmitError, rtlil
from hw.lanes import Lanes, lanes
from model.planes import ONES, WORD, ZEROS, Planes
from tb.core.machine import CycleByCycle, Machine
from tb.harness import CORE, ROW, STIMULUS, UNIT, Design, Harness, Rows, Step, row_planes, width
from tb.sims import SimulatorError, Task, cxx, run_now
from tb.sims.builds import kept
from tb.sims.recorder import Recorder
from tb.sims.view import View
from tb.sims.words import CompiledMachine, Words

NETLIST = "lanes.pickle"  #: file of a build

S = TypeVar("S", bound=Step)

#: Passes one clock edge: `words` words of each input, register and output, whose rows are `stride`
#: apart.
LANES_GLUE = """
extern "C" void cycle(size_t words, size_t stride, const uint32_t *in, uint32_t *registers,
                      uint32_t *out) {{
  static cxxrtl_design::p_lanes top;
  for (size_t at = 0; at < words; at++) {{
{inputs}
{registers}
    top.p_clk.set(true);
    top.prev_p_clk.set(false);  // every call is an edge
    top.eval();  // outputs from the registers before the edge, and what these will be
{next}
{outputs}
  }}
}}
"""

missing = cxx.missing


def run(task: Task, waves: Path | None = None, design: Design = UNIT) -> Any:
    """Await a task on a fresh simulation; with `waves`, write a VCD there.

    Raises what the task raises; SimulatorError if the simulator cannot be built; OSError if the
    VCD cannot be written.
    """
    if why := missing():
        raise SimulatorError(why)
    library = _lanes_library() if design is UNIT else None
    if waves is None:
        return run_now(task(Adapter(library, _OneLane(library) if library else Words(design))))
    waves.open("wb").close()  # says now, not after the run, that it cannot be written
    shown = View(design, waves) if library else Recorder(design, waves)
    try:
        return run_now(task(Adapter(library, shown)))
    finally:
        shown.close()


class Adapter:
    """`tb.testbench.Simulator` over the compiled design."""

    lanes, steps = 1 << 18, 64  #: many: numpy's overhead is small beside the work
    rows = 1 << 20

    def __init__(self, library: "Library | None", one: "_OneLane | Words | View | Recorder"):
        self._library, self._one = library, one  #: the lanes are those of the step unit

    async def reset(self) -> None:
        """Hold the reset for one clock edge."""
        self._one.cycle(0, reset=True)

    async def cycle(self, stimulus: int) -> int:
        """Drive, settle, sample, pass one clock edge."""
        return self._one.cycle(stimulus, reset=False)

    async def play(self, steps: Iterable[S]) -> AsyncIterator[tuple[S, Rows]]:
        """See `tb.testbench.Simulator`. The rows are gone when the next step is taken."""
        assert self._library
        driver: _Driver | None = None
        for step in steps:
            driver = driver or _Driver(self._library, step.lanes)
            yield step, driver.cycle(step.ports)

    def machine(self, design: Design = CORE) -> Machine:
        """See `tb.testbench.Simulator`. What is to be seen in a waveform, goes cycle by cycle."""
        return (
            CycleByCycle(self, design)
            if isinstance(self._one, Recorder)
            else CompiledMachine(design)
        )


class Library:
    """The compiled function, and which pin has which row."""

    def __init__(self, path: Path, design: Lanes):
        self._cycle = ctypes.CDLL(str(path)).cycle
        self.design = design
        #: what drives each bit of the row word
        self.row = [design.outputs["row", n] for n in range(width(ROW))]

    def edge(self, inputs: Any, registers: Any, outputs: Any) -> Callable[[], None]:
        """What passes one clock edge. Arrays of shape (rows, words) with the same strides."""
        sizes = [ctypes.c_size_t(size // 4) for size in (inputs[0].nbytes, inputs.strides[0])]
        arrays = [ctypes.c_void_p(array.ctypes.data) for array in (inputs, registers, outputs)]
        return partial(self._cycle, *sizes, *arrays)


class _Driver:
    """Any number of lanes, each driven port by port."""

    def __init__(self, library: Library, count: int):
        words = count // WORD
        design = library.design
        self._inputs = matrix(len(design.inputs), words)
        self._registers = matrix(design.registers, words)
        self._outputs = matrix(design.driven, words)
        self._row = [row_of(name, self._inputs, self._outputs) for name in library.row]
        self._edge = library.edge(self._inputs, self._registers, self._outputs)
        place = {pin: at for at, pin in enumerate(design.inputs)}
        self._places = {
            name: [
                (n, place["stimulus", slot.lsb + n])
                for n in range(slot.width)
                if ("stimulus", slot.lsb + n) in place
            ]
            for name, slot in STIMULUS.items()
        }
        reset = place["reset", 0]
        self._inputs[reset] = ~np.uint64(0)
        self._edge()
        self._inputs[reset] = 0

    def cycle(self, ports: Mapping[str, Planes]) -> Rows:
        """One clock edge. A port that is not named holds its value."""
        for name, planes in ports.items():
            for n, at in self._places[name]:
                self._inputs[at] = planes.row(n)
        self._edge()
        return row_planes(self._row)


def row_of(name: str, inputs: Any, outputs: Any) -> Any:
    """The row that drives an output (`hw.lanes.Lanes.outputs`)."""
    if name in ("0", "1"):
        return ONES if name == "1" else ZEROS
    return (inputs if name[0] == "i" else outputs)[int(name[1:])]


def matrix(rows: int, words: int) -> Any:
    """Zeros. A row is not a power of two long: its words would share the cache's sets with those of
    all other rows, and the hardware's step would take four times as long."""
    line = 64 // np.uint64(0).itemsize
    return np.zeros((rows, words + line), dtype=np.uint64)[:, :words]


class _OneLane:
    """One lane, driven by whole words."""

    def __init__(self, library: Library):
        design = library.design
        self._pins = [n if port == "stimulus" else width(STIMULUS) for port, n in design.inputs]
        # All in one array, so that a row's bits can be picked from inputs, outputs and constants.
        counts = (design.driven, len(design.inputs), design.registers)
        everything = np.zeros((sum(counts) + 2, 1), dtype=np.uint32)
        self._outputs, self._inputs, registers, constants = np.split(everything, np.cumsum(counts))
        constants[1] = 1
        self._everything = everything[:, 0]
        self._places = [self._place(name) for name in library.row]
        self._edge = library.edge(self._inputs, registers, self._outputs)

    def _place(self, name: str) -> int:
        if name in ("0", "1"):
            return len(self._everything) - 2 + int(name)
        return int(name[1:]) + (len(self._outputs) if name[0] == "i" else 0)

    def cycle(self, stimulus: int, reset: bool) -> int:
        """Drive, sample, pass one clock edge."""
        word = stimulus | reset << width(STIMULUS)
        size = (width(STIMULUS) + 8) // 8
        packed = np.frombuffer(word.to_bytes(size, "little"), dtype=np.uint8)
        self._inputs[:, 0] = np.unpackbits(packed, bitorder="little")[self._pins]
        self._edge()
        bits = np.packbits(self._everything[self._places] & 1, bitorder="little")
        return int.from_bytes(bits.tobytes(), "little")


# Building


@cache
def _lanes_library() -> Library:
    # Yosys is asked only where there is no build yet: it takes a second.
    source = rtlil(Harness(UNIT), "harness") + inspect.getsource(hw.lanes) + LANES_GLUE
    depends = cxx.depends_on(source)
    return library_at(kept("compiled", depends, lambda place: build_lanes(_netlist(), place)))


def _netlist() -> Lanes:
    try:
        return lanes(Harness(UNIT))
    except EmitError as error:
        raise SimulatorError(str(error)) from None


def build_lanes(design: Lanes, place: Path) -> None:
    """Compile lanes to a `Library` in a directory. SimulatorError."""
    glue = LANES_GLUE.format(
        inputs=_lines("    top.p_i{0}.data[0] = in[{0} * stride + at];", len(design.inputs)),
        registers=_lines(
            "    top.p_q{0}.curr.data[0] = registers[{0} * stride + at];", design.registers
        ),
        next=_lines(
            "    registers[{0} * stride + at] = top.p_q{0}.next.data[0];", design.registers
        ),
        outputs=_lines("    out[{0} * stride + at] = top.p_o{0}.data[0];", design.driven),
    )
    cxx.build(design.source + glue, cxx.FAST, place)
    (place / NETLIST).write_bytes(pickle.dumps(replace(design, source="")))


def library_at(place: Path) -> "Library":
    """What `build_lanes` has compiled there."""
    return Library(place / cxx.LIBRARY, pickle.loads((place / NETLIST).read_bytes()))


def _lines(text: str, count: int) -> str:
    return "\n".join(text.format(n) for n in range(count))
