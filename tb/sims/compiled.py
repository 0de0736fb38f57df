"""The design as C++ (CXXRTL), compiled: one call passes one clock edge in any number of lanes.

Stimulus and rows cross as numpy arrays, a row a bit (`model.planes`). A case that goes cycle by
cycle has a lane to itself. Waveforms come from a second build, of one design with all its names.
"""

import ctypes
import inspect
import os
import pickle
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache, partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import hw.lanes
from hw.emit import EmitError, rtlil, run_pyosys, verilog
from hw.lanes import Lanes, lanes
from model.planes import ONES, WORD, ZEROS, Planes
from tb.harness import ROW, STIMULUS, Harness, Rows, Step, row_planes, width
from tb.sims import SimulatorError, Task
from tb.sims.builds import kept
from tb.sims.cocotb_sim import HARNESS, VIEW, view

FLAGS = ("-std=c++17", "-w", "-shared", "-fPIC")
FAST, QUICKLY_BUILT = "-O2", "-O0"  #: the lanes, and the one with a waveform
LOG, NETLIST = "log", "lanes.pickle"  #: files of a build

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

VIEW_SCRIPT = f"""
read_verilog view.v
hierarchy -top {VIEW}
proc
flatten -noscopeinfo
write_cxxrtl view.cc
"""
VIEW_GLUE = """
#include <fstream>
#include <cxxrtl/cxxrtl_vcd.h>
struct View {
  cxxrtl_design::p_view top;
  cxxrtl::vcd_writer vcd;
  std::ofstream file;
  uint64_t time = 0;

  View(const char *path) : file(path) {
    cxxrtl::debug_items items;
    top.debug_info(&items, nullptr, "");
    vcd.timescale(1, "ns");
    vcd.add(items);
  }
  void sample() {
    top.step();
    vcd.sample(time);
    file << vcd.buffer;
    vcd.buffer.clear();
  }
};
extern "C" void *view_open(const char *path) { return new View(path); }
extern "C" bool view_close(View *view) {
  view->sample();
  view->file.close();
  bool well = view->file.good();
  delete view;
  return well;
}
extern "C" void view_cycle(View *view, bool reset, const uint32_t *stimulus, uint32_t *row) {
  auto &top = view->top;
  top.p_reset.set(reset);
  std::copy(stimulus, stimulus + top.p_stimulus.chunks, top.p_stimulus.data);
  view->sample();  // the clock is still high, but in the first cycle
  std::copy(top.p_row.data, top.p_row.data + top.p_row.chunks, row);
  view->time += 5;
  if (top.p_clk) {
    top.p_clk.set(false);
    view->sample();
    view->time += 5;
  }
  top.p_clk.set(true);
  top.step();
}
"""


def compiler() -> list[str] | None:
    """The C++ compiler as a command: the system's, else the one of the ziglang wheel."""
    for command in (os.environ.get("CXX", ""), "c++", "g++", "clang++"):
        words = shlex.split(command)  # CXX may have options, or `ccache` before the compiler
        if words and shutil.which(words[0]):
            return words
    return [sys.executable, "-m", "ziglang", "c++"] if find_spec("ziglang") else None


def missing() -> str | None:
    """What is not installed, with the mend; None if the simulator can run."""
    if not find_spec("pyosys"):
        return "pyosys is not installed (pip install pyosys)"
    if not compiler():
        return "no C++ compiler is installed (apt-get install g++, or pip install 'softstep[asm]')"
    return None


def run(task: Task, waves: Path | None = None) -> Any:
    """Await a task on a fresh simulation; with `waves`, write a VCD there.

    Raises what the task raises; SimulatorError if the simulator cannot be built; OSError if the
    VCD cannot be written.
    """
    if why := missing():
        raise SimulatorError(why)
    design = _lanes_library()
    if waves is None:
        return _finished(task(Adapter(design, _OneLane(design))))
    waves.open("wb").close()  # says now, not after the run, that it cannot be written
    one = _View(waves)
    try:
        return _finished(task(Adapter(design, one)))
    finally:
        one.close()


def _finished(coroutine: Any) -> Any:
    """What a coroutine returns that never waits for anything."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("the task waits for something that is not the simulator")


class Adapter:
    """`tb.testbench.Simulator` over the compiled design."""

    lanes, steps = 1 << 18, 64  #: many: numpy's overhead is small beside the work

    def __init__(self, library: "_Library", one: "_OneLane | _View"):
        self._library, self._one = library, one

    async def reset(self) -> None:
        """Hold the reset for one clock edge."""
        self._one.cycle(0, reset=True)

    async def cycle(self, stimulus: int) -> int:
        """Drive, settle, sample, pass one clock edge."""
        return self._one.cycle(stimulus, reset=False)

    async def play(self, steps: Iterable[S]) -> AsyncIterator[tuple[S, Rows]]:
        """See `tb.testbench.Simulator`. The rows are gone when the next step is taken."""
        driver: _Driver | None = None
        for step in steps:
            driver = driver or _Driver(self._library, step.lanes)
            yield step, driver.cycle(step.ports)


class _Library:
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

    def __init__(self, library: _Library, count: int):
        words = count // WORD
        design = library.design
        self._inputs = _matrix(len(design.inputs), words)
        self._registers = _matrix(design.registers, words)
        self._outputs = _matrix(design.driven, words)
        self._row = [_source(name, self._inputs, self._outputs) for name in library.row]
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


def _source(name: str, inputs: Any, outputs: Any) -> Any:
    """The row that drives an output (`hw.lanes.Lanes.outputs`)."""
    if name in ("0", "1"):
        return ONES if name == "1" else ZEROS
    return (inputs if name[0] == "i" else outputs)[int(name[1:])]


def _matrix(rows: int, words: int) -> Any:
    """Zeros. A row is not a power of two long: its words would share the cache's sets with those of
    all other rows, and the hardware's step would take four times as long."""
    line = 64 // np.uint64(0).itemsize
    return np.zeros((rows, words + line), dtype=np.uint64)[:, :words]


class _OneLane:
    """One lane, driven by whole words."""

    def __init__(self, library: _Library):
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


class _View:
    """One design with its waveform, driven by whole words."""

    def __init__(self, waves: Path):
        library = ctypes.CDLL(str(_view_build() / "design.so"))
        library.view_open.restype = ctypes.c_void_p
        library.view_close.restype = ctypes.c_bool
        self._library, self._waves = library, waves
        self._view = ctypes.c_void_p(library.view_open(os.fsencode(waves)))
        self._row = np.zeros(-(-width(ROW) // 32), dtype=np.uint32)

    def cycle(self, stimulus: int, reset: bool) -> int:
        """Drive, sample, pass one clock edge."""
        words = -(-width(STIMULUS) // 32)
        given = np.frombuffer(stimulus.to_bytes(4 * words, "little"), dtype=np.uint32)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (given, self._row)]
        self._library.view_cycle(self._view, ctypes.c_bool(reset), *pointers)
        return int.from_bytes(self._row.tobytes(), "little")

    def close(self) -> None:
        """Finish the file. Raises OSError."""
        if not self._library.view_close(self._view):
            raise OSError(None, "the waveform could not be written whole", str(self._waves))


# Building


@cache
def _lanes_library() -> _Library:
    # Yosys is asked only where there is no build yet: it takes a second.
    source = rtlil(Harness(), "harness") + inspect.getsource(hw.lanes) + LANES_GLUE
    build = kept("compiled", _depends_on(source), _build_lanes)
    return _Library(build / "design.so", pickle.loads((build / NETLIST).read_bytes()))


def _netlist() -> Lanes:
    try:
        return lanes(Harness())
    except EmitError as error:
        raise SimulatorError(str(error)) from None


def _build_lanes(place: Path) -> None:
    design = _netlist()
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
    _compile(design.source + glue, FAST, place)
    (place / NETLIST).write_bytes(pickle.dumps(replace(design, source="")))


def _lines(text: str, count: int) -> str:
    return "\n".join(text.format(n) for n in range(count))


def _view_build() -> Path:
    try:
        source = verilog(Harness(), HARNESS) + view()
    except EmitError as error:
        raise SimulatorError(str(error)) from None
    return kept("compiled", _depends_on(source), partial(_compile_view, source))


def _depends_on(source: str) -> object:
    """All that a build depends on."""
    command = compiler() or []
    said = subprocess.run([*command, "--version"], capture_output=True, check=False).stdout
    return (source, VIEW_GLUE, command, said, FLAGS, FAST, QUICKLY_BUILT, version("pyosys"))


def _runtime() -> Path:
    """CXXRTL's headers."""
    spec = find_spec("pyosys")
    assert spec and spec.origin
    return Path(spec.origin).parent / "share/include/backends/cxxrtl/runtime"


def _compile_view(source: str, place: Path) -> None:
    (place / "view.v").write_text(source)
    try:
        run_pyosys(VIEW_SCRIPT, place)
    except EmitError as error:
        raise SimulatorError(str(error)) from None
    _compile((place / "view.cc").read_text() + VIEW_GLUE, QUICKLY_BUILT, place)


def _compile(source: str, speed: str, place: Path) -> None:
    """Make design.so. SimulatorError if the compiler fails."""
    (place / "design.cc").write_text(source)
    options = [*FLAGS, speed, "-I", str(_runtime())]
    command = [*(compiler() or []), *options, "design.cc", "-o", "design.so"]
    log = place / LOG
    with log.open("w") as file:
        done = subprocess.run(command, cwd=place, stdout=file, stderr=file, check=False)
    if done.returncode:
        raise SimulatorError(f"the design was not compiled: see {log}")
