"""One design as C++ (CXXRTL), driven by whole words, with all its names in a waveform."""

import ctypes
import os
from functools import partial
from pathlib import Path

import numpy as np

from hw.emit import EmitError, run_pyosys
from tb.harness import Design, width
from tb.sims import SimulatorError, cxx
from tb.sims.builds import kept
from tb.sims.cocotb_sim import VIEW, harness, view

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


class View:
    """One design with its waveform, driven by whole words."""

    def __init__(self, design: Design, waves: Path):
        library = ctypes.CDLL(str(build_view(design) / cxx.LIBRARY))
        library.view_open.restype = ctypes.c_void_p
        library.view_close.restype = ctypes.c_bool
        self._library, self._waves = library, waves
        self._view = ctypes.c_void_p(library.view_open(os.fsencode(waves)))
        self._given = -(-width(design.stimulus) // 32)
        self._row = np.zeros(-(-width(design.row) // 32), dtype=np.uint32)

    def cycle(self, stimulus: int, reset: bool) -> int:
        """Drive, sample, pass one clock edge."""
        given = np.frombuffer(stimulus.to_bytes(4 * self._given, "little"), dtype=np.uint32)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (given, self._row)]
        self._library.view_cycle(self._view, ctypes.c_bool(reset), *pointers)
        return int.from_bytes(self._row.tobytes(), "little")

    def close(self) -> None:
        """Finish the file. Raises OSError."""
        if not self._library.view_close(self._view):
            raise OSError(None, "the waveform could not be written whole", str(self._waves))


def build_view(design: Design) -> Path:
    """The directory with the library behind `View`. SimulatorError if it cannot be made."""
    source = harness(design) + view(design)
    return kept("compiled", cxx.depends_on(source + VIEW_GLUE), partial(_compile_view, source))


def _compile_view(source: str, place: Path) -> None:
    (place / "view.v").write_text(source)
    try:
        run_pyosys(VIEW_SCRIPT, place)
    except EmitError as error:
        raise SimulatorError(str(error)) from None
    cxx.build((place / "view.cc").read_text() + VIEW_GLUE, cxx.QUICKLY_BUILT, place)
