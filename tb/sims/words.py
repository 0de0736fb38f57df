"""A design as C++ (CXXRTL), compiled for speed and driven by whole words; of the core, whole runs.

The core's memory, its inputs and the end of a run are in the C++ too: one call makes many rows.
"""

import ctypes
import inspect
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.lib.wiring import In, Out

from hw.emit import EmitError, rtlil, run_pyosys
from model.arch import RAM_BASE, RAM_SIZE, Retire, StepState
from tb.core.machine import NO_WORD, Image, Limits, Memory
from tb.core.rows import INPUTS, Inputs, Rows, chunks
from tb.harness import CORE, Design, Packing, Slot, width
from tb.sims import SimulatorError, cxx, parts
from tb.sims.builds import kept

TOP = "design"  #: name of the module
SCRIPT = f"""
read_rtlil design.il
hierarchy -top {TOP}
proc
flatten -noscopeinfo
opt
splitnets -driver
opt_clean
write_cxxrtl -g0 cxxrtl.cc
"""

#: A design and one clock edge of it.
GLUE = """
#include <cstring>
template<size_t Bits> void get(const uint32_t *word, size_t lsb, value<Bits> &port) {
  for (size_t chunk = 0; chunk < port.chunks; chunk++) {
    size_t at = lsb / 32, shift = lsb % 32, left = std::min<size_t>(Bits - 32 * chunk, 32);
    uint64_t two = word[at];
    if (shift + left > 32) two |= uint64_t(word[at + 1]) << 32;
    port.data[chunk] = uint32_t(two >> shift) & (~uint32_t(0) >> (32 - left));
    lsb += 32;
  }
}
// The word is 0 there
template<size_t Bits> void put(uint32_t *word, size_t lsb, const value<Bits> &port) {
  for (size_t chunk = 0; chunk < port.chunks; chunk++) {
    size_t at = lsb / 32, shift = lsb % 32, left = std::min<size_t>(Bits - 32 * chunk, 32);
    uint64_t two = uint64_t(port.data[chunk]) << shift;
    word[at] |= uint32_t(two);
    if (shift + left > 32) word[at + 1] |= uint32_t(two >> 32);
    lsb += 32;
  }
}
template<class Wire> auto &now(Wire &wire) { return wire.curr; }
template<size_t Bits> auto &now(value<Bits> &wire) { return wire; }
struct Design {
  cxxrtl_design::p_design top;

  void reset() {
    top = {};
    top.p_rst.set(true);
    sample();
    top.commit();
    top.p_rst.set(false);
  }
  void sample() {
    // One evaluation gives the outputs before the edge and the registers after it, unless parts of
    // a word depend on one another (SCRIPT splits the words, so that none should).
    if (FEEDBACK) { top.p_clk.set(false); top.step(); }
    top.p_clk.set(true);
    top.prev_p_clk.set(false);
    top.eval();
  }
  void drive(const uint32_t *stimulus) {
@drive@
  }
  void show(uint32_t *row) {
    std::fill(row, row + ROW_CHUNKS, 0);
@show@
  }
};
extern "C" Design *design_open() { return new Design; }
extern "C" void design_close(Design *design) { delete design; }
extern "C" void design_reset(Design *design) { design->reset(); }
extern "C" void design_cycle(Design *design, const uint32_t *stimulus, uint32_t *row) {
  design->drive(stimulus);
  design->sample();
  design->show(row);
  design->top.commit();
}
"""

#: The core with memory around it: what `tb.core.machine.CycleByCycle` is in Python.
MACHINE_GLUE = """
// -1: all bytes are in RAM; otherwise the index of the first that is not
static int64_t without(uint64_t address, uint64_t size) {
  if (address >= RAM_BASE && address <= RAM_BASE + RAM_SIZE - size) return -1;
  bool begins_inside = address >= RAM_BASE && address < RAM_BASE + RAM_SIZE;
  return begins_inside ? int64_t(RAM_BASE + RAM_SIZE - address) : 0;
}
template<class Port> uint64_t number(Port &port) { return now(port).template get<uint64_t>(); }
struct Machine : Design {
  uint8_t *ram;
  const uint8_t *inputs;
  uint64_t inputs_count, given_from, rows, cycles, at_end, stopped;

  void start() {
    reset();
    rows = cycles = at_end = stopped = 0;
    nothing();
  }
  void give(const uint8_t *given, uint64_t count) {
    inputs = given;
    inputs_count = count;
    given_from = rows;
    drive_inputs();
  }
  // The answers where nothing is asked for
  void nothing() {
    top.p_fetch____response____word.set(NO_WORD);
    top.p_fetch____response____error.set(true);
    for (auto &chunk : top.p_data____response____data.data) chunk = ~uint32_t(0);
    top.p_data____response____error.set(true);
    top.p_data____response____fault__offset.set(0u);
  }
  void fetch() {
    uint64_t address = number(top.p_fetch____request____address);
    if (without(address, 4) >= 0) return;
    uint32_t word;
    std::memcpy(&word, ram + (address - RAM_BASE), 4);
    top.p_fetch____response____word.set(word);
    top.p_fetch____response____error.set(false);
  }
  void access() {
    uint64_t address = number(top.p_data____request____address);
    uint64_t size = uint64_t(1) << number(top.p_data____request____size);
    int64_t offset = without(address, size);
    if (offset >= 0) {
      top.p_data____response____fault__offset.set(uint32_t(offset));
      return;
    }
    top.p_data____response____error.set(false);
    uint8_t *place = ram + (address - RAM_BASE);
    if (number(top.p_data____request____write)) {
      std::memcpy(place, now(top.p_data____request____data).data, size);
      return;
    }
    uint32_t data[4] = {0, 0, 0, 0};
    std::memcpy(data, place, size);
    std::copy(data, data + 4, top.p_data____response____data.data);
  }
  // What is asked for in this cycle, answered in the next one
  void respond() {
    bool fetches = number(top.p_fetch____request____valid);
    bool accesses = number(top.p_data____request____valid);
    nothing();
    if (fetches) fetch();  // before a store: that is seen later
    if (accesses) access();
  }
  void drive_inputs() {
    uint8_t now = inputs[std::min(rows - given_from, inputs_count - 1)];
@inputs@
  }
  bool ends() {
    return number(top.p_retire____kind) == INSTRUCTION &&
           number(top.p_retire____pc) == number(top.p_retire____pc__after) &&
           number(top.p_retire____state__after) != ACTIVE_PENDING;
  }
};
extern "C" Machine *machine_open() { return new Machine; }
extern "C" void machine_close(Machine *machine) { delete machine; }
// `machine_give` comes next
extern "C" void machine_start(Machine *machine, uint8_t *ram) {
  machine->ram = ram;
  machine->start();
}
// The inputs of the rows from the next one on
extern "C" void machine_give(Machine *machine, const uint8_t *inputs, uint64_t inputs_count) {
  machine->give(inputs, inputs_count);
}
// Up to `count` rows, up to clock cycle `last`; the state of the run goes to `so_far`
extern "C" uint64_t machine_run(Machine *machine, uint64_t count, uint64_t last,
                                bool at_self_branch, bool at_stop_pc, uint64_t stop_pc,
                                uint32_t *raw, uint64_t stride, uint64_t *row_cycles,
                                uint64_t *so_far) {
  auto &top = machine->top;
  uint64_t made = 0;
  machine->stopped = machine->at_end;
  while (made < count && machine->cycles < last && !machine->stopped) {
    machine->sample();
    if (number(top.p_retire____valid)) {
      machine->show(raw + made * stride);
      row_cycles[made++] = machine->cycles;
      machine->rows++;
      machine->at_end = at_self_branch && machine->ends();
      machine->stopped =
          machine->at_end || (at_stop_pc && number(top.p_retire____pc__after) == stop_pc);
      machine->drive_inputs();
    }
    machine->respond();
    top.commit();
    machine->cycles++;
  }
  so_far[0] = machine->rows;
  so_far[1] = machine->cycles;
  so_far[2] = machine->at_end;
  so_far[3] = machine->stopped;
  return made;
}
"""

CYCLES = 1 << 20  #: of the clock in one call: Ctrl-C has to wait that long
ROWS = 1 << 14  #: in one call


class Words:
    """A design, driven by whole words."""

    def __init__(self, design: Design):
        self._library = library(design)
        self._design = _Handle(self._library, "design")
        self._given = -(-width(design.stimulus) // 32)
        self._row = np.zeros(2 * chunks(design.row), dtype=np.uint32)

    def cycle(self, stimulus: int, reset: bool) -> int:
        """Drive, sample, pass one clock edge. What is sampled during a reset, is nothing."""
        if reset:
            self._library.design_reset(self._design.pointer)
            return 0
        given = np.frombuffer(stimulus.to_bytes(4 * self._given, "little"), dtype=np.uint32)
        self._library.design_cycle(self._design.pointer, _place(given), _place(self._row))
        return int.from_bytes(self._row.tobytes(), "little")


class CompiledMachine:
    """`tb.core.machine.Machine` in C++."""

    batch = ROWS

    def __init__(self, design: Design = CORE, made: Any = None):
        """`made`: another library than the design's own."""
        self.memory = Memory()
        self.rows = self.cycles = 0
        self.at_end = False
        self._design = design
        self._library = made or library(design)
        self._machine = _Handle(self._library, "machine")
        self._inputs: Inputs = np.zeros(1, np.uint8)

    async def start(self, image: Image, inputs: Inputs) -> None:
        """See `tb.core.machine.Machine`."""
        self.memory = Memory(image)
        self.rows = self.cycles = 0
        self.at_end = False
        ram = np.frombuffer(self.memory.ram, np.uint8)
        self._library.machine_start(self._machine.pointer, _place(ram))
        self.give(inputs)

    def give(self, inputs: Inputs) -> None:
        """See `tb.core.machine.Machine`."""
        self._inputs = np.array(inputs, np.uint8)
        pointers = (self._machine.pointer, _place(self._inputs))
        self._library.machine_give(*pointers, ctypes.c_uint64(len(self._inputs)))

    async def run(self, limits: Limits) -> Rows:
        """See `tb.core.machine.Machine`."""
        first, size = self.rows, chunks(self._design.row)
        raws, cycles = [np.zeros((0, size), np.uint64)], [np.zeros(0, np.uint64)]
        stopped = self.at_end
        while self.rows < limits.rows and self.cycles < limits.cycles and not stopped:
            count = min(ROWS, limits.rows - self.rows)
            raw, row_cycles = np.zeros((count, size), np.uint64), np.zeros(count, np.uint64)
            last = min(limits.cycles, self.cycles + CYCLES)
            made, stopped = self._call(last, limits, raw, row_cycles)
            raws.append(raw[:made])
            cycles.append(row_cycles[:made])
        return Rows(np.concatenate(raws), np.concatenate(cycles), first)

    def _call(self, last: int, limits: Limits, raw: Any, row_cycles: Any) -> tuple[int, bool]:
        """How many rows have come, and whether the last of them ends the run."""
        so_far = np.zeros(4, np.uint64)
        made = self._library.machine_run(
            self._machine.pointer,
            ctypes.c_uint64(len(raw)),
            ctypes.c_uint64(last),
            ctypes.c_bool(limits.at_self_branch),
            ctypes.c_bool(limits.stop_pc is not None),
            ctypes.c_uint64(limits.stop_pc or 0),
            _place(raw),
            ctypes.c_uint64(raw.strides[0] // 4),
            _place(row_cycles),
            _place(so_far),
        )
        self.rows, self.cycles, self.at_end = int(so_far[0]), int(so_far[1]), bool(so_far[2])
        return int(made), bool(so_far[3])


def _place(array: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


class _Handle:
    """An object of the library, which goes when this goes."""

    def __init__(self, library: Any, kind: str):
        self.pointer = ctypes.c_void_p(getattr(library, f"{kind}_open")())
        self._close = getattr(library, f"{kind}_close")

    def __del__(self) -> None:
        self._close(self.pointer)


# Building


@cache
def library(design: Design) -> Any:
    """The compiled design. SimulatorError if it cannot be made."""
    return loaded(build(design), design)


def loaded(place: Path, design: Design) -> Any:
    """The library of a build."""
    made = ctypes.CDLL(str(place / cxx.LIBRARY))
    made.design_open.restype = ctypes.c_void_p
    if has_machine(design):
        made.machine_open.restype = ctypes.c_void_p
        made.machine_run.restype = ctypes.c_uint64
    return made


def build(design: Design) -> Path:
    """The directory with the library."""
    text, glue = rtlil(design.component(), TOP), _glue(design)
    makes = inspect.getsource(parts) + SCRIPT + glue
    return kept("compiled", cxx.depends_on(text + makes), partial(_build, text, glue))


def _build(text: str, glue: str, place: Path) -> None:
    (place / "design.il").write_text(text)
    try:
        run_pyosys(SCRIPT, place)
    except EmitError as error:
        raise SimulatorError(str(error)) from None
    source = (place / "cxxrtl.cc").read_text()
    feedback = "true" if "bool converged = false" in source else "false"
    constants = f"\nstatic constexpr bool FEEDBACK = {feedback};\n"
    cxx.build(parts.cut(source, "p_" + TOP) + constants + glue, cxx.FAST, place)


def has_machine(design: Design) -> bool:
    """Whether a design has the core's ports, so that a machine can be made of it."""
    return "out_fetch__request__valid" in design.row


def _glue(design: Design) -> str:
    constants = {
        "ROW_CHUNKS": 2 * chunks(design.row),
        "RAM_BASE": RAM_BASE,
        "RAM_SIZE": RAM_SIZE,
        "NO_WORD": NO_WORD,
        "INSTRUCTION": int(Retire.INSTRUCTION),
        "ACTIVE_PENDING": int(StepState.ACTIVE_PENDING),
    }
    lines = [f"static constexpr uint64_t {name} = {value};" for name, value in constants.items()]
    lines.append(
        GLUE.replace(
            "@drive@", _lines("get(stimulus, {lsb}, top.{port});", design.ports(In))
        ).replace("@show@", _lines("put(row, {lsb}, now(top.{port}));", design.ports(Out)))
    )
    if has_machine(design):
        ports = {port: Slot(at, 1, 1) for at, port in enumerate(INPUTS.values())}
        inputs = _lines("top.{port}.set(bool(now >> {lsb} & 1));", ports)
        lines.append(MACHINE_GLUE.replace("@inputs@", inputs))
    return "\n".join(lines)


def _lines(text: str, ports: Packing) -> str:
    """A line of C++ for each port, by its name in CXXRTL."""
    return "\n".join(
        "    " + text.format(port=f"p_{port.replace('_', '__')}", lsb=slot.lsb)
        for port, slot in ports.items()
    )
